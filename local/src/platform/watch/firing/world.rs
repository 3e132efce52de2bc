//! A system whose minutes are made of what happens in them.

use std::collections::BTreeMap;

use centinela_cloudwatch::{Datum, MINUTE_MS, MetricId, State, emf};
use centinela_http_front::ApiCounts;
use centinela_infra::Infrastructure;
use centinela_lambda_host::Durations;
use centinela_lambda_host::mapping::MappingStats;

use super::super::{Measured, Watch, lock};
use crate::platform::mapped::MappingKey;
use crate::platform::observing::PlatformStats;

/// Noon of some day.
const NOON_MS: i64 = 1_795_867_200_000;
/// Values that a metric line may hold.
const VALUES_OF_A_LINE: usize = 100;
/// Lines of them, so that there are enough for a percentile.
const LINES: usize = 12;

/// What happens in a minute.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// A metric has this value, or this many more are counted.
    Value(MetricId, f64),
    /// It has this value very often.
    Many(MetricId, f64),
    /// It is not sent at all.
    Silence(MetricId),
}

/// A system under a watch.
pub struct World {
    stacks: Infrastructure,
    watch: Watch,
    stats: PlatformStats,
    told: BTreeMap<String, usize>,
    minute: i64,
}

impl World {
    pub fn new(stacks: Infrastructure) -> Self {
        let watch = Watch::new(&stacks, NOON_MS).expect("the alarms can be evaluated");
        let mut stats = PlatformStats::default();
        for function in &stacks.functions {
            stats.functions.entry(function.name.clone()).or_default();
        }
        stats.mappings = keys(&stacks).map(|key| (key, MappingStats::default())).collect();
        stats.streams = Some(Default::default());
        Self { stacks, watch, stats, told: BTreeMap::new(), minute: 0 }
    }

    /// Lets a minute pass in which this happens.
    pub fn minute(&mut self, happenings: &[Happening]) {
        let mut moment = Moment::default();
        // What is not said of this minute is at rest.
        self.stats.functions.values_mut().for_each(|function| function.busy = 0);
        self.stats.mappings.values_mut().for_each(|mapping| (mapping.lag, mapping.lag_max) = (0, 0));
        happenings.iter().for_each(|happening| self.happens(happening, &mut moment));
        let from_ms = NOON_MS + self.minute * MINUTE_MS;
        let mut inner = lock(&self.watch.inner);
        for line in moment.lines(from_ms + MINUTE_MS / 2) {
            inner.take(&emf::read(&line).expect("a line as a function writes it"));
        }
        for (metric, value) in moment.fed {
            inner.store.put(&Datum::one(metric, from_ms + MINUTE_MS / 2, value));
        }
        drop(inner);
        self.minute += 1;
        let enabled = keys(&self.stacks).filter(|key| !moment.silent.contains(key)).collect();
        let (durations, apis) = (moment.durations, moment.apis);
        let measured = Measured { stats: self.stats.clone(), durations, apis, enabled };
        let (events, notices) = self.watch.observe(from_ms + MINUTE_MS + 1, || measured);
        for event in events.iter().filter(|event| event.to == State::Alarm) {
            *self.told.entry(event.alarm.clone()).or_default() += event.actions.len();
        }
        assert!(notices.iter().all(|notice| notice.subject.is_ascii() && notice.message.contains("AlarmName")));
    }

    pub fn state(&self, alarm: &str) -> State {
        self.of(alarm).state
    }

    pub fn reason(&self, alarm: &str) -> String {
        self.of(alarm).reason
    }

    /// How many topics it has told that it speaks.
    pub fn told(&self, alarm: &str) -> usize {
        self.told.get(alarm).copied().unwrap_or(0)
    }

    /// The alarms that speak, and why.
    pub fn speaking(&self) -> Vec<String> {
        let alarms = self.watch.alarms().into_iter().filter(|alarm| alarm.state == State::Alarm);
        alarms.map(|alarm| format!("{}: {}", alarm.name, alarm.reason)).collect()
    }

    fn of(&self, alarm: &str) -> super::super::AlarmView {
        let found = self.watch.alarms().into_iter().find(|view| view.name == alarm);
        found.unwrap_or_else(|| panic!("there is no alarm {alarm}"))
    }

