//! From delivered records to work: what can become a decision, and what must be parked.

use std::collections::HashSet;

use centinela_contracts::kafka_event::{BadRecord, KafkaBatch, PartitionBatch, Record};
use centinela_contracts::keyed::DeploymentKey;
use centinela_contracts::parked_v1::{self, ParkReason, Parked};
use centinela_contracts::transaction_v1;
use centinela_domain::{
    ContentDigest, Coordinates, Currency, DecisionId, EventTime, Mark, Millis, Transaction, TransactionDigest,
};

/// A record of this batch, by the partition's place in the batch and its offset.
pub(crate) type Position = (usize, u64);

/// A transaction to decide.
#[derive(Debug)]
pub(crate) struct Work {
    pub partition_index: usize,
    /// Where the record stands now.
    pub delivered: Coordinates,
    /// Where it stood when it was first delivered; differs only for a redriven record.
    pub source: Coordinates,
    pub transaction: Transaction,
    /// The time that its features and the user's state go by.
    pub time: EventTime,
    pub decision_id: DecisionId,
    pub digest: TransactionDigest,
    pub content: ContentDigest,
    /// As it was delivered, in case it must be parked.
    record: Record,
}

impl Work {
    pub fn position(&self) -> Position {
        (self.partition_index, self.delivered.offset)
    }

    pub fn redriven(&self) -> bool {
        self.source != self.delivered
    }

    /// The record as it is parked.
    pub fn park(&self, topic: &str, code: ParkReason, reason: String, now: Millis) -> ToPark {
        ToPark { parked: *park(self.record.clone(), topic, code, reason, now), position: Some(self.position()) }
    }
}

/// A record to park. Without a position it cannot be reported alone.
#[derive(Debug)]
pub(crate) struct ToPark {
    pub parked: Parked,
    pub position: Option<Position>,
}

/// One partition of the batch.
#[derive(Debug)]
pub(crate) struct Slice {
    pub key: String,
    pub partition: u32,
    /// The first record, if its place can be read: everything below it is proved settled.
    pub first: Option<Mark>,
    /// Every record's place. A time that cannot be read is 0.
    pub marks: Vec<Mark>,
}

#[derive(Debug, Default)]
pub(crate) struct Intake {
    pub slices: Vec<Slice>,
    pub works: Vec<Work>,
    pub to_park: Vec<ToPark>,
    pub records: usize,
}

/// Sorts the batch's records into work and records to park.
pub(crate) fn take_in(batch: KafkaBatch, deployment: &DeploymentKey, default: Currency, now: Millis) -> Intake {
    let mut intake = Intake::default();
    for (index, partition) in batch.partitions.into_iter().enumerate() {
        let PartitionBatch { key, topic, partition, records } = partition;
        intake.records += records.len();
        let mut slice = Slice { key, partition, first: None, marks: Vec::with_capacity(records.len()) };
        // The same record twice in one delivery is handled once.
        let mut seen = HashSet::with_capacity(records.len());
        for (place, record) in records.into_iter().enumerate() {
            let mark = place_of(&record);
            if let Some(mark) = mark {
                if place == 0 && mark.timestamp != Millis::default() {
                    slice.first = Some(mark);
                }
                slice.marks.push(mark);
                if !seen.insert(mark.offset) {
                    continue;
                }
            }
            let position = mark.map(|mark| (index, mark.offset));
            match record
                .map_err(|bad| park_bad(bad, &topic, partition, now))
                .and_then(|record| read(record, index, &topic, deployment, default, now))
            {
                Ok(work) => intake.works.push(work),
                Err(parked) => intake.to_park.push(ToPark { parked: *parked, position }),
            }
        }
        intake.slices.push(slice);
    }
    intake
}

fn place_of(record: &Result<Record, BadRecord>) -> Option<Mark> {
    match record {
        Ok(record) => Some(record.coordinates.into()),
        Err(bad) => bad.offset.map(|offset| Mark { offset, timestamp: bad.timestamp.unwrap_or_default() }),
    }
}

fn read(
    record: Record,
    partition_index: usize,
    topic: &str,
    key: &DeploymentKey,
    default: Currency,
    now: Millis,
) -> Result<Work, Box<Parked>> {
    let delivered = record.coordinates;
    let Some(value) = &record.value else {
        let reason = "the record has no value (a tombstone), so there is no transaction to decide".to_owned();
        return Err(park(record, topic, ParkReason::NoValue, reason, now));
    };
    let source = match parked_v1::first_coordinates(&record.headers, value, delivered, key) {
        None => delivered,
        Some(Ok((first_topic, first))) if first_topic == topic => first,
        Some(Ok((first_topic, _))) => {
            let reason =
                format!("the record was first delivered on topic {first_topic:?}, not on this one: redrive it there");
            return Err(park(record, topic, ParkReason::BadFirstCoordinates, reason, now));
        }
        Some(Err(problem)) => {
            return Err(park(record, topic, ParkReason::BadFirstCoordinates, problem.to_string(), now));
        }
    };
    match transaction_v1::parse_in(value, default) {
        Ok(transaction) => {
            let decision_id = transaction.decision_id();
            Ok(Work {
                partition_index,
                delivered,
                source,
                time: transaction.event_time(source.timestamp),
                decision_id,
                digest: decision_id.digest(),
                content: key.content_digest(&transaction),
                transaction,
                record,
            })
        }
        Err(problem) => {
            let (code, reason) = (problem.park_reason(), problem.to_string());
            Err(park(record, topic, code, reason, now))
        }
    }
}

fn park(record: Record, topic: &str, reason_code: ParkReason, reason: String, parked_at: Millis) -> Box<Parked> {
    Box::new(Parked {
        reason_code,
        reason,
        topic: topic.to_owned(),
        partition: record.coordinates.partition,
        offset: Some(record.coordinates.offset),
        timestamp: Some(record.coordinates.timestamp),
        key: record.key,
        value: record.value,
        headers: record.headers,
        parked_at,
    })
}

fn park_bad(bad: BadRecord, topic: &str, partition: u32, parked_at: Millis) -> Box<Parked> {
    Box::new(Parked {
        reason_code: bad.problem.park_reason(),
        reason: bad.problem.to_string(),
        topic: topic.to_owned(),
        partition,
        offset: bad.offset,
        timestamp: bad.timestamp,
        key: None,
        value: Some(bad.raw),
        headers: Vec::new(),
        parked_at,
    })
}
