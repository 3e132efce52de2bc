//! A burst: more is sent than usual for a while. What piled up in it, and how long it took until that was worked off, while the usual
//! went on coming.

use std::time::Duration;

use serde::Serialize;

use crate::figures::rounded;

/// When more is sent, and how much more, counted from the first transaction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Course {
    /// Times the usual rate.
    pub factor: f64,
    /// When it begins.
    pub begins: Duration,
    /// How long it lasts.
    pub length: Duration,
}

/// What became of a burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Burst {
    /// Times the usual rate.
    pub factor: f64,
    /// When it began, in seconds from the first transaction.
    pub begun_s: f64,
    /// How long it lasted.
    pub seconds: f64,
    /// Most transactions at a time that were sent and not decided, in the second half of the time before it: processes start in the first.
    pub undecided_before: u64,
    /// The same, from its beginning on.
    pub undecided_max: u64,
    /// From its end until no more were undecided than before it; none when that never came.
    pub caught_up_s: Option<f64>,
}

/// Watches what is undecided.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    course: Course,
    before: u64,
    most: u64,
    caught_up: Option<Duration>,
}

impl Watch {
    /// Nothing was seen yet.
    pub fn new(course: Course) -> Self {
        Self { course, before: 0, most: 0, caught_up: None }
    }

    /// So many were undecided at this time after the first transaction.
    pub fn saw(&mut self, at: Duration, undecided: u64) {
        let Course { begins, length, .. } = self.course;
        if at < begins {
            if begins / 2 <= at {
                self.before = self.before.max(undecided);
            }
            return;
        }
        self.most = self.most.max(undecided);
        let end = begins + length;
        if end <= at && undecided <= self.before && self.caught_up.is_none() {
            self.caught_up = Some(at - end);
        }
    }

    /// All that will be seen.
    pub fn finish(self) -> Burst {
        let Course { factor, begins, length } = self.course;
        Burst {
            factor,
            begun_s: rounded(begins.as_secs_f64()),
            seconds: rounded(length.as_secs_f64()),
            undecided_before: self.before,
            undecided_max: self.most,
            caught_up_s: self.caught_up.map(|time| rounded(time.as_secs_f64())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(looks: &[(u64, u64)]) -> Burst {
        let course = Course { factor: 10.0, begins: Duration::from_secs(10), length: Duration::from_secs(5) };
        let mut watch = Watch::new(course);
        looks.iter().for_each(|(at_s, undecided)| watch.saw(Duration::from_secs(*at_s), *undecided));
        watch.finish()
    }

    #[test]
    fn a_burst_is_worked_off_when_no_more_wait_than_before_it() {
        let burst =
            seen(&[(3, 700), (5, 40), (9, 20), (12, 5_000), (14, 30), (15, 9_000), (20, 41), (22, 40), (30, 7_000)]);
        assert_eq!((burst.undecided_before, burst.undecided_max), (40, 9_000));
        // What comes down within the burst is no end of it.
        assert_eq!(burst.caught_up_s, Some(7.0));
    }

    #[test]
    fn a_burst_that_is_never_worked_off_says_so() {
        assert_eq!(seen(&[(9, 20), (15, 9_000), (40, 8_000)]).caught_up_s, None);
    }
}
