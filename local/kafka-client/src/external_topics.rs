//! The topics of an external cluster: created when they are missing and that is allowed, checked when they are there.
//!
//! What would break the protocol is an error; what only differs from the stacks is said in one line. Nothing is altered, and
//! nothing is ever deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::{Metadata, MetadataTopic};

use crate::error::ClusterError;
use crate::rights::{may_read, may_write};
use crate::topics::{REQUEST_LIMIT, TopicSpec, admin, visible_partitions};
use crate::watcher::{Watcher, reach};
use crate::{KafkaAccess, KafkaLogin, REACH_LIMIT};

const TIMESTAMP_TYPE: &str = "message.timestamp.type";
const MIN_INSYNC: &str = "min.insync.replicas";

/// A topic as the stacks declare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTopic {
    /// Name, partitions and settings.
    pub spec: TopicSpec,
    /// Copies in production; a smaller cluster keeps as many as it has brokers.
    pub replication: usize,
    /// Whether we write to it; everything is read.
    pub written: bool,
}

/// What was found and done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreparedTopics {
    /// Topics that were not there.
    pub created: Vec<String>,
    /// What differs from the stacks without breaking anything, a line each.
    pub differences: Vec<String>,
}

/// Brings the topics of an external cluster into the shape that the stacks declare, and checks our rights on them.
///
/// # Errors
/// When the cluster cannot be reached, refuses us, lacks a topic that we may not create, or has one whose shape would break the
/// protocol.
pub async fn prepare_topics(access: &KafkaAccess, topics: &[DeclaredTopic]) -> Result<PreparedTopics, ClusterError> {
    let asked = access.clone();
    let cluster = blocking(move || Ok(Cluster::of(&reach(&asked)?.1))).await?;
    let mut prepared = PreparedTopics::default();
    let (present, missing): (Vec<_>, Vec<_>) =
        topics.iter().partition(|topic| cluster.topics.contains_key(&topic.spec.name));
    for topic in &present {
        check_partitions(topic, &cluster)?;
    }
    prepared.differences.extend(fewer_copies(&present, |topic| cluster.shape(&topic.spec.name).copies, "has"));
    prepared.differences.extend(fewer_copies(&missing, |topic| copies_in(&cluster, topic), "is created with"));
    let names = |topics: &[&DeclaredTopic]| topics.iter().map(|topic| topic.spec.name.clone()).collect::<Vec<_>>();
    if matches!(access.login, KafkaLogin::Iam { .. }) {
        // The admin client of rdkafka serves no token requests, so it cannot log in with IAM.
        if !missing.is_empty() {
            return Err(ClusterError::TopicsMissing { bootstrap: access.bootstrap.clone(), topics: names(&missing) });
        }
        prepared.differences.push("the topics' settings are not checked with --kafka-iam".to_owned());
    } else {
        let admin = Arc::new(admin(access)?);
        check_settings(access, &admin, &present, &cluster, &mut prepared.differences).await?;
        for topic in &missing {
            create(access, &admin, topic, copies_in(&cluster, topic)).await?;
            prepared.created.push(topic.spec.name.clone());
        }
    }
    check_rights(access, topics).await?;
    Ok(prepared)
}

/// One past the last record of each partition, by topic.
///
/// # Errors
/// When Kafka does not answer.
pub async fn topic_ends(
    access: &KafkaAccess,
    topics: &[DeclaredTopic],
) -> Result<BTreeMap<String, Vec<i64>>, ClusterError> {
    let topics: Vec<(String, usize)> =
        topics.iter().map(|topic| (topic.spec.name.clone(), topic.spec.partitions)).collect();
    let access = access.clone();
    blocking(move || ends(&reach(&access)?.0, &access.bootstrap, &topics)).await
}

/// What a cluster shows of itself.
struct Cluster {
    brokers: usize,
    topics: BTreeMap<String, Shape>,
}

#[derive(Clone, Copy, Default)]
struct Shape {
    partitions: usize,
    /// Of the partition with the fewest.
    copies: usize,
}

impl Cluster {
    fn of(metadata: &Metadata) -> Self {
        let visible = metadata.topics().iter().filter(|topic| topic.error().is_none());
        let shape = |topic: &MetadataTopic| Shape {
            partitions: topic.partitions().len(),
            copies: topic.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0),
        };
        Self {
            brokers: metadata.brokers().len(),
            topics: visible.map(|topic| (topic.name().to_owned(), shape(topic))).collect(),
        }
    }

    fn shape(&self, topic: &str) -> Shape {
        self.topics.get(topic).copied().unwrap_or_default()
    }
}

fn check_partitions(topic: &DeclaredTopic, cluster: &Cluster) -> Result<(), ClusterError> {
    let (spec, found) = (&topic.spec, cluster.shape(&topic.spec.name).partitions);
    if found == spec.partitions {
        return Ok(());
    }
    Err(ClusterError::PartitionCount { topic: spec.name.clone(), wanted: spec.partitions, found })
}

/// How many copies a new topic gets: a cluster cannot keep more than it has brokers.
fn copies_in(cluster: &Cluster, topic: &DeclaredTopic) -> usize {
    topic.replication.clamp(1, cluster.brokers.max(1))
}

/// One line for all topics whose copies differ in the same way.
fn fewer_copies(topics: &[&DeclaredTopic], copies: impl Fn(&DeclaredTopic) -> usize, verb: &str) -> Vec<String> {
    let mut differing: BTreeMap<(usize, usize), Vec<&str>> = BTreeMap::new();
    for topic in topics {
        if copies(topic) != topic.replication {
            differing.entry((copies(topic), topic.replication)).or_default().push(&topic.spec.name);
        }
    }
    let line = |((found, declared), names): ((usize, usize), Vec<&str>)| {
        format!("topic {} {verb} replication {found}, the stacks declare {declared}", names.join(", "))
    };
    differing.into_iter().map(line).collect()
}

