//! Sorted files from sorted files and raw objects, each record once.
//!
//! Memory: one row group of the files that are read, the rows of raw objects whose ranges overlap, a few compressed raw objects that
//! were fetched ahead, one row group and one file that are being written. How many raw objects an hour has does not matter.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use centinela_domain::Millis;
use futures::stream::{self, StreamExt};
use parquet::errors::ParquetError;

use super::erased::Erased;
use crate::hour::Hour;
use crate::keys::{PartName, RawName};
use crate::manifest::Slice;
use crate::parquet_read::{FileRows, Unreadable, read_all};
use crate::parquet_write::{Effort, FileWriter};
use crate::row::{Place, Row};
use crate::store::{Condition, Listed, ObjectStore, StoreError};
use crate::table::Table;

/// Raw objects that are fetched ahead.
const FETCHED_AHEAD: usize = 8;

/// What to merge.
pub(super) struct Merge<'a, S> {
    pub store: &'a S,
    pub table: Table,
    pub hour: Hour,
    /// Number of the slice, and of all.
    pub slice: (u32, u32),
    /// What makes the names of files unique.
    pub run: &'a str,
    /// The slice's files so far.
    pub files: &'a [String],
    /// Raw objects that are not in them.
    pub raw: Vec<(RawName, Listed)>,
    pub erased: &'a Erased,
    /// A file that is larger is closed.
    pub file_bytes_max: usize,
    pub deadline: Millis,
}

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub slice: Slice,
    /// Rows that were there more than once.
    pub repeated: u64,
    /// Rows of erased users that were left out.
    pub erased: u64,
    /// Raw objects that could not be read, and whether other objects have all their rows.
    pub unreadable: Vec<(Listed, bool)>,
}

/// Why nothing came out.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the hour is gone or broken: it must be restored, or the hour be made anew from Kafka.
    #[error("the compacted file {key} cannot be read")]
    File {
        /// The file.
        key: String,
        /// Why; none when it is gone.
        #[source]
        source: Option<Unreadable>,
    },
    /// A fault of ours.
    #[error("the rows could not be written as Parquet")]
    Write(#[from] ParquetError),
}

impl<S: ObjectStore> Merge<'_, S> {
    pub(super) async fn run(mut self) -> Result<Merged, MergeError> {
        self.raw.sort_by_key(|(raw, _)| (raw.partition, raw.first, raw.last));
        let raw = std::mem::take(&mut self.raw);
        let mut merging = Merging {
            out: Out { merge: &self, file: None, merged: Merged::default(), written: Written::default() },
            files: Files {
                merge: &self,
                left: self.files.iter().cloned().collect(),
                open: None,
                rows: VecDeque::new(),
            },
            window: BTreeMap::new(),
        };
        let mut broken = Vec::new();
        let fetch = |(name, listed): (RawName, Listed)| async move {
            let got = self.store.get(&listed.key, self.deadline).await;
            (name, listed, got)
        };
        let mut fetched = std::pin::pin!(stream::iter(raw).map(fetch).buffered(FETCHED_AHEAD));
        while let Some((name, listed, got)) = fetched.next().await {
            merging.emit_before(Place { partition: name.partition, offset: name.first }).await?;
            match got?.and_then(|object| rows_of(self.table, &name, object.body)) {
                Some(rows) => merging.take(rows),
                None => broken.push((name, listed)),
            }
        }
        merging.emit_before(Place { partition: i32::MAX, offset: i64::MAX }).await?;
        let Merging { mut out, .. } = merging;
        out.close().await?;
        let Out { mut merged, written, .. } = out;
        merged.unreadable = broken.into_iter().map(|(name, listed)| (listed, written.has(&name))).collect();
        Ok(merged)
    }
}

/// The rows of a raw object; none when it is not what its name says. Its rows are few: a batch has at most 6 MB.
fn rows_of(table: Table, name: &RawName, body: Bytes) -> Option<Vec<Row>> {
    let rows = read_all(table, body).ok()?;
    let found = RawName::of(rows.iter().map(|row| (row.place, row.broker_time)));
    (found.as_ref() == Some(name)).then_some(rows)
}

struct Merging<'a, S> {
    out: Out<'a, S>,
    files: Files<'a, S>,
    /// Rows of raw objects that are not written yet.
    window: BTreeMap<Place, Row>,
}

