//! S3: the archive's objects, the compacted files by age, and the requests for both.

use super::lambda::{batch, lists};
use super::{Basis, Line, a_month, hours};
use crate::{KafkaMapping, PlanError};

const SERVICE: &str = "S3";
const GB: f64 = 1e9;
const SECONDS_A_DAY: f64 = 86_400.0;
const SECONDS_AN_HOUR: f64 = 3_600.0;
/// Days of a month of 730 hours.
const DAYS_A_MONTH: f64 = 365.0 / 12.0;
const ARCHIVE: &str = "archive-records";
/// Requests of a compaction for each file: state, manifest, list, superseded files.
const REQUESTS_PER_FILE: f64 = 4.0;
/// A raw object is put, read and deleted; each is a line of the access log.
const LINES_PER_OBJECT: f64 = 3.0;
const ACCESS_LINE_BYTES: f64 = 600.0;
/// Of what analysts scan so much is older than the move to Glacier, where reading is paid. Assumed.
const COLD_SHARE: f64 = 0.1;
/// Bytes of a file that a query reads at once. Assumed.
const READ_BYTES: f64 = 1e6;
const TB: f64 = 1e12;

pub(super) fn lines(basis: &Basis<'_>) -> Result<Vec<Line>, PlanError> {
    let objects = raw_objects(basis)?;
    let records = archived(basis);
    let lake = &basis.measured.lake;
    let bytes_a_day = records * lake.record_bytes * SECONDS_A_DAY;
    let files_a_month = records * lake.record_bytes / lake.file_bytes.max(1.0);
    let mut lines = Vec::new();
    let why = format!("{objects:.1} raw objects a second: one for each partition in a batch of the archive");
    lines.push(basis.line(
        SERVICE,
        "objects of the archive",
        (a_month(objects) / 1_000.0, "thousand requests"),
        "s3.put_thousand",
        why.clone(),
    )?);
    lines.push(basis.line(
        SERVICE,
        "reads of the compaction",
        (a_month(objects) / 1_000.0, "thousand requests"),
        "s3.get_thousand",
        why,
    )?);
    let compaction = basis.sizes.compaction;
    let runs = f64::from(compaction.runs_an_hour);
    let listed = compaction.listed_hours(f64::from(compaction.shares));
    let lists = lists(objects * SECONDS_AN_HOUR * listed);
    lines.push(basis.line(
        SERVICE,
        "lists of the compaction",
        (hours(runs * lists) / 1_000.0, "thousand requests"),
        "s3.put_thousand",
        format!("{runs} runs an hour, each lists the raw objects of {listed:.1} hours"),
    )?);
    let requests = a_month(files_a_month * REQUESTS_PER_FILE) / 1_000.0;
    lines.push(basis.line(
        SERVICE,
        "writes of the compaction",
        (requests, "thousand requests"),
        "s3.put_thousand",
        format!("files of {:.0} MB, {REQUESTS_PER_FILE} requests each", lake.file_bytes / 1e6),
    )?);
    stored(basis, bytes_a_day, records, &mut lines)?;
    let requests = objects * LINES_PER_OBJECT + files_a_month * REQUESTS_PER_FILE;
    let kept = requests * ACCESS_LINE_BYTES * SECONDS_A_DAY * basis.sizes.lake.access_log_days / GB;
    let why =
        format!("a line of {ACCESS_LINE_BYTES} bytes a request, kept {:.0} days", basis.sizes.lake.access_log_days);
    lines.push(basis.line(SERVICE, "records of requests", (kept, "GB"), "s3.standard", why)?);
    queried(basis, &mut lines)?;
    let moved = a_month(files_a_month) / 1_000.0;
    lines.push(basis.line(
        SERVICE,
        "moves to Intelligent-Tiering",
        (moved, "thousand requests"),
        "s3.to_intelligent_thousand",
        "each file once",
    )?);
    lines.push(basis.line(
        SERVICE,
        "moves to Glacier Instant Retrieval",
        (moved, "thousand requests"),
        "s3.to_glacier_ir_thousand",
        "each file once",
    )?);
    Ok(lines)
}

