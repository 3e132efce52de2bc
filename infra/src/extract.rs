//! From resolved resources to the typed model.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::Infrastructure;
use super::error::{InfraError, Problem};
use super::model::{Bucket, Function, Mapping, Resource, StartingPosition, Stream, Table, Topic};
use super::reading::Reading;
use super::stream_mappings::stream_mapping;
use super::template::mistyped;
use super::triggers::{function_name, triggers};

/// Seven days, the longest record age of a mapping.
const MAX_SECONDS: u32 = 604_800;

impl Infrastructure {
    /// Adds the resource to the model when it is of a kind that one machine runs.
    pub(super) fn extract(&mut self, resource: &Resource, name_prefix: &str) -> Result<(), InfraError> {
        let triggers = triggers(resource, self)?;
        if !triggers.is_empty() {
            let mapping = stream_mapping(resource, &triggers)?;
            if let Some((mapping, ignored)) = mapping {
                self.stream_mappings.push(mapping);
                self.ignored.extend(ignored);
            }
            self.triggers.extend(triggers);
            return Ok(());
        }
        let mut reading = Reading::new(resource);
        let (file, logical_id) = (resource.file.clone(), resource.logical_id.clone());
        match resource.kind.as_str() {
            "AWS::MSK::Topic" => {
                let topic = topic(&mut reading, file, logical_id)?;
                unique(
                    &reading,
                    "TopicName",
                    self.topics.iter().map(|other| (&other.name, &other.logical_id)),
                    &topic.name,
                )?;
                self.topics.push(topic);
            }
            "AWS::DynamoDB::Table" => {
                let table = table(&mut reading, file, logical_id)?;
                unique(
                    &reading,
                    "TableName",
                    self.tables.iter().map(|other| (&other.name, &other.logical_id)),
                    &table.name,
                )?;
                self.tables.push(table);
            }
            "AWS::Kinesis::Stream" => {
                let stream = stream(&mut reading, file, logical_id)?;
                unique(
                    &reading,
                    "Name",
                    self.streams.iter().map(|other| (&other.name, &other.logical_id)),
                    &stream.name,
                )?;
                self.streams.push(stream);
            }
            "AWS::S3::Bucket" => {
                let name = reading.required_text("BucketName", "one machine and AWS must use the same name")?;
                unique(
                    &reading,
                    "BucketName",
                    self.buckets.iter().map(|other| (&other.name, &other.logical_id)),
                    &name,
                )?;
                self.buckets.push(Bucket { file, logical_id, name });
            }
            "AWS::Lambda::Function" => {
                let function = function(&mut reading, file, logical_id, name_prefix)?;
                let others = self.functions.iter().map(|other| (&other.name, &other.logical_id));
                unique(&reading, "FunctionName", others, &function.name)?;
                self.functions.push(function);
            }
            "AWS::Lambda::EventSourceMapping" => {
                let mapping = mapping(&mut reading, file, logical_id)?;
                let others = self.mappings.iter().map(|other| (&other.consumer_group, &other.logical_id));
                unique(
                    &reading,
                    "AmazonManagedKafkaEventSourceConfig.ConsumerGroupId",
                    others,
                    &mapping.consumer_group,
                )?;
                self.mappings.push(mapping);
            }
            _ => return Ok(()),
        }
        self.ignored.extend(reading.ignored());
        Ok(())
    }
}

fn unique<'a>(
    reading: &Reading<'_>,
    path: &str,
    mut others: impl Iterator<Item = (&'a String, &'a String)>,
    name: &str,
) -> Result<(), InfraError> {
    match others.find(|(other, _)| *other == name) {
        None => Ok(()),
        Some((_, other)) => {
            Err(reading.site(path).error(Problem::DuplicateName { name: name.to_owned(), other: other.clone() }))
        }
    }
}

fn topic(reading: &mut Reading<'_>, file: String, logical_id: String) -> Result<Topic, InfraError> {
    reading.accept("ClusterArn");
    let name = reading.required_text("TopicName", "a topic has no other name")?;
    let partitions = reading.required_count("PartitionCount", 1..=100_000, "CloudFormation requires it")?;
    let config = match reading.text("Configs")? {
        None => BTreeMap::new(),
        Some(encoded) => topic_config(reading, &encoded)?,
    };
    let replication = reading.required_count("ReplicationFactor", 1..=10, "CloudFormation requires it")?;
    reading.ignore("ReplicationFactor");
    Ok(Topic { file, logical_id, name, partitions, replication, config })
}

