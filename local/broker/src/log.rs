//! A partition's records, in segments on disk: a batch is there or it is not, a fetch may start anywhere, and what is old goes.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use tansu_sans_io::ErrorCode;
use tansu_sans_io::record::deflated;
use tansu_storage::Error;

use super::batch;
use super::retention::Retention;
use super::segment::Segment;

/// Batches whose sequence a broker remembers per producer, as Apache Kafka does.
const REMEMBERED_BATCHES: usize = 5;
/// How long a silent producer is remembered: Apache Kafka's `producer.id.expiration.ms`.
const PRODUCER_EXPIRATION_MS: i64 = 24 * 3_600 * 1_000;

/// A log, from the oldest record that is kept to the newest.
#[derive(Debug)]
pub(super) struct Log {
    directory: Arc<Path>,
    retention: Retention,
    /// Oldest first; batches are added to the last one.
    segments: VecDeque<Segment>,
    bytes: u64,
    start: i64,
    next: i64,
    producers: HashMap<i64, Producer>,
    /// The last write failed, which was said.
    is_failing: bool,
}

/// What is known of an idempotent producer.
#[derive(Debug, Default)]
struct Producer {
    epoch: i16,
    next_sequence: i32,
    /// First sequence and offset of the last batches.
    recent: VecDeque<(i32, i64)>,
    seen_ms: i64,
}

impl Log {
    /// An empty log with its files in `directory`.
    pub(super) fn new(directory: Arc<Path>, retention: Retention) -> Self {
        let (segments, producers) = (VecDeque::new(), HashMap::new());
        Self { directory, retention, segments, bytes: 0, start: 0, next: 0, producers, is_failing: false }
    }

