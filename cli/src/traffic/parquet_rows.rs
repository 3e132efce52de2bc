//! Rows of a Parquet file, in the file's order. Only the columns that are used are read.
//!
//! The crate that reads it panics at some damaged files. Such a panic ends here: it becomes the error that any other damaged file is,
//! and prints nothing by itself.

use std::any::Any;
use std::cell::Cell as Flag;
use std::fs::File;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use parquet::basic::{LogicalType, TimeUnit};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;

use super::columns::{BadCell, Cell, Columns, PayloadRow};
use super::input::{InputError, Place};

/// Decimals after which every half-precision number that is an amount is exact enough.
const HALF_DECIMALS_MAX: usize = 8;

/// An open Parquet file.
pub struct ParquetRows {
    path: PathBuf,
    rows: RowIter<'static>,
    row: u64,
    columns: Columns,
    /// The logical type of every column that is read.
    types: Vec<Option<LogicalType>>,
}

impl ParquetRows {
    /// Reads the file's description of itself.
    ///
    /// # Errors
    /// When it cannot be read or a column is missing.
    pub fn open(path: &Path, file: File) -> Result<Self, InputError> {
        guarded(path, || Self::open_trusting(path, file))
    }

    fn open_trusting(path: &Path, file: File) -> Result<Self, InputError> {
        let broken = |source| InputError::Parquet { path: path.to_owned(), source };
        let reader = SerializedFileReader::new(file).map_err(broken)?;
        let schema = reader.metadata().file_metadata().schema();
        let all = Columns::find(path, schema.get_fields().iter().map(|field| field.name()))?;
        let used: Vec<Arc<Type>> = schema.get_fields().iter().filter(|field| all.uses(field.name())).cloned().collect();
        let columns = Columns::find(path, used.iter().map(|field| field.name()))?;
        let types = used.iter().map(|field| field.get_basic_info().logical_type_ref().cloned()).collect();
        let projection = Type::group_type_builder(schema.name()).with_fields(used).build().map_err(broken)?;
        let rows = RowIter::from_file_into(Box::new(reader)).project(Some(projection)).map_err(broken)?;
        Ok(Self { path: path.to_owned(), rows, row: 0, columns, types })
    }

    /// Whether the file says which transactions are fraud.
    pub fn is_labelled(&self) -> bool {
        self.columns.is_labelled()
    }

    /// The number of the last row.
    pub fn place(&self) -> Place {
        Place::Row(self.row)
    }

    /// The next row; none at the end.
    ///
    /// # Errors
    /// When the file cannot be read on or a value cannot become part of a payload.
    pub fn next(&mut self) -> Result<Option<PayloadRow>, InputError> {
        let path = self.path.clone();
        guarded(&path, || self.next_trusting())
    }

    fn next_trusting(&mut self) -> Result<Option<PayloadRow>, InputError> {
        let Some(row) = self.rows.next() else { return Ok(None) };
        self.row += 1;
        let row = row.map_err(|source: ParquetError| InputError::Parquet { path: self.path.clone(), source })?;
        let payload = self.columns.payload(|place| cell(&row, place, self.types.get(place).and_then(Option::as_ref)));
        payload.map(Some).map_err(|bad: BadCell| InputError::row(&self.path, self.place(), bad.to_string()))
    }
}

thread_local! {
    /// Whether a panic of this thread is awaited.
    static GUARDED: Flag<bool> = const { Flag::new(false) };
}

/// Does what may panic, and makes an error of it. What was worked on must not be used afterwards.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, InputError>) -> Result<T, InputError> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                usual(panic);
            }
        }));
    });
    GUARDED.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(false);
    outcome.unwrap_or_else(|panic| {
        let source = ParquetError::General(format!("it is damaged: {}", reason(panic.as_ref())));
        Err(InputError::Parquet { path: path.to_owned(), source })
    })
}

fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("its reader gave up")
}

fn cell(row: &Row, place: usize, logical: Option<&LogicalType>) -> Cell {
    let Some((_, field)) = row.get_column_iter().nth(place) else { return Cell::Missing };
    match field {
        Field::Null => Cell::Missing,
        Field::Bool(truth) => Cell::Truth(*truth),
        Field::Byte(number) => Cell::Whole((*number).into()),
        Field::Short(number) => Cell::Whole((*number).into()),
        Field::Int(number) => Cell::Whole((*number).into()),
        Field::Long(number) if is_nanoseconds(logical) => Cell::Instant(number.div_euclid(1_000_000)),
        Field::Long(number) => Cell::Whole((*number).into()),
        Field::UByte(number) => Cell::Whole((*number).into()),
        Field::UShort(number) => Cell::Whole((*number).into()),
        Field::UInt(number) => Cell::Whole((*number).into()),
        Field::ULong(number) => Cell::Whole((*number).into()),
        // The shortest text that means this number: 12.34 in single precision is no 12.340000152587890625.
        Field::Float(number) => Cell::Decimal(number.to_string()),
        Field::Double(number) => Cell::Decimal(number.to_string()),
        Field::Float16(number) => {
            let mut texts = (0..HALF_DECIMALS_MAX).map(|decimals| format!("{:.decimals$}", number.to_f32()));
            let shortest = texts.find(|text| text.parse().ok() == Some(*number));
            Cell::Decimal(shortest.unwrap_or_else(|| number.to_string()))
        }
        Field::Decimal(_) => decimal(&field.to_string()),
        Field::Str(text) => Cell::Text(text.clone()),
        Field::Bytes(bytes) => match bytes.as_utf8() {
            Ok(text) => Cell::Text(text.to_owned()),
            Err(_) => Cell::Other(format!("{} bytes that are no text", bytes.len())),
        },
        Field::TimestampMillis(milliseconds) => Cell::Instant(*milliseconds),
        Field::TimestampMicros(microseconds) => Cell::Instant(microseconds.div_euclid(1_000)),
        other => Cell::Other(other.to_string()),
    }
}

/// A decimal of no decimals is a whole number, which the crate prints with a point behind it.
fn decimal(text: &str) -> Cell {
    let whole = text.strip_suffix('.').unwrap_or(text);
    whole.parse().map_or_else(|_| Cell::Decimal(whole.to_owned()), Cell::Whole)
}

fn is_nanoseconds(logical: Option<&LogicalType>) -> bool {
    matches!(logical, Some(LogicalType::Timestamp(timestamp)) if timestamp.unit == TimeUnit::NANOS)
}
