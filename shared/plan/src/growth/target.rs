//! The parameters of a deployment for a rate.

use super::{Parameters, UNRESERVED, brokers::cheapest_brokers, is_index_provisioned, number, reserved};
use crate::bill::lookups::{POLLERS_PER_UNIT, compaction_ms, objects_of, slots_work_of};
use crate::bill::{Flow, flows, question, rate_of};
use crate::limits::{COMPACTS_FOR, broker_bytes};
use crate::queue::{Question, calls_mean_ms, predict};
use crate::sizes::{COMPACTION, SCORING};
use crate::{HOURS_A_MONTH, Measured, PlanError, Prices, SECONDS_A_MONTH, Sizes, Workload, pieces};

/// Mean records of a batch that slots are planned for: above it latency grows, below it slots idle in calls.
const BATCH: f64 = 40.0;
/// Room above the mean rate, for slots, pollers and shards.
const HEADROOM: f64 = 1.5;
/// A poller carries 5 MB a second and 5 invocations: <https://docs.aws.amazon.com/lambda/latest/dg/kafka-scaling-modes.html>.
const POLLER_BYTES: f64 = 5e6;
const PER_POLLER: u32 = 5;
/// The most pollers that a mapping may always have:
/// <https://docs.aws.amazon.com/lambda/latest/api/API_ProvisionedPollerConfig.html>.
const POLLERS_MAX: u32 = 200;
const ARCHIVE: &str = "archive-records";
/// What its stack takes.
const ARCHIVE_CONCURRENCY_MAX: u32 = 1_000;
/// Partitions of the dead letters, whose pollers and those of blocked and events are one parameter.
const DEAD_LETTER_PARTITIONS: u32 = 3;
/// Runs of the compaction that an hour may be shared among: a minute, and the parts of an hour between two runs, are whole numbers.
const SHARES: [u32; 12] = [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60];
const SECONDS_AN_HOUR: f64 = 3_600.0;
/// Partitions for each slot: a batch holds records of several, and each has one batch in flight.
const PARTITIONS_PER_SLOT: u32 = 2;
/// Most partitions that decisions are spread over: more make batches smaller and objects of the lake more.
const DECISION_PARTITIONS_MAX: u32 = 200;
/// A shard takes 1,000 records a second: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>.
const SHARD_RECORDS: f64 = 1_000.0;
/// Units that the scaling begins at, as a share of what is used, and its top.
const UNITS_MIN: f64 = 0.9;
const UNITS_MAX: f64 = 2.0;
/// Room that brokers which are there must still have, and how full their disks may be.
const BROKER_ROOM: f64 = 1.2;
const FULL_MAX: f64 = 0.8;
const GIB: f64 = 1_073_741_824.0;
/// Above this rate tables are provisioned.
const PROVISIONED_FROM: f64 = 50_000.0;

/// What a rate asks for.
pub struct Goal<'a> {
    /// Transactions a minute.
    pub per_minute: f64,
    /// Parameters that it is grown from.
    pub base: &'a Parameters,
    /// Their sizes.
    pub sizes: &'a Sizes,
    /// Everything about the load but its rate.
    pub workload: &'a Workload,
    /// Measured units.
    pub measured: &'a Measured,
    /// List prices.
    pub prices: &'a Prices,
}

/// All parameters for a rate: those of the base, and grown what the rate needs more of. What cannot shrink never does, and nothing that the
/// base does not have is made up.
///
/// # Errors
/// The rate is none, no brokers carry it, or a measured unit is missing.
pub fn parameters_for(goal: &Goal<'_>) -> Result<Parameters, PlanError> {
    let workload = Workload { per_minute: goal.per_minute, ..*goal.workload };
    Workload::at(goal.per_minute)?;
    let mut grown = Grown { parameters: goal.base.clone(), base: goal.base };
    let pollers = pollers(goal, &workload)?;
    topics(&mut grown, pollers);
    functions(goal, &workload, &mut grown, pollers)?;
    let shards = pieces(workload.per_second() * HEADROOM / SHARD_RECORDS);
    grown.at_least("DecisionsShards", shards);
    grown.at_least("RollupMetricsConcurrency", pieces(f64::from(shards) * 1.2));
    // Without an index nothing of it runs.
    if goal.sizes.index_days > 0 {
        grown.at_least("IndexDecisionsConcurrency", pieces(f64::from(shards) * 1.2));
    }
    tables(goal, &workload, &mut grown)?;
    kafka(goal, &workload, &mut grown)?;
    watched(&mut grown);
    Ok(grown.parameters)
}

