//! A batch of decisions on their way into the index.

use std::collections::BTreeMap;
use std::time::Duration;

use centinela_contracts::decision_v1;
use centinela_contracts::stored_decision::{ENTRIES_MAX, IndexedDecision};
use centinela_delivery::{Causes, Clock};
use centinela_domain::{Millis, TransactionId};
use tracing::{error, warn};

use crate::ports::{Found, IndexWrite, Lookup, Written};

/// Bounds of the work on a batch.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Attempts at one item in one batch, the first included.
    pub attempts: u32,
    /// How long a decision can be looked up, from when it was made.
    pub remembered: Duration,
}

/// Figures of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexReport {
    /// Records that were delivered.
    pub records: usize,
    /// Decisions that were written.
    pub indexed: usize,
    /// Decisions that were in the index already.
    pub unchanged: usize,
    /// Messages without evidence: what they repeat was indexed long ago.
    pub reduced: usize,
    /// Decisions too old to be looked up.
    pub expired: usize,
    /// Records that are no decision; they are passed over.
    pub unreadable: usize,
    /// Items that mean nothing to this release; they are left as they are.
    pub state_unreadable: usize,
    /// Items that were planned again because they were there already.
    pub lost_races: usize,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    /// Figures.
    pub report: IndexReport,
    /// The first record that is to be delivered again.
    pub first_failed: Option<usize>,
}

/// An item with what it is to get.
struct Task {
    transaction: TransactionId,
    new: Vec<IndexedDecision>,
    standing: Option<Vec<IndexedDecision>>,
    /// The first of its records.
    first: usize,
}

/// Puts decisions into the index.
#[derive(Debug)]
pub struct IndexDecisions<L, C> {
    store: L,
    clock: C,
    limits: Limits,
}

/// Adds a decision to those of its item. False when it changes nothing.
///
/// The newest [`ENTRIES_MAX`] stay, in an order that does not depend on how they came; one decision id has one entry.
pub fn merge(entries: &mut Vec<IndexedDecision>, decision: &IndexedDecision) -> bool {
    let before = entries.clone();
    let rank = |one: &IndexedDecision| (one.decided_at, one.decision_id);
    match entries.iter_mut().find(|known| known.decision_id == decision.decision_id) {
        Some(known) if rank(known) < rank(decision) => *known = decision.clone(),
        Some(_) => {}
        None => entries.push(decision.clone()),
    }
    entries.sort_by_key(rank);
    entries.drain(..entries.len().saturating_sub(ENTRIES_MAX));
    *entries != before
}

impl<L: Lookup, C: Clock> IndexDecisions<L, C> {
    /// With its ports.
    pub fn new(store: L, clock: C, limits: Limits) -> Self {
        Self { store, clock, limits }
    }

    /// Indexes the decisions of a batch.
    pub async fn handle(&self, values: &[&[u8]], deadline: Millis) -> Fold {
        let mut report = IndexReport { records: values.len(), ..IndexReport::default() };
        let mut tasks = self.tasks(values, &mut report);
        for _ in 0..self.limits.attempts {
            if tasks.is_empty() || deadline <= self.clock.now() {
                break;
            }
            tasks = self.attempt(tasks, deadline, &mut report).await;
        }
        Fold { report, first_failed: tasks.iter().map(|task| task.first).min() }
    }

    /// The items that the batch is about, each once.
    fn tasks(&self, values: &[&[u8]], report: &mut IndexReport) -> Vec<Task> {
        let now = self.clock.now();
        let mut tasks = BTreeMap::<TransactionId, Task>::new();
        for (index, value) in values.iter().enumerate() {
            let decision = match decision_v1::parse(value) {
                Ok(decision) => decision,
                Err(problem) => {
                    error!(index, %problem, "a record of the stream is no decision; it is passed over");
                    report.unreadable += 1;
                    continue;
                }
            };
            let Some(evidence) = decision.evidence else {
                report.reduced += 1;
                continue;
            };
            let indexed = IndexedDecision::of(&evidence);
            if self.expires_s(&indexed) <= now.0 / 1_000 {
                report.expired += 1;
                continue;
            }
            let transaction = decision.transaction_id;
            let task = tasks.entry(transaction.clone()).or_insert_with(|| Task {
                transaction,
                new: Vec::new(),
                standing: None,
                first: index,
            });
            if !merge(&mut task.new, &indexed) {
                report.unchanged += 1;
            }
        }
        tasks.into_values().collect()
    }

    fn expires_s(&self, decision: &IndexedDecision) -> i64 {
        let remembered = i64::try_from(self.limits.remembered.as_secs()).unwrap_or(i64::MAX);
        (decision.decided_at.0 / 1_000).saturating_add(remembered)
    }

    /// Writes every item once; returns those that are to be tried again.
    async fn attempt(&self, tasks: Vec<Task>, deadline: Millis, report: &mut IndexReport) -> Vec<Task> {
        let (mut pending, mut writes) = (Vec::new(), Vec::new());
        for task in tasks {
            let mut entries = task.standing.clone().unwrap_or_default();
            let changes = task.new.iter().filter(|decision| merge(&mut entries, decision)).count();
            if changes == 0 {
                report.unchanged += task.new.len();
                continue;
            }
            let expires_s = entries.iter().map(|entry| self.expires_s(entry)).max().unwrap_or_default();
            let (transaction, replaces) = (task.transaction.clone(), task.standing.clone());
            writes.push(IndexWrite { transaction, replaces, entries, expires_s });
            pending.push((task, changes));
        }
        if writes.is_empty() {
            return Vec::new();
        }
        let written = self.store.write(writes, deadline).await;
        let (mut again, mut lost) = (Vec::new(), Vec::new());
        for ((task, changes), written) in pending.into_iter().zip(written) {
            match written {
                Written::Done => {
                    report.indexed += changes;
                    report.unchanged += task.new.len() - changes;
                }
                Written::Lost => lost.push(task),
                Written::Failed(problem) => {
                    warn!(error = %Causes(&problem), "a decision was not indexed; it is tried again");
                    again.push(task);
                }
            }
        }
        if !lost.is_empty() {
            report.lost_races += lost.len();
            again.extend(self.look_up(lost, deadline, report).await);
        }
        again
    }

    /// Reads what stands where items are there already.
    async fn look_up(&self, tasks: Vec<Task>, deadline: Millis, report: &mut IndexReport) -> Vec<Task> {
        let keys = tasks.iter().map(|task| task.transaction.clone()).collect();
        let Found { mut items, unread, problem } = self.store.read(keys, deadline).await;
        if let Some(problem) = problem {
            warn!(error = %Causes(&problem), "part of the index was not read");
        }
        let mut again = Vec::new();
        for mut task in tasks {
            match items.remove(&task.transaction) {
                Some(Ok(standing)) => task.standing = Some(standing),
                Some(Err(problem)) => {
                    error!(%problem, "an item of the index cannot be read and is left as it is: a person has to repair it");
                    report.state_unreadable += 1;
                    continue;
                }
                // Forgotten meanwhile, or not read: the next write tells.
                None if unread.contains(&task.transaction) => {}
                None => task.standing = None,
            }
            again.push(task);
        }
        again
    }
}
