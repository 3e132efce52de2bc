//! Rows from Parquet, one row group at a time.
//!
//! Reads what this and earlier releases wrote: a column that a file does not have is null. Anything else is an error, never a panic:
//! whoever can put an object can put half of one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;

use crate::row::{Cell, Place, Row};
use crate::table::{COMMON, Column, Kind, Table};

/// Rows of a row group at most; ours have fewer.
const GROUP_ROWS_MAX: i64 = 1_000_000;

/// Why an object cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not Parquet, or half of it.
    #[error("the object is not a readable Parquet file")]
    Parquet(#[from] ParquetError),
    /// Damaged in a way that the `parquet` crate does not check for: it panics on a negative offset of a column, among others.
    #[error("the object is a damaged Parquet file")]
    Damaged,
    /// Parquet of something else.
    #[error("the object is not one of table {table}: {what}")]
    OtherTable {
        /// The table.
        table: &'static str,
        /// What is wrong.
        what: String,
    },
}

/// A file, from its first row group to its last.
pub struct FileRows {
    table: Table,
    reader: SerializedFileReader<Bytes>,
    next_group: usize,
}

impl FileRows {
    /// Opens a file.
    ///
    /// # Errors
    /// When it is none of this table.
    pub fn open(table: Table, file: Bytes) -> Result<Self, Unreadable> {
        let reader = unwinding(|| Ok(SerializedFileReader::new(file)?))?;
        Ok(Self { table, reader, next_group: 0 })
    }

    /// How many rows it says to have.
    pub fn row_count(&self) -> i64 {
        self.reader.metadata().file_metadata().num_rows()
    }

    /// The rows of the next row group; none after the last.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn next_group(&mut self) -> Result<Option<Vec<Row>>, Unreadable> {
        if self.next_group == self.reader.num_row_groups() {
            return Ok(None);
        }
        let group = self.next_group;
        self.next_group += 1;
        unwinding(|| read_group(self.table, &*self.reader.get_row_group(group)?)).map(Some)
    }
}

/// Reads, and makes an error of a panic. What was being read is not used any more after one.
fn unwinding<T>(read: impl FnOnce() -> Result<T, Unreadable>) -> Result<T, Unreadable> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(Unreadable::Damaged))
}

/// All rows of a small file.
///
/// # Errors
/// When it cannot be read as a whole.
pub fn read_all(table: Table, file: Bytes) -> Result<Vec<Row>, Unreadable> {
    let mut file = FileRows::open(table, file)?;
    let mut rows = Vec::new();
    while let Some(group) = file.next_group()? {
        rows.extend(group);
    }
    Ok(rows)
}

/// Hands these columns of every row to `take`, and reads nothing else.
///
/// # Errors
/// When the file cannot be read as a whole.
pub fn each<const N: usize>(
    table: Table,
    file: Bytes,
    columns: [&str; N],
    mut take: impl FnMut([&Cell; N]),
) -> Result<(), Unreadable> {
    let file = FileRows::open(table, file)?;
    let wanted = columns.map(|name| table.columns().iter().find(|column| column.name == name).copied());
    for index in 0..file.reader.num_row_groups() {
        let (rows, cells) = unwinding(|| {
            let group = file.reader.get_row_group(index)?;
            let columns = Columns { table, group: &*group, rows: rows_of(&*group)? };
            let cells: Result<Vec<Vec<Cell>>, Unreadable> = wanted
                .iter()
                .map(|column| column.map_or_else(|| Ok(Vec::new()), |column| columns.cells(column)))
                .collect();
            Ok((columns.rows, cells?))
        })?;
        for row in 0..rows {
            take(std::array::from_fn(|column| cells[column].get(row).unwrap_or(&Cell::Null)));
        }
    }
    Ok(())
}

fn rows_of(group: &dyn RowGroupReader) -> Result<usize, Unreadable> {
    let count = group.metadata().num_rows();
    if !(0..=GROUP_ROWS_MAX).contains(&count) {
        return Err(ParquetError::General(format!("a row group says to have {count} rows")).into());
    }
    Ok(count as usize)
}

