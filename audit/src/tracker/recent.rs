//! What is known about the newest of many, in a memory that does not grow.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// Remembers the newest keys: `most` of them at least, twice as many at most.
///
/// Two generations: when the newer one is full, it becomes the older one and the older one is forgotten.
pub(super) struct Recent<K, V, S> {
    newer: HashMap<K, V, S>,
    older: HashMap<K, V, S>,
    most: usize,
}

impl<K: Eq + Hash, V, S: BuildHasher + Default> Recent<K, V, S> {
    /// Empty; takes memory as it fills.
    pub(super) fn new(most: usize) -> Self {
        Self { newer: HashMap::default(), older: HashMap::default(), most }
    }

    /// Remembers a key. Says whether a generation ended for it, and the oldest was forgotten.
    pub(super) fn insert(&mut self, key: K, value: V) -> bool {
        let full = self.most <= self.newer.len() && !self.newer.contains_key(&key);
        if full {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(key, value);
        full
    }

    /// What is known of a key.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.newer.get(key).or_else(|| self.older.get(key))
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    #[test]
    fn the_newest_are_known_and_the_oldest_forgotten() {
        let mut recent: Recent<u32, u32, RandomState> = Recent::new(10);
        let ended: Vec<u32> = (0..35).filter(|key| recent.insert(*key, key * 2)).collect();
        assert_eq!(ended, [10, 20, 30], "a generation at a time");
        for key in 20..35 {
            assert_eq!(recent.get(&key), Some(&(key * 2)));
        }
        assert!((0..20).all(|key| recent.get(&key).is_none()));
        assert!(!recent.insert(34, 1), "a key that is there takes no place");
        assert_eq!(recent.get(&34), Some(&1));
    }
}
