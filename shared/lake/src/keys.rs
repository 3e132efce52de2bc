//! Keys of the lake's objects.

use sha2::{Digest, Sha256};

use crate::hour::Hour;
use crate::row::Place;
use crate::table::Table;

/// Where erased users are listed: one object per user, named by SHA-256 of the user's id.
pub const ERASURES: &str = "erasures/";
const END: &str = ".parquet";

/// The rows of one partition that one raw object holds. The key says all of it, so an object is only ever replaced by one with the same
/// rows: a mapping that cuts its batches otherwise when it delivers again makes other keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawName {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub first: i64,
    /// The last one.
    pub last: i64,
    /// Of the offset and the broker's time of every row: a topic that is recreated begins at offset 0 again.
    digest: String,
}

impl RawName {
    /// The name of an object with these rows, given by place and broker's time; none of no rows.
    pub fn of(rows: impl Iterator<Item = (Place, i64)>) -> Option<Self> {
        let mut hasher = Sha256::new();
        let mut named: Option<Self> = None;
        for (Place { partition, offset }, broker_time) in rows {
            hasher.update(offset.to_be_bytes());
            hasher.update(broker_time.to_be_bytes());
            let found = Self { partition, first: offset, last: offset, digest: String::new() };
            named.get_or_insert(found).last = offset;
        }
        named.map(|named| Self { digest: hex(&hasher.finalize()[..4]), ..named })
    }

    /// The key.
    pub fn key(&self, table: Table, hour: Hour) -> String {
        let Self { partition, first, last, digest } = self;
        format!("{}{}-{partition}-{first}-{last}-{digest}{END}", raw_folder(table, hour), table.topic())
    }

    /// Reads a key; none of what is no raw object of this table.
    pub fn parse(table: Table, key: &str) -> Option<Self> {
        let name = key.rsplit('/').next()?.strip_suffix(END)?;
        let mut parts = name.strip_prefix(table.topic())?.strip_prefix('-')?.split('-');
        let (partition, first, last) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
        let digest = parts.next()?.to_owned();
        let is_name = parts.next().is_none() && first <= last;
        is_name.then_some(Self { partition: i32::try_from(partition).ok()?, first, last, digest })
    }
}

/// A compacted file. Its name has the run that made it, so no run ever makes a file that another one may be deleting, and its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartName {
    /// The slice of the hour's partitions that it holds.
    pub slice: u32,
    /// How many slices the hour has.
    pub slices: u32,
    run: String,
    digest: String,
}

impl PartName {
    /// The name of a file with this content. `run` has neither hyphens nor slashes.
    pub fn of(slice: u32, slices: u32, run: &str, content: &[u8]) -> Self {
        Self { slice, slices, run: run.to_owned(), digest: hex(&Sha256::digest(content)[..8]) }
    }

    /// The key.
    pub fn key(&self, table: Table, hour: Hour) -> String {
        let Self { slice, slices, run, digest } = self;
        format!("{}part-{slice:03}of{slices:03}-{run}-{digest}{END}", part_folder(table, hour))
    }

    /// Reads a key.
    pub fn parse(key: &str) -> Option<Self> {
        let mut parts = key.rsplit('/').next()?.strip_suffix(END)?.strip_prefix("part-")?.split('-');
        let (slice, slices) = parts.next()?.split_once("of")?;
        let (slice, slices) = (u32::try_from(number(slice)?).ok()?, u32::try_from(number(slices)?).ok()?);
        let (run, digest) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        (parts.next().is_none() && slice < slices).then_some(Self { slice, slices, run, digest })
    }
}

/// Plain digits.
fn number(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `raw/<topic>/`.
pub fn raw_prefix(table: Table) -> String {
    format!("raw/{}/", table.topic())
}

/// Where the raw objects of an hour are.
pub fn raw_folder(table: Table, hour: Hour) -> String {
    format!("{}{}", raw_prefix(table), hour.folder())
}

/// Where the compacted files of an hour are.
pub fn part_folder(table: Table, hour: Hour) -> String {
    format!("lake/{}/{}", table.topic(), hour.folder())
}

/// `manifests/<topic>/`.
pub fn manifest_prefix(table: Table) -> String {
    format!("manifests/{}/", table.topic())
}

/// What readers of an hour open first: its files, a line each.
pub fn manifest(table: Table, hour: Hour) -> String {
    format!("{}{}symlink.txt", manifest_prefix(table), hour.folder())
}

/// What the next compaction of an hour goes by. Athena reads every object beside the manifest as a manifest, unless its name begins so.
pub fn state(table: Table, hour: Hour) -> String {
    format!("{}{}_state.json", manifest_prefix(table), hour.folder())
}

/// How far the search for erased users has come in a topic.
pub fn search(table: Table) -> String {
    format!("{}_erased.json", manifest_prefix(table))
}

/// A record that stands nowhere: its offset could not be read.
pub fn unplaced(table: Table, content: &[u8]) -> String {
    format!("unplaced/{}/{}.json", table.topic(), hex(&Sha256::digest(content)))
}

/// The name under which a user is erased.
pub fn erased_name(user_id: &str) -> String {
    hex(&Sha256::digest(user_id.as_bytes()))
}

/// The object that says that a user is erased.
pub fn erasure(user_id: &str) -> String {
    format!("{ERASURES}{}.json", erased_name(user_id))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    digits.map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_domain::Millis;

    #[test]
    fn keys_are_read_back_and_tell_their_rows() {
        let hour = Hour::of(Millis(1_795_357_920_000));
        let places = |offsets: &[i64]| {
            RawName::of(offsets.iter().map(|offset| (Place { partition: 3, offset: *offset }, 7))).expect("some rows")
        };
        let raw = places(&[100, 101, 140]);
        let key = raw.key(Table::DeadLetters, hour);
        assert!(key.starts_with("raw/dead-letters/dt=2026-11-22/hour=14/dead-letters-3-100-140-"), "{key}");
        assert_eq!(RawName::parse(Table::DeadLetters, &key), Some(raw.clone()));
        assert_eq!(RawName::parse(Table::Events, &key), None);
        assert_ne!(raw, places(&[100, 102, 140]));
        let part = PartName::of(7, 8, "0a1b", b"content");
        let key = part.key(Table::UserActions, hour);
        assert!(key.starts_with("lake/user_actions/dt=2026-11-22/hour=14/part-007of008-0a1b-"), "{key}");
        assert_eq!(PartName::parse(&key), Some(part));
        for wrong in
            ["", "raw/events/x.parquet", "events-1-2.parquet", "events-1-9-2-ab.parquet", "events-+1-2-3-ab.parquet"]
        {
            assert_eq!(RawName::parse(Table::Events, wrong), None, "{wrong}");
        }
    }
}
