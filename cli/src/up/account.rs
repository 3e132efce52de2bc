//! The account of a run: what became of every record, how fast, and at what price.
//!
//! `lost`, `doubled` and `republished` come from the topics and the stored state alone. Everything else is a figure about the
//! run and cannot make an account clean.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use centinela_contracts::stored_user;
use centinela_domain::UserId;
use centinela_local::lambda::FunctionStats;
use centinela_local::mapping::MappingStats;
use centinela_local::platform::PlatformStats;
use centinela_local::threads::{self, CpuTimes};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::backlog::Backlog;
use super::chaos;
use super::function_logs::Metrics;
use super::score::ScoreMetrics;
use super::tracker::{LATENCY_US_MAX, Seen, Totals, Verdict};

/// The account, as it is written to a file.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// Of this form.
    pub version: u32,
    /// Whether nothing was lost or counted twice, of all that was to be sent.
    pub clean: bool,
    /// What could not be sent or read, so that the account covers less than was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
    /// Whether everything was read to the end, and users' totals compared.
    #[serde(skip)]
    pub is_whole: bool,
    /// What became of the records.
    pub records: Records,
    /// From the time at which a transaction was meant to be sent to the arrival of its decision at a consumer.
    pub latency_ms: Percentiles,
    /// Where the time of an invocation went.
    pub stages_ms: BTreeMap<&'static str, Percentiles>,
    /// What the database was asked.
    pub dynamodb: Database,
    /// Every function.
    pub function: BTreeMap<String, Function>,
    /// This process, where the operating system says.
    pub process: Option<Process>,
    /// How the backlog was worked off, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Backlog>,
    /// The mapping of the transactions.
    pub mapping: Mapping,
    /// Where the account ends.
    pub cut: CutShown,
    /// The producer, when this command was it.
    pub producer: Option<Producer>,
    /// The faults that were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chaos: Option<chaos::Table>,
    /// The scores, where the truth is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<ScoreMetrics>,
    /// Decisions per second between the first transaction and the last decision.
    pub rate_tx_s: f64,
    /// That time.
    pub seconds: f64,
}

/// What became of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Records {
    /// On topic `transactions`.
    pub sent: u64,
    /// Different transactions among them, and records that are none: the sum of decided, parked and lost.
    pub unique: u64,
    /// Different transactions with a decision.
    pub decided: u64,
    /// Of these, let through.
    pub approved: u64,
    /// Of these, stopped.
    pub blocked: u64,
    /// Records that can never be decided, kept on topic `dead-letters`.
    pub parked: u64,
    /// Deliveries that were answered from the users' remembered decisions.
    pub replayed: u64,
    /// Messages that repeat a decision byte for byte, or a parked record.
    pub republished: u64,
    /// Of these, decisions of transactions that their producer sent more than once.
    pub republished_duplicates: u64,
    /// Deliveries of records that were settled long ago.
    pub stale: u64,
    /// Decisions on events that came too late for their window.
    pub late: u64,
    /// Decisions that were made without an optional input.
    pub degraded: u64,
    /// Neither decided nor parked.
    pub lost: u64,
    /// Without a decision when the account had to end early; whether they are lost, nobody can say.
    pub undecided: u64,
    /// Deleted by the broker's retention before they were delivered; not in `lost`. At most: a marker of a transaction has an offset too.
    pub lost_by_retention: u64,
    /// Transactions with two different decisions, or counted twice in their user's state.
    pub doubled: u64,
    /// Transactions with two different decisions that their producer sent more than once: the second time after more of their
    /// user's decisions than are remembered, or it is a fault of ours. `doubled` counts such a one on the topics and in the state.
    pub doubled_duplicates: u64,
    /// Decisions on transactions that nobody sent.
    pub invented: u64,
    /// Users whose stored totals differ from the sum over their transactions.
    pub users_differing: u64,
}

/// A distribution, in milliseconds. An hour or more is not told apart: such a value is exactly an hour here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// How many values were that long, where any was. A record that was parked and sent again waits from its first delivery on, so
    /// these are mostly the hours until somebody looked after it.
    #[serde(skip_serializing_if = "is_none")]
    pub over_an_hour: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// What the database was asked, per decided transaction.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Database {
    /// Write request units as AWS would charge them.
    pub write_units_per_tx: f64,
    /// Read request units.
    pub read_units_per_tx: f64,
    /// Requests.
    pub calls_per_tx: f64,
    /// Writes whose condition did not hold.
    pub failed_conditions: u64,
    /// Write units by table, not divided.
    pub write_units: BTreeMap<String, f64>,
    /// Read units by table, not divided.
    pub read_units: BTreeMap<String, f64>,
}

