//! Decisions and dead letters to Kafka, by librdkafka's producer.
//!
//! One producer per process. A batch is enqueued whole before anything is awaited, so it leaves in as few requests as there are
//! leaders. Retries are librdkafka's: it repeats until the message's time is over, and an idempotent producer does so in order and without
//! duplicates of its own. A message that was not acknowledged by the caller's deadline may still be written later; whoever asked publishes
//! the same bytes again, so that consumers drop repetitions in any case.

mod delivery;
mod ingest;
mod session;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use centinela_contracts::dead_letter_v1::{self, DeadLetter};
use centinela_contracts::keyed::DeploymentKey;
use centinela_delivery::{Causes, DeadLetters, PublishError};
use centinela_domain::{Coordinates, Millis, Outcome};
use centinela_kafka_access::{KafkaAccess, tell_when_identified};
use centinela_scoring::ports::{DecisionPublisher, Outgoing};
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tracing::{error, warn};

use crate::ConnectError;
use crate::budget::Budget;
use delivery::{Delivery, Slot};
pub use ingest::{IngestConfig, KafkaIngest};
use session::Session;

/// Header with the decision's id, hexadecimal; consumers drop repetitions by it.
pub const DECISION_ID: &str = "decision-id";
/// Long enough for a broker to answer a first connection, short enough for Lambda's limit of 10 s for a start.
const METADATA_LIMIT: Duration = Duration::from_secs(4);
/// How long init waits for the idempotent producer's id.
const IDENTIFIED_LIMIT: Duration = Duration::from_secs(2);
/// How long the client tries to deliver a dead letter of a function that publishes nothing else.
const DEAD_LETTER_TIMEOUT: Duration = Duration::from_secs(4);

/// Which cluster and which topics.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// The cluster, and how to get into it.
    pub access: KafkaAccess,
    /// The client's name in the brokers' logs.
    pub client_id: String,
    /// Where decisions of each outcome go: a topic for every one, or none for a function that decides nothing.
    pub decision_topics: BTreeMap<Outcome, String>,
    /// Where dead letters go.
    pub dead_letters_topic: String,
    /// Signs where dead-lettered records were first delivered.
    pub deployment_key: DeploymentKey,
    /// How long the client tries to deliver a message.
    pub message_timeout: Duration,
    /// Whether the brokers drop what the client repeats after a lost answer. It needs an id from the brokers before the first message, and
    /// a message with its time over ends the producer's sequence. Without it a repetition reaches the topic, as bytes that are there already.
    pub idempotent: bool,
}

impl KafkaConfig {
    /// For a function that publishes dead letters only, within four seconds each.
    #[must_use]
    pub fn of_dead_letters(client: &str, access: KafkaAccess, topic: String, deployment_key: DeploymentKey) -> Self {
        Self {
            access,
            client_id: client.to_owned(),
            decision_topics: BTreeMap::new(),
            dead_letters_topic: topic,
            deployment_key,
            message_timeout: DEAD_LETTER_TIMEOUT,
            idempotent: true,
        }
    }
}

/// Publishes to Kafka; clones share one producer.
#[derive(Clone)]
pub struct KafkaPublisher(Arc<Shared>);

struct Shared {
    config: KafkaConfig,
    client_config: ClientConfig,
    producer: RwLock<Arc<ThreadedProducer<Session>>>,
}

impl std::fmt::Debug for KafkaPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaPublisher").field("config", &self.0.config).finish_non_exhaustive()
    }
}

struct Message<'a> {
    topic: &'a str,
    key: Option<&'a [u8]>,
    payload: &'a [u8],
    headers: OwnedHeaders,
}

#[derive(Debug, thiserror::Error)]
#[error("no acknowledgement until the deadline")]
struct NotAcknowledged;

