//! A stream in memory: shards by hash range, records by sequence number.

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use s3s::crypto::{Checksum, Md5};

use crate::access::REGION;

const ACCOUNT: &str = "000000000000";
/// Sequence numbers are long decimal numbers; equal length makes their text order their order.
const SEQUENCE_PREFIX: &str = "49";
const SEQUENCE_DIGITS: usize = 54;
/// A stream's default: <https://docs.aws.amazon.com/streams/latest/dev/kinesis-extended-retention.html>.
const RETENTION_MS: u64 = 24 * 3_600 * 1_000;
/// How many times as much is held of what readers have not handled yet: of [`super::HELD_BYTES_PER_SHARD`], some 1.8 million decisions.
const KEPT_FOR_READERS: usize = 256;

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
    /// Whether the shard is closed and the page reaches its end.
    pub is_last: bool,
    /// Whether records behind the place that was asked for are not kept any more.
    pub is_gap: bool,
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
    /// What it was split or merged from.
    pub(super) parents: Vec<String>,
    /// After its split or merge it takes nothing any more; the stream's sequence number of that time.
    pub(super) closed_at: Option<u64>,
    records: VecDeque<Record>,
    /// What they take in memory.
    held_bytes: usize,
    /// The newest record that it ever had, and the newest that it forgot; 0 when there is none.
    pub(super) newest: u64,
    forgotten: u64,
}

