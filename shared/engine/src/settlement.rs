//! Proof of publication by the source's own order.
//!
//! A mapping delivers a partition in sequence, so a batch that starts at offset `f` proves that everything below `f` was settled,
//! unless a record below was reported as unsettled and noted (see [`crate::holds`]). One small item per partition of a consumer
//! group: it rides along in the batch's own read, strongly consistent, so the proof costs no call, and no two partitions ever
//! compete for an item.

use std::collections::{BTreeSet, HashSet};

use centinela_contracts::settled::{Hold, SettledItem};
use centinela_domain::ledger::{RECREATED_AFTER_MS, Settled};
use centinela_domain::{Mark, Millis};

use crate::intake::Slice;
use crate::ports::{ReadAnswer, Versioned, Write};

/// What one environment knows; stale knowledge is only cautious.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    pub settled: Settled,
    /// When the marks of all known partitions were last read.
    pub refreshed_at: Millis,
    /// Partitions seen in batches and rings.
    pub partitions: BTreeSet<u32>,
    /// A user's ring is growing: note marks more often.
    pub eager: bool,
}

/// What this batch proves.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    /// Marks to note now.
    pub notes: Vec<Write<u32, SettledItem>>,
    /// Holds that the batch starts above, by partition: there it proves nothing.
    pub above: Vec<(u32, Vec<Hold>)>,
    /// Per slice whether the batch contains holds that must be taken off.
    pub holds_here: HashSet<usize>,
}

impl Knowledge {
    /// Takes the marks that were read, those that rode along in users' items included.
    pub fn learn(&mut self, answer: &ReadAnswer) {
        let read = answer.settled.iter().filter_map(|(&partition, stored)| Some((partition, stored.item.mark?)));
        let along = answer.users.values().filter_map(|stored| stored.item.ledger.proof);
        for (partition, mark) in read.chain(along) {
            self.settled.raise(partition, mark);
        }
    }
}

/// Adds what the batch's first offsets prove to the knowledge, which has learned what was read.
pub(crate) fn prove(
    knowledge: &mut Knowledge,
    slices: &[Slice],
    answer: &mut ReadAnswer,
    now: Millis,
    interval_ms: i64,
) -> Proof {
    let mut proof = Proof::default();
    for (index, slice) in slices.iter().enumerate() {
        knowledge.partitions.insert(slice.partition);
        if answer.unread_partitions.contains(&slice.partition) {
            continue;
        }
        let stored = answer.settled.remove(&slice.partition);
        let holds = stored.as_ref().map_or(&[][..], |stored| &stored.item.holds);
        if holds.iter().any(|hold| slice.marks.contains(&hold.at)) {
            proof.holds_here.insert(index);
        }
        let Some(first) = slice.first else { continue };
        let is_above = |hold: &&Hold| !slice.marks.contains(&hold.at) && is_before(hold.at, first);
        let above: Vec<Hold> = holds.iter().filter(is_above).cloned().collect();
        if !above.is_empty() {
            proof.above.push((slice.partition, above));
            continue;
        }
        knowledge.settled.raise(slice.partition, first);
        proof.notes.extend(note(slice.partition, stored, first, now, interval_ms));
    }
    proof
}

/// Whether a batch that starts at `first` starts above `hold`.
fn is_before(hold: Mark, first: Mark) -> bool {
    hold.offset < first.offset || first.timestamp.since(hold.timestamp) > RECREATED_AFTER_MS
}

fn note(
    partition: u32,
    stored: Option<Versioned<SettledItem>>,
    first: Mark,
    now: Millis,
    interval_ms: i64,
) -> Option<Write<u32, SettledItem>> {
    let (expected, mut item) = match stored {
        Some(stored) => (Some(stored.version), stored.item),
        None => (None, SettledItem::default()),
    };
    let mark = Mark::raised(item.mark, first);
    if item.mark == Some(mark) || (0..interval_ms).contains(&now.since(item.noted_at)) {
        return None;
    }
    item.mark = Some(mark);
    item.noted_at = now;
    Some(Write { key: partition, expected, item })
}