/// Compares the settings that the stacks declare with those that are in force.
async fn check_settings(
    access: &KafkaAccess,
    admin: &AdminClient<DefaultClientContext>,
    topics: &[&DeclaredTopic],
    cluster: &Cluster,
    differences: &mut Vec<String>,
) -> Result<(), ClusterError> {
    let asked: Vec<ResourceSpecifier<'_>> =
        topics.iter().map(|topic| ResourceSpecifier::Topic(&topic.spec.name)).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let unusable = |source| ClusterError::Client { bootstrap: access.bootstrap.clone(), source };
    let options = AdminOptions::new().request_timeout(Some(REQUEST_LIMIT));
    let answers = admin.describe_configs(&asked, &options).await.map_err(unusable)?;
    for (topic, answer) in topics.iter().zip(answers) {
        let name = &topic.spec.name;
        let settings = match answer {
            Ok(settings) => settings,
            Err(code) => {
                differences.push(format!(
                    "the settings of topic {name} cannot be checked ({code}); grant {} DescribeConfigs",
                    access.who()
                ));
                continue;
            }
        };
        let in_force = |setting: &str| settings.get(setting).and_then(|entry| entry.value.clone());
        let copies = cluster.shape(name).copies;
        let needed = in_force(MIN_INSYNC).and_then(|value| value.parse::<usize>().ok()).unwrap_or(1);
        if copies < needed {
            return Err(ClusterError::TopicUnwritable { topic: name.clone(), needed, copies });
        }
        for (setting, wanted) in &topic.spec.config {
            let Some(found) = in_force(setting).filter(|found| found != wanted) else { continue };
            if setting == TIMESTAMP_TYPE {
                let (topic, wanted) = (name.clone(), wanted.clone());
                return Err(ClusterError::TimestampType { topic, wanted, found });
            }
            // With fewer copies this one has to be lower, and the copies are named already.
            if setting != MIN_INSYNC || copies == topic.replication {
                differences.push(format!("topic {name} has {setting}={found}, the stacks declare {wanted}"));
            }
        }
    }
    Ok(())
}

async fn create(
    access: &KafkaAccess,
    admin: &Arc<AdminClient<DefaultClientContext>>,
    topic: &DeclaredTopic,
    copies: usize,
) -> Result<(), ClusterError> {
    let spec = &topic.spec;
    let mut config = spec.config.clone();
    if let Some(needed) = config.get_mut(MIN_INSYNC)
        && needed.parse::<usize>().is_ok_and(|needed| copies < needed)
    {
        *needed = copies.to_string();
    }
    let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
    let replication = TopicReplication::Fixed(i32::try_from(copies).unwrap_or(1));
    let new = config
        .iter()
        .fold(NewTopic::new(&spec.name, partitions, replication), |new, (name, value)| new.set(name, value));
    let unusable = |source| ClusterError::Client { bootstrap: access.bootstrap.clone(), source };
    let options = AdminOptions::new().request_timeout(Some(REQUEST_LIMIT)).operation_timeout(Some(REQUEST_LIMIT));
    let answers = admin.create_topics([&new], &options).await.map_err(unusable)?;
    let right = |right, resource| ClusterError::Right {
        bootstrap: access.bootstrap.clone(),
        who: access.who(),
        right,
        resource,
    };
    for answer in answers {
        match answer {
            Ok(_) => {}
            // It is there and was not shown to us.
            Err((topic, RDKafkaErrorCode::TopicAlreadyExists)) => {
                return Err(right("Describe", format!("topic `{topic}`")));
            }
            Err((topic, RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed)) => {
                return Err(right("Describe (or Create, if it does not exist yet)", format!("topic `{topic}`")));
            }
            Err((topic, code)) => return Err(ClusterError::TopicRefused { topic, code }),
        }
    }
    visible_partitions(admin, &spec.name).await.map_err(unusable).map(drop)
}

/// Asks for every right that a run needs, all topics at once.
async fn check_rights(access: &KafkaAccess, topics: &[DeclaredTopic]) -> Result<(), ClusterError> {
    let mut asking = Vec::new();
    for topic in topics {
        // Rights belong to a login. Without one the question is not asked: a broker that takes any number of acknowledgements
        // would write the record that asks.
        let written = topic.written && access.login != KafkaLogin::Anonymous;
        let (access, name) = (access.clone(), topic.spec.name.clone());
        asking.push(blocking(move || {
            may_read(&access, &name)?;
            if written { may_write(&access, &name) } else { Ok(()) }
        }));
    }
    futures::future::try_join_all(asking).await.map(drop)
}

fn ends(
    consumer: &BaseConsumer<Watcher>,
    bootstrap: &str,
    topics: &[(String, usize)],
) -> Result<BTreeMap<String, Vec<i64>>, ClusterError> {
    let mut all = BTreeMap::new();
    for (topic, partitions) in topics {
        let mut ends = Vec::with_capacity(*partitions);
        for partition in 0..*partitions {
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            let answer = consumer.fetch_watermarks(topic, partition, REACH_LIMIT);
            let unusable = |source| ClusterError::Client { bootstrap: bootstrap.to_owned(), source };
            ends.push(answer.map_err(unusable)?.1);
        }
        all.insert(topic.clone(), ends);
    }
    Ok(all)
}

/// librdkafka's questions block; they have no place on a task.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClusterError> + Send + 'static,
) -> Result<T, ClusterError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(ClusterError::Panicked))
}
