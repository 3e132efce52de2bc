//! From a Kafka batch to raw objects: a partition's range is acknowledged whole or not at all.
//!
//! Memory: a batch is at most 6 MB; its rows are made for one object at a time, so beside the batch there are never more than the rows
//! of one partition and hour, and the compressed objects that are on their way.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use centinela_contracts::batch_response::KafkaBatchResponse;
use centinela_contracts::kafka_event::{BadRecord, KafkaBatch, PartitionBatch, Record};
use centinela_domain::Millis;
use futures::stream::{self, StreamExt};
use parquet::errors::ParquetError;

use crate::hour::Hour;
use crate::keys::{self, RawName};
use crate::parquet_write::{Effort, FileWriter};
use crate::row::Row;
use crate::rows::Reading;
use crate::store::{Condition, ObjectStore, StoreError};
use crate::table::Table;

/// Objects on their way at a time.
const PUTS_AT_ONCE: usize = 8;

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Archived {
    /// Records that were delivered.
    pub records: u64,
    /// Rows that are in the lake now.
    pub rows: u64,
    /// Of these, with a problem instead of columns.
    pub unreadable: u64,
    /// Records without an offset, kept as objects of their own.
    pub unplaced: u64,
    /// Objects that were put.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Partitions of which something could not be put, with the first reason.
    pub failed: Option<(u64, ArchiveError)>,
    /// Whether one of the reasons is a refusal: the answer should wait, or the mapping's attempts are used up in minutes.
    pub refused: bool,
    /// What is to be delivered again.
    pub response: KafkaBatchResponse,
}

/// Why rows are not in the lake.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store did not take them.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They could not be written down: a fault of ours.
    #[error("the rows could not be written as Parquet")]
    Parquet(#[from] ParquetError),
    /// A record that cannot be reported alone could not be kept.
    #[error("a record without a readable offset could not be kept")]
    Unreportable(#[source] StoreError),
}

/// One object to put.
struct Draft {
    key: String,
    body: Bytes,
    rows: u64,
    unreadable: u64,
}

/// Puts a batch into the lake.
///
/// # Errors
/// The whole batch must be delivered again.
pub async fn archive(
    store: &impl ObjectStore,
    reading: &Reading,
    table: Table,
    batch: &KafkaBatch,
    deadline: Millis,
) -> Result<Archived, ArchiveError> {
    let mut archived = Archived::default();
    let mut ranges = Vec::new();
    for (slice, partition) in batch.partitions.iter().enumerate() {
        archived.records += partition.records.len() as u64;
        for bad in
            partition.records.iter().filter_map(|record| record.as_ref().err().filter(|bad| bad.offset.is_none()))
        {
            keep_unplaced(store, table, bad, deadline).await?;
            archived.unplaced += 1;
        }
        ranges.extend(hours(partition).into_iter().map(|(hour, records)| (slice, partition, hour, records)));
    }
    let puts = stream::iter(ranges).map(|(slice, partition, hour, records)| async move {
        let draft = draft(reading, table, partition, hour, &records);
        let put = match draft {
            Ok(Some(draft)) => match store.put(&draft.key, draft.body.clone(), Condition::None, deadline).await {
                Ok(_) => Ok(Some(draft)),
                Err(error) => Err(error.into()),
            },
            Ok(None) => Ok(None),
            Err(error) => Err(ArchiveError::Parquet(error)),
        };
        (slice, put)
    });
    let mut puts = std::pin::pin!(puts.buffer_unordered(PUTS_AT_ONCE));
    let mut failed = BTreeSet::new();
    while let Some((slice, put)) = puts.next().await {
        match put {
            Ok(None) => {}
            Ok(Some(draft)) => {
                archived.objects += 1;
                archived.bytes += draft.body.len() as u64;
                archived.rows += draft.rows;
                archived.unreadable += draft.unreadable;
            }
            Err(error) => {
                archived.refused |= matches!(&error, ArchiveError::Store(error) if error.is_refusal());
                failed.insert(slice);
                archived.failed.get_or_insert((0, error)).0 = failed.len() as u64;
            }
        }
    }
    let failures = failed.into_iter().filter_map(|slice| batch.partitions.get(slice)).flat_map(|partition| {
        let offsets = partition.records.iter().filter_map(offset_of).collect::<BTreeSet<u64>>();
        offsets.into_iter().map(|offset| (partition.key.clone(), offset))
    });
    archived.response = KafkaBatchResponse { failures: failures.collect() };
    Ok(archived)
}

type Delivered = Result<Record, BadRecord>;

/// The records of a partition by hour, each offset once, in order.
fn hours(partition: &PartitionBatch) -> BTreeMap<Hour, Vec<&Delivered>> {
    let mut hours: BTreeMap<Hour, Vec<&Delivered>> = BTreeMap::new();
    let mut last = None;
    for record in &partition.records {
        let Some(offset) = offset_of(record) else { continue };
        // Records come in the order of their offsets; the same one twice is one.
        if last.replace(offset) == Some(offset) {
            continue;
        }
        let time = match record {
            Ok(record) => record.coordinates.timestamp,
            Err(bad) => bad.timestamp.unwrap_or_default(),
        };
        hours.entry(Hour::of(time)).or_default().push(record);
    }
    hours
}

fn offset_of(record: &Delivered) -> Option<u64> {
    match record {
        Ok(record) => Some(record.coordinates.offset),
        Err(bad) => bad.offset,
    }
}

fn draft(
    reading: &Reading,
    table: Table,
    partition: &PartitionBatch,
    hour: Hour,
    records: &[&Delivered],
) -> Result<Option<Draft>, ParquetError> {
    let rows: Vec<Row> = records
        .iter()
        .filter_map(|record| match record {
            Ok(record) => Some(reading.row(table, record)),
            Err(bad) => reading.row_of_bad(table, partition.partition, bad),
        })
        .collect();
    let Some(name) = RawName::of(rows.iter().map(|row| (row.place, row.broker_time))) else { return Ok(None) };
    let unreadable = rows.iter().filter(|row| row.problem.is_some()).count() as u64;
    let mut file = FileWriter::new(table, Effort::Quick)?;
    rows.into_iter().try_for_each(|row| file.push(row))?;
    let rows = file.rows();
    Ok(Some(Draft { key: name.key(table, hour), body: file.finish()?, rows, unreadable }))
}

/// A record whose offset cannot be read has no place in a table and cannot be reported alone.
async fn keep_unplaced(
    store: &impl ObjectStore,
    table: Table,
    bad: &BadRecord,
    deadline: Millis,
) -> Result<(), ArchiveError> {
    let key = keys::unplaced(table, &bad.raw);
    let kept = store.put(&key, Bytes::copy_from_slice(&bad.raw), Condition::None, deadline).await;
    kept.map(drop).map_err(ArchiveError::Unreportable)
}