fn read_group(table: Table, group: &dyn RowGroupReader) -> Result<Vec<Row>, Unreadable> {
    let columns = Columns { table, group, rows: rows_of(group)? };
    let [partition, offset, time, problem, value] = COMMON;
    let partitions = columns.required::<Int32Type>(partition.name)?;
    let offsets = columns.required::<Int64Type>(offset.name)?;
    let times = columns.required::<Int64Type>(time.name)?;
    let (problems, values) = (columns.cells(problem)?, columns.cells(value)?);
    let typed: Vec<Vec<Cell>> =
        table.columns().iter().map(|column| columns.cells(*column)).collect::<Result<_, _>>()?;
    let mut typed: Vec<_> = typed.into_iter().map(Vec::into_iter).collect();
    let places = partitions.into_iter().zip(offsets).zip(times);
    let rows =
        places.zip(problems.into_iter().zip(values)).map(|(((partition, offset), broker_time), (problem, value))| {
            let cells = typed.iter_mut().map(|column| column.next().unwrap_or_default()).collect();
            let problem = match problem {
                Cell::Bytes(text) => Some(String::from_utf8_lossy(&text).into()),
                _ => None,
            };
            let value = match value {
                Cell::Bytes(bytes) => Some(bytes),
                _ => None,
            };
            Row { place: Place { partition, offset }, broker_time, problem, value, cells }
        });
    Ok(rows.collect())
}

struct Columns<'a> {
    table: Table,
    group: &'a dyn RowGroupReader,
    rows: usize,
}

/// A column's values with their levels.
struct Leaf<T> {
    values: Vec<T>,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

impl Columns<'_> {
    fn other(&self, what: String) -> Unreadable {
        Unreadable::OtherTable { table: self.table.name(), what }
    }

    /// The place of a column.
    fn find(&self, path: &[&str]) -> Option<usize> {
        let columns = self.group.metadata().columns();
        columns
            .iter()
            .position(|column| column.column_path().parts().iter().map(String::as_str).eq(path.iter().copied()))
    }

    fn leaf<T: DataType>(&self, path: &[&str], levels: (i16, i16)) -> Result<Option<Leaf<T::T>>, Unreadable> {
        let Some(index) = self.find(path) else { return Ok(None) };
        let found = self.group.metadata().column(index).column_descr();
        let found_levels = (found.max_def_level(), found.max_rep_level());
        if found.physical_type() != T::get_physical_type() || found_levels != levels {
            return Err(self.other(format!("column {} has another type", path.join("."))));
        }
        let reader: ColumnReader = self.group.get_column_reader(index)?;
        let mut reader: ColumnReaderImpl<T> = get_typed_column_reader(reader);
        let mut leaf = Leaf { values: Vec::new(), definitions: Vec::new(), repetitions: Vec::new() };
        let (definitions, repetitions) =
            ((levels.0 > 0).then_some(&mut leaf.definitions), (levels.1 > 0).then_some(&mut leaf.repetitions));
        let (rows, ..) = reader.read_records(self.rows, definitions, repetitions, &mut leaf.values)?;
        if rows != self.rows {
            return Err(self.other(format!("column {} has {rows} rows instead of {}", path.join("."), self.rows)));
        }
        Ok(Some(leaf))
    }

    fn required<T: DataType>(&self, name: &str) -> Result<Vec<T::T>, Unreadable> {
        let leaf = self.leaf::<T>(&[name], (0, 0))?;
        leaf.map(|leaf| leaf.values).ok_or_else(|| self.other(format!("it has no column {name}")))
    }

