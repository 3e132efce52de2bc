//! What is not kept for ever: deleted records, retention, and consumers that look for what is not there.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Message, ToBytes};
use rdkafka::producer::FutureRecord;
use rdkafka::{Offset, TopicPartitionList};

use super::{Kafka, PATIENCE, POLL, admin_options, code, offsets, one};

/// A consumer that has heard nothing for so long will not.
const QUIET: Duration = Duration::from_secs(10);
/// A day in 2023.
const LONG_AGO_MS: i64 = 1_700_000_000_000;

/// Deletes what lies below an offset of partition 0; returns the first offset then.
fn delete_below(kafka: &Kafka, topic: &str, offset: Offset) -> Result<Offset, RDKafkaErrorCode> {
    let deleted = kafka.wait(kafka.admin().delete_records(&one(topic, 0, offset), &admin_options()));
    let list: TopicPartitionList = deleted.map_err(|error| code(&error))?;
    let partition = &list.elements()[0];
    partition.error().map_err(|error| code(&error))?;
    Ok(partition.offset())
}

/// A topic of five records without the first three.
fn without_three(kafka: &Kafka, topic: &str) {
    kafka.topic(topic, 1, &[]);
    kafka.send_numbers(&kafka.producer(&[]), topic, 0, 5);
    delete_below(kafka, topic, Offset::Offset(3)).unwrap();
}

fn watermarks(kafka: &Kafka, topic: &str) -> (i64, i64) {
    kafka.consumer("asks", &[]).fetch_watermarks(topic, 0, PATIENCE).unwrap()
}

pub fn deleted(kafka: &Kafka) -> String {
    const NAME: &str = "trimmed";
    kafka.topic(NAME, 1, &[]);
    kafka.send_numbers(&kafka.producer(&[]), NAME, 0, 5);
    let steps = [Offset::Offset(3), Offset::Offset(1), Offset::Offset(6), Offset::End].map(|offset| {
        let answer = delete_below(kafka, NAME, offset);
        format!("{offset:?}: {answer:?} {:?}", watermarks(kafka, NAME))
    });
    let record = FutureRecord::<(), [u8]>::to(NAME).payload(b"x");
    let next = kafka.wait(kafka.producer(&[]).send(record, PATIENCE)).unwrap().offset;
    format!("{}; the next record is {next}", steps.join(", "))
}

pub fn found_by_time(kafka: &Kafka) -> String {
    const NAME: &str = "trimmed-times";
    without_three(kafka, NAME);
    let list = one(NAME, 0, Offset::Offset(LONG_AGO_MS));
    let found = kafka.consumer("asks", &[]).offsets_for_times(list, PATIENCE).unwrap();
    format!("{:?}", found.elements()[0].offset())
}

/// What a consumer hears that starts where there is nothing.
fn heard(kafka: &Kafka, topic: &str, from: i64, reset: &str) -> String {
    let consumer: BaseConsumer = kafka.consumer("elsewhere", &[("auto.offset.reset", reset)]);
    consumer.assign(&one(topic, 0, Offset::Offset(from))).unwrap();
    match consumer.poll(QUIET) {
        Some(Ok(message)) => format!("{reset}: reads {}", message.offset()),
        Some(Err(error)) => format!("{reset}: {:?}", code(&error)),
        None => format!("{reset}: silence"),
    }
}

pub fn below_the_start(kafka: &Kafka) -> String {
    const NAME: &str = "below";
    without_three(kafka, NAME);
    format!("{}; {}", heard(kafka, NAME, 1, "earliest"), heard(kafka, NAME, 1, "error"))
}

pub fn beyond_the_end(kafka: &Kafka) -> String {
    const NAME: &str = "beyond";
    without_three(kafka, NAME);
    format!("{}; {}", heard(kafka, NAME, 1_000, "earliest"), heard(kafka, NAME, 1_000, "error"))
}

pub fn at_the_start_and_the_end(kafka: &Kafka) -> String {
    const NAME: &str = "at-the-edges";
    without_three(kafka, NAME);
    format!("{}; {}", heard(kafka, NAME, 3, "error"), heard(kafka, NAME, 5, "error"))
}

/// Sends records with a time, each acknowledged before the next.
fn send(kafka: &Kafka, topic: &str, records: usize, bytes: usize, time_ms: Option<i64>) {
    let producer = kafka.producer(&[]);
    let payload = vec![7; bytes];
    for _ in 0..records {
        let record = FutureRecord::<(), _>::to(topic).payload(payload.to_bytes());
        let record = FutureRecord { timestamp: time_ms, ..record };
        kafka.wait(producer.send(record, PATIENCE)).unwrap();
    }
}

/// The first and the next offset, when something has been deleted.
fn when_retained(kafka: &Kafka, topic: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let consumer = kafka.consumer("asks", &[]);
    loop {
        let (first, next) = consumer.fetch_watermarks(topic, 0, PATIENCE).unwrap();
        if first > 0 || Instant::now() > deadline {
            return format!("from {first} to {next}");
        }
        drop(consumer.poll(POLL));
    }
}

/// Segments of ten records: the first may go without leaving less than was asked for.
pub fn by_bytes(kafka: &Kafka) -> String {
    const NAME: &str = "retained-by-bytes";
    kafka.topic(NAME, 1, &[("segment.bytes", "1048576"), ("retention.bytes", "1048576")]);
    send(kafka, NAME, 30, 100_000, None);
    let kept = when_retained(kafka, NAME);
    format!("{kept}; a read from the beginning starts at {:?}", offsets(&kafka.read(NAME, 0, Offset::Beginning, 1)))
}

pub fn by_age(kafka: &Kafka) -> String {
    const NAME: &str = "retained-by-age";
    kafka.topic(NAME, 1, &[("retention.ms", "3600000")]);
    send(kafka, NAME, 3, 10, Some(LONG_AGO_MS));
    let kept = when_retained(kafka, NAME);
    send(kafka, NAME, 1, 10, None);
    format!("{kept}; the next record is {:?}", offsets(&kafka.read(NAME, 0, Offset::Beginning, 1)))
}
