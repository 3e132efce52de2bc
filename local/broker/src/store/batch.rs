//! A record batch as bytes: what a segment's file holds is Kafka's own format, <https://kafka.apache.org/documentation/#recordbatch>.
//! Batches are stored and handed out as they came; only the header is read, and what the broker decides is written into it.

use bytes::{Buf, Bytes};
use kafka_protocol::ResponseError;

use super::compression::decompress;

/// Bytes before the length that a batch begins with, and the length itself.
const PREFIX_BYTES: usize = 12;
/// Everything before the records.
pub(crate) const HEADER_BYTES: usize = 61;
/// What the checksum covers begins here.
const ATTRIBUTES_AT: usize = 21;
const MAGIC: i8 = 2;

/// The attribute bits that say how a batch is compressed.
const COMPRESSION: i16 = 0x07;
/// The attribute bit of a batch whose time is the broker's.
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// What a batch says of itself before its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base_offset: i64,
    /// Bytes behind the length.
    length: i32,
    magic: i8,
    crc: u32,
    pub(crate) attributes: i16,
    last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    /// The newest time of a record.
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    record_count: i32,
}

impl Header {
    /// Of the batch that begins here; none when there are fewer bytes than a header has.
    pub(crate) fn read(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let (base_offset, length) = (bytes.get_i64(), bytes.get_i32());
        bytes.advance(size_of::<i32>());
        Some(Self {
            base_offset,
            length,
            magic: bytes.get_i8(),
            crc: bytes.get_u32(),
            attributes: bytes.get_i16(),
            last_offset_delta: bytes.get_i32(),
            base_timestamp: bytes.get_i64(),
            max_timestamp: bytes.get_i64(),
            producer_id: bytes.get_i64(),
            producer_epoch: bytes.get_i16(),
            base_sequence: bytes.get_i32(),
            record_count: bytes.get_i32(),
        })
    }

    /// Bytes of the whole batch.
    pub(crate) fn size(&self) -> u64 {
        PREFIX_BYTES as u64 + u64::from(self.length.max(0).unsigned_abs())
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    pub(crate) fn records(&self) -> i32 {
        self.record_count
    }

    pub(crate) fn is_idempotent(&self) -> bool {
        self.producer_id >= 0
    }

    pub(crate) fn has_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }
}

/// A batch that may be stored.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) header: Header,
    bytes: Vec<u8>,
}

impl Batch {
    /// Checks what a producer sent for a partition: exactly one whole batch of the present format, as long and with as many records as
    /// it says. Nothing is decompressed.
    ///
    /// # Errors
    /// With Kafka's own answer to what it is not.
    pub(crate) fn check(bytes: &Bytes) -> Result<Self, ResponseError> {
        let magic = bytes.get(PREFIX_BYTES + size_of::<i32>()).copied();
        if magic.is_some_and(|magic| i8::try_from(magic).is_ok_and(|magic| magic < MAGIC)) {
            return Err(ResponseError::UnsupportedForMessageFormat);
        }
        let header = Header::read(bytes).ok_or(ResponseError::InvalidRecord)?;
        if header.magic != MAGIC || header.size() != bytes.len() as u64 {
            return Err(ResponseError::InvalidRecord);
        }
        if crc32c::crc32c(&bytes[ATTRIBUTES_AT..]) != header.crc {
            return Err(ResponseError::CorruptMessage);
        }
        let is_counted = header.record_count > 0 && header.last_offset_delta == header.record_count - 1;
        if !is_counted || header.attributes & CONTROL != 0 || (header.is_idempotent() && header.base_sequence < 0) {
            return Err(ResponseError::InvalidRecord);
        }
        if header.attributes & TRANSACTIONAL != 0 {
            return Err(ResponseError::InvalidTxnState);
        }
        // The broker's time is the broker's to give.
        if header.has_append_time() {
            return Err(ResponseError::InvalidTimestamp);
        }
        Ok(Self { header, bytes: bytes.to_vec() })
    }

    /// Gives the batch its place, and the broker's time where the topic has that.
    pub(crate) fn place(&mut self, base_offset: i64, append_time_ms: Option<i64>) {
        let leader_epoch = 0_i32;
        self.header.base_offset = base_offset;
        self.bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        self.bytes[PREFIX_BYTES..PREFIX_BYTES + 4].copy_from_slice(&leader_epoch.to_be_bytes());
        if let Some(time_ms) = append_time_ms {
            self.header.attributes |= LOG_APPEND_TIME;
            self.header.max_timestamp = time_ms;
            self.bytes[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&self.header.attributes.to_be_bytes());
            self.bytes[35..43].copy_from_slice(&time_ms.to_be_bytes());
            self.header.crc = crc32c::crc32c(&self.bytes[ATTRIBUTES_AT..]);
            self.bytes[17..ATTRIBUTES_AT].copy_from_slice(&self.header.crc.to_be_bytes());
        }
    }

    /// Bytes that it takes in a file.
    pub(crate) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The headers of batches that lie one behind the other, as far as they are whole.
pub(crate) fn headers(mut bytes: &[u8]) -> impl Iterator<Item = Header> {
    std::iter::from_fn(move || {
        let header = Header::read(bytes)?;
        bytes = bytes.get(usize::try_from(header.size()).ok()?..)?;
        Some(header)
    })
}

/// Offset and time of every record of a batch, as far as they can be read.
pub(crate) fn records(batch: &[u8]) -> Vec<(i64, i64)> {
    let Some(header) = Header::read(batch) else { return Vec::new() };
    let codec = header.attributes & COMPRESSION;
    let stored = &batch[HEADER_BYTES..];
    let decompressed = if codec == 0 { None } else { Some(decompress(codec, stored).unwrap_or_default()) };
    let mut rest = decompressed.as_deref().unwrap_or(stored);
    let mut found = Vec::new();
    while found.len() < header.record_count as usize {
        let Some((offset_delta, time_delta)) = record(&mut rest) else { break };
        let time = if header.has_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp.saturating_add(time_delta)
        };
        found.push((header.base_offset.saturating_add(offset_delta), time));
    }
    found
}

/// Offset and time of a record, from its batch's, and steps behind it.
fn record(rest: &mut &[u8]) -> Option<(i64, i64)> {
    let length = usize::try_from(varint(rest)?).ok()?;
    let mut record = rest.get(..length)?;
    *rest = &rest[length..];
    record.try_get_i8().ok()?;
    let time_delta = varint(&mut record)?;
    Some((varint(&mut record)?, time_delta))
}

/// A number as records keep it: zigzag, seven bits a byte (<https://kafka.apache.org/documentation/#record>).
fn varint(rest: &mut &[u8]) -> Option<i64> {
    let mut zigzag = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = rest.try_get_u8().ok()?;
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
        }
    }
    None
}