    /// A column that may be null, as cells.
    fn cells(&self, Column { name, kind }: Column) -> Result<Vec<Cell>, Unreadable> {
        let cells = match kind {
            Kind::Int => self.single::<Int32Type>(name, |number| Cell::Int(number.into()))?,
            Kind::Long | Kind::Time => self.single::<Int64Type>(name, Cell::Int)?,
            Kind::Double => self.single::<DoubleType>(name, Cell::Double)?,
            Kind::Bool => self.single::<BoolType>(name, Cell::Bool)?,
            // Copied, or one short text would keep its whole page in memory.
            Kind::Text | Kind::Binary => {
                self.single::<ByteArrayType>(name, |bytes| Cell::Bytes(Bytes::copy_from_slice(bytes.data())))?
            }
            Kind::Doubles => {
                let list = self.lists::<DoubleType>(&[name, "list", "element"], 3)?;
                list.map(|lists| lists.into_iter().map(|list| list.map_or(Cell::Null, Cell::Doubles)).collect())
            }
            Kind::Texts => {
                let list = self.lists::<ByteArrayType>(&[name, "list", "element"], 3)?;
                list.map(|lists| lists.into_iter().map(|list| list.map_or(Cell::Null, |list| texts(&list))).collect())
            }
            Kind::Reasons => {
                let codes = self.lists::<ByteArrayType>(&[name, "list", "element", "code"], 4)?;
                let shares = self.lists::<DoubleType>(&[name, "list", "element", "contribution"], 4)?;
                codes.zip(shares).map(|(codes, shares)| codes.into_iter().zip(shares).map(reasons).collect())
            }
        };
        Ok(cells.unwrap_or_else(|| vec![Cell::Null; self.rows]))
    }

    fn single<T: DataType>(&self, name: &str, cell: impl Fn(T::T) -> Cell) -> Result<Option<Vec<Cell>>, Unreadable> {
        let Some(Leaf { values, definitions, .. }) = self.leaf::<T>(&[name], (1, 0))? else { return Ok(None) };
        let mut values = values.into_iter();
        let cells = definitions.iter().map(|level| (*level == 1).then(|| values.next()).flatten());
        Ok(Some(cells.map(|value| value.map_or(Cell::Null, &cell)).collect()))
    }

    /// Lists whose elements may be null; `present` is the level of a value.
    fn lists<T: DataType>(&self, path: &[&str], present: i16) -> Result<Option<Lists<T::T>>, Unreadable> {
        let Some(Leaf { values, definitions, repetitions }) = self.leaf::<T>(path, (present, 1))? else {
            return Ok(None);
        };
        let mut values = values.into_iter();
        let mut lists: Vec<Option<Vec<Option<T::T>>>> = Vec::with_capacity(self.rows);
        for (definition, repetition) in definitions.into_iter().zip(repetitions) {
            if repetition == 0 {
                lists.push((definition > 0).then(Vec::new));
            }
            if definition > 1
                && let Some(Some(list)) = lists.last_mut()
            {
                list.push((definition == present).then(|| values.next()).flatten());
            }
        }
        Ok(Some(lists.into_iter().map(|list| list.map(Vec::into_boxed_slice)).collect()))
    }
}

/// A list's elements, which may be null.
type Elements<T> = Box<[Option<T>]>;
/// One list per row, which may be null.
type Lists<T> = Vec<Option<Elements<T>>>;

fn text(bytes: Option<&ByteArray>) -> Box<str> {
    bytes.map_or_else(Box::default, |bytes| String::from_utf8_lossy(bytes.data()).into())
}

fn texts(list: &[Option<ByteArray>]) -> Cell {
    Cell::Texts(list.iter().map(|element| text(element.as_ref())).collect())
}

fn reasons((codes, shares): (Option<Elements<ByteArray>>, Option<Elements<f64>>)) -> Cell {
    match (codes, shares) {
        (Some(codes), Some(shares)) => {
            let pairs = codes.iter().zip(&shares);
            Cell::Reasons(pairs.map(|(code, share)| (text(code.as_ref()), share.unwrap_or_default())).collect())
        }
        _ => Cell::Null,
    }
}
