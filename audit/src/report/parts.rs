//! Parts of the report that are figures of the platform and of the producer.

use std::collections::BTreeMap;

use centinela_local::aws::TableUnits;
use centinela_local::lambda::FunctionStats;
use centinela_local::mapping::MappingStats;
use centinela_local::platform::{MappingKey, PlatformStats};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::figures::{Percentiles, ProcessCpu, as_f64, micros_per_tx, quantile, rounded};
use crate::metrics::Metrics;

/// What the database was asked, per decided transaction.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Database {
    /// Write request units as AWS would charge them.
    pub write_units_per_tx: f64,
    /// Read request units.
    pub read_units_per_tx: f64,
    /// Requests, whatever they answered.
    pub calls_per_tx: f64,
    /// Writes whose condition did not hold.
    pub failed_conditions: u64,
    /// Write units by table, not divided.
    pub write_units: BTreeMap<String, f64>,
    /// Read units by table, not divided.
    pub read_units: BTreeMap<String, f64>,
    /// Write units by function and table, not divided.
    pub write_units_by_function: BTreeMap<String, BTreeMap<String, f64>>,
    /// Write units by table, per decided transaction.
    pub write_units_per_tx_by_table: BTreeMap<String, f64>,
}

/// A function.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Function {
    /// User and system time of its processes, starts included, per decided transaction.
    pub cpu_us_per_tx: f64,
    /// The same in all, in seconds.
    pub cpu_s: f64,
    /// Write request units per decided transaction.
    pub write_units_per_tx: f64,
    /// Duration of its invocations as it would be billed, in seconds.
    pub billed_s: f64,
    /// Highest resident memory of any process.
    pub rss_mb_max: u32,
    /// Invocations, failed ones included.
    pub invocations: u64,
    /// Bytes of its metric lines.
    pub metric_bytes: u64,
    /// Median number of records of an invocation.
    pub batch_p50: u64,
    /// Processes that were started.
    pub cold_starts: u64,
    /// From the start of a process to its first answer; the median of all processes.
    pub first_decision_ms: f64,
    /// The same; nine of ten processes were faster.
    pub first_decision_ms_p90: f64,
    /// From the start of a process to its first request for work; the median of all processes.
    pub init_ms: f64,
    /// The same; nine of ten processes were faster.
    pub init_ms_p90: f64,
    /// Invocations that it reported as failed.
    pub errors: u64,
    /// Invocations that were killed at the timeout.
    pub timeouts: u64,
    /// Invocations whose process ended.
    pub crashes: u64,
}

/// This process: everything but the functions, from the first record to the report.
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    /// User and system time by what the threads do.
    pub cpu_us_per_tx: ProcessCpu,
    /// Highest resident memory.
    pub rss_mb_max: Option<u32>,
}

/// A mapping.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Mapping {
    /// Invocations, retries included.
    pub batches: u64,
    /// Median number of records of an invocation.
    pub batch_p50: u64,
    /// Largest number of records of an invocation.
    pub batch_max: u64,
    /// Invocations that left something to deliver again.
    pub retried_batches: u64,
    /// Successful batches that were delivered again on purpose.
    pub replayed_batches: u64,
    /// Batches that were split in two.
    pub bisected: u64,
    /// Duplicate deliveries, on purpose, whose answer nobody read.
    pub stray_batches: u64,
    /// Records that were given up and are nowhere else.
    pub dropped: u64,
    /// Records that were given up and sent to the failure destination.
    pub to_failure_destination: u64,
    /// Readers that were started anew because they had stood still while records waited.
    pub restarted_readers: u64,
}

/// Where the report ends on the topic of the transactions: what comes after it does not count.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cut {
    /// By partition, the first offset that does not count.
    pub ends: Vec<i64>,
    /// Offsets that came after it, until the report was drawn up.
    pub later: u64,
}

/// What this command sent itself to a topic beside that of the transactions.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct SentBeside {
    /// Records that were handed over.
    pub sent: u64,
    /// Records that Kafka acknowledged.
    pub acknowledged: u64,
}

/// What this command sent itself.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Producer {
    /// The field that was the record's key.
    pub key: &'static str,
    /// The rate that was asked for; none is as fast as it goes.
    pub rate_tx_s: Option<f64>,
    /// Seed of the generated traffic.
    pub seed: u64,
    /// How the generated traffic is spread over the users.
    pub shape: String,
    /// Transactions that were handed over.
    pub sent: u64,
    /// Transactions that Kafka acknowledged.
    pub acknowledged: u64,
    /// Records of any kind that Kafka did not take.
    pub failed: u64,
    /// Why the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<String>,
    /// User actions.
    pub actions: SentBeside,
    /// Labels.
    pub labels: SentBeside,
    /// How late a record was handed over at most.
    pub behind_ms_max: u64,
    /// Times at which every function process was killed.
    pub kills: u64,
}

