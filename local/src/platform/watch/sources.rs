//! What AWS's services would report, from the platform's counters: namespaces, names and dimensions are theirs.
//!
//! Lambda: <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html>, MSK:
//! <https://docs.aws.amazon.com/msk/latest/developerguide/metrics-details.html>, DynamoDB:
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html>, Kinesis:
//! <https://docs.aws.amazon.com/streams/latest/dev/monitoring-with-cloudwatch.html>, API Gateway:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html>. What one machine cannot know (brokers' processors
//! and disks, the account's bill) is not made up: alarms on it have no data here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use centinela_cloudwatch::{Datum, MetricId, Values};
use centinela_infra::{Infrastructure, Mapping, Resource};
use centinela_lambda_host::mapping::MappingStats;
use centinela_lambda_host::{Durations, FunctionStats};
use serde_json::Value;

use super::Measured;
use crate::platform::mapped::MappingKey;
use crate::platform::observing::PlatformStats;

const LAMBDA: &str = "AWS/Lambda";
/// Ends of a topic that are remembered, to know since when a record waits: more than a day of looks.
const ENDS_KEPT_MAX: usize = 10_000;

/// A Kafka mapping, as its metrics name it.
struct Mapped {
    key: MappingKey,
    uuid: String,
    group: String,
    /// Of its metrics, those that are switched on.
    groups: BTreeSet<String>,
    pollers: Option<u32>,
    has_destination: bool,
}

/// The names of what reports, and what it reported last.
pub(super) struct Sources {
    mapped: Vec<Mapped>,
    streamed: BTreeSet<MappingKey>,
    cluster: String,
    stream: Option<String>,
    apis: BTreeMap<String, String>,
    last: PlatformStats,
    ends: BTreeMap<MappingKey, VecDeque<(i64, u64)>>,
}

/// Data on their way, of a time.
struct Report {
    data: Vec<Datum>,
    /// When counting began: the counts are of then, so that they stand in the minute that is about to be judged.
    since_ms: i64,
    now_ms: i64,
}

impl Report {
    /// So many values between 0 and 1 that come to `sum`; none where nothing was counted.
    fn count(&mut self, metric: MetricId, count: u64, sum: u64) {
        if count > 0 {
            let (count, sum) = (as_f64(count), as_f64(sum));
            let values =
                Values::Set { count, sum, min: f64::from(u8::from(sum >= count)), max: f64::from(u8::from(sum > 0.0)) };
            self.data.push(Datum { metric: metric.into(), at_ms: self.since_ms, values });
        }
    }

    /// A sum, 0 included.
    fn sum(&mut self, metric: MetricId, sum: u64) {
        self.data.push(Datum::one(metric, self.since_ms, as_f64(sum)));
    }

    /// How something stands now.
    fn gauge(&mut self, metric: MetricId, value: u64) {
        // Of the minute that is about to be judged too, like the counts.
        self.data.push(Datum::one(metric, self.since_ms.max(self.now_ms - super::LOOK_EVERY_MS), as_f64(value)));
    }
}

impl Sources {
    /// Whatever the stacks declare.
    pub(super) fn of(infrastructure: &Infrastructure) -> Self {
        let named = |kind: &str, property: &str| {
            let mut resources = infrastructure.resources.iter().filter(|resource| resource.kind == kind);
            resources.find_map(|resource| resource.properties.get(property)?.as_str().map(str::to_owned))
        };
        let apis = infrastructure.resources.iter().filter(|resource| resource.kind == "AWS::ApiGatewayV2::Api");
        Self {
            mapped: infrastructure.mappings.iter().map(|mapping| mapped(infrastructure, mapping)).collect(),
            streamed: infrastructure
                .stream_mappings
                .iter()
                .map(|mapping| MappingKey { topic: mapping.stream.clone(), function: mapping.function.clone() })
                .collect(),
            cluster: named("AWS::MSK::Cluster", "ClusterName").unwrap_or_default(),
            stream: infrastructure.streams.first().map(|stream| stream.name.clone()),
            apis: apis.map(|api| (api.logical_id.to_lowercase(), api.logical_id.clone())).collect(),
            last: PlatformStats::default(),
            ends: BTreeMap::new(),
        }
    }

    /// What is reported of the time since the last look.
    pub(super) fn data(&mut self, measured: &Measured, since_ms: i64, now_ms: i64) -> Vec<Datum> {
        let mut report = Report { data: Vec::new(), since_ms, now_ms };
        self.functions(&mut report, measured);
        for index in 0..self.mapped.len() {
            self.mapping(&mut report, index, measured);
        }
        self.stored(&mut report, &measured.stats);
        for (id, counts) in &measured.apis {
            let Some(id) = self.apis.get(id) else { continue };
            let metric = |name: &str| MetricId::new("AWS/ApiGateway", name, &[("ApiId", id.as_str())]);
            report.count(metric("Count"), counts.requests, counts.requests);
            report.count(metric("4xx"), counts.requests, counts.errors_4xx);
            report.count(metric("5xx"), counts.requests, counts.errors_5xx);
            report.data.push(Datum {
                metric: metric("Latency").into(),
                at_ms: since_ms,
                values: Values::Each(counts.latencies_ms.clone()),
            });
        }
        self.last = measured.stats.clone();
        report.data
    }

