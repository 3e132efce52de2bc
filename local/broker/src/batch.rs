//! A record batch as bytes: what a segment's file holds is Kafka's own format, <https://kafka.apache.org/documentation/#recordbatch>.

use bytes::{Buf, Bytes};
use tansu_sans_io::record::{deflated, inflated};
use tansu_storage::Error;

/// The attribute bit of a batch whose time is the broker's.
pub(super) const LOG_APPEND_TIME: i16 = 0x08;
/// Those that say how a batch is compressed.
const COMPRESSION: i16 = 0x07;
/// Bytes before the length that a batch begins with, and the length itself.
const PREFIX_BYTES: usize = 12;
/// Everything before the records.
pub(super) const HEADER_BYTES: usize = 61;

/// Bytes that a batch takes in a file.
pub(super) fn size(batch: &deflated::Batch) -> u64 {
    (HEADER_BYTES + batch.record_data.len()) as u64
}

pub(super) fn last_offset(batch: &deflated::Batch) -> i64 {
    batch.base_offset + i64::from(batch.last_offset_delta)
}

/// Bytes of the batch that begins here, as far as they can be told: all that is needed to read it.
pub(super) fn bytes_needed(bytes: &[u8]) -> usize {
    let Some(Ok(length)) = bytes.get(8..PREFIX_BYTES).map(<[u8; 4]>::try_from) else { return HEADER_BYTES };
    PREFIX_BYTES + usize::try_from(i32::from_be_bytes(length)).unwrap_or(0).max(HEADER_BYTES - PREFIX_BYTES)
}

/// Takes a batch off the front of `bytes`, which must hold all of it. The records are not copied, and their checksum is left to
/// the consumer.
pub(super) fn take(bytes: &mut Bytes) -> deflated::Batch {
    let mut whole = bytes.split_to(bytes_needed(bytes));
    deflated::Batch {
        base_offset: whole.get_i64(),
        batch_length: whole.get_i32(),
        partition_leader_epoch: whole.get_i32(),
        magic: whole.get_i8(),
        crc: whole.get_u32(),
        attributes: whole.get_i16(),
        last_offset_delta: whole.get_i32(),
        base_timestamp: whole.get_i64(),
        max_timestamp: whole.get_i64(),
        producer_id: whole.get_i64(),
        producer_epoch: whole.get_i16(),
        base_sequence: whole.get_i32(),
        record_count: whole.get_u32(),
        record_data: whole,
    }
}

/// What of a batch starts at `offset`. The broker counts a fetch's progress by the records it is given, so a batch that starts
/// earlier must not be given whole.
pub(super) fn tail(batch: &deflated::Batch, offset: i64) -> Result<deflated::Batch, Error> {
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

/// The first record of a batch from `offset` on that is not older than `wanted_ms`: its offset and time.
pub(super) fn record_at_or_after(
    batch: &deflated::Batch,
    offset: i64,
    wanted_ms: i64,
) -> Result<Option<(i64, i64)>, Error> {
    let inflated = inflated::Batch::try_from(batch)?;
    let is_appended = inflated.attributes & LOG_APPEND_TIME != 0;
    let records = inflated.records.iter().map(|record| {
        let time = if is_appended { inflated.max_timestamp } else { inflated.base_timestamp + record.timestamp_delta };
        (batch.base_offset + i64::from(record.offset_delta), time)
    });
    Ok(records.into_iter().find(|(at, time)| *at >= offset && *time >= wanted_ms))
}

/// Bytes of a number as records keep it: zigzag, seven bits a byte (<https://kafka.apache.org/documentation/#record>).
fn varint_bytes(value: i32) -> i32 {
    let zigzag = (value << 1) ^ (value >> 31);
    (32 - (zigzag.cast_unsigned() | 1).leading_zeros()).div_ceil(7).cast_signed()
}

/// CRC-32C from the attributes to the end, as the record batch format says.
pub(super) fn checksum(batch: &deflated::Batch) -> u32 {
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
