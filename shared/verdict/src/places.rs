//! The records of a topic: those that were on it against those that are in the lake.
//!
//! Both sides come in order mostly, so offsets are kept as spans, and a digest of them all says whether the same was seen in the same
//! places. Two sides with one digest differ with a probability of one in 2^64.

use std::hash::{DefaultHasher, Hash, Hasher as _};

/// Offsets of one partition, with repetitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans(Vec<(i64, i64)>);

impl Spans {
    /// Takes an offset in.
    pub fn add(&mut self, offset: i64) {
        match self.0.last_mut() {
            Some((_, end)) if *end == offset => *end += 1,
            _ => self.0.push((offset, offset + 1)),
        }
    }

    /// In order and without repetitions; beside them, how many offsets came again.
    fn settled(&self) -> (Vec<(i64, i64)>, u64) {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(sorted.len());
        let mut again = 0;
        for (start, end) in sorted {
            match merged.last_mut() {
                Some((_, last)) if start <= *last => {
                    again += u64::try_from(end.min(*last) - start).unwrap_or(0);
                    *last = end.max(*last);
                }
                _ => merged.push((start, end)),
            }
        }
        (merged, again)
    }

    /// How many different offsets these are.
    pub fn different(&self) -> u64 {
        self.settled().0.iter().map(|(start, end)| u64::try_from(end - start).unwrap_or(0)).sum()
    }

    /// How many of `these` are not among the others.
    fn without(these: &[(i64, i64)], others: &[(i64, i64)]) -> u64 {
        let mut left = 0;
        for (start, end) in these {
            let mut from = *start;
            // Spans that end before are passed over; there are few.
            for (other_start, other_end) in others.iter().filter(|(_, other_end)| *other_end > *start) {
                if *end <= *other_start {
                    break;
                }
                left += u64::try_from(other_start - from).unwrap_or(0);
                from = from.max(*other_end);
            }
            left += u64::try_from(end - from).unwrap_or(0);
        }
        left
    }
}

/// The records of one topic.
#[derive(Clone, Debug, Default)]
pub struct Places {
    partitions: Vec<Spans>,
    digest: u64,
    records: u64,
    /// Least and greatest broker time in milliseconds.
    times: Option<(i64, i64)>,
    recreated: bool,
}

/// What of a topic is in the lake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Records on the topic.
    pub records: u64,
    /// Of these, not in the lake.
    pub missing: u64,
    /// Rows about records that the lake has already.
    pub twice: u64,
    /// Rows about records that were not on the topic, or 1 where everything is there and something of it is not as it was.
    pub wrong: u64,
}

impl Places {
    /// A record, or a row about it: where it is, the broker's time of it, and what it is called (a hash; 0 where nobody can read it).
    pub fn add(&mut self, partition: usize, offset: i64, time_ms: i64, name: u64) {
        if self.partitions.len() <= partition {
            self.partitions.resize(partition + 1, Spans::default());
        }
        self.partitions[partition].add(offset);
        let mut hasher = DefaultHasher::new();
        (partition, offset, time_ms, name).hash(&mut hasher);
        self.digest = self.digest.wrapping_add(hasher.finish());
        self.records += 1;
        let (first, last) = self.times.unwrap_or((time_ms, time_ms));
        self.times = Some((first.min(time_ms), last.max(time_ms)));
    }

    /// How many were added.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The least and the greatest broker time, in milliseconds.
    pub fn times(&self) -> Option<(i64, i64)> {
        self.times
    }

    /// The topic begins anew at its first offset; what was on it before is not asked for any more, but its time is.
    pub fn recreated(&mut self) {
        *self = Self { recreated: true, times: self.times, ..Self::default() };
    }

