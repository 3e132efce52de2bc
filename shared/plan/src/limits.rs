//! What breaks first: for each part the rate at which it is full, with the sizes as they are.

use serde::Serialize;

use crate::bill::lookups::{compaction, deciding_bytes, slots_work, used};
use crate::bill::{Basis, flows, question};
use crate::queue::predict;
use crate::sizes::{COMPACTION, Compaction};
use crate::{Measured, PlanError, Prices, Sizes, Workload};

const GIB: f64 = 1_073_741_824.0;
/// A shard takes 1,000 records or 1 MB a second: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>.
const SHARD_RECORDS: f64 = 1_000.0;
const SHARD_BYTES: f64 = 1e6;
/// A poller carries 5 MB a second: <https://docs.aws.amazon.com/lambda/latest/dg/kafka-scaling-modes.html>.
const POLLER_BYTES: f64 = 5e6;
/// The part of its time in which a run of the compaction begins another hour (`RESERVE` in `shared/lake`).
pub(crate) const COMPACTS_FOR: f64 = 0.75;

/// A part and the rate at which it is full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limit {
    /// The part.
    pub what: String,
    /// The parameter that raises it.
    pub parameter: String,
    /// Transactions a minute at which it is full.
    pub full_at_per_minute: f64,
    /// What happens then.
    pub then: &'static str,
}

/// Bytes a second that a broker takes in, all topics and without their copies. Standard: what AWS's sizing sheet goes by, which is no quota;
/// Express: AWS's sustained figures (<https://docs.aws.amazon.com/msk/latest/developerguide/msk-broker-types-express.html>).
const BROKERS: [(&str, f64); 10] = [
    ("kafka.t3.small", 2e6),
    ("kafka.m7g.large", 10e6),
    ("kafka.m7g.xlarge", 20e6),
    ("kafka.m7g.2xlarge", 40e6),
    ("kafka.m7g.4xlarge", 80e6),
    ("express.m7g.large", 15.6e6),
    ("express.m7g.xlarge", 31.2e6),
    ("express.m7g.2xlarge", 62.5e6),
    ("express.m7g.4xlarge", 124.9e6),
    ("express.m7g.8xlarge", 250e6),
];

/// Bytes a second that a broker of this type takes in.
///
/// # Errors
/// The type is unknown.
pub fn broker_bytes(kind: &str) -> Result<f64, PlanError> {
    let known = || BROKERS.map(|(name, _)| name).join(", ");
    let found = BROKERS.iter().find(|(name, _)| *name == kind);
    found.map(|(_, bytes)| *bytes).ok_or_else(|| PlanError::UnknownBroker(kind.to_owned(), known()))
}

/// The types that are known, with their bytes a second.
pub(crate) fn broker_types() -> &'static [(&'static str, f64)] {
    &BROKERS
}

/// Every limit, the one that is reached first at the top.
///
/// # Errors
/// A size or a measured unit is missing.
pub fn limits(
    sizes: &Sizes,
    workload: &Workload,
    measured: &Measured,
    prices: &Prices,
) -> Result<Vec<Limit>, PlanError> {
    let deciding = predict(&question(sizes, workload, measured)?);
    let basis = Basis { sizes, workload, measured, prices, deciding };
    let mut limits = kafka(&basis)?;
    limits.extend(tables(&basis));
    limits.extend(lambda(&basis)?);
    limits.sort_by(|one, other| one.full_at_per_minute.total_cmp(&other.full_at_per_minute));
    Ok(limits)
}

impl Basis<'_> {
    /// A limit from how full a part is at the workload's rate: all parts here grow with the rate.
    fn limit(&self, what: impl Into<String>, parameter: &str, share: f64, then: &'static str) -> Limit {
        let full_at_per_minute = self.workload.per_minute / share.max(f64::MIN_POSITIVE);
        Limit { what: what.into(), parameter: parameter.to_owned(), full_at_per_minute, then }
    }
}

