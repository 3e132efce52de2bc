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

/// The line through the runs' invocations, by least squares: milliseconds beside the calls' waits over records of a batch. One run, or runs of
/// one batch size, cannot tell the two apart: then a record costs `record_ms` as given. Neither is ever below 0.
///
/// # Errors
/// There is no run, or one without invocations.
pub fn fit(runs: &[Run], record_ms: f64) -> Result<Invocation, PlanError> {
    let points: Vec<(f64, f64)> = runs
        .iter()
        .filter(|run| run.batch >= 1.0 && run.invocation_ms > 0.0)
        .map(|run| (run.batch, run.invocation_ms - calls_mean_ms(run.call_ms[0], run.call_ms[1])))
        .collect();
    if points.is_empty() {
        return Err(PlanError::Report("invocations of the function that decides".to_owned()));
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful of runs")]
    let number = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / number;
    let (batch, ms) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - batch).powi(2)).sum();
    let slope = if spread < 0.25 {
        record_ms
    } else {
        points.iter().map(|point| (point.0 - batch) * (point.1 - ms)).sum::<f64>() / spread
    };
    let slope = slope.max(0.0);
    Ok(Invocation { base_ms: (ms - slope * batch).max(0.0), record_ms: slope })
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
