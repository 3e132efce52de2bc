//! Lambda: duration, requests and event poller units.

use std::collections::BTreeMap;

use super::lake::raw_objects;
use super::{Basis, Line, a_month, hours};
use crate::measured::PROCESSOR_MB;
use crate::sizes::{COMPACTION, SCORING, TRANSACTIONS};
use crate::{FunctionUnits, KafkaMapping, PlanError};

const SERVICE: &str = "Lambda";
/// An event poller unit is up to 20 MB a second and by default 10 pollers:
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-scaling-modes.html>.
pub(crate) const POLLERS_PER_UNIT: f64 = 10.0;
pub(crate) const UNIT_BYTES: f64 = 20e6;
/// Invocations that a poller keeps going at once, by the same page.
pub(crate) const SLOTS_PER_POLLER: f64 = 5.0;
/// An invocation takes at most 6 MB: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const PAYLOAD_BYTES: f64 = 6e6;
/// Base64, and what the envelope says about each record.
const BASE64: f64 = 4.0 / 3.0;
const ENVELOPE_BYTES: f64 = 200.0;
/// Gigabytes of memory are binary in this price.
const MB_PER_GB: f64 = 1_024.0;
/// A stream's mapping invokes once a second and shard at least, while there are records.
const STREAM_INVOCATIONS: f64 = 1.0;
/// Tiers of duration on arm64, in GB-seconds a month.
const TIERS: [(f64, &str); 3] =
    [(7.5e9, "lambda.gb_second.tier1"), (11.25e9, "lambda.gb_second.tier2"), (f64::INFINITY, "lambda.gb_second.tier3")];
/// Milliseconds of a request to the HTTP API, most of it waiting for the decision.
const API_MS: f64 = 50.0;
/// Objects that one request lists.
const OBJECTS_A_LIST: f64 = 1_000.0;
const SECONDS_AN_HOUR: f64 = 3_600.0;

/// How much longer processor time takes with this memory than with one processor.
fn slower(memory_mb: f64) -> f64 {
    (PROCESSOR_MB / memory_mb.max(1.0)).max(1.0)
}

/// What a function does in a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) invocations: f64,
    pub(crate) ms: f64,
    pub(crate) records: f64,
}

pub(super) fn lines(basis: &Basis<'_>) -> Result<Vec<Line>, PlanError> {
    let mut lines = Vec::new();
    let mut gb_seconds = 0.0;
    for function in &basis.sizes.functions {
        let Some(work) = work(basis, &function.name)? else { continue };
        let seconds = a_month(work.invocations * work.ms / 1_000.0);
        let gb = function.memory_mb / MB_PER_GB;
        let why = format!(
            "{:.1} invocations a second of {:.1} records, {:.0} ms each, {:.0} MB",
            work.invocations, work.records, work.ms, function.memory_mb
        );
        for (price, amount) in tiers(gb_seconds, seconds * gb) {
            lines.push(basis.line(
                SERVICE,
                format!("duration of {}", function.name),
                (amount, "GB-seconds"),
                price,
                why.clone(),
            )?);
        }
        gb_seconds += seconds * gb;
        let requests = (a_month(work.invocations), "requests");
        lines.push(basis.line(SERVICE, format!("requests of {}", function.name), requests, "lambda.request", why)?);
    }
    for (group, units) in poller_units(basis)? {
        let why = format!(
            "{:.0} pollers, {:.1} MB a second at most; a unit has {POLLERS_PER_UNIT} pollers and 20 MB a second",
            units.pollers,
            units.bytes / 1e6
        );
        let quantity = (hours(units.units()), "unit-hours");
        lines.push(basis.line(
            SERVICE,
            format!("event poller units of {group}"),
            quantity,
            "lambda.poller_unit_hour",
            why,
        )?);
    }
    Ok(lines)
}

