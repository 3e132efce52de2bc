//! What must be watched: an alarm that was taken away is missed by nobody until it should have spoken.

use std::collections::BTreeSet;

use serde_json::Value;
use thiserror::Error;

use super::alarms::{dimensions, metrics, text};
use super::attributes::mapping_id;
use super::expressions::alarms_of;
use super::mappings::keeps_offsets;
use super::metrics::{DIMENSION, NAMESPACE};
use super::model::{Function, Resource};
use super::wiring::tells_brake;
use super::{Infrastructure, TriggerSource};

/// What must not happen, or not stop to happen, by function and the metric that counts it.
const NEVER: [(&str, &[&str]); 9] = [
    (
        "score-transactions",
        &[
            "Conflicts",
            "Duplicates",
            "FullRings",
            "Guarded",
            "IdConflicts",
            "MarkersRetired",
            "MarksDropped",
            "OldestRecordMilliseconds",
            "OrderTripwire",
            "Parked",
            "StateUnreadable",
            "Unsettled",
        ],
    ),
    ("track-user-actions", &["DeadLettered", "StateUnreadable"]),
    ("apply-labels", &["DeadLettered", "StateUnreadable"]),
    ("archive-records", &["Failed", "Unplaced"]),
    ("compact-lake", &["FailedHours", "Hours", "UnfinishedHours", "UnreadableObjects"]),
    ("decisions-api", &["Failed"]),
    ("guard-costs", &["MissingTargets"]),
    ("index-decisions", &["StateUnreadable", "Unreadable"]),
    ("rollup-metrics", &["Unreadable"]),
];

/// Something that nothing watches.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum MissingAlarm {
    #[error("no alarm watches {metric} of it: {why}")]
    NotWatched { metric: &'static str, why: &'static str },
    #[error("no alarm watches that it takes more than 500 ms {0}")]
    SlowUnnoticed(&'static str),
    #[error("no alarm watches what a million decisions cost")]
    CostUnwatched,
    #[error("no alarm watches how many of its decisions block, from a minimum of them upwards")]
    BlockRateUnwatched,
    #[error("no alarm watches whether many more of its decisions block than usually do")]
    JumpUnwatched,
    #[error("no alarm watches whether none of its decisions blocks any more")]
    NothingBlockedUnwatched,
    #[error("no alarm watches {0}: {1}")]
    AccountUnwatched(&'static str, &'static str),
    #[error("alarm \"{0}\" says that customers wait, and no composite asks about it: nobody is woken")]
    WakesNobody(String),
}

/// What should watch one resource and does not.
pub(super) fn rules(resource: &Resource, infrastructure: &Infrastructure) -> Vec<MissingAlarm> {
    let watch = Watch(infrastructure);
    match resource.kind.as_str() {
        "AWS::Lambda::Function" => function_rules(resource, &watch),
        "AWS::Lambda::EventSourceMapping" => mapping_rules(resource, &watch),
        "AWS::SQS::Queue" => {
            let name = resource.text("/QueueName").unwrap_or_default();
            let why = "somebody must look at what was given up";
            watch.all("AWS/SQS", &[("ApproximateNumberOfMessagesVisible", why)], "QueueName", name)
        }
        "AWS::DynamoDB::Table" => {
            let name = resource.text("/TableName").unwrap_or_default();
            let watched = ["WriteThrottleEvents", "ThrottledRequests", "ReadThrottleEvents"];
            let is_watched = watched.iter().any(|metric| watch.any("AWS/DynamoDB", metric, "TableName", name));
            let why = "throttled writes are decisions that come late";
            not_watched(is_watched, "WriteThrottleEvents", why).into_iter().collect()
        }
        "AWS::Kinesis::Stream" => {
            let name = resource.text("/Name").unwrap_or_default();
            let wanted = [
                ("WriteProvisionedThroughputExceeded", "refused records are decisions that come late"),
                ("ReadProvisionedThroughputExceeded", "readers that get in each other's way fall behind"),
            ];
            watch.all("AWS/Kinesis", &wanted, "StreamName", name)
        }
        "AWS::MSK::Cluster" => cluster_rules(resource, &watch),
        _ => Vec::new(),
    }
}

fn not_watched(is_watched: bool, metric: &'static str, why: &'static str) -> Option<MissingAlarm> {
    (!is_watched).then_some(MissingAlarm::NotWatched { metric, why })
}

/// What the alarms of an environment watch.
struct Watch<'a>(&'a Infrastructure);

