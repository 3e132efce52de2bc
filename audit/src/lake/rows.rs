//! The rows of a Parquet file, as far as they say which records they are about.

use bytes::Bytes;
use centinela_verdict::{Places, name_of};
use parquet::column::reader::ColumnReader;
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, RowGroupReader, SerializedFileReader};

/// Which records count, by partition: those of the run, and before its cut.
pub(super) struct Bounds {
    /// The first offset.
    pub(super) starts: Vec<i64>,
    /// The first offset that does not count.
    pub(super) ends: Vec<i64>,
}

impl Bounds {
    fn has(&self, partition: usize, offset: i64) -> bool {
        let start = self.starts.get(partition).copied().unwrap_or(0);
        (start..self.ends.get(partition).copied().unwrap_or(0)).contains(&offset)
    }
}

/// Takes in the rows of a file; `name` is the column that names a record, if the table has one.
pub(super) fn read(file: Bytes, name: Option<&str>, bounds: &Bounds, rows: &mut Places) -> Result<(), ParquetError> {
    let reader = SerializedFileReader::new(file)?;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group)?;
        let count = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let partitions = numbers(&*group, "partition", count)?;
        let offsets = numbers(&*group, "offset", count)?;
        let times = numbers(&*group, "broker_time", count)?;
        let names = match name {
            Some(name) => texts(&*group, name, count)?,
            None => vec![0; count],
        };
        for ((partition, offset), (time, name)) in partitions.iter().zip(&offsets).zip(times.iter().zip(&names)) {
            let partition = usize::try_from(*partition).unwrap_or(usize::MAX);
            if partition < bounds.ends.len() && bounds.has(partition, *offset) {
                rows.add(partition, *offset, *time, *name);
            }
        }
    }
    Ok(())
}

fn column(group: &dyn RowGroupReader, name: &str) -> Result<(ColumnReader, i16), ParquetError> {
    let columns = group.metadata().columns();
    let place = columns.iter().position(|column| column.column_path().string() == name);
    let place = place.ok_or_else(|| ParquetError::General(format!("there is no column `{name}`")))?;
    Ok((group.get_column_reader(place)?, columns[place].column_descr().max_def_level()))
}

/// A column of numbers without nulls.
fn numbers(group: &dyn RowGroupReader, name: &str, count: usize) -> Result<Vec<i64>, ParquetError> {
    match column(group, name)?.0 {
        ColumnReader::Int32ColumnReader(reader) => Ok(all(reader, count)?.0.into_iter().map(i64::from).collect()),
        ColumnReader::Int64ColumnReader(reader) => Ok(all(reader, count)?.0),
        _ => Err(ParquetError::General(format!("column `{name}` does not hold numbers"))),
    }
}

/// A column of texts as hashes; 0 is null.
fn texts(group: &dyn RowGroupReader, name: &str, count: usize) -> Result<Vec<u64>, ParquetError> {
    let (reader, present) = column(group, name)?;
    let ColumnReader::ByteArrayColumnReader(reader) = reader else {
        return Err(ParquetError::General(format!("column `{name}` does not hold texts")));
    };
    let (values, levels) = all(reader, count)?;
    let mut values = values.into_iter();
    let hash = |value: parquet::data_type::ByteArray| std::str::from_utf8(value.data()).map_or(0, name_of);
    let is_present = |row: usize| present == 0 || levels.get(row).is_some_and(|level| *level == present);
    Ok((0..count).map(|row| if is_present(row) { values.next().map_or(0, hash) } else { 0 }).collect())
}

type Column<T> = (Vec<<T as DataType>::T>, Vec<i16>);

/// All values of a column, and the level of each row where rows may be null.
fn all<T: DataType>(
    mut reader: parquet::column::reader::ColumnReaderImpl<T>,
    count: usize,
) -> Result<Column<T>, ParquetError> {
    let (mut values, mut levels) = (Vec::with_capacity(count), Vec::new());
    let mut rows = 0;
    while rows < count {
        let (read, ..) = reader.read_records(count - rows, Some(&mut levels), None, &mut values)?;
        if read == 0 {
            return Err(ParquetError::General(format!("{} rows are missing in a column", count - rows)));
        }
        rows += read;
    }
    Ok((values, levels))
}
