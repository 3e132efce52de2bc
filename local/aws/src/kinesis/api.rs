//! The operations, with the limits and the errors of the API.
//!
//! Limits: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html> (500 records, 10 MiB a request),
//! <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html> (1 MiB a record unless the stream was
//! set to more, reads of 10 MB and 10,000 records).

use std::borrow::Cow;

use bytes::Bytes;
use centinela_serve::BoxError;
use futures::future::{BoxFuture, ready};
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::log::{self, NewRecord, Stream};
use super::{Shared, State};
use crate::proxy::{Answer, ProxiedService, Upstream, operation, target};

const TARGET_PREFIX: &str = "Kinesis_20131202.";

const MAX_RECORDS: usize = 500;
const MAX_REQUEST_BYTES: usize = 10 * 1024 * 1024;
const MAX_RECORD_BYTES: usize = 1024 * 1024;
const MAX_PARTITION_KEY_CHARS: usize = 256;
const MAX_READ_RECORDS: usize = 10_000;
const MAX_READ_BYTES: usize = 10 * 1024 * 1024;
const PAYLOAD_UNIT_BYTES: u64 = 25 * 1024;
const RETENTION_HOURS: u32 = 24;

/// A refusal in the API's terms.
#[derive(Debug)]
struct ApiError {
    code: &'static str,
    message: String,
}

impl ApiError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn answer(self) -> Answer {
        ProxiedService::Kinesis.refusal(StatusCode::BAD_REQUEST, self.code, &self.message)
    }
}

type Outcome = Result<Bytes, ApiError>;

impl Upstream for Shared {
    fn admit<'a>(&self, head: &'a Parts) -> Result<&'a str, Answer> {
        admitted(head).map_err(ApiError::answer)
    }

    fn call<'a>(&'a self, target: &'a str, body: Bytes) -> BoxFuture<'a, Result<Answer, BoxError>> {
        let operation = operation(target);
        let answer = run(self, operation, &body).map_or_else(
            |error| {
                tracing::debug!(operation, code = error.code, message = %error.message, "kinesis refused a request");
                error.answer()
            },
            |json| (StatusCode::OK, json),
        );
        Box::pin(ready(Ok(answer)))
    }
}

fn admitted(head: &Parts) -> Result<&str, ApiError> {
    if !head.headers.contains_key(AUTHORIZATION) {
        return Err(ApiError::new("MissingAuthenticationTokenException", "the request is not signed"));
    }
    if head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-amz-cbor")) {
        return Err(ApiError::new("SerializationException", "the embedded kinesis speaks JSON, not CBOR"));
    }
    let target = target(head);
    if target.starts_with(TARGET_PREFIX) {
        return Ok(target);
    }
    Err(ApiError::new("UnknownOperationException", format!("no operation in {target:?}")))
}

fn run(shared: &Shared, operation: &str, body: &[u8]) -> Outcome {
    match operation {
        "PutRecords" => put_records(shared, decode(body)?),
        "PutRecord" => put_record(shared, decode(body)?),
        "GetRecords" => get_records(&shared.state(), &decode(body)?),
        "GetShardIterator" => shard_iterator(&shared.state(), &decode(body)?),
        "ListShards" => list_shards(&shared.state(), &decode(body)?),
        "ListStreams" => list_streams(&shared.state()),
        "DescribeStream" => describe(&shared.state(), &decode(body)?, true),
        "DescribeStreamSummary" => describe(&shared.state(), &decode(body)?, false),
        "CreateStream" => create(&mut shared.state(), &decode(body)?),
        "DeleteStream" => delete(&mut shared.state(), &decode(body)?),
        _ => {
            Err(ApiError::new("UnknownOperationException", format!("the embedded kinesis does not serve {operation}")))
        }
    }
}

/// The two ways in which a request names its stream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StreamRef {
    #[serde(default)]
    stream_name: Option<String>,
    #[serde(default, rename = "StreamARN")]
    stream_arn: Option<String>,
}

