//! One user's part of a batch: which records are new, which are answered from the ring, and the item that results.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use centinela_contracts::stored_user::StoredUser;
use centinela_domain::features::{DeviceInput, Known};
use centinela_domain::guard::Ruling;
use centinela_domain::ledger::{CommittedMarks, RECREATED_AFTER_MS, RingSize};
use centinela_domain::{
    Decision, DeviceId, DeviceState, Entry, FeatureVector, Guard, Ledger, Mark, Millis, Outcome, UserId, UserState,
    decision,
};

use crate::outgoing::{again, outgoing};
use crate::ports::{Background, Outgoing, ScoreError, Scored, Scorer, Versioned, Write};
use crate::work::{Decoded, Work, is_verified};

/// How a record is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Decided now.
    New,
    /// The ring knows it.
    Replay,
    /// Complete so long ago that its entry has left the ring.
    Stale,
    /// A redriven record whose first place the eviction floors have passed: nobody can tell whether it was decided before the mapping gave it
    /// up, and it is not verified that it was not.
    Undecidable,
    /// The ring knows the transaction's id with other content: it is another transaction, and must not get the first one's answer.
    OtherContent,
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
    /// Which devices the user was seen on: the devices learn it when the item is written, and not before.
    pub visits: Vec<Visit>,
}

/// A user on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    pub device: DeviceId,
    /// Hash of the user's id.
    pub user: u32,
    pub at: Millis,
}

/// How one record is answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub index: usize,
    pub reply: Reply,
    /// What must be published first.
    pub outgoing: Option<Outgoing>,
    /// Where the decision stands in the record's partition: what a mark must pass to prove it published.
    pub stands_at: Option<Mark>,
    pub outcome: Option<Outcome>,
    pub late: bool,
    pub ahead: bool,
    pub guarded: bool,
    pub degraded: bool,
    /// Of a replay: its producer sent the transaction again, at another place.
    pub duplicate: bool,
}

/// A job on its way to a plan.
#[derive(Debug)]
struct Draft {
    user: UserId,
    works: Vec<usize>,
    expected: Option<u64>,
    item: StoredUser,
    replies: Vec<(usize, Reply)>,
    /// Those of them whose place is new to the ring.
    duplicates: Vec<usize>,
    visits: Vec<Visit>,
    changed: bool,
    full_from: Option<usize>,
    cursor: usize,
}

impl Draft {
    fn new(job: Job, works: &[Work]) -> Self {
        let Job { user, works: indexes, base } = job;
        let since = indexes.first().map_or(Millis::default(), |&first| works[first].content.time.at);
        let (expected, item) = match base {
            Some(versioned) => (Some(versioned.version), versioned.item),
            None => (None, StoredUser { state: UserState::new(since), ledger: Ledger::default() }),
        };
        Self {
            user,
            works: indexes,
            expected,
            item,
            replies: Vec::new(),
            duplicates: Vec::new(),
            visits: Vec::new(),
            changed: false,
            full_from: None,
            cursor: 0,
        }
    }

    /// Answers what needs no score, up to the next new transaction.
    fn advance(&mut self, works: &[Work], committed: &CommittedMarks, ring: RingSize) -> Option<usize> {
        while let Some(&index) = self.works.get(self.cursor) {
            if self.full_from.is_some() {
                return None;
            }
            let work = &works[index];
            let ledger = &mut self.item.ledger;
            let reply = match ledger.find(work.content.digest) {
                Some(entry) if entry.content.is_some_and(|content| content != work.content.content_digest) => {
                    Reply::OtherContent
                }
                Some(_) => {
                    let is_new_place = ledger.repeat(work.content.digest, work.at, committed);
                    self.changed |= is_new_place;
                    self.duplicates.extend((is_new_place && !work.is_redriven()).then_some(index));
                    self.visits.push(visit(work));
                    Reply::Replay
                }
                None if ledger.is_below_eviction_floor(work.at) => Reply::Stale,
                None if work.is_redriven() && ledger.cannot_tell(work.source) && !is_verified(work, ledger) => {
                    Reply::Undecidable
                }
                None => {
                    if ledger.is_full(ring) {
                        self.changed |= ledger.compact(committed, work.at.timestamp, ring);
                    }
                    if self.item.ledger.is_full(ring) {
                        self.full_from = Some(self.cursor);
                        return None;
                    }
                    return Some(index);
                }
            };
            self.replies.push((index, reply));
            self.cursor += 1;
        }
        None
    }