/// A function.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Function {
    /// User and system time of its processes, starts included.
    pub cpu_us_per_tx: f64,
    /// Highest resident memory of any process.
    pub rss_mb_max: u32,
    /// Invocations.
    pub invocations: u64,
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

/// This process: everything but the functions, from the first record to the account.
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    /// User and system time by what the threads do.
    pub cpu_us_per_tx: ProcessCpu,
    /// Highest resident memory.
    pub rss_mb_max: Option<u32>,
}

/// Microseconds per decided transaction by what the threads of this process do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessCpu {
    /// The embedded Kafka, if it runs here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<f64>,
    /// The embedded DynamoDB, Kinesis and S3, if they run here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_stand_ins: Option<f64>,
    /// The Kafka client library of the mapping, the producer and the readers.
    pub kafka_clients: f64,
    /// The rest: mapping, function host, producer, readers, account.
    pub platform: f64,
}

impl ProcessCpu {
    /// Divides times by transactions.
    pub fn new(times: &CpuTimes, decided: u64) -> Self {
        let per_tx = |time| micros_per_tx(time, decided);
        Self {
            broker: times.broker.map(per_tx),
            aws_stand_ins: times.aws_emulators.map(per_tx),
            kafka_clients: per_tx(times.kafka_clients),
            platform: per_tx(times.platform),
        }
    }
}

/// The mapping of the transactions.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Mapping {
    pub batches: u64,
    pub retried_batches: u64,
    pub replayed_batches: u64,
    pub bisected: u64,
    pub stray_batches: u64,
    pub dropped: u64,
    pub to_failure_destination: u64,
    pub restarted_readers: u64,
}

/// Where the account ends on the topic of the transactions: what comes after it does not count.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CutShown {
    /// By partition, the first offset that does not count.
    pub ends: Vec<i64>,
    /// Offsets that came after it, until the account was drawn up.
    pub later: u64,
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
    /// Records that were handed over.
    pub sent: u64,
    /// Records that Kafka acknowledged.
    pub acknowledged: u64,
    /// Records that Kafka did not take.
    pub failed: u64,
    /// Why the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<String>,
    /// How late a record was handed over at most.
    pub behind_ms_max: u64,
    /// Times at which every function process was killed.
    pub kills: u64,
}

/// Everything that an account is made of.
pub struct Evidence<'a> {
    /// Whether everything was read to the end; otherwise nothing can be said of what is missing.
    pub is_whole: bool,
    /// Counters of the topics.
    pub seen: Seen,
    /// The reconciliation of the topics.
    pub verdict: Verdict,
    /// Latencies in microseconds.
    pub latencies: Histogram<u64>,
    /// From the broker's time of a record to its decision, in microseconds.
    pub waits: Histogram<u64>,
    /// Items of the users' table, if it could be read.
    pub items: Option<Vec<(String, Vec<u8>)>>,
    /// The same before the run.
    pub baseline: &'a [(String, Vec<u8>)],
    /// Name of the scoring function.
    pub scoring: &'a str,
    /// Topic of the transactions.
    pub topic: &'a str,
    /// Counters of the platform.
    pub stats: PlatformStats,
    /// Metric lines by function.
    pub metrics: BTreeMap<String, Metrics>,
    /// When the first transaction was due.
    pub started: Instant,
    /// When the last decision arrived.
    pub last_decision: Option<Instant>,
    /// What was sent from here.
    pub producer: Option<Producer>,
    /// Where the account ends.
    pub cut: CutShown,
    /// What this process spent.
    pub cpu: Option<CpuTimes>,
    /// How a backlog was worked off.
    pub backlog: Option<Backlog>,
}