fn kafka(basis: &Basis<'_>) -> Result<Vec<Limit>, PlanError> {
    let flows = flows(basis.sizes, basis.workload, basis.measured)?;
    let brokers = &basis.sizes.brokers;
    let count = f64::from(brokers.count.max(1));
    let written: f64 = flows.iter().map(|flow| flow.bytes_per_second()).sum();
    let takes = broker_bytes(&brokers.kind)? * count;
    let mut limits = vec![basis.limit(
        format!("{} brokers {}", brokers.count, brokers.kind),
        "BrokerInstanceType, BrokerCount",
        written / takes,
        "producers wait for acknowledgements, latency grows",
    )];
    if !brokers.is_express() {
        let kept: f64 = flows.iter().map(|flow| flow.kept_bytes).sum();
        let share = 3.0 * kept / GIB / (f64::from(brokers.volume_gib) * count).max(1.0);
        let then = "disks are full when retention is: brokers stop, producers are refused";
        limits.push(basis.limit(format!("disks of {} GiB", brokers.volume_gib), "BrokerVolumeGiB", share, then));
    }
    let shards = f64::from(basis.sizes.shards.max(1));
    let bytes = basis.measured.record("approved")?.bytes;
    let per_second = basis.workload.per_second();
    let share = (per_second / SHARD_RECORDS).max(per_second * bytes / SHARD_BYTES) / shards;
    let then = "decisions are published later: the function tries again, batches last longer";
    limits.push(basis.limit(format!("{} shards", basis.sizes.shards), "DecisionsShards", share, then));
    Ok(limits)
}

fn tables(basis: &Basis<'_>) -> Vec<Limit> {
    let mut limits = Vec::new();
    for table in &basis.sizes.tables {
        let used = used(basis, &table.name);
        let then = "requests above it are throttled and tried again; lag grows";
        let kinds =
            [("writes", used.write, table.capacity.max_write()), ("reads", used.read, table.capacity.max_read())];
        for (kind, used, max) in kinds {
            if used > 0.0 {
                let what = format!("{kind} of {} capped at {max:.0} units a second", table.name);
                limits.push(basis.limit(what, "…UnitsMax", used / max.max(1.0), then));
            }
        }
    }
    limits
}

fn lambda(basis: &Basis<'_>) -> Result<Vec<Limit>, PlanError> {
    let question = question(basis.sizes, basis.workload, basis.measured)?;
    let slots = question.slots();
    let then = "batches are full and the lag grows without end";
    let mut limits = vec![basis.limit(
        format!("{slots} invocations of score-transactions at once, full batches"),
        "ScoreTransactionsPollersMin, TransactionsPartitions, ScoreTransactionsConcurrency",
        question.per_second / question.capacity(),
        then,
    )];
    let pollers = basis.sizes.scoring().map_or(1, |mapping| mapping.pollers_max.max(1));
    let share = deciding_bytes(basis)? / (POLLER_BYTES * f64::from(pollers));
    limits.push(basis.limit(format!("{pollers} pollers of 5 MB a second"), "ScoreTransactionsPollersMax", share, then));
    for mapping in basis.sizes.mappings.iter().filter(|mapping| mapping.pollers_max > 0) {
        let per_second = basis.rate_of(&mapping.topic);
        if per_second > 0.0 && mapping.function != "score-transactions" {
            let bytes = basis.measured.record(&mapping.topic)?.bytes;
            let what = format!("pollers of {} on {}", mapping.function, mapping.topic);
            let each = slots_work(basis, mapping)?.min(POLLER_BYTES / bytes.max(1.0));
            let share = per_second / (each * f64::from(mapping.pollers_max));
            limits.push(basis.limit(what, "…Pollers", share, "it falls behind; decisions are not touched"));
        }
    }
    limits.extend(compacted(basis)?);
    Ok(limits)
}

/// Runs that share an hour must end in time, and no more of them be at work than the function may have.
fn compacted(basis: &Basis<'_>) -> Result<Option<Limit>, PlanError> {
    let Some(function) = basis.sizes.function(COMPACTION) else { return Ok(None) };
    let Compaction { shares, timeout_s, .. } = basis.sizes.compaction;
    let shares = f64::from(shares.max(1));
    let run_s = compaction(basis, shares)?.ms / 1_000.0;
    let usable_s = (timeout_s * COMPACTS_FOR).max(1.0);
    let at_once = run_s * shares / 3_600.0;
    let share = (run_s / usable_s).max(at_once / function.concurrency.map_or(f64::INFINITY, f64::from));
    let what = format!("{shares} × {usable_s:.0} s of compact-lake an hour");
    let then = "hours are compacted later and later: their readers wait, and nothing is lost";
    Ok(Some(basis.limit(what, "CompactLakeShares, …Slices, …Schedule, …Concurrency", share, then)))
}
