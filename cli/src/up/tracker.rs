//! What is known about every record of a run: when it was meant to be sent, whether it stands on its topic, and what came of it.
//!
//! It believes only what was read from topics. Per transaction it keeps about 40 bytes (50 to 95 with the free places of the
//! table), per user its name and two sums, so a run of an hour at 1,667 transactions a second takes some 400 MB.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use centinela_contracts::kafka_event::{KafkaBatch, Record};
use centinela_contracts::parked_v1::{self, Parked, StoredParked};
use centinela_contracts::{decision_v1, transaction_v1};
use centinela_domain::{DecisionId, Outcome, Transaction};
use hdrhistogram::Histogram;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::traffic::Message;
use crate::traffic::producer::Observer;

/// Longest latency that is told apart, in microseconds; more counts as this.
pub(super) const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Unit of the stored times.
const TICK_US: u64 = 100;

/// Bits of [`Entry::flags`].
const SENT: u8 = 1;
const DECIDED: u8 = 2;
const PARKED: u8 = 4;
const BLOCKED: u8 = 8;
const DOUBLED: u8 = 16;
const FRAUD: u8 = 32;
const LABELLED: u8 = 64;
const SENT_AGAIN: u8 = 128;

/// A decision id is the start of a SHA-256 already.
#[derive(Default)]
pub(super) struct Digest(u64);

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type Place = (u32, u32, u64);
type ByDigest<T> = HashMap<u64, T, BuildHasherDefault<Digest>>;

/// A transaction.
#[derive(Clone, Copy, Default)]
struct Entry {
    /// Hash of the decision's bytes as they came first.
    bytes: u64,
    /// When it was meant to be sent, in ticks since the start of the run; 0 when somebody else sent it.
    meant_at: u32,
    user: u32,
    amount_sent: u32,
    amount_decided: u32,
    score: f32,
    flags: u8,
    /// Messages that repeated the decision.
    repeats: u8,
}

impl Entry {
    fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

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
    pub labelled: Vec<(f32, bool, bool)>,
}

/// The tracker, shared by the producer, the readers and the view.
pub struct Tracker {
    started: Instant,
    state: Mutex<State>,
}

struct State {
    entries: ByDigest<Entry>,
    users: HashMap<Box<str>, u32>,
    /// Amounts of a transaction id that was sent with several.
    conflicting: ByDigest<Vec<u32>>,
    /// How often the topic of the transactions was made again: its offsets began anew.
    incarnation: u32,
    /// Records that are no transaction and not parked yet, by incarnation, partition and offset.
    unreadable: HashSet<Place>,
    /// Parked records, by the same.
    parked: HashSet<Place>,
    seen: Seen,
    latency_us: Histogram<u64>,
    recent_us: Histogram<u64>,
    wait_us: Histogram<u64>,
    first_decision: Option<Instant>,
    last_decision: Option<Instant>,
}

