//! What is known about every record of a run: when it was meant to be sent, whether it stands on its topic, and what came of it.
//!
//! It believes only what was read from topics. A transaction is kept whole until 300,000 others were complete after it; then it is
//! folded into sums, and eight bytes of it are remembered for a while. So memory does not grow with a run: some 95 MB by the sizes of
//! its tables when they are full. What is not complete is never forgotten.

mod acts;
mod digest;
mod entry;
mod folded;
mod recent;
mod seen;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use centinela_contracts::dead_letter_v1::{self, DeadLetter, ReceivedDeadLetter};
use centinela_contracts::kafka_event::{KafkaBatch, PartitionBatch, Record};
use centinela_contracts::{decision_v1, transaction_v1};
use centinela_domain::{Currency, DecisionId, Rollup};
use centinela_verdict::{Answer, name_of};
use hdrhistogram::Histogram;
use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::acts::{Beside, Besides, DeadPlaces, SeenBeside};
pub use self::entry::Gone;
pub use self::seen::{Reconciliation, Seen};

use self::acts::{Acts, note_dead};
use self::entry::TICK_US;
use self::state::State;
use crate::blocked::Blocked;
use crate::streams::IndexSum;

/// Complete transactions that are kept whole: three minutes at 1,667 a second. A producer's duplicates and deliveries that come again
/// mostly come sooner, and are told more of than of what is folded.
const WHOLE: usize = 300_000;
/// Folded decisions that are remembered at least: some 20 minutes at 1,667 a second.
const REMEMBERED: usize = 1_800_000;

/// The tracker, shared by the producer, the readers and the view.
pub struct Tracker {
    started: Instant,
    /// What a transaction without a currency is in.
    default_currency: Currency,
    /// The topics beside that of the transactions whose records may be dead-lettered.
    beside: Vec<(String, Beside)>,
    state: Mutex<State>,
    acts: Mutex<Acts>,
    dead: Mutex<DeadPlaces>,
    volumes: Mutex<BTreeMap<String, Volume>>,
}

/// Records of a topic and what they weigh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Volume {
    /// Records that were read.
    pub records: u64,
    /// Bytes of their keys and values, not compressed.
    pub bytes: u64,
}

impl Tracker {
    /// Starts to watch; `expected` transactions get their place beforehand.
    pub fn new(started: Instant, expected: usize) -> Self {
        Self::with_room(started, expected, WHOLE, REMEMBERED)
    }

    /// The same, with room for so many complete transactions, and for so many that are folded.
    fn with_room(started: Instant, expected: usize, whole: usize, remembered: usize) -> Self {
        Self {
            started,
            default_currency: Currency::DEFAULT,
            beside: Vec::new(),
            state: Mutex::new(State::new(expected, whole, remembered)),
            acts: Mutex::default(),
            dead: Mutex::default(),
            volumes: Mutex::default(),
        }
    }

    /// The same for a function that takes transactions without a currency to be in this one.
    pub fn with_default_currency(self, default_currency: Currency) -> Self {
        Self { default_currency, ..self }
    }

    /// The same where these topics are read too.
    pub fn with_topics_beside(self, beside: Vec<(String, Beside)>) -> Self {
        Self { beside, ..self }
    }

    fn acts(&self) -> MutexGuard<'_, Acts> {
        self.acts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ticks(&self, at: Instant) -> u32 {
        let ticks = at.saturating_duration_since(self.started).as_micros() / u128::from(TICK_US);
        u32::try_from(ticks).unwrap_or(u32::MAX - 1).saturating_add(1)
    }

    /// A transaction is about to be sent that was meant for `at`; `fraud` is the truth, where it is known.
    pub fn sending(&self, id: DecisionId, fraud: Option<bool>, at: Instant) {
        let ticks = self.ticks(at);
        self.lock().sending(id, fraud, ticks);
    }

    /// Transactions that were sent and are neither decided nor dead-lettered.
    pub fn undecided(&self) -> u64 {
        self.lock().undecided()
    }

    /// A record of topic `transactions`, with the broker's time. Returns what it is called, 0 where nobody can read it.
    pub fn saw_transaction(&self, partition: u32, offset: u64, value: Option<&[u8]>, ingested_ms: i64) -> u64 {
        let transaction = value.map(|value| transaction_v1::parse_in(value, self.default_currency));
        let mut state = self.lock();
        state.seen.records += 1;
        let place = (state.incarnation, partition, offset);
        match transaction {
            Some(Ok(transaction)) => {
                state.sent(&transaction, place, ingested_ms);
                name_of(transaction.id.as_str())
            }
            Some(Err(_)) | None => {
                state.sent_unreadable(place);
                0
            }
        }
    }

    /// A record of the topic of user actions, with the broker's time. Returns what it is called, 0 where nobody can read it.
    pub fn saw_action(&self, partition: u32, offset: u64, value: Option<&[u8]>, ingested_ms: i64) -> u64 {
        self.acts().saw_action(partition, offset, value, ingested_ms)
    }

