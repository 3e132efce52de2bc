//! Kills every function process a number of times, evenly over a run.

use std::time::{Duration, Instant};

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub enum Course {
    /// It ends after this time.
    Time(Duration),
    /// It ends after this many records.
    Records(u64),
    /// Nobody knows.
    Open,
}

/// A plan of kills.
#[derive(Clone, Copy, Debug)]
pub struct Kills {
    planned: u32,
    done: u32,
    course: Course,
    started: Instant,
    last: Instant,
}

/// Between two kills of a run whose length nobody knows.
const OPEN_SPACING: Duration = Duration::from_secs(2);

impl Kills {
    /// Plans `planned` kills.
    pub fn new(planned: u32, course: Course) -> Self {
        let now = Instant::now();
        Self { planned, done: 0, course, started: now, last: now }
    }

    /// Kills that were carried out.
    pub fn done(&self) -> u32 {
        self.done
    }

    /// Whether the next kill is due after `records`; asking counts it.
    pub fn is_due(&mut self, records: u64) -> bool {
        if self.done == self.planned {
            return false;
        }
        // As fractions: the largest plan has no number after it.
        let share = (f64::from(self.done) + 1.0) / (f64::from(self.planned) + 1.0);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let due = match self.course {
            Course::Time(length) => length.mul_f64(share) <= self.started.elapsed(),
            Course::Records(count) => count as f64 * share <= records as f64,
            Course::Open => OPEN_SPACING <= self.last.elapsed(),
        };
        if due {
            self.done += 1;
            self.last = Instant::now();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_spread_evenly_and_end_before_the_run() {
        let mut kills = Kills::new(3, Course::Records(100));
        let due: Vec<u64> = (0..=100).filter(|records| kills.is_due(*records)).collect();
        assert_eq!(due, [25, 50, 75]);
        assert_eq!(kills.done(), 3);
    }

    #[test]
    fn the_largest_plan_is_as_good_as_any() {
        let mut kills = Kills::new(u32::MAX, Course::Records(100));
        assert!(!kills.is_due(0) && kills.is_due(1));
        assert_eq!(kills.done(), 1);
    }
}
