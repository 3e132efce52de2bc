//! Pending-failure markers: records that were reported as batch item failures, and the check of the source's order that rests on them.
//!
//! Whoever reports a record as failed marks it; who completes it takes the marker off; a batch that starts above a marker without
//! containing its record proves nothing. A marker protects two things: evidence in its user's ring, and an undecided record from that
//! ring's eviction floors. A record without a user, which could only have been dead-lettered, can have neither and leaves none.
//!
//! A marker ends. An invocation that goes on after its batch was handled elsewhere may mark a record that was complete long since.
//! Nobody will deliver that record again, so the ring of its user is asked: what the ring remembers was decided, and is
//! published again if it may be unpublished. What it does not know is really missing: the marker stays and an alarm tells, until the
//! record is so old that the mapping has given it up; then it is retired, and another alarm tells (see [`crate::proof`]).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use centinela_contracts::stored_partition::{Owner, PendingFailure, StoredPartition};
use centinela_delivery::{Batch, Causes, Clock, Position};
use centinela_domain::ledger::CommittedMarks;
use centinela_domain::{Coordinates, Mark, Millis};

use crate::outgoing;
use crate::ports::{Commit, DecisionState, Marks, Outgoing, StoreError, Versioned, Write};
use crate::proof::Proof;
use crate::work::{Decoded, Work};

/// Why records are reported as failed, where it matters for their markers.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    /// Their user's item cannot be read.
    pub unreadable: HashSet<Position>,
    /// Their decision is in the ring, unpublished, and must be passed by a mark at this position.
    pub unpublished: HashMap<Position, Mark>,
}

/// Attempts at writing markers before the whole batch fails.
const ATTEMPTS: u32 = 5;
/// How long one pause between such attempts may be.
const PAUSE: Duration = Duration::from_millis(20);
/// Markers that one batch asks about, per partition; further ones are the next batch's.
const ASKED_AT_ONCE: usize = 16;

/// The markers to ask about now: all in turn, so that those which nobody can answer do not hide the others.
pub(crate) fn in_turn(above: &[PendingFailure], start: usize) -> impl Iterator<Item = &PendingFailure> {
    let start = start % above.len().max(1);
    above[start..].iter().chain(&above[..start]).take(ASKED_AT_ONCE)
}

/// What a user's ring says about a marked record.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It was decided and published.
    Complete,
    /// It was decided and may be unpublished.
    Decided(Box<Outgoing>),
    /// Nothing is known of it, or it could not be asked.
    Unknown,
}

/// Asks the ring of the user whose record was marked.
pub(crate) async fn ask<S: DecisionState>(
    store: &S,
    partition: u32,
    marker: &PendingFailure,
    committed: &CommittedMarks,
    deadline: Millis,
) -> Fate {
    let Some(Owner { user, digest, content }) = &marker.owner else { return Fate::Unknown };
    let stored = match store.read_user(user, deadline).await {
        Ok(Some(stored)) => stored.item,
        Ok(None) => return Fate::Unknown,
        Err(problem) => {
            tracing::warn!(error = %Causes(&problem), "the user of a pending-failure marker was not read");
            return Fate::Unknown;
        }
    };
    let at = Coordinates { partition, offset: marker.at.offset, timestamp: marker.at.timestamp };
    match stored.ledger.find(*digest) {
        // Another transaction under the same id.
        Some(entry) if entry.content.zip(*content).is_some_and(|(known, marked)| known != marked) => Fate::Unknown,
        // A duplicate of a remembered transaction counts only when the ring has taken its place too.
        Some(entry) if entry.knows(at) => {
            outgoing::again(entry, partition).map_or(Fate::Complete, |out| Fate::Decided(Box::new(out)))
        }
        Some(_) if committed.covers(at) => Fate::Complete,
        None if stored.ledger.is_below_eviction_floor(at) => Fate::Complete,
        Some(_) | None => Fate::Unknown,
    }
}

/// Takes off the markers of complete records. A failure leaves them for the next batch.
pub(crate) async fn take_off<S: Marks>(store: &S, partition: u32, complete: &[Mark], deadline: Millis) {
    let remove = |item: &mut StoredPartition| item.pending_failures.retain(|marker| !complete.contains(&marker.at));
    if let Err(problem) = try_change(store, partition, remove, deadline).await {
        tracing::warn!(error = %Causes(&problem), partition, "pending-failure markers of complete records were not taken off");
    }
}

