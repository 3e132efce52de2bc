//! The life of a batch after it was formed: delivered, retried, split, given up.
//!
//! It holds its partitions until every record is complete, and is delivered one piece at a time, so the order of a
//! partition survives every kind of failure. No I/O here.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::event::Record;
use super::response::{PartialReading, Verdict};

/// Pause before the first retry; doubles with each failed delivery.
const RETRY_BACKOFF: Duration = Duration::from_millis(50);
const RETRY_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Why a record is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    RetryAttemptsExhausted,
    RecordAgeExceeded,
    MaximumPayloadSizeExceeded,
}

impl Condition {
    pub(super) fn name(self) -> &'static str {
        match self {
            Condition::RetryAttemptsExhausted => "RetryAttemptsExhausted",
            Condition::RecordAgeExceeded => "RecordAgeExceeded",
            Condition::MaximumPayloadSizeExceeded => "MaximumPayloadSizeExceeded",
        }
    }
}

/// A record for the failure destination.
#[derive(Debug)]
pub(super) struct GivenUp {
    pub(super) record: Record,
    pub(super) condition: Condition,
}

/// Records of one invocation, sorted by partition and offset.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    /// Delivered again after success, as an injected fault.
    pub(super) replay: bool,
}

/// How failures are treated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) bisect: bool,
    pub(super) retry_attempts: Option<u32>,
    pub(super) record_age: Option<Duration>,
    pub(super) partial_reading: PartialReading,
}

/// What a verdict led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) handled: usize,
    pub(super) retried: bool,
    pub(super) bisected: bool,
    pub(super) replaying: bool,
}

/// One batch until it is complete.
#[derive(Debug)]
pub(super) struct InFlightBatch {
    pub(super) given_up: Vec<GivenUp>,
    pub(super) partitions: Vec<i32>,
    pub(super) is_out: bool,
    not_before: Instant,
    waiting: VecDeque<Batch>,
}

impl InFlightBatch {
    pub(super) fn new(records: Vec<Record>, given_up: Vec<GivenUp>, now: Instant) -> InFlightBatch {
        let mut partitions: Vec<i32> = records.iter().map(|record| record.partition).collect();
        partitions.extend(given_up.iter().map(|given_up| given_up.record.partition));
        partitions.dedup();
        let waiting =
            if records.is_empty() { VecDeque::new() } else { VecDeque::from([Batch { records, replay: false }]) };
        InFlightBatch { given_up, partitions, is_out: false, not_before: now, waiting }
    }

