//! Rows of a CSV file with a header. Columns are parted by commas, semicolons or tabs; an empty cell is missing.

use std::io::{BufRead, Error, Read};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder, Trim};

use super::columns::{Cell, Columns, PayloadRow};
use super::input::{InputError, LINE_BYTES_MAX, Place, Rule};

const DELIMITERS: [char; 3] = [',', ';', '\t'];

/// An open CSV file.
pub struct CsvRows {
    path: PathBuf,
    reader: Reader<Bounded>,
    columns: Columns,
    record: ByteRecord,
}

/// Ends a record that has no end: a quote that is never closed would take the whole file into memory.
struct Bounded {
    text: Box<dyn BufRead + Send>,
    left: usize,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.text.read(buffer)?;
        self.left = self.left.checked_sub(read).ok_or_else(|| {
            Error::other(format!("a row has more than {LINE_BYTES_MAX} bytes; is a quote not closed?"))
        })?;
        Ok(read)
    }
}

/// What parts the columns of a file that begins like this; none when it is no table of ours. Where only transactions are taken, any
/// text that is parted and no JSON is a table, whose columns can be named when ours are not among them.
pub fn delimiter(start: &[u8], rule: Rule) -> Option<char> {
    let header = start.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty())?;
    let header = String::from_utf8_lossy(header);
    let names_ours = |name: &str| name.trim().trim_matches('"') == "transaction_id";
    let ours = DELIMITERS.into_iter().find(|delimiter| header.split(*delimiter).any(names_ours));
    let is_foreign = rule == Rule::Transactions && !header.trim_start().starts_with('{');
    let most = || {
        let counts = DELIMITERS.map(|delimiter| (header.matches(delimiter).count(), delimiter));
        counts.into_iter().filter(|(count, _)| *count > 0).max_by_key(|(count, _)| *count)
    };
    ours.or_else(|| if is_foreign { most().map(|(_, delimiter)| delimiter) } else { None })
}

impl CsvRows {
    /// Reads the header.
    ///
    /// # Errors
    /// When a column is missing or there twice.
    pub fn open(path: &Path, text: Box<dyn BufRead + Send>, delimiter: char) -> Result<Self, InputError> {
        let mut reader = ReaderBuilder::new()
            .delimiter(u8::try_from(delimiter).unwrap_or(b','))
            .trim(Trim::All)
            .from_reader(Bounded { text, left: 2 * LINE_BYTES_MAX });
        let header = reader.byte_headers().map_err(|error| broken(path, error))?;
        let names: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let columns = Columns::find(path, names.iter().map(String::as_str))?;
        Ok(Self { path: path.to_owned(), reader, columns, record: ByteRecord::new() })
    }

    /// Whether the file says which transactions are fraud.
    pub fn is_labelled(&self) -> bool {
        self.columns.is_labelled()
    }

    /// Where the last row began.
    pub fn place(&self) -> Place {
        Place::Line(self.record.position().map_or(1, csv::Position::line))
    }

    /// The next row; none at the end.
    ///
    /// # Errors
    /// When the file cannot be read on or a value cannot become part of a payload.
    pub fn next(&mut self) -> Result<Option<PayloadRow>, InputError> {
        self.reader.get_mut().left = 2 * LINE_BYTES_MAX;
        if !self.reader.read_byte_record(&mut self.record).map_err(|error| broken(&self.path, error))? {
            return Ok(None);
        }
        let row = self.columns.payload(|place| cell(self.record.get(place).unwrap_or_default()));
        let bad = |bad: super::columns::BadCell| InputError::row(&self.path, self.place(), bad.to_string());
        row.map(Some).map_err(bad)
    }
}

fn cell(bytes: &[u8]) -> Cell {
    match std::str::from_utf8(bytes) {
        Ok("") => Cell::Missing,
        Ok(text) => Cell::Text(text.to_owned()),
        Err(_) => Cell::Other(String::from_utf8_lossy(bytes).into_owned()),
    }
}

fn broken(path: &Path, error: csv::Error) -> InputError {
    let line = error.position().map_or(1, csv::Position::line);
    match error.into_kind() {
        ErrorKind::Io(source) => InputError::Read { path: path.to_owned(), source },
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let problem = format!("it has {len} columns and the header {expected_len}");
            InputError::row(path, Place::Line(line), problem)
        }
        kind => InputError::row(path, Place::Line(line), format!("it is no CSV: {kind:?}")),
    }
}