impl Account {
    /// Draws up the account.
    pub fn new(evidence: Evidence<'_>) -> Self {
        let Evidence { seen, verdict, stats, metrics, .. } = evidence;
        let items = evidence.items.filter(|_| evidence.is_whole);
        let state = items.map(|items| compare(&verdict.users, &items, evidence.baseline)).unwrap_or_default();
        let scoring = metrics.get(evidence.scoring).cloned().unwrap_or_default();
        // What Kafka acknowledged and does not hold any more is lost as well.
        let acknowledged = evidence.producer.as_ref().map_or(0, |producer| producer.acknowledged);
        let missing = verdict.lost + acknowledged.saturating_sub(seen.records + seen.missed);
        let mapping = stats.mappings.get(evidence.topic);
        let records = Records {
            sent: seen.records,
            unique: seen.unique,
            decided: seen.decided,
            approved: seen.approved,
            blocked: seen.blocked,
            parked: seen.parked,
            replayed: scoring.replayed,
            republished: seen.republished,
            republished_duplicates: verdict.republished_duplicates,
            stale: scoring.stale,
            late: seen.late,
            degraded: seen.degraded,
            lost: if evidence.is_whole { missing } else { 0 },
            undecided: if evidence.is_whole { 0 } else { missing },
            lost_by_retention: mapping.map_or(0, |mapping| mapping.lost_by_retention),
            doubled: verdict.doubled + state.counted_twice,
            doubled_duplicates: verdict.doubled_duplicates,
            invented: if evidence.is_whole { verdict.invented + seen.unreadable_decisions } else { 0 },
            users_differing: state.differing,
        };
        let seconds = evidence.last_decision.map_or(0.0, |last| (last - evidence.started).as_secs_f64());
        let mut account = Self {
            version: 1,
            clean: false,
            incomplete: None,
            is_whole: evidence.is_whole,
            records,
            latency_ms: Percentiles::of_micros(&evidence.latencies),
            stages_ms: stages(&scoring, &evidence.waits),
            dynamodb: database(&stats, seen.decided),
            function: stats
                .functions
                .iter()
                .map(|(name, counters)| (name.clone(), function(counters, metrics.get(name), seen.decided)))
                .collect(),
            process: evidence.cpu.map(|times| Process {
                cpu_us_per_tx: ProcessCpu::new(&times, seen.decided),
                rss_mb_max: threads::rss_mb_max(),
            }),
            backlog: evidence.backlog,
            mapping: mapping.map(mapping_shown).unwrap_or_default(),
            cut: evidence.cut,
            producer: evidence.producer,
            chaos: None,
            score: verdict.scores.measure(),
            rate_tx_s: if seconds > 0.0 { rounded(as_f64(seen.decided) / seconds) } else { 0.0 },
            seconds: rounded(seconds),
        };
        account.clean = account.fault().is_none();
        account
    }

    /// Notes that not everything was sent that was to be, or that not everything could be read.
    pub fn is_incomplete(&mut self, why: String) {
        self.clean = false;
        self.incomplete = Some(why);
    }

    /// What was lost or counted twice.
    pub fn fault(&self) -> Option<String> {
        let Records { lost, lost_by_retention, doubled, invented, users_differing, .. } = self.records;
        let faults = [
            (lost, "lost"),
            (lost_by_retention, "lost by retention: deleted before they were delivered"),
            (doubled, "doubled"),
            (invented, "invented"),
            (users_differing, "users whose totals differ from their transactions"),
        ];
        let named: Vec<String> =
            faults.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
        if named.is_empty() { None } else { Some(named.join(", ")) }
    }
}

/// What the stored state says about the users.
#[derive(Debug, Default, PartialEq, Eq)]
struct StateFindings {
    differing: u64,
    counted_twice: u64,
}

/// Compares what this run added to the stored totals with the unique transactions.
fn compare(
    expected: &BTreeMap<Box<str>, Totals>,
    items: &[(String, Vec<u8>)],
    baseline: &[(String, Vec<u8>)],
) -> StateFindings {
    let by_user = |items: &[(String, Vec<u8>)]| -> HashMap<String, Totals> {
        items.iter().filter_map(|(user, state)| Some((user.clone(), totals_of(user, state)?))).collect()
    };
    let (stored, before) = (by_user(items), by_user(baseline));
    let of = |totals: &HashMap<String, Totals>, user: &str| totals.get(user).copied().unwrap_or_default();
    let mut findings = StateFindings::default();
    for (user, totals) in expected {
        let (found, before) = (of(&stored, user), of(&before, user));
        let wanted = Totals {
            transactions: before.transactions + totals.transactions,
            amount_minor: before.amount_minor + totals.amount_minor,
        };
        findings.differing += u64::from(found != wanted);
        findings.counted_twice += found.transactions.saturating_sub(wanted.transactions);
    }
    let others = items.iter().filter(|(user, _)| !expected.contains_key(user.as_str()));
    // Whoever sent nothing must be as before, and only a user from before may be there.
    findings.differing +=
        others.filter(|(user, _)| before.get(user).is_none_or(|before| *before != of(&stored, user))).count() as u64;
    findings
}

