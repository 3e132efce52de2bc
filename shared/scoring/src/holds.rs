//! Holds: records that were reported as unsettled, and the tripwire on the source's order that they make.
//!
//! Whoever reports a record as unsettled notes it; who settles it takes the note off; a batch that starts above a hold without
//! containing it proves nothing. A hold protects two things: evidence in its user's ring, and an undecided record from that ring's
//! floors. A record without a user, which could only have been parked, can have neither and leaves none.
//!
//! A hold ends. An invocation that goes on after its batch was handled elsewhere may note a record that is settled long since. Nobody
//! will deliver that record again, so the hold is settled by asking the ring of its user: what the ring remembers was decided, and is
//! published again if it may be unpublished. What it does not know is really missing: the hold stays and an alarm tells, until the
//! record is so old that the mapping has given it up; then it is retired, and another alarm tells (see [`crate::settlement`]).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use centinela_contracts::settled::{Hold, Owner, SettledItem};
use centinela_delivery::{Batch, Causes, Clock, Position};
use centinela_domain::ledger::Settled;
use centinela_domain::{Coordinates, Mark, Millis};

use crate::outgoing;
use crate::ports::{Commit, DecisionState, Marks, Outgoing, StoreError, Versioned, Write};
use crate::settlement::Proof;
use crate::work::{Decoded, Work};

/// Why records are reported as unsettled, where it matters for their holds.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    /// Their user's item cannot be read.
    pub unreadable: HashSet<Position>,
    /// Their decision is in the ring, unpublished, and stands there at this mark.
    pub unpublished: HashMap<Position, Mark>,
}

/// Attempts at noting holds before the whole batch is given back.
const ATTEMPTS: u32 = 5;
/// How long one pause between such attempts may be.
const PAUSE: Duration = Duration::from_millis(20);
/// Holds that one batch asks about, per partition; further ones are the next batch's.
const ASKED_AT_ONCE: usize = 16;

/// The holds to ask about now: all in turn, so that those which nobody can answer do not hide the others.
pub(crate) fn in_turn(above: &[Hold], start: usize) -> impl Iterator<Item = &Hold> {
    let start = start % above.len().max(1);
    above[start..].iter().chain(&above[..start]).take(ASKED_AT_ONCE)
}

/// What a user's ring says about a hold.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It was decided and published.
    Settled,
    /// It was decided and may be unpublished.
    Decided(Box<Outgoing>),
    /// Nothing is known of it, or it could not be asked.
    Unknown,
}

/// Asks the ring of the user whose record was noted.
pub(crate) async fn ask<S: DecisionState>(
    store: &S,
    partition: u32,
    hold: &Hold,
    settled: &Settled,
    deadline: Millis,
) -> Fate {
    let Some(Owner { user, digest, content }) = &hold.owner else { return Fate::Unknown };
    let stored = match store.read_user(user, deadline).await {
        Ok(Some(stored)) => stored.item,
        Ok(None) => return Fate::Unknown,
        Err(problem) => {
            tracing::warn!(error = %Causes(&problem), "a hold's user was not read");
            return Fate::Unknown;
        }
    };
    let at = Coordinates { partition, offset: hold.at.offset, timestamp: hold.at.timestamp };
    match stored.ledger.find(*digest) {
        // Another transaction under the same id.
        Some(entry) if entry.content.zip(*content).is_some_and(|(known, held)| known != held) => Fate::Unknown,
        // A duplicate of a remembered transaction counts only when the ring has taken its place too.
        Some(entry) if entry.knows(at) => {
            outgoing::again(entry).map_or(Fate::Settled, |out| Fate::Decided(Box::new(out)))
        }
        Some(_) if settled.covers(at) => Fate::Settled,
        None if stored.ledger.is_below_floor(at) => Fate::Settled,
        Some(_) | None => Fate::Unknown,
    }
}

/// Takes holds off that were found settled. A failure leaves them for the next batch.
pub(crate) async fn take_off<S: Marks>(store: &S, partition: u32, settled: &[Mark], deadline: Millis) {
    let remove = |item: &mut SettledItem| item.holds.retain(|hold| !settled.contains(&hold.at));
    if let Err(problem) = try_change(store, partition, remove, deadline).await {
        tracing::warn!(error = %Causes(&problem), partition, "settled holds were not taken off");
    }
}

/// Notes the records that are reported as unsettled and takes off those that settled, until the batch's deadline. Must be done before the
/// batch is answered; an error means that the whole batch must be given back, which keeps the order by itself.
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
        let noted = |position| batch.is_failed(position) && owners.contains_key(&position);
        if !proof.holds_here.contains(&index) && !positions().any(|(_, position)| noted(position)) {
            continue;
        }
        let of_partition = changes.entry(slice.partition).or_default();
        of_partition.extend(positions().map(|(at, position)| {
            let hold = owners.get(&position).filter(|_| batch.is_failed(position)).map(|work| Hold {
                at,
                owner: (!batch.is_undelivered(position)).then(|| Owner {
                    user: work.content.transaction.user_id.clone(),
                    digest: work.content.digest,
                    content: Some(work.content.content_digest),
                }),
                unreadable: u8::from(reported.unreadable.contains(&position)),
            });
            Change { at, hold, stands_at: reported.unpublished.get(&position).copied().unwrap_or(at) }
        }));
    }
    let updates =
        changes.iter().map(|(&partition, changes)| update_partition(store, clock, partition, changes, deadline));
    futures::future::try_join_all(updates).await.map(drop)
}

/// What becomes of a record's hold.
struct Change {
    at: Mark,
    /// None takes it off.
    hold: Option<Hold>,
    /// What a mark must pass to prove the record settled.
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

fn apply(item: &mut SettledItem, changes: &[Change]) {
    for Change { at, hold, stands_at } in changes {
        let held = item.holds.iter().position(|hold| hold.at == *at);
        match (hold, held) {
            // What the noted mark covers was settled before: an invocation that lives on after its batch cannot unsettle it.
            (Some(hold), None) if !item.mark.is_some_and(|mark| covers(mark, *stands_at)) => {
                item.holds.push(hold.clone())
            }
            (Some(hold), Some(place)) => {
                let held = &mut item.holds[place];
                held.unreadable = held.unreadable.saturating_add(hold.unreadable);
            }
            (None, Some(place)) => {
                item.holds.swap_remove(place);
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
    change: impl FnOnce(&mut SettledItem),
    deadline: Millis,
) -> Result<bool, StoreError> {
    let (expected, mut item) = match store.read_settled(partition, deadline).await? {
        Some(Versioned { version, item }) => (Some(version), item),
        None => (None, SettledItem::default()),
    };
    let before = item.holds.clone();
    change(&mut item);
    if item.holds == before {
        return Ok(true);
    }
    match store.commit_settled(Write { key: partition, expected, item }, deadline).await {
        Commit::Done => Ok(true),
        Commit::Lost(_) => Ok(false),
        Commit::Failed(problem) => Err(problem),
    }
}