struct Grown<'a> {
    parameters: Parameters,
    base: &'a Parameters,
}

impl Grown<'_> {
    fn at_least(&mut self, name: &str, value: u32) {
        if let Some(before) = number(self.base, name) {
            self.parameters.insert(name.to_owned(), before.max(value).to_string());
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        if self.base.contains_key(name) {
            self.parameters.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// Pollers of the main job: for its bytes, and for slots that take batches of 40.
fn pollers(goal: &Goal<'_>, workload: &Workload) -> Result<u32, PlanError> {
    let per_second = workload.per_second();
    let memory_mb = goal.sizes.function(SCORING).map_or(crate::measured::PROCESSOR_MB, |function| function.memory_mb);
    let (base_ms, record_ms) = goal.measured.invocation.with_memory(memory_mb);
    let own_ms = base_ms + BATCH * record_ms;
    let takes_s = (own_ms + calls_mean_ms(workload.call_ms_p50, workload.call_ms_p99)) / 1_000.0;
    let slots = per_second * takes_s / BATCH * HEADROOM;
    let bytes = per_second * goal.measured.record("transactions")?.bytes;
    Ok(pieces((slots / f64::from(PER_POLLER)).max(bytes * HEADROOM / POLLER_BYTES)).max(1))
}

fn topics(grown: &mut Grown<'_>, pollers: u32) {
    let tens = |count: u32| count.div_ceil(10).saturating_mul(10);
    let partitions = tens(pollers.saturating_mul(PER_POLLER * PARTITIONS_PER_SLOT));
    grown.at_least("TransactionsPartitions", partitions);
    grown.at_least("DecisionPartitions", partitions.min(DECISION_PARTITIONS_MAX));
    grown.at_least("UserActionsPartitions", partitions.saturating_mul(2));
    grown.at_least("EventsPartitions", (partitions / 8).max(5));
}

fn functions(goal: &Goal<'_>, workload: &Workload, grown: &mut Grown<'_>, pollers: u32) -> Result<(), PlanError> {
    grown.at_least("ScoreTransactionsPollersMin", pollers);
    // With one poller a second may come; with many the difference is not worth a rebalance.
    let most = number(&grown.parameters, "ScoreTransactionsPollersMax").unwrap_or(1);
    grown.at_least("ScoreTransactionsPollersMax", if pollers > 1 { pollers } else { most });
    let most = number(&grown.parameters, "ScoreTransactionsPollersMax").unwrap_or(pollers);
    grown.at_least("ScoreTransactionsConcurrency", pieces(f64::from(most.saturating_mul(PER_POLLER)) * 1.2));
    let actions = pollers_of(goal, workload, "track-user-actions", "user_actions")?;
    grown.at_least("TrackUserActionsPollers", actions);
    grown.at_least("TrackUserActionsConcurrency", actions.saturating_mul(PER_POLLER));
    let (sum, objects) = archive(goal, workload, grown)?;
    let labels = pollers_of(goal, workload, "apply-labels", "events")?;
    grown.at_least("ApplyLabelsPollers", labels);
    grown.at_least("ApplyLabelsConcurrency", labels.saturating_mul(PER_POLLER));
    compaction(goal, workload, grown, objects);
    brake(workload, grown, sum);
    Ok(())
}

/// Pollers that a mapping beside the main one needs for its bytes and for its invocations in full batches, with some room; one at least.
fn pollers_of(goal: &Goal<'_>, workload: &Workload, function: &str, topic: &str) -> Result<u32, PlanError> {
    let mappings = &goal.sizes.mappings;
    let mapping = mappings.iter().find(|mapping| mapping.function == function && mapping.topic == topic);
    let Some(mapping) = mapping else { return Ok(1) };
    let bytes = goal.measured.record(topic)?.bytes;
    let units = goal.measured.functions.get(function).copied().unwrap_or_default();
    let slots = slots_work_of(units, mapping.batch, bytes, memory_of(goal, function), workload.call_ms_p50);
    let each = slots.min(POLLER_BYTES / bytes.max(1.0));
    Ok(pieces(rate_of(topic, workload) * HEADROOM / each).max(1))
}

fn memory_of(goal: &Goal<'_>, function: &str) -> f64 {
    goal.sizes.function(function).map_or(crate::measured::PROCESSOR_MB, |function| function.memory_mb)
}

/// Pollers of the archive; returns how many there are of all, and the objects that they put a second.
fn archive(goal: &Goal<'_>, workload: &Workload, grown: &mut Grown<'_>) -> Result<(u32, f64), PlanError> {
    let (mut sum, mut objects) = (0_u32, 0.0);
    for (name, partitions, topic) in [
        ("ArchiveTransactionsPollers", "TransactionsPartitions", "transactions"),
        ("ArchiveUserActionsPollers", "UserActionsPartitions", "user_actions"),
        ("ArchiveApprovedPollers", "DecisionPartitions", "approved"),
    ] {
        let partitions = number(&grown.parameters, partitions).unwrap_or(1);
        let least = pollers_of(goal, workload, ARCHIVE, topic)?.max(number(grown.base, name).unwrap_or(1));
        let (pollers, put) = archive_pollers(goal, workload, topic, partitions, least)?;
        grown.at_least(name, pollers);
        (sum, objects) = (sum.saturating_add(number(&grown.parameters, name).unwrap_or(least)), objects + put);
    }
    // Of blocked, events and dead letters each.
    let others = ["blocked", "events"].map(|topic| pollers_of(goal, workload, ARCHIVE, topic));
    for others in others {
        grown.at_least("ArchiveRecordsPollers", others?.min(DEAD_LETTER_PARTITIONS));
    }
    let others = number(&grown.parameters, "ArchiveRecordsPollers").unwrap_or(1);
    let sum = sum.saturating_add(others.saturating_mul(3));
    // A batch lasts a third of a second and gathers for a minute, so not all of these invocations are ever at work.
    grown.at_least("ArchiveRecordsConcurrency", sum.saturating_mul(PER_POLLER).min(ARCHIVE_CONCURRENCY_MAX));
    Ok((sum, objects))
}

/// Runs that share the lake's hours: the fewest of which each ends in time, with some room. What a run lists does not become less.
fn compaction(goal: &Goal<'_>, workload: &Workload, grown: &mut Grown<'_>, objects_per_second: f64) {
    let sizes = goal.sizes.compaction;
    let units = goal.measured.functions.get(COMPACTION).copied().unwrap_or_default();
    let topics = goal.sizes.topics.iter();
    let records: f64 = topics.map(|topic| rate_of(&topic.name, workload)).sum::<f64>() * SECONDS_AN_HOUR;
    let objects = objects_per_second * SECONDS_AN_HOUR;
    let takes_s = |shares: u32| {
        let part = (records / f64::from(shares), objects * sizes.listed_hours(f64::from(shares)));
        compaction_ms(units, part, memory_of(goal, COMPACTION), workload.call_ms_p50) / 1_000.0 * HEADROOM
    };
    let fits = SHARES.into_iter().find(|shares| takes_s(*shares) <= sizes.timeout_s * COMPACTS_FOR);
    let shares = fits.unwrap_or(60).max(sizes.shares);
    grown.at_least("CompactLakeShares", shares);
    grown.at_least("CompactLakeSlices", shares);
    if shares > sizes.shares {
        let every = 60 / shares;
        let minutes = if every > 1 { format!("0/{every}") } else { "*".to_owned() };
        grown.set("CompactLakeSchedule", &format!("cron({minutes} * * * ? *)"));
    }
    // One more, for the run that searches for erased people.
    grown.at_least("CompactLakeConcurrency", pieces(takes_s(shares) * f64::from(shares) / SECONDS_AN_HOUR) + 1);
}

/// Pollers of the archive's mapping of a topic, `least` or more, and the objects that they put a second: each poller costs a share of a unit, and
/// more of them make fewer objects of the same records, because each has fewer partitions. The cheapest sum.
fn archive_pollers(
    goal: &Goal<'_>,
    workload: &Workload,
    topic: &str,
    partitions: u32,
    least: u32,
) -> Result<(u32, f64), PlanError> {
    let mappings = &goal.sizes.mappings;
    let mapping = mappings.iter().find(|mapping| mapping.function == ARCHIVE && mapping.topic == topic);
    let Some(mapping) = mapping else { return Ok((least, 0.0)) };
    let (per_second, bytes) = (rate_of(topic, workload), goal.measured.record(topic)?.bytes);
    // An object is put once and read once.
    let object = (goal.prices.usd("s3.put_thousand")? + goal.prices.usd("s3.get_thousand")?) / 1_000.0;
    let poller = goal.prices.usd("lambda.poller_unit_hour")? * HOURS_A_MONTH / POLLERS_PER_UNIT;
    let objects = |pollers: u32| objects_of(mapping, (partitions, pollers), per_second, bytes, workload.call_ms_p50);
    let usd = |pollers: u32| objects(pollers) * SECONDS_A_MONTH * object + f64::from(pollers) * poller;
    let most = partitions.min(POLLERS_MAX).max(least);
    let cheapest = (least..=most).min_by(|one, other| usd(*one).total_cmp(&usd(*other))).unwrap_or(least);
    Ok((cheapest, objects(cheapest)))
}

/// The brake must not take growth for a mistake.
fn brake(workload: &Workload, grown: &mut Grown<'_>, archive_pollers: u32) {
    let five_minutes = workload.per_second() * 300.0;
    grown.at_least("GuardCostsWriteUnitsMax", pieces(five_minutes * 1.3 * 3.0));
    grown.at_least("GuardCostsInvocationsMax", pieces(five_minutes * 1.2));
    grown.at_least("GuardCostsPollersMax", archive_pollers.saturating_add(6));
    grown.at_least("GuardCostsLagMax", pieces(workload.per_second() * 3_000.0));
}

/// Read units for the committed marks: every batch reads those of its partitions, so it is the batches that count.
fn mark_reads(goal: &Goal<'_>, workload: &Workload, grown: &Grown<'_>) -> Result<f64, PlanError> {
    let of = |name: &str, before: u32| number(&grown.parameters, name).unwrap_or(before);
    let before = question(goal.sizes, workload, goal.measured)?;
    let deciding = predict(&Question {
        partitions: of("TransactionsPartitions", before.partitions),
        pollers: of("ScoreTransactionsPollersMin", before.pollers),
        concurrency: of("ScoreTransactionsConcurrency", before.concurrency),
        ..before
    });
    Ok(deciding.invocations_per_second * deciding.partitions_per_batch * goal.measured.mark_read_units)
}

fn tables(goal: &Goal<'_>, workload: &Workload, grown: &mut Grown<'_>) -> Result<(), PlanError> {
    if goal.per_minute >= PROVISIONED_FROM {
        grown.set("TableBillingMode", "PROVISIONED");
    }
    let per_second = workload.per_second();
    for (table, prefix) in [("user_state", "User"), ("device_state", "Device"), ("settled_offsets", "Mark")] {
        let units = goal.measured.tables.get(table).copied().unwrap_or_default();
        let marks = if prefix == "Mark" { mark_reads(goal, workload, grown)? } else { 0.0 };
        for (kind, used) in [("Write", units.write * per_second), ("Read", units.read * per_second + marks)] {
            grown.at_least(&format!("{prefix}{kind}UnitsMax"), pieces(used * UNITS_MAX));
            grown.at_least(&format!("{prefix}{kind}UnitsMin"), pieces(used * UNITS_MIN));
        }
    }
    let labels = per_second * workload.labels_per_transaction;
    grown.at_least("LabelWriteUnitsMax", pieces(labels * 6.0 * UNITS_MAX));
    grown.at_least("LabelReadUnitsMax", pieces(labels * 6.0 * UNITS_MAX));
    if goal.sizes.index_days > 0 {
        grown.at_least("DecisionWriteUnitsMax", pieces(per_second * UNITS_MAX));
        if is_index_provisioned(grown.base) {
            grown.at_least("DecisionWriteUnitsMin", pieces(per_second * UNITS_MIN));
        }
        grown.at_least("GuardCostsIndexWriteUnitsMax", pieces(per_second * 300.0 * 3.0));
    }
    Ok(())
}

/// What alarms compare with.
fn watched(grown: &mut Grown<'_>) {
    let number = |name: &str| number(&grown.parameters, name).unwrap_or(0);
    let partitions = ["TransactionsPartitions", "UserActionsPartitions", "EventsPartitions"].map(number);
    // Approved and blocked, and the dead letters' three; three copies of each.
    let partitions = partitions.iter().fold(number("DecisionPartitions").saturating_mul(2) + 3, |sum, one| sum + one);
    let each = partitions.saturating_mul(3) / number("BrokerCount").max(1);
    let wanted = reserved(&grown.parameters).saturating_add(UNRESERVED);
    grown.at_least("BrokerPartitionsMax", each.saturating_add(each / 5));
    grown.at_least("AccountConcurrency", wanted);
}

/// Whether the brokers that are there carry a load with some room, on disks that are not too full.
fn carries(sizes: &Sizes, workload: &Workload, measured: &Measured) -> Result<bool, PlanError> {
    let flows = flows(sizes, workload, measured)?;
    let brokers = &sizes.brokers;
    let count = f64::from(brokers.count);
    let written: f64 = flows.iter().map(Flow::bytes_per_second).sum();
    let kept: f64 = flows.iter().map(|flow| flow.kept_bytes).sum();
    let fits = brokers.is_express() || 3.0 * kept / GIB <= f64::from(brokers.volume_gib) * count * FULL_MAX;
    Ok(fits && written * BROKER_ROOM <= broker_bytes(&brokers.kind)? * count)
}

fn kafka(goal: &Goal<'_>, workload: &Workload, grown: &mut Grown<'_>) -> Result<(), PlanError> {
    let mut sizes = goal.sizes.clone();
    for (topic, parameter) in [
        ("transactions", "TransactionsPartitions"),
        ("approved", "DecisionPartitions"),
        ("blocked", "DecisionPartitions"),
        ("user_actions", "UserActionsPartitions"),
        ("events", "EventsPartitions"),
    ] {
        let partitions = number(&grown.parameters, parameter);
        if let (Some(topic), Some(partitions)) = (sizes.topics.iter_mut().find(|one| one.name == topic), partitions) {
            topic.partitions = partitions;
        }
    }
    let now = &goal.sizes.brokers;
    if carries(&sizes, workload, goal.measured)? {
        return Ok(());
    }
    // There is no way back from Express.
    let express = now.is_express().then_some(true);
    let brokers = cheapest_brokers(&sizes, workload, goal.measured, goal.prices, express)?;
    if brokers.is_express() && !now.is_express() {
        grown.set("BrokerProperties", "express");
    }
    let same_kind = brokers.is_express() == now.is_express();
    if same_kind && brokers.kind == now.kind {
        grown.at_least("BrokerCount", brokers.count);
    } else {
        grown.set("BrokerInstanceType", &brokers.kind);
        grown.set("BrokerCount", &if same_kind { brokers.count.max(now.count) } else { brokers.count }.to_string());
    }
    if !brokers.is_express() {
        grown.at_least("BrokerVolumeGiBMax", brokers.volume_gib);
        grown.at_least("BrokerVolumeGiB", brokers.volume_gib);
    }
    Ok(())
}
