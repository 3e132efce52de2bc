//! The parameters of a deployment for a rate.

use super::{Parameters, UNRESERVED, brokers::cheapest_brokers, number, reserved};
use crate::bill::lookups::{POLLERS_PER_UNIT, objects_of};
use crate::bill::{Flow, flows, question};
use crate::limits::broker_bytes;
use crate::queue::{Question, calls_mean_ms, predict};
use crate::sizes::SCORING;
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
    let needs = |topic: &str, per_second: f64| -> Result<u32, PlanError> {
        Ok(pieces(per_second * goal.measured.record(topic)?.bytes * HEADROOM / POLLER_BYTES).max(1))
    };
    let per_second = workload.per_second();
    let actions = needs("user_actions", per_second * workload.actions_per_transaction)?;
    grown.at_least("TrackUserActionsPollers", actions);
    grown.at_least("TrackUserActionsConcurrency", actions.saturating_mul(PER_POLLER));
    let (transactions, approved) = (needs("transactions", per_second)?, needs("approved", per_second)?);
    let sum = archive(goal, workload, grown, [transactions, actions, approved])?;
    let labels = per_second * workload.labels_per_transaction;
    // A label takes some 30 ms, one after the other.
    grown.at_least("ApplyLabelsConcurrency", pieces(labels * 0.03 * HEADROOM));
    grown.at_least("CompactLakeSlices", pieces(goal.per_minute / 250_000.0));
    brake(workload, grown, sum);
    Ok(())
}

/// Pollers of the archive, of which its bytes need at least so many; returns all of them.
fn archive(
    goal: &Goal<'_>,
    workload: &Workload,
    grown: &mut Grown<'_>,
    [transactions, actions, approved]: [u32; 3],
) -> Result<u32, PlanError> {
    let per_second = workload.per_second();
    let acted = per_second * workload.actions_per_transaction;
    for (name, partitions, topic, per_second, least) in [
        ("ArchiveTransactionsPollers", "TransactionsPartitions", "transactions", per_second, transactions),
        ("ArchiveUserActionsPollers", "UserActionsPartitions", "user_actions", acted, actions),
        ("ArchiveApprovedPollers", "DecisionPartitions", "approved", per_second, approved),
    ] {
        let partitions = number(&grown.parameters, partitions).unwrap_or(1);
        let before = number(grown.base, name).unwrap_or(1);
        let pollers = archive_pollers(goal, workload, topic, per_second, partitions, least.max(before))?;
        grown.at_least(name, pollers);
    }
    if !grown.base.contains_key("ArchiveUserActionsPollers") {
        grown.at_least("ArchiveRecordsPollers", transactions.max(actions).max(approved));
    }
    let sum = ["ArchiveTransactionsPollers", "ArchiveUserActionsPollers", "ArchiveApprovedPollers"]
        .map(|name| number(&grown.parameters, name).unwrap_or(approved))
        .into_iter()
        .fold(3, u32::saturating_add);
    // A batch lasts a third of a second and gathers for a minute, so not all of these invocations are ever at work.
    grown.at_least("ArchiveRecordsConcurrency", sum.saturating_mul(PER_POLLER).min(ARCHIVE_CONCURRENCY_MAX));
    Ok(sum)
}

/// Pollers of the archive's mapping of a topic, `least` or more: each costs a share of a unit, and more of them make fewer objects of the same
/// records, because each has fewer partitions. The cheapest sum.
fn archive_pollers(
    goal: &Goal<'_>,
    workload: &Workload,
    topic: &str,
    per_second: f64,
    partitions: u32,
    least: u32,
) -> Result<u32, PlanError> {
    let mappings = &goal.sizes.mappings;
    let mapping = mappings.iter().find(|mapping| mapping.function == ARCHIVE && mapping.topic == topic);
    let Some(mapping) = mapping else { return Ok(least) };
    let bytes = goal.measured.record(topic)?.bytes;
    // An object is put once and read once.
    let object = (goal.prices.usd("s3.put_thousand")? + goal.prices.usd("s3.get_thousand")?) / 1_000.0;
    let poller = goal.prices.usd("lambda.poller_unit_hour")? * HOURS_A_MONTH / POLLERS_PER_UNIT;
    let usd = |pollers: u32| {
        let objects = objects_of(mapping, (partitions, pollers), per_second, bytes, workload.call_ms_p50);
        objects * SECONDS_A_MONTH * object + f64::from(pollers) * poller
    };
    let most = partitions.min(POLLERS_MAX).max(least);
    let cheapest = (least..=most).min_by(|one, other| usd(*one).total_cmp(&usd(*other)));
    Ok(cheapest.unwrap_or(least))
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
