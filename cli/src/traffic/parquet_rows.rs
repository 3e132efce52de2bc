//! Rows of a Parquet file as payloads of topic `transactions`.
//!
//! Two sets of columns are understood: our own, named like the payload's fields, and that of an outside data set of card
//! payments (`transaction_id, timestamp, customer_id, terminal_id, amount_cents, fraud`), whose terminals become devices and
//! whose customers get one made-up address and agent each. Rows go out in the file's order.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row, RowAccessor as _};
use serde_json::{Map, Value, json};

use super::input::InputError;

const OWN: [&str; 8] =
    ["transaction_id", "timestamp", "user_id", "amount", "device_type", "device_id", "ip", "user_agent"];
const OWN_OPTIONAL: [&str; 2] = ["currency", "merchant_id"];
const OUTSIDE: [&str; 5] = ["transaction_id", "timestamp", "customer_id", "terminal_id", "amount_cents"];
const LABEL: &str = "fraud";

/// A row, ready to be sent.
pub struct PayloadRow {
    /// The payload.
    pub value: Vec<u8>,
    /// The truth, where the file has it.
    pub fraud: Option<bool>,
}

/// An open Parquet file.
pub struct ParquetRows {
    path: PathBuf,
    rows: RowIter<'static>,
    count: u64,
    row: u64,
    outside: bool,
    /// Position of every column that is used.
    columns: Vec<(&'static str, usize)>,
}

impl ParquetRows {
    pub fn open(path: &Path, file: File) -> Result<Self, InputError> {
        let broken = |source| InputError::Parquet { path: path.to_owned(), source };
        let reader = SerializedFileReader::new(file).map_err(broken)?;
        let schema = reader.metadata().file_metadata().schema();
        let names: Vec<String> = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
        let place = |column: &str| names.iter().position(|name| name == column);
        let outside = place("terminal_id").is_some() && place("device_id").is_none();
        let mut columns = Vec::new();
        for column in if outside { &OUTSIDE[..] } else { &OWN[..] } {
            let index = place(column).ok_or(InputError::NoColumn { path: path.to_owned(), column })?;
            columns.push((*column, index));
        }
        let optional = OWN_OPTIONAL.iter().filter(|_| !outside).chain([&LABEL]);
        columns.extend(optional.filter_map(|column| Some((*column, place(column)?))));
        let count = u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
        let rows = RowIter::from_file_into(Box::new(reader));
        Ok(Self { path: path.to_owned(), rows, count, row: 0, outside, columns })
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn is_labelled(&self) -> bool {
        self.columns.iter().any(|(column, _)| *column == LABEL)
    }

    pub fn next(&mut self) -> Result<Option<PayloadRow>, InputError> {
        let Some(row) = self.rows.next() else { return Ok(None) };
        self.row += 1;
        let row = row.map_err(|source: ParquetError| InputError::Parquet { path: self.path.clone(), source })?;
        let value = if self.outside { self.outside_payload(&row)? } else { self.own_payload(&row)? };
        let fraud = match self.find(LABEL) {
            Some(index) => Some(row.get_bool(index).map_err(|_| self.bad(LABEL, &row))?),
            None => None,
        };
        Ok(Some(PayloadRow { value: value.to_string().into_bytes(), fraud }))
    }

    fn find(&self, column: &str) -> Option<usize> {
        self.columns.iter().find(|(name, _)| *name == column).map(|(_, index)| *index)
    }

    fn bad(&self, column: &'static str, row: &Row) -> InputError {
        let field =
            self.find(column).and_then(|index| row.get_column_iter().nth(index)).map(|(_, field)| field.to_string());
        let found: String = field.unwrap_or_default().chars().take(80).collect();
        InputError::Value { path: self.path.clone(), row: self.row, column, found }
    }

    fn whole(&self, row: &Row, column: &'static str) -> Result<u64, InputError> {
        let field = self.find(column).and_then(|index| row.get_column_iter().nth(index)).map(|(_, field)| field);
        let whole = match field {
            Some(Field::UByte(number)) => Some(u64::from(*number)),
            Some(Field::UShort(number)) => Some(u64::from(*number)),
            Some(Field::UInt(number)) => Some(u64::from(*number)),
            Some(Field::ULong(number)) => Some(*number),
            Some(Field::Byte(number)) => u64::try_from(*number).ok(),
            Some(Field::Short(number)) => u64::try_from(*number).ok(),
            Some(Field::Int(number)) => u64::try_from(*number).ok(),
            Some(Field::Long(number) | Field::TimestampMillis(number)) => u64::try_from(*number).ok(),
            _ => None,
        };
        whole.ok_or_else(|| self.bad(column, row))
    }

    fn outside_payload(&self, row: &Row) -> Result<Value, InputError> {
        let customer = self.whole(row, "customer_id")?;
        let cents = self.whole(row, "amount_cents")?;
        let [_, b, c, d] = u32::try_from(customer % (1 << 24)).unwrap_or(0).to_be_bytes();
        Ok(json!({
            "version": 1,
            "transaction_id": format!("t{}", self.whole(row, "transaction_id")?),
            "timestamp": self.whole(row, "timestamp")?.saturating_mul(1_000),
            "user_id": format!("customer-{customer}"),
            "amount": format!("{}.{:02}", cents / 100, cents % 100),
            "currency": "EUR",
            "device_type": "pos",
            "device_id": format!("terminal-{}", self.whole(row, "terminal_id")?),
            "ip": format!("10.{b}.{c}.{d}"),
            "user_agent": format!("terminal/{}", customer % 8),
        }))
    }

    /// A payload with what the row holds; a null is left out, for the function to judge.
    fn own_payload(&self, row: &Row) -> Result<Value, InputError> {
        let mut payload = Map::new();
        payload.insert("version".to_owned(), json!(1));
        for (column, index) in self.columns.iter().filter(|(column, _)| *column != LABEL) {
            let field = row.get_column_iter().nth(*index).map(|(_, field)| field);
            let value = match field {
                None | Some(Field::Null) => continue,
                Some(Field::Str(text)) => json!(text),
                Some(Field::Double(number)) => json!(number),
                Some(Field::Float(number)) => json!(number),
                Some(Field::Decimal(_)) => json!(field.map(ToString::to_string)),
                Some(_) => json!(self.whole(row, column)?),
            };
            payload.insert((*column).to_owned(), value);
        }
        Ok(Value::Object(payload))
    }
}
