//! Transactions from a file: JSON lines or CSV, as they are or compressed, or Parquet.
//!
//! A line of JSON goes out byte for byte. Unless somebody asks for an unchecked file, what is no transaction is refused with its
//! line or row, before anything is sent.

use std::fmt;
use std::io::{BufRead, Read as _};
use std::path::{Path, PathBuf};

use centinela_contracts::payload::PayloadProblem;
use centinela_contracts::transaction_v1;
use centinela_domain::Currency;
use parquet::errors::ParquetError;
use serde_json::Value;

use super::columns::{PayloadRow, shown};
use super::container::{self, Contents};
use super::csv_rows::{self, CsvRows};
use super::parquet_rows::ParquetRows;
use super::{Message, Stream};
use crate::args::Key;

/// Longest line that is sent: what the topic `transactions` takes, less the room that Kafka needs around a record.
pub const LINE_BYTES_MAX: usize = 1_000_000;
/// Fields whose value is shown to a person: they name nobody.
const SHOWN: [&str; 4] = ["timestamp", "amount", "currency", "device_type"];

/// Why a file cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        /// What the operating system or the decompression said.
        #[source]
        source: std::io::Error,
    },
    /// A directory or a device.
    #[error("{} is no file", path.display())]
    NoFile {
        /// What was named.
        path: PathBuf,
    },
    /// Nothing is in it.
    #[error("{} holds no transaction: it is empty", path.display())]
    Empty { path: PathBuf },
    /// Known, and not read.
    #[error("{} is {found}; JSON lines and CSV, plain or compressed with gzip or zstd, and Parquet are read", path.display())]
    OtherFormat {
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// The Parquet file is broken.
    #[error("{} is no readable Parquet file", path.display())]
    Parquet {
        path: PathBuf,
        /// Where and why.
        #[source]
        source: ParquetError,
    },
    /// The table holds something else.
    #[error(
        "{} has no column `{column}`, only {found}: it needs transaction_id, timestamp, user_id, amount, device_type, device_id, ip and user_agent, \
         or transaction_id, timestamp, customer_id, terminal_id and amount_cents",
        path.display()
    )]
    NoColumn {
        path: PathBuf,
        /// The first one that is missing.
        column: &'static str,
        /// Some that are there.
        found: String,
    },
    /// Nobody knows which one is meant.
    #[error("{} has column `{column}` twice; remove or rename one of them", path.display())]
    ColumnTwice { path: PathBuf, column: &'static str },
    /// The truth is asked for, and is not in it.
    #[error("{} does not say which transactions are fraud: --labels-after needs a table with a column `fraud`", path.display())]
    NoLabels { path: PathBuf },
    /// Somebody cut it meanwhile.
    #[error("{} has changed since it was checked: it ends after {found} of {checked} rows", path.display())]
    Changed {
        path: PathBuf,
        /// Rows that were there.
        found: u64,
        /// Rows that should be.
        checked: u64,
    },
    /// Something that is no transaction.
    #[error("{place} of {}: {problem}", path.display())]
    Row {
        path: PathBuf,
        /// Where it stands.
        place: Place,
        /// What is wrong with it.
        problem: String,
    },
}

impl InputError {
    /// A row and what is wrong with it.
    pub fn row(path: &Path, place: Place, problem: String) -> Self {
        Self::Row { path: path.to_owned(), place, problem }
    }
}

/// Where something stands in a file, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Of a text.
    Line(u64),
    /// Of a table.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Row(number) => write!(f, "row {number}"),
        }
    }
}

/// What may be in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Transactions and nothing else.
    Transactions,
    /// Whatever Kafka takes; what is no transaction is somebody else's to judge.
    Anything,
}

/// How a file is read.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    /// The field that becomes a record's key.
    pub key: Key,
    /// Only the first rows.
    pub limit: Option<u64>,
    /// What a transaction without a currency is in.
    pub default_currency: Currency,
}

/// An open file.
pub struct Rows {
    path: PathBuf,
    table: Table,
    rule: Rule,
    input: Input,
    left: u64,
    expected: Option<u64>,
}

enum Table {
    Lines(Lines),
    Csv(CsvRows),
    Parquet(ParquetRows),
}

