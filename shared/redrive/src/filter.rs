//! Which letters are meant.

use std::collections::BTreeSet;

use centinela_domain::Millis;

use crate::letter::Letter;
use crate::ports::Place;

/// All of what is said must hold; what is not said holds for every letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Reason codes of the functions, or conditions of the mapping.
    pub reasons: BTreeSet<String>,
    /// Dead-lettered at or after.
    pub since: Option<Millis>,
    /// Dead-lettered before.
    pub until: Option<Millis>,
    /// The topic that the record came from.
    pub topic: Option<String>,
    /// The partition that the record came from.
    pub partition: Option<u32>,
    /// Stands in the reason, or in the record's value.
    pub text: Option<String>,
    /// Where letters stand.
    pub places: BTreeSet<Place>,
}

impl Filter {
    /// Whether the place alone excludes a letter.
    pub fn allows_place(&self, place: Place) -> bool {
        self.places.is_empty() || self.places.contains(&place)
    }

    /// Whether the letter is meant.
    pub fn matches(&self, letter: &Letter) -> bool {
        let originals = &letter.originals;
        let is_from = |topic: &String| originals.iter().any(|original| original.topic == *topic);
        let is_in = |partition: &u32| originals.iter().any(|original| original.at.partition == *partition);
        self.allows_place(letter.place)
            && (self.reasons.is_empty() || self.reasons.contains(letter.cause.name()))
            && self.since.is_none_or(|since| letter.at >= since)
            && self.until.is_none_or(|until| letter.at < until)
            && self.topic.as_ref().is_none_or(is_from)
            && self.partition.as_ref().is_none_or(is_in)
            && self.text.as_ref().is_none_or(|text| has_text(letter, text))
    }
}

fn has_text(letter: &Letter, text: &str) -> bool {
    let in_value = |value: &[u8]| !text.is_empty() && value.windows(text.len()).any(|part| part == text.as_bytes());
    letter.reason.contains(text)
        || letter.originals.iter().any(|original| original.value.as_deref().is_some_and(in_value))
}