    fn functions(&self, report: &mut Report, measured: &Measured) {
        let mut all = FunctionStats::default();
        let mut busy = 0;
        for (name, stats) in &measured.stats.functions {
            let before = self.last.functions.get(name).cloned().unwrap_or_default();
            let more = since(stats, &before);
            function(report, &[("FunctionName", name.as_str())], &more);
            if let Some(durations) = measured.durations.get(name) {
                duration(report, name, durations);
            }
            all.invocations += more.invocations;
            all.errors += more.errors;
            all.throttles += more.throttles;
            busy += stats.busy as u64;
            report.gauge(
                MetricId::new(LAMBDA, "ConcurrentExecutions", &[("FunctionName", name.as_str())]),
                stats.busy as u64,
            );
        }
        function(report, &[], &all);
        report.gauge(MetricId::new(LAMBDA, "ConcurrentExecutions", &[]), busy);
        for key in &self.streamed {
            let stats = measured.stats.mappings.get(key);
            let before = self.last.mappings.get(key).map_or(0, |stats| stats.batches);
            if let Some(stats) = stats.filter(|stats| stats.batches > before) {
                let metric = MetricId::new(LAMBDA, "IteratorAge", &[("FunctionName", key.function.as_str())]);
                report.gauge(metric, stats.iterator_age_ms);
            }
        }
    }

    /// A mapping that is not there yet, or is disabled, says nothing.
    fn mapping(&mut self, report: &mut Report, index: usize, measured: &Measured) {
        let Some(mapped) = self.mapped.get(index) else { return };
        let Some(stats) = measured.stats.mappings.get(&mapped.key) else { return };
        let before = self.last.mappings.get(&mapped.key).cloned().unwrap_or_default();
        if measured.enabled.contains(&mapped.key) {
            of_mapping(report, mapped, stats, &before);
        }
        let dimensions =
            [("Cluster Name", &*self.cluster), ("Consumer Group", &*mapped.group), ("Topic", &*mapped.key.topic)];
        let metric = |name: &str| MetricId::new("AWS/Kafka", name, &dimensions);
        report.gauge(metric("SumOffsetLag"), stats.lag);
        report.gauge(metric("MaxOffsetLag"), stats.lag_max);
        let ends = self.ends.entry(mapped.key.clone()).or_default();
        report.gauge(metric("EstimatedMaxTimeLag"), waits_s(ends, stats, report.now_ms));
    }

    fn stored(&self, report: &mut Report, stats: &PlatformStats) {
        for (table, units) in &stats.dynamodb.tables {
            let before = self.last.dynamodb.tables.get(table).copied().unwrap_or_default();
            let metric = |name: &str| MetricId::new("AWS/DynamoDB", name, &[("TableName", table.as_str())]);
            for (name, now, before) in [
                ("ConsumedWriteCapacityUnits", units.write_units, before.write_units),
                ("ConsumedReadCapacityUnits", units.read_units, before.read_units),
            ] {
                if now > before {
                    report.data.push(Datum::one(metric(name), report.since_ms, now - before));
                }
            }
            let throttled = [
                ("WriteThrottleEvents", units.write_throttles - before.write_throttles.min(units.write_throttles)),
                ("ReadThrottleEvents", units.read_throttles - before.read_throttles.min(units.read_throttles)),
            ];
            for (name, throttled) in throttled {
                report.count(metric(name), throttled, throttled);
            }
        }
        if let (Some(stream), Some(now)) = (&self.stream, &stats.streams) {
            let before = self.last.streams.clone().unwrap_or_default();
            let metric = |name: &str| MetricId::new("AWS/Kinesis", name, &[("StreamName", stream.as_str())]);
            report.sum(metric("IncomingRecords"), now.records.saturating_sub(before.records));
            report.sum(metric("IncomingBytes"), now.bytes.saturating_sub(before.bytes));
            report.sum(metric("WriteProvisionedThroughputExceeded"), now.throttled.saturating_sub(before.throttled));
        }
    }
}