impl<'a> Watch<'a> {
    fn alarms(&self) -> impl Iterator<Item = &'a Resource> {
        self.0.resources.iter().filter(|one| one.kind == "AWS::CloudWatch::Alarm")
    }

    /// Whether an alarm for people watches the metric with a dimension of this value.
    fn any(&self, namespace: &str, metric: &str, dimension: &str, value: &str) -> bool {
        self.alarms().filter(|alarm| !tells_brake(alarm, self.0)).flat_map(metrics).any(|watched| {
            text(watched, "Namespace") == namespace
                && text(watched, "MetricName") == metric
                && dimensions(watched).contains(&(dimension, value))
        })
    }

    fn all(
        &self,
        namespace: &str,
        wanted: &[(&'static str, &'static str)],
        dimension: &str,
        value: &str,
    ) -> Vec<MissingAlarm> {
        let missing = wanted.iter().filter(|(metric, _)| !self.any(namespace, metric, dimension, value));
        missing.map(|&(metric, why)| MissingAlarm::NotWatched { metric, why }).collect()
    }
}

fn function_rules(declared: &Resource, watch: &Watch<'_>) -> Vec<MissingAlarm> {
    let name = declared.text("/FunctionName").unwrap_or_default();
    let Some(function) = watch.0.function(name) else { return Vec::new() };
    let wanted = [
        ("Errors", "failed invocations are tried again, and paid, until somebody looks"),
        ("Throttles", "throttled invocations are neither invocations nor errors"),
    ];
    let mut rules = watch.all("AWS/Lambda", &wanted, "FunctionName", name);
    let never = NEVER.iter().find(|(binary, _)| *binary == function.binary).map_or(&[] as &[&str], |(_, never)| *never);
    let why = "it must not happen unseen";
    rules.extend(
        never
            .iter()
            .filter(|metric| !watch.any(NAMESPACE, metric, DIMENSION, name))
            .map(|&metric| MissingAlarm::NotWatched { metric, why }),
    );
    // The main job; whoever looks its offsets up decides nothing.
    if !keeps_offsets(function) || watch.0.mappings.iter().all(|mapping| mapping.function != name) {
        return rules;
    }
    let processing = |statistic: &str| {
        watch.alarms().any(|alarm| {
            alarm.text("/MetricName") == Some("ProcessingMilliseconds")
                && dimensions(&alarm.properties).contains(&(DIMENSION, name))
                && [alarm.text("/Statistic"), alarm.text("/ExtendedStatistic")].contains(&Some(statistic))
        })
    };
    rules.extend((!processing("Average")).then_some(MissingAlarm::SlowUnnoticed("on average")));
    rules.extend((!processing("p99")).then_some(MissingAlarm::SlowUnnoticed("in one of a hundred")));
    let is_share = |alarm: &Resource| {
        let names: BTreeSet<&str> = metrics(alarm).map(|metric| text(metric, "MetricName")).collect();
        let expressions = alarm.list("/Metrics").iter().filter_map(|query| query.get("Expression")?.as_str());
        let expressions: Vec<&str> = expressions.collect();
        // Nothing is divided by nothing, and a handful of decisions is no rate.
        let from_a_minimum =
            expressions.iter().any(|one| one.contains('/') && one.contains("IF(") && one.contains(">="));
        names.contains("Blocked") && names.contains("Decided") && from_a_minimum && !tells_brake(alarm, watch.0)
    };
    let is_low = |alarm: &Resource| alarm.text("/ComparisonOperator").is_some_and(|one| one.starts_with("LessThan"));
    let shares = || watch.alarms().filter(|alarm| is_share(alarm));
    rules.extend(shares().all(is_low).then_some(MissingAlarm::BlockRateUnwatched));
    rules.extend((!shares().any(is_low)).then_some(MissingAlarm::NothingBlockedUnwatched));
    let is_jump = |alarm: &Resource| {
        let mut expressions = alarm.list("/Metrics").iter().filter_map(|query| query.get("Expression")?.as_str());
        metrics(alarm).any(|metric| text(metric, "MetricName") == "Blocked")
            && expressions.any(|one| one.contains("AVG("))
    };
    rules.extend((!watch.alarms().any(is_jump)).then_some(MissingAlarm::JumpUnwatched));
    rules.extend(around_rules(function, watch));
    let is_cost = |alarm: &Resource| {
        let mut expressions = alarm.list("/Metrics").iter().filter_map(|query| query.get("Expression")?.as_str());
        expressions.any(|one| one.contains("1000000 *") && one.contains("/ decided"))
    };
    rules.extend((!watch.alarms().any(is_cost)).then_some(MissingAlarm::CostUnwatched));
    rules
}

/// The sum over all functions of the account.
pub(super) fn is_account_concurrency(metric: &Value) -> bool {
    text(metric, "MetricName") == "ConcurrentExecutions" && dimensions(metric).is_empty()
}

