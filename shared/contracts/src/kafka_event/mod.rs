//! The event that a Kafka event source mapping hands to a function (<https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html>).
//!
//! Tolerant of what differs between sources: missing or null headers, header bytes signed or not, no key, no value, unknown
//! fields, any number of partitions. A record that is described wrongly is a [`BadRecord`] among good ones; only a payload
//! that is no such event as a whole is an [`EnvelopeError`].
//!
//! ```
//! use centinela_contracts::batch_response::KafkaBatchResponse;
//! use centinela_contracts::kafka_event::KafkaBatch;
//!
//! let event = br#"{"eventSource": "SelfManagedKafka", "bootstrapServers": "b-1:9092", "records": {"orders-3": [
//!     {"topic": "orders", "partition": 3, "offset": 41, "timestamp": 1795867200000, "timestampType": "CREATE_TIME",
//!      "key": "YW5h", "value": "MTI=", "headers": [{"trace": [97, -1]}]},
//!     {"topic": "orders", "partition": 3, "offset": 42, "timestamp": 1795867200001, "timestampType": "CREATE_TIME",
//!      "value": "not base64!"}]}}"#;
//! let batch = KafkaBatch::parse(event)?.of_topic("orders")?;
//! let partition = &batch.partitions[0];
//!
//! let good = partition.records[0].as_ref().expect("it is described properly");
//! assert_eq!((good.key.as_deref(), good.value.as_deref()), (Some(&b"ana"[..]), Some(&b"12"[..])));
//! assert_eq!((good.coordinates.offset, good.headers[0].1.as_slice()), (41, &[97, 255][..]));
//! let bad = partition.records[1].as_ref().expect_err("its value is not base64");
//! assert_eq!(bad.problem.to_string(), "the record's value is not base64 (standard alphabet with padding)");
//!
//! // The mapping delivers from there again.
//! let answer = KafkaBatchResponse { failures: vec![(partition.key.clone(), 42)] };
//! assert_eq!(answer.encode(), br#"{"batchItemFailures":[{"itemIdentifier":{"partition":"orders-3","offset":42}}]}"#);
//! # Ok::<(), centinela_contracts::kafka_event::EnvelopeError>(())
//! ```

mod read;

use centinela_domain::{Coordinates, Millis};

use crate::excerpt::Excerpt;
use crate::json::{Syntax, TextProblem};

/// Largest accepted payload. Lambda delivers at most 6 MB (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most records in an event: the largest batch size of a mapping
/// (<https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>).
pub const RECORDS_MAX: usize = 10_000;
/// Most headers of a record.
pub const HEADERS_MAX: usize = 1_024;

/// A batch, partition by partition.
#[derive(Clone, Debug, PartialEq)]
pub struct KafkaBatch {
    /// Sorted by topic and partition; those without records are left out.
    pub partitions: Vec<PartitionBatch>,
}

impl KafkaBatch {
    /// The batch, if all of it is from this topic. Offsets of two topics must never meet: what is known to be committed of a
    /// partition is kept by its number.
    ///
    /// # Errors
    /// [`EnvelopeError::OtherTopic`] names the first other topic.
    pub fn of_topic(self, topic: &str) -> Result<Self, EnvelopeError> {
        match self.partitions.iter().find(|partition| partition.topic != topic) {
            None => Ok(self),
            Some(other) => {
                Err(EnvelopeError::OtherTopic { found: Excerpt::of(other.topic.as_bytes()), reads: topic.to_owned() })
            }
        }
    }
}

/// The records of one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionBatch {
    /// The key in the event's `records` map, such as `transactions-3`; failures are reported under it.
    pub key: String,
    /// Topic.
    pub topic: String,
    /// Partition number.
    pub partition: u32,
    /// In offset order; those without a readable offset come last.
    pub records: Vec<Result<Record, BadRecord>>,
}

/// A record as the producer wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Where it stands.
    pub coordinates: Coordinates,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers in their order.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A record that the envelope does not describe properly.
#[derive(Clone, Debug, PartialEq)]
pub struct BadRecord {
    /// Its offset; without one it cannot be acknowledged on its own.
    pub offset: Option<u64>,
    /// The broker's time.
    pub timestamp: Option<Millis>,
    /// The record's JSON as it was delivered.
    pub raw: Vec<u8>,
    /// What is wrong.
    pub problem: RecordProblem,
}

/// What is wrong with a record of the envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordProblem {
    /// Not an object.
    #[error("the record is not a JSON object")]
    NotAnObject,
    /// A field that every record has is missing or null.
    #[error("the record's {0} is missing or null")]
    Missing(&'static str),
    /// A field appears more than once.
    #[error("the record's {0} appears more than once")]
    Duplicate(&'static str),
    /// A field is not what it should be.
    #[error("the record's {field} must be {expected}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A string is no text.
    #[error("the record's {field} {problem}")]
    Text {
        /// The field.
        field: &'static str,
        /// Why not.
        problem: TextProblem,
    },
    /// Key or value is not base64.
    #[error("the record's {0} is not base64 (standard alphabet with padding)")]
    Base64(&'static str),
    /// More headers than accepted.
    #[error("the record has more than {HEADERS_MAX} headers")]
    TooManyHeaders,
    /// The record names another topic or partition than the list that holds it.
    #[error("the record's topic or partition is not that of the list which holds it")]
    Elsewhere,
}

/// Why a payload is no Kafka event at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than Lambda delivers.
    #[error("the event has {0} bytes, the limit is {PAYLOAD_BYTES_MAX}")]
    TooLarge(usize),
    /// Broken JSON.
    #[error("the event is {0}")]
    Syntax(#[from] Syntax),
    /// Not an object.
    #[error("the event is not a JSON object")]
    NotAnObject,
    /// From another kind of source.
    #[error(
        "the event comes from {0}; expected aws:kafka or SelfManagedKafka: check which source invokes the function"
    )]
    Source(Excerpt),
    /// No records.
    #[error("the event has no object `records`: it is not from a Kafka event source mapping")]
    NoRecords,
    /// A partition without a list.
    #[error("the event's records of {0} are no list")]
    NotAList(Excerpt),
    /// A key from which no topic and partition can be told.
    #[error(
        "the event's records stand under {0}, which is not of the form topic-partition, and do not say where they are from"
    )]
    PartitionKey(Excerpt),
    /// Records of a topic that the function does not read.
    #[error("the event has records of topic {found}; this function reads {reads:?} only: check the mapping's topic")]
    OtherTopic {
        /// The topic.
        found: Excerpt,
        /// The one that is read.
        reads: String,
    },
    /// More records than a mapping delivers.
    #[error("the event has more than {RECORDS_MAX} records")]
    TooManyRecords,
}