    fn happens(&mut self, happening: &Happening, moment: &mut Moment) {
        match happening {
            Happening::Value(metric, value) => self.has(metric, *value, moment),
            Happening::Many(metric, value) => {
                moment.values.entry(function_of(metric)).or_default().insert(metric.name.clone(), *value);
            }
            // A function's metric is silent anyway; of a mapping's, somebody has switched it off.
            Happening::Silence(metric) => moment.silent.extend(self.key(metric)),
        }
    }

    fn key(&self, metric: &MetricId) -> Option<MappingKey> {
        let uuid = metric.dimensions.get("EventSourceMappingUUID")?;
        let mut mappings = self.stacks.mappings.iter();
        let mapping = mappings.find(|mapping| Infrastructure::mapping_id(&mapping.logical_id) == *uuid)?;
        Some(MappingKey { topic: mapping.topic.clone(), function: mapping.function.clone() })
    }

    fn has(&mut self, metric: &MetricId, value: f64, moment: &mut Moment) {
        let whole = whole(value);
        let of = |name: &str| metric.dimensions.get(name).cloned().unwrap_or_default();
        match (metric.namespace.as_str(), metric.name.as_str()) {
            ("Centinela", name) => {
                let counts = moment.counts.entry(function_of(metric)).or_default();
                let count = counts.entry(name.to_owned()).or_insert(value);
                *count = count.max(value);
            }
            ("AWS/Lambda", "ProvisionedPollers") => moment.fed.push((metric.clone(), value)),
            ("AWS/Lambda", name) if metric.dimensions.contains_key("EventSourceMappingUUID") => {
                let stats = self.key(metric).and_then(|key| self.stats.mappings.get_mut(&key));
                of_mapping(stats.expect("a mapping of the stacks"), name, whole);
            }
            ("AWS/Lambda", "IteratorAge") => {
                let is_stream = |topic: &str| self.stacks.streams.iter().any(|stream| stream.name == topic);
                let is_it = |key: &&MappingKey| key.function == of("FunctionName") && is_stream(&key.topic);
                let key = self.stats.mappings.keys().find(is_it).cloned().expect("a function of a stream");
                let stats = self.stats.mappings.entry(key).or_default();
                (stats.iterator_age_ms, stats.batches) = (whole, stats.batches + 1);
            }
            ("AWS/Lambda", name) => self.of_function(&of("FunctionName"), name, value, moment),
            ("AWS/Kafka", name) if metric.dimensions.contains_key("Consumer Group") => {
                let group = of("Consumer Group");
                let mut mappings = self.stacks.mappings.iter();
                let mapping = mappings.find(|mapping| mapping.consumer_group == group).expect("a group of the stacks");
                let key = MappingKey { topic: mapping.topic.clone(), function: mapping.function.clone() };
                let stats = self.stats.mappings.entry(key).or_default();
                stats.end = stats.end.max(1);
                // How long it waits is a matter of minutes, not of records.
                of_mapping(stats, "SumOffsetLag", if name == "EstimatedMaxTimeLag" { 1 } else { whole });
            }
            ("AWS/DynamoDB", name) if !name.starts_with("Provisioned") => {
                let table = self.stats.dynamodb.tables.entry(of("TableName")).or_default();
                match name {
                    "ConsumedWriteCapacityUnits" => table.write_units += value,
                    "ConsumedReadCapacityUnits" => table.read_units += value,
                    "WriteThrottleEvents" => table.write_throttles += whole,
                    "ReadThrottleEvents" => table.read_throttles += whole,
                    other => panic!("nobody counts {other}"),
                }
            }
            ("AWS/Kinesis", "IncomingRecords") => self.streams().records += whole,
            ("AWS/Kinesis", "WriteProvisionedThroughputExceeded") => self.streams().throttled += whole,
            ("AWS/ApiGateway", "5xx") => {
                let counts = moment.apis.entry(of("ApiId").to_lowercase()).or_default();
                (counts.requests, counts.errors_5xx) = (counts.requests + whole, counts.errors_5xx + whole);
            }
            // What only AWS knows: brokers, queues, provisioned capacity.
            ("AWS/Kafka" | "AWS/DynamoDB" | "AWS/Kinesis" | "AWS/SQS" | "AWS/Billing", _) => {
                moment.fed.push((metric.clone(), value));
            }
            other => panic!("nobody sends {other:?}"),
        }
    }

