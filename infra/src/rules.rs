//! What must hold between the parts of a deployment and what no linter of single properties can see.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use super::access::AccessRule;
use super::alarm_times::AlarmTime;
use super::alarms::AlarmRule;
use super::budgets::BudgetRule;
use super::encryption::EncryptionRule;
use super::exposure::ExposureRule;
use super::keeping::KeepingRule;
use super::mappings::keeps_offsets;
use super::model::{Function, Mapping, Resource, Topic};
use super::network::NetworkRule;
use super::paths::PathRule;
use super::required_alarms::MissingAlarm;
use super::traps::Trap;
use super::wiring::WiringRule;
use super::{
    Infrastructure, access, alarm_times, alarms, budgets, cost_caps, encryption, exposure, keeping, mappings, network,
    paths, required_alarms, traps, wiring,
};

/// Invocations that one poller keeps going: <https://docs.aws.amazon.com/lambda/latest/dg/kafka-scaling-modes.html>.
const INVOCATIONS_PER_POLLER: u32 = 5;
/// Kafka's default of `max.message.bytes`.
const DEFAULT_MAX_MESSAGE_BYTES: u64 = 1_048_588;

/// So often a record is tried at least, before its age, before it is given up.
pub(super) const TRIES_MIN: u32 = 1_000;