/// Base64 of a JSON object with text values.
fn topic_config(reading: &Reading<'_>, encoded: &str) -> Result<BTreeMap<String, String>, InfraError> {
    let site = reading.site("Configs");
    let problem = |found: &str| {
        site.error(mistyped("base64 of a JSON object whose values are texts", &Value::String(found.to_owned())))
    };
    let bytes = base64_simd::STANDARD.decode_to_vec(encoded).map_err(|_| problem(encoded))?;
    serde_json::from_slice(&bytes).map_err(|_| problem(&String::from_utf8_lossy(&bytes)))
}

fn table(reading: &mut Reading<'_>, file: String, logical_id: String) -> Result<Table, InfraError> {
    let name = reading.required_text("TableName", "one machine and AWS must use the same name")?;
    let mut types = BTreeMap::new();
    for (index, attribute) in reading.list("AttributeDefinitions")?.iter().enumerate() {
        let site = reading.site("AttributeDefinitions").child(index);
        match (text_of(attribute, "AttributeName"), text_of(attribute, "AttributeType")) {
            (Some(name), Some(kind @ ("S" | "N" | "B"))) => types.insert(name.to_owned(), kind.to_owned()),
            _ => {
                return Err(site.error(mistyped("an AttributeName and an AttributeType of S, N or B", attribute)));
            }
        };
    }
    let mut keys = BTreeMap::new();
    for (index, element) in reading.list("KeySchema")?.iter().enumerate() {
        let site = reading.site("KeySchema").child(index);
        let (Some(name), Some(role @ ("HASH" | "RANGE"))) =
            (text_of(element, "AttributeName"), text_of(element, "KeyType"))
        else {
            return Err(site.error(mistyped("an AttributeName and a KeyType of HASH or RANGE", element)));
        };
        let kind =
            types.get(name).ok_or_else(|| site.error(Problem::Missing("its type stands in AttributeDefinitions")))?;
        keys.insert(role, (name.to_owned(), kind.clone()));
    }
    let partition_key = keys
        .remove("HASH")
        .ok_or_else(|| reading.site("KeySchema").error(Problem::Missing("a table has a HASH key")))?;
    let ttl_enabled = reading.flag("TimeToLiveSpecification.Enabled")?.unwrap_or(false);
    let ttl_attribute = reading.text("TimeToLiveSpecification.AttributeName")?.filter(|_| ttl_enabled);
    Ok(Table { file, logical_id, name, partition_key, sort_key: keys.remove("RANGE"), ttl_attribute })
}

fn stream(reading: &mut Reading<'_>, file: String, logical_id: String) -> Result<Stream, InfraError> {
    let name = reading.required_text("Name", "one machine and AWS must use the same name")?;
    let shards = reading.count("ShardCount", 1..=100_000)?.unwrap_or(1);
    Ok(Stream { file, logical_id, name, shards })
}

fn function(
    reading: &mut Reading<'_>,
    file: String,
    logical_id: String,
    name_prefix: &str,
) -> Result<Function, InfraError> {
    let name = reading.required_text("FunctionName", "the package that implements it has the same name")?;
    let runtime = reading.required_text("Runtime", "functions are binaries on provided.al2023")?;
    if !runtime.starts_with("provided.") {
        let limit = "provided.al2023: functions are binaries".to_owned();
        return Err(reading.site("Runtime").error(Problem::OutOfRange { value: runtime, limit }));
    }
    reading.accept("Handler");
    reading.accept("Description");
    let mut environment = BTreeMap::new();
    for (variable, value) in reading.map("Environment.Variables")?.into_iter().flatten() {
        let site = reading.site("Environment.Variables").child(variable);
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            other => return Err(site.error(mistyped("a text", other))),
        };
        environment.insert(variable.clone(), value);
    }
    Ok(Function {
        binary: name.strip_prefix(name_prefix).unwrap_or(&name).to_owned(),
        memory_mb: reading.count("MemorySize", 128..=32_768)?.unwrap_or(128),
        timeout: seconds(reading.count("Timeout", 1..=900)?.unwrap_or(3)),
        reserved_concurrency: reading.count("ReservedConcurrentExecutions", 0..=1_000_000)?,
        environment,
        file,
        logical_id,
        name,
    })
}

