//! One user's part of a batch: which records are new, which are answered from the ring, and the item that results.

use std::collections::{HashMap, HashSet};

use centinela_contracts::stored_user::StoredUser;
use centinela_domain::features::DeviceInput;
use centinela_domain::ledger::Settled;
use centinela_domain::{
    Decision, DeviceId, DeviceState, FeatureVector, Ledger, Millis, MissingInputs, Outcome, UserId, UserState, decision,
};

use crate::intake::Work;
use crate::ports::{Outgoing, ScoreError, Scored, Scorer, Versioned, Write};
use crate::publish::outgoing;

/// How a record is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Decided now.
    New,
    /// The ring knows it.
    Replay,
    /// Settled so long ago that its entry has left the ring.
    Stale,
    /// A redriven record at or below the floor: nobody can tell whether it was decided before the mapping gave it up.
    Undecidable,
}

/// A user's records, in partition and offset order, with the item as it was read.
#[derive(Debug)]
pub(crate) struct Job {
    pub user: UserId,
    pub works: Vec<usize>,
    pub base: Option<Versioned<StoredUser>>,
}

/// A planned job: what to write, and what to answer once that is done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub user: UserId,
    pub works: Vec<usize>,
    pub answers: Vec<Answer>,
    /// The item, if it differs from what was read.
    pub write: Option<Write<UserId, StoredUser>>,
    /// From this place in `works` on the ring has no room: these are retried.
    pub full_from: Option<usize>,
    /// Decisions in the ring that may be unpublished.
    pub unproved: usize,
    /// Partitions that these decisions wait for.
    pub waits_for: Vec<u32>,
}

/// How one record is answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub index: usize,
    pub reply: Reply,
    /// What must be published first.
    pub outgoing: Option<Outgoing>,
    pub outcome: Option<Outcome>,
    pub late: bool,
    pub degraded: bool,
}

/// A job on its way to a plan.
#[derive(Debug)]
struct Draft {
    user: UserId,
    works: Vec<usize>,
    expected: Option<u64>,
    item: StoredUser,
    replies: Vec<(usize, Reply)>,
    changed: bool,
    full_from: Option<usize>,
    cursor: usize,
}

impl Draft {
    fn new(job: Job, works: &[Work]) -> Self {
        let Job { user, works: indexes, base } = job;
        let since = indexes.first().map_or(Millis::default(), |&first| works[first].transaction.occurred_at);
        let (expected, item) = match base {
            Some(versioned) => (Some(versioned.version), versioned.item),
            None => (None, StoredUser { state: UserState::new(since), ledger: Ledger::default() }),
        };
        Self { user, works: indexes, expected, item, replies: Vec::new(), changed: false, full_from: None, cursor: 0 }
    }

    /// Answers what needs no score, up to the next new transaction.
    fn advance(&mut self, works: &[Work], settled: &Settled) -> Option<usize> {
        while let Some(&index) = self.works.get(self.cursor) {
            if self.full_from.is_some() {
                return None;
            }
            let work = &works[index];
            let ledger = &mut self.item.ledger;
            let reply = if ledger.find(work.digest).is_some() {
                self.changed |= ledger.repeat(work.digest, work.delivered, settled);
                Reply::Replay
            } else if ledger.is_below_floor(work.delivered) {
                Reply::Stale
            } else if work.redriven() && ledger.is_below_floor(work.source) {
                Reply::Undecidable
            } else {
                if ledger.is_full() {
                    ledger.compact(settled, work.delivered.timestamp);
                    self.changed = true;
                }
                if self.item.ledger.is_full() {
                    self.full_from = Some(self.cursor);
                    return None;
                }
                return Some(index);
            };
            self.replies.push((index, reply));
            self.cursor += 1;
        }
        None
    }

    fn record(&mut self, index: usize, work: &Work, decision: Decision, settled: &Settled) {
        let late = decision.late;
        self.item.ledger.record(work.digest, work.delivered, decision);
        if work.redriven() {
            self.item.ledger.repeat(work.digest, work.source, settled);
        }
        self.item.state.apply(&work.transaction, late);
        self.replies.push((index, Reply::New));
        self.changed = true;
        self.cursor += 1;
    }

    fn finish(mut self, works: &[Work], settled: &Settled) -> Plan {
        if self.changed {
            let newest = self.works.iter().map(|&index| works[index].delivered.timestamp).max().unwrap_or_default();
            self.item.ledger.compact(settled, newest);
            let partition = self.works.last().map(|&index| works[index].delivered.partition);
            let known = partition.and_then(|partition| Some((partition, settled.mark(partition)?)));
            self.item.ledger.proof = known.or(self.item.ledger.proof);
        }
        let answers =
            self.replies.iter().map(|&(index, reply)| self.answer(index, reply, &works[index], settled)).collect();
        let waiting = self.item.ledger.entries.iter().filter(|entry| entry.decision.is_some());
        let waits_for = waiting.flat_map(|entry| &entry.coordinates).map(|at| at.partition).collect();
        let unproved = self.item.ledger.unproved();
        let Self { user, works, expected, item, full_from, changed, .. } = self;
        let write = changed.then(|| Write { key: user.clone(), expected, item });
        Plan { user, works, answers, write, full_from, unproved, waits_for }
    }

