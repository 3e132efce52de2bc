//! What each request does, by groups of requests.

pub(crate) mod configs;
pub(crate) mod groups;
pub(crate) mod log_ends;
pub(crate) mod offsets;
pub(crate) mod records;
pub(crate) mod topics;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;

/// The only broker.
const NODE: BrokerId = BrokerId(1);
const HOST: &str = "127.0.0.1";
const CLUSTER_ID: &str = "centinela";
/// Of every partition: nobody else was ever elected.
const LEADER_EPOCH: i32 = 0;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// What stands in an answer for how something went.
fn code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}
