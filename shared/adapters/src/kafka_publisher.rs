//! Decisions and dead letters to Kafka, by the lean producer or by librdkafka's.
//!
//! A request of Kafka's protocol has one batch for each partition, and librdkafka makes a request of each. So a decision goes to the
//! partition in which its transaction stands: those of a batch leave together, where their keys would spread them over as many partitions as
//! there are decisions; and a consumer finds a decision, and what repeats it, in the partition of its transaction.
//!
//! Retries are the producer's, until the message's time is over. A message that was not acknowledged by the caller's deadline may still be
//! written later; whoever asked publishes the same bytes again, so that consumers drop repetitions in any case.

mod delivery;
mod ingest;
mod librdkafka;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use centinela_contracts::dead_letter_v1::{self, DeadLetter};
use centinela_contracts::keyed::DeploymentKey;
use centinela_delivery::{DeadLetters, PublishError};
use centinela_domain::{Coordinates, Millis, Outcome};
use centinela_kafka_access::{KafkaAccess, KafkaClient};
use centinela_produce::{Producer, Record, SendError};
use centinela_scoring::ports::{DecisionPublisher, Outgoing};
use tracing::warn;

use crate::ConnectError;
use crate::budget::Budget;
pub use ingest::{IngestConfig, KafkaIngest};
use librdkafka::Librdkafka;

/// Header with the decision's id, hexadecimal; consumers drop repetitions by it.
pub const DECISION_ID: &str = "decision-id";
/// Long enough for a broker to answer a first connection, short enough for Lambda's limit of 10 s for a start.
const METADATA_LIMIT: Duration = Duration::from_secs(4);
/// How long the client tries to deliver a dead letter of a function that publishes nothing else.
const DEAD_LETTER_TIMEOUT: Duration = Duration::from_secs(4);
/// A record may be as large as an invocation payload, and in a dead letter it is base64.
const RECORD_BYTES_MAX: usize = 8 << 20;

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
    /// Which producer: the lean one, or librdkafka's.
    pub client: KafkaClient,
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
            client: KafkaClient::Librdkafka,
        }
    }
}

/// Publishes to Kafka; clones share one producer.
#[derive(Clone)]
pub struct KafkaPublisher(Arc<Shared>);

struct Shared {
    config: KafkaConfig,
    producer: By,
}

enum By {
    Lean(Box<Producer>),
    Librdkafka(Librdkafka),
}

impl std::fmt::Debug for KafkaPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaPublisher").field("config", &self.0.config).finish_non_exhaustive()
    }
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
        let topics: BTreeSet<String> =
            config.decision_topics.values().chain([&config.dead_letters_topic]).cloned().collect();
        Self::connect_to(config, &topics.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// The same for any topics.
    async fn connect_to(config: KafkaConfig, wanted: &[&str]) -> Result<Self, ConnectError> {
        let producer = match config.client {
            KafkaClient::Lean => By::Lean(Box::new(lean(&config, wanted).await?)),
            KafkaClient::Librdkafka => By::Librdkafka(Librdkafka::connect(&config, wanted).await?),
        };
        Ok(Self(Arc::new(Shared { config, producer })))
    }

    async fn produce(&self, records: &[Record<'_>], deadline: Millis) -> Vec<Result<(), PublishError>> {
        match &self.0.producer {
            By::Lean(producer) => {
                let limit = Budget::until(deadline).left().unwrap_or_default().min(self.0.config.message_timeout);
                let answers = producer.send(records, limit).await;
                answers.into_iter().map(|answer| answer.map_err(classified)).collect()
            }
            By::Librdkafka(producer) => producer.send(records, deadline).await,
        }
    }
}

async fn lean(config: &KafkaConfig, wanted: &[&str]) -> Result<Producer, ConnectError> {
    let producer = Producer::new(centinela_produce::Settings {
        access: config.access.clone(),
        client_id: config.client_id.clone(),
        topics: wanted.iter().map(|topic| (*topic).to_owned()).collect(),
        idempotent: config.idempotent,
        record_bytes_max: RECORD_BYTES_MAX,
    })?;
    match producer.connect(METADATA_LIMIT).await {
        Ok(missing) => refuse_missing(config, missing)?,
        Err(error) => warn!(error, "kafka did not answer the first request"),
    }
    Ok(producer)
}

fn refuse_missing(config: &KafkaConfig, missing: Vec<String>) -> Result<(), ConnectError> {
    if missing.is_empty() {
        return Ok(());
    }
    Err(ConnectError::TopicsMissing { bootstrap: config.access.bootstrap.clone(), topics: missing })
}

fn classified(error: SendError) -> PublishError {
    match error {
        SendError::TooLarge { .. } | SendError::Refused(_) => PublishError::Refused(Box::new(error)),
        SendError::Unacknowledged(_) => PublishError::Unacknowledged(Box::new(error)),
    }
}

impl DecisionPublisher for KafkaPublisher {
    async fn publish(&self, decisions: &[Outgoing], deadline: Millis) -> Vec<Result<(), PublishError>> {
        let topics = &self.0.config.decision_topics;
        let ids: Vec<String> = decisions.iter().map(|decision| decision.decision_id.to_string()).collect();
        let headers: Vec<_> = ids.iter().map(|id| [(DECISION_ID, id.as_bytes())]).collect();
        let records = decisions.iter().zip(&headers).map(|(decision, headers)| Record {
            topic: &topics[&decision.outcome],
            near: Some(decision.partition),
            key: Some(decision.transaction_id.as_str().as_bytes()),
            value: &decision.payload,
            headers,
        });
        self.produce(&records.collect::<Vec<_>>(), deadline).await
    }
}

impl DeadLetters for KafkaPublisher {
    async fn send(&self, letters: &[DeadLetter], deadline: Millis) -> Vec<Result<(), PublishError>> {
        let config = &self.0.config;
        let payloads: Vec<Vec<u8>> = letters.iter().map(dead_letter_v1::encode).collect();
        let first: Vec<_> = letters.iter().map(|letter| first_coordinates(letter, &config.deployment_key)).collect();
        let headers: Vec<Vec<(&str, &[u8])>> = first
            .iter()
            .map(|headers| headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect())
            .collect();
        let records = letters.iter().zip(&payloads).zip(&headers).map(|((letter, value), headers)| Record {
            topic: &config.dead_letters_topic,
            near: None,
            key: letter.key.as_deref(),
            value,
            headers,
        });
        self.produce(&records.collect::<Vec<_>>(), deadline).await
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
