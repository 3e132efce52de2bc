//! An alarm on a metric that nobody sends is silent for ever, and looks healthy; so does one that tells nobody, or that wants more than
//! ever happens.

use std::collections::BTreeSet;

use serde_json::Value;
use thiserror::Error;

use super::Infrastructure;
use super::attributes::mapping_id;
use super::expressions::{alarms_of, is_balanced, unknown_names};
use super::metrics::{
    self, BLOCKED_PER_CENT_MAX, Bad, Brokers, DIMENSION, LAG_OF_ARCHIVE_MAX, Measure, NAMESPACE, Watchable,
};
use super::model::{Resource, decimal};
use super::wiring::{tells_brake, topics};

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
const POLLERS: [&str; 2] = ["ProvisionedPollers", "EventPollerUnit"];
/// Metrics that a running mapping always sends, so that silence is an outage.
const ALWAYS_SENT: [&str; 3] = ["SumOffsetLag", "MaxOffsetLag", "PolledEventCount"];

/// MSK's free level, and the one from which on brokers are monitored one by one.
const FREE_LEVEL: &str = "DEFAULT";
const NEEDED_LEVEL: &str = "PER_BROKER";

/// What keeps an alarm from speaking, or from being heard.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum AlarmRule {
    #[error("wants {datapoints} datapoints of {periods} periods: it can never fire")]
    MoreDatapointsThanPeriods { datapoints: i64, periods: i64 },
    #[error("its expression names \"{0}\", which is neither the id of one of its metrics nor a known function")]
    UnknownMetricId(String),
    #[error("its expression \"{0}\" leaves a bracket open")]
    Unbalanced(String),
    #[error("gives back {0} of its metrics, must be one")]
    NotOneResult(usize),
    #[error("nobody sends metric \"{metric}\" of {namespace} with dimensions {dimensions}: it can never fire")]
    MetricFromNobody { namespace: String, metric: String, dimensions: String },
    #[error("{metric} is sent from monitoring level {NEEDED_LEVEL} on, and the cluster has {level}: it can never fire")]
    NotAtThisLevel { metric: String, level: String },
    #[error("{metric} is not sent by brokers of type {kind}: it can never fire")]
    NotByTheseBrokers { metric: String, kind: String },
    #[error("has threshold {found}; {metric} should speak at {most} at the latest")]
    ThresholdTooHigh { metric: String, found: String, most: String },
    #[error("speaks when {metric} is {comparison}, which is when all is well")]
    WrongSide { metric: String, comparison: String },
    #[error("looks at the {statistic} of {metric}, which says nothing of it")]
    WrongStatistic { metric: String, statistic: String },
    #[error("tells nobody: it has no action, and no composite that has one asks about it")]
    TellsNobody,
    #[error("tells {0}, which is no topic of the stacks")]
    TellsStranger(String),
    #[error("its actions are switched off")]
    ActionsOff,
    #[error("does not say what missing data means")]
    MissingDataUnsaid,
    #[error("takes silence for health, although a mapping that runs always sends {0}: use breaching")]
    SilenceIsHealth(String),
    #[error("takes silence for trouble, although {0} is sent only when there is some: it would never be quiet")]
    SilenceIsTrouble(String),
    #[error("has no description: whoever it wakes must know what it means")]
    Undescribed,
    #[error("its rule cannot be read from here: {0}")]
    UnreadableRule(String),
    #[error("asks about alarm \"{0}\", which no stack declares")]
    UnknownAlarm(String),
    #[error("is no JSON: {0}")]
    UnreadableBoard(String),
    #[error("nobody hears of an alarm in this environment: the topic has no subscriber")]
    NobodySubscribed,
}

