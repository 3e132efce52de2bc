//! What a request asks of a cluster, in the words of MSK's permissions.
//!
//! <https://docs.aws.amazon.com/msk/latest/developerguide/kafka-actions.html>

use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FindCoordinatorRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, OffsetForLeaderEpochRequest, ProduceRequest,
};

use crate::router::{Call, Router};

const CLUSTER: &str = "cluster";

/// Notes what a request needs in its client's name. One that cannot be read needs nothing: it is refused.
pub(crate) fn note(router: &Router, call: &Call, body: &Bytes) {
    let needed = |action: &str, on: &str| router.calls().note(&call.client_id, &format!("kafka-cluster:{action}"), on);
    needed("Connect", CLUSTER);
    for (action, on) in of(router, call, body).unwrap_or_default() {
        needed(action, &on);
    }
}

fn of(router: &Router, call: &Call, body: &Bytes) -> Option<Vec<(&'static str, String)>> {
    let topic = |name: &str| format!("topic/{name}");
    let group = |name: &str| format!("group/{name}");
    let body = body.clone();
    Some(match call.api.key {
        ApiKey::Produce => {
            let request = call.decode::<ProduceRequest>(body).ok()?;
            request.topic_data.iter().map(|data| ("WriteData", topic(&data.name))).collect()
        }
        ApiKey::InitProducerId => vec![("WriteDataIdempotently", CLUSTER.to_owned())],
        // Whoever asks for all topics is told of those that it may see.
        ApiKey::Metadata => {
            let request = call.decode::<MetadataRequest>(body).ok()?;
            let named = request.topics.into_iter().flatten().filter_map(|asked| asked.name);
            named.map(|name| ("DescribeTopic", topic(&name))).collect()
        }
        ApiKey::Fetch => {
            let request = call.decode::<FetchRequest>(body).ok()?;
            let topics = router.topics().lock();
            let name = |asked: &kafka_protocol::messages::fetch_request::FetchTopic| {
                let by_id =
                    || topics.iter().find(|(_, topic)| topic.id == asked.topic_id).map(|(name, _)| name.to_string());
                if asked.topic.is_empty() { by_id() } else { Some(asked.topic.to_string()) }
            };
            request.topics.iter().filter_map(name).map(|name| ("ReadData", topic(&name))).collect()
        }
        ApiKey::ListOffsets => {
            let request = call.decode::<ListOffsetsRequest>(body).ok()?;
            request.topics.iter().map(|asked| ("DescribeTopic", topic(&asked.name))).collect()
        }
        ApiKey::OffsetForLeaderEpoch => {
            let request = call.decode::<OffsetForLeaderEpochRequest>(body).ok()?;
            request.topics.iter().map(|asked| ("DescribeTopic", topic(&asked.topic))).collect()
        }
        ApiKey::FindCoordinator => {
            let request = call.decode::<FindCoordinatorRequest>(body).ok()?;
            let keys = std::iter::once(&request.key).chain(&request.coordinator_keys).filter(|key| !key.is_empty());
            keys.map(|key| ("DescribeGroup", group(key))).collect()
        }
        ApiKey::OffsetFetch => {
            let request = call.decode::<OffsetFetchRequest>(body).ok()?;
            let groups = std::iter::once(&request.group_id).chain(request.groups.iter().map(|asked| &asked.group_id));
            groups.filter(|name| !name.is_empty()).map(|name| ("DescribeGroup", group(name))).collect()
        }
        ApiKey::OffsetCommit => {
            let request = call.decode::<OffsetCommitRequest>(body).ok()?;
            vec![("AlterGroup", group(&request.group_id))]
        }
        ApiKey::ApiVersions => Vec::new(),
        // Functions send none of the others; one that did must not go unseen.
        other => vec![("Other", format!("{other:?}"))],
    })
}
