//! Creates Kafka topics and checks the ones that are there. Works against any Kafka, embedded or real.
//!
//! It never changes or deletes a topic: a wrong partition count is an error for a person to decide about, because adding
//! partitions moves keys to other partitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::KafkaAccess;
use crate::error::ClusterError;

pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const VISIBLE_LIMIT: Duration = Duration::from_secs(15);
const VISIBLE_POLL: Duration = Duration::from_millis(20);
/// Lets the cluster choose its own default.
const CLUSTER_DEFAULT_REPLICATION: i32 = -1;

/// A topic that must exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// The name.
    pub name: String,
    /// The number of partitions.
    pub partitions: usize,
    /// Topic configuration, such as `retention.ms`; used only when the topic is created.
    pub config: BTreeMap<String, String>,
}

/// Creates the topics that are missing and returns once every topic is visible with its partitions.
///
/// # Errors
/// When Kafka cannot be reached, refuses a topic, or has one with another number of partitions.
pub async fn create_topics(bootstrap: &str, topics: &[TopicSpec]) -> Result<(), ClusterError> {
    let unusable = |source| ClusterError::Client { bootstrap: bootstrap.to_owned(), source };
    let admin = admin(&KafkaAccess::plaintext(bootstrap))?;
    let new_topics: Vec<NewTopic<'_>> = topics.iter().map(new_topic).collect();
    let options = AdminOptions::new().request_timeout(Some(REQUEST_LIMIT)).operation_timeout(Some(REQUEST_LIMIT));
    for outcome in admin.create_topics(&new_topics, &options).await.map_err(unusable)? {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(ClusterError::TopicRefused { topic, code }),
        }
    }
    let admin = Arc::new(admin);
    for topic in topics {
        let found = visible_partitions(&admin, &topic.name).await.map_err(unusable)?;
        if found != topic.partitions {
            return Err(ClusterError::PartitionCount { topic: topic.name.clone(), wanted: topic.partitions, found });
        }
    }
    Ok(())
}

pub(super) fn admin(access: &KafkaAccess) -> Result<AdminClient<DefaultClientContext>, ClusterError> {
    let unusable = |source| ClusterError::Client { bootstrap: access.bootstrap.clone(), source };
    access.client().set("client.id", "centinela-topics").create().map_err(unusable)
}

pub(super) fn new_topic(topic: &TopicSpec) -> NewTopic<'_> {
    let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
    let new = NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(CLUSTER_DEFAULT_REPLICATION));
    topic.config.iter().fold(new, |new, (name, value)| new.set(name, value))
}

/// The partitions of a topic that was just created: a real cluster shows it a moment after it accepted it.
pub(super) async fn visible_partitions(
    admin: &Arc<AdminClient<DefaultClientContext>>,
    topic: &str,
) -> Result<usize, KafkaError> {
    partitions_when(admin, topic, |partitions| partitions > 0).await
}

/// The partitions that the cluster shows once there are enough of them; none at all is 0.
pub(super) async fn partitions_when(
    admin: &Arc<AdminClient<DefaultClientContext>>,
    topic: &str,
    is_enough: impl Fn(usize) -> bool,
) -> Result<usize, KafkaError> {
    let deadline = Instant::now() + VISIBLE_LIMIT;
    loop {
        let (asked, name) = (Arc::clone(admin), topic.to_owned());
        let answer = tokio::task::spawn_blocking(move || asked.inner().fetch_metadata(Some(&name), REQUEST_LIMIT))
            .await
            .map_err(|_| KafkaError::Canceled)??;
        let found = answer
            .topics()
            .iter()
            .find(|entry| entry.name() == topic && entry.error().is_none())
            .map_or(0, |entry| entry.partitions().len());
        if is_enough(found) {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        tokio::time::sleep(VISIBLE_POLL).await;
    }
}