    /// The oldest offset that can be read.
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// The offset that the next record gets.
    pub(super) fn high_watermark(&self) -> i64 {
        self.next
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Other bounds from now on.
    pub(super) fn set_retention(&mut self, retention: Retention) {
        self.retention = retention;
    }

    /// Appends a batch and returns its first offset; a batch that an idempotent producer repeats returns the first one's.
    pub(super) fn append(&mut self, mut batch: deflated::Batch, append_time: bool, now_ms: i64) -> Result<i64, Error> {
        let records = batch.last_offset_delta.saturating_add(1);
        if batch.is_idempotent()
            && let Some(offset) = self.check_sequence(&batch)?
        {
            return Ok(offset);
        }
        let offset = self.next;
        batch.base_offset = offset;
        batch.partition_leader_epoch = 0;
        if append_time {
            batch.attributes |= batch::LOG_APPEND_TIME;
            batch.max_timestamp = now_ms;
            batch.crc = batch::checksum(&batch);
        }
        let written = self.write(&batch, now_ms);
        let was_failing = std::mem::replace(&mut self.is_failing, written.is_err());
        written.map_err(|error| on_disk(&error, !was_failing))?;
        if batch.is_idempotent() {
            let producer = self.producers.entry(batch.producer_id).or_default();
            producer.next_sequence = sequence_after(batch.base_sequence, records);
            producer.seen_ms = now_ms;
            producer.recent.push_back((batch.base_sequence, offset));
            if producer.recent.len() > REMEMBERED_BATCHES {
                producer.recent.pop_front();
            }
        }
        self.next += i64::from(records);
        Ok(offset)
    }

    fn write(&mut self, batch: &deflated::Batch, now_ms: i64) -> io::Result<()> {
        let (size, limits) = (batch::size(batch), self.retention);
        let is_full = |last: &Segment| {
            let is_old = now_ms - last.created_ms() >= limits.segment_ms;
            last.bytes() > 0 && (is_old || last.bytes() + size > limits.segment_bytes)
        };
        if self.segments.back().is_none_or(is_full) {
            self.segments.push_back(Segment::create(&self.directory, self.next, now_ms)?);
        }
        let Some(last) = self.segments.back_mut() else { unreachable!("there is one now") };
        last.append(batch)?;
        self.bytes += size;
        Ok(())
    }

    /// The offset of a batch that is here already; none when the batch is the one expected.
    fn check_sequence(&mut self, batch: &deflated::Batch) -> Result<Option<i64>, Error> {
        // As in Apache Kafka, a producer that this log has never seen may begin anywhere: the topic may have been recreated.
        let Some(producer) = self.producers.get_mut(&batch.producer_id) else {
            let unseen = Producer { epoch: batch.producer_epoch, ..Producer::default() };
            self.producers.insert(batch.producer_id, unseen);
            return Ok(None);
        };
        if batch.producer_epoch < producer.epoch {
            return Err(Error::Api(ErrorCode::InvalidProducerEpoch));
        }
        if batch.producer_epoch > producer.epoch {
            *producer = Producer { epoch: batch.producer_epoch, ..Producer::default() };
        }
        if let Some((_, offset)) = producer.recent.iter().find(|(sequence, _)| *sequence == batch.base_sequence) {
            return Ok(Some(*offset));
        }
        if batch.base_sequence == producer.next_sequence {
            return Ok(None);
        }
        Err(Error::Api(ErrorCode::OutOfOrderSequenceNumber))
    }

    /// Whether a fetch may start at an offset.
    pub(super) fn has(&self, offset: i64) -> bool {
        (self.start..=self.next).contains(&offset)
    }

    /// Batches from `offset` on, at least one when there is one, then as many as fit into `max_bytes`. Nothing when a fetch may not
    /// start there.
    pub(super) fn read(&self, offset: i64, max_bytes: u32) -> Result<Vec<deflated::Batch>, Error> {
        let mut left = u64::from(max_bytes);
        let mut found = Vec::new();
        if !self.has(offset) {
            return Ok(found);
        }
        for batch in self.segments_from(offset).flat_map(|segment| segment.since_offset(offset)) {
            let batch = batch.map_err(|error| on_disk(&error, true))?;
            let size = batch.batch_length.unsigned_abs().into();
            if !found.is_empty() && size > left {
                break;
            }
            left = left.saturating_sub(size);
            found.push(if batch.base_offset < offset { batch::tail(&batch, offset)? } else { batch });
        }
        Ok(found)
    }

    /// Bytes of the batches from `offset` on, or more than `enough` of them.
    pub(super) fn bytes_from(&self, offset: i64, enough: u64) -> u64 {
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
    pub(super) fn at_or_after(&self, wanted_ms: i64) -> Result<Option<(i64, i64)>, Error> {
        let newer = self.segments.iter().filter(|segment| segment.newest_ms() >= wanted_ms);
        for batch in newer.flat_map(|segment| segment.since_time(wanted_ms)) {
            let batch = batch.map_err(|error| on_disk(&error, true))?;
            if batch.max_timestamp >= wanted_ms
                && batch::last_offset(&batch) >= self.start
                && let Some(found) = batch::record_at_or_after(&batch, self.start, wanted_ms)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Gives up, as Apache Kafka does, whole segments that are older than `retention.ms` or beyond `retention.bytes`, and producers that
    /// have not been heard of for a day.
    pub(super) fn retain(&mut self, now_ms: i64) {
        let Retention { age_ms, bytes, .. } = self.retention;
        while let Some(oldest) = self.segments.front() {
            let is_old = age_ms.is_some_and(|age_ms| now_ms.saturating_sub(oldest.newest_ms()) > age_ms);
            let is_beyond = bytes.is_some_and(|bytes| self.bytes - oldest.bytes() >= bytes);
            if !is_old && !is_beyond {
                break;
            }
            self.forget_oldest();
        }
        self.producers.retain(|_, producer| now_ms - producer.seen_ms < PRODUCER_EXPIRATION_MS);
    }

    /// Whether the machine has no room for `size` bytes more. An empty log takes whatever comes.
    pub(super) fn is_full_for(&self, size: u64) -> bool {
        self.bytes > 0 && self.bytes + size > self.retention.disk_bytes
    }

    /// Gives up the oldest segments until there is room for `size` bytes more, and none with a record from `committed` on.
    pub(super) fn make_room(&mut self, size: u64, committed: i64) {
        while self.is_full_for(size) && self.end_of_oldest() <= committed {
            self.forget_oldest();
        }
    }

    /// Lets the log begin at `offset`, or where it ends for -1, and returns where it begins then.
    pub(super) fn delete_before(&mut self, offset: i64) -> Result<i64, Error> {
        let offset = if offset == -1 { self.next } else { offset };
        if !(0..=self.next).contains(&offset) {
            return Err(Error::Api(ErrorCode::OffsetOutOfRange));
        }
        self.start = self.start.max(offset);
        while !self.segments.is_empty() && self.end_of_oldest() <= self.start {
            self.forget_oldest();
        }
        Ok(self.start)
    }

    /// The offset behind the oldest segment.
    fn end_of_oldest(&self) -> i64 {
        self.segments.get(1).map_or(self.next, Segment::first)
    }

    fn forget_oldest(&mut self) {
        self.start = self.start.max(self.end_of_oldest());
        self.bytes -= self.segments.pop_front().map_or(0, |oldest| oldest.bytes());
    }
}

/// The sequence after `records` records; wraps to 0 behind the largest integer.
fn sequence_after(first: i32, records: i32) -> i32 {
    ((i64::from(first) + i64::from(records)) % (i64::from(i32::MAX) + 1)) as i32
}

/// The disk's refusal, as clients know it; they try again.
fn on_disk(error: &io::Error, is_new: bool) -> Error {
    if is_new {
        tracing::warn!(%error, "the embedded kafka cannot use its files");
    }
    Error::Api(ErrorCode::KafkaStorageError)
}
