//! A stream in memory: shards by hash range, records by sequence number.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use s3s::crypto::{Checksum, Md5};

use crate::access::REGION;

const ACCOUNT: &str = "000000000000";
/// Sequence numbers are long decimal numbers; equal length makes their text order their order.
const SEQUENCE_PREFIX: &str = "49";
const SEQUENCE_DIGITS: usize = 54;
/// A stream's default: <https://docs.aws.amazon.com/streams/latest/dev/kinesis-extended-retention.html>.
const RETENTION_MS: u64 = 24 * 3_600 * 1_000;

/// A record as a consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRecord {
    /// Its sequence number: longer numbers are not larger, all have the same length.
    pub sequence_number: String,
    /// The key that chose the shard.
    pub partition_key: String,
    /// The data, base64.
    pub data_base64: String,
    /// When it was written, in milliseconds since 1970.
    pub arrived_ms: u64,
}

/// Some records of a shard, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardPage {
    /// The records.
    pub records: Vec<ShardRecord>,
    /// How long ago the record after the last one was written; 0 when the page reaches the end.
    pub behind_ms: u64,
    /// Where the next page starts.
    pub(super) after: u64,
}

/// A record on its way into a stream.
#[derive(Debug)]
pub(super) struct NewRecord {
    pub(super) partition_key: String,
    pub(super) data_base64: String,
    pub(super) bytes: usize,
    pub(super) hash_key: u128,
}

#[derive(Debug)]
struct Record {
    sequence: u64,
    arrived_ms: u64,
    bytes: usize,
    partition_key: String,
    data_base64: String,
}

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) id: String,
    pub(super) first_hash: u128,
    pub(super) last_hash: u128,
    records: VecDeque<Record>,
    /// What they take in memory.
    held_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Stream {
    arn: String,
    created_ms: u64,
    shards: Vec<Shard>,
    last_sequence: u64,
}

impl Stream {
    pub(super) fn new(name: &str, shards: u16) -> Self {
        let width = u128::MAX / u128::from(shards.max(1));
        let shards = (0..shards)
            .map(|index| Shard {
                id: format!("shardId-{index:012}"),
                first_hash: u128::from(index) * width,
                last_hash: if index + 1 == shards { u128::MAX } else { u128::from(index + 1) * width - 1 },
                records: VecDeque::new(),
                held_bytes: 0,
            })
            .collect();
        let arn = format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}");
        Self { arn, created_ms: now_ms(), shards, last_sequence: 0 }
    }

    pub(super) fn arn(&self) -> &str {
        &self.arn
    }

    pub(super) fn created_ms(&self) -> u64 {
        self.created_ms
    }

    pub(super) fn shards(&self) -> &[Shard] {
        &self.shards
    }

    pub(super) fn shard_ids(&self) -> impl Iterator<Item = &str> {
        self.shards.iter().map(|shard| shard.id.as_str())
    }

    /// The newest sequence number of the stream, 0 when it is empty.
    pub(super) fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Appends a record and returns its sequence number and the id of its shard, which forgets what is older than a day and as much as
    /// it needs to stay within `held_bytes_max`.
    pub(super) fn append(&mut self, record: NewRecord, held_bytes_max: usize, now_ms: u64) -> (String, &str) {
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        let shard = self.shards.partition_point(|shard| shard.last_hash < record.hash_key);
        let shard = &mut self.shards[shard];
        let record = Record {
            sequence,
            arrived_ms: now_ms,
            bytes: record.bytes,
            partition_key: record.partition_key,
            data_base64: record.data_base64,
        };
        shard.held_bytes += record.held_bytes();
        shard.records.push_back(record);
        let is_old = |oldest: &Record| oldest.arrived_ms + RETENTION_MS < now_ms;
        while shard.records.len() > 1
            && (shard.held_bytes > held_bytes_max || shard.records.front().is_some_and(is_old))
        {
            shard.held_bytes -= shard.records.pop_front().map_or(0, |oldest| oldest.held_bytes());
        }
        (sequence_number(sequence), &shard.id)
    }

    /// The records after `after`, as many as both limits allow but at least one. `None` when there is no such shard.
    pub(super) fn read(&self, shard: &str, after: u64, limit: usize, limit_bytes: usize) -> Option<ShardPage> {
        let shard = self.shard(shard)?;
        let start = shard.records.partition_point(|record| record.sequence <= after);
        let mut bytes = 0;
        let records: Vec<&Record> = shard
            .records
            .range(start..)
            .take(limit)
            .enumerate()
            .take_while(|(index, record)| {
                bytes += record.bytes;
                *index == 0 || bytes <= limit_bytes
            })
            .map(|(_, record)| record)
            .collect();
        let next = shard.records.get(start + records.len());
        Some(ShardPage {
            behind_ms: next.map_or(0, |record| now_ms().saturating_sub(record.arrived_ms)),
            after: records.last().map_or(after, |record| record.sequence),
            records: records.into_iter().map(Record::to_shard_record).collect(),
        })
    }

    /// The cursor from which the first record that was written at `at_ms` or later is read.
    pub(super) fn cursor_at(&self, shard: &str, at_ms: u64) -> Option<u64> {
        let shard = self.shard(shard)?;
        let first = shard.records.iter().find(|record| record.arrived_ms >= at_ms);
        Some(first.map_or(self.last_sequence, |record| record.sequence - 1))
    }

    pub(super) fn shard(&self, id: &str) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.id == id)
    }
}