impl<S: ObjectStore> Merging<'_, S> {
    fn take(&mut self, rows: Vec<Row>) {
        for row in rows {
            match self.window.get(&row.place) {
                Some(there) => {
                    self.out.merged.repeated += 1;
                    if is_later(&row, there) {
                        self.window.insert(row.place, row);
                    }
                }
                None => drop(self.window.insert(row.place, row)),
            }
        }
    }

    /// Writes every row that stands before a place.
    async fn emit_before(&mut self, end: Place) -> Result<(), MergeError> {
        loop {
            let filed = self.files.peek().await?.map(|row| row.place).filter(|place| *place < end);
            let raw = self.window.first_key_value().map(|(place, _)| *place).filter(|place| *place < end);
            let row = match (filed, raw) {
                (None, None) => return Ok(()),
                (Some(filed), Some(raw)) if filed == raw => {
                    self.out.merged.repeated += 1;
                    let (filed, raw) = (self.files.next(), self.window.pop_first().map(|(_, row)| row));
                    match (filed, raw) {
                        (Some(filed), Some(raw)) if is_later(&raw, &filed) => Some(raw),
                        (filed, raw) => filed.or(raw),
                    }
                }
                (Some(filed), raw) if raw.is_none_or(|raw| filed < raw) => self.files.next(),
                _ => self.window.pop_first().map(|(_, row)| row),
            };
            if let Some(row) = row {
                self.out.push(row).await?;
            }
        }
    }
}

/// The same place of a topic that was recreated within the hour: the later record stands.
fn is_later(row: &Row, than: &Row) -> bool {
    row.broker_time > than.broker_time
}

/// The rows of the slice's files, in order.
struct Files<'a, S> {
    merge: &'a Merge<'a, S>,
    left: VecDeque<String>,
    open: Option<(String, FileRows)>,
    rows: VecDeque<Row>,
}

impl<S: ObjectStore> Files<'_, S> {
    async fn peek(&mut self) -> Result<Option<&Row>, MergeError> {
        while self.rows.is_empty() {
            if let Some((key, open)) = &mut self.open {
                let group = open.next_group();
                let group = group.map_err(|source| MergeError::File { key: key.clone(), source: Some(source) })?;
                match group {
                    Some(rows) => self.rows = rows.into(),
                    None => self.open = None,
                }
                continue;
            }
            let Some(key) = self.left.pop_front() else { return Ok(None) };
            let object = self.merge.store.get(&key, self.merge.deadline).await?;
            let Some(object) = object else { return Err(MergeError::File { key, source: None }) };
            match FileRows::open(self.merge.table, object.body) {
                Ok(rows) => self.open = Some((key, rows)),
                Err(source) => return Err(MergeError::File { key, source: Some(source) }),
            }
        }
        Ok(self.rows.front())
    }

    /// The row that was looked at.
    fn next(&mut self) -> Option<Row> {
        self.rows.pop_front()
    }
}

/// What is written.
struct Out<'a, S> {
    merge: &'a Merge<'a, S>,
    file: Option<FileWriter>,
    merged: Merged,
    written: Written,
}

impl<S: ObjectStore> Out<'_, S> {
    async fn push(&mut self, row: Row) -> Result<(), MergeError> {
        self.written.add(row.place);
        if self.merge.erased.holds(self.merge.table, &row) {
            self.merged.erased += 1;
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(FileWriter::new(self.merge.table, Effort::Thorough)?),
        };
        file.push(row)?;
        self.merged.slice.rows += 1;
        if file.bytes() >= self.merge.file_bytes_max {
            self.close().await?;
        }
        Ok(())
    }

    /// Puts the file that is being written.
    async fn close(&mut self) -> Result<(), MergeError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let Merge { table, hour, slice: (slice, slices), run, deadline, store, .. } = *self.merge;
        let body = file.finish()?;
        let key = PartName::of(slice, slices, run, &body).key(table, hour);
        self.merged.slice.bytes += body.len() as u64;
        store.put(&key, body, Condition::None, deadline).await?;
        self.merged.slice.files.push(key);
        Ok(())
    }
}

/// Which offsets came by: runs without a gap, and topics have few gaps.
#[derive(Debug, Default)]
struct Written(BTreeMap<Place, i64>);

impl Written {
    /// Places come in order.
    fn add(&mut self, place: Place) {
        if let Some(mut run) = self.0.last_entry()
            && run.key().partition == place.partition
            && *run.get() + 1 == place.offset
        {
            *run.get_mut() = place.offset;
            return;
        }
        self.0.insert(place, place.offset);
    }

    /// Whether every offset of an object came by.
    fn has(&self, name: &RawName) -> bool {
        let first = Place { partition: name.partition, offset: name.first };
        let run = self.0.range(..=first).next_back();
        run.is_some_and(|(start, end)| start.partition == name.partition && *end >= name.last)
    }
}
