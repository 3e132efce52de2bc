//! Compressed records, which are only read for a search by time.

use std::io::Read;

use bytes::Buf;

/// What a batch may become; it takes far less than that when it comes.
const BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How Java's snappy begins before its blocks; the two versions behind it are skipped.
const BLOCKS: &[u8] = b"\x82SNAPPY\0";
const BLOCK_VERSIONS_BYTES: usize = 8;

/// The records of a batch that is compressed in the way that its attributes name; none when they cannot be read.
pub(super) fn decompress(codec: i16, bytes: &[u8]) -> Option<Vec<u8>> {
    match codec {
        1 => all(flate2::read::MultiGzDecoder::new(bytes)),
        2 => snappy(bytes),
        3 => all(lz4_flex::frame::FrameDecoder::new(bytes)),
        4 => all(zstd::stream::read::Decoder::new(bytes).ok()?),
        _ => None,
    }
}

fn all(reader: impl Read) -> Option<Vec<u8>> {
    let mut found = Vec::new();
    reader.take(BYTES_MAX).read_to_end(&mut found).ok()?;
    Some(found)
}

fn snappy(bytes: &[u8]) -> Option<Vec<u8>> {
    let block = |block: &[u8]| {
        let size = snap::raw::decompress_len(block).ok().filter(|size| *size as u64 <= BYTES_MAX);
        size.and_then(|_| snap::raw::Decoder::new().decompress_vec(block).ok())
    };
    let Some(blocks) = bytes.strip_prefix(BLOCKS) else { return block(bytes) };
    let mut rest = blocks.get(BLOCK_VERSIONS_BYTES..)?;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let size = usize::try_from(rest.try_get_i32().ok()?).ok()?;
        found.extend(block(rest.get(..size)?)?);
        rest = &rest[size..];
    }
    Some(found)
}