/// What analysts' queries ask of the lake, beside what Athena is paid for.
fn queried(basis: &Basis<'_>, lines: &mut Vec<Line>) -> Result<(), PlanError> {
    let scanned = basis.workload.scanned_tb_month * TB;
    lines.push(basis.line(
        SERVICE,
        "reads of queries",
        (scanned / READ_BYTES / 1_000.0, "thousand requests"),
        "s3.get_thousand",
        "assumed: a megabyte at once",
    )?);
    let cold = basis.workload.lake_months * DAYS_A_MONTH > basis.sizes.lake.glacier_after_days;
    let share = if cold { COLD_SHARE } else { 0.0 };
    lines.push(basis.line(
        SERVICE,
        "queries of cold files",
        (scanned * share / GB, "GB"),
        "s3.glacier_ir.retrieved",
        format!("assumed: {:.0} % of what is scanned is in Glacier", COLD_SHARE * 100.0),
    )?);
    Ok(())
}

/// Records a second that the archive reads.
fn archived(basis: &Basis<'_>) -> f64 {
    let mappings = basis.sizes.mappings.iter().filter(|mapping| mapping.function == ARCHIVE);
    mappings.map(|mapping| basis.rate_of(&mapping.topic)).sum()
}

/// Objects a second that the archive puts.
pub(crate) fn raw_objects(basis: &Basis<'_>) -> Result<f64, PlanError> {
    let mut objects = 0.0;
    for mapping in basis.sizes.mappings.iter().filter(|mapping| mapping.function == ARCHIVE) {
        let per_second = basis.rate_of(&mapping.topic);
        let Some(topic) = basis.sizes.topic(&mapping.topic).filter(|_| per_second > 0.0) else { continue };
        let bytes = basis.measured.record(&mapping.topic)?.bytes;
        let spread = (topic.partitions, mapping.pollers_min);
        objects += objects_of(mapping, spread, per_second, bytes, basis.workload.call_ms_p50);
    }
    Ok(objects)
}

/// Objects a second that one mapping of the archive puts, with these partitions and pollers: a poller fills its batches from its own
/// partitions, and each of them in a batch is an object.
pub(crate) fn objects_of(
    mapping: &KafkaMapping,
    (partitions, pollers): (u32, u32),
    per_second: f64,
    record_bytes: f64,
    call_ms: f64,
) -> f64 {
    let partitions = f64::from(partitions.max(1));
    let pollers = f64::from(pollers.max(1)).min(partitions);
    let records = batch(per_second / pollers, mapping.batch, mapping.window_s, record_bytes, call_ms);
    per_second / records * (partitions / pollers).min(records)
}

fn stored(basis: &Basis<'_>, bytes_a_day: f64, records: f64, lines: &mut Vec<Line>) -> Result<(), PlanError> {
    let lake = basis.sizes.lake;
    let days = basis.workload.lake_months * DAYS_A_MONTH;
    let hot = days.min(lake.intelligent_after_days);
    let warm = (days.min(lake.glacier_after_days) - hot).max(0.0);
    let cold = (days - hot - warm).max(0.0);
    let gb = |days: f64| bytes_a_day * days / GB;
    let why = |days: f64| format!("{days:.0} days of {:.0} GB", bytes_a_day / GB);
    lines.push(basis.line(SERVICE, "hot files", (gb(hot), "GB"), "s3.standard", why(hot))?);
    lines.push(basis.line(
        SERVICE,
        "warm files",
        (gb(warm), "GB"),
        "s3.intelligent",
        format!("{}; not read for 30 days it would be cheaper", why(warm)),
    )?);
    lines.push(basis.line(
        SERVICE,
        "cold files",
        (gb(cold), "GB"),
        "s3.glacier_ir",
        format!("{}: the lake is {:.0} months old and never emptied", why(cold), basis.workload.lake_months),
    )?);
    let raw = records * basis.measured.lake.raw_record_bytes * SECONDS_A_DAY * (lake.noncurrent_days + 0.25) / GB;
    let kept = format!(
        "raw objects are deleted after compaction and stay {:.0} days as noncurrent versions",
        lake.noncurrent_days
    );
    lines.push(basis.line(SERVICE, "raw objects", (raw, "GB"), "s3.standard", kept)?);
    let files = basis.measured.lake.file_bytes.max(1.0);
    let watched = bytes_a_day * warm / files / 1_000.0;
    lines.push(basis.line(
        SERVICE,
        "watching of Intelligent-Tiering",
        (watched, "thousand objects"),
        "s3.intelligent.monitoring",
        "every warm file",
    )?);
    Ok(())
}
