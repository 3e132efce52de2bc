//! What may cost without end: every cost driver in a stack must have an upper bound, written where it is declared. A budget's figures are half a
//! day old, so only these bounds stop a mistake in its first hours.

use serde_json::Value;

use super::Infrastructure;
use super::model::{Resource, whole};
use super::rules::Rule;

/// The kinds that the rules of this crate judge, and the plan prices. Another may cost, open or lose anything, and nobody would see it.
const JUDGED: [&str; 50] = [
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Authorizer",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Stage",
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::Athena::WorkGroup",
    "AWS::Budgets::Budget",
    "AWS::Budgets::BudgetsAction",
    "AWS::CE::AnomalyMonitor",
    "AWS::CE::AnomalySubscription",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::DynamoDB::Table",
    "AWS::EC2::FlowLog",
    "AWS::EC2::RouteTable",
    "AWS::EC2::SecurityGroup",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::EC2::Subnet",
    "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::EC2::VPC",
    "AWS::EC2::VPCEndpoint",
    "AWS::Events::Rule",
    "AWS::Glue::Database",
    "AWS::Glue::Table",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Role",
    "AWS::KMS::Alias",
    "AWS::KMS::Key",
    "AWS::Kinesis::Stream",
    "AWS::Lambda::Alias",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Version",
    "AWS::Logs::LogGroup",
    "AWS::MSK::Cluster",
    "AWS::MSK::ClusterPolicy",
    "AWS::MSK::Configuration",
    "AWS::MSK::Topic",
    "AWS::S3::Bucket",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::Topic",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::Queue",
    "AWS::SecretsManager::Secret",
];

/// A kind that nobody judges.
pub(super) fn unjudged(resource: &Resource) -> Option<Rule> {
    let is_judged = JUDGED.contains(&resource.kind.as_str());
    (!is_judged).then(|| Rule::UnjudgedKind(resource.kind.clone()))
}

/// The bound that a resource lacks, by its kind. Resources that cost by the hour and number alone (brokers, shards, endpoints) are bounded by
/// being declared.
pub(super) fn rules(resource: &Resource, infrastructure: &Infrastructure) -> Vec<Rule> {
    let has = |pointer: &str| resource.properties.pointer(pointer).is_some_and(|value| !value.is_null());
    let text = |pointer: &str| resource.properties.pointer(pointer).and_then(Value::as_str);
    let lacks: Vec<&'static str> = match resource.kind.as_str() {
        "AWS::Lambda::Function" => {
            let level = text("/Environment/Variables/RUST_LOG").unwrap_or_default();
            let is_chatty = infrastructure.is_for_customers() && (level.contains("debug") || level.contains("trace"));
            let mut lacks = unless(has("/ReservedConcurrentExecutions"), "ReservedConcurrentExecutions");
            // At 100,000 transactions a minute every line of each costs some USD 1,000 a month.
            lacks.extend(unless(!is_chatty, "a RUST_LOG of info or coarser, where customers send by the million"));
            lacks
        }
        "AWS::Lambda::Alias" => {
            unless(!has("/ProvisionedConcurrencyConfig"), "a place in the plan for its ProvisionedConcurrencyConfig")
        }
        "AWS::Lambda::EventSourceMapping" => mapping(resource, has),
        "AWS::DynamoDB::Table" => table(resource, infrastructure),
        "AWS::ApplicationAutoScaling::ScalableTarget" => unless(has("/MaxCapacity"), "MaxCapacity"),
        "AWS::Kinesis::Stream" => unless(
            text("/StreamModeDetails/StreamMode") == Some("PROVISIONED") && has("/ShardCount"),
            "StreamMode PROVISIONED with a ShardCount",
        ),
        "AWS::Logs::LogGroup" => unless(has("/RetentionInDays"), "RetentionInDays"),
        "AWS::ApiGatewayV2::Stage" => {
            let throttles = "/DefaultRouteSettings/Throttling";
            let bounded = has(&format!("{throttles}RateLimit")) && has(&format!("{throttles}BurstLimit"));
            unless(bounded, "ThrottlingRateLimit and ThrottlingBurstLimit")
        }
        "AWS::Athena::WorkGroup" => {
            let enforced = resource.is_on("/WorkGroupConfiguration/EnforceWorkGroupConfiguration");
            let cutoff = has("/WorkGroupConfiguration/BytesScannedCutoffPerQuery");
            unless(cutoff && enforced, "BytesScannedCutoffPerQuery, enforced")
        }
        "AWS::S3::Bucket" => bucket(resource),
        "AWS::EC2::NatGateway" => vec!["a price by the gigabyte with an end: a NAT gateway has none, use endpoints"],
        _ => Vec::new(),
    };
    lacks.into_iter().map(Rule::Uncapped).collect()
}