    fn record(&mut self, index: usize, work: &Work, decision: Decision, committed: &CommittedMarks) {
        let late = decision.late;
        self.item.ledger.record(work.content.digest, work.content.content_digest, work.at, decision, committed);
        // A place in a topic that is gone would never be proved, and the entry stay in full for ever.
        if work.is_redriven() && !committed.outlives(work.source, RECREATED_AFTER_MS) {
            self.item.ledger.repeat(work.content.digest, work.source, committed);
        }
        self.item.state.apply(&work.content.transaction, work.content.time.at, late);
        self.visits.push(visit(work));
        self.replies.push((index, Reply::New));
        self.changed = true;
        self.cursor += 1;
    }

    fn finish(mut self, works: &[Work], committed: &CommittedMarks, ring: RingSize) -> Plan {
        if self.changed {
            let newest = self.works.iter().map(|&index| works[index].at.timestamp).max().unwrap_or_default();
            self.item.ledger.compact(committed, newest, ring);
            let partition = self.works.last().map(|&index| works[index].at.partition);
            let known = partition.and_then(|partition| Some((partition, committed.mark(partition)?)));
            self.item.ledger.proof = known.or(self.item.ledger.proof);
        }
        let answers =
            self.replies.iter().map(|&(index, reply)| self.answer(index, reply, &works[index], committed)).collect();
        let waiting = self.item.ledger.entries.iter().filter(|entry| entry.decision.is_some());
        let waits_for = waiting.flat_map(|entry| &entry.coordinates).map(|at| at.partition).collect();
        let unproved = self.item.ledger.unproved();
        let Self { user, works, expected, item, full_from, changed, visits, .. } = self;
        let write = changed.then(|| Write { key: user.clone(), expected, item });
        Plan { user, works, answers, write, full_from, unproved, waits_for, visits }
    }

    fn answer(&self, index: usize, reply: Reply, work: &Work, committed: &CommittedMarks) -> Answer {
        let entry = self.item.ledger.find(work.content.digest);
        let decision = entry.and_then(|entry| entry.decision.as_deref());
        let of_partition =
            |entry: &Entry| entry.coordinates.iter().find(|at| at.partition == work.at.partition).map(|&at| at.into());
        Answer {
            index,
            reply,
            outgoing: entry.and_then(|entry| match reply {
                // Whatever is proved of its place: the proof is about records that were handled before.
                Reply::New => again(entry, work.source.partition),
                Reply::Replay => outgoing(entry, work, committed),
                Reply::Stale | Reply::Undecidable | Reply::OtherContent => None,
            }),
            stands_at: entry.filter(|_| matches!(reply, Reply::New | Reply::Replay)).and_then(of_partition),
            outcome: entry.map(|entry| entry.outcome),
            late: decision.is_some_and(|decision| decision.late),
            ahead: decision.is_some_and(|decision| decision.ahead),
            guarded: decision.is_some_and(|decision| decision.guarded),
            degraded: decision.is_some_and(|decision| decision.missing.any()),
            duplicate: self.duplicates.contains(&index),
        }
    }

    /// The version that the item gets, if it is written.
    fn next_version(&self) -> u64 {
        self.expected.map_or(1, |version| version + 1)
    }
}

fn visit(work: &Work) -> Visit {
    let Decoded { transaction, user, time, .. } = &work.content;
    Visit { device: transaction.device_id.clone(), user: *user, at: time.at }
}

/// Devices of a batch, and what the batch learned about them.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    pub known: HashMap<DeviceId, Versioned<DeviceState>>,
    pub unread: HashSet<DeviceId>,
    /// Devices that learned of a user: the new content is in `learned`.
    pub learned: BTreeMap<DeviceId, (Option<u64>, DeviceState)>,
    /// Who was seen where and when, to learn it again after a lost race.
    pub seen: Vec<Visit>,
}

impl Devices {
    /// Whether it was asked for already and need not be again.
    pub fn is_read(&self, device: &DeviceId) -> bool {
        self.known.contains_key(device) || self.unread.contains(device) || self.learned.contains_key(device)
    }

    fn state(&self, device: &DeviceId) -> Option<&DeviceState> {
        let learned = self.learned.get(device).map(|(_, state)| state);
        learned.or_else(|| self.known.get(device).map(|versioned| &versioned.item))
    }

    /// The device as a user's next transaction finds it: with that user's own earlier visits of this batch, whatever becomes of
    /// the others'. So a decision does not depend on how often it was tried, and in whose company.
    fn state_after<'a>(&'a self, device: &DeviceId, visits: &[Visit]) -> Option<Cow<'a, DeviceState>> {
        let mut state = self.state(device).map(Cow::Borrowed);
        for Visit { user, at, .. } in visits.iter().filter(|visit| visit.device == *device) {
            state.get_or_insert_with(|| Cow::Owned(DeviceState::first_seen(*at)));
            if let Some(state) = &mut state
                && !state.users.iter().any(|known| known.user == *user)
            {
                state.to_mut().observe(*user, *at);
            }
        }
        state
    }

    /// Takes what is written in the user's item.
    pub fn learn(&mut self, visits: Vec<Visit>) {
        for visit in visits {
            if self.unread.contains(&visit.device) {
                continue;
            }
            let known = self.known.get(&visit.device);
            let (version, mut state) = match self.learned.get(&visit.device) {
                Some(learned) => learned.clone(),
                None => known.map_or_else(
                    || (None, DeviceState::first_seen(visit.at)),
                    |known| (Some(known.version), known.item.clone()),
                ),
            };
            if state.observe(visit.user, visit.at) {
                self.learned.insert(visit.device.clone(), (version, state));
                self.seen.push(visit);
            }
        }
    }
}

