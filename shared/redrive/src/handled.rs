//! Which letters are handled: per partition a position below which all are, and spans above it.
//!
//! It is kept as the offset that a consumer group has committed, with the spans in the commit's own text, for which Kafka has 4,096 bytes
//! (`offset.metadata.max.bytes`, <https://kafka.apache.org/documentation/#brokerconfigs_offset.metadata.max.bytes>). What does not fit is
//! forgotten from the far end: those letters are open again, and what is sent twice counts once.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::ports::Place;

/// Bytes of the text at most.
const TEXT_BYTES_MAX: usize = 4_000;
/// The only form of the text.
const FORM: &str = "1:";

/// What is handled of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    below: u64,
    /// First offset and the one after the last, apart from each other and above `below`.
    spans: BTreeMap<u64, u64>,
}

impl Spans {
    /// As it is committed. A text that is none says that nothing above the offset is handled.
    pub fn parse(below: u64, text: &str) -> Self {
        let mut found = Self { below, spans: BTreeMap::new() };
        let mut at = below;
        for span in text.strip_prefix(FORM).unwrap_or_default().split(',').filter(|span| !span.is_empty()) {
            let Some((gap, length)) = span.split_once('+') else { return found };
            let (Ok(gap), Ok(length)) = (gap.parse::<u64>(), length.parse::<u64>()) else { return found };
            let Some((start, end)) = at.checked_add(gap).and_then(|start| Some((start, start.checked_add(length)?)))
            else {
                return found;
            };
            found.insert(start, end);
            at = end;
        }
        found
    }

    /// What to commit: the offset, the text, and whether everything is in it.
    pub fn text(&self) -> (u64, String, bool) {
        let (mut text, mut at) = (FORM.to_owned(), self.below);
        for (&start, &end) in &self.spans {
            let before = text.len();
            let comma = if before == FORM.len() { "" } else { "," };
            // Writing to a string cannot fail.
            write!(text, "{comma}{}+{}", start - at, end - start).unwrap_or_default();
            if text.len() > TEXT_BYTES_MAX {
                text.truncate(before);
                return (self.below, text, false);
            }
            at = end;
        }
        (self.below, text, true)
    }

    /// The first offset that is not handled.
    pub fn first_open(&self) -> u64 {
        self.below
    }

    /// Whether the letter at this offset is handled.
    pub fn contains(&self, offset: u64) -> bool {
        offset < self.below || self.spans.range(..=offset).next_back().is_some_and(|(_, &end)| offset < end)
    }

    /// Everything below is gone from the topic, or handled.
    pub fn raise(&mut self, below: u64) {
        self.below = self.below.max(below);
        self.fold();
    }

    /// Takes in what somebody else knows.
    pub fn merge(&mut self, other: &Self) {
        self.raise(other.below);
        other.spans.iter().for_each(|(start, end)| self.insert(*start, *end));
    }

    fn insert(&mut self, start: u64, end: u64) {
        if end <= start || end <= self.below {
            return;
        }
        let (mut start, mut end) = (start, end);
        while let Some((&known, &known_end)) = self.spans.range(..=end).next_back() {
            if known_end < start {
                break;
            }
            self.spans.remove(&known);
            (start, end) = (start.min(known), end.max(known_end));
        }
        self.spans.insert(start, end);
        self.fold();
    }

    fn fold(&mut self) {
        while let Some((&start, &end)) = self.spans.first_key_value() {
            if start > self.below {
                break;
            }
            self.spans.remove(&start);
            self.below = self.below.max(end);
        }
    }
}

/// What is handled of the topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handled(BTreeMap<u32, Spans>);

impl Handled {
    /// Takes what is known of a partition.
    pub fn learn(&mut self, partition: u32, spans: Spans) {
        self.0.insert(partition, spans);
    }

    /// Takes in what somebody else knows of a partition.
    pub fn merge(&mut self, partition: u32, spans: &Spans) {
        self.0.entry(partition).or_default().merge(spans);
    }

    /// Whether a letter is.
    pub fn contains(&self, place: Place) -> bool {
        self.0.get(&place.partition).is_some_and(|spans| spans.contains(place.offset))
    }

    /// This letter is.
    pub fn insert(&mut self, place: Place) {
        self.0.entry(place.partition).or_default().insert(place.offset, place.offset.saturating_add(1));
    }

    /// By partition.
    pub fn partitions(&self) -> impl Iterator<Item = (u32, &Spans)> {
        self.0.iter().map(|(partition, spans)| (*partition, spans))
    }

    /// What is handled of a partition.
    pub fn of(&self, partition: u32) -> Option<&Spans> {
        self.0.get(&partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handled_is_kept_in_a_commit_and_read_back() {
        let mut handled = Handled::default();
        handled.learn(2, Spans::parse(10, ""));
        for offset in [12, 14, 13, 20, 10, 21, 11] {
            handled.insert(Place { partition: 2, offset });
        }
        let spans = handled.of(2).unwrap();
        assert_eq!(spans.text(), (15, "1:5+2".to_owned(), true));
        let again = Spans::parse(15, "1:5+2");
        assert_eq!(&again, spans);
        for offset in 0..30 {
            assert_eq!(again.contains(offset), offset < 15 || (20..22).contains(&offset), "{offset}");
        }
        assert!(!handled.contains(Place { partition: 0, offset: 0 }));
    }

    #[test]
    fn what_two_know_is_known_to_both() {
        let (mut one, other) = (Spans::parse(10, "1:5+2,3+1"), Spans::parse(12, "1:1+2,2+5,9+1"));
        one.merge(&other);
        let expected = |offset: &u64| *offset < 12 || (13..22).contains(offset) || *offset == 31;
        let known = (0..40).filter(|offset| one.contains(*offset));
        assert_eq!(known.collect::<Vec<_>>(), (0..40).filter(expected).collect::<Vec<_>>());
    }

    #[test]
    fn a_text_of_somebody_else_says_nothing() {
        for text in ["", "hello", "1:", "1:x", "1:1", "1:1+x", "1:18446744073709551615+9", "2:1+1"] {
            assert_eq!(Spans::parse(7, text), Spans { below: 7, spans: BTreeMap::new() }, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_into_a_commit_is_forgotten_from_the_far_end() {
        let mut spans = Spans::default();
        for offset in 0..5_000 {
            spans.insert(1 + 2 * offset, 2 + 2 * offset);
        }
        let (below, text, is_all) = spans.text();
        assert!(!is_all && text.len() <= TEXT_BYTES_MAX);
        let kept = Spans::parse(below, &text);
        assert!(kept.contains(1) && kept.contains(501) && !kept.contains(2) && !kept.contains(9_999));
    }
}
