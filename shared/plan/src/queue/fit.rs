//! From measured runs to the two numbers of an invocation.

use super::{CALLS, Question};
use crate::PlanError;
use crate::measured::{Invocation, Run};

/// 99 % quantile of the normal distribution.
const Z99: f64 = 2.326_347_874_040_841;

/// The deviation of the logarithm of a call's latency.
pub(super) fn sigma(p50: f64, p99: f64) -> f64 {
    if p50 > 0.0 && p99 > p50 { (p99 / p50).ln() / Z99 } else { 0.0 }
}

/// Mean milliseconds of all calls of an invocation, one after the other.
#[must_use]
pub fn calls_mean_ms(p50: f64, p99: f64) -> f64 {
    f64::from(CALLS) * p50.max(0.0) * (sigma(p50, p99).powi(2) / 2.0).exp()
}

/// The lines through the runs' invocations, by least squares: milliseconds beside the calls' waits, and processor time, over records of a
/// batch. One run, or runs of one batch size, cannot tell an invocation from its records: then a record costs what it did `before`. Nothing is
/// ever below 0.
///
/// # Errors
/// There is no run, or one without invocations.
pub fn fit(runs: &[Run], before: Invocation) -> Result<Invocation, PlanError> {
    let runs: Vec<&Run> = runs.iter().filter(|run| run.batch >= 1.0 && run.invocation_ms > 0.0).collect();
    let points = |of: fn(&Run) -> f64| runs.iter().map(|run| (run.batch, of(run))).collect::<Vec<_>>();
    let own_ms = points(|run| run.invocation_ms - calls_mean_ms(run.call_ms[0], run.call_ms[1]));
    let none = || PlanError::Report("invocations of the function that decides".to_owned());
    let (base_ms, record_ms) = line(&own_ms, before.record_ms).ok_or_else(none)?;
    let (cpu_base_ms, cpu_record_ms) = line(&points(|run| run.cpu_ms), before.cpu_record_ms).ok_or_else(none)?;
    Ok(Invocation { base_ms, record_ms, cpu_base_ms, cpu_record_ms })
}

/// Where a line through points begins, and how steep it is.
fn line(points: &[(f64, f64)], slope_unless_told: f64) -> Option<(f64, f64)> {
    if points.is_empty() {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful of runs")]
    let number = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / number;
    let (across, up) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - across).powi(2)).sum();
    let slope = if spread < 0.25 {
        slope_unless_told
    } else {
        points.iter().map(|point| (point.0 - across) * (point.1 - up)).sum::<f64>() / spread
    };
    let slope = slope.max(0.0);
    Some(((up - slope * across).max(0.0), slope))
}

/// What a measured run was, so that the model can be held against it. One machine has one poller per five environments.
#[must_use]
pub fn question_of(run: &Run, invocation: Invocation, batch_max: u32) -> Question {
    Question {
        per_second: run.per_second,
        partitions: run.partitions,
        pollers: run.slots.div_ceil(super::INVOCATIONS_PER_POLLER).max(1),
        concurrency: run.slots,
        batch_max,
        base_ms: invocation.base_ms,
        record_ms: invocation.record_ms,
        call_ms_p50: run.call_ms[0],
        call_ms_p99: run.call_ms[1],
    }
}
