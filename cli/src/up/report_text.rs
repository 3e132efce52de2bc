//! The reconciliation report as a person reads it.

use std::fmt::Write as _;

use centinela_audit::backlog::Backlog;
use centinela_audit::burst::Burst;
use centinela_audit::figures::{LONGEST_US, Percentiles, ProcessCpu};
use centinela_audit::lake::LakeCheck;
use centinela_audit::report::Report;

/// The whole report.
pub fn of(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _infallible = write_all(&mut out, report);
    out
}

fn write_all(out: &mut String, report: &Report) -> std::fmt::Result {
    let records = &report.records;
    writeln!(out, "\nReconciliation report of {} s at {:.0} decisions a second", report.seconds, report.rate_tx_s)?;
    writeln!(out, "  records     {} sent, {} unique", records.sent, records.unique)?;
    writeln!(
        out,
        "              {} decided ({} approved, {} blocked), {} dead-lettered",
        records.decided, records.approved, records.blocked, records.parked
    )?;
    writeln!(
        out,
        "  repeats     {} replayed, {} republished ({} for a producer's duplicate, {} for a delivery that came again), {} stale",
        records.replayed,
        records.republished,
        records.republished_duplicates,
        records.republished.saturating_sub(records.republished_duplicates),
        records.stale
    )?;
    writeln!(out, "  flagged     {} late, {} degraded", records.late, records.degraded)?;
    if report.cut.later > 0 {
        writeln!(out, "  cut         {} offsets came after the end of the run and do not count", report.cut.later)?;
    }
    writeln!(out, "  latency     {}", milliseconds(&report.latency_ms))?;
    for (stage, times) in &report.stages_ms {
        writeln!(out, "    {stage:<12}{}", milliseconds(times))?;
    }
    let dynamodb = &report.dynamodb;
    writeln!(
        out,
        "  dynamodb    per transaction {:.3} write units, {:.3} read units, {:.3} calls",
        dynamodb.write_units_per_tx, dynamodb.read_units_per_tx, dynamodb.calls_per_tx
    )?;
    write_beside(out, report)?;
    for (name, function) in &report.function {
        writeln!(
            out,
            "  {name}: {:.0} µs CPU and {:.3} write units per transaction, {} MB, {} invocations of {} records (median)",
            function.cpu_us_per_tx,
            function.write_units_per_tx,
            function.rss_mb_max,
            function.invocations,
            batch_p50(report, name).unwrap_or(function.batch_p50)
        )?;
        writeln!(
            out,
            "              {} processes started, first answer after {:.0} ms; {} errors, {} timeouts, {} crashes",
            function.cold_starts, function.first_decision_ms, function.errors, function.timeouts, function.crashes
        )?;
    }
    if let Some(process) = &report.process {
        let memory = process.rss_mb_max.map_or_else(String::new, |rss_mb| format!("; {rss_mb} MB"));
        writeln!(out, "  process     CPU per transaction: {}{memory}", parts(&process.cpu_us_per_tx))?;
    }
    if let Some(backlog) = &report.backlog {
        write_backlog(out, backlog)?;
    }
    if let Some(burst) = &report.burst {
        write_burst(out, burst)?;
    }
    if let Some(producer) = &report.producer {
        writeln!(
            out,
            "  producer    {} sent, {} acknowledged, {} failed, at most {} ms behind",
            producer.sent, producer.acknowledged, producer.failed, producer.behind_ms_max
        )?;
    }
    if let Some(score) = &report.score {
        writeln!(
            out,
            "  scores      average precision {:.3}, ROC AUC {:.3} over {} labelled ({} frauds)",
            score.average_precision, score.roc_auc, score.transactions, score.frauds
        )?;
        let precision =
            score.blocked_precision.map_or_else(|| "none".to_owned(), |precision| format!("{precision:.3}"));
        writeln!(
            out,
            "              blocked: precision {precision}, recall {:.3}; mean score {:.5}, base rate {:.5}",
            score.blocked_recall, score.score_mean, score.base_rate
        )?;
    }
    if let Some(chaos) = &report.chaos {
        writeln!(out, "  faults      of seed {}, and what they led to", chaos.seed)?;
        for line in &chaos.faults {
            writeln!(out, "    {:<17} {:>6}  {}", line.fault, line.times, line.led_to)?;
            if !line.functions.is_empty() {
                let met = line.functions.iter().map(|(function, times)| format!("{function} {times}"));
                writeln!(out, "    {:<24}  met {}", "", met.collect::<Vec<_>>().join(", "))?;
            }
        }
    }
    if let Some(why) = &report.incomplete {
        writeln!(out, "  INCOMPLETE  {why}")?;
    }
    match (report.fault(), &report.incomplete) {
        (Some(fault), _) => writeln!(out, "  NOT CLEAN   {fault}"),
        (None, Some(_)) if !report.is_whole => {
            let undecided = report.records.undecided;
            writeln!(
                out,
                "              as far as is known: {undecided} undecided, waiting or lost; tables and lake were not compared"
            )
        }
        (None, Some(_)) => {
            writeln!(out, "              of what was sent: 0 lost, 0 doubled, every user's totals as they should be")
        }
        (None, None) => {
            writeln!(out, "  CLEAN       0 lost, 0 doubled; every user's totals equal the sum of the transactions")?;
            if report.actions.is_some() {
                writeln!(
                    out,
                    "              every profile equals the user's actions, every risk the labels that stand"
                )?;
            }
            if report.streams.is_some() {
                writeln!(
                    out,
                    "              the index has every decision once, every roll-up is the fold of its window's decisions"
                )?;
            }
            if report.archive.is_some() {
                writeln!(out, "              every record of every topic is in the lake once, or dead-lettered")?;
            }
            Ok(())
        }
    }
}