impl KafkaPublisher {
    /// Starts the producer and asks the brokers for their topics, which opens the connection and shows a missing topic at start.
    /// Brokers that do not answer yet are no reason not to start.
    pub async fn connect(config: KafkaConfig) -> Result<Self, ConnectError> {
        let routed = |outcome| config.decision_topics.contains_key(outcome);
        let all_or_none = config.decision_topics.is_empty() || Outcome::ALL.iter().all(routed);
        assert!(all_or_none, "every outcome has a topic: {:?}", config.decision_topics);
        let topics: Vec<String> =
            config.decision_topics.values().chain([&config.dead_letters_topic]).cloned().collect();
        Self::connect_to(config, &topics.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// The same for any topics.
    async fn connect_to(config: KafkaConfig, wanted: &[&str]) -> Result<Self, ConnectError> {
        let client_config = client_config(&config);
        let refused = |source| ConnectError::KafkaClient { bootstrap: config.access.bootstrap.clone(), source };
        let producer = Arc::new(start(&client_config).map_err(refused)?);
        let asked = Arc::clone(&producer);
        let topics = tokio::task::spawn_blocking(move || topics_of(&asked)).await;
        match topics {
            Ok(Ok(present)) => refuse_missing(&config, wanted, &present)?,
            Ok(Err(error)) => warn!(error = %Causes(&error), "kafka did not answer the first request"),
            Err(error) => warn!(error = %Causes(&error), "kafka's topics could not be asked for"),
        }
        if config.idempotent {
            until_identified(&producer).await;
        }
        Ok(Self(Arc::new(Shared { config, client_config, producer: RwLock::new(producer) })))
    }

    async fn produce(&self, messages: Vec<Message<'_>>, deadline: Millis) -> Vec<Result<(), PublishError>> {
        let producer = self.producer();
        let delivery = Arc::new(Delivery::of(messages.len()));
        for (index, message) in messages.into_iter().enumerate() {
            let slot = Box::new(Slot { delivery: Arc::clone(&delivery), index });
            let record = BaseRecord::<[u8], [u8], Box<Slot>>::with_opaque_to(message.topic, slot)
                .payload(message.payload)
                .headers(message.headers);
            let record = match message.key {
                Some(key) => record.key(key),
                None => record,
            };
            if let Err((error, record)) = producer.send(record) {
                record.delivery_opaque.resolve(Err(error));
            }
        }
        if let Some(left) = Budget::until(deadline).left() {
            // What is not delivered by then is answered as unacknowledged.
            tokio::time::timeout(left, delivery.finished()).await.unwrap_or_default();
        }
        let results = delivery.results();
        if results.iter().flatten().any(Result::is_err) {
            self.replace_if_fatal(&producer);
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
        Arc::clone(&self.0.producer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A fatal error ends an idempotent producer for good: its place is taken by a new one.
    fn replace_if_fatal(&self, failed: &Arc<ThreadedProducer<Session>>) {
        let Some((code, reason)) = failed.client().fatal_error() else { return };
        let mut current = self.0.producer.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, failed) {
            return;
        }
        match start(&self.0.client_config) {
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

impl DecisionPublisher for KafkaPublisher {
    async fn publish(&self, decisions: &[Outgoing], deadline: Millis) -> Vec<Result<(), PublishError>> {
        let config = &self.0.config;
        let messages = decisions.iter().map(|decision| {
            let id = decision.decision_id.to_string();
            Message {
                topic: &config.decision_topics[&decision.outcome],
                key: Some(decision.transaction_id.as_str().as_bytes()),
                payload: &decision.payload,
                headers: OwnedHeaders::new_with_capacity(1).insert(Header { key: DECISION_ID, value: Some(&id) }),
            }
        });
        self.produce(messages.collect(), deadline).await
    }
}

impl DeadLetters for KafkaPublisher {
    async fn send(&self, records: &[DeadLetter], deadline: Millis) -> Vec<Result<(), PublishError>> {
        let payloads: Vec<Vec<u8>> = records.iter().map(dead_letter_v1::encode).collect();
        let messages = records.iter().zip(&payloads).map(|(record, payload)| {
            let headers = first_coordinates(record, &self.0.config.deployment_key);
            Message {
                topic: &self.0.config.dead_letters_topic,
                key: record.key.as_deref(),
                payload,
                headers: headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |all, (key, value)| {
                    all.insert(Header { key, value: Some(value) })
                }),
            }
        });
        self.produce(messages.collect(), deadline).await
    }
}

/// Headers that name the record's first delivery, signed, so that driving it again is recognised. Those that it already carries
/// stay, if they are this deployment's.
fn first_coordinates(record: &DeadLetter, key: &DeploymentKey) -> Vec<(String, Vec<u8>)> {
    let (Some(offset), Some(timestamp)) = (record.offset, record.timestamp) else { return Vec::new() };
    let delivered = Coordinates { partition: record.partition, offset, timestamp };
    let value = record.value.as_deref().unwrap_or_default();
    match dead_letter_v1::first_coordinates(&record.headers, value, delivered, key) {
        Some(Ok((topic, first))) => dead_letter_v1::first_headers(&topic, first, value, key),
        Some(Err(_)) | None => dead_letter_v1::first_headers(&record.topic, delivered, value, key),
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
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.nagle.disable", "true")
        .set("socket.keepalive.enable", "true")
        // A record may be as large as an invocation payload, and in a dead letter it is base64.
        .set("message.max.bytes", "8388608")
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

fn topics_of(producer: &ThreadedProducer<Session>) -> Result<HashSet<String>, KafkaError> {
    let metadata = producer.client().fetch_metadata(None, METADATA_LIMIT)?;
    Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
}

fn refuse_missing(config: &KafkaConfig, wanted: &[&str], present: &HashSet<String>) -> Result<(), ConnectError> {
    let wanted: BTreeSet<&str> = wanted.iter().copied().collect();
    let missing: Vec<String> =
        wanted.into_iter().filter(|topic| !present.contains(*topic)).map(str::to_owned).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ConnectError::TopicsMissing { bootstrap: config.access.bootstrap.clone(), topics: missing })
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
