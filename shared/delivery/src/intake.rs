//! From delivered records to content: what can be decoded, and what must be dead-lettered.

use std::collections::{BTreeSet, HashSet};

use centinela_contracts::dead_letter_v1::{self, DeadLetter, DeadLetterReason};
use centinela_contracts::kafka_event::{BadRecord, KafkaBatch, PartitionBatch, Record};
use centinela_contracts::keyed::DeploymentKey;
use centinela_contracts::payload::PayloadProblem;
use centinela_domain::{Coordinates, Mark, Millis};

use crate::batch::{Batch, Deadline, Delivered, DueLetter, Slice};

/// Why a record can never be handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The kind of reason, stable for machines.
    pub code: DeadLetterReason,
    /// For people: what is wrong, and what to do.
    pub reason: String,
}

impl Rejection {
    fn new(code: DeadLetterReason, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// The value is not JSON of the expected form; `problem` says where.
    pub fn not_json(problem: &dyn std::error::Error) -> Self {
        Self::new(DeadLetterReason::NotJson, problem.to_string())
    }
}

impl From<PayloadProblem> for Rejection {
    fn from(problem: PayloadProblem) -> Self {
        use PayloadProblem as Problem;
        let code = match &problem {
            Problem::Empty | Problem::OtherFormat { .. } | Problem::Syntax(_) | Problem::NotAnObject => {
                DeadLetterReason::NotJson
            }
            Problem::TooLarge { .. } => DeadLetterReason::TooLarge,
            Problem::Version { .. } => DeadLetterReason::UnsupportedVersion,
            Problem::Missing { .. } => DeadLetterReason::MissingField,
            Problem::Duplicate { .. } => DeadLetterReason::DuplicateField,
            Problem::WrongType { .. } => DeadLetterReason::WrongType,
            Problem::Text { .. }
            | Problem::Unexpected { .. }
            | Problem::AmountNegative { .. }
            | Problem::AmountTooFine { .. }
            | Problem::AmountTooLarge { .. }
            | Problem::TimeUnit { .. }
            | Problem::Invalid(_) => DeadLetterReason::InvalidValue,
        };
        Self::new(code, problem.to_string())
    }
}

/// Sorts the batch's records into those that `decode` reads and those to dead-letter.
pub(crate) fn take_in<T>(
    batch: KafkaBatch,
    deadline: Deadline,
    key: &DeploymentKey,
    now: Millis,
    decode: impl Fn(&[u8], Coordinates) -> Result<T, Rejection>,
) -> Batch<T> {
    let mut taken = Batch {
        slices: Vec::with_capacity(batch.partitions.len()),
        records: Vec::new(),
        size: 0,
        deadline,
        dead: Vec::new(),
        dead_lettered: 0,
        undelivered: HashSet::new(),
        failed: BTreeSet::new(),
        refused: false,
    };
    for (index, partition) in batch.partitions.into_iter().enumerate() {
        let PartitionBatch { key: name, topic, partition, records } = partition;
        taken.size += records.len();
        let mut slice = Slice { key: name, topic, partition, first: None, marks: Vec::with_capacity(records.len()) };
        let mut highest = None;
        for (place, record) in records.into_iter().enumerate() {
            let mark = place_of(&record);
            if let Some(mark) = mark {
                if place == 0 && mark.timestamp != Millis::default() {
                    slice.first = Some(mark);
                }
                // The same record twice in one delivery is handled once. Nearly always offsets rise.
                let is_new = highest < Some(mark.offset) || slice.marks.iter().all(|seen| seen.offset != mark.offset);
                highest = highest.max(Some(mark.offset));
                slice.marks.push(mark);
                if !is_new {
                    continue;
                }
            }
            let read = match record {
                Err(bad) => Err(Box::new(letter_of_bad(bad, &slice.topic, partition, now))),
                Ok(record) => match read(&record, &slice.topic, key, &decode) {
                    Ok((First { source, verified }, content)) => {
                        let at = record.coordinates;
                        Ok(Delivered { partition_index: index, at, source, verified, content, record })
                    }
                    Err(Rejection { code, reason }) => Err(letter(record, &slice.topic, code, reason, now)),
                },
            };
            match read {
                Ok(delivered) => taken.records.push(delivered),
                Err(letter) => {
                    let position = mark.map(|mark| (index, mark.offset));
                    taken.dead.push(DueLetter { letter: *letter, position });
                }
            }
        }
        taken.slices.push(slice);
    }
    taken
}

fn place_of(record: &Result<Record, BadRecord>) -> Option<Mark> {
    match record {
        Ok(record) => Some(record.coordinates.into()),
        Err(bad) => bad.offset.map(|offset| Mark { offset, timestamp: bad.timestamp.unwrap_or_default() }),
    }
}

/// What is known of a record's first delivery.
struct First {
    source: Coordinates,
    verified: Option<Coordinates>,
}

/// Where the record was first delivered, and what it says.
fn read<T>(
    record: &Record,
    topic: &str,
    key: &DeploymentKey,
    decode: impl Fn(&[u8], Coordinates) -> Result<T, Rejection>,
) -> Result<(First, T), Rejection> {
    let Some(value) = &record.value else {
        return Err(Rejection::new(
            DeadLetterReason::NoValue,
            "the record has no value (a tombstone), so there is nothing to handle",
        ));
    };
    let first = dead_letter_v1::first_coordinates(&record.headers, value, record.coordinates, key).transpose();
    let first = match first {
        Ok(None) => First { source: record.coordinates, verified: None },
        Ok(Some((first_topic, source))) if first_topic == topic => {
            let verified = dead_letter_v1::verified(&record.headers, topic, source, value, key);
            First { source, verified }
        }
        Ok(Some((first_topic, _))) => {
            let reason =
                format!("the record was first delivered on topic {first_topic:?}, not on this one: redrive it there");
            return Err(Rejection::new(DeadLetterReason::BadFirstCoordinates, reason));
        }
        Err(problem) => return Err(Rejection::new(DeadLetterReason::BadFirstCoordinates, problem.to_string())),
    };
    let content = decode(value, first.source)?;
    Ok((first, content))
}

pub(crate) fn letter(
    record: Record,
    topic: &str,
    reason_code: DeadLetterReason,
    reason: String,
    dead_lettered_at: Millis,
) -> Box<DeadLetter> {
    Box::new(DeadLetter {
        reason_code,
        reason,
        topic: topic.to_owned(),
        partition: record.coordinates.partition,
        offset: Some(record.coordinates.offset),
        timestamp: Some(record.coordinates.timestamp),
        key: record.key,
        value: record.value,
        headers: record.headers,
        dead_lettered_at,
    })
}

fn letter_of_bad(bad: BadRecord, topic: &str, partition: u32, dead_lettered_at: Millis) -> DeadLetter {
    DeadLetter {
        reason_code: DeadLetterReason::UnreadableRecord,
        reason: bad.problem.to_string(),
        topic: topic.to_owned(),
        partition,
        offset: bad.offset,
        timestamp: bad.timestamp,
        key: None,
        value: Some(bad.raw),
        headers: Vec::new(),
        dead_lettered_at,
    }
}
