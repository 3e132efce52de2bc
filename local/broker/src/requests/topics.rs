//! Topics and the cluster: what there is, and creating, deleting and widening topics.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, DescribeClusterRequest, DescribeClusterResponse,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, MetadataRequest, MetadataResponse,
};
use uuid::Uuid;

use super::configs::created_configs;
use super::{CLUSTER_ID, HOST, LEADER_EPOCH, NODE, text, topic_name};
use crate::router::Router;
use crate::store::settings::Settings;
use crate::store::topics::{PARTITIONS_MAX, Topic, check_name};

/// Where a node is named that is not there.
const NOBODY: BrokerId = BrokerId(-1);
/// Operations were not asked for, or are not kept.
const NO_OPERATIONS: i32 = i32::MIN;
/// What a topic gets that does not say how many partitions it wants.
const DEFAULT_PARTITIONS: usize = 1;
/// Partitions that one answer describes at most.
const DESCRIBED_MAX: usize = 2_000;

/// What went wrong, and with what.
type Problem = (ResponseError, Option<String>);

pub(crate) fn metadata(router: &Router, version: i16, request: MetadataRequest) -> MetadataResponse {
    let registered = router.is_registered();
    let topics = router.topics().lock();
    let asked = request.topics.filter(|asked| version > 0 || !asked.is_empty());
    let mut described: Vec<_> = match asked {
        None => topics.iter().map(|(name, topic)| known(name, topic)).collect(),
        Some(asked) => asked
            .into_iter()
            .map(|asked| one(&topics, asked.name.as_ref().map(|name| name.as_str()), asked.topic_id))
            .collect(),
    };
    let answer = MetadataResponse::default().with_cluster_id(Some(text(CLUSTER_ID)));
    if !registered {
        for partition in described.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.error_code = ResponseError::LeaderNotAvailable.code();
            partition.leader_id = NOBODY;
        }
        return answer.with_controller_id(NOBODY).with_topics(described);
    }
    let broker = MetadataResponseBroker::default().with_node_id(NODE).with_host(text(HOST)).with_port(router.port());
    answer.with_brokers(vec![broker]).with_controller_id(NODE).with_topics(described)
}

fn one(topics: &BTreeMap<String, Topic>, name: Option<&str>, id: Uuid) -> MetadataResponseTopic {
    let unknown = MetadataResponseTopic::default().with_name(name.map(topic_name)).with_topic_id(id);
    let Some(name) = name else {
        let found = topics.iter().find(|(_, topic)| topic.id == id);
        let missing = unknown.with_error_code(ResponseError::UnknownTopicId.code());
        return found.map_or(missing, |(name, topic)| known(name, topic));
    };
    if let Some(topic) = topics.get(name) {
        return known(name, topic);
    }
    let error = check_name(name).err().unwrap_or(ResponseError::UnknownTopicOrPartition);
    unknown.with_error_code(error.code())
}

fn known(name: &str, topic: &Topic) -> MetadataResponseTopic {
    let partition = |index| {
        let partition = MetadataResponsePartition::default().with_partition_index(index);
        partition
            .with_leader_id(NODE)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    };
    let partitions = (0..).take(topic.partitions.len()).map(partition).collect();
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(name)))
        .with_topic_id(topic.id)
        .with_partitions(partitions)
}

pub(crate) fn describe_cluster(router: &Router, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let broker = DescribeClusterBroker::default().with_broker_id(NODE).with_host(text(HOST)).with_port(router.port());
    DescribeClusterResponse::default()
        .with_endpoint_type(request.endpoint_type)
        .with_cluster_id(text(CLUSTER_ID))
        .with_controller_id(NODE)
        .with_brokers(vec![broker])
        .with_cluster_authorized_operations(NO_OPERATIONS)
}

/// Topics in the order of their names, from the cursor on; what does not fit into one answer is told from where on to ask again.
pub(crate) fn describe_topic_partitions(
    router: &Router,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let topics = router.topics().lock();
    let (first, mut skipped) = request.cursor.map_or((String::new(), 0), |cursor| {
        (cursor.topic_name.to_string(), usize::try_from(cursor.partition_index).unwrap_or(0))
    });
    let mut names: Vec<String> = request.topics.iter().map(|topic| topic.name.to_string()).collect();
    if names.is_empty() {
        names = topics.keys().cloned().collect();
    }
    names.sort();
    names.dedup();
    let mut left = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, DESCRIBED_MAX);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.into_iter().filter(|name| *name >= first) {
        let from = if name == first { std::mem::take(&mut skipped) } else { 0 };
        let partitions = topics.get(&name).map_or(0, |topic| topic.partitions.len());
        if left == 0 {
            let cursor = Cursor::default().with_topic_name(topic_name(&name)).with_partition_index(from as i32);
            return response.with_next_cursor(Some(cursor));
        }
        let until = partitions.min(from + left);
        left -= until.saturating_sub(from);
        response.topics.push(described(&name, topics.get(&name), from, until));
        if until < partitions {
            let cursor = Cursor::default().with_topic_name(topic_name(&name)).with_partition_index(until as i32);
            return response.with_next_cursor(Some(cursor));
        }
    }
    response
}