/// What the main job stands on: its table's cap, the account's, and that somebody is woken when customers wait.
fn around_rules(function: &Function, watch: &Watch<'_>) -> Vec<MissingAlarm> {
    let table = function.environment.get("USER_TABLE").map(String::as_str).unwrap_or_default();
    let why = "at its cap every further write is refused";
    let wanted = [("ConsumedWriteCapacityUnits", why)];
    let mut rules = watch.all("AWS/DynamoDB", &wanted, "TableName", table);
    if !watch.alarms().flat_map(metrics).any(is_account_concurrency) {
        let why = "when the account has none left, every function waits";
        rules.push(MissingAlarm::AccountUnwatched("the account's ConcurrentExecutions", why));
    }
    let mapping = watch.0.mappings.iter().find(|mapping| mapping.function == function.name);
    let id = mapping.map(|mapping| mapping_id(&mapping.logical_id)).unwrap_or_default();
    let waking = watch.alarms().filter(|alarm| !tells_brake(alarm, watch.0)).filter(|alarm| {
        let is_of = |value: &str| dimensions(&alarm.properties).iter().any(|(_, of)| *of == value);
        let metric = alarm.text("/MetricName").unwrap_or_default();
        (matches!(metric, "SumOffsetLag" | "PolledEventCount") && is_of(&id))
            || (metric == "ProcessingMilliseconds" && is_of(&function.name))
    });
    for alarm in waking {
        let name = alarm.text("/AlarmName").unwrap_or_default();
        let composites = watch.0.resources.iter().filter(|one| one.kind == "AWS::CloudWatch::CompositeAlarm");
        let told = composites.filter(|composite| !composite.list("/AlarmActions").is_empty());
        let mut asked = told.flat_map(|one| alarms_of(one.text("/AlarmRule").unwrap_or_default()).unwrap_or_default());
        rules.extend((!asked.any(|asked| asked == name)).then(|| MissingAlarm::WakesNobody(name.to_owned())));
    }
    rules
}

fn mapping_rules(declared: &Resource, watch: &Watch<'_>) -> Vec<MissingAlarm> {
    let of_it = |file: &str, id: &str| file == declared.file && id == declared.logical_id;
    let id = mapping_id(&declared.logical_id);
    if let Some(mapping) = watch.0.mappings.iter().find(|one| of_it(&one.file, &one.logical_id)) {
        let mut wanted = vec![("SumOffsetLag", "records wait, or nobody reads them")];
        if mapping.on_failure_topic.is_some() {
            wanted
                .push(("OnFailureDestinationDeliveredEventCount", "records that are given up make the lag look well"));
            wanted.push(("DroppedEventCount", "records were lost"));
        }
        let mut late = Vec::new();
        if watch.0.function(&mapping.function).is_some_and(keeps_offsets) {
            wanted.push(("PolledEventCount", "a mapping that does not poll has no lag to show"));
            wanted.push((
                "OnFailureDestinationDeliveryErrorCount",
                "what cannot be dead-lettered holds up its partition",
            ));
            let why = "what waits too long is given up, and then deleted unread";
            late = watch.all("AWS/Kafka", &[("EstimatedMaxTimeLag", why)], "Consumer Group", &mapping.consumer_group);
        }
        return watch.all("AWS/Lambda", &wanted, "EventSourceMappingUUID", &id).into_iter().chain(late).collect();
    }
    let of_stream = |trigger: &&super::Trigger| {
        of_it(&trigger.file, &trigger.logical_id) && matches!(trigger.source, TriggerSource::Kinesis(_))
    };
    let Some(trigger) = watch.0.triggers.iter().find(of_stream) else { return Vec::new() };
    let is_off = declared.properties.get("Enabled").is_some_and(|on| *on == Value::Bool(false) || on == "false");
    if is_off {
        return Vec::new();
    }
    let wanted = [("IteratorAge", "records wait until the stream forgets them")];
    watch.all("AWS/Lambda", &wanted, "FunctionName", &trigger.function)
}

fn cluster_rules(cluster: &Resource, watch: &Watch<'_>) -> Vec<MissingAlarm> {
    let name = cluster.text("/ClusterName").unwrap_or_default();
    let size = cluster.text("/BrokerNodeGroupInfo/InstanceType").unwrap_or_default();
    let mut wanted = vec![
        ("CpuIdle", "brokers that are busy answer late"),
        ("PartitionCount", "MSK refuses updates of brokers that have too many"),
        ("ConnectionCount", "brokers refuse more than 3,000 clients"),
    ];
    // Sent at every level, but AWS keeps them of Express brokers to itself.
    if !size.starts_with("express.") {
        wanted.push(("OfflinePartitionsCount", "nothing can be written to a partition without a leader"));
        wanted.push(("UnderMinIsrPartitionCount", "producers are refused"));
        wanted.push(("KafkaDataLogsDiskUsed", "a broker whose disk is full stops"));
    }
    // Sent where brokers are monitored one by one, as they are where customers wait.
    if watch.0.is_for_customers() {
        wanted.push(("IAMTooManyConnections", "brokers refuse who opens too many connections at once"));
    }
    watch.all("AWS/Kafka", &wanted, "Cluster Name", name)
}
