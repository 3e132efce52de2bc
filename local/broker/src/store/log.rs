//! A partition's records, in segments on disk: a batch is there or it is not, a fetch may start anywhere, and what is old goes.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::batch::{self, Batch, Header};
use super::retention::Retention;
use super::segment::Segment;
use super::waiting::Waiting;

/// Batches whose sequence a broker remembers per producer, as Apache Kafka does.
const REMEMBERED_BATCHES: usize = 5;
/// How long a silent producer is remembered: Apache Kafka's `producer.id.expiration.ms`.
const PRODUCER_EXPIRATION_MS: i64 = 24 * 3_600 * 1_000;

/// A log, from the oldest record that is kept to the newest.
#[derive(Debug)]
pub(crate) struct Log {
    directory: Arc<Path>,
    retention: Retention,
    /// Oldest first; batches are added to the last one.
    pub(super) segments: VecDeque<Segment>,
    bytes: u64,
    start: i64,
    next: i64,
    producers: HashMap<i64, Producer>,
    /// Fetches that wait for what comes.
    waiting: Vec<Arc<Waiting>>,
    /// The last write failed, which was said.
    is_failing: bool,
}

/// What is known of an idempotent producer.
#[derive(Debug, Default)]
struct Producer {
    epoch: i16,
    next_sequence: i32,
    /// First sequence, records and offset of the last batches.
    recent: VecDeque<(i32, i32, i64)>,
    seen_ms: i64,
}

impl Log {
    /// An empty log with its files in `directory`.
    pub(crate) fn new(directory: Arc<Path>, retention: Retention) -> Self {
        let (segments, producers, waiting) = (VecDeque::new(), HashMap::new(), Vec::new());
        Self { directory, retention, segments, bytes: 0, start: 0, next: 0, producers, waiting, is_failing: false }
    }

    /// The oldest offset that can be read.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// The offset that the next record gets.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.next
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Other bounds from now on.
    pub(crate) fn set_retention(&mut self, retention: Retention) {
        self.retention = retention;
    }

    /// Appends a batch that is not [repeated](Self::repeated), with the broker's time where the topic has that, and returns its first
    /// offset.
    pub(crate) fn append(&mut self, mut batch: Batch, append_time: bool, now_ms: i64) -> Result<i64, ResponseError> {
        let offset = self.next;
        batch.place(offset, append_time.then_some(now_ms));
        let written = self.write(&batch, now_ms);
        let was_failing = std::mem::replace(&mut self.is_failing, written.is_err());
        written.map_err(|error| on_disk(&error, !was_failing))?;
        let Header { producer_id, producer_epoch: epoch, base_sequence, .. } = batch.header;
        if batch.header.is_idempotent() {
            let producer = self.producers.entry(producer_id).or_default();
            if producer.epoch != epoch {
                *producer = Producer { epoch, ..Producer::default() };
            }
            producer.next_sequence = sequence_after(base_sequence, batch.header.records());
            producer.seen_ms = now_ms;
            producer.recent.push_back((base_sequence, batch.header.records(), offset));
            if producer.recent.len() > REMEMBERED_BATCHES {
                producer.recent.pop_front();
            }
        }
        self.next += i64::from(batch.header.records());
        self.waiting.retain(|fetch| fetch.takes(batch.size()));
        Ok(offset)
    }

    /// Tells a fetch what comes from now on.
    pub(super) fn queue(&mut self, fetch: Arc<Waiting>) {
        self.waiting.push(fetch);
    }

    pub(super) fn leave_queue(&mut self, fetch: &Arc<Waiting>) {
        self.waiting.retain(|waiting| !Arc::ptr_eq(waiting, fetch));
    }