/// The amounts of each tier that `amount` more GB-seconds fall into.
fn tiers(before: f64, amount: f64) -> Vec<(&'static str, f64)> {
    let (mut from, mut left) = (before, amount);
    let mut parts = Vec::new();
    let mut begins = 0.0;
    for (size, price) in TIERS {
        let ends = begins + size;
        if from < ends && left > 0.0 {
            let part = left.min(ends - from);
            parts.push((price, part));
            (from, left) = (from + part, left - part);
        }
        begins = ends;
    }
    parts
}

/// What a function does, or nothing where nothing invokes it.
pub(crate) fn work(basis: &Basis<'_>, function: &str) -> Result<Option<Work>, PlanError> {
    if function == SCORING {
        let deciding = &basis.deciding;
        // Rounded up to the millisecond on the bill.
        return Ok(Some(Work {
            invocations: deciding.invocations_per_second,
            ms: deciding.invocation_ms + 0.5,
            records: deciding.batch,
        }));
    }
    let memory_mb = basis.sizes.function(function).map_or(PROCESSOR_MB, |function| function.memory_mb);
    let units = basis.measured.functions.get(function).copied().unwrap_or_default();
    let mut invocations = 0.0;
    let mut records = 0.0;
    for mapping in basis.sizes.mappings.iter().filter(|mapping| mapping.function == function) {
        let per_second = basis.rate_of(&mapping.topic);
        if per_second > 0.0 {
            let bytes = basis.measured.record(&mapping.topic)?.bytes;
            invocations +=
                per_second / batch(per_second, mapping.batch, mapping.window_s, bytes, basis.workload.call_ms_p50);
            records += per_second;
        }
    }
    for mapping in basis.sizes.stream_mappings.iter().filter(|mapping| mapping.function == function) {
        let shards = f64::from(basis.sizes.shards.max(1));
        let per_shard = basis.workload.per_second() / shards;
        let every_s = mapping.window_s.max(1.0 / STREAM_INVOCATIONS);
        invocations += shards * (per_shard / mapping.batch.max(1.0)).max(1.0 / every_s);
        records += basis.workload.per_second();
    }
    match function {
        "decisions-api" => {
            invocations = basis.workload.api_requests_month / crate::SECONDS_A_MONTH;
            return Ok(Some(Work { invocations, ms: API_MS, records: 1.0 }));
        }
        COMPACTION => {
            let runs = f64::from(basis.sizes.compaction.runs_an_hour.max(1));
            return compaction(basis, runs).map(Some);
        }
        _ => {}
    }
    if invocations <= 0.0 {
        return Ok(None);
    }
    let per_invocation = records / invocations;
    let ms = takes_ms(units, per_invocation, memory_mb, basis.workload.call_ms_p50);
    Ok(Some(Work { invocations, ms, records: per_invocation }))
}

/// What each of so many runs an hour has to do, when together they make all hours exact.
pub(crate) fn compaction(basis: &Basis<'_>, runs: f64) -> Result<Work, PlanError> {
    let records: f64 = basis.sizes.topics.iter().map(|topic| basis.rate_of(&topic.name)).sum();
    let objects = raw_objects(basis)?;
    let memory_mb = basis.sizes.function(COMPACTION).map_or(PROCESSOR_MB, |function| function.memory_mb);
    let units = basis.measured.functions.get(COMPACTION).copied().unwrap_or_default();
    let (hours, call_ms) = (basis.sizes.compaction.listed_hours(runs), basis.workload.call_ms_p50);
    let records = records * SECONDS_AN_HOUR / runs;
    let ms = compaction_ms(units, (records, objects * SECONDS_AN_HOUR * hours), memory_mb, call_ms);
    Ok(Work { invocations: runs / SECONDS_AN_HOUR, ms, records })
}

/// Milliseconds of a run with its part of the records, which lists so many objects.
pub(crate) fn compaction_ms(units: FunctionUnits, (records, objects): (f64, f64), memory_mb: f64, call_ms: f64) -> f64 {
    takes_ms(FunctionUnits { calls: units.calls + lists(objects), ..units }, records, memory_mb, call_ms)
}

