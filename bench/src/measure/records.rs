//! The records that every contender gets: the same for the same seed.

use std::collections::HashMap;

use centinela_traffic::{Generator, TrafficConfig};

/// Records in the order in which they are sent.
pub struct Records {
    payloads: Vec<(Box<str>, Box<[u8]>)>,
    /// The first place of each transaction id; a producer's duplicate has its original's.
    places: HashMap<Box<str>, u32>,
}

/// The world ended before there were enough.
#[derive(Debug, thiserror::Error)]
#[error("the simulated world made only {made} transactions, {wanted} are needed; ask for fewer")]
pub struct TooFew {
    made: usize,
    wanted: usize,
}

impl Records {
    /// Makes so many.
    ///
    /// # Errors
    /// [`TooFew`].
    pub fn new(seed: u64, users: usize, wanted: usize) -> Result<Self, TooFew> {
        let mut generator = Generator::new(TrafficConfig { users, actions: 0.0, ..TrafficConfig::live(seed) });
        let mut records = Self { payloads: Vec::with_capacity(wanted), places: HashMap::with_capacity(wanted) };
        while records.payloads.len() < wanted {
            let Some(sent) = generator.next_transaction() else {
                return Err(TooFew { made: records.payloads.len(), wanted });
            };
            let id: Box<str> = (*sent.fields.transaction_id).into();
            let place = u32::try_from(records.payloads.len()).unwrap_or(u32::MAX);
            records.places.entry(id.clone()).or_insert(place);
            records.payloads.push((id, sent.fields.to_json().into()));
        }
        Ok(records)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.payloads.len()
    }

    /// How many different transactions.
    pub fn unique(&self) -> usize {
        self.places.len()
    }

    /// Key and value of a record.
    pub fn get(&self, place: usize) -> (&str, &[u8]) {
        let (id, payload) = &self.payloads[place];
        (id, payload)
    }

    /// Whether the record is the first of its transaction.
    pub fn is_first(&self, place: usize) -> bool {
        self.place_of(self.payloads[place].0.as_bytes()) == Some(place)
    }

    /// The place of the transaction with this id.
    pub fn place_of(&self, id: &[u8]) -> Option<usize> {
        self.places.get(std::str::from_utf8(id).ok()?).map(|place| *place as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_records_and_a_duplicate_has_its_originals_place() {
        let (records, again) = (Records::new(3, 500, 4_000).unwrap(), Records::new(3, 500, 4_000).unwrap());
        assert_eq!((records.len(), records.get(77)), (4_000, again.get(77)));
        assert!(records.unique() < records.len(), "the producer sends some twice");
        let duplicate = (0..records.len()).find(|place| !records.is_first(*place)).expect("there is one");
        let original = records.place_of(records.get(duplicate).0.as_bytes()).expect("it has one");
        assert!(original < duplicate && records.get(original) == records.get(duplicate));
        assert_eq!(records.place_of(b"of nobody"), None);
    }
}
