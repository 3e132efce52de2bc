//! A record batch as bytes. <https://kafka.apache.org/documentation/#recordbatch>

use std::io::Write as _;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use crate::producer::Record;

/// The length stands behind the first offset and counts what is behind itself.
const LENGTH_AT: usize = 8;
/// The checksum covers what is behind it.
const CHECKSUM_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAGIC: u8 = 2;
const LZ4: u8 = 3;
/// Bytes of a batch and of a record beside keys, values and headers, at most.
pub(crate) const BATCH_BYTES: usize = 61;
pub(crate) const RECORD_BYTES: usize = 40;

/// What brokers drop repetitions by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) producer: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
}

impl Stamp {
    /// Of a producer whose repetitions are not dropped.
    pub(crate) const NONE: Self = Self { producer: -1, epoch: -1, sequence: -1 };
}

/// Writes a batch of one record or more at the end of `out`; `scratch` is for what is not compressed yet.
pub(crate) fn write(out: &mut Vec<u8>, scratch: &mut Vec<u8>, records: &[&Record<'_>], stamp: Stamp, now_ms: i64) {
    scratch.clear();
    for (offset, record) in records.iter().enumerate() {
        write_record(scratch, record, offset as i64);
    }
    let last = (records.len() - 1) as i32;
    let begin = out.len();
    out.extend_from_slice(&[0; LENGTH_AT + 4]);
    // The leader's epoch is the broker's to know.
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out.push(MAGIC);
    out.extend_from_slice(&[0; 4 + 2]);
    out.extend_from_slice(&last.to_be_bytes());
    for time_ms in [now_ms, now_ms] {
        out.extend_from_slice(&time_ms.to_be_bytes());
    }
    out.extend_from_slice(&stamp.producer.to_be_bytes());
    out.extend_from_slice(&stamp.epoch.to_be_bytes());
    out.extend_from_slice(&stamp.sequence.to_be_bytes());
    out.extend_from_slice(&(records.len() as i32).to_be_bytes());
    let plain_from = out.len();
    if compress(out, scratch) {
        out[begin + ATTRIBUTES_AT + 1] = LZ4;
    } else {
        out.truncate(plain_from);
        out.extend_from_slice(scratch);
    }
    let length = (out.len() - begin - LENGTH_AT - 4) as u32;
    out[begin + LENGTH_AT..][..4].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32c::crc32c(&out[begin + ATTRIBUTES_AT..]);
    out[begin + CHECKSUM_AT..][..4].copy_from_slice(&checksum.to_be_bytes());
}

/// Appends a frame; says whether it became smaller. Blocks stand alone, which Kafka's Java client insists on.
fn compress(out: &mut Vec<u8>, plain: &[u8]) -> bool {
    let begin = out.len();
    let frame = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(frame, out);
    let written = encoder.write_all(plain).is_ok();
    match encoder.finish() {
        Ok(out) => written && out.len() - begin < plain.len(),
        Err(_) => false,
    }
}

fn write_record(out: &mut Vec<u8>, record: &Record<'_>, offset: i64) {
    let Record { key, value, headers, .. } = record;
    let mut bytes = 1 + 1 + varint_bytes(offset) + sized_bytes(*key) + sized_bytes(Some(value));
    bytes += varint_bytes(headers.len() as i64);
    bytes += headers
        .iter()
        .map(|(name, value)| sized_bytes(Some(name.as_bytes())) + sized_bytes(Some(value)))
        .sum::<usize>();
    varint(out, bytes as i64);
    // No attributes, and the batch's own time.
    out.extend_from_slice(&[0, 0]);
    varint(out, offset);
    sized(out, *key);
    sized(out, Some(value));
    varint(out, headers.len() as i64);
    for (name, value) in *headers {
        sized(out, Some(name.as_bytes()));
        sized(out, Some(value));
    }
}

fn sized(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => varint(out, -1),
    }
}

fn sized_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(varint_bytes(-1), |bytes| varint_bytes(bytes.len() as i64) + bytes.len())
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut left = zigzag(value);
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn varint_bytes(value: i64) -> usize {
    (64 - (zigzag(value) | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn unvaried(rest: &mut &[u8]) -> i64 {
        let (mut zigzag, mut shift) = (0u64, 0);
        loop {
            let (&byte, after) = rest.split_first().expect("a number ends");
            *rest = after;
            zigzag |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
            }
        }
    }

    fn unsized_(rest: &mut &[u8]) -> Option<Vec<u8>> {
        let length = usize::try_from(unvaried(rest)).ok()?;
        let (taken, after) = rest.split_at(length);
        *rest = after;
        Some(taken.to_vec())
    }

    proptest! {
        #[test]
        fn a_number_takes_the_bytes_that_are_reckoned_with(value in any::<i64>(), less in 0u32..64) {
            let value = value >> less;
            let mut out = Vec::new();
            varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_bytes(value));
            prop_assert_eq!(unvaried(&mut &out[..]), value);
        }

        #[test]
        fn records_come_out_as_they_went_in(
            contents in prop::collection::vec((prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), "[a-z]{0,300}"), 1..20),
            sequence in 0..i32::MAX,
        ) {
            let headers = [("decision-id", &b"0123"[..]), ("empty", &[][..])];
            let records: Vec<Record<'_>> = contents
                .iter()
                .map(|(key, value)| Record { topic: "t", near: None, key: key.as_deref(), value: value.as_bytes(), headers: &headers })
                .collect();
            let (mut out, mut scratch) = (b"before".to_vec(), Vec::new());
            let stamp = Stamp { producer: 7, epoch: 1, sequence };
            write(&mut out, &mut scratch, &records.iter().collect::<Vec<_>>(), stamp, 1_795_867_200_000);
            let batch = out.strip_prefix(b"before").expect("what was there stays");
            let number = |at: usize| i32::from_be_bytes(batch[at..at + 4].try_into().expect("four bytes"));
            prop_assert_eq!(number(8) as usize, batch.len() - 12);
            prop_assert_eq!(number(17) as u32, crc32c::crc32c(&batch[21..]));
            prop_assert_eq!((number(53), number(57) as usize), (sequence, records.len()));
            let mut plain = Vec::new();
            match batch[22] {
                0 => plain.extend_from_slice(&batch[61..]),
                _ => {
                    lz4_flex::frame::FrameDecoder::new(&batch[61..]).read_to_end(&mut plain).expect("a frame");
                }
            }
            let mut rest = &plain[..];
            for (offset, (key, value)) in contents.iter().enumerate() {
                let length = unvaried(&mut rest) as usize;
                let (mut record, after) = rest.split_at(length);
                rest = after;
                prop_assert_eq!(&record[..2], &[0, 0]);
                record = &record[2..];
                prop_assert_eq!(unvaried(&mut record), offset as i64);
                prop_assert_eq!(&unsized_(&mut record), key);
                prop_assert_eq!(unsized_(&mut record), Some(value.clone().into_bytes()));
                prop_assert_eq!(unvaried(&mut record), 2);
                for (name, value) in headers {
                    prop_assert_eq!(unsized_(&mut record), Some(name.as_bytes().to_vec()));
                    prop_assert_eq!(unsized_(&mut record), Some(value.to_vec()));
                }
                prop_assert!(record.is_empty());
            }
            prop_assert!(rest.is_empty());
        }
    }
}
