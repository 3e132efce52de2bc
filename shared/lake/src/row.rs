//! Rows as values.

use bytes::Bytes;

use crate::table::Table;

/// The value of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Cell {
    /// Not there.
    #[default]
    Null,
    /// Of an integer column, or a time.
    Int(i64),
    /// A double.
    Double(f64),
    /// True or false.
    Bool(bool),
    /// Of a text column, then UTF-8, or a binary one.
    Bytes(Bytes),
    /// A list of doubles, some of them missing.
    Doubles(Box<[Option<f64>]>),
    /// A list of texts.
    Texts(Box<[Box<str>]>),
    /// What raised a score, and by how much.
    Reasons(Box<[(Box<str>, f64)]>),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Bytes(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Cell {
    /// About how many bytes of memory it takes beside itself.
    fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Int(_) | Self::Double(_) | Self::Bool(_) => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Doubles(list) => list.len() * 16,
            Self::Texts(list) => list.iter().map(|text| text.len() + 16).sum(),
            Self::Reasons(list) => list.iter().map(|(code, _)| code.len() + 24).sum(),
        }
    }
}

/// Where a record stands in its topic, in the order of the lake's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A record of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Where it stands.
    pub place: Place,
    /// The broker's time, milliseconds since 1970.
    pub broker_time: i64,
    /// Why the value could not be read.
    pub problem: Option<Box<str>>,
    /// The value as it came, where it could not be read.
    pub value: Option<Bytes>,
    /// The table's columns after the common ones, in their order.
    pub cells: Box<[Cell]>,
}

impl Row {
    /// A record whose value could not be read; nothing of it is lost.
    pub fn unreadable(table: Table, place: Place, broker_time: i64, problem: String, value: Option<Bytes>) -> Self {
        let cells = vec![Cell::Null; table.columns().len()].into_boxed_slice();
        Self { place, broker_time, problem: Some(problem.into()), value, cells }
    }

    /// A cell by its column's name.
    pub fn cell(&self, table: Table, name: &str) -> Option<&Cell> {
        self.cells.get(table.columns().iter().position(|column| column.name == name)?)
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        let cells: usize = self.cells.iter().map(Cell::bytes).sum();
        let value = self.value.as_ref().map_or(0, Bytes::len) + self.problem.as_ref().map_or(0, |text| text.len());
        size_of::<Self>() + self.cells.len() * size_of::<Cell>() + cells + value
    }
}
