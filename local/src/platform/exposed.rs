//! A platform's metrics, as whoever collects them gets them.

use centinela_cloudwatch::State;

use super::Platform;
use super::observing::PlatformStats;
use super::watch::{AlarmView, MetricTotal};
use crate::exposition::{Exposition, snake};

/// What a distribution in milliseconds ends with; it is shown in seconds.
const MILLISECONDS: &str = "Milliseconds";

impl Platform {
    /// Everything that is measured, and how the alarms stand.
    #[must_use]
    pub fn exposition(&self) -> Exposition {
        let mut exposition = Exposition::default();
        self.metric_totals().iter().for_each(|total| metric(&mut exposition, total));
        self.alarms().iter().for_each(|view| alarm(&mut exposition, view));
        let stats = self.stats();
        functions(&mut exposition, &stats);
        mappings(&mut exposition, &stats);
        stores(&mut exposition, &stats);
        exposition
    }
}

/// A metric of the functions.
fn metric(exposition: &mut Exposition, total: &MetricTotal) {
    let labels: Vec<(String, &str)> =
        total.metric.dimensions.iter().map(|(name, value)| (snake(name), value.as_str())).collect();
    let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let name = &total.metric.name;
    let help = format!("{name}, as the functions send it to CloudWatch.");
    if total.is_count() {
        exposition.counter(&snake(name), &help, &labels, total.sum);
        return;
    }
    let (name, scale) = match name.strip_suffix(MILLISECONDS) {
        Some(stem) => (format!("{}_seconds", snake(stem)), 1_000.0),
        None => (snake(name), 1.0),
    };
    let bounds = MetricTotal::BOUNDS.iter().map(|bound| bound / scale);
    let buckets: Vec<(f64, u64)> = bounds.zip(total.at_most.iter().copied()).collect();
    exposition.histogram(&name, &help, &labels, &buckets, total.count, total.sum / scale);
}

fn alarm(exposition: &mut Exposition, view: &AlarmView) {
    let labels = [("alarm", view.name.as_str())];
    let states = State::ALL.map(|state| (state.as_str(), state == view.state));
    exposition.states("alarm", "How the alarms of the stacks stand.", &labels, &states);
    if let Some(value) = view.value {
        let help = "The newest data point of each alarm that has one, in the unit of its threshold.";
        exposition.gauge("alarm_value", help, &labels, value);
    }
}

fn functions(exposition: &mut Exposition, stats: &PlatformStats) {
    for (name, stats) in &stats.functions {
        let labels = [("function", name.as_str())];
        let failed = stats.errors + stats.timeouts + stats.crashes;
        let counters = [
            ("lambda_invocations", "Invocations that were delivered.", as_f64(stats.invocations)),
            ("lambda_errors", "Invocations that failed, timed out or crashed.", as_f64(failed)),
            ("lambda_throttles", "Invocations that were refused.", as_f64(stats.throttles)),
            ("lambda_cold_starts", "Environments that were started.", as_f64(stats.cold_starts)),
            (
                "lambda_billed_seconds",
                "What invocations took, as the bill counts it.",
                as_f64(stats.billed_ms) / 1_000.0,
            ),
            ("lambda_cpu_seconds", "Processor time of all environments.", stats.cpu_time.as_secs_f64()),
        ];
        for (metric, help, value) in counters {
            exposition.counter(metric, help, &labels, value);
        }
        let idle = stats.environments.saturating_sub(stats.busy);
        for (state, count) in [("busy", stats.busy), ("idle", idle)] {
            let labels = [("function", name.as_str()), ("state", state)];
            exposition.gauge("lambda_environments", "Environments that are alive.", &labels, as_f64(count as u64));
        }
    }
}

fn mappings(exposition: &mut Exposition, stats: &PlatformStats) {
    for (key, stats) in &stats.mappings {
        let labels = [("source", key.topic.as_str()), ("function", key.function.as_str())];
        exposition.gauge("mapping_lag_records", "Records that wait.", &labels, as_f64(stats.lag));
        let counters = [
            ("mapping_records", "Records that were handled.", stats.records),
            ("mapping_batches", "Invocations, retries included.", stats.batches),
            ("mapping_retried_batches", "Invocations that left something to deliver again.", stats.retried_batches),
            ("mapping_dropped_records", "Records that were given up and are nowhere else.", stats.dropped),
            (
                "mapping_failure_destination_records",
                "Records that were given up and stand in the failure topic.",
                stats.to_failure_destination,
            ),
        ];
        for (metric, help, value) in counters {
            exposition.counter(metric, help, &labels, as_f64(value));
        }
    }
}

fn stores(exposition: &mut Exposition, stats: &PlatformStats) {
    for (table, units) in &stats.dynamodb.tables {
        for (kind, spent, throttled) in
            [("read", units.read_units, units.read_throttles), ("write", units.write_units, units.write_throttles)]
        {
            let labels = [("table", table.as_str()), ("kind", kind)];
            exposition.counter("dynamodb_units", "Request units that AWS would charge.", &labels, spent);
            exposition.counter("dynamodb_throttles", "Requests that were throttled.", &labels, as_f64(throttled));
        }
        let labels = [("table", table.as_str())];
        let help = "Writes that changed nothing because their condition did not hold.";
        exposition.counter("dynamodb_failed_conditions", help, &labels, as_f64(units.failed_conditions));
    }
    if let Some(streams) = &stats.streams {
        exposition.counter("kinesis_records", "Records that were written.", &[], as_f64(streams.records));
        exposition.counter("kinesis_bytes", "Bytes of them.", &[], as_f64(streams.bytes));
    }
    if let Some(objects) = &stats.objects {
        for (operation, calls) in &objects.calls {
            let labels = [("operation", operation.as_str())];
            exposition.counter("s3_requests", "Requests, refused ones included.", &labels, as_f64(*calls));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
