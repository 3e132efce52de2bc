//! Consumer groups: committed offsets under a name, and members that share a topic.

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::{Kafka, code, committed, offset_text, offsets, one, poll, poll_until};

fn commit(consumer: &BaseConsumer, topic: &str, offset: i64) -> Result<(), RDKafkaErrorCode> {
    consumer.commit(&one(topic, 0, Offset::Offset(offset)), CommitMode::Sync).map_err(|error| code(&error))
}

/// As the mapping does it: partitions assigned by hand, offsets kept under the group's name.
pub fn resume(kafka: &Kafka) -> String {
    const NAME: &str = "resumed";
    kafka.topic(NAME, 1, &[]);
    kafka.send_numbers(&kafka.producer(&[]), NAME, 0, 10);
    let first = kafka.consumer("resumes", &[]);
    let fresh = offset_text(committed(&first, NAME, 0));
    first.assign(&one(NAME, 0, Offset::Beginning)).unwrap();
    poll(&first, 4);
    commit(&first, NAME, 4).unwrap();
    drop(first);
    let second = kafka.consumer("resumes", &[]);
    let kept = offset_text(committed(&second, NAME, 0));
    second.assign(&one(NAME, 0, Offset::Stored)).unwrap();
    format!("{fresh}, then {kept}; goes on at {:?}", offsets(&poll(&second, 1)))
}

pub fn odd_commits(kafka: &Kafka) -> String {
    const NAME: &str = "odd-commits";
    kafka.topic(NAME, 1, &[]);
    kafka.send_numbers(&kafka.producer(&[]), NAME, 0, 5);
    let consumer = kafka.consumer("odd", &[]);
    let steps = [5, 2, 1_000].map(|offset| {
        let done = commit(&consumer, NAME, offset);
        format!(
            "{offset}: {}",
            done.map_or_else(|code| format!("{code:?}"), |()| offset_text(committed(&consumer, NAME, 0)))
        )
    });
    steps.join(", ")
}

pub fn commit_to_an_unknown_partition(kafka: &Kafka) -> String {
    kafka.topic("one-partition", 1, &[]);
    let consumer = kafka.consumer("strange", &[]);
    let done = consumer.commit(&one("one-partition", 9, Offset::Offset(1)), CommitMode::Sync);
    done.map_or_else(|error| format!("{:?}", code(&error)), |()| "taken".to_owned())
}

pub fn two_members(kafka: &Kafka) -> String {
    const NAME: &str = "shared";
    kafka.topic(NAME, 4, &[]);
    let settings =
        [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "300"), ("auto.offset.reset", "earliest")];
    let member = || {
        let consumer = kafka.consumer("members", &settings);
        consumer.subscribe(&[NAME]).unwrap();
        consumer
    };
    let share = |consumer: &BaseConsumer| consumer.assignment().unwrap().count();
    let (first, second) = (member(), member());
    let split = poll_until(&[&first, &second], || share(&first) == 2 && share(&second) == 2);
    let halves = (share(&first), share(&second));
    drop(second);
    let alone = poll_until(&[&first], || share(&first) == 4);
    format!("split: {split} {halves:?}; the one that stays has all: {alone}")
}