fn described(name: &str, topic: Option<&Topic>, from: usize, until: usize) -> DescribeTopicPartitionsResponseTopic {
    let described = DescribeTopicPartitionsResponseTopic::default().with_name(Some(topic_name(name)));
    let described = described.with_topic_authorized_operations(NO_OPERATIONS);
    let Some(topic) = topic else {
        let error = check_name(name).err().unwrap_or(ResponseError::UnknownTopicOrPartition);
        return described.with_error_code(error.code());
    };
    let partitions = (from..until).map(|index| {
        let partition = DescribeTopicPartitionsResponsePartition::default().with_partition_index(index as i32);
        let partition = partition.with_leader_id(NODE).with_leader_epoch(LEADER_EPOCH);
        let partition = partition.with_replica_nodes(vec![NODE]).with_isr_nodes(vec![NODE]);
        // Java's client takes none for an empty list and fails on null.
        partition.with_eligible_leader_replicas(Some(Vec::new())).with_last_known_elr(Some(Vec::new()))
    });
    described.with_topic_id(topic.id).with_partitions(partitions.collect())
}

pub(crate) fn create(router: &Router, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let topics = request.topics.iter().map(|topic| {
        let is_repeated = names.iter().filter(|name| **name == topic.name).count() > 1;
        let created = if is_repeated {
            Err((ResponseError::InvalidRequest, Some("the topic is named more than once".to_owned())))
        } else {
            create_one(router, topic, request.validate_only)
        };
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        match created {
            Ok((id, partitions, settings)) => result
                .with_topic_id(id)
                .with_num_partitions(partitions as i32)
                .with_replication_factor(1)
                .with_configs(Some(created_configs(&settings))),
            Err((error, problem)) => result
                .with_error_code(error.code())
                .with_error_message(problem.as_deref().map(text))
                .with_num_partitions(-1)
                .with_replication_factor(-1),
        }
    });
    CreateTopicsResponse::default().with_topics(topics.collect())
}

fn create_one(
    router: &Router,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<(Uuid, usize, Settings), Problem> {
    let mut partitions = match topic.num_partitions {
        -1 => DEFAULT_PARTITIONS,
        count => usize::try_from(count).unwrap_or(0),
    };
    if topic.assignments.is_empty() {
        if ![-1, 1].contains(&topic.replication_factor) {
            return Err((ResponseError::InvalidReplicationFactor, Some("there is one broker".to_owned())));
        }
    } else {
        let mut indexes: Vec<_> = topic.assignments.iter().map(|assignment| assignment.partition_index).collect();
        indexes.sort_unstable();
        let is_here = topic.assignments.iter().all(|assignment| assignment.broker_ids == [NODE]);
        if !is_here || !indexes.iter().copied().eq((0..).take(indexes.len())) {
            return Err((ResponseError::InvalidReplicaAssignment, Some("there is one broker".to_owned())));
        }
        partitions = indexes.len();
    }
    let mut settings = Settings::default();
    for config in &topic.configs {
        let value = config.value.as_deref();
        let value =
            value.ok_or_else(|| (ResponseError::InvalidConfig, Some(format!("{} has no value", config.name))))?;
        settings.set(&config.name, value).map_err(|problem| (ResponseError::InvalidConfig, Some(problem)))?;
    }
    let created = router.topics().create(&topic.name, partitions, settings.clone(), validate_only);
    let id = created.map_err(|error| (error, None))?;
    Ok((id, partitions, settings))
}

pub(crate) fn delete(router: &Router, version: i16, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_name = request.topic_names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name)));
    let responses = by_name.chain(request.topics).map(|asked| {
        let by_id = || {
            let topics = router.topics().lock();
            topics.iter().find(|(_, topic)| topic.id == asked.topic_id).map(|(name, _)| name.clone())
        };
        let (name, id) = match &asked.name {
            Some(name) => (Some(name.to_string()), router.topics().lock().get(name.as_str()).map(|topic| topic.id)),
            None => (by_id(), Some(asked.topic_id)),
        };
        let is_deleted = name.as_deref().is_some_and(|name| router.topics().delete(name));
        let error = match &asked.name {
            _ if is_deleted => 0,
            None if version > 5 => ResponseError::UnknownTopicId.code(),
            _ => ResponseError::UnknownTopicOrPartition.code(),
        };
        if let Some(name) = name.as_deref().filter(|_| is_deleted) {
            router.groups().forget_topic(name);
        }
        let result = DeletableTopicResult::default().with_name(name.as_deref().map(topic_name));
        result.with_topic_id(id.unwrap_or_default()).with_error_code(error)
    });
    DeleteTopicsResponse::default().with_responses(responses.collect())
}

pub(crate) fn create_partitions(router: &Router, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let results = request.topics.iter().map(|topic| {
        let added = widen(router, topic, request.validate_only);
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        match added {
            Ok(()) => result,
            Err((error, problem)) => {
                result.with_error_code(error.code()).with_error_message(problem.as_deref().map(text))
            }
        }
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn widen(router: &Router, topic: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Problem> {
    let known = router.topics().lock().get(topic.name.as_str()).map(|topic| topic.partitions.len());
    let known = known.ok_or((ResponseError::UnknownTopicOrPartition, None))?;
    let wanted = usize::try_from(topic.count).unwrap_or(0);
    if wanted <= known {
        let problem = format!("the topic has {known} partitions already");
        return Err((ResponseError::InvalidPartitions, Some(problem)));
    }
    if wanted > PARTITIONS_MAX {
        return Err((
            ResponseError::InvalidPartitions,
            Some(format!("a topic has {PARTITIONS_MAX} partitions at most")),
        ));
    }
    let is_here = |assigned: &Vec<_>| assigned.len() == wanted - known;
    if topic
        .assignments
        .as_ref()
        .is_some_and(|assigned| !is_here(assigned) || assigned.iter().any(|one| one.broker_ids != [NODE]))
    {
        return Err((ResponseError::InvalidReplicaAssignment, Some("there is one broker".to_owned())));
    }
    if !validate_only {
        router.topics().grow(&topic.name, wanted);
    }
    Ok(())
}
