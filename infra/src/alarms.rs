//! An alarm on a metric that nobody sends is silent for ever, and looks healthy.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Infrastructure;
use super::attributes::mapping_id;
use super::model::Resource;
use super::rules::{Rule, integer};

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

/// What keeps an alarm from ever firing.
pub(super) fn rules(alarm: &Resource, infrastructure: &Infrastructure) -> Vec<Rule> {
    let mut rules = Vec::new();
    let periods = integer(alarm, "/EvaluationPeriods").unwrap_or(1);
    if let Some(datapoints) = integer(alarm, "/DatapointsToAlarm").filter(|datapoints| *datapoints > periods) {
        rules.push(Rule::MoreDatapointsThanPeriods { datapoints, periods });
    }
    let queries = alarm.properties.get("Metrics").and_then(Value::as_array);
    let queries: Vec<&Value> = queries.into_iter().flatten().collect();
    let single = alarm.properties.get("MetricName").map(|_| &alarm.properties);
    let metrics = queries.iter().filter_map(|query| query.pointer("/MetricStat/Metric")).chain(single);
    for metric in metrics {
        rules.extend(metric_rules(metric, infrastructure));
    }
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

fn metric_rules(metric: &Value, infrastructure: &Infrastructure) -> Option<Rule> {
    let name = metric.get("MetricName").and_then(Value::as_str).unwrap_or_default();
    let dimensions: Vec<(&str, &str)> = metric
        .get("Dimensions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|dimension| Some((dimension.get("Name")?.as_str()?, dimension.get("Value")?.as_str()?)))
        .collect();
    let nobody = Rule::MetricFromNobody(name.to_owned());
    match (metric.get("Namespace").and_then(Value::as_str), dimensions.as_slice()) {
        (Some("AWS/Lambda"), [("EventSourceMappingUUID", id)]) => {
            let group = MAPPING_METRICS.iter().find(|(_, names)| names.contains(&name)).map(|(group, _)| *group);
            let mappings = infrastructure.resources.iter().filter(|one| one.kind == "AWS::Lambda::EventSourceMapping");
            let sent = mappings.filter(|one| mapping_id(&one.logical_id) == *id).any(|one| {
                let groups = one.properties.pointer("/MetricsConfig/Metrics").and_then(Value::as_array);
                groups.into_iter().flatten().filter_map(Value::as_str).any(|on| Some(on) == group)
            });
            (!sent).then_some(nobody)
        }
        (Some("Centinela"), [("Function", function)]) => infrastructure.function(function).is_none().then_some(nobody),
        (Some("Centinela"), _) => Some(nobody),
        _ => None,
    }
}
