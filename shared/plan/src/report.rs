//! From the reports of `centinela up --summary` to measured units.

use serde_json::Value;

use crate::PlanError;
use crate::measured::{Invocation, Measured, Run, TableUnits};
use crate::queue::{fit, predict, question_of};
use crate::sizes::SCORING;

/// Tables that are not counted here: the index is an option, and marks are read by batch.
const INDEX: &str = "decisions";
const MARKS: &str = "settled_offsets";
const LABELS: &str = "labels";
/// The most records of a batch, as the stacks have it.
const BATCH_MAX: u32 = 100;
/// A duration is billed in whole milliseconds, so it is half of one too long on average.
const ROUNDING_MS: f64 = 0.5;

/// Who measured, for the file.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The day.
    pub measured_on: &'a str,
    /// What it ran on.
    pub machine: &'a str,
    /// The command that is to be repeated.
    pub command: &'a str,
}

impl Measured {
    /// The units of some reports. What a report does not have stays as it is in `self`: the compression of records, which is measured once, and
    /// how the processor time of a function divides into invocations and records. The last report gives what is no invocation's; so it should
    /// be the longest one at the rate that matters.
    ///
    /// # Errors
    /// There is no report, or one has no decisions of the embedded servers.
    pub fn with_reports(&self, reports: &[Value], origin: Origin<'_>) -> Result<Self, PlanError> {
        let runs = reports.iter().map(run).collect::<Result<Vec<_>, _>>()?;
        let report = reports.last().ok_or_else(|| PlanError::Report("content".to_owned()))?;
        let invocation = fit(&runs, self.invocation)?;
        let mut measured = Self {
            about: "Written by `centinela plan --measure`; compression and the metrics' number by hand.".to_owned(),
            measured_on: origin.measured_on.to_owned(),
            machine: origin.machine.to_owned(),
            command: origin.command.to_owned(),
            runs,
            invocation,
            ..self.clone()
        };
        measured.tables(report, invocation)?;
        measured.beside(report);
        measured.lines(report);
        measured.lake(report);
        measured.check()?;
        Ok(measured)
    }

    fn tables(&mut self, report: &Value, invocation: Invocation) -> Result<(), PlanError> {
        let decided = required(report, "/records/decided", "decisions")?;
        let units = |kind: &str| report.pointer(&format!("/dynamodb/{kind}")).and_then(Value::as_object);
        let (Some(writes), Some(reads)) = (units("write_units"), units("read_units")) else {
            return Err(PlanError::Report("units by table".to_owned()));
        };
        let of = |units: &serde_json::Map<String, Value>, table: &str| {
            units.get(table).and_then(Value::as_f64).unwrap_or(0.0)
        };
        let labels = number(report, "/labels/labels").filter(|labels| *labels > 0.0);
        if let Some(labels) = labels {
            self.labels_per_transaction = labels / decided;
        }
        // A run without labels says nothing of what they take.
        let tells = |table: &str| table != INDEX && (table != LABELS || labels.is_some());
        for table in writes.keys().chain(reads.keys()).filter(|table| tells(table)) {
            let write = of(writes, table) / decided;
            let read = if table == MARKS { 0.0 } else { of(reads, table) / decided };
            self.tables.insert(table.clone(), TableUnits { write, read });
        }
        let run = run(report)?;
        let batches = decided / run.batch;
        let partitions = predict(&question_of(&run, invocation, BATCH_MAX)).partitions_per_batch;
        let marks = of(reads, MARKS) / (batches * partitions.max(1.0));
        if marks > 0.0 {
            self.mark_read_units = marks;
        }
        Ok(())
    }