fn mapped(infrastructure: &Infrastructure, mapping: &Mapping) -> Mapped {
    let is_it = |resource: &&Resource| resource.file == mapping.file && resource.logical_id == mapping.logical_id;
    let declared = infrastructure.resources.iter().find(is_it);
    let groups = declared.and_then(|resource| resource.properties.pointer("/MetricsConfig/Metrics")?.as_array());
    Mapped {
        key: MappingKey { topic: mapping.topic.clone(), function: mapping.function.clone() },
        uuid: Infrastructure::mapping_id(&mapping.logical_id),
        group: mapping.consumer_group.clone(),
        groups: groups.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        pollers: mapping.provisioned.then_some(mapping.pollers_min),
        has_destination: mapping.on_failure_topic.is_some(),
    }
}

/// What was counted between two looks; a function that was started anew begins at 0.
fn since(now: &FunctionStats, before: &FunctionStats) -> FunctionStats {
    let failed = |stats: &FunctionStats| stats.errors + stats.timeouts + stats.crashes;
    FunctionStats {
        invocations: now.invocations.saturating_sub(before.invocations),
        errors: failed(now).saturating_sub(failed(before)),
        throttles: now.throttles.saturating_sub(before.throttles),
        ..FunctionStats::default()
    }
}

/// A throttled call is neither an invocation nor an error.
fn function(report: &mut Report, dimensions: &[(&str, &str)], more: &FunctionStats) {
    let metric = |name: &str| MetricId::new(LAMBDA, name, dimensions);
    report.count(metric("Invocations"), more.invocations, more.invocations);
    report.count(metric("Errors"), more.invocations.max(more.errors), more.errors);
    report.count(metric("Throttles"), more.invocations + more.throttles, more.throttles);
}

fn duration(report: &mut Report, function: &str, durations: &Durations) {
    let (metric, at_ms) = (MetricId::new(LAMBDA, "Duration", &[("FunctionName", function)]), report.since_ms);
    if !durations.each_ms.is_empty() {
        let values = Values::Each(durations.each_ms.clone());
        report.data.push(Datum { metric: metric.clone().into(), at_ms, values });
    }
    if durations.more > 0 {
        let (count, sum) = (as_f64(durations.more), durations.more_ms);
        let mean = sum / count;
        report.data.push(Datum {
            metric: metric.into(),
            at_ms,
            values: Values::Set { count, sum, min: mean, max: mean },
        });
    }
}

fn of_mapping(report: &mut Report, mapped: &Mapped, stats: &MappingStats, before: &MappingStats) {
    let metric = |name: &str| MetricId::new(LAMBDA, name, &[("EventSourceMappingUUID", mapped.uuid.as_str())]);
    let more = |of: fn(&MappingStats) -> u64| of(stats).saturating_sub(of(before));
    if mapped.groups.contains("KafkaMetrics") {
        report.gauge(metric("SumOffsetLag"), stats.lag);
        report.gauge(metric("MaxOffsetLag"), stats.lag_max);
    }
    if mapped.groups.contains("EventCount") {
        report.sum(metric("PolledEventCount"), more(|stats| stats.polled));
        report.sum(metric("InvokedEventCount"), more(|stats| stats.invoked_records));
        report.sum(metric("FailedInvokeEventCount"), more(|stats| stats.retried_records));
        report.sum(metric("DroppedEventCount"), more(|stats| stats.dropped));
        report.sum(metric("CommittedEventCount"), more(|stats| stats.records));
        let delivered = more(|stats| stats.to_failure_destination);
        report.sum(metric("OnFailureDestinationDeliveredEventCount"), delivered);
    }
    if mapped.groups.contains("ErrorCount") {
        let refused = if mapped.has_destination { more(|stats| stats.dropped) } else { 0 };
        for (name, errors) in [
            ("PollingErrorCount", more(|stats| stats.poll_errors)),
            ("InvokeErrorCount", more(|stats| stats.retried_batches)),
            ("CommitErrorCount", more(|stats| stats.commit_errors)),
            ("OnFailureDestinationDeliveryErrorCount", refused),
        ] {
            // Sent only when there is one.
            report.count(metric(name), errors, errors);
        }
    }
    if let Some(pollers) = mapped.pollers {
        report.gauge(metric("ProvisionedPollers"), u64::from(pollers));
    }
}

/// For how many seconds the oldest record waits, by when the topic first reached beyond where the mapping is. MSK estimates it too; how, it
/// does not say.
fn waits_s(ends: &mut VecDeque<(i64, u64)>, stats: &MappingStats, now_ms: i64) -> u64 {
    if ends.back().is_none_or(|(_, end)| *end != stats.end) {
        ends.push_back((now_ms, stats.end));
    }
    if ends.len() > ENDS_KEPT_MAX {
        ends.pop_front();
    }
    let position = stats.end.saturating_sub(stats.lag);
    while ends.front().is_some_and(|(_, end)| *end <= position) && ends.len() > 1 {
        ends.pop_front();
    }
    let waiting = ends.front().filter(|(_, end)| *end > position);
    waiting.map_or(0, |(since_ms, _)| u64::try_from((now_ms - since_ms) / 1_000).unwrap_or(0))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
