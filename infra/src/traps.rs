//! What AWS refuses or does otherwise than one would think, and a linter of single properties passes.

use serde_json::Value;
use thiserror::Error;

use super::Infrastructure;
use super::alarms::metrics;
use super::model::Resource;
use super::required_alarms::is_account_concurrency;
use super::schedule::is_schedule;

/// Sizes of brokers that MSK has. <https://docs.aws.amazon.com/msk/latest/developerguide/broker-instance-types.html>
const STANDARD: [(&str, &[&str]); 3] = [
    ("kafka.t3", &["small"]),
    ("kafka.m5", &["large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge"]),
    ("kafka.m7g", &["large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge"]),
];
const EXPRESS: (&str, &[&str]) =
    ("express.m7g", &["large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge"]);
/// Versions that a new cluster may have. Topics as resources need 3.6 or newer, and 3.6 itself has ended.
/// <https://docs.aws.amazon.com/msk/latest/developerguide/supported-kafka-versions.html>
const VERSIONS: [&str; 8] =
    ["3.7.x", "3.7.x.kraft", "3.8.x", "3.8.x.kraft", "3.9.x", "3.9.x.kraft", "4.0.x.kraft", "4.1.x.kraft"];
/// Of these, what Express brokers take. <https://docs.aws.amazon.com/msk/latest/developerguide/msk-broker-types-express.html>
const EXPRESS_VERSIONS: [&str; 3] = ["3.8.x", "3.9.x", "3.9.x.kraft"];
/// What only standard brokers let anybody set.
/// <https://docs.aws.amazon.com/msk/latest/developerguide/msk-configuration-express-read-only.html>
const NOT_ON_EXPRESS: [&str; 3] =
    ["default.replication.factor", "min.insync.replicas", "unclean.leader.election.enable"];
/// An HTTP API waits so long for a function. <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
const API_SECONDS_MAX: i64 = 30;

/// So many concurrent executions stay with the functions that reserve none.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>
const UNRESERVED: u64 = 100;

/// What AWS would refuse, or not do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum Trap {
    #[error("MSK has no brokers of type \"{0}\"")]
    UnknownBrokerType(String),
    #[error("MSK makes no cluster of Kafka version \"{0}\" with such brokers")]
    UnknownKafkaVersion(String),
    #[error("Express brokers keep their own storage and refuse StorageInfo")]
    StorageOnExpress,
    #[error("Express brokers refuse {0} in ServerProperties")]
    FixedOnExpress(String),
    #[error("an on-demand stream takes no ShardCount")]
    ShardsOnDemand,
    #[error("a provisioned stream needs a ShardCount")]
    NoShards,
    #[error("action type {0} needs {1} in its definition, and nothing else")]
    ActionUnfit(String, &'static str),
    #[error(
        "\"{0}\" is no schedule of EventBridge: rate(N minutes), or cron with six fields of which one of the days is ?"
    )]
    NoSchedule(String),
    #[error("answers an API that waits for {API_SECONDS_MAX} s, and may take {0} s")]
    SlowerThanApi(i64),
    #[error(
        "reckons with {account} concurrent executions of the account, of which functions reserve {reserved}, and {UNRESERVED} cannot be reserved: a deploy would be refused"
    )]
    TooMuchReserved { reserved: u64, account: u64 },
    #[error("on-demand billing takes no ProvisionedThroughput")]
    ThroughputOnDemand,
    #[error("takes code for {0}, provided.al2 has ended: use provided.al2023")]
    OldRuntime(String),
    #[error(
        "logs below INFO are kept from CloudWatch, and metric lines with them: ApplicationLogLevel must be INFO or finer"
    )]
    MetricsFiltered,
    #[error("logs as text, in which a metric line is no metric: LogFormat must be JSON")]
    LogsAsText,
    #[error("its alias must begin with alias/, and not with alias/aws/")]
    AliasReserved,
}