/// What is wrong with an alarm, a composite, a board or the topic that all of them tell.
pub(super) fn rules(resource: &Resource, infrastructure: &Infrastructure) -> Vec<AlarmRule> {
    match resource.kind.as_str() {
        "AWS::CloudWatch::Alarm" => {
            let mut rules = action_rules(resource, infrastructure);
            rules.extend(form_rules(resource));
            rules.extend(metric_rules(resource, infrastructure));
            rules
        }
        "AWS::CloudWatch::CompositeAlarm" => {
            let mut rules = action_rules(resource, infrastructure);
            rules.extend(composite_rules(resource, infrastructure));
            rules
        }
        "AWS::CloudWatch::Dashboard" => super::boards::rules(resource, infrastructure),
        "AWS::SNS::Topic" => subscriber_rule(resource, infrastructure).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Names of the metrics in our own namespace that alarms watch of a function.
pub(super) fn watched<'a>(infrastructure: &'a Infrastructure, function: &str) -> BTreeSet<&'a str> {
    let alarms = infrastructure.resources.iter().filter(|resource| resource.kind == "AWS::CloudWatch::Alarm");
    let ours = alarms
        .flat_map(metrics)
        .filter(|metric| text(metric, "Namespace") == NAMESPACE && dimensions(metric) == [(DIMENSION, function)]);
    ours.map(|metric| text(metric, "MetricName")).collect()
}

/// The parts of an alarm on several metrics.
fn queries(alarm: &Resource) -> &[Value] {
    alarm.list("/Metrics")
}

/// Every metric that an alarm watches.
pub(super) fn metrics(alarm: &Resource) -> impl Iterator<Item = &Value> {
    let single = alarm.properties.get("MetricName").map(|_| &alarm.properties);
    queries(alarm).iter().filter_map(|query| query.pointer("/MetricStat/Metric")).chain(single)
}

pub(super) fn dimensions(metric: &Value) -> Vec<(&str, &str)> {
    let dimensions = metric.get("Dimensions").and_then(Value::as_array).into_iter().flatten();
    dimensions.filter_map(|one| Some((one.get("Name")?.as_str()?, one.get("Value")?.as_str()?))).collect()
}

pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(alarm: &Resource, name: &str) -> Option<f64> {
    decimal(alarm.properties.get(name)?)
}

fn too_high(metric: &str, found: f64, most: f64) -> AlarmRule {
    AlarmRule::ThresholdTooHigh { metric: metric.to_owned(), found: found.to_string(), most: most.to_string() }
}

fn action_rules(alarm: &Resource, infrastructure: &Infrastructure) -> Vec<AlarmRule> {
    let mut rules = Vec::new();
    if alarm.properties.get("ActionsEnabled").is_some() && !alarm.is_on("/ActionsEnabled") {
        rules.push(AlarmRule::ActionsOff);
    }
    if alarm.text("/AlarmDescription").unwrap_or_default().trim().is_empty() {
        rules.push(AlarmRule::Undescribed);
    }
    let told: Vec<&str> = alarm.list("/AlarmActions").iter().filter_map(Value::as_str).collect();
    let ours = topics(infrastructure);
    rules.extend(
        told.iter()
            .filter(|arn| !ours.iter().any(|topic| topic == *arn))
            .map(|arn| AlarmRule::TellsStranger((*arn).to_owned())),
    );
    let name = alarm.text("/AlarmName").unwrap_or_default();
    let mut composites = infrastructure
        .resources
        .iter()
        .filter(|one| one.kind == "AWS::CloudWatch::CompositeAlarm" && !one.list("/AlarmActions").is_empty());
    let is_asked = composites.any(|composite| {
        let asked = alarms_of(composite.text("/AlarmRule").unwrap_or_default()).unwrap_or_default();
        asked.iter().any(|asked| asked == name)
    });
    if told.is_empty() && !is_asked {
        rules.push(AlarmRule::TellsNobody);
    }
    rules
}

fn form_rules(alarm: &Resource) -> Vec<AlarmRule> {
    let mut rules = Vec::new();
    let periods = alarm.integer("/EvaluationPeriods").unwrap_or(1);
    if let Some(datapoints) = alarm.integer("/DatapointsToAlarm").filter(|datapoints| *datapoints > periods) {
        rules.push(AlarmRule::MoreDatapointsThanPeriods { datapoints, periods });
    }
    if alarm.text("/TreatMissingData").is_none() {
        rules.push(AlarmRule::MissingDataUnsaid);
    }
    let queries = queries(alarm);
    let ids: BTreeSet<&str> = queries.iter().filter_map(|query| query.get("Id")?.as_str()).collect();
    for expression in queries.iter().filter_map(|query| query.get("Expression")?.as_str()) {
        let unknown = unknown_names(expression, |word| ids.contains(word));
        rules.extend(unknown.into_iter().map(|word| AlarmRule::UnknownMetricId(word.to_owned())));
        if !is_balanced(expression) {
            rules.push(AlarmRule::Unbalanced(expression.to_owned()));
        }
    }
    // Left out it is given back.
    let results = queries.iter().filter(|query| query.get("ReturnData") != Some(&Value::Bool(false))).count();
    if !queries.is_empty() && results != 1 {
        rules.push(AlarmRule::NotOneResult(results));
    }
    rules
}

