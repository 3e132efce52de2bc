//! The streams themselves: listed, described, created, deleted.

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{ApiError, Outcome, StreamRef, encode, missing};
use super::log::{self, Stream, seconds};
use super::state::State;

const RETENTION_HOURS: u32 = 24;

fn shards(stream: &Stream) -> Vec<Value> {
    let range = |shard: &log::Shard| {
        let mut description = json!({
            "ShardId": shard.id,
            "HashKeyRange": {
                "StartingHashKey": shard.first_hash.to_string(),
                "EndingHashKey": shard.last_hash.to_string(),
            },
            "SequenceNumberRange": { "StartingSequenceNumber": log::sequence_number(0) },
        });
        if let Some(closed_at) = shard.closed_at {
            description["SequenceNumberRange"]["EndingSequenceNumber"] = log::sequence_number(closed_at).into();
        }
        for (parent, name) in shard.parents.iter().zip(["ParentShardId", "AdjacentParentShardId"]) {
            description[name] = parent.as_str().into();
        }
        description
    };
    stream.shards().iter().map(range).collect()
}

pub(super) fn list_shards(state: &State, request: &StreamRef) -> Outcome {
    encode(&json!({ "Shards": shards(state.stream(request.name()?)?) }))
}

pub(super) fn list_streams(state: &State) -> Outcome {
    let names: Vec<&String> = state.streams.keys().collect();
    encode(&json!({ "StreamNames": names, "HasMoreStreams": false }))
}

pub(super) fn describe(state: &State, request: &StreamRef, with_shards: bool) -> Outcome {
    let name = request.name()?;
    let stream = state.stream(name)?;
    let mut description = json!({
        "StreamName": name,
        "StreamARN": stream.arn(),
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": { "StreamMode": "PROVISIONED" },
        "RetentionPeriodHours": RETENTION_HOURS,
        "StreamCreationTimestamp": seconds(stream.created_ms()),
        "EnhancedMonitoring": [{ "ShardLevelMetrics": [] }],
        "EncryptionType": "NONE",
    });
    if with_shards {
        description["Shards"] = Value::Array(shards(stream));
        description["HasMoreShards"] = Value::Bool(false);
        return encode(&json!({ "StreamDescription": description }));
    }
    let open = stream.shards().iter().filter(|shard| shard.closed_at.is_none());
    description["OpenShardCount"] = open.count().into();
    description["ConsumerCount"] = 0.into();
    encode(&json!({ "StreamDescriptionSummary": description }))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateStream {
    stream_name: String,
    #[serde(default)]
    shard_count: Option<u16>,
}

pub(super) fn create(state: &mut State, request: &CreateStream) -> Outcome {
    /// What an on-demand stream starts with.
    const ON_DEMAND_SHARDS: u16 = 4;
    let (name, shards) = (&request.stream_name, request.shard_count.unwrap_or(ON_DEMAND_SHARDS));
    if !log::is_stream_name(name) || shards == 0 {
        return Err(ApiError::new("ValidationException", format!("stream {name:?} with {shards} shards is not valid")));
    }
    if state.streams.contains_key(name) {
        let message = format!("Stream {name} under account 000000000000 already exists.");
        return Err(ApiError::new("ResourceInUseException", message));
    }
    state.streams.insert(name.clone(), Stream::new(name, shards));
    encode(&json!({}))
}

pub(super) fn delete(state: &mut State, request: &StreamRef) -> Outcome {
    let name = request.name()?;
    state.streams.remove(name).ok_or_else(|| missing(name))?;
    encode(&json!({}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SplitShard {
    #[serde(flatten)]
    stream: StreamRef,
    shard_to_split: String,
    new_starting_hash_key: String,
}

pub(super) fn split(state: &mut State, request: &SplitShard) -> Outcome {
    let stream = state.stream_mut(request.stream.name()?)?;
    let from = request.new_starting_hash_key.parse().ok();
    if from.is_some_and(|from| stream.split(&request.shard_to_split, from)) {
        return encode(&json!({}));
    }
    let (shard, key) = (&request.shard_to_split, &request.new_starting_hash_key);
    Err(ApiError::new("InvalidArgumentException", format!("{shard} is not open, or hash key {key} is not inside it")))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MergeShards {
    #[serde(flatten)]
    stream: StreamRef,
    shard_to_merge: String,
    adjacent_shard_to_merge: String,
}

pub(super) fn merge(state: &mut State, request: &MergeShards) -> Outcome {
    let stream = state.stream_mut(request.stream.name()?)?;
    if stream.merge(&request.shard_to_merge, &request.adjacent_shard_to_merge) {
        return encode(&json!({}));
    }
    let (one, other) = (&request.shard_to_merge, &request.adjacent_shard_to_merge);
    Err(ApiError::new("InvalidArgumentException", format!("{one} and {other} are not open and adjacent")))
}
