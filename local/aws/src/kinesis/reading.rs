//! Shard iterators and reads of at most 10 MB and 10,000 records:
//! <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>.

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{ApiError, Outcome, StreamRef, encode};
use super::log::{self, seconds};
use super::state::State;

const MAX_READ_RECORDS: usize = 10_000;
const MAX_READ_BYTES: usize = 10 * 1024 * 1024;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShardIterator {
    #[serde(flatten)]
    stream: StreamRef,
    shard_id: String,
    shard_iterator_type: String,
    #[serde(default)]
    starting_sequence_number: Option<String>,
    #[serde(default)]
    timestamp: Option<f64>,
}

/// An iterator names the record after which it reads, its shard and its stream.
fn iterator(after: u64, shard: &str, stream: &str) -> String {
    format!("{after}:{shard}:{stream}")
}

pub(super) fn shard_iterator(state: &State, request: &ShardIterator) -> Outcome {
    let name = request.stream.name()?;
    let stream = state.stream(name)?;
    let shard = &request.shard_id;
    if stream.shard(shard).is_none() {
        return Err(no_shard(shard, name));
    }
    let number = || {
        let text = request.starting_sequence_number.as_deref().unwrap_or_default();
        log::parse_sequence(text).ok_or_else(|| {
            ApiError::new("InvalidArgumentException", format!("Invalid StartingSequenceNumber {text:?}"))
        })
    };
    let after = match request.shard_iterator_type.as_str() {
        "TRIM_HORIZON" => 0,
        "LATEST" => stream.last_sequence(),
        "AT_SEQUENCE_NUMBER" => number()?.saturating_sub(1),
        "AFTER_SEQUENCE_NUMBER" => number()?,
        "AT_TIMESTAMP" => {
            let seconds = request.timestamp.unwrap_or_default();
            let at = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
            stream.cursor_at(shard, u64::try_from(at.as_millis()).unwrap_or(u64::MAX)).unwrap_or_default()
        }
        other => {
            return Err(ApiError::new("ValidationException", format!("no shard iterator type {other:?}")));
        }
    };
    encode(&json!({ "ShardIterator": iterator(after, shard, name) }))
}

fn no_shard(shard: &str, stream: &str) -> ApiError {
    ApiError::new(
        "ResourceNotFoundException",
        format!("Shard {shard} in stream {stream} under account 000000000000 does not exist"),
    )
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetRecords {
    shard_iterator: String,
    #[serde(default)]
    limit: Option<usize>,
}

pub(super) fn get_records(state: &State, request: &GetRecords) -> Outcome {
    let limit = request.limit.unwrap_or(MAX_READ_RECORDS);
    if !(1..=MAX_READ_RECORDS).contains(&limit) {
        return Err(ApiError::new("ValidationException", format!("a limit of {limit} is not between 1 and 10000")));
    }
    let mut parts = request.shard_iterator.splitn(3, ':');
    let (Some(after), Some(shard), Some(name)) =
        (parts.next().and_then(|after| after.parse().ok()), parts.next(), parts.next())
    else {
        return Err(ApiError::new("InvalidArgumentException", "Invalid ShardIterator."));
    };
    let page = state.stream(name)?.read(shard, after, limit, MAX_READ_BYTES).ok_or_else(|| no_shard(shard, name))?;
    let next = (!page.is_last).then(|| iterator(page.after, shard, name));
    let records: Vec<Value> = page
        .records
        .into_iter()
        .map(|record| {
            json!({
                "SequenceNumber": record.sequence_number,
                "PartitionKey": record.partition_key,
                "Data": record.data_base64,
                "ApproximateArrivalTimestamp": seconds(record.arrived_ms),
            })
        })
        .collect();
    encode(&json!({
        "Records": records,
        "NextShardIterator": next,
        "MillisBehindLatest": page.behind_ms,
    }))
}
