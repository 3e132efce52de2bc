//! What is known about every transaction, and how that changes with each record.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, RandomState};
use std::time::Instant;

use centinela_contracts::{decision_v1, transaction_v1};
use centinela_domain::{DecisionId, Outcome, Transaction};
use hdrhistogram::Histogram;

use super::digest::{ByDigest, place};
use super::entry::*;
use super::recent::Recent;
use super::seen::{Seen, Verdict};
use super::settled::{Seal, Settled, Sums, short};
use crate::blocked::{self, Blocked};
use crate::figures::{LONGEST_US, micros_histogram};

/// Parked records that are remembered at least, to tell repetitions.
const PARKED_REMEMBERED: usize = 100_000;

pub(super) struct State {
    pub(super) entries: ByDigest<Entry>,
    pub(super) users: HashMap<Box<str>, u32>,
    /// Amounts of a transaction id that was sent with several.
    pub(super) conflicting: ByDigest<Vec<u64>>,
    /// Settled transactions that are kept whole.
    pub(super) whole: usize,
    /// What is settled, in the order of settling.
    pub(super) settling: VecDeque<u64>,
    /// What every settled transaction came to that is not kept whole any more.
    pub(super) sums: Sums,
    pub(super) settled: Settled,
    /// Undecided transactions by where they stand.
    pub(super) open: HashMap<Place, u64>,
    /// Records of transactions that had been folded already.
    pub(super) sent_late: u64,
    /// How often the topic of the transactions was recreated: its offsets began anew.
    pub(super) incarnation: u32,
    /// Records that are no transaction and not parked yet, by incarnation, partition and offset.
    pub(super) unreadable: HashSet<Place>,
    /// Parked records, by the same.
    pub(super) parked: Recent<Place, (), RandomState>,
    pub(super) seen: Seen,
    /// The newest first.
    pub(super) last_blocked: VecDeque<Blocked>,
    pub(super) latency_us: Histogram<u64>,
    pub(super) recent_us: Histogram<u64>,
    pub(super) wait_us: Histogram<u64>,
    pub(super) first_decision: Option<Instant>,
    pub(super) last_decision: Option<Instant>,
}

impl State {
    /// Empty, with room for `expected` transactions; keeps so many settled ones whole, and remembers so many that are folded.
    pub(super) fn new(expected: usize, whole: usize, remembered: usize) -> Self {
        Self {
            entries: HashMap::with_capacity_and_hasher(expected.min(whole), BuildHasherDefault::default()),
            users: HashMap::new(),
            conflicting: HashMap::default(),
            whole,
            settling: VecDeque::new(),
            sums: Sums::default(),
            settled: Settled::new(remembered),
            open: HashMap::new(),
            sent_late: 0,
            incarnation: 0,
            unreadable: HashSet::new(),
            parked: Recent::new(PARKED_REMEMBERED),
            seen: Seen::default(),
            last_blocked: VecDeque::new(),
            latency_us: micros_histogram(),
            recent_us: micros_histogram(),
            wait_us: micros_histogram(),
            first_decision: None,
            last_decision: None,
        }
    }

    pub(super) fn sending(&mut self, id: DecisionId, fraud: Option<bool>, ticks: u32) {
        if self.settled.get(short(id)).is_some() {
            return;
        }
        let entry = self.entries.entry(place(id)).or_default();
        if entry.meant_at == 0 {
            entry.meant_at = ticks;
        }
        match fraud {
            Some(true) => entry.flags |= LABELLED | FRAUD,
            Some(false) => entry.flags |= LABELLED,
            None => {}
        }
    }

    pub(super) fn undecided(&self) -> u64 {
        (self.entries.len() as u64).saturating_sub(self.settling.len() as u64)
    }

    pub(super) fn sent(&mut self, transaction: &Transaction, at: Place, ingested_ms: i64) {
        let id = transaction.decision_id();
        let digest = place(id);
        let known = self.entries.get(&digest).is_some_and(|entry| entry.is(SENT));
        if !known && self.settled.get(short(id)).is_some() {
            self.sent_late += 1;
            return;
        }
        let amount = transaction.amount.minor();
        let user = self.user(transaction.user_id.as_str());
        let entry = self.entries.entry(digest).or_default();
        if !entry.is(DECIDED | SENT) {
            self.open.insert(at, digest);
        }
        if entry.is(SENT) {
            entry.flags |= SENT_AGAIN;
            if entry.amount_sent != amount {
                self.conflicting.entry(digest).or_default().push(amount);
            }
            return;
        }
        entry.flags |= SENT;
        entry.amount_sent = amount;
        entry.user = user;
        entry.place = at;
        entry.id = short(id);
        self.seen.unique += 1;
        if entry.is(DECIDED) {
            let is_of_old = entry.ingested_ms < ingested_ms && self.settled.may_have_forgotten(entry.ingested_ms);
            entry.flags |= if is_of_old { OF_OLD } else { 0 };
        }
        entry.ingested_ms = ingested_ms;
        if self.parked.get(&at).is_some() {
            self.park(digest);
        }
    }

