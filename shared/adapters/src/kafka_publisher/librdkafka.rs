//! librdkafka's producer: threads of its own, a queue, and a moment of waiting for more.
//!
//! A batch is enqueued whole before anything is awaited, so it leaves in as few requests as it has partitions. Retries are librdkafka's: it
//! repeats until the message's time is over, and an idempotent producer does so in order and without duplicates of its own.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use centinela_delivery::{Causes, PublishError};
use centinela_domain::Millis;
use centinela_kafka_access::tell_when_identified;
use centinela_produce::Record;
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tracing::{error, warn};

use super::delivery::{Delivery, Slot};
use super::session::Session;
use super::{ConnectError, KafkaConfig, METADATA_LIMIT, NotAcknowledged, RECORD_BYTES_MAX, refuse_missing};
use crate::budget::Budget;

/// How long init waits for the idempotent producer's id.
const IDENTIFIED_LIMIT: Duration = Duration::from_secs(2);

/// One producer per process.
pub(super) struct Librdkafka {
    client_config: ClientConfig,
    bootstrap: String,
    /// As it was when they were counted; a topic that is not there leaves it to the keys.
    partitions: Arc<RwLock<Partitions>>,
    producer: RwLock<Arc<ThreadedProducer<Session>>>,
}

impl Librdkafka {
    /// Starts the producer and asks the brokers for their topics, which opens the connection and shows a missing topic at start.
    pub(super) async fn connect(config: &KafkaConfig, wanted: &[&str]) -> Result<Self, ConnectError> {
        let client_config = client_config(config);
        let refused = |source| ConnectError::KafkaClient { bootstrap: config.access.bootstrap.clone(), source };
        let producer = Arc::new(start(&client_config).map_err(refused)?);
        let asked = Arc::clone(&producer);
        let topics = tokio::task::spawn_blocking(move || partitions_of(&asked)).await;
        let mut partitions = Partitions::default();
        match topics {
            Ok(Ok(present)) => {
                let missing = wanted.iter().filter(|topic| !present.contains_key(**topic));
                refuse_missing(config, missing.map(|topic| (*topic).to_owned()).collect())?;
                partitions = present;
            }
            Ok(Err(error)) => warn!(error = %Causes(&error), "kafka did not answer the first request"),
            Err(error) => warn!(error = %Causes(&error), "kafka's topics could not be asked for"),
        }
        if config.idempotent {
            until_identified(&producer).await;
        }
        let bootstrap = config.access.bootstrap.clone();
        Ok(Self {
            client_config,
            bootstrap,
            partitions: Arc::new(RwLock::new(partitions)),
            producer: RwLock::new(producer),
        })
    }

