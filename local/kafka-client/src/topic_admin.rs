//! What an operator does to topics while clients use them: adds partitions, deletes, lets a topic refuse writes.
//!
//! Works against any Kafka that grants it. It touches only the topics that it is given.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::KafkaAccess;
use crate::error::ClusterError;
use crate::topics::{REQUEST_LIMIT, TopicSpec, admin, new_topic, partitions_when};

/// The setting that bounds a batch.
const RECORD_BYTES_MAX: &str = "max.message.bytes";

/// An operator's connection.
pub struct TopicAdmin {
    bootstrap: String,
    client: Arc<AdminClient<DefaultClientContext>>,
}

impl TopicAdmin {
    /// Makes the client; it connects with the first request.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn new(access: &KafkaAccess) -> Result<Self, ClusterError> {
        Ok(Self { bootstrap: access.bootstrap.clone(), client: Arc::new(admin(access)?) })
    }

    /// Creates a topic and returns once the cluster shows it with its partitions.
    ///
    /// # Errors
    /// When the cluster refuses or does not show it within 15 s.
    pub async fn create(&self, topic: &TopicSpec) -> Result<(), ClusterError> {
        let outcomes = self.client.create_topics(&[new_topic(topic)], &options()).await;
        refused(outcomes.map_err(|source| self.unusable(source))?)?;
        self.wait_for(&topic.name, |found| found == topic.partitions).await
    }

    /// Deletes a topic and returns once the cluster does not show it any more.
    ///
    /// # Errors
    /// When the cluster refuses or still shows the topic after 15 s.
    pub async fn delete(&self, topic: &str) -> Result<(), ClusterError> {
        let outcomes = self.client.delete_topics(&[topic], &options()).await.map_err(|source| self.unusable(source))?;
        refused(outcomes)?;
        self.wait_for(topic, |partitions| partitions == 0).await
    }

    /// Adds empty partitions until the topic has `partitions`, and returns once the cluster shows them.
    ///
    /// # Errors
    /// When the cluster refuses, for example because the topic has as many, or does not show them within 15 s.
    pub async fn add_partitions(&self, topic: &str, partitions: usize) -> Result<(), ClusterError> {
        let wanted = NewPartitions::new(topic, partitions);
        let outcomes = self.client.create_partitions([&wanted], &options()).await;
        refused(outcomes.map_err(|source| self.unusable(source))?)?;
        self.wait_for(topic, |found| found >= partitions).await
    }

    /// Lets a topic refuse every record as too large, or take them again; its other settings are put back to `config`, which must
    /// be what it was made with. Too few replicas in sync would be the truer reason, but Kafka 4 asks of a topic with one
    /// replica no more than that one.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn set_refusing(
        &self,
        topic: &str,
        config: &BTreeMap<String, String>,
        refusing: bool,
    ) -> Result<(), ClusterError> {
        let kept = config.iter().filter(|(name, _)| !refusing || *name != RECORD_BYTES_MAX);
        let resource = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let resource = kept.fold(resource, |resource, (name, value)| resource.set(name, value));
        let resource = if refusing { resource.set(RECORD_BYTES_MAX, "1") } else { resource };
        let outcomes =
            self.client.alter_configs([&resource], &options()).await.map_err(|source| self.unusable(source))?;
        match outcomes.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some((_, code)) => Err(ClusterError::TopicRefused { topic: topic.to_owned(), code }),
        }
    }

    fn unusable(&self, source: KafkaError) -> ClusterError {
        ClusterError::Client { bootstrap: self.bootstrap.clone(), source }
    }

    async fn wait_for(&self, topic: &str, is_enough: impl Fn(usize) -> bool) -> Result<(), ClusterError> {
        partitions_when(&self.client, topic, is_enough).await.map(drop).map_err(|source| self.unusable(source))
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_LIMIT)).operation_timeout(Some(REQUEST_LIMIT))
}

fn refused(outcomes: Vec<Result<String, (String, RDKafkaErrorCode)>>) -> Result<(), ClusterError> {
    match outcomes.into_iter().find_map(Result::err) {
        None => Ok(()),
        Some((topic, code)) => Err(ClusterError::TopicRefused { topic, code }),
    }
}