    /// The other functions' processor time: divided as it was, and as much as was measured.
    fn beside(&mut self, report: &Value) {
        for (function, units) in &mut self.functions {
            let number = |field: &str| number(report, &format!("/function/{function}/{field}"));
            let (Some(cpu_s), Some(invocations)) = (number("cpu_s"), number("invocations")) else { continue };
            let Some(records) = records_of(report, function).filter(|_| cpu_s > 0.0 && invocations > 0.0) else {
                continue;
            };
            let expected_s = (invocations * units.cpu_ms + records * units.record_cpu_us / 1_000.0) / 1_000.0;
            if expected_s > 0.0 {
                units.cpu_ms *= cpu_s / expected_s;
                units.record_cpu_us *= cpu_s / expected_s;
            }
        }
        let topics = report.pointer("/topics").and_then(Value::as_object);
        for (topic, seen) in topics.into_iter().flatten() {
            let (records, bytes) = (number(seen, "/records"), number(seen, "/bytes"));
            if let (Some(records), Some(bytes), Some(units)) =
                (records.filter(|records| *records > 0.0), bytes, self.records.get_mut(topic))
            {
                units.bytes = bytes / records;
            }
        }
    }

    fn lines(&mut self, report: &Value) {
        let number = |field: &str| number(report, &format!("/function/{SCORING}/{field}"));
        if let (Some(bytes), Some(invocations)) = (number("metric_bytes"), number("invocations"))
            && bytes > 0.0
            && invocations > 0.0
            && let Ok(run) = run(report)
        {
            self.log_line_bytes = (bytes / invocations - run.batch * self.log_record_bytes).max(0.0);
        }
    }

    fn lake(&mut self, report: &Value) {
        let topics = report.pointer("/archive/topics").and_then(Value::as_object);
        let sum = |field: &str| topics.into_iter().flatten().filter_map(|(_, topic)| number(topic, field)).sum::<f64>();
        let (records, bytes) = (sum("/records"), sum("/bytes"));
        if records <= 0.0 || bytes <= 0.0 {
            return;
        }
        self.lake.record_bytes = bytes / records;
        if let Some(put) = number(report, "/archive/put_bytes").filter(|put| *put > bytes) {
            self.lake.raw_record_bytes = (put - bytes) / records;
        }
    }
}

/// A report's run, as far as the queueing model is concerned.
///
/// # Errors
/// It has no decisions or invocations.
pub fn run(report: &Value) -> Result<Run, PlanError> {
    let function =
        |field: &str| required(report, &format!("/function/{SCORING}/{field}"), "figures of score-transactions");
    let invocations = function("invocations")?;
    let sent = required(report, "/records/sent", "transactions")?;
    required(report, "/records/decided", "decisions")?;
    let percentile = |name: &str| number(report, &format!("/latency_ms/{name}")).unwrap_or(0.0);
    let drawn = |index: usize| number(report, &format!("/drawn_ms/{index}")).unwrap_or(0.0);
    let partitions = report.pointer("/cut/ends").and_then(Value::as_array).map_or(0, Vec::len);
    let partitions = u32::try_from(partitions).unwrap_or(u32::MAX).max(1);
    Ok(Run {
        per_second: required(report, "/rate_tx_s", "rate")?,
        batch: (sent / invocations).max(1.0),
        invocation_ms: (function("billed_s")? * 1_000.0 / invocations - ROUNDING_MS).max(0.0),
        cpu_ms: function("cpu_s")? * 1_000.0 / invocations,
        call_ms: [drawn(0), drawn(1)],
        latency_ms: [percentile("p50"), percentile("p99"), percentile("p999")],
        slots: crate::pieces(function("cold_starts")?).clamp(1, partitions),
        partitions,
    })
}

/// Records that a function worked, where the report tells.
fn records_of(report: &Value, function: &str) -> Option<f64> {
    let archived = || {
        let topics = report.pointer("/archive/topics")?.as_object()?;
        Some(topics.values().filter_map(|topic| number(topic, "/records")).sum())
    };
    match function {
        "track-user-actions" => number(report, "/actions/records"),
        "apply-labels" => number(report, "/labels/records"),
        "archive-records" | "compact-lake" => archived(),
        _ => number(report, "/records/decided"),
    }
}

fn number(value: &Value, pointer: &str) -> Option<f64> {
    value.pointer(pointer).and_then(Value::as_f64)
}

/// A number above 0.
fn required(report: &Value, pointer: &str, what: &str) -> Result<f64, PlanError> {
    number(report, pointer).filter(|number| *number > 0.0).ok_or_else(|| PlanError::Report(what.to_owned()))
}