impl Record {
    fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.partition_key.capacity() + self.data_base64.capacity()
    }

    fn to_shard_record(&self) -> ShardRecord {
        ShardRecord {
            sequence_number: sequence_number(self.sequence),
            partition_key: self.partition_key.clone(),
            data_base64: self.data_base64.clone(),
            arrived_ms: self.arrived_ms,
        }
    }
}

/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html>.
pub(super) fn is_stream_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// The 128-bit number that AWS makes of a partition key.
pub(super) fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::checksum(partition_key.as_bytes()))
}

pub(super) fn sequence_number(sequence: u64) -> String {
    format!("{SEQUENCE_PREFIX}{sequence:0SEQUENCE_DIGITS$}")
}

pub(super) fn parse_sequence(number: &str) -> Option<u64> {
    number.strip_prefix(SEQUENCE_PREFIX).filter(|digits| digits.len() == SEQUENCE_DIGITS)?.parse().ok()
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// AWS writes times as seconds with a fraction.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay below 2^53 for 285,000 years")]
pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, bytes: usize) -> NewRecord {
        NewRecord { partition_key: key.to_owned(), data_base64: String::new(), bytes, hash_key: hash_key(key) }
    }

    #[test]
    fn every_hash_key_has_a_shard() {
        let mut stream = Stream::new("s", 3);
        for hash_key in [0, u128::MAX / 3, u128::MAX / 3 * 2, u128::MAX] {
            let (_, shard) = stream.append(NewRecord { hash_key, ..record("a", 1) }, usize::MAX, 0);
            let shard = shard.to_owned();
            let shard = stream.shard(&shard).expect("it was just named");
            assert!((shard.first_hash..=shard.last_hash).contains(&hash_key));
        }
    }

    /// What a reader finds who begins at the oldest record.
    fn kept(stream: &Stream) -> Vec<Option<u64>> {
        let page = stream.read("shardId-000000000000", 0, 1_000, usize::MAX).expect("the shard is there");
        page.records.iter().map(|record| parse_sequence(&record.sequence_number)).collect()
    }

    #[test]
    fn a_full_shard_forgets_its_oldest_records() {
        let mut stream = Stream::new("s", 1);
        let two = 2 * (size_of::<Record>() + 1);
        for _ in 0..5 {
            stream.append(record("a", 10), two, 0);
        }
        assert_eq!(kept(&stream), [Some(4), Some(5)]);
    }

    #[test]
    fn a_record_is_kept_for_a_day() {
        let mut stream = Stream::new("s", 1);
        for arrived_ms in [0, 1, RETENTION_MS, RETENTION_MS + 1] {
            stream.append(record("a", 10), usize::MAX, arrived_ms);
        }
        assert_eq!(kept(&stream), [Some(2), Some(3), Some(4)]);
    }
}
