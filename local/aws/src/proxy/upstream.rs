//! What a proxy stands before.

use bytes::Bytes;
use centinela_serve::BoxError;
use dynoxide::Item;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use super::meter::Charge;

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// Status and JSON body.
pub(crate) type Answer = (StatusCode, Bytes);

/// A DynamoDB or Kinesis, in this process or not.
pub(crate) trait Upstream: Send + Sync + 'static {
    /// The target of a request, such as `DynamoDB_20120810.GetItem`; an answer for what is not served to this client.
    fn admit<'a>(&self, head: &'a Parts) -> Result<&'a str, Answer>;

    /// Serves a request that was admitted.
    fn call<'a>(&'a self, target: &'a str, body: Bytes) -> BoxFuture<'a, Result<Answer, BoxError>>;

    /// The answer to a call of DynamoDB that needs no way through the server, and what it costs; none where it has to be called.
    fn at_once(&self, _operation: &str, _body: &[u8]) -> Option<(Bytes, Vec<Charge>)> {
        None
    }

    /// The stored item with the key of `item`, where that costs nothing.
    fn stored(&self, _table: &str, _item: &Item) -> Option<Item> {
        None
    }
}

/// The two services that have a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxiedService {
    /// DynamoDB.
    DynamoDb,
    /// Kinesis Data Streams.
    Kinesis,
}

impl ProxiedService {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DynamoDb => "dynamodb",
            Self::Kinesis => "kinesis",
        }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::DynamoDb => "application/x-amz-json-1.0",
            Self::Kinesis => "application/x-amz-json-1.1",
        })
    }

    /// What the service says of a call that is too much.
    pub(super) fn throttled(self) -> &'static str {
        match self {
            Self::DynamoDb => {
                "The level of configured provisioned throughput for the table was exceeded. Consider increasing your \
                 provisioning level with the UpdateTable API."
            }
            Self::Kinesis => "Rate exceeded for the stream.",
        }
    }

    /// A refusal in the service's form.
    pub(crate) fn refusal(self, status: StatusCode, code: &str, message: &str) -> Answer {
        let namespace = match self {
            Self::DynamoDb => "com.amazonaws.dynamodb.v20120810#",
            Self::Kinesis => "",
        };
        (status, json!({ "__type": format!("{namespace}{code}"), "message": message }).to_string().into())
    }
}

/// What the header names, or the empty string.
pub(crate) fn target(head: &Parts) -> &str {
    head.headers.get(TARGET).and_then(|target| target.to_str().ok()).unwrap_or_default()
}

/// The operation that a target names, such as `GetItem`.
pub(crate) fn operation(target: &str) -> &str {
    target.split_once('.').map_or(target, |(_, operation)| operation)
}
