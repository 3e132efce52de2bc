//! Rows to Parquet, column by column, with no more in memory than a row group and what is written so far.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use crate::row::{Cell, Row};
use crate::table::{Kind, Table};

/// Rows of a row group at most.
pub const GROUP_ROWS_MAX: usize = 20_000;
/// Bytes of rows in memory before a row group is closed.
pub const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Fixed, so that the same rows are the same bytes whatever release of the library wrote them.
const CREATED_BY: &str = "centinela";

/// How hard to compress: raw objects live for hours, compacted files for years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// For raw objects.
    Quick,
    /// For compacted files.
    Thorough,
}

/// A file that is being written. The same rows give the same bytes.
pub struct FileWriter {
    table: Table,
    writer: SerializedFileWriter<Vec<u8>>,
    pending: Vec<Row>,
    pending_bytes: usize,
    rows: u64,
}

impl FileWriter {
    /// An empty file of a table.
    ///
    /// # Errors
    /// Never for the tables that there are.
    pub fn new(table: Table, effort: Effort) -> Result<Self, ParquetError> {
        let writer = SerializedFileWriter::new(Vec::new(), table.schema()?, properties(effort)?)?;
        Ok(Self { table, writer, pending: Vec::new(), pending_bytes: 0, rows: 0 })
    }

    /// Takes a row. Rows come in the order of their places.
    ///
    /// # Errors
    /// When a row is not one of the table.
    pub fn push(&mut self, row: Row) -> Result<(), ParquetError> {
        self.pending_bytes += row.bytes();
        self.pending.push(row);
        self.rows += 1;
        if self.pending.len() >= GROUP_ROWS_MAX || self.pending_bytes >= GROUP_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes that are written; what waits for its row group is not counted.
    pub fn bytes(&self) -> usize {
        self.writer.bytes_written()
    }

    /// The file.
    ///
    /// # Errors
    /// When a row is not one of the table.
    pub fn finish(mut self) -> Result<Bytes, ParquetError> {
        if !self.pending.is_empty() {
            self.flush()?;
        }
        Ok(self.writer.into_inner()?.into())
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        let rows = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let mut group = self.writer.next_row_group()?;
        longs::<Int32Type>(&mut group, rows.iter().map(|row| Some(row.place.partition)), true)?;
        longs::<Int64Type>(&mut group, rows.iter().map(|row| Some(row.place.offset)), true)?;
        longs::<Int64Type>(&mut group, rows.iter().map(|row| Some(row.broker_time)), true)?;
        let problems = rows.iter().map(|row| row.problem.as_deref().map(ByteArray::from));
        longs::<ByteArrayType>(&mut group, problems, false)?;
        let values = rows.iter().map(|row| row.value.clone().map(ByteArray::from));
        longs::<ByteArrayType>(&mut group, values, false)?;
        for (index, column) in self.table.columns().iter().enumerate() {
            let cells = rows.iter().map(|row| row.cells.get(index).unwrap_or(&Cell::Null));
            write_column(&mut group, column.kind, cells)?;
        }
        group.close()?;
        Ok(())
    }
}

fn properties(effort: Effort) -> Result<WriterPropertiesPtr, ParquetError> {
    let level = match effort {
        Effort::Quick => 1,
        Effort::Thorough => 3,
    };
    let sorted = [0, 1].map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false });
    let properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(level)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(sorted.to_vec()));
    Ok(Arc::new(properties.build()))
}

type Group<'a> = SerializedRowGroupWriter<'a, Vec<u8>>;

fn put<T: DataType>(
    group: &mut Group<'_>,
    values: &[T::T],
    definitions: Option<&[i16]>,
    repetitions: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("the table has fewer columns than the row".to_owned()));
    };
    column.typed::<T>().write_batch(values, definitions, repetitions)?;
    column.close()
}

/// A column of single values.
fn longs<T: DataType>(
    group: &mut Group<'_>,
    cells: impl ExactSizeIterator<Item = Option<T::T>>,
    is_required: bool,
) -> Result<(), ParquetError> {
    let mut definitions = Vec::with_capacity(cells.len());
    let mut values = Vec::with_capacity(cells.len());
    for cell in cells {
        definitions.push(i16::from(cell.is_some()));
        values.extend(cell);
    }
    put::<T>(group, &values, (!is_required).then_some(&definitions), None)
}

fn write_column<'a>(
    group: &mut Group<'_>,
    kind: Kind,
    cells: impl ExactSizeIterator<Item = &'a Cell> + Clone,
) -> Result<(), ParquetError> {
    match kind {
        Kind::Int => {
            let narrow = |cell: &Cell| if let Cell::Int(number) = cell { i32::try_from(*number).ok() } else { None };
            longs::<Int32Type>(group, cells.map(narrow), false)
        }
        Kind::Long | Kind::Time => {
            let number = |cell: &Cell| if let Cell::Int(number) = cell { Some(*number) } else { None };
            longs::<Int64Type>(group, cells.map(number), false)
        }
        Kind::Double => {
            let number = |cell: &Cell| if let Cell::Double(number) = cell { Some(*number) } else { None };
            longs::<DoubleType>(group, cells.map(number), false)
        }
        Kind::Bool => {
            let value = |cell: &Cell| if let Cell::Bool(value) = cell { Some(*value) } else { None };
            longs::<BoolType>(group, cells.map(value), false)
        }
        Kind::Text | Kind::Binary => {
            let bytes =
                |cell: &Cell| if let Cell::Bytes(bytes) = cell { Some(ByteArray::from(bytes.clone())) } else { None };
            longs::<ByteArrayType>(group, cells.map(bytes), false)
        }
        Kind::Doubles => {
            let list = |cell: &'a Cell| if let Cell::Doubles(list) = cell { Some(&**list) } else { None };
            lists::<DoubleType, _>(group, cells.map(list), 2, |number| *number)
        }
        Kind::Texts => {
            let list = |cell: &'a Cell| if let Cell::Texts(list) = cell { Some(&**list) } else { None };
            lists::<ByteArrayType, _>(group, cells.map(list), 2, |text| Some(ByteArray::from(&**text)))
        }
        Kind::Reasons => {
            let list = |cell: &'a Cell| if let Cell::Reasons(list) = cell { Some(&**list) } else { None };
            lists::<ByteArrayType, _>(group, cells.clone().map(list), 3, |(code, _)| Some(ByteArray::from(&**code)))?;
            lists::<DoubleType, _>(group, cells.map(list), 3, |(_, contribution)| Some(*contribution))
        }
    }
}

/// A column inside of lists. Its levels: 0 is no list, 1 an empty one, `present` an element without a value, one more one with it.
fn lists<'a, T: DataType, E: 'a>(
    group: &mut Group<'_>,
    cells: impl ExactSizeIterator<Item = Option<&'a [E]>>,
    present: i16,
    value: impl Fn(&E) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    for cell in cells {
        let Some(list) = cell.filter(|list| !list.is_empty()) else {
            definitions.push(i16::from(cell.is_some()));
            repetitions.push(0);
            continue;
        };
        for (index, element) in list.iter().enumerate() {
            let value = value(element);
            definitions.push(present + i16::from(value.is_some()));
            repetitions.push(i16::from(index > 0));
            values.extend(value);
        }
    }
    put::<T>(group, &values, Some(&definitions), Some(&repetitions))
}
