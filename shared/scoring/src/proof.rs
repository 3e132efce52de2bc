//! Proof of publication by the source's own order.
//!
//! A mapping delivers a partition in sequence, so a batch that starts at offset `f` proves that everything below `f` was committed,
//! unless a record below was reported as a batch item failure and has a marker (see [`crate::pending_failures`]). One small item per
//! partition of a consumer group: it rides along in the batch's own read, strongly consistent, so the proof costs no call, and no two
//! partitions ever compete for an item.

use std::collections::{BTreeSet, HashMap, HashSet};

use centinela_contracts::stored_partition::{PendingFailure, StoredPartition};
use centinela_delivery::{Position, Slice};
use centinela_domain::ledger::{CommittedMarks, RECREATED_AFTER_MS};
use centinela_domain::{Mark, Millis};

use crate::ports::{ReadAnswer, Versioned, Write};

/// What one environment knows; stale knowledge is only cautious.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    pub committed: CommittedMarks,
    /// When the marks of all known partitions were last read.
    pub refreshed_at: Millis,
    /// Partitions seen in batches and rings.
    pub partitions: BTreeSet<u32>,
    /// A user's ring is growing: write marks more often.
    pub eager: bool,
    /// Where the asking about markers goes on.
    pub next_to_ask: usize,
}

/// What this batch proves.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    /// Marks to note now.
    pub notes: Vec<Write<u32, StoredPartition>>,
    /// Markers that the batch starts above, by partition: there it proves nothing.
    pub above: Vec<(u32, Vec<PendingFailure>)>,
    /// Slices of which the batch contains marked records: their markers must be taken off.
    pub marked_here: HashSet<usize>,
    /// How often records of this batch have been reported because an item could not be read.
    pub unreadable: HashMap<Position, u8>,
    /// Markers of records that the mapping can no longer deliver.
    pub retired: usize,
}

impl Knowledge {
    /// Takes the marks that were read, those that rode along in users' items included.
    pub fn learn(&mut self, answer: &ReadAnswer) {
        let read = answer.partitions.iter().filter_map(|(&partition, stored)| Some((partition, stored.item.mark?)));
        let along = answer.users.values().filter_map(|stored| stored.item.ledger.proof);
        for (partition, mark) in read.chain(along) {
            self.committed.raise(partition, mark);
        }
    }
}

/// What proofs go by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub now: Millis,
    /// How long a written mark lasts.
    pub interval_ms: i64,
    /// A record older than this cannot be delivered any more.
    pub delivered_within_ms: i64,
}

/// Adds what the batch's first offsets prove to the knowledge, which has learned what was read; nothing of partitions that are `unread`.
pub(crate) fn prove(
    knowledge: &mut Knowledge,
    slices: &[Slice],
    unread: &HashSet<u32>,
    answer: &mut ReadAnswer,
    times: Times,
) -> Proof {
    let mut proof = Proof::default();
    for (index, slice) in slices.iter().enumerate() {
        knowledge.partitions.insert(slice.partition);
        if unread.contains(&slice.partition) {
            continue;
        }
        let stored = answer.partitions.remove(&slice.partition);
        let markers = stored.as_ref().map_or(&[][..], |stored| &stored.item.pending_failures);
        for marker in markers.iter().filter(|marker| slice.marks.contains(&marker.at)) {
            proof.marked_here.insert(index);
            proof.unreadable.insert((index, marker.at.offset), marker.unreadable);
        }
        let Some(first) = slice.first else { continue };
        let is_above = |marker: &&PendingFailure| !slice.marks.contains(&marker.at) && is_before(marker.at, first);
        let is_retired = |marker: &PendingFailure| times.now.since(marker.at.timestamp) > times.delivered_within_ms;
        let (retired, above): (Vec<PendingFailure>, Vec<PendingFailure>) =
            markers.iter().filter(is_above).cloned().partition(is_retired);
        let proved = above.is_empty().then_some(first);
        if above.is_empty() {
            knowledge.committed.raise(slice.partition, first);
        } else {
            proof.above.push((slice.partition, above));
        }
        proof.retired += retired.len();
        proof.notes.extend(note(slice.partition, stored, proved, &retired, times));
    }
    proof
}

/// Whether a batch that starts at `first` starts above `marker`.
fn is_before(marker: Mark, first: Mark) -> bool {
    marker.offset < first.offset || first.timestamp.since(marker.timestamp) > RECREATED_AFTER_MS
}

/// What to write about a partition: the mark that was proved, now and then; and that markers are retired, at once.
fn note(
    partition: u32,
    stored: Option<Versioned<StoredPartition>>,
    proved: Option<Mark>,
    retired: &[PendingFailure],
    times: Times,
) -> Option<Write<u32, StoredPartition>> {
    let (expected, mut item) = match stored {
        Some(stored) => (Some(stored.version), stored.item),
        None => (None, StoredPartition::default()),
    };
    let mark = proved.map(|first| Mark::raised(item.mark, first)).or(item.mark);
    let is_fresh = (0..times.interval_ms).contains(&times.now.since(item.noted_at));
    if retired.is_empty() && (item.mark == mark || is_fresh) {
        return None;
    }
    item.mark = mark;
    item.noted_at = times.now;
    item.pending_failures.retain(|marker| !retired.contains(marker));
    Some(Write { key: partition, expected, item })
}
