//! What a file is, by its first bytes and never by its name: text, perhaps compressed, or Parquet. Anything else is refused by name.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::input::InputError;

/// Enough of a beginning to know every format below.
const BEGINNING: usize = 8 * 1024;
const BUFFER: usize = 1 << 18;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const PARQUET: &[u8] = b"PAR1";
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
/// A frame that holds no data may stand before the first: 16 of them, by their lowest half byte.
const ZSTD_SKIPPABLE: &[u8] = b"\x2a\x4d\x18";

/// What people have, and what it is called. None of them can begin a line of JSON or a CSV header.
const OTHERS: &[(&[u8], &str)] = &[
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"\x04\x22\x4d\x18", "compressed with lz4"),
    (b"\xff\x06\0\0sNaPpY", "compressed with snappy"),
    (b"\x1f\x9d", "compressed with compress"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"PARE", "an encrypted Parquet file"),
    (b"Obj\x01", "an Avro file"),
    (b"ORC", "an ORC file"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"%PDF", "a PDF document"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
];

/// A file that can be read on.
pub enum Contents {
    /// Rows by column.
    Parquet(File),
    /// Lines, unpacked, and their beginning once more.
    Text(Box<dyn BufRead + Send>, Vec<u8>),
}

/// Opens a file and looks at what it is.
///
/// # Errors
/// When it cannot be read, is empty or is something else.
pub fn open(path: &Path) -> Result<Contents, InputError> {
    let failed = |source| InputError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(InputError::NoFile { path: path.to_owned() });
    }
    let start = beginning(&mut file).map_err(failed)?;
    file.rewind().map_err(failed)?;
    if start.starts_with(PARQUET) {
        return Ok(Contents::Parquet(file));
    }
    let mut packed = BufReader::with_capacity(BUFFER, file);
    let is_zstd = start.starts_with(ZSTD)
        || (start.get(1..4) == Some(ZSTD_SKIPPABLE) && start.first().is_some_and(|byte| byte >> 4 == 5));
    let unpacked: Box<dyn Read + Send> = if start.starts_with(GZIP) {
        Box::new(MultiGzDecoder::new(packed))
    } else if is_zstd {
        Box::new(zstd::stream::read::Decoder::with_buffer(packed).map_err(failed)?)
    } else {
        skip_byte_order_mark(&mut packed, &start).map_err(failed)?;
        let start = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&start).to_vec();
        refuse(path, &start, "")?;
        return Ok(Contents::Text(Box::new(packed), start));
    };
    let mut unpacked = BufReader::with_capacity(BUFFER, unpacked);
    let start = beginning(&mut unpacked).map_err(failed)?;
    if start.starts_with(PARQUET) {
        return Err(other(path, "a compressed Parquet file"));
    }
    refuse(path, &start, ", once unpacked")?;
    let start = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&start).to_vec();
    Ok(Contents::Text(Box::new(std::io::Cursor::new(start.clone()).chain(unpacked)), start))
}

fn beginning(reader: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    reader.by_ref().take(BEGINNING as u64).read_to_end(&mut start)?;
    Ok(start)
}

fn skip_byte_order_mark(reader: &mut impl BufRead, start: &[u8]) -> std::io::Result<()> {
    if start.starts_with(BYTE_ORDER_MARK) {
        reader.fill_buf()?;
        reader.consume(BYTE_ORDER_MARK.len());
    }
    Ok(())
}

/// Refuses what is no text.
fn refuse(path: &Path, start: &[u8], when: &str) -> Result<(), InputError> {
    if start.iter().all(u8::is_ascii_whitespace) && start.len() < BEGINNING {
        return Err(InputError::Empty { path: path.to_owned() });
    }
    if let Some((_, name)) = OTHERS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(other(path, &format!("{name}{when}")));
    }
    if start.get(257..262) == Some(b"ustar") {
        return Err(other(path, &format!("a tar archive{when}")));
    }
    if start.contains(&0) {
        return Err(other(path, &format!("binary{when}")));
    }
    if start.trim_ascii_start().starts_with(b"[") {
        return Err(other(path, "a JSON array; `jq -c .[]` makes lines of it"));
    }
    Ok(())
}

fn other(path: &Path, found: &str) -> InputError {
    InputError::OtherFormat { path: path.to_owned(), found: found.to_owned() }
}
