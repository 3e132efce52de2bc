//! One environment on fakes, for tests of single rules.

use std::collections::HashSet;

use centinela_contracts::kafka_event::{KafkaBatch, Record};
use centinela_delivery::Deadline;
use centinela_domain::{Mark, Millis, UserId};
use centinela_scoring::BatchReport;
use centinela_scoring::ports::Outgoing;

use crate::builders::{EPOCH_MS, batch};
use crate::fakes::{FakeEngine, Fakes, Faults};
use crate::schedule::run;

/// No deadline.
pub const FOREVER: Deadline = Deadline { work: Millis(i64::MAX), answer: Millis(i64::MAX) };

/// One environment, and what it works on.
pub struct Bench {
    /// What it works on.
    pub fakes: Fakes,
    /// The environment.
    pub engine: FakeEngine,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        let fakes = Fakes::new(1, Millis(EPOCH_MS));
        Self { engine: fakes.engine(), fakes }
    }

    /// Delivers records five seconds after the last ones.
    pub fn deliver(&self, records: impl IntoIterator<Item = Record>) -> BatchReport {
        self.pass(5_000);
        self.deliver_batch(batch(records))
    }

    /// Delivers a batch at once.
    pub fn deliver_batch(&self, batch: KafkaBatch) -> BatchReport {
        match run(self.engine.process(batch, FOREVER)) {
            Ok(report) => report,
            Err(problem) => panic!("the batch failed: {problem}"),
        }
    }

    /// None when the whole batch failed.
    pub fn deliver_batch_tolerant(&self, records: impl IntoIterator<Item = Record>) -> Option<BatchReport> {
        self.pass(5_000);
        run(self.engine.process(batch(records), FOREVER)).ok()
    }

    /// Time passes.
    pub fn pass(&self, milliseconds: i64) {
        let mut shared = self.fakes.shared();
        shared.now = Millis(shared.now.0 + milliseconds);
    }

    /// What goes wrong from now on.
    pub fn faults(&self, faults: Faults) {
        self.fakes.shared().faults = faults;
    }

    /// What the topics received.
    pub fn published(&self) -> Vec<Outgoing> {
        self.fakes.shared().on_topics.clone()
    }

    /// How many transactions the user's state counts.
    pub fn transactions(&self, user: &str) -> u64 {
        self.fakes.shared().user(&user_id(user)).map_or(0, |stored| stored.item.state.transactions)
    }

    /// How many decisions in the user's ring may be unpublished.
    pub fn unproved(&self, user: &str) -> usize {
        self.fakes.shared().user(&user_id(user)).map_or(0, |stored| stored.item.ledger.unproved())
    }

    /// How many records of the partition have a pending-failure marker.
    pub fn pending_failures(&self, partition: u32) -> usize {
        self.fakes.shared().partitions.get(&partition).map_or(0, |item| item.item.pending_failures.len())
    }

    /// The partition's committed mark, as it was written.
    pub fn mark(&self, partition: u32) -> Option<Mark> {
        self.fakes.shared().partitions.get(&partition).and_then(|item| item.item.mark)
    }
}

fn user_id(user: &str) -> UserId {
    match UserId::new(user) {
        Ok(user) => user,
        Err(problem) => panic!("{user}: {problem}"),
    }
}

/// The different payloads among what was published.
pub fn distinct(published: &[Outgoing]) -> HashSet<Vec<u8>> {
    published.iter().map(|decision| decision.payload.clone()).collect()
}