fn metric_rules(alarm: &Resource, infrastructure: &Infrastructure) -> Vec<AlarmRule> {
    let mut rules = Vec::new();
    for metric in metrics(alarm) {
        rules.extend(known(metric, infrastructure).err());
    }
    if alarm.properties.get("MetricName").is_some() {
        if let Ok(watchable) = known(&alarm.properties, infrastructure) {
            rules.extend(single_rules(alarm, watchable, infrastructure));
        }
    } else {
        rules.extend(math_rule(alarm, infrastructure));
    }
    rules
}

/// The largest sensible threshold of an alarm on several metrics, where what it gives back says one: a share of a hundred, or the worst of
/// several brokers.
fn math_rule(alarm: &Resource, infrastructure: &Infrastructure) -> Option<AlarmRule> {
    let expressions = || queries(alarm).iter().filter_map(|query| query.get("Expression")?.as_str());
    let names: BTreeSet<&str> = metrics(alarm).map(|metric| text(metric, "MetricName")).collect();
    let is_share = expressions().any(|one| one.contains("100 *"));
    let is_worst = expressions().any(|one| one.contains("METRICS()")) && names.len() == 1;
    let is_brake = tells_brake(alarm, infrastructure);
    let (what, most) = match names.iter().next() {
        Some(_) if is_share && names.contains("Blocked") && !is_brake => ("blocked decisions", BLOCKED_PER_CENT_MAX),
        Some(_) if is_share => ("a share", 100.0),
        Some(name) if is_worst => (*name, known(metrics(alarm).next()?, infrastructure).ok()?.most),
        _ => return None,
    };
    let found = number(alarm, "Threshold").filter(|found| *found > most)?;
    Some(too_high(what, found, most))
}

/// What is wrong with an alarm on one metric that is sent.
fn single_rules(alarm: &Resource, watchable: Watchable, infrastructure: &Infrastructure) -> Vec<AlarmRule> {
    let mut rules = Vec::new();
    let metric = alarm.text("/MetricName").unwrap_or_default().to_owned();
    let most = if tells_brake(alarm, infrastructure) { watchable.most_of_brake } else { watchable.most };
    let of_archive = metric.ends_with("OffsetLag") && keeps_everything(alarm, infrastructure);
    let most = if of_archive { most.max(LAG_OF_ARCHIVE_MAX) } else { most };
    if let Some(found) = number(alarm, "Threshold").filter(|found| *found > most) {
        rules.push(too_high(&metric, found, most));
    }
    let comparison = alarm.text("/ComparisonOperator").unwrap_or_default();
    let statistic = alarm.text("/Statistic").or(alarm.text("/ExtendedStatistic")).unwrap_or_default();
    // Fewer values than one is that nothing ran at all.
    if statistic == "SampleCount" && comparison.starts_with("LessThan") {
        let is_heard = alarm.text("/TreatMissingData") == Some("breaching");
        rules.extend((!is_heard).then_some(AlarmRule::SilenceIsHealth(metric)));
        return rules;
    }
    let is_right = match watchable.bad {
        Bad::Above => comparison.starts_with("GreaterThan"),
        Bad::Below => comparison.starts_with("LessThan"),
    };
    if !is_right {
        rules.push(AlarmRule::WrongSide { metric: metric.clone(), comparison: comparison.to_owned() });
    }
    // Of a count the highest single value says whether there was any, and nothing else.
    let says_something = match watchable.measure {
        Measure::Count => statistic == "Sum",
        Measure::Level => matches!(statistic, "Average" | "Maximum" | "Minimum") || statistic.starts_with('p'),
    };
    if !says_something {
        rules.push(AlarmRule::WrongStatistic { metric: metric.clone(), statistic: statistic.to_owned() });
    }
    rules.extend(silence_rule(alarm, &metric, infrastructure));
    rules
}