    fn answer(&self, index: usize, reply: Reply, work: &Work, settled: &Settled) -> Answer {
        let entry = self.item.ledger.find(work.digest);
        let decision = entry.and_then(|entry| entry.decision.as_deref());
        Answer {
            index,
            reply,
            outgoing: entry.and_then(|entry| outgoing(entry, work, settled)),
            outcome: entry.map(|entry| entry.outcome),
            late: decision.is_some_and(|decision| decision.late),
            degraded: decision.is_some_and(|decision| decision.missing.any()),
        }
    }

    /// The version that the item gets, if it is written.
    fn next_version(&self) -> u64 {
        self.expected.map_or(1, |version| version + 1)
    }
}

/// Devices of a batch, and what the batch learned about them.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    pub known: HashMap<DeviceId, Versioned<DeviceState>>,
    pub unread: HashSet<DeviceId>,
    /// Devices that learned of a user: the new content is in `learned`.
    pub learned: HashMap<DeviceId, (Option<u64>, DeviceState)>,
    /// Who was seen where and when, to learn it again after a lost race.
    pub seen: Vec<(DeviceId, u32, Millis)>,
}

impl Devices {
    /// Whether it was asked for already and need not be again.
    pub fn is_read(&self, device: &DeviceId) -> bool {
        self.known.contains_key(device) || self.unread.contains(device) || self.learned.contains_key(device)
    }

    fn input(&self, device: &DeviceId) -> DeviceInput<'_> {
        if self.unread.contains(device) {
            return DeviceInput::Unavailable;
        }
        if let Some((_, state)) = self.learned.get(device) {
            return DeviceInput::Known(state);
        }
        self.known.get(device).map_or(DeviceInput::Unseen, |versioned| DeviceInput::Known(&versioned.item))
    }

    fn learn(&mut self, device: &DeviceId, user: u32, at: Millis) {
        if self.unread.contains(device) {
            return;
        }
        let known = self
            .learned
            .get(device)
            .cloned()
            .or_else(|| self.known.get(device).map(|versioned| (Some(versioned.version), versioned.item.clone())));
        let (version, mut state) = known.unwrap_or_else(|| (None, DeviceState::first_seen(at)));
        if state.observe(user, at) {
            self.learned.insert(device.clone(), (version, state));
            self.seen.push((device.clone(), user, at));
        }
    }
}

/// What every draft is planned with.
pub(crate) struct Planner<'a, M> {
    pub scorer: &'a M,
    pub works: &'a [Work],
    pub settled: &'a Settled,
    pub allowed_lateness_ms: i64,
    pub decided_at: Millis,
}

impl<M: Scorer> Planner<'_, M> {
    /// Plans all jobs together, wave by wave: a user's second transaction sees the first, and each wave is scored as one matrix.
    pub fn plan(&self, jobs: Vec<Job>, devices: &mut Devices) -> Result<Vec<Plan>, ScoreError> {
        let mut drafts: Vec<Draft> = jobs.into_iter().map(|job| Draft::new(job, self.works)).collect();
        loop {
            let mut rows = Vec::new();
            let mut wave = Vec::new();
            for (place, draft) in drafts.iter_mut().enumerate() {
                if let Some(index) = draft.advance(self.works, self.settled) {
                    let transaction = &self.works[index].transaction;
                    let input = devices.input(&transaction.device_id);
                    rows.push(FeatureVector::compute(transaction, Some(&draft.item.state), input));
                    wave.push((place, index));
                }
            }
            if rows.is_empty() {
                break;
            }
            let scores = self.scorer.score(&rows)?;
            debug_assert_eq!(scores.len(), rows.len(), "one score per row");
            for (((place, index), features), scored) in wave.into_iter().zip(rows).zip(scores) {
                let work = &self.works[index];
                let decision = self.decide(&drafts[place], work, features, &scored, devices);
                devices.learn(
                    &work.transaction.device_id,
                    work.transaction.user_id.hash32(),
                    work.transaction.occurred_at,
                );
                drafts[place].record(index, work, decision, self.settled);
            }
        }
        Ok(drafts.into_iter().map(|draft| draft.finish(self.works, self.settled)).collect())
    }

    fn decide(
        &self,
        draft: &Draft,
        work: &Work,
        features: FeatureVector,
        scored: &Scored,
        devices: &Devices,
    ) -> Decision {
        let transaction = &work.transaction;
        Decision {
            decision_id: work.decision_id,
            transaction_id: transaction.id.clone(),
            user_id: transaction.user_id.clone(),
            amount: transaction.amount,
            currency: transaction.currency,
            outcome: self.scorer.policy().decide(scored.score),
            score: scored.score,
            reasons: decision::reasons(&scored.contributions),
            model: self.scorer.stamp().clone(),
            features,
            state_version: draft.next_version(),
            occurred_at: transaction.occurred_at,
            ingested_at: work.source.timestamp,
            decided_at: self.decided_at,
            late: draft.item.state.is_late(transaction.occurred_at, self.allowed_lateness_ms),
            missing: MissingInputs { device: devices.unread.contains(&transaction.device_id) },
        }
    }
}
