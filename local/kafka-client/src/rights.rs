//! Whether we may read and write a topic, asked before anything depends on it.
//!
//! Reading is proved by reaching the end of a partition. Writing is proved without writing: a record that asks for two
//! acknowledgements, a number that Kafka does not know, is refused for that number only after the right to write was checked.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::error::ClusterError;
use crate::parting::Parting;
use crate::watcher::Watcher;
use crate::{KafkaAccess, REACH_LIMIT};

const POLL: Duration = Duration::from_millis(50);
/// One question; in between it is looked whether the cluster refused us.
const QUESTION: Duration = Duration::from_millis(500);

/// Checks the right to read a topic. Blocks for up to 8 s.
///
/// # Errors
/// [`ClusterError::Right`] when it is missing; another when Kafka does not answer.
pub fn may_read(access: &KafkaAccess, topic: &str) -> Result<(), ClusterError> {
    let unusable = |source| ClusterError::Client { bootstrap: access.bootstrap.clone(), source };
    let mut config = access.client();
    config
        .set("client.id", "centinela-check")
        .set("group.id", "centinela-check")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10");
    let consumer: BaseConsumer<Watcher> = config.create_with_context(Watcher::default()).map_err(unusable)?;
    let consumer = Parting::from(consumer);
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::End).map_err(unusable)?;
    consumer.assign(&assignment).map_err(unusable)?;
    let until = Instant::now() + REACH_LIMIT;
    while Instant::now() < until {
        match consumer.poll(POLL) {
            Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) if is_refused(error.rdkafka_error_code()) => return Err(missing(access, "Read", topic)),
            Some(Err(_)) | None => {}
        }
    }
    Err(silent(access, topic))
}

/// Checks the right to write a topic, without writing. Blocks for up to 8 s.
///
/// # Errors
/// [`ClusterError::Right`] when it is missing; another when Kafka does not answer.
pub fn may_write(access: &KafkaAccess, topic: &str) -> Result<(), ClusterError> {
    let unusable = |source| ClusterError::Client { bootstrap: access.bootstrap.clone(), source };
    let watcher = Watcher::default();
    let mut config = access.client();
    config
        .set("client.id", "centinela-check")
        .set("acks", "2")
        .set("retries", "0")
        .set("linger.ms", "0")
        .set("message.timeout.ms", REACH_LIMIT.as_millis().to_string());
    let producer: BaseProducer<Watcher> = config.create_with_context(watcher.clone()).map_err(unusable)?;
    let record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).payload(b"");
    producer.send(record).map_err(|(error, _)| unusable(error))?;
    let until = Instant::now() + REACH_LIMIT;
    let answer = loop {
        producer.poll(POLL);
        match watcher.delivery() {
            Some(answer) => break answer,
            None if until <= Instant::now() => return Err(silent(access, topic)),
            None => {}
        }
    };
    drop(producer.flush(Duration::ZERO));
    match answer {
        Err(code) if is_refused(Some(code)) => Err(missing(access, "Write", topic)),
        Err(RDKafkaErrorCode::MessageTimedOut) => Err(silent(access, topic)),
        _ => Ok(()),
    }
}

/// Checks the right to keep offsets under a group's name. Blocks for up to 8 s.
///
/// # Errors
/// [`ClusterError::Right`] when it is missing.
pub fn may_use_group(access: &KafkaAccess, group: &str, topic: &str) -> Result<(), ClusterError> {
    let unusable = |source| ClusterError::Client { bootstrap: access.bootstrap.clone(), source };
    let watcher = Watcher::default();
    let mut config = access.client();
    config.set("client.id", "centinela-check").set("group.id", group).set("enable.auto.commit", "false");
    let consumer: BaseConsumer<Watcher> = config.create_with_context(watcher.clone()).map_err(unusable)?;
    let consumer = Parting::from(consumer);
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let until = Instant::now() + REACH_LIMIT;
    loop {
        let answer = consumer.committed_offsets(asked.clone(), QUESTION);
        // Serves what the client has to say; there are no records.
        drop(consumer.poll(Duration::ZERO));
        let is_refused = watcher.is_group_refused()
            || matches!(&answer, Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed));
        match answer {
            _ if is_refused => {
                return Err(ClusterError::Right {
                    bootstrap: access.bootstrap.clone(),
                    who: access.who(),
                    right: "Read",
                    resource: format!("group `{group}`"),
                });
            }
            Ok(_) => return Ok(()),
            // A cluster that never kept offsets makes their topic first; whether it ever does is seen by the mapping.
            Err(_) if until <= Instant::now() => return Ok(()),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

fn is_refused(code: Option<RDKafkaErrorCode>) -> bool {
    matches!(code, Some(RDKafkaErrorCode::TopicAuthorizationFailed))
}

fn missing(access: &KafkaAccess, right: &'static str, topic: &str) -> ClusterError {
    ClusterError::Right {
        bootstrap: access.bootstrap.clone(),
        who: access.who(),
        right,
        resource: format!("topic `{topic}`"),
    }
}

fn silent(access: &KafkaAccess, topic: &str) -> ClusterError {
    ClusterError::Unreachable {
        bootstrap: access.bootstrap.clone(),
        waited_s: REACH_LIMIT.as_secs(),
        reason: format!("the leader of topic `{topic}` does not answer"),
    }
}