/// What every draft is planned with.
pub(crate) struct Planner<'a, M> {
    pub scorer: &'a M,
    /// None where it is switched off, or the model has no band.
    pub guard: Option<&'a Mutex<Guard>>,
    /// What else is known of the users and devices.
    pub background: &'a Background,
    pub works: &'a [Work],
    pub committed: &'a CommittedMarks,
    pub ring: RingSize,
    pub allowed_lateness_ms: i64,
    pub decided_at: Millis,
}

impl<M: Scorer> Planner<'_, M> {
    /// Plans all jobs together, wave by wave: a user's second transaction sees the first, and each wave is scored as one matrix.
    pub fn plan(&self, jobs: Vec<Job>, devices: &Devices) -> Result<Vec<Plan>, ScoreError> {
        let mut drafts: Vec<Draft> = jobs.into_iter().map(|job| Draft::new(job, self.works)).collect();
        loop {
            let mut rows = Vec::new();
            let mut wave = Vec::new();
            for (place, draft) in drafts.iter_mut().enumerate() {
                if let Some(index) = draft.advance(self.works, self.committed, self.ring) {
                    let Decoded { transaction, time, .. } = &self.works[index].content;
                    let device = devices.state_after(&transaction.device_id, &draft.visits);
                    let input = match &device {
                        _ if devices.unread.contains(&transaction.device_id) => DeviceInput::Unavailable,
                        Some(state) => DeviceInput::Known(state),
                        None => DeviceInput::Unseen,
                    };
                    let known = Known {
                        user: Some(&draft.item.state),
                        profile: self.background.profile(&transaction.user_id),
                        user_risk: self.background.user_risk(&transaction.user_id),
                        device: input,
                        device_risk: self.background.device_risk(&transaction.device_id),
                    };
                    rows.push(FeatureVector::compute(transaction, time.at, &known));
                    wave.push((place, index));
                }
            }
            if rows.is_empty() {
                break;
            }
            let scores = self.scorer.score(&rows)?;
            assert_eq!(scores.len(), rows.len(), "one score per row");
            for (((place, index), features), scored) in wave.into_iter().zip(rows).zip(scores) {
                let work = &self.works[index];
                let decision = self.decide(&drafts[place], work, &features, &scored, devices);
                drafts[place].record(index, work, decision, self.committed);
            }
        }
        Ok(drafts.into_iter().map(|draft| draft.finish(self.works, self.committed, self.ring)).collect())
    }

    fn rule(&self, user: u32, score: f32) -> Ruling {
        let policy = self.scorer.policy();
        match self.guard {
            // A panic elsewhere leaves counts that are good enough: they are of this environment's traffic only, and pass with it.
            Some(guard) => {
                guard.lock().unwrap_or_else(PoisonError::into_inner).rule(&policy, user, score, self.decided_at)
            }
            None => Ruling { outcome: policy.decide(score), guarded: false },
        }
    }

    fn decide(
        &self,
        draft: &Draft,
        work: &Work,
        features: &FeatureVector,
        scored: &Scored,
        devices: &Devices,
    ) -> Decision {
        let transaction = &work.content.transaction;
        let Ruling { outcome, guarded } = self.rule(work.content.user, scored.score);
        Decision {
            decision_id: work.content.decision_id,
            transaction_id: transaction.id.clone(),
            user_id: transaction.user_id.clone(),
            amount: transaction.amount,
            currency: transaction.currency,
            outcome,
            score: scored.score,
            reasons: decision::reasons(&scored.contributions),
            model: self.scorer.stamp().clone(),
            features: features.recorded(),
            state_version: draft.next_version(),
            occurred_at: transaction.occurred_at,
            ingested_at: work.source.timestamp,
            decided_at: self.decided_at,
            late: draft.item.state.is_late(work.content.time.at, self.allowed_lateness_ms),
            ahead: work.content.time.ahead,
            guarded,
            missing: self.background.missing(
                &transaction.user_id,
                &transaction.device_id,
                devices.unread.contains(&transaction.device_id),
            ),
        }
    }
}
