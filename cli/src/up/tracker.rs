//! What is known about every record of a run: when it was meant to be sent, whether it stands on its topic, and what came of it.
//!
//! It believes only what was read from topics. A transaction is kept whole until [`WHOLE`] others were settled after it; then it is
//! folded into sums, and eight bytes of it are remembered for a while. So memory does not grow with a run: some 90 MB by the sizes of
//! its tables when they are full. What was not settled is never forgotten.

mod recent;
mod settled;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher, RandomState};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use centinela_contracts::dead_letter_v1::{self, DeadLetter, ReceivedDeadLetter};
use centinela_contracts::kafka_event::{KafkaBatch, Record};
use centinela_contracts::{decision_v1, transaction_v1};
use centinela_domain::{Currency, DecisionId, Outcome, Transaction};
use hdrhistogram::Histogram;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::recent::Recent;
use self::settled::{Seal, Settled, ShortId, Sums, short};
use super::blocked::{self, Blocked};
use super::score::Scores;
use crate::traffic::Message;
use crate::traffic::producer::Observer;

/// Longest latency that is told apart, in microseconds; more counts as this.
pub(super) const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Unit of the stored times.
const TICK_US: u64 = 100;
/// Settled transactions that are kept whole: three minutes at 1,667 a second. A producer's duplicates and deliveries that come again
/// mostly come sooner, and are told more of than of what is folded.
const WHOLE: usize = 300_000;
/// Folded decisions that are remembered at least: some 20 minutes at 1,667 a second.
const REMEMBERED: usize = 1_800_000;
/// Parked records that are remembered at least, to tell repetitions.
const PARKED_REMEMBERED: usize = 100_000;

/// Bits of [`Entry::flags`].
const SENT: u16 = 1;
const DECIDED: u16 = 2;
const PARKED: u16 = 4;
const BLOCKED: u16 = 8;
const DOUBLED: u16 = 16;
const FRAUD: u16 = 32;
const LABELLED: u16 = 64;
const SENT_AGAIN: u16 = 128;
/// The decision is older than its record: it was made and counted for an earlier one, which is forgotten.
const OF_OLD: u16 = 256;

/// A decision id is the start of a SHA-256 already.
#[derive(Default)]
pub(super) struct Digest(u64);

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        // A table takes some bits from above and some from below; short ids have none above.
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Incarnation of the topic, partition, offset.
type Place = (u32, u32, u64);
type ByDigest<T> = HashMap<u64, T, BuildHasherDefault<Digest>>;

/// A transaction.
#[derive(Clone, Copy, Default)]
struct Entry {
    /// Hash of the decision's bytes as they came first.
    bytes: u64,
    /// Where it stands on its topic.
    place: Place,
    /// The broker's time of its record, or of its decision's while that is all that is known.
    ingested_ms: i64,
    id: ShortId,
    /// When it was meant to be sent, in ticks since the start of the run; 0 when somebody else sent it.
    meant_at: u32,
    user: u32,
    amount_sent: u64,
    amount_decided: u64,
    score: f32,
    flags: u16,
    /// Messages that repeated the decision.
    repeats: u8,
}

impl Entry {
    fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    fn is_settled(&self) -> bool {
        self.is(DECIDED | PARKED)
    }
}

/// What the account could not see because the brokers' retention took it.
#[derive(Clone, Debug, Default)]
pub struct Gone {
    /// Partition and offsets that were deleted before the mapping had read them.
    pub unread: Vec<(u32, Range<u64>)>,
}

