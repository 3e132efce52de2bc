//! When the kills of `--kill` are due: evenly over a run.

use std::time::Duration;

/// How far a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// It ends after this time.
    Time(Duration),
    /// It ends after this many records.
    Records(u64),
    /// Nobody knows.
    Open,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    /// Since it began.
    pub(super) elapsed: Duration,
    /// Since the last kill.
    pub(super) since_last: Duration,
    /// Transactions with a decision.
    pub(super) decided: u64,
}

/// Between two kills of a run whose length nobody knows.
const OPEN_SPACING: Duration = Duration::from_secs(2);

impl Course {
    /// Whether the next of `planned` kills is due when `done` were carried out.
    pub(super) fn is_due(self, done: u32, planned: u32, reached: Reached) -> bool {
        // As fractions: the largest plan has no number after it.
        let share = (f64::from(done) + 1.0) / (f64::from(planned) + 1.0);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        match self {
            Self::Time(length) => length.mul_f64(share) <= reached.elapsed,
            Self::Records(count) => count as f64 * share <= reached.decided as f64,
            Self::Open => OPEN_SPACING <= reached.since_last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(decided: u64) -> Reached {
        Reached { elapsed: Duration::ZERO, since_last: Duration::ZERO, decided }
    }

    #[test]
    fn kills_are_spread_evenly_and_end_before_the_run() {
        let mut due = Vec::new();
        for decided in 0..=100 {
            let done = due.len() as u32;
            if done < 3 && Course::Records(100).is_due(done, 3, after(decided)) {
                due.push(decided);
            }
        }
        assert_eq!(due, [25, 50, 75]);
    }

    #[test]
    fn the_largest_plan_is_as_good_as_any() {
        let is_due = |decided| Course::Records(100).is_due(0, u32::MAX, after(decided));
        assert!(!is_due(0) && is_due(1));
    }
}