/// Requests that list so many objects.
pub(crate) fn lists(objects: f64) -> f64 {
    (objects / OBJECTS_A_LIST).ceil()
}

/// Records a second that a poller's slots of a mapping work off, in full batches.
pub(crate) fn slots_work(basis: &Basis<'_>, mapping: &KafkaMapping) -> Result<f64, PlanError> {
    let memory_mb = basis.sizes.function(&mapping.function).map_or(PROCESSOR_MB, |function| function.memory_mb);
    let units = basis.measured.functions.get(&mapping.function).copied().unwrap_or_default();
    let bytes = basis.measured.record(&mapping.topic)?.bytes;
    Ok(slots_work_of(units, mapping.batch, bytes, memory_mb, basis.workload.call_ms_p50))
}

/// The same, of batches of at most so many records of this size.
pub(crate) fn slots_work_of(units: FunctionUnits, batch: f64, bytes: f64, memory_mb: f64, call_ms: f64) -> f64 {
    let records = batch.min(payload_records(bytes)).max(1.0);
    SLOTS_PER_POLLER * records * 1_000.0 / takes_ms(units, records, memory_mb, call_ms).max(1.0)
}

fn takes_ms(units: FunctionUnits, records: f64, memory_mb: f64, call_ms: f64) -> f64 {
    let more = if units.records_per_call > 0.0 { (records / units.records_per_call).floor() } else { 0.0 };
    let waits = (units.calls + more) * call_ms * 1.1;
    waits + (units.cpu_ms + records * units.record_cpu_us / 1_000.0) * slower(memory_mb)
}

/// Records that an invocation's payload holds.
fn payload_records(record_bytes: f64) -> f64 {
    PAYLOAD_BYTES / (record_bytes * BASE64 + ENVELOPE_BYTES)
}

/// Mean records of a batch: what arrives in the window, and what the batch and its payload take. Without a window it is what arrives while
/// an invocation runs; for a topic beside the main one that is a few.
pub(crate) fn batch(per_second: f64, batch_max: f64, window_s: f64, record_bytes: f64, call_ms: f64) -> f64 {
    let gathers_s = if window_s > 0.0 { window_s } else { 3.0 * call_ms / 1_000.0 };
    (per_second * gathers_s).min(batch_max).min(payload_records(record_bytes)).max(1.0)
}

/// Pollers and bytes of one group.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Units {
    pub(crate) pollers: f64,
    pub(crate) bytes: f64,
}

impl Units {
    fn units(self) -> f64 {
        (self.pollers / POLLERS_PER_UNIT).max(self.bytes / UNIT_BYTES).ceil().max(1.0)
    }
}

/// Poller units by group; a mapping without a group has its own.
pub(crate) fn poller_units(basis: &Basis<'_>) -> Result<BTreeMap<String, Units>, PlanError> {
    let mut groups = BTreeMap::<String, Units>::new();
    for mapping in basis.sizes.mappings.iter().filter(|mapping| mapping.pollers_min > 0) {
        let alone = || format!("{} on {}", mapping.function, mapping.topic);
        let group = groups.entry(mapping.group.clone().unwrap_or_else(alone)).or_default();
        group.pollers += f64::from(mapping.pollers_min);
        let per_second = basis.rate_of(&mapping.topic);
        if per_second > 0.0 {
            group.bytes += per_second * basis.measured.record(&mapping.topic)?.bytes;
        }
    }
    Ok(groups)
}

/// The deciding function's topic has this many bytes a second for its pollers.
pub(crate) fn deciding_bytes(basis: &Basis<'_>) -> Result<f64, PlanError> {
    Ok(basis.workload.per_second() * basis.measured.record(TRANSACTIONS)?.bytes)
}
