//! What a producer has done so far.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use centinela_audit::chaos::Gate;

use super::Stream;
use super::latency::Latencies;

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
    /// Of the acknowledged, those that a decision came back with.
    pub decided: AtomicU64,
    /// When the first and the last transaction were handed over.
    span: Mutex<Option<(Instant, Instant)>>,
    /// How long acknowledgements took, where somebody wants to know.
    latencies: Option<Latencies>,
    first_error: Mutex<Option<String>>,
}

impl Progress {
    /// Progress that also knows how long acknowledgements took.
    pub fn timed() -> Self {
        Self { latencies: Some(Latencies::default()), ..Self::default() }
    }

    /// So many transactions have been handed over, the last of which was meant for `meant`.
    pub fn handed_over(&self, sent: u64, meant: Instant) {
        let now = Instant::now();
        self.sent.store(sent, Ordering::Relaxed);
        let behind = now.saturating_duration_since(meant);
        let behind_ms = u64::try_from(behind.as_millis()).unwrap_or(u64::MAX);
        self.behind_ms.store(behind_ms, Ordering::Relaxed);
        self.behind_ms_max.fetch_max(behind_ms, Ordering::Relaxed);
        let mut span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, _) = span.unwrap_or((now, now));
        *span = Some((first, now));
    }

    /// From the first transaction to the last.
    pub fn sent_for(&self) -> Option<Duration> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner).map(|(first, last)| last - first)
    }

    /// An acknowledgement took so long, from the time for which its record was meant.
    pub fn took(&self, stream: usize, time: Duration) {
        if let Some(latencies) = &self.latencies {
            latencies.note(stream, time);
        }
    }

    /// How long acknowledgements took.
    pub fn latencies(&self) -> Option<&Latencies> {
        self.latencies.as_ref()
    }

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

    /// The first delivery that failed, in Kafka's or the API's words.
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
    pub fn note_error(&self, error: &dyn std::fmt::Display) {
        let mut first = self.first_error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| error.to_string());
    }
}
