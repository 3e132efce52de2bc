//! What is known about every transaction, and how that changes with each record.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, RandomState};
use std::time::Instant;

use centinela_contracts::{decision_v1::DecisionV1, transaction_v1};
use centinela_domain::{DecisionId, Outcome, Rollup, Transaction};
use centinela_verdict::{Answer, Heard, Verdict};
use hdrhistogram::Histogram;

use super::digest::{ByDigest, place, short};
use super::entry::{Entry, FRAUD, Gone, LABELLED, OF_OLD, Place, SENT_AGAIN, TICK_US};
use super::folded::{Folded, Sums};
use super::recent::Recent;
use super::seen::{Reconciliation, Seen};
use crate::blocked::{self, Blocked};
use crate::figures::{LONGEST_US, micros_histogram};
use crate::streams::IndexSum;

/// Dead letters that are remembered at least, to tell repetitions.
const DEAD_LETTERS_REMEMBERED: usize = 100_000;

pub(super) struct State {
    pub(super) entries: ByDigest<Entry>,
    users: HashMap<Box<str>, u32>,
    /// Amounts of a transaction id that was sent with several.
    conflicting: ByDigest<Vec<u64>>,
    /// Complete transactions that are kept whole.
    whole: usize,
    /// What is complete and kept whole, in the order of completion.
    complete: VecDeque<u64>,
    /// What every complete transaction came to that is not kept whole any more.
    sums: Sums,
    folded: Folded,
    /// Undecided transactions by where they stand.
    open: HashMap<Place, u64>,
    /// Records of transactions that had been folded already.
    sent_late: u64,
    /// How often the topic of the transactions was recreated: its offsets began anew.
    pub(super) incarnation: u32,
    /// Records that are no transaction and not dead-lettered yet, by incarnation, partition and offset.
    unreadable: HashSet<Place>,
    /// Dead-lettered records, by the same.
    dead_letters: Recent<Place, (), RandomState>,
    pub(super) seen: Seen,
    /// The newest first.
    pub(super) last_blocked: VecDeque<Blocked>,
    pub(super) latency_us: Histogram<u64>,
    pub(super) recent_us: Histogram<u64>,
    pub(super) wait_us: Histogram<u64>,
    pub(super) first_decision: Option<Instant>,
    pub(super) last_decision: Option<Instant>,
    /// What the first message about every transaction comes to, for the index and for the roll-ups.
    pub(super) index: IndexSum,
    pub(super) rollup: Rollup,
}

impl State {
    /// Empty, with room for `expected` transactions; keeps so many complete ones whole, and remembers so many that are folded.
    pub(super) fn new(expected: usize, whole: usize, remembered: usize) -> Self {
        Self {
            entries: HashMap::with_capacity_and_hasher(expected.min(whole), BuildHasherDefault::default()),
            users: HashMap::new(),
            conflicting: HashMap::default(),
            whole,
            complete: VecDeque::new(),
            sums: Sums::default(),
            folded: Folded::new(remembered),
            open: HashMap::new(),
            sent_late: 0,
            incarnation: 0,
            unreadable: HashSet::new(),
            dead_letters: Recent::new(DEAD_LETTERS_REMEMBERED),
            seen: Seen::default(),
            last_blocked: VecDeque::new(),
            latency_us: micros_histogram(),
            recent_us: micros_histogram(),
            wait_us: micros_histogram(),
            first_decision: None,
            last_decision: None,
            index: IndexSum::default(),
            rollup: Rollup::default(),
        }
    }

