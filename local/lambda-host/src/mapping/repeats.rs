//! Problems that come again and again: each is said once, then from time to time with how often it came, and once more when it is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two lines about the same problem. One that has not come for as long is over.
pub(super) const SAY_EVERY: Duration = Duration::from_secs(30);

/// What was to be said, and the error's own words.
pub(super) type Problem = (&'static str, String);

struct Said {
    last_line: Instant,
    last_came: Instant,
    since_last_line: u64,
    times: u64,
}

/// The problems of now. There are few: an error's own words name no place and no time.
#[derive(Default)]
pub(super) struct Repeats {
    problems: BTreeMap<Problem, Said>,
}

impl Repeats {
    /// Notes a problem. How often it came since the last line about it, when it is time for another one.
    pub(super) fn came(&mut self, what: &'static str, error: &str, now: Instant) -> Option<u64> {
        let new = Said { last_line: now, last_came: now, since_last_line: 0, times: 0 };
        let said = self.problems.entry((what, error.to_owned())).or_insert(new);
        said.last_came = now;
        said.times += 1;
        said.since_last_line += 1;
        if said.times > 1 && now.duration_since(said.last_line) < SAY_EVERY {
            return None;
        }
        said.last_line = now;
        Some(std::mem::take(&mut said.since_last_line))
    }

    /// Forgets the problems that are over; returns them with how often they came in all. One that came once is over without a word.
    pub(super) fn over(&mut self, now: Instant) -> Vec<(Problem, u64)> {
        let over = self.problems.extract_if(.., |_, said| SAY_EVERY <= now.duration_since(said.last_came));
        over.map(|(problem, said)| (problem, said.times)).filter(|(_, times)| *times > 1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_that_lasts_is_said_every_half_minute_and_when_it_is_over() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let mut lines = Vec::new();
        for tick in 0..900 {
            let at = start + tick * Duration::from_millis(100);
            lines.extend(repeats.came("reading", "gone", at));
            assert!(repeats.over(at).is_empty());
        }
        assert_eq!(lines, [1, 300, 300]);
        assert_eq!(repeats.came("reading", "refused", start), Some(1), "another problem is said at once");
        assert_eq!(repeats.came("committing", "gone", start), Some(1));
        let later = start + Duration::from_secs(90) + SAY_EVERY;
        assert_eq!(repeats.over(later), [(("reading", "gone".to_owned()), 900)]);
        assert!(repeats.over(later).is_empty());
        assert_eq!(repeats.came("reading", "gone", later), Some(1), "it is new when it comes back");
    }
}
