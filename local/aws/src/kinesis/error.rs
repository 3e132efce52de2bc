//! Refusals in the API's terms, and how requests and answers are written.

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::proxy::{Answer, ProxiedService};

/// A refusal in the API's terms.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl ApiError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn answer(self) -> Answer {
        ProxiedService::Kinesis.refusal(StatusCode::BAD_REQUEST, self.code, &self.message)
    }
}

pub(super) type Outcome = Result<Bytes, ApiError>;

pub(super) fn missing(name: &str) -> ApiError {
    ApiError::new("ResourceNotFoundException", format!("Stream {name} under account 000000000000 not found."))
}

/// The two ways in which a request names its stream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StreamRef {
    #[serde(default)]
    stream_name: Option<String>,
    #[serde(default, rename = "StreamARN")]
    stream_arn: Option<String>,
}

impl StreamRef {
    pub(super) fn name(&self) -> Result<&str, ApiError> {
        let by_arn = self.stream_arn.as_deref().and_then(|arn| arn.rsplit('/').next());
        self.stream_name
            .as_deref()
            .or(by_arn)
            .ok_or_else(|| ApiError::new("InvalidArgumentException", "either StreamName or StreamARN must be given"))
    }
}

pub(super) fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::new("SerializationException", error.to_string()))
}

pub(super) fn encode(answer: &impl Serialize) -> Outcome {
    serde_json::to_vec(answer)
        .map(Bytes::from)
        .map_err(|error| ApiError::new("InternalFailureException", error.to_string()))
}
