//! Transactions from a file: JSON lines, or Parquet with our own or the outside data set's columns.
//!
//! A line goes out byte for byte, whatever it holds: what is no transaction is the function's to park. Only a line that Kafka
//! would not take is refused here, by its number.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;

use super::Message;
use super::parquet_rows::ParquetRows;
use crate::args::Key;

/// Longest line that is sent: what the topic `transactions` takes, less the room that Kafka needs around a record.
pub const LINE_BYTES_MAX: usize = 1_000_000;
const PARQUET_MAGIC: [u8; 4] = *b"PAR1";

/// Why a file cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A directory or a device.
    #[error("{} is no file", path.display())]
    NoFile {
        /// What was named.
        path: PathBuf,
    },
    /// A line that Kafka would not take.
    #[error("line {line} of {} has more than {LINE_BYTES_MAX} bytes, which no record of the topic can hold; shorten or remove it", path.display())]
    LineTooLong {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: u64,
    },
    /// The Parquet file is broken.
    #[error("{} is no readable Parquet file", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: ParquetError,
    },
    /// The Parquet file holds something else.
    #[error(
        "{} has no column `{column}`: it needs transaction_id, timestamp, user_id, amount, device_type, device_id, ip and user_agent, \
         or transaction_id, timestamp, customer_id, terminal_id and amount_cents",
        path.display()
    )]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The first one that is missing.
        column: &'static str,
    },
    /// A value of the Parquet file that cannot become part of a transaction.
    #[error("row {row} of {}: column `{column}` holds {found}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        row: u64,
        /// The column.
        column: &'static str,
        /// What stands there.
        found: String,
    },
}

/// An open file.
pub struct Input {
    rows: Rows,
    key: Key,
    left: u64,
}

enum Rows {
    Lines { path: PathBuf, reader: BufReader<File>, line: u64 },
    Parquet(ParquetRows),
}

impl Input {
    /// Opens a file and looks at what it is.
    ///
    /// # Errors
    /// See [`InputError`].
    pub fn open(path: &Path, key: Key, limit: Option<u64>) -> Result<Self, InputError> {
        let failed = |source| InputError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(InputError::NoFile { path: path.to_owned() });
        }
        let mut magic = Vec::new();
        file.by_ref().take(PARQUET_MAGIC.len() as u64).read_to_end(&mut magic).map_err(failed)?;
        file.rewind().map_err(failed)?;
        let is_parquet = magic == PARQUET_MAGIC || path.extension().is_some_and(|extension| extension == "parquet");
        let rows = if is_parquet {
            Rows::Parquet(ParquetRows::open(path, file)?)
        } else {
            Rows::Lines { path: path.to_owned(), reader: BufReader::with_capacity(1 << 18, file), line: 0 }
        };
        Ok(Self { rows, key, left: limit.unwrap_or(u64::MAX) })
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    /// See [`InputError`].
    pub fn next(&mut self) -> Result<Option<Message>, InputError> {
        if self.left == 0 {
            return Ok(None);
        }
        let found = match &mut self.rows {
            Rows::Lines { path, reader, line } => {
                next_line(path, reader, line)?.map(|value| Message::from_value(value, self.key, None))
            }
            Rows::Parquet(rows) => rows.next()?.map(|row| Message::from_value(row.value, self.key, row.fraud)),
        };
        self.left = if found.is_some() { self.left - 1 } else { 0 };
        Ok(found)
    }

    /// Records that will come, where that is known.
    pub fn expected(&self) -> Option<u64> {
        match &self.rows {
            Rows::Lines { .. } => None,
            Rows::Parquet(rows) => Some(rows.count().min(self.left)),
        }
    }

    /// Whether the file says which transactions are fraud.
    pub fn is_labelled(&self) -> bool {
        match &self.rows {
            Rows::Lines { .. } => false,
            Rows::Parquet(rows) => rows.is_labelled(),
        }
    }
}

/// The next line that is not blank, without its end.
fn next_line(path: &Path, reader: &mut impl BufRead, number: &mut u64) -> Result<Option<Vec<u8>>, InputError> {
    loop {
        let mut line = Vec::new();
        let read = reader.by_ref().take(LINE_BYTES_MAX as u64 + 2).read_until(b'\n', &mut line);
        let read = read.map_err(|source| InputError::Read { path: path.to_owned(), source })?;
        if read == 0 {
            return Ok(None);
        }
        *number += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(InputError::LineTooLong { path: path.to_owned(), line: *number });
        }
        if !line.is_empty() {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<Vec<u8>> {
        let (mut reader, mut number) = (text, 0);
        std::iter::from_fn(|| next_line(Path::new("f"), &mut reader, &mut number).unwrap()).collect()
    }

    #[test]
    fn a_line_is_sent_as_it_stands_and_a_blank_one_is_not() {
        let found = lines(b"{\"a\":1}\n\n\xff\xfe broken\r\n  \nlast");
        assert_eq!(found, [&b"{\"a\":1}"[..], b"\xff\xfe broken", b"  ", b"last"]);
    }

    #[test]
    fn a_line_that_kafka_would_refuse_is_named_by_its_number() {
        let mut text = b"ok\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', LINE_BYTES_MAX + 1));
        let (mut reader, mut number) = (&text[..], 0);
        assert!(next_line(Path::new("f"), &mut reader, &mut number).unwrap().is_some());
        let error = next_line(Path::new("f"), &mut reader, &mut number).unwrap_err();
        assert!(matches!(error, InputError::LineTooLong { line: 2, .. }), "{error}");
    }
}
