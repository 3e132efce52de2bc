//! Which records this environment dead-lettered, so that a batch that comes again and again does not do it as often.

use std::collections::VecDeque;

use centinela_contracts::dead_letter_v1::DeadLetter;
use centinela_domain::Mark;

/// The last so many.
const REMEMBERED_MAX: usize = 4096;

/// A record's partition and place.
pub(crate) type Place = (u32, Mark);

/// Places of records that were dead-lettered.
#[derive(Debug, Default)]
pub(crate) struct DeadLettered(VecDeque<Place>);

impl DeadLettered {
    pub fn knows(&self, place: Place) -> bool {
        self.0.contains(&place)
    }

    pub fn remember(&mut self, place: Place) {
        if self.0.len() == REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(place);
    }
}

/// Where a record stands; none when its offset could not be read.
pub(crate) fn place(letter: &DeadLetter) -> Option<Place> {
    let DeadLetter { partition, offset, timestamp, .. } = letter;
    offset.map(|offset| (*partition, Mark { offset, timestamp: timestamp.unwrap_or_default() }))
}