impl Tracker {
    /// Starts to watch; `expected` transactions get their place beforehand.
    pub fn new(started: Instant, expected: usize) -> Self {
        Self {
            started,
            state: Mutex::new(State {
                entries: HashMap::with_capacity_and_hasher(expected, BuildHasherDefault::default()),
                users: HashMap::new(),
                conflicting: HashMap::default(),
                incarnation: 0,
                unreadable: HashSet::new(),
                parked: HashSet::new(),
                seen: Seen::default(),
                latency_us: histogram(),
                recent_us: histogram(),
                wait_us: histogram(),
                first_decision: None,
                last_decision: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ticks(&self, at: Instant) -> u32 {
        let ticks = at.saturating_duration_since(self.started).as_micros() / u128::from(TICK_US);
        u32::try_from(ticks).unwrap_or(u32::MAX - 1).saturating_add(1)
    }

    /// A record of topic `transactions`.
    pub fn saw_transaction(&self, partition: u32, offset: u64, value: Option<&[u8]>) {
        let transaction = value.map(transaction_v1::parse);
        let mut state = self.lock();
        state.seen.records += 1;
        match transaction {
            Some(Ok(transaction)) => state.sent(&transaction),
            Some(Err(_)) | None => {
                state.seen.unique += 1;
                let place = (state.incarnation, partition, offset);
                if !state.parked.contains(&place) {
                    state.unreadable.insert(place);
                }
            }
        }
    }

    /// A message of topic `approved` or `blocked` that arrived at `at`; `now_ms` is the same moment since 1970.
    pub fn saw_decision(&self, blocked: bool, value: &[u8], at: Instant, now_ms: i64) {
        let decision = decision_v1::parse(value);
        let bytes = hash(value);
        let ticks = self.ticks(at);
        let mut state = self.lock();
        let Ok(decision) = decision else {
            state.seen.unreadable_decisions += 1;
            return;
        };
        state.decided(&decision, blocked, bytes, ticks, now_ms);
        state.first_decision.get_or_insert(at);
        state.last_decision = Some(at);
    }

    /// A message of topic `dead-letters`.
    pub fn saw_parked(&self, value: &[u8]) {
        let parked = parked_v1::parse(value);
        let given_up = if parked.is_ok() { Vec::new() } else { given_up(value) };
        let mut state = self.lock();
        match parked {
            Ok(StoredParked { parked: Parked { partition, offset: Some(offset), value, .. }, .. }) => {
                state.parked((partition, offset), value.as_deref());
            }
            Ok(_) => state.seen.unreadable_decisions += 1,
            Err(_) if given_up.is_empty() => state.seen.unreadable_decisions += 1,
            Err(_) => given_up.iter().for_each(|record| {
                let at = (record.coordinates.partition, record.coordinates.offset);
                state.parked(at, record.value.as_deref());
            }),
        }
    }

    /// The topic of the transactions was made again; all of the old one was read and settled before.
    pub fn topic_recreated(&self) {
        self.lock().incarnation += 1;
    }

    /// What has been seen so far.
    pub fn seen(&self) -> Seen {
        self.lock().seen
    }

    /// Latencies of the whole run, in microseconds.
    pub fn latencies(&self) -> Histogram<u64> {
        self.lock().latency_us.clone()
    }

    /// Latencies since the last call, in microseconds.
    pub fn recent_latencies(&self) -> Histogram<u64> {
        let mut state = self.lock();
        let recent = state.recent_us.clone();
        state.recent_us.reset();
        recent
    }

    /// From the broker's time of a record to its decision, in microseconds; whole milliseconds.
    pub fn waits(&self) -> Histogram<u64> {
        self.lock().wait_us.clone()
    }

    /// When the first decision arrived.
    pub fn first_decision(&self) -> Option<Instant> {
        self.lock().first_decision
    }

    /// When the newest decision arrived.
    pub fn last_decision(&self) -> Option<Instant> {
        self.lock().last_decision
    }

    /// The verdict. Everything must have been read.
    pub fn verdict(&self) -> Verdict {
        self.lock().verdict()
    }
}

impl Observer for Tracker {
    fn sending(&self, message: &Message, at: Instant) {
        let Some(id) = message.decision_id else { return };
        let ticks = self.ticks(at);
        let mut state = self.lock();
        let entry = state.entries.entry(place(id)).or_default();
        if entry.meant_at == 0 {
            entry.meant_at = ticks;
        }
        match message.fraud {
            Some(true) => entry.flags |= LABELLED | FRAUD,
            Some(false) => entry.flags |= LABELLED,
            None => {}
        }
    }

    fn undecided(&self) -> u64 {
        let state = self.lock();
        let open = state.entries.len() as u64;
        open.saturating_sub(state.seen.decided)
    }
}

impl State {
    fn sent(&mut self, transaction: &Transaction) {
        let digest = place(transaction.decision_id());
        let amount = u32::try_from(transaction.amount.minor()).unwrap_or(u32::MAX);
        let next = u32::try_from(self.users.len()).unwrap_or(u32::MAX);
        let user = match self.users.get(transaction.user_id.as_str()) {
            Some(user) => *user,
            None => *self.users.entry(transaction.user_id.as_str().into()).or_insert(next),
        };
        let entry = self.entries.entry(digest).or_default();
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
        self.seen.unique += 1;
    }

    fn decided(&mut self, decision: &decision_v1::DecisionV1, blocked: bool, bytes: u64, ticks: u32, now_ms: i64) {
        let entry = self.entries.entry(place(decision.decision_id)).or_default();
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
        entry.flags |= DECIDED | if blocked { BLOCKED } else { 0 };
        if blocked != (decision.outcome == Outcome::Blocked) {
            entry.flags |= DOUBLED;
        }
        entry.bytes = bytes;
        entry.score = decision.score;
        self.seen.decided += 1;
        if blocked {
            self.seen.blocked += 1;
        } else {
            self.seen.approved += 1;
        }
        let mut ingested_ms = now_ms;
        if let Some(evidence) = &decision.evidence {
            entry.amount_decided = u32::try_from(evidence.amount.minor()).unwrap_or(u32::MAX);
            self.seen.late += u64::from(evidence.late);
            self.seen.degraded += u64::from(evidence.missing.any());
            ingested_ms = evidence.ingested_at.0;
            let wait_ms = u64::try_from(evidence.decided_at.since(evidence.ingested_at)).unwrap_or(0);
            self.wait_us.saturating_record((wait_ms * 1_000).clamp(1, LATENCY_US_MAX));
        }
        let latency_us = match entry.meant_at {
            0 => u64::try_from(now_ms.saturating_sub(ingested_ms)).unwrap_or(0) * 1_000,
            meant_at => u64::from(ticks.saturating_sub(meant_at)) * TICK_US,
        };
        let latency_us = latency_us.clamp(1, LATENCY_US_MAX);
        self.latency_us.saturating_record(latency_us);
        self.recent_us.saturating_record(latency_us);
    }

    fn parked(&mut self, (partition, offset): (u32, u64), value: Option<&[u8]>) {
        let at = (self.incarnation, partition, offset);
        if !self.parked.insert(at) {
            self.seen.republished += 1;
            return;
        }
        self.seen.parked += 1;
        if !self.unreadable.remove(&at)
            && let Some(Ok(transaction)) = value.map(transaction_v1::parse)
        {
            self.entries.entry(place(transaction.decision_id())).or_default().flags |= PARKED;
        }
    }

    fn verdict(&self) -> Verdict {
        let mut verdict = Verdict { lost: self.unreadable.len() as u64, ..Verdict::default() };
        let mut totals = vec![Totals::default(); self.users.len()];
        for (digest, entry) in &self.entries {
            verdict.doubled += u64::from(entry.is(DOUBLED));
            if entry.is(SENT_AGAIN) {
                verdict.doubled_duplicates += u64::from(entry.is(DOUBLED));
                verdict.republished_duplicates += u64::from(entry.repeats);
            }
            if !entry.is(SENT) {
                verdict.invented += u64::from(entry.is(DECIDED));
                continue;
            }
            if entry.is(LABELLED) && entry.is(DECIDED) {
                verdict.labelled.push((entry.score, entry.is(FRAUD), entry.is(BLOCKED)));
            }
            if !entry.is(DECIDED) && entry.is(PARKED) {
                continue;
            }
            verdict.lost += u64::from(!entry.is(DECIDED));
            if let Some(user) = totals.get_mut(entry.user as usize) {
                user.transactions += 1;
                user.amount_minor += u64::from(self.counted_amount(*digest, entry));
            }
        }
        verdict.users = self
            .users
            .iter()
            .filter_map(|(name, index)| Some((name.clone(), *totals.get(*index as usize)?)))
            .filter(|(_, totals)| totals.transactions > 0)
            .collect();
        verdict
    }

    /// The amount that counts: of several that were sent under one id, the one that was decided.
    fn counted_amount(&self, digest: u64, entry: &Entry) -> u32 {
        let others = self.conflicting.get(&digest);
        if others.is_some_and(|amounts| amounts.contains(&entry.amount_decided)) {
            entry.amount_decided
        } else {
            entry.amount_sent
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("1 to 3,600,000,000 with 3 digits are valid bounds")
}

/// The records in a message of the mapping's failure destination, which wraps the event that could not be handled.
fn given_up(value: &[u8]) -> Vec<Record> {
    #[derive(Deserialize)]
    struct Destination<'a> {
        #[serde(borrow)]
        payload: &'a RawValue,
    }
    let Ok(message) = serde_json::from_slice::<Destination<'_>>(value) else { return Vec::new() };
    let Ok(batch) = KafkaBatch::parse(message.payload.get().as_bytes()) else { return Vec::new() };
    batch.partitions.into_iter().flat_map(|partition| partition.records).filter_map(Result::ok).collect()
}

/// Where the account keeps a decision: among all of a run's the 48 bits of a user's ledger would not do.
fn place(id: DecisionId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DECISION: &[u8] = include_bytes!("../../../shared/contracts/tests/golden/decision_v1.json");

    #[test]
    fn latency_counts_from_the_time_that_was_meant_however_late_the_record_was_sent() {
        let decision_id = decision_v1::parse(DECISION).unwrap().decision_id;
        let started = Instant::now();
        let tracker = Tracker::new(started, 1);
        let message = Message { key: None, value: Vec::new(), decision_id: Some(decision_id), fraud: None };
        // Meant for one second after the start; when it really went out is not asked.
        tracker.sending(&message, started + Duration::from_secs(1));
        // A producer's duplicate goes out later and must not shorten the wait.
        tracker.sending(&message, started + Duration::from_secs(3));
        tracker.saw_decision(true, DECISION, started + Duration::from_secs(4), 0);
        let latencies = tracker.latencies();
        assert_eq!(latencies.len(), 1);
        assert!((2_990_000..=3_010_000).contains(&latencies.max()), "{} µs", latencies.max());
    }
}