/// Marks the records that are reported as failed and takes off the markers of those that are complete, until the batch's deadline. Must
/// be done before the batch is answered; an error means that the whole batch must fail, which keeps the order by itself.
pub(crate) async fn update<S: Marks, C: Clock>(
    store: &S,
    clock: &C,
    batch: &Batch<Decoded>,
    reported: &Reported,
    proof: &Proof,
) -> Result<(), StoreError> {
    let deadline = batch.deadline.answer;
    // A record without work has no user.
    let owners: HashMap<Position, &Work> = batch.records.iter().map(|work| (work.position(), work)).collect();
    let mut changes: BTreeMap<u32, Vec<Change>> = BTreeMap::new();
    for (index, slice) in batch.slices.iter().enumerate() {
        let positions = || slice.marks.iter().map(|&at| (at, (index, at.offset)));
        let is_marked = |position| batch.is_failed(position) && owners.contains_key(&position);
        if !proof.marked_here.contains(&index) && !positions().any(|(_, position)| is_marked(position)) {
            continue;
        }
        let of_partition = changes.entry(slice.partition).or_default();
        of_partition.extend(positions().map(|(at, position)| {
            let marker = owners.get(&position).filter(|_| batch.is_failed(position)).map(|work| PendingFailure {
                at,
                owner: (!batch.is_undelivered(position)).then(|| Owner {
                    user: work.content.transaction.user_id.clone(),
                    digest: work.content.digest,
                    content: Some(work.content.content_digest),
                }),
                unreadable: u8::from(reported.unreadable.contains(&position)),
            });
            Change { at, marker, stands_at: reported.unpublished.get(&position).copied().unwrap_or(at) }
        }));
    }
    let updates =
        changes.iter().map(|(&partition, changes)| update_partition(store, clock, partition, changes, deadline));
    futures::future::try_join_all(updates).await.map(drop)
}

/// What becomes of a record's marker.
struct Change {
    at: Mark,
    /// None takes it off.
    marker: Option<PendingFailure>,
    /// What a mark must pass to prove the record committed.
    stands_at: Mark,
}

async fn update_partition<S: Marks, C: Clock>(
    store: &S,
    clock: &C,
    partition: u32,
    changes: &[Change],
    deadline: Millis,
) -> Result<(), StoreError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let problem = match try_change(store, partition, |item| apply(item, changes), deadline).await {
            Ok(true) => return Ok(()),
            Ok(false) => StoreError::OutOfTime,
            Err(problem) => problem,
        };
        if attempt == ATTEMPTS || clock.now() >= deadline {
            return Err(problem);
        }
        clock.pause(PAUSE).await;
    }
}

fn apply(item: &mut StoredPartition, changes: &[Change]) {
    for Change { at, marker, stands_at } in changes {
        let place = item.pending_failures.iter().position(|known| known.at == *at);
        match (marker, place) {
            // What the written mark covers was complete before: an invocation that lives on after its batch cannot change that.
            (Some(marker), None) if !item.mark.is_some_and(|mark| covers(mark, *stands_at)) => {
                item.pending_failures.push(marker.clone())
            }
            (Some(marker), Some(place)) => {
                let known = &mut item.pending_failures[place];
                known.unreadable = known.unreadable.saturating_add(marker.unreadable);
            }
            (None, Some(place)) => {
                item.pending_failures.swap_remove(place);
            }
            (Some(_) | None, None) => {}
        }
    }
}

fn covers(mark: Mark, at: Mark) -> bool {
    at.offset < mark.offset && at.timestamp <= mark.timestamp
}

/// Returns whether the item says what it must.
async fn try_change<S: Marks>(
    store: &S,
    partition: u32,
    change: impl FnOnce(&mut StoredPartition),
    deadline: Millis,
) -> Result<bool, StoreError> {
    let (expected, mut item) = match store.read_partition(partition, deadline).await? {
        Some(Versioned { version, item }) => (Some(version), item),
        None => (None, StoredPartition::default()),
    };
    let before = item.pending_failures.clone();
    change(&mut item);
    if item.pending_failures == before {
        return Ok(true);
    }
    match store.commit_partition(Write { key: partition, expected, item }, deadline).await {
        Commit::Done => Ok(true),
        Commit::Lost(_) => Ok(false),
        Commit::Failed(problem) => Err(problem),
    }
}
