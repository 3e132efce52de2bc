//! Answers in the form of Lambda's.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::Answer;

/// JSON.
pub(super) fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

/// An error, with its name where the SDKs look for it.
pub(super) fn refusal(status: StatusCode, error: &'static str, message: &str) -> Answer {
    let body = json!({ "Type": "User", "Message": message, "message": message });
    let mut response = json_answer(status, &body);
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(error));
    response
}
