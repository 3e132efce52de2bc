//! Records of the HTTP API's callers, by the same idempotent producer.

use std::time::Duration;

use centinela_api::ports::{Ingest, Record, Target};
use centinela_contracts::keyed::DeploymentKey;
use centinela_delivery::PublishError;
use centinela_domain::Millis;
use centinela_kafka_access::{KafkaAccess, KafkaClient};

use super::{KafkaConfig, KafkaPublisher};
use crate::ConnectError;

/// Which cluster and which topics.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// The cluster, and how to get into it.
    pub access: KafkaAccess,
    /// The client's name in the brokers' logs.
    pub client_id: String,
    /// Where transactions go.
    pub transactions: String,
    /// Where user actions go.
    pub user_actions: String,
    /// Where labels go.
    pub events: String,
    /// The deployment's key; nothing is signed with it here.
    pub deployment_key: DeploymentKey,
    /// How long the client tries to deliver a message.
    pub message_timeout: Duration,
}

/// Writes callers' records.
#[derive(Clone, Debug)]
pub struct KafkaIngest {
    publisher: KafkaPublisher,
    transactions: String,
    user_actions: String,
    events: String,
}

impl KafkaIngest {
    /// Starts the producer; see [`KafkaPublisher::connect`].
    pub async fn connect(config: IngestConfig) -> Result<Self, ConnectError> {
        let IngestConfig { transactions, user_actions, events, .. } = config.clone();
        let publisher = KafkaPublisher::connect_to(
            KafkaConfig {
                access: config.access,
                client_id: config.client_id,
                decision_topics: Default::default(),
                dead_letters_topic: String::new(),
                deployment_key: config.deployment_key,
                message_timeout: config.message_timeout,
                // A caller's record is not published twice by us.
                idempotent: true,
                client: KafkaClient::Librdkafka,
            },
            &[&transactions, &user_actions, &events],
        )
        .await?;
        Ok(Self { publisher, transactions, user_actions, events })
    }

    fn topic(&self, target: Target) -> &str {
        match target {
            Target::Transactions => &self.transactions,
            Target::UserActions => &self.user_actions,
            Target::Events => &self.events,
        }
    }
}

impl Ingest for KafkaIngest {
    async fn send(&self, records: &[Record<'_>], deadline: Millis) -> Vec<Result<(), PublishError>> {
        let message = |record| {
            let Record { target, key, value }: &Record<'_> = record;
            centinela_produce::Record {
                topic: self.topic(*target),
                near: None,
                key: Some(key.as_bytes()),
                value,
                headers: &[],
            }
        };
        self.publisher.produce(&records.iter().map(message).collect::<Vec<_>>(), deadline).await
    }
}