fn mapping(reading: &mut Reading<'_>, file: String, logical_id: String) -> Result<Mapping, InfraError> {
    reading.accept("EventSourceArn");
    let function = reading.required_text("FunctionName", "a mapping invokes a function")?;
    let function = function_name(&function).to_owned();
    let topics = reading.list("Topics")?;
    let [Value::String(topic)] = topics else {
        return Err(reading.site("Topics").error(mistyped("a list of exactly one topic", &topics.to_vec().into())));
    };
    let pollers = reading.map("ProvisionedPollerConfig")?;
    let window = reading.count("MaximumBatchingWindowInSeconds", 0..=300)?;
    let on_failure_topic = reading.text("DestinationConfig.OnFailure.Destination")?;
    let on_failure_topic = match on_failure_topic.as_deref().map(|target| target.strip_prefix("kafka://")) {
        None => None,
        Some(Some(topic)) => Some(topic.to_owned()),
        Some(None) => {
            let limit = "kafka://TOPIC: one machine has no other failure destination".to_owned();
            let value = on_failure_topic.unwrap_or_default();
            let site = reading.site("DestinationConfig.OnFailure.Destination");
            return Err(site.error(Problem::OutOfRange { value, limit }));
        }
    };
    no_filters(reading)?;
    Ok(Mapping {
        function,
        topic: topic.clone(),
        consumer_group: reading.required_text(
            "AmazonManagedKafkaEventSourceConfig.ConsumerGroupId",
            "without a fixed group a recreated mapping starts over",
        )?,
        enabled: reading.flag("Enabled")?.unwrap_or(true),
        batch_size: reading.count("BatchSize", 1..=10_000)?.unwrap_or(100),
        window: window.map_or(Duration::from_millis(500), seconds),
        provisioned: pollers.is_some(),
        pollers_min: reading.count("ProvisionedPollerConfig.MinimumPollers", 1..=200)?.unwrap_or(1),
        pollers_max: reading.count("ProvisionedPollerConfig.MaximumPollers", 1..=2_000)?.unwrap_or(200),
        report_batch_item_failures: reading
            .list("FunctionResponseTypes")?
            .iter()
            .any(|kind| kind.as_str() == Some("ReportBatchItemFailures")),
        bisect: reading.flag("BisectBatchOnFunctionError")?.unwrap_or(false),
        maximum_retry_attempts: reading.limit("MaximumRetryAttempts", 0..=10_000)?,
        maximum_record_age: reading.limit("MaximumRecordAgeInSeconds", 60..=MAX_SECONDS)?.map(seconds),
        on_failure_topic,
        starting_position: starting_position(reading)?,
        file,
        logical_id,
    })
}

fn starting_position(reading: &mut Reading<'_>) -> Result<StartingPosition, InfraError> {
    let timestamp = reading.integer("StartingPositionTimestamp", 0..=i64::from(u32::MAX))?;
    let position = reading.required_text("StartingPosition", "a group without offsets starts there")?;
    match (position.as_str(), timestamp) {
        ("TRIM_HORIZON", _) => Ok(StartingPosition::TrimHorizon),
        ("LATEST", _) => Ok(StartingPosition::Latest),
        ("AT_TIMESTAMP", Some(seconds)) => Ok(StartingPosition::AtTimestamp(seconds * 1_000)),
        _ => Err(reading.site("StartingPosition").error(Problem::OutOfRange {
            value: position,
            limit: "TRIM_HORIZON, LATEST, or AT_TIMESTAMP with a StartingPositionTimestamp".to_owned(),
        })),
    }
}

/// A record that a filter keeps from the function in AWS must not reach it here.
pub(super) fn no_filters(reading: &mut Reading<'_>) -> Result<(), InfraError> {
    match reading.list("FilterCriteria.Filters")?.first() {
        None => Ok(()),
        Some(filter) => Err(reading.site("FilterCriteria.Filters").error(Problem::OutOfRange {
            value: filter.to_string(),
            limit: "none: the mapping of one machine does not filter".to_owned(),
        })),
    }
}

fn text_of<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}
