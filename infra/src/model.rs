//! What the stacks describe, as plain data: the part of the templates that one machine can run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// A Kafka topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// File that declares it.
    pub file: String,
    /// Logical id in that file.
    pub logical_id: String,
    /// Name on the cluster.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Replication factor in production; an embedded broker keeps one copy.
    pub replication: u32,
    /// Kafka's own setting names, for example `retention.ms`, with their values as text.
    pub config: BTreeMap<String, String>,
}

/// A DynamoDB table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// File that declares it.
    pub file: String,
    /// Logical id in that file.
    pub logical_id: String,
    /// Table name, prefix included.
    pub name: String,
    /// Name and type (`S`, `N` or `B`) of the partition key.
    pub partition_key: (String, String),
    /// Name and type of the sort key.
    pub sort_key: Option<(String, String)>,
    /// Attribute that holds the time to live, when the table has one and it is enabled.
    pub ttl_attribute: Option<String>,
}

/// A Kinesis stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// File that declares it.
    pub file: String,
    /// Logical id in that file.
    pub logical_id: String,
    /// Stream name, prefix included.
    pub name: String,
    /// Number of shards; 1 for an on-demand stream.
    pub shards: u32,
}

/// An S3 bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// File that declares it.
    pub file: String,
    /// Logical id in that file.
    pub logical_id: String,
    /// Bucket name.
    pub name: String,
}

/// A Lambda function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// File that declares it.
    pub file: String,
    /// Logical id in that file.
    pub logical_id: String,
    /// Function name, prefix included.
    pub name: String,
    /// The package, and so the binary, that implements it: the function's name without the environment's prefix.
    pub binary: String,
    /// Memory in MB.
    pub memory_mb: u32,
    /// Longest time of one invocation.
    pub timeout: Duration,
    /// Most invocations at once; `None` shares the account's.
    pub reserved_concurrency: Option<u32>,
    /// Environment variables as deployed. Values that only exist in an account (the brokers' addresses, secrets) are placeholders, see
    /// [`crate::PLACEHOLDER_SECRET`]; the platform sets its own endpoints over them.
    pub environment: BTreeMap<String, String>,
}

/// A Kafka event source mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// File that declares it.
    pub file: String,
    /// Logical id in that file.
    pub logical_id: String,
    /// Name of the function it invokes, prefix included.
    pub function: String,
    /// The one topic it reads.
    pub topic: String,
    /// Consumer group whose offsets it commits.
    pub consumer_group: String,
    /// Whether it polls at all.
    pub enabled: bool,
    /// Most records in one invocation; AWS's default is 100.
    pub batch_size: u32,
    /// How long it gathers records; AWS's default for Kafka is 500 ms.
    pub window: Duration,
    /// Whether it has provisioned pollers, without which AWS takes none of the error controls below.
    pub provisioned: bool,
    /// Pollers that are always there.
    pub pollers_min: u32,
    /// Pollers it may grow to; each carries 5 MB a second or 5 invocations at once.
    pub pollers_max: u32,
    /// Whether the function may answer with the records that failed.
    pub report_batch_item_failures: bool,
    /// Whether a batch that made the function fail is halved before it is tried again.
    pub bisect: bool,
    /// Tries after the first; `None` is without end, unless there is a failure destination, with which Lambda makes 10 of it.
    pub maximum_retry_attempts: Option<u32>,
    /// Oldest record that is still tried; `None` is without limit.
    pub maximum_record_age: Option<Duration>,
    /// Topic for what was given up on; `None` drops it.
    pub on_failure_topic: Option<String>,
    /// Where a group without offsets starts.
    pub starting_position: StartingPosition,
}

