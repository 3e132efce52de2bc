//! What a producer has done so far.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use centinela_audit::chaos::Gate;
use rdkafka::error::KafkaError;

use super::Stream;

/// Records of a stream that goes out between transactions.
#[derive(Debug, Default)]
struct Beside {
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

/// What the producer has done so far. Shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Transactions handed to Kafka's client.
    pub sent: AtomicU64,
    /// Transactions acknowledged by the brokers.
    pub acknowledged: AtomicU64,
    /// What goes out between them, by the number of its stream.
    beside: [Beside; Stream::ALL.len()],
    /// Records of any stream given up by the client.
    pub failed: AtomicU64,
    /// How late the last record was handed over, in milliseconds.
    pub behind_ms: AtomicU64,
    /// The same, the most so far.
    pub behind_ms_max: AtomicU64,
    /// Set to make the producer end early.
    pub stop: AtomicBool,
    /// Where it waits while nothing may be sent; its times move by the wait.
    pub gate: Arc<Gate>,
    /// Set when Kafka does not allow us to write to the topic.
    pub refused: AtomicBool,
    first_error: Mutex<Option<String>>,
}

impl Progress {
    /// A record of a stream was handed to the client; transactions are counted by their sender.
    pub fn sent_beside(&self, stream: Stream) {
        self.beside[stream as usize].sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Where acknowledgements of a stream are counted, by its number.
    pub fn acknowledged_of(&self, stream: usize) -> &AtomicU64 {
        match self.beside.get(stream) {
            Some(beside) if stream != Stream::Transactions as usize => &beside.acknowledged,
            _ => &self.acknowledged,
        }
    }

    /// Records of a stream that were handed over, and those that were acknowledged.
    pub fn of(&self, stream: Stream) -> (u64, u64) {
        let beside = &self.beside[stream as usize];
        (beside.sent.load(Ordering::SeqCst), self.acknowledged_of(stream as usize).load(Ordering::SeqCst))
    }

    /// The first delivery that failed, in Kafka's words.
    pub fn first_error(&self) -> Option<String> {
        self.first_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether Kafka does not allow us to write to the topic.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many records could not be sent, and why the first one; none when all could.
    pub fn failure(&self) -> Option<String> {
        let failed = self.failed.load(Ordering::SeqCst);
        let beside = |stream: Stream| self.of(stream).0;
        let sent = self.sent.load(Ordering::SeqCst) + Stream::BESIDE.into_iter().map(beside).sum::<u64>();
        let why = || self.first_error().unwrap_or_else(|| "no answer in time".to_owned());
        (failed > 0).then(|| format!("{failed} of {sent} records could not be sent: {}", why()))
    }

    /// Notes why a delivery failed, if it is the first.
    pub fn note_error(&self, error: &KafkaError) {
        let mut first = self.first_error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| error.to_string());
    }
}
