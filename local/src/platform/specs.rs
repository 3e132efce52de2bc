//! What the stacks declare, in the terms of the parts.

use centinela_aws::{AttrType, StreamSpec, TableSpec};
use centinela_infra::{self as infra, Infrastructure};
use centinela_kafka_client::{DeclaredTopic, Group, TopicSpec};
use centinela_lambda_host::mapping::{KafkaMappingSpec, StartingPosition};

/// Invocations that one provisioned poller keeps in flight.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-scaling-modes.html>
const INVOCATIONS_PER_POLLER: u32 = 5;

fn attribute_type(name: &str) -> AttrType {
    match name {
        "N" => AttrType::N,
        "B" => AttrType::B,
        _ => AttrType::S,
    }
}

pub(super) fn table_spec(table: &infra::Table) -> TableSpec {
    let key = |(name, kind): &(String, String)| (name.clone(), attribute_type(kind));
    TableSpec {
        name: table.name.clone(),
        partition_key: key(&table.partition_key),
        sort_key: table.sort_key.as_ref().map(key),
        ttl_attribute: table.ttl_attribute.clone(),
    }
}

pub(super) fn stream_spec(stream: &infra::Stream) -> StreamSpec {
    StreamSpec { name: stream.name.clone(), shards: u16::try_from(stream.shards).unwrap_or(u16::MAX) }
}

/// A declared topic, as it is created.
#[must_use]
pub fn topic_spec(topic: &infra::Topic) -> TopicSpec {
    TopicSpec { name: topic.name.clone(), partitions: topic.partitions as usize, config: topic.config.clone() }
}

pub(super) fn mapping_spec(declared: &infra::Mapping, environments: Option<usize>) -> KafkaMappingSpec {
    let wanted = environments.and_then(|count| u32::try_from(count).ok());
    let pollers_max = wanted.map_or(declared.pollers_max, |count| count.div_ceil(INVOCATIONS_PER_POLLER).max(1));
    KafkaMappingSpec {
        batch_size: declared.batch_size as usize,
        window: declared.window,
        pollers_min: declared.pollers_min.min(pollers_max),
        pollers_max,
        parallel_invocations_per_poller: INVOCATIONS_PER_POLLER,
        starting_position: match declared.starting_position {
            infra::StartingPosition::TrimHorizon => StartingPosition::TrimHorizon,
            infra::StartingPosition::Latest => StartingPosition::Latest,
            infra::StartingPosition::AtTimestamp(time) => StartingPosition::AtTimestamp(time),
        },
        report_batch_item_failures: declared.report_batch_item_failures,
        bisect_batch_on_function_error: declared.bisect,
        maximum_retry_attempts: declared.maximum_retry_attempts,
        maximum_record_age: declared.maximum_record_age,
        on_failure_topic: declared.on_failure_topic.clone(),
        ..KafkaMappingSpec::new(&declared.function, &declared.topic, &declared.consumer_group)
    }
}

/// The topics, with what is only needed of an external cluster.
pub(super) fn declared_topics(infrastructure: &Infrastructure) -> Vec<DeclaredTopic> {
    let is_source = |name: &str| infrastructure.mappings.iter().any(|mapping| mapping.topic == name);
    let declared = infrastructure.topics.iter().map(|topic| DeclaredTopic {
        spec: topic_spec(topic),
        replication: topic.replication as usize,
        written: !is_source(&topic.name),
    });
    declared.collect()
}

/// The consumer groups of all mappings.
pub(super) fn groups(infrastructure: &Infrastructure) -> Vec<Group> {
    let group = |mapping: &infra::Mapping| Group { name: mapping.consumer_group.clone(), topic: mapping.topic.clone() };
    infrastructure.mappings.iter().map(group).collect()
}
