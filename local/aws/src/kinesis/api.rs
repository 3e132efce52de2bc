//! The operations by name, and who may ask for them.

use bytes::Bytes;
use centinela_serve::BoxError;
use futures::future::{BoxFuture, ready};
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;

use super::error::{ApiError, Outcome, decode};
use super::reading::{get_records, shard_iterator};
use super::state::Shared;
use super::streams::{create, delete, describe, list_shards, list_streams, merge, split};
use super::writing::{put_record, put_records};
use crate::proxy::{Answer, Upstream, operation, target};

const TARGET_PREFIX: &str = "Kinesis_20131202.";

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
        "SplitShard" => reshaped(shared, split(&mut shared.state(), &decode(body)?)),
        "MergeShards" => reshaped(shared, merge(&mut shared.state(), &decode(body)?)),
        _ => {
            Err(ApiError::new("UnknownOperationException", format!("the embedded kinesis does not serve {operation}")))
        }
    }
}

/// A reader of a shard that ended must hear of it.
fn reshaped(shared: &Shared, outcome: Outcome) -> Outcome {
    shared.written.send_modify(|version| *version += 1);
    outcome
}
