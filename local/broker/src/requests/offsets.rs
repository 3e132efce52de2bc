//! The offsets that groups commit.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName,
};

use super::{code, text, topic_name};
use crate::groups::member::Peer;
use crate::groups::{Committed, Partition};
use crate::router::Router;

/// Bytes of a commit's metadata; Kafka's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4_096;
/// Nothing is committed.
const NOTHING: Committed = Committed { offset: -1, leader_epoch: -1, metadata: String::new() };

pub(crate) fn commit(router: &Router, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let asked = request.topics.iter().flat_map(|topic| {
        let name = topic.name.to_string();
        topic.partitions.iter().map(move |partition| (name.clone(), partition.partition_index))
    });
    let known = router.topics().known(asked);
    let mut offsets = Vec::new();
    let mut refusals: BTreeMap<Partition, ResponseError> = BTreeMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = (topic.name.to_string(), partition.partition_index);
            let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
            if !known.contains(&key) {
                refusals.insert(key, ResponseError::UnknownTopicOrPartition);
            } else if metadata.len() > METADATA_BYTES_MAX {
                refusals.insert(key, ResponseError::OffsetMetadataTooLarge);
            } else {
                let (offset, leader_epoch) = (partition.committed_offset, partition.committed_leader_epoch);
                offsets.push((key, Committed { offset, leader_epoch, metadata: metadata.to_owned() }));
            }
        }
    }
    let peer = Peer {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        generation: request.generation_id_or_member_epoch,
    };
    let committed = router.groups().commit(&request.group_id, &peer, offsets);
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let refusal = refusals.get(&(topic.name.to_string(), partition.partition_index));
            let error = refusal.map_or(code(&committed), ResponseError::code);
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(error)
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// Topics, each with its partitions.
type Offsets = Vec<(TopicName, Vec<(i32, Committed)>)>;

/// What a group has committed of the partitions asked for, or of all.
fn committed(router: &Router, group: &str, asked: Option<Vec<(TopicName, Vec<i32>)>>) -> Offsets {
    router.groups().look(|groups| {
        let offsets = groups.get(group).map(|entry| &entry.offsets);
        let of = |name: &TopicName, index: i32| {
            let found = offsets.and_then(|offsets| offsets.get(&(name.to_string(), index)));
            (index, found.cloned().unwrap_or(NOTHING))
        };
        if let Some(asked) = asked {
            let topic = |(name, indexes): (TopicName, Vec<i32>)| {
                let partitions = indexes.into_iter().map(|index| of(&name, index)).collect();
                (name, partitions)
            };
            return asked.into_iter().map(topic).collect();
        }
        let mut all: BTreeMap<&str, Vec<(i32, Committed)>> = BTreeMap::new();
        for ((topic, index), committed) in offsets.into_iter().flatten() {
            all.entry(topic).or_default().push((*index, committed.clone()));
        }
        all.into_iter().map(|(topic, partitions)| (topic_name(topic), partitions)).collect()
    })
}

/// From version 8 on several groups may be asked for at once.
pub(crate) fn fetch(router: &Router, version: i16, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if version < 8 {
        let asked = request
            .topics
            .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
        let topics = committed(router, &request.group_id, asked).into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, committed)| {
                let partition = OffsetFetchResponsePartition::default().with_partition_index(index);
                let epoch = if version < 5 { -1 } else { committed.leader_epoch };
                let partition = partition.with_committed_offset(committed.offset).with_committed_leader_epoch(epoch);
                partition.with_metadata(Some(text(&committed.metadata)))
            });
            OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
        });
        return OffsetFetchResponse::default().with_topics(topics.collect());
    }
    let groups = request.groups.into_iter().map(|group| {
        let asked =
            group.topics.map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
        let topics = committed(router, &group.group_id, asked).into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, committed)| {
                let partition = OffsetFetchResponsePartitions::default().with_partition_index(index);
                let partition = partition.with_committed_offset(committed.offset);
                partition
                    .with_committed_leader_epoch(committed.leader_epoch)
                    .with_metadata(Some(text(&committed.metadata)))
            });
            OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
        });
        OffsetFetchResponseGroup::default().with_group_id(group.group_id).with_topics(topics.collect())
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

pub(crate) fn delete(router: &Router, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let asked: BTreeSet<Partition> = request
        .topics
        .iter()
        .flat_map(|topic| {
            let name = topic.name.to_string();
            topic.partitions.iter().map(move |partition| (name.clone(), partition.partition_index))
        })
        .collect();
    let deleted = router.groups().delete_offsets(&request.group_id, &asked);
    if let Err(error @ ResponseError::GroupIdNotFound) = deleted {
        return OffsetDeleteResponse::default().with_error_code(error.code());
    }
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(&deleted))
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
