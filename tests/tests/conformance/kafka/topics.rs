//! Topics: creating them, their settings, deleting them, adding partitions.

use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::admin::{NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::FutureRecord;

use super::{Kafka, PATIENCE, admin_options, code, committed, offset_text, offsets, one, outcome, poll, text};

pub fn created(kafka: &Kafka) -> String {
    const NAME: &str = "created";
    kafka.topic(NAME, 3, &[("message.timestamp.type", "LogAppendTime"), ("retention.ms", "3600000")]);
    let partitions = partitions(&kafka.consumer("asks", &[]), NAME);
    let described = kafka.wait(kafka.admin().describe_configs(&[ResourceSpecifier::Topic(NAME)], &admin_options()));
    let settings = match described.map(|mut all| all.pop()) {
        Ok(Some(Ok(resource))) => {
            let value = |name: &str| resource.get(name).and_then(|entry| entry.value.clone());
            format!("{:?} {:?}", value("message.timestamp.type"), value("retention.ms"))
        }
        Ok(Some(Err(code))) => format!("{code:?}"),
        Ok(None) => "no answer".to_owned(),
        Err(error) => format!("{:?}", code(&error)),
    };
    format!("{partitions} partitions, {settings}")
}

fn create(kafka: &Kafka, name: &str, config: &[(&str, &str)]) -> Result<(), RDKafkaErrorCode> {
    let topic = NewTopic::new(name, 1, TopicReplication::Fixed(1));
    let topic = config.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
    outcome(kafka.wait(kafka.admin().create_topics(&[topic], &admin_options())))
}

pub fn created_again(kafka: &Kafka) -> String {
    kafka.topic("created-again", 1, &[]);
    text(create(kafka, "created-again", &[]))
}

pub fn with_a_bad_name(kafka: &Kafka) -> String {
    text(create(kafka, "no spaces, please", &[]))
}

pub fn with_an_unknown_setting(kafka: &Kafka) -> String {
    text(create(kafka, "unknown-setting", &[("no.such.setting", "1")]))
}

pub fn with_a_bad_value(kafka: &Kafka) -> String {
    text(create(kafka, "bad-value", &[("message.timestamp.type", "Sundial")]))
}

pub fn with_three_replicas(kafka: &Kafka) -> String {
    let topic = NewTopic::new("three-replicas", 1, TopicReplication::Fixed(3));
    text(outcome(kafka.wait(kafka.admin().create_topics(&[topic], &admin_options()))))
}

pub fn deleted_and_created_again(kafka: &Kafka) -> String {
    const NAME: &str = "deleted";
    kafka.topic(NAME, 1, &[]);
    kafka.send_numbers(&kafka.producer(&[]), NAME, 0, 5);
    let consumer = kafka.consumer("of-deleted", &[]);
    consumer.commit(&one(NAME, 0, Offset::Offset(3)), CommitMode::Sync).unwrap();
    let deleted = outcome(kafka.wait(kafka.admin().delete_topics(&[NAME], &admin_options())));
    if let Err(code) = deleted {
        return format!("{code:?}");
    }
    // A new incarnation, as soon as the old one is gone.
    let deadline = Instant::now() + PATIENCE;
    while create(kafka, NAME, &[]).is_err() {
        assert!(Instant::now() < deadline, "the topic does not go");
    }
    kafka.topic(NAME, 1, &[]);
    let first = text(kafka.send(&kafka.producer(&[]), FutureRecord::to(NAME).payload(b"new".as_slice())).map(|_| ()));
    let found = kafka.read(NAME, 0, Offset::Beginning, 1);
    let kept = offset_text(committed(&kafka.consumer("of-deleted", &[]), NAME, 0));
    format!("first record {first} at {:?}; the group has {kept}", offsets(&found))
}

pub fn unknown_produce(kafka: &Kafka) -> String {
    let producer = kafka.producer(&[("message.timeout.ms", "3000"), ("topic.metadata.propagation.max.ms", "500")]);
    text(kafka.send(&producer, FutureRecord::to("nobody-made-this").payload(b"x".as_slice())))
}

pub fn unknown_assign(kafka: &Kafka) -> String {
    let consumer = kafka.consumer("lost", &[("topic.metadata.propagation.max.ms", "500")]);
    consumer.assign(&one("nobody-made-this-either", 0, Offset::Beginning)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(Err(error)) = consumer.poll(super::POLL) {
            return format!("{:?}", code(&error));
        }
    }
    "no error".to_owned()
}

pub fn partitions_by_request(kafka: &Kafka) -> String {
    kafka.topic("asked-for-more", 1, &[]);
    text(kafka.ask_for_partitions("asked-for-more", 3))
}

/// Partitions appear while a consumer with assigned partitions reads, which must go on.
pub fn partitions_added(kafka: &Kafka) -> String {
    const NAME: &str = "more-partitions";
    kafka.topic(NAME, 1, &[]);
    let producer = kafka.producer(&[("topic.metadata.refresh.interval.ms", "200")]);
    kafka.send_numbers(&producer, NAME, 0, 1);
    let consumer = kafka.consumer("of-more", &[("topic.metadata.refresh.interval.ms", "200")]);
    consumer.assign(&one(NAME, 0, Offset::Beginning)).unwrap();
    let before = poll(&consumer, 1).len();
    kafka.add_partitions(NAME, 3);
    let deadline = Instant::now() + PATIENCE;
    while partitions(&consumer, NAME) != 3 {
        assert!(Instant::now() < deadline, "the new partitions do not show");
    }
    kafka.send_numbers(&producer, NAME, 0, 1);
    let fresh = kafka.producer(&[]);
    kafka.send_numbers(&fresh, NAME, 2, 2);
    let after = poll(&consumer, 1).len();
    let new = offsets(&kafka.read(NAME, 2, Offset::Beginning, 2));
    format!("read {before} before and {after} after; the new partition has {new:?}")
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> usize {
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
    metadata.topics()[0].partitions().len()
}