    #[cfg(test)]
    pub(super) fn is_waited_for(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Lets the fetches that wait look again: what they wait for may be gone.
    pub(super) fn wake_fetches(&self) {
        self.waiting.iter().for_each(|fetch| fetch.wake());
    }

    fn write(&mut self, batch: &Batch, now_ms: i64) -> io::Result<()> {
        let (size, limits) = (batch.size(), self.retention);
        let is_full = |last: &Segment| {
            let is_old = now_ms - last.created_ms() >= limits.segment_ms;
            last.bytes() > 0 && (is_old || last.bytes() + size > limits.segment_bytes)
        };
        if self.segments.back().is_none_or(is_full) {
            self.segments.back_mut().map_or(Ok(()), Segment::seal)?;
            self.segments.push_back(Segment::create(&self.directory, self.next, now_ms)?);
        }
        let Some(last) = self.segments.back_mut() else { unreachable!("there is one now") };
        last.append(batch)?;
        self.bytes += size;
        Ok(())
    }

    /// The offset of a batch that is here already, because an idempotent producer repeats it; none when the batch is the one expected.
    ///
    /// # Errors
    /// When a batch before this one is missing, or the producer has another epoch by now.
    pub(crate) fn repeated(&mut self, batch: &Header, now_ms: i64) -> Result<Option<i64>, ResponseError> {
        if !batch.is_idempotent() {
            return Ok(None);
        }
        // As in Apache Kafka, a producer that this log has never seen may begin anywhere: the topic may have been recreated.
        let Some(producer) = self.producers.get_mut(&batch.producer_id) else { return Ok(None) };
        if batch.producer_epoch < producer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if batch.producer_epoch > producer.epoch {
            let begins = batch.base_sequence == 0;
            return if begins { Ok(None) } else { Err(ResponseError::OutOfOrderSequenceNumber) };
        }
        let is_same =
            |(first, records, _): &&(i32, i32, i64)| (*first, *records) == (batch.base_sequence, batch.records());
        if let Some((.., offset)) = producer.recent.iter().find(is_same) {
            producer.seen_ms = now_ms;
            return Ok(Some(*offset));
        }
        if batch.base_sequence == producer.next_sequence {
            return Ok(None);
        }
        Err(ResponseError::OutOfOrderSequenceNumber)
    }

    /// Whether a fetch may start at an offset.
    pub(crate) fn has(&self, offset: i64) -> bool {
        (self.start..=self.next).contains(&offset)
    }

    /// Whole batches from the one with `offset` on, as many as fit into `max_bytes`, and the first one in any case when `takes_one`.
    /// Nothing when a fetch may not start there.
    pub(crate) fn read(&self, offset: i64, max_bytes: u64, takes_one: bool) -> Result<Bytes, ResponseError> {
        let mut found = Vec::new();
        if !self.has(offset) {
            return Ok(Bytes::new());
        }
        for segment in self.segments_from(offset) {
            let left = max_bytes.saturating_sub(found.len() as u64);
            let is_at_end = segment.read(&mut found, offset, left, takes_one).map_err(|error| on_disk(&error, true))?;
            if !is_at_end || found.len() as u64 >= max_bytes {
                break;
            }
        }
        Ok(found.into())
    }

    /// Bytes of the batches from `offset` on, or more than `enough` of them.
    pub(crate) fn bytes_from(&self, offset: i64, enough: u64) -> u64 {
        if offset >= self.next {
            return 0;
        }
        if enough <= 1 {
            return 1;
        }
        let mut segments = self.segments_from(offset);
        let first = segments.next().map_or(Ok(0), |segment| segment.bytes_from(offset));
        // A read tells what is wrong.
        first.map_or(enough, |first| first + segments.map(Segment::bytes).sum::<u64>())
    }

    /// The segment with `offset` and those behind it.
    fn segments_from(&self, offset: i64) -> impl Iterator<Item = &Segment> {
        let behind = self.segments.partition_point(|segment| segment.first() <= offset);
        self.segments.range(behind.saturating_sub(1)..)
    }

    /// The first record that is not older than `wanted_ms`: its offset and time.
    pub(crate) fn at_or_after(&self, wanted_ms: i64) -> Result<Option<(i64, i64)>, ResponseError> {
        let newer = self.segments.iter().filter(|segment| segment.newest_ms() >= wanted_ms);
        for batch in newer.flat_map(|segment| segment.since_time(wanted_ms)) {
            let batch = batch.map_err(|error| on_disk(&error, true))?;
            let kept = batch::records(&batch).into_iter().filter(|(offset, _)| *offset >= self.start);
            let found = kept.into_iter().find(|(_, time_ms)| *time_ms >= wanted_ms);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The newest time of a record, which need not be the last record's.
    pub(crate) fn newest_ms(&self) -> Option<i64> {
        self.segments.iter().map(Segment::newest_ms).max()
    }

    /// Gives up, as Apache Kafka does, whole segments that are older than `retention.ms` or beyond `retention.bytes`, and producers that
    /// have not been heard of for a day.
    pub(crate) fn retain(&mut self, now_ms: i64) {
        let Retention { age_ms, bytes, .. } = self.retention;
        while let Some(oldest) = self.segments.front() {
            // Records may have no time; the segment's own stands for it, as in Apache Kafka.
            let newest_ms = if oldest.newest_ms() < 0 { oldest.created_ms() } else { oldest.newest_ms() };
            let is_old = age_ms.is_some_and(|age_ms| now_ms.saturating_sub(newest_ms) > age_ms);
            let is_beyond = bytes.is_some_and(|bytes| self.bytes - oldest.bytes() >= bytes);
            if !is_old && !is_beyond {
                break;
            }
            self.forget_oldest();
        }
        self.producers.retain(|_, producer| now_ms - producer.seen_ms < PRODUCER_EXPIRATION_MS);
    }

    /// Whether the machine has no room for `size` bytes more. An empty log takes whatever comes.
    pub(crate) fn is_full_for(&self, size: u64) -> bool {
        self.bytes > 0 && self.bytes + size > self.retention.disk_bytes
    }

    /// Gives up the oldest segments until there is room for `size` bytes more, and none with a record from `committed` on.
    pub(crate) fn make_room(&mut self, size: u64, committed: i64) {
        while self.is_full_for(size) && self.end_of_oldest() <= committed {
            self.forget_oldest();
        }
    }

    /// Lets the log begin at `offset`, or where it ends for -1, and returns where it begins then.
    pub(crate) fn delete_before(&mut self, offset: i64) -> Result<i64, ResponseError> {
        let offset = if offset == -1 { self.next } else { offset };
        if !(0..=self.next).contains(&offset) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        self.start = self.start.max(offset);
        while !self.segments.is_empty() && self.end_of_oldest() <= self.start {
            self.forget_oldest();
        }
        self.wake_fetches();
        Ok(self.start)
    }

    /// The offset behind the oldest segment.
    fn end_of_oldest(&self) -> i64 {
        self.segments.get(1).map_or(self.next, Segment::first)
    }

    fn forget_oldest(&mut self) {
        self.start = self.start.max(self.end_of_oldest());
        self.bytes -= self.segments.pop_front().map_or(0, |oldest| oldest.bytes());
        self.wake_fetches();
    }
}

/// The sequence after `records` records; wraps to 0 behind the largest integer.
fn sequence_after(first: i32, records: i32) -> i32 {
    ((i64::from(first) + i64::from(records)) % (i64::from(i32::MAX) + 1)) as i32
}

/// The disk's refusal, as clients know it; they try again.
fn on_disk(error: &io::Error, is_new: bool) -> ResponseError {
    if is_new {
        tracing::warn!(%error, "the embedded kafka cannot use its files");
    }
    ResponseError::KafkaStorageError
}
