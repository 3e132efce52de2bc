//! Proof of publication by the source's own order, and the tripwire on that order.
//!
//! A mapping delivers a partition in sequence, so a batch that starts at offset `f` proves that everything below `f` was settled.
//! Whoever reports a record as unsettled notes it (a *hold*); a batch that starts above a hold without containing it proves
//! nothing. One small item per partition of a consumer group: it rides along in the batch's own read, strongly consistent, so the
//! proof costs no call, and no two partitions ever compete for an item.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use centinela_contracts::settled::SettledItem;
use centinela_domain::ledger::{RECREATED_AFTER_MS, Settled};
use centinela_domain::{Mark, Millis};

use crate::intake::{Position, Slice};
use crate::ports::{Clock, Commit, ReadAnswer, StateStore, StoreError, Versioned, Write};

/// Attempts at noting holds before the whole batch is given back.
const HOLD_ATTEMPTS: u32 = 5;
/// How long one pause between such attempts may be.
const HOLD_PAUSE: Duration = Duration::from_millis(20);

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
    /// Partitions where the batch started above a hold.
    pub tripped: usize,
    /// Per slice whether the batch contains holds that must be taken off.
    pub holds_here: HashSet<usize>,
}

/// Takes the marks that were read, and adds what the batch's first offsets prove.
pub(crate) fn prove(
    knowledge: &mut Knowledge,
    slices: &[Slice],
    answer: &mut ReadAnswer,
    now: Millis,
    interval_ms: i64,
) -> Proof {
    for (&partition, item) in &answer.settled {
        if let Some(mark) = item.item.mark {
            knowledge.settled.raise(partition, mark);
        }
    }
    let mut proof = Proof::default();
    for (index, slice) in slices.iter().enumerate() {
        knowledge.partitions.insert(slice.partition);
        if answer.unread_partitions.contains(&slice.partition) {
            continue;
        }
        let stored = answer.settled.remove(&slice.partition);
        let holds = stored.as_ref().map_or(&[][..], |stored| &stored.item.holds);
        let (inside, outside): (Vec<Mark>, Vec<Mark>) = holds.iter().partition(|hold| slice.marks.contains(hold));
        if !inside.is_empty() {
            proof.holds_here.insert(index);
        }
        let Some(first) = slice.first else { continue };
        if outside.iter().any(|&hold| is_before(hold, first)) {
            proof.tripped += 1;
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

/// Notes the records that are reported as unsettled and takes off those that settled. Must be done before the batch is answered;
/// an error means that the whole batch must be given back, which keeps the order by itself.
pub(crate) async fn update_holds<S: StateStore, C: Clock>(
    store: &S,
    clock: &C,
    slices: &[Slice],
    unsettled: &BTreeSet<Position>,
    proof: &Proof,
) -> Result<(), StoreError> {
    let mut slices_by_partition: HashMap<u32, Vec<usize>> = HashMap::new();
    for (index, slice) in slices.iter().enumerate() {
        let reports = slice.marks.iter().any(|mark| unsettled.contains(&(index, mark.offset)));
        if reports || proof.holds_here.contains(&index) {
            slices_by_partition.entry(slice.partition).or_default().push(index);
        }
    }
    for (partition, indexes) in slices_by_partition {
        update_partition(store, clock, partition, &indexes, slices, unsettled).await?;
    }
    Ok(())
}

async fn update_partition<S: StateStore, C: Clock>(
    store: &S,
    clock: &C,
    partition: u32,
    indexes: &[usize],
    slices: &[Slice],
    unsettled: &BTreeSet<Position>,
) -> Result<(), StoreError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let problem = match try_update(store, partition, indexes, slices, unsettled).await {
            Ok(true) => return Ok(()),
            Ok(false) => StoreError::OutOfTime,
            Err(problem) => problem,
        };
        if attempt == HOLD_ATTEMPTS {
            return Err(problem);
        }
        clock.pause(HOLD_PAUSE).await;
    }
}

/// Returns whether the item says what it must.
async fn try_update<S: StateStore>(
    store: &S,
    partition: u32,
    indexes: &[usize],
    slices: &[Slice],
    unsettled: &BTreeSet<Position>,
) -> Result<bool, StoreError> {
    let stored = store.read_settled(partition).await?;
    let (expected, mut item) = match stored {
        Some(stored) => (Some(stored.version), stored.item),
        None => (None, SettledItem::default()),
    };
    let before = item.holds.clone();
    for &index in indexes {
        for mark in &slices[index].marks {
            let held = item.holds.iter().position(|hold| hold == mark);
            match (unsettled.contains(&(index, mark.offset)), held) {
                (true, None) => item.holds.push(*mark),
                (false, Some(place)) => {
                    item.holds.swap_remove(place);
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
    }
    if item.holds == before {
        return Ok(true);
    }
    match store.commit_settled(Write { key: partition, expected, item }).await {
        Commit::Done => Ok(true),
        Commit::Lost(_) => Ok(false),
        Commit::Failed(problem) => Err(problem),
    }
}