    fn of_function(&mut self, function: &str, name: &str, value: f64, moment: &mut Moment) {
        // A metric without a dimension is that of all functions.
        let function = if function.is_empty() { "score-transactions" } else { function };
        let function = self.stats.functions.keys().find(|name| name.ends_with(function)).cloned();
        let function = function.expect("a function of the stacks");
        let stats = self.stats.functions.entry(function.clone()).or_default();
        let whole = whole(value);
        match name {
            "Invocations" => stats.invocations += whole,
            "Errors" => (stats.invocations, stats.errors) = (stats.invocations + whole, stats.errors + whole),
            "Throttles" => stats.throttles += whole,
            "ConcurrentExecutions" => stats.busy = usize::try_from(whole).unwrap_or(usize::MAX),
            "Duration" => {
                let durations: &mut Durations = moment.durations.entry(function).or_default();
                durations.each_ms.push(value);
            }
            other => panic!("nobody counts {other}"),
        }
    }

    fn streams(&mut self) -> &mut centinela_aws::KinesisStats {
        self.stats.streams.get_or_insert_default()
    }
}

/// What a minute has that is not a counter.
#[derive(Default)]
struct Moment {
    /// By function and metric.
    counts: BTreeMap<String, BTreeMap<String, f64>>,
    values: BTreeMap<String, BTreeMap<String, f64>>,
    durations: BTreeMap<String, Durations>,
    apis: BTreeMap<String, ApiCounts>,
    fed: Vec<(MetricId, f64)>,
    silent: Vec<MappingKey>,
}

impl Moment {
    /// The functions' metric lines.
    fn lines(&self, at_ms: i64) -> Vec<String> {
        let line = |function: &str, metric: &str, value: String| {
            format!(
                r#"{{"_aws":{{"Timestamp":{at_ms},"CloudWatchMetrics":[{{"Namespace":"Centinela","Dimensions":[["Function"]],"Metrics":[{{"Name":"{metric}","Unit":"Count"}}]}}]}},"Function":"{function}","{metric}":{value}}}"#
            )
        };
        let mut lines = Vec::new();
        for (function, metrics) in &self.counts {
            lines.extend(metrics.iter().map(|(metric, value)| line(function, metric, value.to_string())));
        }
        for (function, metrics) in &self.values {
            for (metric, value) in metrics {
                let values = format!("{:?}", vec![*value; VALUES_OF_A_LINE]);
                lines.extend((0..LINES).map(|_| line(function, metric, values.clone())));
            }
        }
        lines
    }
}

fn function_of(metric: &MetricId) -> String {
    metric.dimensions.get("Function").cloned().expect("the dimension of our own metrics")
}

fn of_mapping(stats: &mut MappingStats, name: &str, value: u64) {
    match name {
        "SumOffsetLag" | "MaxOffsetLag" => {
            (stats.lag, stats.lag_max, stats.end) = (value, value, stats.end.max(value));
        }
        "PolledEventCount" => stats.polled += value,
        "DroppedEventCount" | "OnFailureDestinationDeliveryErrorCount" => stats.dropped += value,
        "OnFailureDestinationDeliveredEventCount" => stats.to_failure_destination += value,
        other => panic!("nobody counts {other}"),
    }
}

/// Every mapping of the stacks.
fn keys(stacks: &Infrastructure) -> impl Iterator<Item = MappingKey> + '_ {
    let topics = stacks.mappings.iter().map(|mapping| (&mapping.topic, &mapping.function));
    let streams = stacks.stream_mappings.iter().map(|mapping| (&mapping.stream, &mapping.function));
    topics.chain(streams).map(|(topic, function)| MappingKey { topic: topic.clone(), function: function.clone() })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
fn whole(value: f64) -> u64 {
    value.ceil() as u64
}