/// Whether an alarm is on a mapping that gives no record up.
fn keeps_everything(alarm: &Resource, infrastructure: &Infrastructure) -> bool {
    infrastructure.mappings.iter().any(|mapping| {
        mapping.maximum_record_age.is_none()
            && dimensions(&alarm.properties).iter().any(|(_, id)| *id == mapping_id(&mapping.logical_id))
    })
}

/// The mapping of the main job must not fall silent where customers wait, and what is sent only in trouble must be allowed to.
fn silence_rule(alarm: &Resource, metric: &str, infrastructure: &Infrastructure) -> Option<AlarmRule> {
    let is_trouble = alarm.text("/TreatMissingData") == Some("breaching");
    let always = ALWAYS_SENT.contains(&metric) && text(&alarm.properties, "Namespace") == "AWS/Lambda";
    if is_trouble && !always {
        return Some(AlarmRule::SilenceIsTrouble(metric.to_owned()));
    }
    let of_main_job = infrastructure.mappings.iter().any(|mapping| {
        let main = infrastructure.function(&mapping.function).is_some_and(super::mappings::keeps_offsets);
        main && dimensions(&alarm.properties).iter().any(|(_, id)| *id == mapping_id(&mapping.logical_id))
    });
    let must_speak = always && of_main_job && infrastructure.is_for_customers();
    (must_speak && !is_trouble && !tells_brake(alarm, infrastructure))
        .then(|| AlarmRule::SilenceIsHealth(metric.to_owned()))
}

/// What is known of a metric, if anybody sends it.
pub(super) fn known(metric: &Value, infrastructure: &Infrastructure) -> Result<Watchable, AlarmRule> {
    let (namespace, name) = (text(metric, "Namespace"), text(metric, "MetricName"));
    let dimensions = dimensions(metric);
    let found = if namespace == NAMESPACE {
        let of = match dimensions.as_slice() {
            [(DIMENSION, function)] => infrastructure.function(function),
            _ => None,
        };
        of.and_then(|function| metrics::of_function(&function.binary, name, infrastructure))
    } else {
        let declared = dimensions.iter().all(|(kind, value)| is_declared(kind, value, &dimensions, infrastructure));
        metrics::of_aws(namespace, name, &dimensions).filter(|_| declared && is_sent(name, &dimensions, infrastructure))
    };
    let named = || dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ");
    let watchable = found.ok_or_else(|| AlarmRule::MetricFromNobody {
        namespace: namespace.to_owned(),
        metric: name.to_owned(),
        dimensions: format!("[{}]", named()),
    })?;
    sent_by_brokers(name, watchable.brokers, &dimensions, infrastructure)?;
    Ok(watchable)
}

/// Whether the brokers of a metric's cluster send it, by their type and by the level at which they are monitored.
fn sent_by_brokers(
    metric: &str,
    brokers: Brokers,
    dimensions: &[(&str, &str)],
    infrastructure: &Infrastructure,
) -> Result<(), AlarmRule> {
    let name = dimensions.iter().find(|(kind, _)| *kind == "Cluster Name").map(|(_, name)| *name);
    let mut clusters = infrastructure.resources.iter().filter(|one| one.kind == "AWS::MSK::Cluster");
    let Some(cluster) = clusters.find(|one| name.is_some() && one.text("/ClusterName") == name) else { return Ok(()) };
    let kind = cluster.text("/BrokerNodeGroupInfo/InstanceType").unwrap_or_default();
    let level = cluster.text("/EnhancedMonitoring").unwrap_or(FREE_LEVEL);
    let (metric, is_express) = (metric.to_owned(), kind.starts_with("express."));
    match brokers {
        Brokers::OneByOne if level == FREE_LEVEL => Err(AlarmRule::NotAtThisLevel { metric, level: level.to_owned() }),
        Brokers::Standard if is_express => Err(AlarmRule::NotByTheseBrokers { metric, kind: kind.to_owned() }),
        Brokers::Express if !is_express => Err(AlarmRule::NotByTheseBrokers { metric, kind: kind.to_owned() }),
        _ => Ok(()),
    }
}