    /// The same of the topic of events.
    pub fn saw_event(&self, partition: u32, offset: u64, value: Option<&[u8]>, ingested_ms: i64) -> u64 {
        self.acts().saw_event(partition, offset, value, ingested_ms)
    }

    /// Offsets of a topic beside were deleted before they were read.
    pub fn missed_beside(&self, topic: Beside, offsets: u64) {
        self.acts().missed(topic, offsets);
    }

    /// A record of a topic, of any kind, and its size.
    pub fn saw_bytes(&self, topic: &str, bytes: usize) {
        let mut volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(volume) = volumes.get_mut(topic) {
            volume.records += 1;
            volume.bytes += bytes as u64;
        } else {
            volumes.insert(topic.to_owned(), Volume { records: 1, bytes: bytes as u64 });
        }
    }

    /// What was read of each topic.
    pub fn volumes(&self) -> BTreeMap<String, Volume> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A topic beside was recreated.
    pub fn topic_beside_recreated(&self, topic: Beside) {
        self.acts().recreated(topic);
    }

    /// What was seen of the topics beside.
    pub fn seen_beside(&self) -> SeenBeside {
        self.acts().seen()
    }

    /// What the topics beside come to. All of them must have been read.
    pub fn reconcile_beside(&self) -> Besides {
        self.acts().reconcile()
    }

    /// All dead-lettered records, by the topic that they came from.
    pub fn dead_places(&self) -> DeadPlaces {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Offsets of topic `transactions` were deleted before they were read.
    pub fn missed(&self, offsets: u64) {
        self.lock().seen.missed += offsets;
    }

    /// A message of topic `approved` or `blocked` that arrived at `at`; `now_ms` is the same moment since 1970.
    /// Returns what it is called, 0 where nobody can read it.
    pub fn saw_decision(&self, blocked: bool, value: &[u8], at: Instant, now_ms: i64) -> u64 {
        let decision = decision_v1::parse(value);
        let ticks = self.ticks(at);
        let mut state = self.lock();
        let Ok(decision) = decision else {
            state.seen.unreadable_decisions += 1;
            return 0;
        };
        let answer = Answer::new(decision.outcome, decision.evidence.is_some(), value);
        state.decided(&decision, answer, blocked, ticks, now_ms);
        state.first_decision.get_or_insert(at);
        state.last_decision = Some(at);
        name_of(&decision.decision_id.to_string())
    }

    /// A message of topic `dead-letters`.
    pub fn saw_dead_letter(&self, value: &[u8]) {
        match dead_letter_v1::parse(value) {
            Ok(ReceivedDeadLetter {
                letter: DeadLetter { topic, partition, offset: Some(offset), value, .. }, ..
            }) => self.dead_lettered(&topic, partition, offset, value.as_deref()),
            Ok(_) => self.lock().seen.unreadable_decisions += 1,
            Err(_) => {
                let given_up = given_up(value);
                if given_up.is_empty() {
                    self.lock().seen.unreadable_decisions += 1;
                }
                for (topic, record) in &given_up {
                    let at = record.coordinates;
                    self.dead_lettered(topic, at.partition, at.offset, record.value.as_deref());
                }
            }
        }
    }

    fn dead_lettered(&self, topic: &str, partition: u32, offset: u64, value: Option<&[u8]>) {
        note_dead(&mut self.dead.lock().unwrap_or_else(PoisonError::into_inner), topic, partition, offset);
        match self.beside.iter().find(|(name, _)| name == topic) {
            None => self.lock().dead_lettered(partition, offset, value),
            Some((_, beside)) => {
                if !self.acts().dead_lettered(*beside, partition, offset) {
                    self.lock().seen.republished += 1;
                }
            }
        }
    }

    /// The topic of the transactions was recreated; all of the old one was read and complete before.
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

    /// What the decisions of the topics come to, each once: for the index, and added up.
    pub fn decisions(&self) -> (IndexSum, Rollup) {
        let state = self.lock();
        (state.index, state.rollup.clone())
    }

    /// What everything came to. All of it must have been read.
    pub fn reconcile(&self, gone: &Gone) -> Reconciliation {
        self.lock().reconcile(gone)
    }
}

/// The records in a message of the mapping's failure destination, which wraps the event that could not be handled, with their topics.
fn given_up(value: &[u8]) -> Vec<(String, Record)> {
    #[derive(Deserialize)]
    struct Destination<'a> {
        #[serde(borrow)]
        payload: &'a RawValue,
    }
    let Ok(message) = serde_json::from_slice::<Destination<'_>>(value) else { return Vec::new() };
    let Ok(batch) = KafkaBatch::parse(message.payload.get().as_bytes()) else { return Vec::new() };
    let records = batch.partitions.into_iter().flat_map(|PartitionBatch { topic, records, .. }| {
        records.into_iter().filter_map(Result::ok).map(move |record| (topic.clone(), record))
    });
    records.collect()
}
