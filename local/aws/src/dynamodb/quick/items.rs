//! A table's items by key, in many small maps: one large map doubles by moving every item at once, and at a million items every call would
//! wait for most of a second.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::Slot;

/// Maps of a table. Each doubles on its own, in its share of the time and at another moment.
const PARTS: usize = 256;

#[derive(Default)]
pub(super) struct Items {
    parts: Vec<HashMap<Box<str>, Slot>>,
    /// Says which part a key is in.
    hasher: RandomState,
}

impl Items {
    pub(super) fn get(&self, key: &str) -> Option<&Slot> {
        self.parts.get(self.part_of(key))?.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Slot> {
        let part = self.part_of(key);
        self.parts.get_mut(part)?.get_mut(key)
    }

    /// The slot that the key had before.
    pub(super) fn insert(&mut self, key: &str, slot: Slot) -> Option<Slot> {
        if self.parts.is_empty() {
            self.parts.resize_with(PARTS, HashMap::new);
        }
        let part = self.part_of(key);
        self.parts[part].insert(key.into(), slot)
    }

    pub(super) fn remove(&mut self, key: &str) {
        let part = self.part_of(key);
        if let Some(part) = self.parts.get_mut(part) {
            part.remove(key);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Slot)> {
        self.parts.iter().flatten().map(|(key, slot)| (&**key, slot))
    }

    fn part_of(&self, key: &str) -> usize {
        (self.hasher.hash_one(key) % PARTS as u64) as usize
    }
}