/// An event source mapping of a Kinesis stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamMapping {
    /// File that declares it.
    pub file: String,
    /// Logical id in that file.
    pub logical_id: String,
    /// Name of the function it invokes, prefix included.
    pub function: String,
    /// The stream it reads.
    pub stream: String,
    /// Whether it polls at all.
    pub enabled: bool,
    /// Most records in one invocation; AWS's default is 100.
    pub batch_size: u32,
    /// How long it gathers records; AWS's default is not to.
    pub window: Duration,
    /// Length of its tumbling windows; `None` has none.
    pub tumbling_window: Option<Duration>,
    /// Whether the function may answer with the record that failed.
    pub report_batch_item_failures: bool,
    /// Whether a batch that made the function fail is halved before it is tried again.
    pub bisect: bool,
    /// Tries after the first; `None` is without end.
    pub maximum_retry_attempts: Option<u32>,
    /// Oldest record that is still tried; `None` is as long as the stream keeps it.
    pub maximum_record_age: Option<Duration>,
    /// ARN of what takes the places of records that were given up on; `None` drops them.
    pub on_failure: Option<String>,
    /// Whether it starts at the oldest record; otherwise at what arrives from now on.
    pub from_oldest: bool,
}

/// What invokes a function other than a Kafka mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// File that declares it.
    pub file: String,
    /// Logical id in that file.
    pub logical_id: String,
    /// Name of the function it invokes, prefix included.
    pub function: String,
    /// What it hands over.
    pub source: TriggerSource,
    /// The event that a schedule hands over in place of its own, as JSON.
    pub input: Option<String>,
}

/// What a trigger hands to its function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriggerSource {
    /// Records of the Kinesis stream of this name.
    Kinesis(String),
    /// Requests to this route of an HTTP API, such as `POST /v1/labels`.
    Http(String),
    /// The time, by this expression.
    Schedule(String),
    /// What is published to the SNS topic of this ARN.
    Sns(String),
}

impl std::fmt::Display for Trigger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.source {
            TriggerSource::Kinesis(stream) => write!(formatter, "mapping of Kinesis stream `{stream}`"),
            TriggerSource::Http(route) => write!(formatter, "route `{route}`"),
            TriggerSource::Schedule(expression) => write!(formatter, "schedule `{expression}`"),
            TriggerSource::Sns(topic) => write!(formatter, "subscription to topic `{topic}`"),
        }
    }
}

/// Where a consumer group without committed offsets starts to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartingPosition {
    /// At the oldest record that the topic still has.
    TrimHorizon,
    /// At what arrives from now on.
    Latest,
    /// At the first record of this time or later, in milliseconds since 1970.
    AtTimestamp(i64),
}

/// A property that production has and one machine has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// File that sets it.
    pub file: String,
    /// Logical id of the resource.
    pub resource: String,
    /// Property, as a path.
    pub property: String,
}

/// Any resource, whether one machine runs it or not, with every intrinsic resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// File that declares it.
    pub file: String,
    /// Logical id in that file.
    pub logical_id: String,
    /// CloudFormation type, for example `AWS::IAM::Role`.
    pub kind: String,
    /// Its properties, resolved.
    pub properties: Value,
    /// What becomes of it when its stack is deleted; `None` is CloudFormation's default, which is to delete most kinds.
    pub deletion_policy: Option<String>,
    /// What becomes of the old one when an update replaces it.
    pub update_replace_policy: Option<String>,
}

/// A whole number, however it is written: a parameter's is a text.
pub(super) fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A number, however it is written.
pub(super) fn decimal(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

impl Resource {
    /// The text at a JSON pointer into the properties.
    pub(super) fn text(&self, pointer: &str) -> Option<&str> {
        self.properties.pointer(pointer)?.as_str()
    }

    /// The whole number at a JSON pointer, however it is written.
    pub(super) fn integer(&self, pointer: &str) -> Option<i64> {
        whole(self.properties.pointer(pointer)?)
    }

    /// Whether the flag at a JSON pointer is set, however it is written.
    pub(super) fn is_on(&self, pointer: &str) -> bool {
        self.properties.pointer(pointer).is_some_and(|flag| flag == true || flag == "true")
    }

    /// The list at a JSON pointer; empty where there is none.
    pub(super) fn list(&self, pointer: &str) -> &[Value] {
        self.properties.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

/// An output that other stacks may import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// File that exports it.
    pub file: String,
    /// Logical id of the output.
    pub output: String,
    /// Name it is imported by.
    pub name: String,
    /// Whether a later stack imports it.
    pub imported: bool,
    /// Whether it is made for stacks that are not here: its description begins with `For others:`.
    pub for_others: bool,
}