impl Shard {
    fn new(number: usize, first_hash: u128, last_hash: u128, parents: Vec<String>) -> Self {
        Self {
            id: format!("shardId-{number:012}"),
            first_hash,
            last_hash,
            parents,
            closed_at: None,
            records: VecDeque::new(),
            held_bytes: 0,
            newest: 0,
            forgotten: 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    arn: String,
    created_ms: u64,
    shards: Vec<Shard>,
    last_sequence: u64,
    /// Up to where the readers that say it have handled the shards.
    readers: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Stream {
    pub(super) fn new(name: &str, shards: u16) -> Self {
        let width = u128::MAX / u128::from(shards.max(1));
        let last = |index: u16| if index + 1 == shards { u128::MAX } else { u128::from(index + 1) * width - 1 };
        let shard = |index| Shard::new(usize::from(index), u128::from(index) * width, last(index), Vec::new());
        let shards = (0..shards).map(shard).collect();
        let arn = format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}");
        Self { arn, created_ms: now_ms(), shards, last_sequence: 0, readers: BTreeMap::new() }
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
    /// it needs to stay within `held_bytes_max`. What a reader has not handled yet is kept until it is [`KEPT_FOR_READERS`] times as much.
    pub(super) fn append(&mut self, record: NewRecord, held_bytes_max: usize, now_ms: u64) -> (String, &str) {
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        let is_home = |shard: &Shard| {
            shard.closed_at.is_none() && (shard.first_hash..=shard.last_hash).contains(&record.hash_key)
        };
        // The open shards cover every hash key.
        let index = self.shards.iter().position(is_home).unwrap_or(0);
        let handled = self.handled_by_all(index);
        let shard = &mut self.shards[index];
        let record = Record {
            sequence,
            arrived_ms: now_ms,
            bytes: record.bytes,
            partition_key: record.partition_key,
            data_base64: record.data_base64,
        };
        shard.newest = sequence;
        shard.held_bytes += record.held_bytes();
        shard.records.push_back(record);
        let is_old = |oldest: &Record| oldest.arrived_ms + RETENTION_MS < now_ms;
        while let Some(oldest) = shard.records.front().filter(|_| shard.records.len() > 1) {
            let most = if oldest.sequence <= handled {
                held_bytes_max
            } else {
                held_bytes_max.saturating_mul(KEPT_FOR_READERS)
            };
            if shard.held_bytes <= most && !is_old(oldest) {
                break;
            }
            shard.forgotten = oldest.sequence;
            shard.held_bytes -= shard.records.pop_front().map_or(0, |oldest| oldest.held_bytes());
        }
        (sequence_number(sequence), &self.shards[index].id)
    }

    /// The newest record of a shard that every reader has handled; every record where nobody says what it has handled.
    fn handled_by_all(&self, shard: usize) -> u64 {
        let id = &self.shards[shard].id;
        self.readers.values().map(|reader| reader.get(id).copied().unwrap_or(0)).min().unwrap_or(u64::MAX)
    }

    /// Notes a reader, from now on or at a shard's record.
    pub(super) fn reads(&mut self, reader: &str, handled: Option<(&str, u64)>) {
        let places = self.readers.entry(reader.to_owned()).or_default();
        if let Some((shard, sequence)) = handled {
            let place = places.entry(shard.to_owned()).or_default();
            *place = sequence.max(*place);
        }
    }

    /// Closes a shard and opens two in its place; the second begins at this hash key. False when the shard is closed, or the key is not
    /// inside it.
    pub(super) fn split(&mut self, shard: &str, second_from: u128) -> bool {
        let found = self.shards.iter_mut().find(|other| other.id == shard && other.closed_at.is_none());
        let Some(parent) = found.filter(|parent| parent.first_hash < second_from && second_from <= parent.last_hash)
        else {
            return false;
        };
        parent.closed_at = Some(self.last_sequence);
        let (first, last) = (parent.first_hash, parent.last_hash);
        for (from, to) in [(first, second_from - 1), (second_from, last)] {
            self.shards.push(Shard::new(self.shards.len(), from, to, vec![shard.to_owned()]));
        }
        true
    }

    /// Closes two adjacent shards and opens one in their place. False when they are not open or not adjacent.
    pub(super) fn merge(&mut self, shard: &str, adjacent: &str) -> bool {
        let open = |id: &str| self.shards.iter().position(|shard| shard.id == id && shard.closed_at.is_none());
        let (Some(a), Some(b)) = (open(shard), open(adjacent)) else { return false };
        let (lower, upper) = if self.shards[a].first_hash < self.shards[b].first_hash { (a, b) } else { (b, a) };
        if self.shards[lower].last_hash.checked_add(1) != Some(self.shards[upper].first_hash) {
            return false;
        }
        let (first, last) = (self.shards[lower].first_hash, self.shards[upper].last_hash);
        for parent in [a, b] {
            self.shards[parent].closed_at = Some(self.last_sequence);
        }
        self.shards.push(Shard::new(self.shards.len(), first, last, vec![shard.to_owned(), adjacent.to_owned()]));
        true
    }

    /// How many records are kept behind `after`; none of a shard that is not there.
    pub(super) fn behind(&self, shard: &str, after: u64) -> u64 {
        self.shard(shard).map_or(0, |shard| {
            (shard.records.len() - shard.records.partition_point(|record| record.sequence <= after)) as u64
        })
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
            is_last: next.is_none() && shard.closed_at.is_some(),
            is_gap: after < shard.forgotten,
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
    fn what_a_reader_has_not_handled_is_kept_longer() {
        let mut stream = Stream::new("s", 1);
        let one = size_of::<Record>() + 1;
        stream.reads("r", None);
        (0..5).for_each(|_| drop(stream.append(record("a", 10), one, 0).0));
        assert_eq!(kept(&stream).len(), 5);
        stream.reads("r", Some(("shardId-000000000000", 3)));
        stream.append(record("a", 10), one, 0);
        assert_eq!(kept(&stream), [Some(4), Some(5), Some(6)]);
        (0..2 * KEPT_FOR_READERS).for_each(|_| drop(stream.append(record("a", 10), one, 0).0));
        assert_eq!(kept(&stream).len(), KEPT_FOR_READERS);
        let page = stream.read("shardId-000000000000", 3, 1, usize::MAX).expect("the shard is there");
        assert!(page.is_gap, "records were forgotten that nobody had handled");
    }

    #[test]
    fn a_split_and_a_merge_leave_every_hash_key_with_one_open_shard() {
        let mut stream = Stream::new("s", 2);
        stream.append(record("a", 1), usize::MAX, 0);
        assert!(stream.split("shardId-000000000000", u128::MAX / 4));
        assert!(!stream.split("shardId-000000000000", u128::MAX / 4), "it is closed");
        assert!(!stream.merge("shardId-000000000001", "shardId-000000000002"), "they are not adjacent");
        assert!(stream.merge("shardId-000000000001", "shardId-000000000003"));
        for hash_key in [0, u128::MAX / 4 - 1, u128::MAX / 4, u128::MAX / 2, u128::MAX] {
            let open = stream.shards().iter().filter(|shard| shard.closed_at.is_none());
            let homes = open.filter(|shard| (shard.first_hash..=shard.last_hash).contains(&hash_key)).count();
            assert_eq!(homes, 1, "{hash_key}");
        }
        let parents = |id| stream.shard(id).map(|shard: &Shard| shard.parents.len());
        assert_eq!([parents("shardId-000000000002"), parents("shardId-000000000004")], [Some(1), Some(2)]);
        let of_closed = stream.read("shardId-000000000001", 0, 10, usize::MAX).expect("it can still be read");
        assert!(of_closed.is_last);
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
