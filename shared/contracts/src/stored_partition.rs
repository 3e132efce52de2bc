//! What the mapping has committed of one partition of one consumer group, and which records failed below that: attribute `s` of its item.

use centinela_domain::{ContentDigest, Mark, Millis, TransactionDigest, UserId};

pub use crate::binary::StoredProblem;
use crate::binary::{Input, Output};

const FORMAT: u8 = 3;
/// Without the number of times that an item was unreadable; still read.
const FORMAT_WITHOUT_TRIES: u8 = 2;
/// Positions without owners too; still read.
const FORMAT_WITHOUT_OWNERS: u8 = 1;

/// Most pending-failure markers of a partition.
pub const PENDING_FAILURES_MAX: usize = 10_000;
/// Bytes that the transactions behind the markers may take, of the 400 KB that a DynamoDB item may have. What does not fit is kept
/// as a position only.
const OWNERS_BYTES_MAX: usize = 200_000;
/// Bytes of an owner beside the user's id, at most.
const OWNER_OVERHEAD_BYTES: usize = 14;

// A marker's flags.
const OWNED: u8 = 1;
const UNREADABLE: u8 = 1 << 1;
const CONTENT: u8 = 1 << 2;

/// A pending-failure marker: a record that was reported as a batch item failure and has not come back.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingFailure {
    /// Where it stands.
    pub at: Mark,
    /// Whose ring can tell what became of it; none for a record that could not be dead-lettered, and where the item had no room for it.
    pub owner: Option<Owner>,
    /// How often it was reported because its user's item could not be read.
    pub unreadable: u8,
}

/// The transaction behind a marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user whose ring remembers it.
    pub user: UserId,
    /// How the ring remembers it.
    pub digest: TransactionDigest,
    /// What it is about: a ring that remembers the id with other content says nothing of this record.
    pub content: Option<ContentDigest>,
}

/// What is known about a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredPartition {
    /// The committed mark: the first position that is not known to be committed.
    pub mark: Option<Mark>,
    /// One per record.
    pub pending_failures: Vec<PendingFailure>,
    /// When it was written.
    pub noted_at: Millis,
}

/// More markers than an item takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} failed records in one partition, the limit is {PENDING_FAILURES_MAX}: the stored item is kept as it is, so nothing \
     more is taken for published until records of this partition are complete"
)]
pub struct TooManyPendingFailures {
    /// Markers that there would be.
    pub count: usize,
}

/// The item's key, attribute `pk`.
pub fn key(group: &str, topic: &str, partition: u32) -> String {
    format!("{group}/{topic}/{partition}")
}

/// Attribute `s` of the item, in the newest format.
pub fn encode(item: &StoredPartition) -> Result<Vec<u8>, TooManyPendingFailures> {
    let count = item.pending_failures.len();
    if count > PENDING_FAILURES_MAX {
        return Err(TooManyPendingFailures { count });
    }
    let mut output = Output::begin(FORMAT, 32);
    output.signed(item.noted_at.0);
    let mut previous = chain_start(item.noted_at);
    output.byte(u8::from(item.mark.is_some()));
    if let Some(mark) = item.mark {
        output.mark(mark, &mut previous);
    }
    output.unsigned(count as u64);
    let mut room = OWNERS_BYTES_MAX;
    for marker in &item.pending_failures {
        output.mark(marker.at, &mut previous);
        let owner = marker.owner.as_ref().filter(|owner| owner.user.as_str().len() + OWNER_OVERHEAD_BYTES <= room);
        let content = owner.and_then(|owner| owner.content);
        let flags = [(owner.is_some(), OWNED), (marker.unreadable > 0, UNREADABLE), (content.is_some(), CONTENT)];
        output.byte(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, bit)| bit).sum());
        if marker.unreadable > 0 {
            output.byte(marker.unreadable);
        }
        if let Some(owner) = owner {
            room -= owner.user.as_str().len() + OWNER_OVERHEAD_BYTES;
            output.text(owner.user.as_str());
            output.bytes(&owner.digest.0);
        }
        if let Some(ContentDigest(content)) = content {
            output.bytes(&content.to_be_bytes());
        }
    }
    Ok(output.end())
}

/// Reads every format that was ever written.
pub fn decode(bytes: &[u8]) -> Result<StoredPartition, StoredProblem> {
    let format = match bytes.first() {
        Some(&older @ (FORMAT_WITHOUT_OWNERS | FORMAT_WITHOUT_TRIES)) => older,
        _ => FORMAT,
    };
    let mut input = Input::begin(bytes, format)?;
    let noted_at = Millis(input.signed()?);
    let mut previous = chain_start(noted_at);
    let mark = match input.byte()? {
        0 => None,
        1 => Some(input.mark(&mut previous)?),
        _ => return Err(StoredProblem::Invalid("mark")),
    };
    let count = input.at_most(PENDING_FAILURES_MAX as u64, "number of pending-failure markers")?;
    let pending_failures = (0..count).map(|_| marker(&mut input, &mut previous, format)).collect::<Result<_, _>>()?;
    input.end()?;
    Ok(StoredPartition { mark, pending_failures, noted_at })
}

fn marker(input: &mut Input<'_>, previous: &mut Mark, format: u8) -> Result<PendingFailure, StoredProblem> {
    let at = input.mark(previous)?;
    let flags = if format == FORMAT_WITHOUT_OWNERS { 0 } else { input.byte()? };
    if flags & !(if format == FORMAT { OWNED | UNREADABLE | CONTENT } else { OWNED }) != 0 {
        return Err(StoredProblem::Invalid("owner of a marker"));
    }
    let unreadable = if flags & UNREADABLE != 0 { input.byte()? } else { 0 };
    if flags & OWNED == 0 {
        return if flags & CONTENT == 0 {
            Ok(PendingFailure { at, owner: None, unreadable })
        } else {
            Err(StoredProblem::Invalid("owner of a marker"))
        };
    }
    let user = UserId::new(input.text("user of a marker")?).map_err(|_| StoredProblem::Invalid("user of a marker"))?;
    let digest = TransactionDigest(input.array()?);
    if format != FORMAT {
        // It was 64 bits.
        input.bytes(2)?;
    }
    let content = if flags & CONTENT != 0 { Some(ContentDigest(u16::from_be_bytes(input.array()?))) } else { None };
    Ok(PendingFailure { at, owner: Some(Owner { user, digest, content }), unreadable })
}

fn chain_start(noted_at: Millis) -> Mark {
    Mark { offset: 0, timestamp: noted_at }
}
