//! What a tracker tells: counters while a run goes on, and the verdict at its end.

use std::collections::BTreeMap;

use crate::score::Scores;

/// Counters that a look at a run shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Records on topic `transactions`.
    pub records: u64,
    /// Different transactions and unreadable records among them.
    pub unique: u64,
    /// Different transactions with a decision.
    pub decided: u64,
    /// Of these, on topic `approved`.
    pub approved: u64,
    /// Of these, on topic `blocked`.
    pub blocked: u64,
    /// Different parked records.
    pub parked: u64,
    /// Messages that repeat a decision or a parked record.
    pub republished: u64,
    /// Decisions that say that their event was late.
    pub late: u64,
    /// Decisions that say that an input was missing.
    pub degraded: u64,
    /// Messages on a decision topic that are no decision.
    pub unreadable_decisions: u64,
    /// Offsets of topic `transactions` that were deleted before the reader had read them.
    pub missed: u64,
}

/// What one user should have in the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Different transactions.
    pub transactions: u64,
    /// The sum of their amounts.
    pub amount_minor: u64,
}

/// What became of everything that was sent.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Neither decided nor parked.
    pub lost: u64,
    /// With two different decisions.
    pub doubled: u64,
    /// Of these, those that their producer sent more than once.
    pub doubled_duplicates: u64,
    /// Decisions about something that nobody sent.
    pub invented: u64,
    /// Repeated decisions of transactions that their producer sent more than once.
    pub republished_duplicates: u64,
    /// What each user should have.
    pub users: BTreeMap<Box<str>, Totals>,
    /// Score and truth of the labelled transactions.
    pub scores: Scores,
}