/// Median records of an invocation, by the mapping that invokes the function most.
fn batch_p50(report: &Report, function: &str) -> Option<u64> {
    let mappings = report.mappings.get(function)?.values();
    mappings.max_by_key(|mapping| mapping.batches).map(|mapping| mapping.batch_p50)
}

/// What comes beside transactions.
fn write_beside(out: &mut String, report: &Report) -> std::fmt::Result {
    if let Some(actions) = &report.actions {
        writeln!(
            out,
            "  actions     {} of {} users, {} dead-lettered; {:.3} write units each",
            actions.records, actions.users, actions.dead_lettered, actions.write_units_per_action
        )?;
    }
    if let Some(labels) = &report.labels {
        writeln!(
            out,
            "  labels      {} of {} transactions, {} other events, {} dead-lettered; {:.3} write units each",
            labels.labels,
            labels.transactions,
            labels.records.saturating_sub(labels.labels),
            labels.dead_lettered,
            labels.write_units_per_label
        )?;
    }
    write_streams(out, report)?;
    let Some(archive) = &report.archive else { return Ok(()) };
    let records: u64 = archive.topics.values().map(|topic| topic.records).sum();
    let of = |count: fn(&LakeCheck) -> u64| -> u64 { archive.topics.values().map(count).sum() };
    writeln!(
        out,
        "  lake        {records} records of {} topics: {} missing, {} twice, {} wrong; {} files of {:.0} KB",
        archive.topics.len(),
        of(|topic| topic.missing),
        of(|topic| topic.twice),
        of(|topic| topic.wrong),
        archive.files,
        archive.file_bytes_mean / 1_000.0
    )?;
    if let (Some(puts), Some(per_hour)) = (archive.raw_puts, archive.raw_puts_per_hour) {
        writeln!(out, "              {puts} objects written by the archive, {per_hour:.0} in an hour at this rate")?;
    }
    Ok(())
}

/// What functions made of the stream.
fn write_streams(out: &mut String, report: &Report) -> std::fmt::Result {
    let Some(streams) = &report.streams else { return Ok(()) };
    if let Some(index) = &streams.index {
        writeln!(
            out,
            "  index       {} decisions by transaction: {} missing, {} wrong",
            index.decisions, index.missing, index.wrong
        )?;
    }
    if let Some(rollups) = &streams.rollups {
        writeln!(
            out,
            "  roll-ups    {} decisions in {} windows of shards ({} items), {} published again in another: {} missing, {} wrong",
            rollups.decisions, rollups.windows, rollups.items, rollups.again, rollups.missing, rollups.wrong
        )?;
    }
    Ok(())
}

/// What the threads of this process spent on a transaction.
fn parts(cpu: &ProcessCpu) -> String {
    let parts = [
        (cpu.broker, "broker"),
        (cpu.aws_stand_ins, "AWS emulators"),
        (Some(cpu.kafka_clients), "Kafka clients"),
        (Some(cpu.platform), "platform"),
    ];
    let named = parts.iter().filter_map(|(micros, name)| micros.map(|micros| format!("{micros:.0} µs {name}")));
    named.collect::<Vec<_>>().join(", ")
}

fn write_backlog(out: &mut String, backlog: &Backlog) -> std::fmt::Result {
    writeln!(
        out,
        "  backlog     {} waited, put there at {:.0} a second; worked off in {:.1} s",
        backlog.waiting, backlog.sent_tx_s, backlog.seconds
    )?;
    match &backlog.steady {
        None => writeln!(out, "              too few, or not all were decided: no throughput"),
        Some(steady) => writeln!(
            out,
            "              {:.0} decisions a second from 30 % on, at {:.0} µs CPU of the function per transaction",
            steady.tx_s, steady.function_cpu_us_per_tx
        ),
    }
}

fn write_burst(out: &mut String, burst: &Burst) -> std::fmt::Result {
    let worked_off = burst
        .caught_up_s
        .map_or_else(|| "never worked off".to_owned(), |seconds| format!("worked off {seconds:.1} s after its end"));
    writeln!(
        out,
        "  burst       {} times the rate for {} s: {} undecided at most, {} before it; {worked_off}",
        burst.factor, burst.seconds, burst.undecided_max, burst.undecided_before
    )
}

fn milliseconds(times: &Percentiles) -> String {
    let [p50, p99, p999, max] = [times.p50, times.p99, times.p999, times.max].map(|ms| as_time(ms, ""));
    format!("p50 {p50}  p99 {p99}  p99.9 {p999}  max {max} ms")
}

/// Milliseconds with their unit, as far as they are told apart.
pub fn as_time(ms: f64, unit: &str) -> String {
    #[expect(clippy::cast_precision_loss, reason = "an hour")]
    const HOUR_MS: f64 = LONGEST_US as f64 / 1_000.0;
    if HOUR_MS <= ms { "> 1 h".to_owned() } else { format!("{ms:.1}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::as_time;

    #[test]
    fn a_time_that_is_not_told_apart_has_no_number() {
        assert_eq!([20.0, 3_600_000.0].map(|ms| as_time(ms, " ms")), ["20.0 ms", "> 1 h"]);
    }
}