    pub(super) fn user(&mut self, name: &str) -> u32 {
        let next = u32::try_from(self.users.len()).unwrap_or(u32::MAX);
        match self.users.get(name) {
            Some(user) => *user,
            None => *self.users.entry(name.into()).or_insert(next),
        }
    }

    pub(super) fn decided(
        &mut self,
        decision: &decision_v1::DecisionV1,
        blocked: bool,
        bytes: u64,
        ticks: u32,
        now_ms: i64,
    ) {
        let digest = place(decision.decision_id);
        if !self.entries.contains_key(&digest)
            && let Some(seal) = self.settled.get(short(decision.decision_id))
        {
            self.decided_again(decision, seal, Seal::new(bytes, blocked));
            return;
        }
        let user = self.user(decision.user_id.as_str());
        let entry = self.entries.entry(digest).or_default();
        if entry.is(DECIDED) {
            // What remains of a decision after its evidence is gone says so, and is no second decision.
            let reduced = decision.evidence.is_none() && blocked == entry.is(BLOCKED);
            if entry.bytes == bytes || reduced {
                self.seen.republished += 1;
                entry.repeats = entry.repeats.saturating_add(1);
            } else {
                entry.flags |= DOUBLED;
            }
            return;
        }
        if !entry.is(PARKED) {
            self.settling.push_back(digest);
        }
        entry.flags |= DECIDED | if blocked { BLOCKED } else { 0 };
        if blocked != (decision.outcome == Outcome::Blocked) {
            entry.flags |= DOUBLED;
        }
        entry.bytes = bytes;
        entry.score = decision.score;
        self.seen.decided += 1;
        if blocked {
            self.seen.blocked += 1;
            if let Some(blocked) = Blocked::of(decision) {
                self.last_blocked.push_front(blocked);
            }
            self.last_blocked.truncate(blocked::KEPT);
        } else {
            self.seen.approved += 1;
        }
        let mut ingested_ms = now_ms;
        if let Some(evidence) = &decision.evidence {
            entry.amount_decided = evidence.amount.minor();
            self.seen.late += u64::from(evidence.late);
            self.seen.degraded += u64::from(evidence.missing.any());
            ingested_ms = evidence.ingested_at.0;
            let wait_ms = u64::try_from(evidence.decided_at.since(evidence.ingested_at)).unwrap_or(0);
            self.wait_us.saturating_record((wait_ms * 1_000).clamp(1, LONGEST_US));
        }
        if entry.is(SENT) {
            self.open.remove(&entry.place);
            let is_of_old = match decision.evidence {
                Some(_) => ingested_ms < entry.ingested_ms && self.settled.may_have_forgotten(ingested_ms),
                // Only what was published long ago is published in part.
                None => self.settled.has_forgotten(),
            };
            entry.flags |= if is_of_old { OF_OLD } else { 0 };
        } else {
            entry.user = user;
            entry.id = short(decision.decision_id);
            entry.ingested_ms = ingested_ms;
        }
        let latency_us = match entry.meant_at {
            0 => u64::try_from(now_ms.saturating_sub(ingested_ms)).unwrap_or(0) * 1_000,
            meant_at => u64::from(ticks.saturating_sub(meant_at)) * TICK_US,
        };
        let latency_us = latency_us.clamp(1, LONGEST_US);
        self.latency_us.saturating_record(latency_us);
        self.recent_us.saturating_record(latency_us);
        self.fold_the_oldest();
    }

    /// A decision about a transaction that is folded already.
    pub(super) fn decided_again(&mut self, decision: &decision_v1::DecisionV1, first: Seal, now: Seal) {
        let reduced = decision.evidence.is_none() && first.blocked() == now.blocked();
        if first != now && !reduced {
            self.sums.doubled += 1;
            return;
        }
        self.seen.republished += 1;
        if self.sent_late > 0 {
            self.sent_late -= 1;
            self.sums.republished_duplicates += 1;
        }
    }