/// A rule that a deployment breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// File of the resource.
    pub file: String,
    /// Logical id of the resource.
    pub resource: String,
    /// What is wrong with it.
    pub rule: Rule,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}: {}", self.file, self.resource, self.rule)
    }
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum Rule {
    #[error("MinimumPollers {min} is more than MaximumPollers {max}")]
    PollersOutOfOrder { min: u32, max: u32 },
    #[error(
        "MaximumPollers {pollers} is more than the {partitions} partitions of \"{topic}\": the rest would idle and be paid"
    )]
    MorePollersThanPartitions { pollers: u32, partitions: u32, topic: String },
    #[error("retry, age, bisect, partial responses and Kafka failure topics need a ProvisionedPollerConfig")]
    ControlsNeedProvisionedPollers,
    #[error("topic \"{0}\" is declared nowhere")]
    UnknownTopic(String),
    #[error("function \"{0}\" is declared nowhere")]
    UnknownFunction(String),
    #[error("failure topic \"{0}\" is a source of a mapping that gives up on records too: they would come round again")]
    FailureTopicIsSource(String),
    #[error("gives up on records without a failure topic: they would be lost")]
    GivesUpIntoNothing,
    #[error("retries without end and has a failure topic: Lambda makes 10 retries of that, so say how many")]
    EndlessRetriesWithFailureTopic,
    #[error("starts at LATEST, which can miss what arrives while the mapping is being made; use TRIM_HORIZON")]
    StartsAtLatest,
    #[error(
        "splits failed batches: the order of their halves is not documented, and its function relies on a partition's order"
    )]
    SplitsBatches,
    #[error(
        "takes no partial answers, in which its function names the records that failed: they would count as done, and be lost; set FunctionResponseTypes to [ReportBatchItemFailures]"
    )]
    IgnoresFailedRecords,
    #[error("gathers records for {0:?} before anything is decided, which may take 500 ms in all: use 0")]
    WaitsBeforeDeciding(Duration),
    #[error(
        "gives up after {0} tries, which an outage of minutes uses up: let the maximum record age decide, and allow at least {TRIES_MIN}"
    )]
    TooFewTries(u32),
    #[error(
        "retries without end: one record that always fails holds up its shard until the stream has forgotten the others"
    )]
    EndlessRetriesOfShard,
    #[error("counts in windows of {found:?}, its readers expect {wanted} s: they would look where nothing is")]
    OtherWindow { found: Option<Duration>, wanted: String },
    #[error("consumer group \"{0}\" has a colon, with which its lag metrics are never sent")]
    GroupHasColon(String),
    #[error("min.insync.replicas is {found}, must be at least 2 and below the replication factor {replication}")]
    InSyncReplicas { found: String, replication: u32 },
    #[error("{replication} replicas need as many brokers, there are {brokers}")]
    MoreReplicasThanBrokers { replication: u32, brokers: u32 },
    #[error("{brokers} brokers cannot be spread evenly over {zones} subnets")]
    BrokersUneven { brokers: u32, zones: u32 },
    #[error("auto.create.topics.enable must be false: a misspelt topic would be created")]
    CreatesTopics,
    #[error("retention.ms is not set to a number of milliseconds")]
    RetentionUnset,
    #[error("message.timestamp.type must be LogAppendTime: replays are recognised by the broker's own time")]
    NotBrokerTime,
    #[error("variable {variable} is \"{found}\", the mapping says \"{mapping}\"")]
    EnvironmentDisagrees { variable: &'static str, found: String, mapping: String },
    #[error("variable {variable} names \"{value}\", which is declared nowhere")]
    NamesNothing { variable: String, value: String },
    #[error("timeout of {0:?} exceeds the 14 minutes that a Kafka source allows")]
    TimeoutTooLong(Duration),
    #[error("timeout of {timeout:?} is not below the maximum record age of {age:?}: a slow try would be the only one")]
    TimeoutReachesAge { timeout: Duration, age: Duration },
    #[error(
        "maximum record age of {age:?} is not below the retention of {retention:?} of \"{topic}\": records would vanish untried"
    )]
    AgeReachesRetention { age: Duration, retention: Duration, topic: String },
    #[error("retention of failure topic \"{0}\" is shorter than that of its source, and below 14 days")]
    DeadLettersExpireFirst(String),
    #[error(
        "max.message.bytes of failure topic \"{topic}\" is {found}; a record of the source needs {needed} when it is dead-lettered"
    )]
    DeadLettersTooSmall { topic: String, found: u64, needed: u64 },
    #[error("reserves {reserved} concurrent executions, its mapping wants {wanted}: it would be throttled")]
    TooLittleConcurrency { reserved: u32, wanted: u32 },
    #[error("must be arm64 with handler bootstrap, as cargo lambda builds it")]
    NotPackagedForArm,
    #[error("scales from {min} to {max}")]
    ScalingOutOfOrder { min: i64, max: i64 },
    #[error("scales by no policy, so it stays where it begins")]
    ScalesNever,
    #[error("scales {dimension} by {metric}, which is another's")]
    ScalesByOther { dimension: String, metric: String },
    #[error(
        "lets a replica that lacks records become a leader, and what it lacks is lost: unclean.leader.election.enable must be false"
    )]
    UncleanLeaders,
    #[error(
        "is stored as it comes where producers do not compress, and its disks are paid three times: set compression.type"
    )]
    Uncompressed,
    #[error("may cost without end: it lacks {0}")]
    Uncapped(&'static str),
    #[error(
        "is of kind {0}, which no rule here judges: add what may be wrong with it, its price in the plan, and its kind"
    )]
    UnjudgedKind(String),
    #[error("export \"{0}\" is imported by no stack")]
    UnusedExport(String),
    #[error(transparent)]
    Access(#[from] AccessRule),
    #[error(transparent)]
    Alarm(#[from] AlarmRule),
    #[error(transparent)]
    AlarmTime(#[from] AlarmTime),
    #[error(transparent)]
    Missing(#[from] MissingAlarm),
    #[error(transparent)]
    Encryption(#[from] EncryptionRule),
    #[error(transparent)]
    Budget(#[from] BudgetRule),
    #[error(transparent)]
    Exposure(#[from] ExposureRule),
    #[error(transparent)]
    Keeping(#[from] KeepingRule),
    #[error(transparent)]
    Network(#[from] NetworkRule),
    #[error(transparent)]
    Path(#[from] PathRule),
    #[error(transparent)]
    Trap(#[from] Trap),
    #[error(transparent)]
    Wiring(#[from] WiringRule),
}

fn wrapped<R: Into<Rule>>(rules: Vec<R>) -> impl Iterator<Item = Rule> {
    rules.into_iter().map(Into::into)
}

/// Every finding of every rule.
pub(super) fn check(infrastructure: &Infrastructure) -> Vec<Finding> {
    let mut findings = Vec::new();
    for topic in &infrastructure.topics {
        add(&mut findings, &topic.file, &topic.logical_id, topic_rules(topic, infrastructure));
    }
    for mapping in &infrastructure.mappings {
        add(&mut findings, &mapping.file, &mapping.logical_id, mappings::rules(mapping, infrastructure));
    }
    for mapping in &infrastructure.stream_mappings {
        add(&mut findings, &mapping.file, &mapping.logical_id, mappings::stream_rules(mapping, infrastructure));
    }
    for trigger in &infrastructure.triggers {
        if infrastructure.function(&trigger.function).is_none() {
            let rule = Rule::UnknownFunction(trigger.function.clone());
            add(&mut findings, &trigger.file, &trigger.logical_id, vec![rule]);
        }
    }
    for function in &infrastructure.functions {
        let mut rules = function_rules(function, infrastructure);
        rules.extend(wrapped(access::rules(function, infrastructure)));
        add(&mut findings, &function.file, &function.logical_id, rules);
    }
    for resource in &infrastructure.resources {
        let mut rules = match resource.kind.as_str() {
            "AWS::MSK::Cluster" => cluster_rules(resource),
            "AWS::MSK::Configuration" => configuration_rules(resource),
            "AWS::ApplicationAutoScaling::ScalableTarget" => scaling_rules(resource, infrastructure),
            _ => Vec::new(),
        };
        rules.extend(cost_caps::rules(resource, infrastructure));
        rules.extend(cost_caps::unjudged(resource));
        rules.extend(wrapped(access::policy_rules(resource)));
        rules.extend(wrapped(access::application_rules(resource, infrastructure)));
        rules.extend(wrapped(access::people_rules(resource, infrastructure)));
        rules.extend(wrapped(alarms::rules(resource, infrastructure)));
        rules.extend(wrapped(alarm_times::rules(resource, infrastructure)));
        rules.extend(wrapped(required_alarms::rules(resource, infrastructure)));
        rules.extend(wrapped(budgets::rules(resource, infrastructure)));
        rules.extend(wrapped(encryption::rules(resource, infrastructure)));
        rules.extend(wrapped(exposure::rules(resource, infrastructure)));
        rules.extend(wrapped(keeping::rules(resource, infrastructure)));
        rules.extend(wrapped(network::rules(resource, infrastructure)));
        rules.extend(wrapped(paths::rules(resource, infrastructure)));
        rules.extend(wrapped(traps::rules(resource, infrastructure)));
        rules.extend(wrapped(wiring::rules(resource, infrastructure)));
        add(&mut findings, &resource.file, &resource.logical_id, rules);
    }
    add(&mut findings, "80-budget.yaml", "Budget", cost_caps::budget_rules(infrastructure));
    for export in infrastructure.exports.iter().filter(|export| !export.imported && !export.for_others) {
        add(&mut findings, &export.file, &export.output, vec![Rule::UnusedExport(export.name.clone())]);
    }
    findings
}

fn add(findings: &mut Vec<Finding>, file: &str, resource: &str, rules: Vec<Rule>) {
    findings.extend(rules.into_iter().map(|rule| Finding {
        file: file.to_owned(),
        resource: resource.to_owned(),
        rule,
    }));
}

fn topic_rules(topic: &Topic, infrastructure: &Infrastructure) -> Vec<Rule> {
    let mut rules = Vec::new();
    let replication = topic.replication;
    let in_sync = topic.config.get("min.insync.replicas");
    if !in_sync.and_then(|count| count.parse().ok()).is_some_and(|count: u32| count >= 2 && count < replication) {
        rules.push(Rule::InSyncReplicas { found: in_sync.cloned().unwrap_or_else(|| "not set".into()), replication });
    }
    for cluster in infrastructure.resources.iter().filter(|resource| resource.kind == "AWS::MSK::Cluster") {
        let brokers = cluster.integer("/NumberOfBrokerNodes").and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        if replication > brokers {
            rules.push(Rule::MoreReplicasThanBrokers { replication, brokers });
        }
    }
    if retention(topic).is_none() {
        rules.push(Rule::RetentionUnset);
    }
    let keeps_offsets = infrastructure
        .mappings
        .iter()
        .filter(|mapping| mapping.topic == topic.name)
        .any(|mapping| infrastructure.function(&mapping.function).is_some_and(keeps_offsets));
    let broker_time = topic.config.get("message.timestamp.type").is_some_and(|kind| kind == "LogAppendTime");
    if keeps_offsets && !broker_time {
        rules.push(Rule::NotBrokerTime);
    }
    // Others produce to what is decided from; our own producers compress.
    let is_decided_from =
        infrastructure.mappings.iter().any(|mapping| mapping.topic == topic.name && mapping.on_failure_topic.is_some());
    let compression = topic.config.get("compression.type").map(String::as_str);
    if is_decided_from && matches!(compression, None | Some("producer" | "uncompressed")) {
        rules.push(Rule::Uncompressed);
    }
    rules
}

fn function_rules(function: &Function, infrastructure: &Infrastructure) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (variable, value) in &function.environment {
        let known = match variable.rsplit_once('_').map(|(_, kind)| kind) {
            Some("TOPIC") => infrastructure.topic(value).is_some(),
            Some("TABLE") => infrastructure.tables.iter().any(|table| table.name == *value),
            Some("STREAM") => infrastructure.streams.iter().any(|stream| stream.name == *value),
            Some("BUCKET") => infrastructure.buckets.iter().any(|bucket| bucket.name == *value),
            Some("GROUP") => infrastructure
                .mappings
                .iter()
                .any(|mapping| mapping.function == function.name && mapping.consumer_group == *value),
            _ => true,
        };
        if !known {
            rules.push(Rule::NamesNothing { variable: variable.clone(), value: value.clone() });
        }
    }
    let slots = |mapping: &Mapping| {
        let partitions = infrastructure.topic(&mapping.topic).map_or(u32::MAX, |topic| topic.partitions);
        partitions.min(mapping.pollers_max.saturating_mul(INVOCATIONS_PER_POLLER))
    };
    let mappings = infrastructure.mappings.iter().filter(|mapping| mapping.function == function.name);
    let wanted = mappings.map(slots).fold(0, u32::saturating_add);
    if let Some(reserved) = function.reserved_concurrency.filter(|reserved| *reserved < wanted) {
        rules.push(Rule::TooLittleConcurrency { reserved, wanted });
    }
    let packaged = infrastructure.declaration(function).is_some_and(|resource| {
        resource.properties.pointer("/Architectures/0").and_then(Value::as_str) == Some("arm64")
            && resource.properties.get("Handler").and_then(Value::as_str) == Some("bootstrap")
    });
    if !packaged {
        rules.push(Rule::NotPackagedForArm);
    }
    rules
}

fn cluster_rules(cluster: &Resource) -> Vec<Rule> {
    let subnets = cluster.properties.pointer("/BrokerNodeGroupInfo/ClientSubnets").and_then(Value::as_array);
    let zones: BTreeSet<_> = subnets.into_iter().flatten().filter_map(Value::as_str).collect();
    let zones = u32::try_from(zones.len()).unwrap_or(u32::MAX);
    let brokers = cluster.integer("/NumberOfBrokerNodes").and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
    if zones == 0 || brokers == 0 || !brokers.is_multiple_of(zones) {
        vec![Rule::BrokersUneven { brokers, zones }]
    } else {
        Vec::new()
    }
}

fn configuration_rules(configuration: &Resource) -> Vec<Rule> {
    let properties = configuration.properties.get("ServerProperties").and_then(Value::as_str).unwrap_or_default();
    let refuses = properties.lines().any(|line| line.replace(' ', "") == "auto.create.topics.enable=false");
    let mut rules = if refuses { Vec::new() } else { vec![Rule::CreatesTopics] };
    let is_unclean = properties.lines().any(|line| line.replace(' ', "") == "unclean.leader.election.enable=true");
    rules.extend(is_unclean.then_some(Rule::UncleanLeaders));
    rules
}

fn scaling_rules(target: &Resource, infrastructure: &Infrastructure) -> Vec<Rule> {
    let mut rules = match (target.integer("/MinCapacity"), target.integer("/MaxCapacity")) {
        (Some(min), Some(max)) if min > max => vec![Rule::ScalingOutOfOrder { min, max }],
        _ => Vec::new(),
    };
    let policies = infrastructure.resources.iter().filter(|one| {
        one.kind == "AWS::ApplicationAutoScaling::ScalingPolicy"
            && one.file == target.file
            && one.text("/ScalingTargetId") == Some(&target.logical_id)
    });
    let metric = "/TargetTrackingScalingPolicyConfiguration/PredefinedMetricSpecification/PredefinedMetricType";
    let metrics: Vec<&str> = policies.filter_map(|policy| policy.text(metric)).collect();
    rules.extend(metrics.is_empty().then_some(Rule::ScalesNever));
    let dimension = target.text("/ScalableDimension").unwrap_or_default();
    let what = ["Read", "Write"].into_iter().find(|what| dimension.contains(what)).unwrap_or("Storage");
    rules.extend(
        metrics
            .into_iter()
            .filter(|metric| !metric.contains(what))
            .map(|metric| Rule::ScalesByOther { dimension: dimension.to_owned(), metric: metric.to_owned() }),
    );
    rules
}

/// How long a topic keeps records.
pub(super) fn retention(topic: &Topic) -> Option<Duration> {
    topic.config.get("retention.ms")?.parse().ok().map(Duration::from_millis)
}

/// The largest record of a topic.
pub(super) fn max_message_bytes(topic: &Topic) -> u64 {
    topic.config.get("max.message.bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(DEFAULT_MAX_MESSAGE_BYTES)
}