    pub(super) async fn send(&self, records: &[Record<'_>], deadline: Millis) -> Vec<Result<(), PublishError>> {
        let producer = self.producer();
        producer.context().lost().mend(producer.client(), &self.bootstrap);
        let delivery = Arc::new(Delivery::of(records.len()));
        for (index, record) in records.iter().enumerate() {
            let slot = Box::new(Slot { delivery: Arc::clone(&delivery), index });
            let headers = record
                .headers
                .iter()
                .fold(OwnedHeaders::new_with_capacity(record.headers.len()), |all, (key, value)| {
                    all.insert(Header { key, value: Some(*value) })
                });
            let message = BaseRecord::<[u8], [u8], Box<Slot>>::with_opaque_to(record.topic, slot)
                .payload(record.value)
                .headers(headers);
            let message = match record.key {
                Some(key) => message.key(key),
                None => message,
            };
            let message = match record.near.and_then(|near| self.partition_like(record.topic, near)) {
                Some(partition) => message.partition(partition),
                None => message,
            };
            if let Err((error, message)) = producer.send(message) {
                message.delivery_opaque.resolve(Err(error));
            }
        }
        if let Some(left) = Budget::until(deadline).left() {
            // What is not delivered by then is answered as unacknowledged.
            tokio::time::timeout(left, delivery.finished()).await.unwrap_or_default();
        }
        let results = delivery.results();
        let errors: Vec<&KafkaError> = results.iter().flatten().filter_map(|result| result.as_ref().err()).collect();
        if !errors.is_empty() {
            self.replace_if_fatal(&producer);
        }
        if errors.into_iter().any(lacks_a_partition) {
            self.count_partitions_anew(producer);
        }
        results
            .into_iter()
            .map(|result| match result {
                Some(Ok(())) => Ok(()),
                Some(Err(error)) => Err(classified(error)),
                None => Err(PublishError::Unacknowledged(Box::new(NotAcknowledged))),
            })
            .collect()
    }

    fn producer(&self) -> Arc<ThreadedProducer<Session>> {
        Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The partition for what belongs to a partition of another topic; none where the key is to decide.
    fn partition_like(&self, topic: &str, other: u32) -> Option<i32> {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        i32::try_from(other.checked_rem(*partitions.get(topic)?)?).ok()
    }

    /// A topic that was made anew may have fewer partitions. Until they are counted the keys decide.
    fn count_partitions_anew(&self, producer: Arc<ThreadedProducer<Session>>) {
        let partitions = Arc::clone(&self.partitions);
        let set = move |counted| *partitions.write().unwrap_or_else(PoisonError::into_inner) = counted;
        set(Partitions::new());
        tokio::task::spawn_blocking(move || match partitions_of(&producer) {
            Ok(counted) => set(counted),
            Err(error) => warn!(error = %Causes(&error), "kafka's partitions were not counted anew"),
        });
    }

    /// A fatal error ends an idempotent producer for good: its place is taken by a new one.
    fn replace_if_fatal(&self, failed: &Arc<ThreadedProducer<Session>>) {
        let Some((code, reason)) = failed.client().fatal_error() else { return };
        let mut current = self.producer.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, failed) {
            return;
        }
        match start(&self.client_config) {
            Ok(producer) => {
                warn!(%code, reason, "the kafka producer failed for good and was replaced");
                let old = std::mem::replace(&mut *current, Arc::new(producer));
                // Ending a producer waits for its threads.
                std::thread::spawn(move || drop(old));
            }
            Err(error) => {
                error!(error = %Causes(&error), "the kafka producer failed for good and has no successor")
            }
        }
    }
}

fn client_config(config: &KafkaConfig) -> ClientConfig {
    let mut client = config.access.client();
    client
        .set("client.id", &config.client_id)
        .set("enable.idempotence", if config.idempotent { "true" } else { "false" })
        .set("acks", "all")
        // The Java client's partitioner, so that a key has one partition whoever writes it.
        .set("partitioner", "murmur2_random")
        // A batch is enqueued within a fraction of this, so that it leaves in one piece.
        .set("linger.ms", "1")
        // Less to replicate and to keep. zstd saves more, and librdkafka makes its tables anew for every partition of a batch: a third of the
        // client's time where that is one record.
        .set("compression.type", "lz4")
        .set("message.timeout.ms", config.message_timeout.as_millis().to_string())
        .set("request.timeout.ms", "5000")
        .set("retry.backoff.ms", "20")
        .set("reconnect.backoff.ms", "50")
        .set("socket.nagle.disable", "true")
        .set("socket.keepalive.enable", "true")
        .set("message.max.bytes", RECORD_BYTES_MAX.to_string())
        // A topic that was there at start and is gone is an error at once, not after half a minute.
        .set("topic.metadata.propagation.max.ms", "1000");
    if config.idempotent {
        tell_when_identified(&mut client);
    }
    client
}

fn start(client: &ClientConfig) -> Result<ThreadedProducer<Session>, KafkaError> {
    ThreadedProducer::from_config_and_context(client, Session::default())
}

/// Waits, within a limit, until the producer can send: what it waits for in init no decision waits for later.
async fn until_identified(producer: &ThreadedProducer<Session>) {
    if tokio::time::timeout(IDENTIFIED_LIMIT, producer.context().identified()).await.is_err() {
        warn!("nothing was heard of the kafka producer's id in time: the first messages wait until it has one");
    }
}

/// How many partitions each topic has.
type Partitions = HashMap<String, u32>;

fn partitions_of(producer: &ThreadedProducer<Session>) -> Result<Partitions, KafkaError> {
    let metadata = producer.client().fetch_metadata(None, METADATA_LIMIT)?;
    Ok(metadata.topics().iter().map(|topic| (topic.name().to_owned(), topic.partitions().len() as u32)).collect())
}

fn lacks_a_partition(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::UnknownPartition | Code::UnknownTopicOrPartition))
}

fn classified(error: KafkaError) -> PublishError {
    use RDKafkaErrorCode as Code;
    let refused = matches!(
        error.rdkafka_error_code(),
        Some(
            Code::MessageSizeTooLarge
                | Code::MessageBatchTooLarge
                | Code::InvalidMessageSize
                | Code::InvalidTopic
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::InvalidRecord
                | Code::PolicyViolation
        )
    );
    if refused { PublishError::Refused(Box::new(error)) } else { PublishError::Unacknowledged(Box::new(error)) }
}

#[cfg(test)]
mod tests {
    use centinela_contracts::keyed::DeploymentKey;
    use centinela_kafka_access::KafkaAccess;
    use rdkafka::mocking::MockCluster;

    use super::*;

    /// The word on it is a line of text, which another librdkafka may write otherwise: then every start would wait for its limit.
    #[tokio::test]
    async fn a_start_hears_of_the_producers_id() {
        let cluster = MockCluster::new(1).expect("a cluster");
        let access = KafkaAccess::plaintext(&cluster.bootstrap_servers());
        let key = DeploymentKey::new(b"a key for tests only").expect("a key");
        let config = KafkaConfig::of_dead_letters("test", access, "dead-letters".to_owned(), key);
        let producer = start(&client_config(&config)).expect("a producer");
        let heard = tokio::time::timeout(Duration::from_secs(60), producer.context().identified()).await;
        assert!(heard.is_ok(), "the producer has an id within half a second, and nothing was heard of it");
    }

    #[test]
    fn what_another_try_cannot_change_is_refused_and_everything_else_is_not() {
        let refused = classified(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge));
        assert!(matches!(refused, PublishError::Refused(_)));
        for code in [RDKafkaErrorCode::MessageTimedOut, RDKafkaErrorCode::NotEnoughReplicas, RDKafkaErrorCode::Fatal] {
            let error = classified(KafkaError::MessageProduction(code));
            assert!(matches!(error, PublishError::Unacknowledged(_)), "{code}");
        }
    }
}