    /// When its next piece is due; none while one is out.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        (!self.is_out).then_some(self.not_before)
    }

    pub(super) fn is_complete(&self) -> bool {
        !self.is_out && self.given_up.is_empty() && self.waiting.is_empty()
    }

    /// The next piece to deliver, without the records that have become too old.
    pub(super) fn next_piece(&mut self, rules: &Rules, now_ms: i64) -> Option<Batch> {
        let mut batch = self.waiting.pop_front()?;
        if let Some(age) = rules.record_age {
            let oldest_ms = now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
            let too_old = |record: &mut Record| record.timestamp_ms < oldest_ms;
            let expired = batch.records.extract_if(.., too_old);
            self.given_up.extend(expired.map(|record| GivenUp { record, condition: Condition::RecordAgeExceeded }));
        }
        (!batch.records.is_empty()).then_some(batch)
    }

    /// Keeps the second half of a piece for its next delivery.
    pub(super) fn split(&mut self, batch: &mut Batch) {
        let second = batch.records.split_off(batch.records.len().div_ceil(2));
        if !second.is_empty() {
            self.waiting.push_front(Batch { records: second, replay: batch.replay });
        }
    }

    /// Puts a piece back unchanged: it was not delivered.
    pub(super) fn put_back(&mut self, batch: Batch, now: Instant) {
        self.waiting.push_front(batch);
        self.not_before = now + with_jitter(RETRY_BACKOFF);
    }

    /// Takes the outcome of a delivered piece.
    pub(super) fn answered(
        &mut self,
        batch: Batch,
        verdict: &Verdict,
        rules: &Rules,
        duplicate: bool,
        now: Instant,
    ) -> Outcome {
        match verdict {
            Verdict::AllHandled if duplicate && !batch.replay => {
                let handled = batch.records.len();
                self.waiting.push_front(Batch { records: batch.records, replay: true });
                self.not_before = now;
                Outcome { handled, replaying: true, ..Outcome::default() }
            }
            Verdict::AllHandled => {
                self.not_before = now;
                Outcome { handled: if batch.replay { 0 } else { batch.records.len() }, ..Outcome::default() }
            }
            Verdict::SomeFailed(failed) => self.retry_part(batch, failed, rules, now),
            Verdict::AllFailed { .. } if rules.bisect && batch.records.len() > 1 => self.bisect(batch, now),
            Verdict::AllFailed { .. } => {
                let Batch { mut records, replay } = batch;
                records.iter_mut().for_each(|record| record.failed_attempts += 1);
                self.retry(records, replay, rules, now);
                Outcome { retried: true, ..Outcome::default() }
            }
        }
    }

    /// A split is not an attempt of any record: <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>.
    fn bisect(&mut self, batch: Batch, now: Instant) -> Outcome {
        let Batch { records: mut first, replay } = batch;
        let second = first.split_off(first.len() / 2);
        self.waiting.push_front(Batch { records: second, replay });
        self.waiting.push_front(Batch { records: first, replay });
        self.not_before = now + with_jitter(RETRY_BACKOFF);
        Outcome { retried: true, bisected: true, ..Outcome::default() }
    }

    fn retry_part(&mut self, batch: Batch, failed: &[usize], rules: &Rules, now: Instant) -> Outcome {
        let Batch { mut records, replay } = batch;
        let delivered = records.len();
        let mut failed = failed.iter().copied().peekable();
        let mut resumed_partition = None;
        let mut index = 0;
        records.retain_mut(|record| {
            let listed = failed.next_if_eq(&index).is_some();
            index += 1;
            if listed {
                record.failed_attempts += 1;
                resumed_partition = Some(record.partition);
            }
            let behind =
                rules.partial_reading == PartialReading::ResumeAtFirst && resumed_partition == Some(record.partition);
            listed || behind
        });
        let handled = if replay { 0 } else { delivered - records.len() };
        self.retry(records, replay, rules, now);
        Outcome { handled, retried: true, ..Outcome::default() }
    }

    fn retry(&mut self, mut records: Vec<Record>, replay: bool, rules: &Rules, now: Instant) {
        if let Some(retry_attempts) = rules.retry_attempts {
            let exhausted = records.extract_if(.., |record| record.failed_attempts > retry_attempts);
            let condition = Condition::RetryAttemptsExhausted;
            self.given_up.extend(exhausted.map(|record| GivenUp { record, condition }));
        }
        let Some(attempts) = records.iter().map(|record| record.failed_attempts).max() else {
            self.not_before = now;
            return;
        };
        let doubled = RETRY_BACKOFF.saturating_mul(1 << attempts.saturating_sub(1).min(10));
        self.not_before = now + with_jitter(doubled.min(RETRY_BACKOFF_MAX));
        self.waiting.push_front(Batch { records, replay });
    }

    /// Lowest offset of a partition that is not complete; none when the batch is done with it.
    pub(super) fn first_open(&self, partition: i32) -> Option<i64> {
        let waiting = self.waiting.iter().flat_map(|batch| &batch.records);
        let given_up = self.given_up.iter().map(|given_up| &given_up.record);
        waiting.chain(given_up).filter(|record| record.partition == partition).map(|record| record.offset).min()
    }
}

/// Between half of the pause and all of it, so that failures that began together do not return together.
pub(super) fn with_jitter(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) >> 44;
    let share = 0.5 + random as f64 / f64::from(1_u32 << 21);
    pause.mul_f64(share)
}
