//! `Invoke`: synchronous, asynchronous and dry. `LogType` is passed over.
//!
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;

use super::answers::refusal;
use super::{Answer, Known, limited};
use crate::asynchronous::invoke_asynchronously;
use crate::error::InvokeError;
use crate::spec::PAYLOAD_BYTES_MAX;

/// Events that are handed over without waiting have less room.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Invokes the function that an address names.
pub(super) async fn answer(known: &Known, name: &str, request: Request<Incoming>) -> Answer {
    let host = match known.function(name) {
        Ok((_, host)) => host,
        Err(refused) => return *refused,
    };
    let kind = request.headers().get("x-amz-invocation-type").and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("RequestResponse").to_owned();
    let bytes_max = if kind == "Event" { EVENT_BYTES_MAX } else { PAYLOAD_BYTES_MAX };
    let payload = match limited(request, bytes_max).await {
        Ok(payload) => payload,
        Err(refused) => return *refused,
    };
    // Without an event a function gets an empty object, as from the SDKs.
    let payload = if payload.is_empty() { Bytes::from_static(b"{}") } else { payload };
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
        let what = format!("could not parse the event as JSON: {error}");
        return refusal(StatusCode::BAD_REQUEST, "InvalidRequestContentException", &what);
    }
    match kind.as_str() {
        "RequestResponse" => outcome(host.invoke(payload).await),
        "Event" => {
            tokio::spawn(invoke_asynchronously(host, payload, "the API"));
            empty(StatusCode::ACCEPTED)
        }
        "DryRun" => empty(StatusCode::NO_CONTENT),
        other => {
            let what = format!("the invocation type {other} is none of RequestResponse, Event and DryRun");
            refusal(StatusCode::BAD_REQUEST, "InvalidParameterValueException", &what)
        }
    }
}

/// What a function said, or why it said nothing: both are answers of a call that succeeded.
fn outcome(outcome: Result<Bytes, InvokeError>) -> Answer {
    let error = match outcome {
        Ok(payload) => return with_version(StatusCode::OK, None, payload),
        Err(error) => error,
    };
    let (kind, message) = match error {
        InvokeError::Function { error_type, message } => (error_type, message),
        InvokeError::Timeout { after } => {
            ("Sandbox.Timedout".to_owned(), format!("task timed out after {:.2} seconds", after.as_secs_f64()))
        }
        InvokeError::ResponseTooLarge => ("Function.ResponseSizeTooLarge".to_owned(), error.to_string()),
        InvokeError::Crashed { .. } => ("Runtime.ExitError".to_owned(), error.to_string()),
        InvokeError::InitFailed { .. } => ("Runtime.InitError".to_owned(), error.to_string()),
        InvokeError::PayloadTooLarge { .. } => {
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", &error.to_string());
        }
        InvokeError::Throttled => {
            return refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", &error.to_string());
        }
        InvokeError::Stopped => {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceException", &error.to_string());
        }
    };
    let said = json!({ "errorType": kind, "errorMessage": message }).to_string();
    with_version(StatusCode::OK, Some("Unhandled"), said.into())
}

fn with_version(status: StatusCode, error: Option<&'static str>, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    headers.insert("x-amz-executed-version", http::HeaderValue::from_static("$LATEST"));
    if let Some(error) = error {
        headers.insert("x-amz-function-error", http::HeaderValue::from_static(error));
    }
    response
}

fn empty(status: StatusCode) -> Answer {
    with_version(status, None, Bytes::new())
}
