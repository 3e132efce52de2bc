//! The event that a function receives from Amazon MSK, written without building a document first.
//!
//! A record becomes its JSON text once, when it is read; batches, retries, halves and the failure destination reuse the text.
//! Shape: <https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html>. Header bytes are signed, as AWS sends them.

use std::io::Write as _;
use std::ops::Range;
use std::time::Instant;

use base64_simd::STANDARD;
use bytes::Bytes;

use crate::spec::PAYLOAD_BYTES_MAX;

/// ARN of the cluster on this machine.
pub const CLUSTER_ARN: &str =
    "arn:aws:kafka:us-east-1:000000000000:cluster/centinela-local/00000000-0000-4000-8000-000000000000-1";

/// Who set a record's timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer.
    CreateTime,
    /// The broker.
    LogAppendTime,
}

/// A record as the broker gives it.
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    /// Topic; letters, digits, dot, hyphen and underscore, as Kafka demands.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Who set it.
    pub timestamp_type: TimestampType,
    /// Key, if any.
    pub key: Option<&'a [u8]>,
    /// Value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in order, names may repeat.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// A record in its delivered form.
#[derive(Clone, Debug)]
pub struct Record {
    /// Partition.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Deliveries that failed because of this record.
    pub failed_attempts: u32,
    /// When the mapping read it.
    pub(super) received: Instant,
    json: Box<[u8]>,
    key: Option<Range<usize>>,
}

impl Record {
    /// Writes the record's JSON text.
    #[must_use]
    pub fn encode(raw: &RawRecord<'_>) -> Record {
        let (key_bytes, value_bytes) = (raw.key.map_or(0, <[u8]>::len), raw.value.map_or(0, <[u8]>::len));
        let header_bytes: usize =
            raw.headers.iter().map(|(name, value)| name.len() + 8 + 5 * value.map_or(0, <[u8]>::len)).sum();
        let mut json =
            Vec::with_capacity(192 + raw.topic.len() + (key_bytes + value_bytes).div_ceil(3) * 4 + 8 + header_bytes);
        json.extend_from_slice(b"{\"topic\":\"");
        json.extend_from_slice(raw.topic.as_bytes());
        number(&mut json, "\",\"partition\":", i64::from(raw.partition));
        number(&mut json, ",\"offset\":", raw.offset);
        number(&mut json, ",\"timestamp\":", raw.timestamp_ms);
        json.extend_from_slice(match raw.timestamp_type {
            TimestampType::CreateTime => b",\"timestampType\":\"CREATE_TIME\",\"key\":",
            TimestampType::LogAppendTime => b",\"timestampType\":\"LOG_APPEND_TIME\",\"key\":",
        });
        let key = base64(&mut json, raw.key);
        json.extend_from_slice(b",\"value\":");
        base64(&mut json, raw.value);
        json.extend_from_slice(b",\"headers\":[");
        for (index, (name, value)) in raw.headers.iter().enumerate() {
            header(&mut json, index, name, value.unwrap_or_default());
        }
        json.extend_from_slice(b"]}");
        Record {
            partition: raw.partition,
            offset: raw.offset,
            timestamp_ms: raw.timestamp_ms,
            failed_attempts: 0,
            received: Instant::now(),
            json: json.into_boxed_slice(),
            key,
        }
    }

    /// The record's place in a batch's order.
    #[must_use]
    pub fn coordinates(&self) -> (i32, i64) {
        (self.partition, self.offset)
    }

    /// Bytes of the JSON text.
    #[must_use]
    pub fn json_bytes(&self) -> usize {
        self.json.len()
    }

    /// The original key.
    pub(super) fn key(&self) -> Option<Vec<u8>> {
        let text = &self.json[self.key.clone()?];
        Some(STANDARD.decode_to_vec(text).unwrap_or_default())
    }
}

fn number(json: &mut Vec<u8>, name: &str, value: i64) {
    json.extend_from_slice(name.as_bytes());
    // Writing to a vector cannot fail.
    if write!(json, "{value}").is_err() {
        json.push(b'0');
    }
}

/// Appends a base64 string or null; says where the text is.
fn base64(json: &mut Vec<u8>, bytes: Option<&[u8]>) -> Option<Range<usize>> {
    let Some(bytes) = bytes else {
        json.extend_from_slice(b"null");
        return None;
    };
    json.push(b'"');
    let start = json.len();
    STANDARD.encode_append(bytes, json);
    let text = start..json.len();
    json.push(b'"');
    Some(text)
}

fn header(json: &mut Vec<u8>, index: usize, name: &str, value: &[u8]) {
    if index > 0 {
        json.push(b',');
    }
    json.push(b'{');
    json.extend_from_slice(serde_json::Value::from(name).to_string().as_bytes());
    json.extend_from_slice(b":[");
    for (index, byte) in value.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        number(json, separator, i64::from(byte.cast_signed()));
    }
    json.extend_from_slice(b"]}");
}

/// The parts of an event that are the same for every batch of a mapping.
#[derive(Clone, Debug)]
pub struct Envelope {
    head: String,
    topic: String,
    bootstrap: String,
}

impl Envelope {
    /// For one topic of the cluster at `bootstrap`.
    #[must_use]
    pub fn new(topic: &str, bootstrap: &str) -> Envelope {
        let arn = serde_json::Value::from(CLUSTER_ARN);
        let servers = serde_json::Value::from(bootstrap);
        let head = format!(
            "{{\"eventSource\":\"aws:kafka\",\"eventSourceArn\":{arn},\"bootstrapServers\":{servers},\"records\":{{"
        );
        Envelope { head, topic: topic.to_owned(), bootstrap: bootstrap.to_owned() }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The brokers, as the event names them.
    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Bytes that remain for records and their partitions.
    #[must_use]
    pub fn room(&self) -> usize {
        PAYLOAD_BYTES_MAX.saturating_sub(self.head.len() + "}}".len())
    }

    /// Most bytes that the first record of a further partition costs beyond its own text: `"topic-0":[],`.
    #[must_use]
    pub fn partition_bytes(&self) -> usize {
        self.topic.len() + "\"-2147483647\":[],".len()
    }

    /// Bytes that a record costs within its partition: its text and a comma.
    #[must_use]
    pub fn record_bytes(record: &Record) -> usize {
        record.json_bytes() + 1
    }

    /// The event. Records of one partition must stand together and in order.
    #[must_use]
    pub fn event(&self, records: &[Record]) -> Bytes {
        let records_bytes: usize = records.iter().map(Envelope::record_bytes).sum();
        let partitions = records.chunk_by(|left, right| left.partition == right.partition);
        let mut json = Vec::with_capacity(
            self.head.len() + records_bytes + partitions.clone().count() * self.partition_bytes() + "}}".len(),
        );
        json.extend_from_slice(self.head.as_bytes());
        for (index, partition) in partitions.enumerate() {
            json.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
            json.extend_from_slice(self.topic.as_bytes());
            number(&mut json, "-", i64::from(partition[0].partition));
            json.extend_from_slice(b"\":[");
            for (index, record) in partition.iter().enumerate() {
                if index > 0 {
                    json.push(b',');
                }
                json.extend_from_slice(&record.json);
            }
            json.push(b']');
        }
        json.extend_from_slice(b"}}");
        Bytes::from(json)
    }
}