/// The stages of an invocation, and before them the wait of a record for its decision.
pub(super) fn stages(scoring: &Metrics, waits: &Histogram<u64>) -> BTreeMap<&'static str, Percentiles> {
    let stages = scoring.stages_us.iter().map(|(name, micros)| (*name, micros));
    stages.chain([("wait", waits)]).map(|(name, micros)| (name, Percentiles::of_micros(micros))).collect()
}

pub(super) fn database(stats: &PlatformStats, decided: u64) -> Database {
    let per_tx = |amount: f64| rounded(amount / as_f64(decided.max(1)));
    let dynamodb = &stats.dynamodb;
    Database {
        write_units_per_tx: per_tx(dynamodb.write_units),
        read_units_per_tx: per_tx(dynamodb.read_units),
        calls_per_tx: per_tx(as_f64(dynamodb.calls.values().sum())),
        failed_conditions: dynamodb.failed_conditions,
        write_units: dynamodb.tables.iter().map(|(name, units)| (name.clone(), units.write_units)).collect(),
        read_units: dynamodb.tables.iter().map(|(name, units)| (name.clone(), units.read_units)).collect(),
        write_units_by_function: dynamodb
            .callers
            .iter()
            .map(|(function, tables)| (function.clone(), written(tables, |units| units)))
            .collect(),
        write_units_per_tx_by_table: written(&dynamodb.tables, per_tx),
    }
}

/// Write units by table, those that are not 0.
fn written(tables: &BTreeMap<String, TableUnits>, figure: impl Fn(f64) -> f64) -> BTreeMap<String, f64> {
    let tables = tables.iter().filter(|(_, units)| units.write_units > 0.0);
    tables.map(|(table, units)| (table.clone(), figure(units.write_units))).collect()
}

pub(super) fn function(
    stats: &FunctionStats,
    metrics: Option<&Metrics>,
    units: Option<&BTreeMap<String, TableUnits>>,
    decided: u64,
) -> Function {
    let tables = units.into_iter().flat_map(BTreeMap::values);
    let written = tables.fold(0.0, |sum, units| sum + units.write_units);
    Function {
        cpu_us_per_tx: micros_per_tx(stats.cpu_time, decided),
        cpu_s: rounded(stats.cpu_time.as_secs_f64()),
        write_units_per_tx: rounded(written / as_f64(decided.max(1))),
        billed_s: rounded(as_f64(stats.billed_ms) / 1_000.0),
        rss_mb_max: stats.rss_mb_max,
        invocations: stats.invocations,
        metric_bytes: metrics.map_or(0, |metrics| metrics.bytes),
        batch_p50: metrics.map_or(0, |metrics| metrics.batch.value_at_quantile(0.5)),
        cold_starts: stats.cold_starts,
        first_decision_ms: rounded(quantile(&stats.first_decision_ms, 0.5)),
        first_decision_ms_p90: rounded(quantile(&stats.first_decision_ms, 0.9)),
        init_ms: rounded(quantile(&stats.init_ms, 0.5)),
        init_ms_p90: rounded(quantile(&stats.init_ms, 0.9)),
        errors: stats.errors,
        timeouts: stats.timeouts,
        crashes: stats.crashes,
    }
}

/// Every mapping, by function and topic.
pub(super) fn mappings(stats: &PlatformStats) -> BTreeMap<String, BTreeMap<String, Mapping>> {
    let mut mappings = BTreeMap::<String, BTreeMap<String, Mapping>>::new();
    for (MappingKey { topic, function }, stats) in &stats.mappings {
        mappings.entry(function.clone()).or_default().insert(topic.clone(), mapping(stats));
    }
    mappings
}

pub(super) fn mapping(stats: &MappingStats) -> Mapping {
    Mapping {
        batches: stats.batches,
        batch_p50: stats.batch_size_p50 as u64,
        batch_max: stats.batch_size_max as u64,
        retried_batches: stats.retried_batches,
        replayed_batches: stats.replayed_batches,
        bisected: stats.bisected,
        stray_batches: stats.duplicate_deliveries,
        dropped: stats.dropped,
        to_failure_destination: stats.to_failure_destination,
        restarted_readers: stats.restarted_readers,
    }
}