impl Gone {
    fn has(&self, (_, partition, offset): Place) -> bool {
        self.unread.iter().any(|(of, offsets)| *of == partition && offsets.contains(&offset))
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
    /// Offsets of topic `transactions` that were deleted before this account had read them.
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

/// The tracker, shared by the producer, the readers and the view.
pub struct Tracker {
    started: Instant,
    /// What a transaction without a currency is in.
    default_currency: Currency,
    state: Mutex<State>,
}

struct State {
    entries: ByDigest<Entry>,
    users: HashMap<Box<str>, u32>,
    /// Amounts of a transaction id that was sent with several.
    conflicting: ByDigest<Vec<u64>>,
    /// Settled transactions that are kept whole.
    whole: usize,
    /// What is settled, in the order of settling.
    settling: VecDeque<u64>,
    /// What every settled transaction came to that is not kept whole any more.
    sums: Sums,
    settled: Settled,
    /// Undecided transactions by where they stand.
    open: HashMap<Place, u64>,
    /// Records of transactions that had been folded already.
    sent_late: u64,
    /// How often the topic of the transactions was made again: its offsets began anew.
    incarnation: u32,
    /// Records that are no transaction and not parked yet, by incarnation, partition and offset.
    unreadable: HashSet<Place>,
    /// Parked records, by the same.
    parked: Recent<Place, (), RandomState>,
    seen: Seen,
    /// The newest first.
    last_blocked: VecDeque<Blocked>,
    latency_us: Histogram<u64>,
    recent_us: Histogram<u64>,
    wait_us: Histogram<u64>,
    first_decision: Option<Instant>,
    last_decision: Option<Instant>,
}

impl Tracker {
    /// Starts to watch; `expected` transactions get their place beforehand.
    pub fn new(started: Instant, expected: usize) -> Self {
        Self::with_room(started, expected, WHOLE, REMEMBERED)
    }

    /// The same, with room for so many settled transactions, and for so many that are folded.
    fn with_room(started: Instant, expected: usize, whole: usize, remembered: usize) -> Self {
        Self {
            started,
            default_currency: Currency::DEFAULT,
            state: Mutex::new(State {
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
                latency_us: histogram(),
                recent_us: histogram(),
                wait_us: histogram(),
                first_decision: None,
                last_decision: None,
            }),
        }
    }

    /// The same for a function that takes transactions without a currency to be in this one.
    pub fn with_default_currency(self, default_currency: Currency) -> Self {
        Self { default_currency, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ticks(&self, at: Instant) -> u32 {
        let ticks = at.saturating_duration_since(self.started).as_micros() / u128::from(TICK_US);
        u32::try_from(ticks).unwrap_or(u32::MAX - 1).saturating_add(1)
    }

    /// A record of topic `transactions`, with the broker's time.
    pub fn saw_transaction(&self, partition: u32, offset: u64, value: Option<&[u8]>, ingested_ms: i64) {
        let transaction = value.map(|value| transaction_v1::parse_in(value, self.default_currency));
        let mut state = self.lock();
        state.seen.records += 1;
        let place = (state.incarnation, partition, offset);
        match transaction {
            Some(Ok(transaction)) => state.sent(&transaction, place, ingested_ms),
            Some(Err(_)) | None => {
                state.seen.unique += 1;
                if state.parked.get(&place).is_none() {
                    state.unreadable.insert(place);
                }
            }
        }
    }

    /// Offsets of topic `transactions` were deleted before this account had read them.
    pub fn missed(&self, offsets: u64) {
        self.lock().seen.missed += offsets;
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
        let parked = dead_letter_v1::parse(value);
        let given_up = if parked.is_ok() { Vec::new() } else { given_up(value) };
        let mut state = self.lock();
        match parked {
            Ok(ReceivedDeadLetter { letter: DeadLetter { partition, offset: Some(offset), value, .. }, .. }) => {
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

    /// The last blocked transactions, the newest first.
    pub fn last_blocked(&self) -> Vec<Blocked> {
        self.lock().last_blocked.iter().cloned().collect()
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
    pub fn verdict(&self, gone: &Gone) -> Verdict {
        self.lock().verdict(gone)
    }
}

impl Observer for Tracker {
    fn sending(&self, message: &Message, at: Instant) {
        let Some(id) = message.decision_id else { return };
        let ticks = self.ticks(at);
        let mut state = self.lock();
        if state.settled.get(short(id)).is_some() {
            return;
        }
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
        (state.entries.len() as u64).saturating_sub(state.settling.len() as u64)
    }
}

impl State {
    fn sent(&mut self, transaction: &Transaction, at: Place, ingested_ms: i64) {
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

    fn user(&mut self, name: &str) -> u32 {
        let next = u32::try_from(self.users.len()).unwrap_or(u32::MAX);
        match self.users.get(name) {
            Some(user) => *user,
            None => *self.users.entry(name.into()).or_insert(next),
        }
    }

    fn decided(&mut self, decision: &decision_v1::DecisionV1, blocked: bool, bytes: u64, ticks: u32, now_ms: i64) {
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
            self.last_blocked.truncate(blocked::SHOWN);
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
            self.wait_us.saturating_record((wait_ms * 1_000).clamp(1, LATENCY_US_MAX));
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
        let latency_us = latency_us.clamp(1, LATENCY_US_MAX);
        self.latency_us.saturating_record(latency_us);
        self.recent_us.saturating_record(latency_us);
        self.fold_the_oldest();
    }

    /// A decision about a transaction that is folded already.
    fn decided_again(&mut self, decision: &decision_v1::DecisionV1, first: Seal, now: Seal) {
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

    fn parked(&mut self, (partition, offset): (u32, u64), value: Option<&[u8]>) {
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
    fn park(&mut self, digest: u64) {
        let entry = self.entries.entry(digest).or_default();
        if !entry.is_settled() {
            self.settling.push_back(digest);
        }
        entry.flags |= PARKED;
        self.open.remove(&entry.place);
    }

    /// Folds what has been settled for long enough.
    fn fold_the_oldest(&mut self) {
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

    fn fold(&mut self, digest: u64) {
        let Some(entry) = self.entries.remove(&digest) else { return };
        self.open.remove(&entry.place);
        count(&mut self.sums, &entry, counted_amount(&entry, self.conflicting.get(&digest)));
        self.conflicting.remove(&digest);
        if entry.is(DECIDED) {
            self.settled.insert(entry.id, Seal::new(entry.bytes, entry.is(BLOCKED)), entry.ingested_ms);
        }
    }

    fn verdict(&self, gone: &Gone) -> Verdict {
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
