//! What a tracker tells: counters while a run goes on, and what everything came to at its end.

use std::collections::BTreeMap;

use centinela_verdict::{Totals, Verdict};

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
    /// Different dead-lettered records.
    pub dead_lettered: u64,
    /// Messages that repeat a decision or a dead letter.
    pub republished: u64,
    /// Decisions that say that their event was late.
    pub late: u64,
    /// Decisions that say that an input was missing.
    pub degraded: u64,
    /// Messages on a decision topic that are no decision.
    pub unreadable_decisions: u64,
    /// Offsets of topic `transactions` that were deleted before they were read.
    pub missed: u64,
}

/// What became of everything that was sent.
#[derive(Clone, Debug, Default)]
pub struct Reconciliation {
    /// As far as the topics tell.
    pub verdict: Verdict,
    /// Of the doubled ones, those that their producer sent more than once.
    pub doubled_duplicates: u64,
    /// Repeated decisions of transactions that their producer sent more than once.
    pub republished_duplicates: u64,
    /// What each user should have.
    pub users: BTreeMap<String, Totals>,
    /// Score and truth of the labelled transactions.
    pub scores: Scores,
}
