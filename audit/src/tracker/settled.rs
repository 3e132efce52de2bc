//! What is kept of transactions whose fate is known: sums, and 64 bits each of the newest.

use std::collections::BTreeMap;
use std::hash::BuildHasherDefault;

use centinela_domain::DecisionId;

use super::digest::Digest;
use super::recent::Recent;
use super::seen::Totals;
use crate::score::Scores;

/// 48 bits of a decision's id.
pub(super) type ShortId = [u8; 6];

/// The start of an id.
pub(super) fn short(id: DecisionId) -> ShortId {
    let [a, b, c, d, e, f, ..] = id.0;
    [a, b, c, d, e, f]
}

/// The message of a decision, as far as it is remembered: which way it went, and 15 bits of its bytes' hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal([u8; 2]);

impl Seal {
    pub(super) fn new(bytes: u64, blocked: bool) -> Self {
        let [high, low, ..] = bytes.to_be_bytes();
        Self([high & 0x7f | u8::from(blocked) << 7, low])
    }

    pub(super) fn blocked(self) -> bool {
        self.0[0] >> 7 == 1
    }
}

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
    /// Counts a transaction of a user.
    pub(super) fn count(&mut self, user: u32, amount_minor: u64) {
        let user = user as usize;
        if self.totals.len() <= user {
            self.totals.resize(user + 1, Totals::default());
        }
        let totals = &mut self.totals[user];
        totals.transactions += 1;
        totals.amount_minor += amount_minor;
    }

    /// What each user should have, by name.
    pub(super) fn by_name<'a>(&self, users: impl Iterator<Item = (&'a str, u32)>) -> BTreeMap<Box<str>, Totals> {
        users
            .filter_map(|(name, user)| Some((name.into(), *self.totals.get(user as usize)?)))
            .filter(|(_, totals): &(_, Totals)| totals.transactions > 0)
            .collect()
    }
}

/// The newest settled decisions. A second decision about one of them is told from a repetition of the first; about an older one only
/// its user's totals tell.
pub(super) struct Settled {
    seals: Recent<ShortId, Seal, BuildHasherDefault<Digest>>,
    /// Newest broker time of what is in the newer half, and of what was there before it.
    newest_ms: [i64; 2],
    /// Newest broker time of what is forgotten.
    forgotten_ms: i64,
}

impl Settled {
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