    /// Compares with what the lake has of it, and with what was dead-lettered instead, by partition.
    pub fn compare(&self, lake: &Self, dead_lettered: &[Spans]) -> Found {
        let mut found = Found { records: self.partitions.iter().map(Spans::different).sum(), ..Found::default() };
        let none = Spans::default();
        for partition in 0..self.partitions.len().max(lake.partitions.len()) {
            let of = |places: &[Spans]| places.get(partition).unwrap_or(&none).settled();
            let ((sent, _), (archived, again)) = (of(&self.partitions), of(&lake.partitions));
            found.twice += again;
            let (dead, _) = of(dead_lettered);
            let mut handled = Spans([archived.clone(), dead].concat());
            handled = Spans(handled.settled().0);
            found.missing += Spans::without(&sent, &handled.0);
            if !self.recreated {
                found.wrong += Spans::without(&archived, &sent);
            }
        }
        let is_all_there = found.missing == 0 && found.twice == 0 && found.wrong == 0 && self.records == lake.records;
        if is_all_there && !self.recreated && self.digest != lake.digest {
            found.wrong = 1;
        }
        found
    }
}

/// A name as a hash; never 0, which is nobody's.
pub fn name_of(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(offsets: &[(usize, i64)]) -> Places {
        let mut places = Places::default();
        offsets.iter().for_each(|(partition, offset)| places.add(*partition, *offset, 7_000 + offset, 9));
        places
    }

    #[test]
    fn a_record_that_is_missing_or_there_twice_or_never_was_is_found() {
        let topic = places(&[(0, 0), (0, 1), (0, 2), (2, 5), (2, 6)]);
        let compare = |rows: &[(usize, i64)], dead: &[Spans]| {
            let Found { missing, twice, wrong, .. } = topic.compare(&places(rows), dead);
            (missing, twice, wrong)
        };
        assert_eq!(compare(&[(2, 5), (0, 0), (0, 1), (2, 6), (0, 2)], &[]), (0, 0, 0));
        assert_eq!(compare(&[(0, 0), (0, 2), (2, 5), (2, 6)], &[]), (1, 0, 0));
        let mut dead = Spans::default();
        dead.add(1);
        assert_eq!(compare(&[(0, 0), (0, 2), (2, 5), (2, 6)], &[dead]), (0, 0, 0));
        assert_eq!(compare(&[(0, 0), (0, 1), (0, 2), (2, 5), (2, 6), (0, 1), (2, 5)], &[]), (0, 2, 0));
        assert_eq!(compare(&[(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (2, 5), (2, 6)], &[]), (0, 0, 2));
        assert_eq!(compare(&[], &[]), (5, 0, 0));
    }

    #[test]
    fn a_row_about_something_else_is_found_by_the_digest() {
        let topic = places(&[(0, 0), (0, 1)]);
        let mut lake = places(&[(0, 0)]);
        lake.add(0, 1, 7_001, name_of("another"));
        assert_eq!(topic.compare(&lake, &[]).wrong, 1);
        assert_eq!(topic.compare(&topic.clone(), &[]).wrong, 0);
    }

    #[test]
    fn of_a_recreated_topic_only_the_newest_records_are_asked_for() {
        let mut topic = places(&[(0, 0), (0, 1), (0, 2)]);
        topic.recreated();
        topic.add(0, 0, 9_000, 9);
        assert_eq!(topic.compare(&places(&[(0, 0), (0, 1), (0, 2)]), &[]), Found { records: 1, ..Found::default() });
        assert_eq!(topic.times(), Some((7_000, 9_000)));
    }

    #[test]
    fn many_spans_are_as_good_as_few() {
        let even: Vec<(usize, i64)> = (0..500).map(|number| (0, number * 2)).collect();
        let odd: Vec<(usize, i64)> = (0..500).map(|number| (0, number * 2 + 1)).collect();
        let all: Vec<(usize, i64)> = (0..1_000).map(|number| (0, number)).collect();
        assert_eq!(places(&all).compare(&places(&even), &[]).missing, 500);
        assert_eq!(
            places(&all).compare(&places(&[even, odd].concat()), &[]),
            Found { records: 1_000, ..Found::default() }
        );
    }
}