fn totals_of(user: &str, state: &[u8]) -> Option<Totals> {
    let id = UserId::new(user).ok()?;
    let stored = stored_user::decode(state, &id)
        .inspect_err(|error| tracing::error!(%error, "the stored state of a user cannot be read"))
        .ok()?;
    Some(Totals { transactions: stored.state.transactions, amount_minor: stored.state.amount_total_minor })
}

impl Percentiles {
    fn of_micros(micros: &Histogram<u64>) -> Self {
        let ms = |micros: u64| rounded(as_f64(micros.min(LATENCY_US_MAX)) / 1_000.0);
        let at = |quantile: f64| ms(micros.value_at_quantile(quantile));
        let over_an_hour = micros.count_between(LATENCY_US_MAX, u64::MAX);
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: ms(micros.max()), over_an_hour }
    }
}

/// The stages of an invocation, and before them the wait of a record for its decision.
fn stages(scoring: &Metrics, waits: &Histogram<u64>) -> BTreeMap<&'static str, Percentiles> {
    let stages = scoring.stages_us.iter().map(|(name, micros)| (*name, micros));
    stages.chain([("wait", waits)]).map(|(name, micros)| (name, Percentiles::of_micros(micros))).collect()
}

fn database(stats: &PlatformStats, decided: u64) -> Database {
    let per_tx = |amount: f64| rounded(amount / as_f64(decided.max(1)));
    let dynamodb = &stats.dynamodb;
    Database {
        write_units_per_tx: per_tx(dynamodb.write_units),
        read_units_per_tx: per_tx(dynamodb.read_units),
        calls_per_tx: per_tx(as_f64(dynamodb.calls.values().sum())),
        failed_conditions: dynamodb.failed_conditions,
        write_units: dynamodb.tables.iter().map(|(name, units)| (name.clone(), units.write_units)).collect(),
        read_units: dynamodb.tables.iter().map(|(name, units)| (name.clone(), units.read_units)).collect(),
    }
}

fn function(stats: &FunctionStats, metrics: Option<&Metrics>, decided: u64) -> Function {
    Function {
        cpu_us_per_tx: micros_per_tx(stats.cpu_time, decided),
        rss_mb_max: stats.rss_mb_max,
        invocations: stats.invocations,
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

fn mapping_shown(stats: &MappingStats) -> Mapping {
    Mapping {
        batches: stats.batches,
        retried_batches: stats.retried_batches,
        replayed_batches: stats.replayed_batches,
        bisected: stats.bisected,
        stray_batches: stats.duplicate_deliveries,
        dropped: stats.dropped,
        to_failure_destination: stats.to_failure_destination,
        restarted_readers: stats.restarted_readers,
    }
}

/// The value that this share of the values does not exceed; 0 when there is none.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place among some thousand values"
)]
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Microseconds per transaction.
pub(super) fn micros_per_tx(time: Duration, decided: u64) -> f64 {
    rounded(time.as_secs_f64() * 1_000_000.0 / as_f64(decided.max(1)))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Three decimals: more would only look exact.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasted_longer_than_is_told_apart_is_counted_and_not_given_a_number() {
        let mut micros = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).unwrap();
        micros.record_n(20_000, 7).unwrap();
        // Days, as the tracker caps them.
        micros.record_n(LATENCY_US_MAX, 3).unwrap();
        let times = Percentiles::of_micros(&micros);
        assert_eq!(times.over_an_hour, 3);
        assert_eq!([times.p99, times.max].map(|ms| super::super::report::as_time(ms, " ms")), ["> 1 h", "> 1 h"]);
        assert_eq!(super::super::report::as_time(times.p50, " ms"), "20.0 ms");
    }

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let values: Vec<f64> = (1..=30).rev().map(f64::from).collect();
        let found = [0.5, 0.9, 1.0].map(|share| quantile(&values, share));
        assert_eq!(found.map(|value| value.to_string()), ["15", "27", "30"]);
        assert_eq!(quantile(&[], 0.5).to_string(), "0");
    }
}
