//! A partition's records, in memory: a batch is there or it is not, and a fetch may start anywhere.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tansu_sans_io::ErrorCode;
use tansu_sans_io::record::{deflated, inflated};
use tansu_storage::Error;

/// Batches whose sequence a broker remembers per producer, as Apache Kafka does.
const REMEMBERED_BATCHES: usize = 5;
/// The attribute bit of a batch whose time is the broker's (Kafka protocol, record batch attributes).
const LOG_APPEND_TIME: i16 = 0x08;
/// Those that say how a batch is compressed.
const COMPRESSION: i16 = 0x07;

/// A log; offsets start at 0 and nothing is trimmed.
#[derive(Debug, Default)]
pub(super) struct Log {
    batches: Vec<deflated::Batch>,
    next: i64,
    producers: HashMap<i64, Producer>,
}

/// What is known of an idempotent producer.
#[derive(Debug, Default)]
struct Producer {
    epoch: i16,
    next_sequence: i32,
    /// First sequence and offset of the last batches.
    recent: VecDeque<(i32, i64)>,
}

impl Log {
    /// The offset that the next record gets.
    pub(super) fn high_watermark(&self) -> i64 {
        self.next
    }

    /// Appends a batch and returns its first offset; a batch that an idempotent producer repeats returns the first one's.
    pub(super) fn append(&mut self, mut batch: deflated::Batch, append_time: bool) -> Result<i64, Error> {
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
            batch.attributes |= LOG_APPEND_TIME;
            batch.max_timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
            batch.crc = checksum(&batch);
        }
        if batch.is_idempotent() {
            let producer = self.producers.entry(batch.producer_id).or_default();
            producer.next_sequence = sequence_after(batch.base_sequence, records);
            producer.recent.push_back((batch.base_sequence, offset));
            if producer.recent.len() > REMEMBERED_BATCHES {
                producer.recent.pop_front();
            }
        }
        self.batches.push(batch);
        self.next += i64::from(records);
        Ok(offset)
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

    /// Batches from `offset` on, at least one when there is one, then as many as fit into `max_bytes`.
    pub(super) fn read(&self, offset: i64, max_bytes: u32) -> Result<Vec<deflated::Batch>, Error> {
        let first = self.batches.partition_point(|batch| last_offset(batch) < offset);
        let mut left = u64::from(max_bytes);
        let mut found = Vec::new();
        for batch in &self.batches[first..] {
            let size = batch.batch_length.unsigned_abs().into();
            if !found.is_empty() && size > left {
                break;
            }
            left = left.saturating_sub(size);
            if batch.base_offset < offset {
                found.push(tail(batch, offset)?);
            } else {
                found.push(batch.clone());
            }
        }
        Ok(found)
    }

    /// Bytes of the batches from `offset` on; counts no further than `enough`.
    pub(super) fn bytes_from(&self, offset: i64, enough: u64) -> u64 {
        let first = self.batches.partition_point(|batch| last_offset(batch) < offset);
        let mut bytes = 0;
        for batch in &self.batches[first..] {
            if bytes >= enough {
                break;
            }
            bytes += u64::from(batch.batch_length.unsigned_abs());
        }
        bytes
    }

    /// The first record that is not older than `time`, with its own time.
    pub(super) fn at_or_after(&self, time: SystemTime) -> Result<Option<(i64, SystemTime)>, Error> {
        let wanted = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        for batch in self.batches.iter().filter(|batch| batch.max_timestamp >= wanted) {
            let inflated = inflated::Batch::try_from(batch)?;
            let of = |delta: i64| {
                if inflated.attributes & LOG_APPEND_TIME == 0 {
                    inflated.base_timestamp + delta
                } else {
                    inflated.max_timestamp
                }
            };
            let record = inflated.records.iter().find(|record| of(record.timestamp_delta) >= wanted);
            if let Some(record) = record {
                let at = UNIX_EPOCH + Duration::from_millis(of(record.timestamp_delta).unsigned_abs());
                return Ok(Some((batch.base_offset + i64::from(record.offset_delta), at)));
            }
        }
        Ok(None)
    }
}

fn last_offset(batch: &deflated::Batch) -> i64 {
    batch.base_offset + i64::from(batch.last_offset_delta)
}

/// The sequence after `records` records; wraps to 0 behind the largest integer.
fn sequence_after(first: i32, records: i32) -> i32 {
    ((i64::from(first) + i64::from(records)) % (i64::from(i32::MAX) + 1)) as i32
}

/// What of a batch starts at `offset`. The broker counts a fetch's progress by the records it is given, so a batch that starts
/// earlier must not be given whole.
fn tail(batch: &deflated::Batch, offset: i64) -> Result<deflated::Batch, Error> {
    let mut inflated = inflated::Batch::try_from(batch)?;
    let skipped = i32::try_from(offset - batch.base_offset).unwrap_or(i32::MAX);
    inflated.records.retain(|record| record.offset_delta >= skipped);
    for record in &mut inflated.records {
        let offset_delta = record.offset_delta - skipped;
        // A record begins with its length, and a small delta takes fewer bytes.
        record.length -= varint_bytes(record.offset_delta) - varint_bytes(offset_delta);
        record.offset_delta = offset_delta;
    }
    inflated.base_offset = offset;
    inflated.last_offset_delta -= skipped;
    // The codec reads every compression and writes fewer.
    inflated.attributes &= !COMPRESSION;
    let mut tail = deflated::Batch::try_from(inflated)?;
    tail.crc = checksum(&tail);
    Ok(tail)
}

/// Bytes of a number as records keep it: zigzag, seven bits a byte (<https://kafka.apache.org/documentation/#record>).
fn varint_bytes(value: i32) -> i32 {
    let zigzag = (value << 1) ^ (value >> 31);
    (32 - (zigzag.cast_unsigned() | 1).leading_zeros()).div_ceil(7).cast_signed()
}

/// CRC-32C from the attributes to the end, as the record batch format says.
fn checksum(batch: &deflated::Batch) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&batch.attributes.to_be_bytes());
    digest.update(&batch.last_offset_delta.to_be_bytes());
    digest.update(&batch.base_timestamp.to_be_bytes());
    digest.update(&batch.max_timestamp.to_be_bytes());
    digest.update(&batch.producer_id.to_be_bytes());
    digest.update(&batch.producer_epoch.to_be_bytes());
    digest.update(&batch.base_sequence.to_be_bytes());
    digest.update(&batch.record_count.to_be_bytes());
    digest.update(&batch.record_data);
    digest.finalize() as u32
}