    pub(super) fn sending(&mut self, id: DecisionId, fraud: Option<bool>, ticks: u32) {
        if self.folded.get(short(id)).is_some() {
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
        (self.entries.len() as u64).saturating_sub(self.complete.len() as u64)
    }

    /// A record that is no transaction.
    pub(super) fn sent_unreadable(&mut self, at: Place) {
        self.seen.unique += 1;
        if self.dead_letters.get(&at).is_none() {
            self.unreadable.insert(at);
        }
    }

    pub(super) fn sent(&mut self, transaction: &Transaction, at: Place, ingested_ms: i64) {
        let id = transaction.decision_id();
        let digest = place(id);
        let known = self.entries.get(&digest).is_some_and(|entry| entry.fate.is_sent());
        if !known && self.folded.get(short(id)).is_some() {
            self.sent_late += 1;
            return;
        }
        let amount = transaction.amount.minor();
        let user = self.user(transaction.user_id.as_str());
        let entry = self.entries.entry(digest).or_default();
        if !entry.fate.is_decided() && !known {
            self.open.insert(at, digest);
        }
        if known {
            entry.flags |= SENT_AGAIN;
            if entry.amount_sent != amount {
                self.conflicting.entry(digest).or_default().push(amount);
            }
            return;
        }
        entry.fate.sent();
        entry.amount_sent = amount;
        entry.user = user;
        entry.place = at;
        entry.id = short(id);
        self.seen.unique += 1;
        if entry.fate.is_decided() {
            let is_of_old = entry.ingested_ms < ingested_ms && self.folded.may_have_forgotten(entry.ingested_ms);
            entry.flags |= if is_of_old { OF_OLD } else { 0 };
        }
        entry.ingested_ms = ingested_ms;
        if self.dead_letters.get(&at).is_some() {
            self.dead_letter(digest);
        }
    }

    fn user(&mut self, name: &str) -> u32 {
        let next = u32::try_from(self.users.len()).unwrap_or(u32::MAX);
        match self.users.get(name) {
            Some(user) => *user,
            None => *self.users.entry(name.into()).or_insert(next),
        }
    }

    /// A decision on the topic of the blocked ones, or on the other.
    pub(super) fn decided(&mut self, decision: &DecisionV1, answer: Answer, blocked: bool, ticks: u32, now_ms: i64) {
        let digest = place(decision.decision_id);
        let is_on_the_wrong_topic = blocked != (decision.outcome == Outcome::Blocked);
        if !self.entries.contains_key(&digest)
            && let Some(first) = self.folded.get(short(decision.decision_id))
        {
            return self.decided_again(!is_on_the_wrong_topic && first.agrees_with(answer.sealed()));
        }
        let user = self.user(decision.user_id.as_str());
        let entry = self.entries.entry(digest).or_default();
        let was_complete = entry.fate.is_complete();
        let heard = entry.fate.answered(answer);
        if is_on_the_wrong_topic {
            entry.fate.contradicted();
        }
        if heard != Heard::First {
            self.seen.republished += u64::from(heard == Heard::Repeated);
            return;
        }
        entry.score = decision.score;
        if !entry.fate.is_sent() {
            entry.user = user;
            entry.id = short(decision.decision_id);
        }
        if !was_complete {
            self.complete.push_back(digest);
        }
        self.count_decision(decision, blocked);
        self.time_decision(decision, digest, ticks, now_ms);
        self.fold_the_oldest();
    }

    fn count_decision(&mut self, decision: &DecisionV1, blocked: bool) {
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
        if decision.evidence.is_none() {
            self.rollup.add_reduced();
        }
        if let Some(evidence) = &decision.evidence {
            self.index.add(evidence);
            self.rollup.add(evidence);
            self.seen.late += u64::from(evidence.late);
            self.seen.degraded += u64::from(evidence.missing.any());
        }
    }

    /// Notes when a decision came, and whether it is older than its record.
    fn time_decision(&mut self, decision: &DecisionV1, digest: u64, ticks: u32, now_ms: i64) {
        let Some(entry) = self.entries.get_mut(&digest) else { return };
        let mut ingested_ms = now_ms;
        if let Some(evidence) = &decision.evidence {
            entry.amount_decided = evidence.amount.minor();
            ingested_ms = evidence.ingested_at.0;
            let wait_ms = u64::try_from(evidence.decided_at.since(evidence.ingested_at)).unwrap_or(0);
            self.wait_us.saturating_record((wait_ms * 1_000).clamp(1, LONGEST_US));
        }
        if entry.fate.is_sent() {
            self.open.remove(&entry.place);
            let is_of_old = match decision.evidence {
                Some(_) => ingested_ms < entry.ingested_ms && self.folded.may_have_forgotten(ingested_ms),
                // Only what was published long ago is published in part.
                None => self.folded.has_forgotten(),
            };
            entry.flags |= if is_of_old { OF_OLD } else { 0 };
        } else {
            entry.ingested_ms = ingested_ms;
        }
        let latency_us = match entry.meant_at {
            0 => u64::try_from(now_ms.saturating_sub(ingested_ms)).unwrap_or(0) * 1_000,
            meant_at => u64::from(ticks.saturating_sub(meant_at)) * TICK_US,
        };
        let latency_us = latency_us.clamp(1, LONGEST_US);
        self.latency_us.saturating_record(latency_us);
        self.recent_us.saturating_record(latency_us);
    }

    /// A decision about a transaction that is folded already.
    fn decided_again(&mut self, as_the_first: bool) {
        if !as_the_first {
            self.sums.doubled += 1;
            return;
        }
        self.seen.republished += 1;
        if self.sent_late > 0 {
            self.sent_late -= 1;
            self.sums.republished_duplicates += 1;
        }
    }

    /// A dead letter about the record at a place.
    pub(super) fn dead_lettered(&mut self, partition: u32, offset: u64, value: Option<&[u8]>) {
        let at = (self.incarnation, partition, offset);
        if self.dead_letters.get(&at).is_some() {
            self.seen.republished += 1;
            return;
        }
        self.dead_letters.insert(at, ());
        self.seen.dead_lettered += 1;
        if self.unreadable.remove(&at) {
            return;
        }
        if let Some(digest) = self.open.get(&at).copied() {
            self.dead_letter(digest);
        } else if let Some(Ok(transaction)) = value.map(transaction_v1::parse) {
            let id = transaction.decision_id();
            if self.folded.get(short(id)).is_none() {
                self.dead_letter(place(id));
            }
        }
        self.fold_the_oldest();
    }

    /// Notes that a transaction was dead-lettered.
    fn dead_letter(&mut self, digest: u64) {
        let entry = self.entries.entry(digest).or_default();
        if !entry.fate.is_complete() {
            self.complete.push_back(digest);
        }
        entry.fate.dead_lettered();
        self.open.remove(&entry.place);
    }

    /// Folds what has been complete for long enough.
    fn fold_the_oldest(&mut self) {
        while self.complete.len() > self.whole
            && let Some(digest) = self.complete.pop_front()
        {
            match self.entries.get(&digest) {
                // Its record is still to be read.
                Some(entry) if !entry.fate.is_sent() => {
                    self.complete.push_back(digest);
                    return;
                }
                Some(_) => self.fold(digest),
                None => {}
            }
        }
    }

    fn fold(&mut self, digest: u64) {
        let Some(entry) = self.entries.remove(&digest) else { return };
        self.open.remove(&entry.place);
        self.sums.take(&entry, entry.counted_amount(self.conflicting.get(&digest)));
        self.conflicting.remove(&digest);
        if let Some(answer) = entry.fate.answer() {
            self.folded.insert(entry.id, answer.sealed(), entry.ingested_ms);
        }
    }

    pub(super) fn reconcile(&self, gone: &Gone) -> Reconciliation {
        let mut sums = self.sums.clone();
        let mut lost = self.unreadable.iter().filter(|place| !gone.has(**place)).count() as u64;
        // Decisions on records that were deleted before they could be read here look like decisions on nothing.
        let (mut missed, mut invented) = (self.seen.missed, 0);
        for (digest, entry) in &self.entries {
            if entry.fate.is_sent() {
                sums.take(entry, entry.counted_amount(self.conflicting.get(digest)));
            }
            if entry.fate.is_lost() && !gone.has(entry.place) {
                lost += 1;
                sums.count(entry.user, entry.amount_sent);
            }
            if entry.fate.is_invented() && missed > 0 {
                missed -= 1;
                sums.count(entry.user, entry.amount_decided);
            } else {
                invented += u64::from(entry.fate.is_invented());
            }
        }
        Reconciliation {
            verdict: Verdict { lost, doubled: sums.doubled, invented, ..Verdict::default() },
            doubled_duplicates: sums.doubled_duplicates,
            republished_duplicates: sums.republished_duplicates,
            users: sums.by_name(self.users.iter().map(|(name, user)| (&**name, *user))),
            scores: sums.scores,
        }
    }
}
