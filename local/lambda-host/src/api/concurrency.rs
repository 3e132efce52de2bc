//! Reserved concurrency. What is reserved beyond what is useful on one machine is noted and changes nothing.
//!
//! <https://docs.aws.amazon.com/lambda/latest/api/API_PutFunctionConcurrency.html>

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::json;

use super::answers::{json_answer, refusal};
use super::{Answer, Known};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted {
    reserved_concurrent_executions: u32,
}

pub(super) fn get(known: &Known, name: &str) -> Answer {
    match known.function(name) {
        Ok((name, _)) => said(known.reserved().get(&name).copied()),
        Err(refused) => *refused,
    }
}

pub(super) fn put(known: &Known, name: &str, body: &[u8]) -> Answer {
    let (name, host) = match known.function(name) {
        Ok(found) => found,
        Err(refused) => return *refused,
    };
    let Ok(Wanted { reserved_concurrent_executions: wanted }) = serde_json::from_slice(body) else {
        let what = "ReservedConcurrentExecutions must be a number of 0 or more";
        return refusal(StatusCode::BAD_REQUEST, "InvalidParameterValueException", what);
    };
    known.reserved().insert(name, wanted);
    host.allow(usize::try_from(wanted).unwrap_or(usize::MAX));
    said(Some(wanted))
}

pub(super) fn delete(known: &Known, name: &str) -> Answer {
    let (name, host) = match known.function(name) {
        Ok(found) => found,
        Err(refused) => return *refused,
    };
    known.reserved().remove(&name);
    host.allow(usize::MAX);
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn said(reserved: Option<u32>) -> Answer {
    let body = match reserved {
        Some(reserved) => json!({ "ReservedConcurrentExecutions": reserved }),
        None => json!({}),
    };
    json_answer(StatusCode::OK, &body)
}
