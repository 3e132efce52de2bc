//! How long something took, as counts by steps that are wider the longer it took: a quarter of the value at most.

/// Exact up to here, in milliseconds.
const EXACT: u64 = 4;
/// Steps from one power of two to the next.
const STEPS: u64 = 4;
/// The last step takes whatever took longer: 2^31 ms are 24 days.
const POWERS: u64 = 31;

/// Number of steps.
pub const LATENCY_STEPS: usize = (STEPS * (POWERS - 1) + STEPS) as usize;

/// Counts by duration. Merging adds them up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// As many as the longest duration needs.
    steps: Vec<u64>,
}

impl Latency {
    /// Counts a duration; a negative one, of clocks that differ, as 0.
    pub fn add(&mut self, milliseconds: i64) {
        self.count(step(u64::try_from(milliseconds).unwrap_or(0)), 1);
    }

    /// Counts several durations of one step; one that does not exist is the last.
    pub fn count(&mut self, step: usize, count: u64) {
        let step = step.min(LATENCY_STEPS - 1);
        if count == 0 {
            return;
        }
        if self.steps.len() <= step {
            self.steps.resize(step + 1, 0);
        }
        self.steps[step] = self.steps[step].saturating_add(count);
    }

    /// The steps that have any, with their counts, the shortest first.
    pub fn steps(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.steps.iter().copied().enumerate().filter(|(_, count)| *count > 0)
    }

    /// How many durations were counted.
    pub fn total(&self) -> u64 {
        self.steps.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (step, count) in other.steps() {
            self.count(step, count);
        }
    }

    /// The longest duration, in milliseconds, of the step that this share of all reaches; none when nothing was counted.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let total = self.total();
        let wanted = ((total as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0u64;
        self.steps().find_map(|(step, count)| {
            seen = seen.saturating_add(count);
            (seen >= wanted).then(|| longest(step))
        })
    }
}

fn step(milliseconds: u64) -> usize {
    if milliseconds < EXACT {
        return milliseconds as usize;
    }
    let power = u64::from(milliseconds.ilog2());
    let within = milliseconds >> (power - 2) & (STEPS - 1);
    ((STEPS * (power - 1) + within) as usize).min(LATENCY_STEPS - 1)
}

/// The longest duration of a step.
fn longest(step: usize) -> u64 {
    let step = step as u64;
    if step < EXACT {
        return step;
    }
    let (power, within) = (step / STEPS + 1, step % STEPS);
    ((STEPS + within + 1) << (power - 2)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_has_a_step_that_is_a_quarter_wide_at_most() {
        let mut previous = 0;
        for milliseconds in (0..5_000).chain((13..31).map(|power| 1 << power)) {
            let step = step(milliseconds);
            assert!(step >= previous, "{milliseconds}");
            previous = step;
            let longest = longest(step);
            assert!(longest >= milliseconds && longest - milliseconds <= milliseconds / 4, "{milliseconds}: {longest}");
        }
        assert_eq!(step(u64::MAX), LATENCY_STEPS - 1);
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantile(0.5), None);
        (0..100).for_each(|_| latency.add(3));
        latency.add(-5);
        latency.add(i64::MAX);
        assert_eq!((latency.quantile(0.0), latency.quantile(0.5)), (Some(0), Some(3)));
        assert!(latency.quantile(1.0) > Some(1 << 30));
        assert_eq!(latency.total(), 102);
    }
}
