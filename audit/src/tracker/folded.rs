//! What is kept of transactions whose fate is known: sums, and 64 bits each of the newest.

use std::collections::BTreeMap;
use std::hash::BuildHasherDefault;

use centinela_verdict::{Seal, Totals};

use super::digest::{Digest, ShortId};
use super::entry::{Entry, FRAUD, LABELLED, OF_OLD, SENT_AGAIN};
use super::recent::Recent;
use crate::score::Scores;

/// Sums over the transactions that were folded into them.
#[derive(Clone, Default)]
pub(super) struct Sums {
    pub(super) doubled: u64,
    pub(super) doubled_duplicates: u64,
    pub(super) republished_duplicates: u64,
    /// By number of the user.
    pub(super) totals: Vec<Totals>,
    pub(super) scores: Scores,
}

impl Sums {
    /// Counts what came of a transaction that was sent.
    pub(super) fn take(&mut self, entry: &Entry, amount_minor: u64) {
        let doubled = u64::from(entry.fate.is_doubled());
        self.doubled += doubled;
        if entry.is(SENT_AGAIN) {
            self.doubled_duplicates += doubled;
            self.republished_duplicates += entry.fate.repeats();
        }
        if !entry.fate.is_decided() {
            return;
        }
        if entry.is(LABELLED) {
            self.scores.add(entry.score, entry.is(FRAUD), entry.fate.is_blocked());
        }
        if !entry.is(OF_OLD) {
            self.count(entry.user, amount_minor);
        }
    }

    /// Counts a transaction of a user.
    pub(super) fn count(&mut self, user: u32, amount_minor: u64) {
        let user = user as usize;
        if self.totals.len() <= user {
            self.totals.resize(user + 1, Totals::default());
        }
        self.totals[user].add(amount_minor);
    }

    /// What each user should have, by name.
    pub(super) fn by_name<'a>(&self, users: impl Iterator<Item = (&'a str, u32)>) -> BTreeMap<String, Totals> {
        users
            .filter_map(|(name, user)| Some((name.into(), *self.totals.get(user as usize)?)))
            .filter(|(_, totals): &(String, Totals)| totals.transactions > 0)
            .collect()
    }
}

/// The newest folded decisions. A second decision about one of them is told from a repetition of the first; about an older one only
/// its user's totals tell.
pub(super) struct Folded {
    seals: Recent<ShortId, Seal, BuildHasherDefault<Digest>>,
    /// Newest broker time of what is in the newer half, and of what was there before it.
    newest_ms: [i64; 2],
    /// Newest broker time of what is forgotten.
    forgotten_ms: i64,
}

impl Folded {
    /// Remembers so many decisions at least.
    pub(super) fn new(remembered: usize) -> Self {
        Self { seals: Recent::new(remembered), newest_ms: [i64::MIN; 2], forgotten_ms: i64::MIN }
    }

    pub(super) fn insert(&mut self, id: ShortId, seal: Seal, ingested_ms: i64) {
        if self.seals.insert(id, seal) {
            self.forgotten_ms = self.forgotten_ms.max(self.newest_ms[1]);
            self.newest_ms = [i64::MIN, self.newest_ms[0]];
        }
        self.newest_ms[0] = self.newest_ms[0].max(ingested_ms);
    }

    pub(super) fn get(&self, id: ShortId) -> Option<Seal> {
        self.seals.get(&id).copied()
    }

    /// Whether anything is forgotten.
    pub(super) fn has_forgotten(&self) -> bool {
        self.forgotten_ms > i64::MIN
    }

    /// Whether a decision on a record of this broker time may have been forgotten.
    pub(super) fn may_have_forgotten(&self, ingested_ms: i64) -> bool {
        self.has_forgotten() && ingested_ms <= self.forgotten_ms
    }
}
