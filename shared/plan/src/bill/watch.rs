//! CloudWatch: logs, metrics, alarms, dashboards.

use super::lambda::work;
use super::{Basis, Line, a_month};
use crate::PlanError;
use crate::sizes::SCORING;

const SERVICE: &str = "CloudWatch";
const GB: f64 = 1e9;
/// CloudWatch adds this to each event: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>.
const EVENT_BYTES: f64 = 26.0;
/// Of what is ingested so much is kept, compressed.
const KEPT_SHARE: f64 = 0.15;
const DAYS_A_MONTH: f64 = 365.0 / 12.0;
/// Beyond the first tier of ingestion from Lambda, in GB a month.
const TIER_GB: f64 = 10_240.0;
/// Metrics that MSK sends above its free level, by broker. Not counted anywhere in AWS's documentation as a number: some forty.
const BROKER_METRICS: f64 = 40.0;
const BROKERS_FREE: &str = "DEFAULT";

pub(super) fn lines(basis: &Basis<'_>) -> Result<Vec<Line>, PlanError> {
    let mut lines = logs(basis)?;
    let watch = basis.sizes.watch;
    let own = f64::from(basis.measured.custom_metrics);
    lines.push(basis.line(
        SERVICE,
        "metrics of our own",
        (own, "metrics"),
        "cloudwatch.metric",
        "those that are sent while all is well; one dimension each",
    )?);
    let mappings = f64::from(watch.mapping_metrics);
    lines.push(basis.line(
        SERVICE,
        "metrics of the mappings",
        (mappings, "metrics"),
        "cloudwatch.metric",
        "taken as paid, which AWS does not say of each; groups of errors are sent on error only",
    )?);
    if basis.sizes.brokers.monitoring != BROKERS_FREE {
        let brokers = f64::from(basis.sizes.brokers.count) * BROKER_METRICS;
        let why = format!(
            "level {}: some {BROKER_METRICS} metrics a broker above the free level",
            basis.sizes.brokers.monitoring
        );
        lines.push(basis.line(SERVICE, "metrics of the brokers", (brokers, "metrics"), "cloudwatch.metric", why)?);
    }
    let ordinary = f64::from(watch.alarm_metrics.saturating_sub(watch.high_resolution));
    lines.push(basis.line(
        SERVICE,
        "alarms",
        (ordinary, "alarm metrics"),
        "cloudwatch.alarm",
        "an alarm on an expression is paid for each metric in it",
    )?);
    lines.push(basis.line(
        SERVICE,
        "alarms of high resolution",
        (f64::from(watch.high_resolution), "alarm metrics"),
        "cloudwatch.alarm.high_resolution",
        "a period below a minute",
    )?);
    lines.push(basis.line(
        SERVICE,
        "composite alarms",
        (f64::from(watch.composites), "alarms"),
        "cloudwatch.alarm.composite",
        "as in the stacks",
    )?);
    lines.push(basis.line(
        SERVICE,
        "dashboards",
        (f64::from(watch.dashboards), "dashboards"),
        "cloudwatch.dashboard",
        "as in the stacks",
    )?);
    Ok(lines)
}

fn logs(basis: &Basis<'_>) -> Result<Vec<Line>, PlanError> {
    let mut lines = Vec::new();
    let mut ingested = 0.0;
    for function in &basis.sizes.functions {
        let Some(work) = work(basis, &function.name)? else { continue };
        // Of the deciding function each record has its latency in the line, up to the format's 100 values.
        let values = if function.name == SCORING { work.records.min(100.0) } else { 0.0 };
        let bytes = basis.measured.log_line_bytes + values * basis.measured.log_record_bytes + EVENT_BYTES;
        let gb = a_month(work.invocations * bytes) / GB;
        let why = format!("a line of {bytes:.0} bytes for each of {:.1} invocations a second", work.invocations);
        let first = (TIER_GB - ingested).clamp(0.0, gb);
        let what = format!("metric lines of {}", function.name);
        lines.push(basis.line(SERVICE, what.clone(), (first, "GB"), "logs.ingest", why.clone())?);
        lines.push(basis.line(SERVICE, what, (gb - first, "GB"), "logs.ingest.tier2", why)?);
        ingested += gb;
    }
    let months = basis.sizes.watch.log_days / DAYS_A_MONTH;
    let why = format!("{:.0} days, kept at {:.0} % of what came in", basis.sizes.watch.log_days, KEPT_SHARE * 100.0);
    lines.push(basis.line(SERVICE, "kept logs", (ingested * months * KEPT_SHARE, "GB"), "logs.storage", why)?);
    Ok(lines)
}