/// What is wrong with one resource.
pub(super) fn rules(resource: &Resource, infrastructure: &Infrastructure) -> Vec<Trap> {
    match resource.kind.as_str() {
        "AWS::MSK::Cluster" => cluster_rules(resource, infrastructure),
        "AWS::Kinesis::Stream" => stream_rules(resource).into_iter().collect(),
        "AWS::Budgets::BudgetsAction" => budget_rules(resource).into_iter().collect(),
        "AWS::Events::Rule" => {
            let expression = resource.text("/ScheduleExpression");
            let wrong = expression.filter(|expression| !is_schedule(expression));
            wrong.map(|expression| Trap::NoSchedule(expression.to_owned())).into_iter().collect()
        }
        "AWS::DynamoDB::Table" => {
            let on_demand = resource.text("/BillingMode") == Some("PAY_PER_REQUEST");
            let has_units = resource.properties.get("ProvisionedThroughput").is_some();
            (on_demand && has_units).then_some(Trap::ThroughputOnDemand).into_iter().collect()
        }
        "AWS::CloudWatch::Alarm" => concurrency_rule(resource, infrastructure).into_iter().collect(),
        "AWS::Lambda::Function" => function_rules(resource, infrastructure),
        "AWS::KMS::Alias" => {
            let name = resource.text("/AliasName").unwrap_or_default();
            let is_ours = name.starts_with("alias/") && !name.starts_with("alias/aws/");
            (!is_ours).then_some(Trap::AliasReserved).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn cluster_rules(cluster: &Resource, infrastructure: &Infrastructure) -> Vec<Trap> {
    let mut rules = Vec::new();
    let size = cluster.text("/BrokerNodeGroupInfo/InstanceType").unwrap_or_default();
    let is_express = size.starts_with("express.");
    let known = |(family, sizes): &(&str, &[&str])| {
        size.strip_prefix(family).and_then(|rest| rest.strip_prefix('.')).is_some_and(|size| sizes.contains(&size))
    };
    if !STANDARD.iter().chain([&EXPRESS]).any(known) {
        rules.push(Trap::UnknownBrokerType(size.to_owned()));
    }
    let version = cluster.text("/KafkaVersion").unwrap_or_default();
    let takes = |versions: &[&str]| versions.contains(&version);
    // Small brokers hold no controllers' metadata.
    let too_small = size.starts_with("kafka.t3.") && version.ends_with(".kraft");
    if !takes(if is_express { &EXPRESS_VERSIONS } else { &VERSIONS }) || too_small {
        rules.push(Trap::UnknownKafkaVersion(version.to_owned()));
    }
    if !is_express {
        return rules;
    }
    if cluster.properties.pointer("/BrokerNodeGroupInfo/StorageInfo").is_some() {
        rules.push(Trap::StorageOnExpress);
    }
    let configurations = infrastructure.resources.iter().filter(|one| one.kind == "AWS::MSK::Configuration");
    for line in configurations.filter_map(|one| one.text("/ServerProperties")).flat_map(str::lines) {
        let name = line.split('=').next().unwrap_or_default().trim();
        if NOT_ON_EXPRESS.contains(&name) {
            rules.push(Trap::FixedOnExpress(name.to_owned()));
        }
    }
    rules
}

fn stream_rules(stream: &Resource) -> Option<Trap> {
    let on_demand = stream.text("/StreamModeDetails/StreamMode") == Some("ON_DEMAND");
    match (on_demand, stream.integer("/ShardCount")) {
        (true, Some(_)) => Some(Trap::ShardsOnDemand),
        (false, None) => Some(Trap::NoShards),
        _ => None,
    }
}

/// The alarm on the account's concurrency divides by what the account has, which the stacks say nowhere else.
fn concurrency_rule(alarm: &Resource, infrastructure: &Infrastructure) -> Option<Trap> {
    if !metrics(alarm).any(is_account_concurrency) {
        return None;
    }
    let mut expressions = alarm.list("/Metrics").iter().filter_map(|query| query.get("Expression")?.as_str());
    let account: u64 = expressions.find_map(|one| one.rsplit_once('/')?.1.trim().parse().ok())?;
    let reserved: u64 =
        infrastructure.functions.iter().filter_map(|function| function.reserved_concurrency).map(u64::from).sum();
    let is_too_much = reserved > 0 && reserved.saturating_add(UNRESERVED) > account;
    is_too_much.then_some(Trap::TooMuchReserved { reserved, account })
}

/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-budgets-budgetsaction-definition.html>
fn budget_rules(action: &Resource) -> Option<Trap> {
    let kind = action.text("/ActionType").unwrap_or_default();
    let wanted = match kind {
        "APPLY_IAM_POLICY" => "IamActionDefinition",
        "APPLY_SCP_POLICY" => "ScpActionDefinition",
        _ => "SsmActionDefinition",
    };
    let definition = action.properties.get("Definition").and_then(Value::as_object);
    let fits = definition.is_some_and(|definition| definition.len() == 1 && definition.contains_key(wanted));
    (!fits).then(|| Trap::ActionUnfit(kind.to_owned(), wanted))
}

fn function_rules(function: &Resource, infrastructure: &Infrastructure) -> Vec<Trap> {
    let mut rules = Vec::new();
    let runtime = function.text("/Runtime").unwrap_or_default();
    if runtime != "provided.al2023" {
        rules.push(Trap::OldRuntime(runtime.to_owned()));
    }
    if function.text("/LoggingConfig/LogFormat") != Some("JSON") {
        rules.push(Trap::LogsAsText);
    }
    let level = function.text("/LoggingConfig/ApplicationLogLevel").unwrap_or("INFO");
    if !matches!(level, "INFO" | "DEBUG" | "TRACE") {
        rules.push(Trap::MetricsFiltered);
    }
    let name = function.text("/FunctionName").unwrap_or_default();
    let answers = infrastructure
        .triggers
        .iter()
        .any(|trigger| trigger.function == name && matches!(trigger.source, super::TriggerSource::Http(_)));
    let timeout = function.integer("/Timeout").unwrap_or(3);
    rules.extend((answers && timeout > API_SECONDS_MAX).then_some(Trap::SlowerThanApi(timeout)));
    rules
}