/// Whether a dimension names something that the stacks declare.
fn is_declared(kind: &str, value: &str, all: &[(&str, &str)], infrastructure: &Infrastructure) -> bool {
    let has = |kind: &str, pointer: &str| {
        infrastructure.resources.iter().any(|one| one.kind == kind && one.text(pointer) == Some(value))
    };
    match kind {
        "FunctionName" => infrastructure.function(value).is_some(),
        "EventSourceMappingUUID" => infrastructure
            .resources
            .iter()
            .any(|one| one.kind == "AWS::Lambda::EventSourceMapping" && mapping_id(&one.logical_id) == value),
        "TableName" => infrastructure.tables.iter().any(|table| table.name == value),
        "StreamName" => infrastructure.streams.iter().any(|stream| stream.name == value),
        "QueueName" => has("AWS::SQS::Queue", "/QueueName"),
        "Cluster Name" => has("AWS::MSK::Cluster", "/ClusterName"),
        "Broker ID" => {
            let clusters = infrastructure.resources.iter().filter(|one| one.kind == "AWS::MSK::Cluster");
            let brokers = clusters.filter_map(|cluster| cluster.integer("/NumberOfBrokerNodes")).max().unwrap_or(0);
            value.parse::<i64>().is_ok_and(|id| (1..=brokers).contains(&id))
        }
        "Consumer Group" => infrastructure.mappings.iter().any(|mapping| {
            mapping.consumer_group == value
                && all.iter().any(|(name, topic)| *name == "Topic" && *topic == mapping.topic)
        }),
        "ApiId" => {
            infrastructure.resources.iter().any(|one| one.kind == "AWS::ApiGatewayV2::Api" && one.logical_id == value)
        }
        _ => true,
    }
}

/// Whether a mapping has the group of a metric switched on; true of what is not a mapping's.
fn is_sent(name: &str, dimensions: &[(&str, &str)], infrastructure: &Infrastructure) -> bool {
    let [("EventSourceMappingUUID", id)] = dimensions else { return true };
    let group = MAPPING_METRICS.iter().find(|(_, names)| names.contains(&name)).map(|(group, _)| *group);
    let mappings = infrastructure.resources.iter().filter(|one| one.kind == "AWS::Lambda::EventSourceMapping");
    mappings.filter(|one| mapping_id(&one.logical_id) == *id).any(|one| {
        let has_pollers = one.properties.get("ProvisionedPollerConfig").is_some();
        one.list("/MetricsConfig/Metrics").iter().any(|on| on.as_str() == group && group.is_some())
            || (POLLERS.contains(&name) && has_pollers)
    })
}

fn composite_rules(composite: &Resource, infrastructure: &Infrastructure) -> Vec<AlarmRule> {
    let rule = composite.text("/AlarmRule").unwrap_or_default();
    let mut asked = match alarms_of(rule) {
        Ok(asked) => asked,
        Err(rest) => return vec![AlarmRule::UnreadableRule(rest)],
    };
    asked.extend(composite.text("/ActionsSuppressor").map(str::to_owned));
    let is_declared = |name: &str| {
        infrastructure
            .resources
            .iter()
            .any(|one| one.kind.starts_with("AWS::CloudWatch::") && one.text("/AlarmName") == Some(name))
    };
    asked.into_iter().filter(|name| !is_declared(name)).map(AlarmRule::UnknownAlarm).collect()
}

/// A topic that alarms tell has somebody who hears it, where customers wait.
fn subscriber_rule(topic: &Resource, infrastructure: &Infrastructure) -> Option<AlarmRule> {
    let arn = super::attributes::topic_arn_of(topic.text("/TopicName")?);
    let mut subscriptions = infrastructure.resources.iter().filter(|one| one.kind == "AWS::SNS::Subscription");
    let is_heard = subscriptions.any(|one| {
        one.text("/TopicArn") == Some(&arn) && one.text("/Endpoint").is_some_and(|endpoint| !endpoint.is_empty())
    });
    (infrastructure.is_for_customers() && !is_heard).then_some(AlarmRule::NobodySubscribed)
}