impl Input {
    /// Opens a file and looks at what it is.
    ///
    /// # Errors
    /// See [`InputError`].
    pub fn open(self, path: &Path, rule: Rule) -> Result<Rows, InputError> {
        let table = match container::open(path)? {
            Contents::Parquet(file) => Table::Parquet(ParquetRows::open(path, file)?),
            Contents::Text(text, start) => match csv_rows::delimiter(&start, rule) {
                Some(delimiter) => Table::Csv(CsvRows::open(path, text, delimiter)?),
                None => Table::Lines(Lines { path: path.to_owned(), text, number: 0 }),
            },
        };
        let left = self.limit.unwrap_or(u64::MAX);
        Ok(Rows { path: path.to_owned(), table, rule, input: self, left, expected: None })
    }

    /// The same, after every row that will be sent was read once: the first that is no transaction is the error.
    ///
    /// # Errors
    /// See [`InputError`].
    pub fn open_checked(self, path: &Path) -> Result<Rows, InputError> {
        let mut rows = self.open(path, Rule::Transactions)?;
        let mut count = 0;
        while rows.next()?.is_some() {
            count += 1;
        }
        if count == 0 {
            return Err(InputError::Empty { path: path.to_owned() });
        }
        Ok(Rows { expected: Some(count), left: count, ..self.open(path, Rule::Transactions)? })
    }
}

impl Rows {
    /// The next record; none at the end.
    ///
    /// # Errors
    /// See [`InputError`].
    pub fn next(&mut self) -> Result<Option<Message>, InputError> {
        if self.left == 0 {
            return Ok(None);
        }
        let row = match &mut self.table {
            Table::Lines(lines) => lines.next()?.map(|value| PayloadRow { value, fraud: None }),
            Table::Csv(rows) => rows.next()?,
            Table::Parquet(rows) => rows.next()?,
        };
        let Some(PayloadRow { value, fraud }) = row else {
            return match self.expected {
                Some(checked) => {
                    Err(InputError::Changed { path: self.path.clone(), found: checked - self.left, checked })
                }
                None => Ok(None),
            };
        };
        self.left -= 1;
        match transaction_v1::parse_in(&value, self.input.default_currency) {
            Ok(transaction) => Ok(Some(Message::from_transaction(&transaction, value, self.input.key, fraud))),
            Err(_) if self.rule == Rule::Anything => {
                Ok(Some(Message { stream: Stream::Transactions, key: None, value, decision_id: None, fraud }))
            }
            Err(problem) => Err(InputError::row(&self.path, self.place(), described(&problem, &value))),
        }
    }

    fn place(&self) -> Place {
        match &self.table {
            Table::Lines(lines) => Place::Line(lines.number),
            Table::Csv(rows) => rows.place(),
            Table::Parquet(rows) => rows.place(),
        }
    }

    /// Records that will come, where that is known.
    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// Whether the file says which transactions are fraud.
    pub fn is_labelled(&self) -> bool {
        match &self.table {
            Table::Lines(_) => false,
            Table::Csv(rows) => rows.is_labelled(),
            Table::Parquet(rows) => rows.is_labelled(),
        }
    }
}

/// A problem with the value that has it, unless that may name a person or is told already.
fn described(problem: &PayloadProblem, payload: &[u8]) -> String {
    let text = problem.to_string();
    let value = problem.field().filter(|field| SHOWN.contains(field)).and_then(|field| {
        let payload: Value = serde_json::from_slice(payload).ok()?;
        payload.get(field).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    });
    match value.as_deref().map(shown) {
        Some(value) if !text.contains(&value) => format!("{text}; it holds {value}"),
        _ => text,
    }
}

/// The lines of a text.
struct Lines {
    path: PathBuf,
    text: Box<dyn BufRead + Send>,
    number: u64,
}

impl Lines {
    /// The next line that is not blank, without its end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, InputError> {
        loop {
            let mut line = Vec::new();
            let read = self.text.by_ref().take(LINE_BYTES_MAX as u64 + 2).read_until(b'\n', &mut line);
            let read = read.map_err(|source| InputError::Read { path: self.path.clone(), source })?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if line.len() > LINE_BYTES_MAX {
                let problem = format!(
                    "it has more than {LINE_BYTES_MAX} bytes, which no record of the topic can hold; shorten or remove it"
                );
                return Err(InputError::row(&self.path, Place::Line(self.number), problem));
            }
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