impl StreamRef {
    fn name(&self) -> Result<&str, ApiError> {
        let by_arn = self.stream_arn.as_deref().and_then(|arn| arn.rsplit('/').next());
        self.stream_name
            .as_deref()
            .or(by_arn)
            .ok_or_else(|| ApiError::new("InvalidArgumentException", "either StreamName or StreamARN must be given"))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    partition_key: Cow<'a, str>,
    #[serde(default)]
    explicit_hash_key: Option<String>,
}

#[derive(Debug, Deserialize)]
struct PutRecords<'a> {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(borrow, rename = "Records")]
    records: Vec<Entry<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecord {
    #[serde(flatten)]
    stream: StreamRef,
    data: String,
    partition_key: String,
    #[serde(default)]
    explicit_hash_key: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutResult {
    sequence_number: String,
    shard_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutResults {
    failed_record_count: usize,
    records: Vec<PutResult>,
}

fn put_records(shared: &Shared, request: PutRecords<'_>) -> Outcome {
    let count = request.records.len();
    if !(1..=MAX_RECORDS).contains(&count) {
        let bound = if count == 0 { "greater than or equal to 1" } else { "less than or equal to 500" };
        return Err(ApiError::new(
            "ValidationException",
            format!(
                "1 validation error detected: Value at 'records' failed to satisfy constraint: \
                 Member must have length {bound}"
            ),
        ));
    }
    let records = request.records.into_iter().map(Entry::check).collect::<Result<Vec<_>, _>>()?;
    if records.iter().map(|record| record.bytes).sum::<usize>() > MAX_REQUEST_BYTES {
        return Err(ApiError::new("InvalidArgumentException", "Records size exceeds 10 MB limit"));
    }
    let name = request.stream.name()?;
    let mut state = shared.state();
    let records = records.into_iter().map(|record| state.append(name, record)).collect::<Result<Vec<_>, _>>()?;
    drop(state);
    shared.written.send_modify(|version| *version += 1);
    encode(&PutResults { failed_record_count: 0, records })
}

fn put_record(shared: &Shared, request: PutRecord) -> Outcome {
    let entry = Entry {
        data: request.data.into(),
        partition_key: request.partition_key.into(),
        explicit_hash_key: request.explicit_hash_key,
    };
    let result = shared.state().append(request.stream.name()?, entry.check()?)?;
    shared.written.send_modify(|version| *version += 1);
    encode(&result)
}

impl Entry<'_> {
    fn check(self) -> Result<NewRecord, ApiError> {
        let key = self.partition_key.into_owned();
        if key.is_empty() || key.chars().count() > MAX_PARTITION_KEY_CHARS {
            return Err(ApiError::new(
                "ValidationException",
                "1 validation error detected: a partition key must have 1 to 256 characters",
            ));
        }
        let hash_key = match &self.explicit_hash_key {
            None => log::hash_key(&key),
            Some(text) => text.parse().map_err(|_| {
                ApiError::new(
                    "InvalidArgumentException",
                    format!("Invalid ExplicitHashKey {text:?}: not a 128-bit number"),
                )
            })?,
        };
        let bytes = decoded_len(&self.data) + key.len();
        if bytes > MAX_RECORD_BYTES {
            return Err(ApiError::new(
                "ValidationException",
                format!(
                    "1 validation error detected: a record of {bytes} bytes failed to satisfy constraint: \
                     Member must have length less than or equal to {MAX_RECORD_BYTES}"
                ),
            ));
        }
        Ok(NewRecord { partition_key: key, data_base64: self.data.into_owned(), bytes, hash_key })
    }
}

/// The length of base64 text when it is decoded.
fn decoded_len(base64: &str) -> usize {
    let padding = base64.bytes().rev().take_while(|byte| *byte == b'=').count();
    (base64.len() / 4 * 3).saturating_sub(padding)
}

impl State {
    fn stream(&self, name: &str) -> Result<&Stream, ApiError> {
        self.streams.get(name).ok_or_else(|| missing(name))
    }

    fn append(&mut self, name: &str, record: NewRecord) -> Result<PutResult, ApiError> {
        let stream = self.streams.get_mut(name).ok_or_else(|| missing(name))?;
        let bytes = record.bytes as u64;
        self.stats.records += 1;
        self.stats.bytes += bytes;
        self.stats.put_payload_units += bytes.div_ceil(PAYLOAD_UNIT_BYTES).max(1);
        let (number, shard) = stream.append(record, self.held_bytes_per_shard, log::now_ms());
        Ok(PutResult { sequence_number: number, shard_id: shard.to_owned() })
    }
}

fn missing(name: &str) -> ApiError {
    ApiError::new("ResourceNotFoundException", format!("Stream {name} under account 000000000000 not found."))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ShardIterator {
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

fn shard_iterator(state: &State, request: &ShardIterator) -> Outcome {
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
struct GetRecords {
    shard_iterator: String,
    #[serde(default)]
    limit: Option<usize>,
}

fn get_records(state: &State, request: &GetRecords) -> Outcome {
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
        "NextShardIterator": iterator(page.after, shard, name),
        "MillisBehindLatest": page.behind_ms,
    }))
}

/// AWS writes times as seconds with a fraction.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay below 2^53 for 285,000 years")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn shards(stream: &Stream) -> Vec<Value> {
    let range = |shard: &log::Shard| {
        json!({
            "ShardId": shard.id,
            "HashKeyRange": {
                "StartingHashKey": shard.first_hash.to_string(),
                "EndingHashKey": shard.last_hash.to_string(),
            },
            "SequenceNumberRange": { "StartingSequenceNumber": log::sequence_number(0) },
        })
    };
    stream.shards().iter().map(range).collect()
}

fn list_shards(state: &State, request: &StreamRef) -> Outcome {
    encode(&json!({ "Shards": shards(state.stream(request.name()?)?) }))
}

fn list_streams(state: &State) -> Outcome {
    let names: Vec<&String> = state.streams.keys().collect();
    encode(&json!({ "StreamNames": names, "HasMoreStreams": false }))
}

fn describe(state: &State, request: &StreamRef, with_shards: bool) -> Outcome {
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
    description["OpenShardCount"] = stream.shards().len().into();
    description["ConsumerCount"] = 0.into();
    encode(&json!({ "StreamDescriptionSummary": description }))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateStream {
    stream_name: String,
    #[serde(default)]
    shard_count: Option<u16>,
}

fn create(state: &mut State, request: &CreateStream) -> Outcome {
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

fn delete(state: &mut State, request: &StreamRef) -> Outcome {
    let name = request.name()?;
    state.streams.remove(name).ok_or_else(|| missing(name))?;
    encode(&json!({}))
}

fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::new("SerializationException", error.to_string()))
}

fn encode(answer: &impl Serialize) -> Outcome {
    serde_json::to_vec(answer)
        .map(Bytes::from)
        .map_err(|error| ApiError::new("InternalFailureException", error.to_string()))
}