    pub(super) fn parked(&mut self, (partition, offset): (u32, u64), value: Option<&[u8]>) {
        let at = (self.incarnation, partition, offset);
        if self.parked.get(&at).is_some() {
            self.seen.republished += 1;
            return;
        }
        self.parked.insert(at, ());
        self.seen.parked += 1;
        if self.unreadable.remove(&at) {
            return;
        }
        if let Some(digest) = self.open.get(&at).copied() {
            self.park(digest);
        } else if let Some(Ok(transaction)) = value.map(transaction_v1::parse) {
            let id = transaction.decision_id();
            if self.settled.get(short(id)).is_none() {
                self.park(place(id));
            }
        }
        self.fold_the_oldest();
    }

    /// Notes that a transaction was parked.
    pub(super) fn park(&mut self, digest: u64) {
        let entry = self.entries.entry(digest).or_default();
        if !entry.is_settled() {
            self.settling.push_back(digest);
        }
        entry.flags |= PARKED;
        self.open.remove(&entry.place);
    }

    /// Folds what has been settled for long enough.
    pub(super) fn fold_the_oldest(&mut self) {
        while self.settling.len() > self.whole
            && let Some(digest) = self.settling.pop_front()
        {
            match self.entries.get(&digest) {
                // Its record is still to be read.
                Some(entry) if !entry.is(SENT) => {
                    self.settling.push_back(digest);
                    return;
                }
                Some(_) => self.fold(digest),
                None => {}
            }
        }
    }

    pub(super) fn fold(&mut self, digest: u64) {
        let Some(entry) = self.entries.remove(&digest) else { return };
        self.open.remove(&entry.place);
        count(&mut self.sums, &entry, counted_amount(&entry, self.conflicting.get(&digest)));
        self.conflicting.remove(&digest);
        if entry.is(DECIDED) {
            self.settled.insert(entry.id, Seal::new(entry.bytes, entry.is(BLOCKED)), entry.ingested_ms);
        }
    }

    pub(super) fn verdict(&self, gone: &Gone) -> Verdict {
        let mut sums = self.sums.clone();
        let mut lost = self.unreadable.iter().filter(|place| !gone.has(**place)).count() as u64;
        // Decisions on records that were deleted before they could be read here look like decisions on nothing.
        let (mut missed, mut invented) = (self.seen.missed, 0);
        for (digest, entry) in &self.entries {
            if entry.is(SENT) {
                count(&mut sums, entry, counted_amount(entry, self.conflicting.get(digest)));
                if !entry.is_settled() && !gone.has(entry.place) {
                    lost += 1;
                    sums.count(entry.user, entry.amount_sent);
                }
            } else if entry.is(DECIDED) && missed > 0 {
                missed -= 1;
                sums.count(entry.user, entry.amount_decided);
            } else {
                invented += u64::from(entry.is(DECIDED));
            }
        }
        Verdict {
            lost,
            doubled: sums.doubled,
            doubled_duplicates: sums.doubled_duplicates,
            invented,
            republished_duplicates: sums.republished_duplicates,
            users: sums.by_name(self.users.iter().map(|(name, user)| (&**name, *user))),
            scores: sums.scores,
        }
    }
}

/// Counts what came of a transaction that was sent.
fn count(sums: &mut Sums, entry: &Entry, amount_minor: u64) {
    sums.doubled += u64::from(entry.is(DOUBLED));
    if entry.is(SENT_AGAIN) {
        sums.doubled_duplicates += u64::from(entry.is(DOUBLED));
        sums.republished_duplicates += u64::from(entry.repeats);
    }
    if !entry.is(DECIDED) {
        return;
    }
    if entry.is(LABELLED) {
        sums.scores.add(entry.score, entry.is(FRAUD), entry.is(BLOCKED));
    }
    if !entry.is(OF_OLD) {
        sums.count(entry.user, amount_minor);
    }
}

/// The amount that counts: of several that were sent under one id, the one that was decided.
fn counted_amount(entry: &Entry, others: Option<&Vec<u64>>) -> u64 {
    if others.is_some_and(|amounts| amounts.contains(&entry.amount_decided)) {
        entry.amount_decided
    } else {
        entry.amount_sent
    }
}
