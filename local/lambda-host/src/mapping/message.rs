//! A message of the Kafka client as a record of an event.

use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers as _, Timestamp};

use super::event::{RawRecord, Record, TimestampType};

pub(super) fn encode(message: &BorrowedMessage<'_>) -> Record {
    let headers: Vec<(&str, Option<&[u8]>)> = match message.headers() {
        None => Vec::new(),
        Some(headers) => headers.iter().map(|header| (header.key, header.value)).collect(),
    };
    let (timestamp_type, timestamp_ms) = match message.timestamp() {
        Timestamp::CreateTime(time_ms) => (TimestampType::CreateTime, time_ms),
        Timestamp::LogAppendTime(time_ms) => (TimestampType::LogAppendTime, time_ms),
        Timestamp::NotAvailable => (TimestampType::CreateTime, -1),
    };
    Record::encode(&RawRecord {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms,
        timestamp_type,
        key: message.key(),
        value: message.payload(),
        headers: &headers,
    })
}
