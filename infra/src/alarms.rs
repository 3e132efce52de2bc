//! An alarm on a metric that nobody sends is silent for ever, and looks healthy.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Infrastructure;
use super::attributes::mapping_id;
use super::model::Resource;
use super::rules::{Rule, integer};

/// Where the functions' own metrics are, and their only dimension.
const NAMESPACE: &str = "Centinela";
const DIMENSION: &str = "Function";
/// Metrics of a mapping that are sent only when their group is switched on.
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html#event-source-mapping-metrics>
const MAPPING_METRICS: [(&str, &[&str]); 3] = [
    (
        "EventCount",
        &[
            "PolledEventCount",
            "FilteredOutEventCount",
            "InvokedEventCount",
            "FailedInvokeEventCount",
            "DroppedEventCount",
            "OnFailureDestinationDeliveredEventCount",
            "CommittedEventCount",
        ],
    ),
    (
        "ErrorCount",
        &[
            "PollingErrorCount",
            "InvokeErrorCount",
            "OnFailureDestinationDeliveryErrorCount",
            "SchemaRegistryErrorCount",
            "CommitErrorCount",
        ],
    ),
    ("KafkaMetrics", &["MaxOffsetLag", "SumOffsetLag"]),
];

/// What every mapping with a `ProvisionedPollerConfig` sends.
const POLLERS: &str = "ProvisionedPollers";

/// What keeps an alarm from ever firing.
pub(super) fn rules(alarm: &Resource, infrastructure: &Infrastructure) -> Vec<Rule> {
    let mut rules = Vec::new();
    let periods = integer(alarm, "/EvaluationPeriods").unwrap_or(1);
    if let Some(datapoints) = integer(alarm, "/DatapointsToAlarm").filter(|datapoints| *datapoints > periods) {
        rules.push(Rule::MoreDatapointsThanPeriods { datapoints, periods });
    }
    for metric in metrics(alarm) {
        rules.extend(metric_rules(metric, infrastructure));
    }
    let queries = queries(alarm);
    let ids: BTreeSet<&str> = queries.iter().filter_map(|query| query.get("Id")?.as_str()).collect();
    for expression in queries.iter().filter_map(|query| query.get("Expression")?.as_str()) {
        let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        // Ids begin with a small letter, functions are written in capitals.
        let unknown =
            words.filter(|word| word.starts_with(|letter: char| letter.is_ascii_lowercase()) && !ids.contains(word));
        rules.extend(unknown.map(|word| Rule::UnknownMetricId(word.to_owned())));
    }
    rules
}

/// Names of the metrics in our own namespace that alarms watch of a function.
pub(super) fn watched<'a>(infrastructure: &'a Infrastructure, function: &str) -> BTreeSet<&'a str> {
    let alarms = infrastructure.resources.iter().filter(|resource| resource.kind == "AWS::CloudWatch::Alarm");
    let ours = alarms.flat_map(metrics).filter(|metric| {
        metric.get("Namespace").and_then(Value::as_str) == Some(NAMESPACE)
            && dimensions(metric) == [(DIMENSION, function)]
    });
    ours.filter_map(|metric| metric.get("MetricName")?.as_str()).collect()
}

/// The parts of an alarm on several metrics.
fn queries(alarm: &Resource) -> &[Value] {
    alarm.properties.get("Metrics").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Every metric that an alarm watches.
fn metrics(alarm: &Resource) -> impl Iterator<Item = &Value> {
    let single = alarm.properties.get("MetricName").map(|_| &alarm.properties);
    queries(alarm).iter().filter_map(|query| query.pointer("/MetricStat/Metric")).chain(single)
}

fn dimensions(metric: &Value) -> Vec<(&str, &str)> {
    let dimensions = metric.get("Dimensions").and_then(Value::as_array).into_iter().flatten();
    dimensions.filter_map(|one| Some((one.get("Name")?.as_str()?, one.get("Value")?.as_str()?))).collect()
}

fn metric_rules(metric: &Value, infrastructure: &Infrastructure) -> Option<Rule> {
    let name = metric.get("MetricName").and_then(Value::as_str).unwrap_or_default();
    let nobody = Rule::MetricFromNobody(name.to_owned());
    match (metric.get("Namespace").and_then(Value::as_str), dimensions(metric).as_slice()) {
        (Some("AWS/Lambda"), [("EventSourceMappingUUID", id)]) => {
            let group = MAPPING_METRICS.iter().find(|(_, names)| names.contains(&name)).map(|(group, _)| *group);
            let mappings = infrastructure.resources.iter().filter(|one| one.kind == "AWS::Lambda::EventSourceMapping");
            let sent = mappings.filter(|one| mapping_id(&one.logical_id) == *id).any(|one| {
                let groups = one.properties.pointer("/MetricsConfig/Metrics").and_then(Value::as_array);
                let has_pollers = one.properties.get("ProvisionedPollerConfig").is_some();
                groups.into_iter().flatten().filter_map(Value::as_str).any(|on| Some(on) == group)
                    || (name == POLLERS && has_pollers)
            });
            (!sent).then_some(nobody)
        }
        (Some(NAMESPACE), [(DIMENSION, function)]) => infrastructure.function(function).is_none().then_some(nobody),
        (Some(NAMESPACE), _) => Some(nobody),
        _ => None,
    }
}