fn unless(bounded: bool, lacks: &'static str) -> Vec<&'static str> {
    if bounded { Vec::new() } else { vec![lacks] }
}

fn mapping(resource: &Resource, has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    // Those of Kafka; a stream's invocations are bounded by its shards and the function's concurrency.
    let reads_kafka = resource.properties.get("Topics").is_some();
    unless(!reads_kafka || has("/ProvisionedPollerConfig/MaximumPollers"), "ProvisionedPollerConfig.MaximumPollers")
}

fn table(resource: &Resource, infrastructure: &Infrastructure) -> Vec<&'static str> {
    let properties = &resource.properties;
    if properties.get("BillingMode").and_then(Value::as_str) == Some("PAY_PER_REQUEST") {
        let indexes = properties.get("GlobalSecondaryIndexes").and_then(Value::as_array);
        let capped = |of: &Value| {
            ["MaxReadRequestUnits", "MaxWriteRequestUnits"].iter().all(|unit| {
                let units = of.pointer("/OnDemandThroughput").and_then(|units| units.get(unit));
                // -1 is AWS's way to say "no limit".
                units.and_then(whole).is_some_and(|units| units > 0)
            })
        };
        let all = capped(properties) && indexes.into_iter().flatten().all(capped);
        return unless(all, "OnDemandThroughput with MaxReadRequestUnits and MaxWriteRequestUnits, on every index too");
    }
    // A provisioned table is bounded by its units; a scaling target of it has a rule of its own, and its existence is asked for here, because
    // without one every unit is paid whatever the use.
    let Some(name) = properties.get("TableName").and_then(Value::as_str) else { return Vec::new() };
    let id = format!("table/{name}");
    let targets =
        infrastructure.resources.iter().filter(|one| one.kind == "AWS::ApplicationAutoScaling::ScalableTarget");
    let scaled =
        targets.filter(|target| target.properties.get("ResourceId").and_then(Value::as_str) == Some(&id)).count();
    unless(scaled >= 2, "scaling of its reads and writes with a MaxCapacity")
}

fn bucket(resource: &Resource) -> Vec<&'static str> {
    let properties = &resource.properties;
    let rules = properties.pointer("/LifecycleConfiguration/Rules").and_then(Value::as_array);
    let any = |pointer: &str| rules.into_iter().flatten().any(|rule| rule.pointer(pointer).is_some());
    let mut lacks = unless(any("/AbortIncompleteMultipartUpload"), "AbortIncompleteMultipartUpload");
    let versioned = properties.pointer("/VersioningConfiguration/Status").and_then(Value::as_str) == Some("Enabled");
    // With versions an expiry alone deletes nothing.
    lacks.extend(unless(!versioned || any("/NoncurrentVersionExpiration"), "NoncurrentVersionExpiration"));
    lacks
}

/// What an environment as a whole lacks: a budget, where it is not a laptop's.
pub(super) fn budget_rules(infrastructure: &Infrastructure) -> Vec<Rule> {
    let of = |kind: &str| infrastructure.resources.iter().filter(|resource| resource.kind == kind).count();
    let mut rules = Vec::new();
    if of("AWS::Lambda::Function") > 0 && of("AWS::Budgets::Budget") == 0 {
        rules.push(Rule::Uncapped("AWS::Budgets::Budget: nobody is told when a month costs more than planned"));
    }
    rules
}
