//! Holds: records that were reported as unsettled, and the tripwire on the source's order that they make.
//!
//! Whoever reports a record as unsettled notes it; who settles it takes the note off; a batch that starts above a hold without
//! containing it proves nothing. An invocation that goes on after its batch was handled elsewhere may note a record that is
//! settled long since. Nobody will deliver that record again, so the hold is settled by asking the ring of its user: what the ring
//! remembers was decided, and is published again if it may be unpublished. What it does not know is really missing: the hold
//! stays, and an alarm tells.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use centinela_contracts::settled::{Hold, Owner, SettledItem};
use centinela_domain::ledger::Settled;
use centinela_domain::{Coordinates, Mark};

use crate::intake::{Position, Slice, Work};
use crate::ports::{Clock, Commit, Outgoing, StateStore, StoreError, Versioned, Write};
use crate::publish;
use crate::settlement::Proof;

/// Attempts at noting holds before the whole batch is given back.
const ATTEMPTS: u32 = 5;
/// How long one pause between such attempts may be.
const PAUSE: Duration = Duration::from_millis(20);
/// Holds that one batch asks about, per partition; further ones are the next batch's.
pub(crate) const ASKED_AT_ONCE: usize = 16;

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
pub(crate) async fn ask<S: StateStore>(store: &S, partition: u32, hold: &Hold, settled: &Settled) -> Fate {
    let Some(Owner { user, digest }) = &hold.owner else { return Fate::Unknown };
    let stored = match store.read_user(user).await {
        Ok(Some(stored)) => stored.item,
        Ok(None) => return Fate::Unknown,
        Err(problem) => {
            tracing::warn!(error = &problem as &dyn std::error::Error, "a hold's user was not read");
            return Fate::Unknown;
        }
    };
    let at = Coordinates { partition, offset: hold.at.offset, timestamp: hold.at.timestamp };
    match stored.ledger.find(*digest) {
        // A duplicate of a remembered transaction counts only when the ring has taken its place too.
        Some(entry) if entry.knows(at) => {
            publish::again(entry).map_or(Fate::Settled, |out| Fate::Decided(Box::new(out)))
        }
        Some(_) if settled.covers(at) => Fate::Settled,
        None if stored.ledger.is_below_floor(at) => Fate::Settled,
        Some(_) | None => Fate::Unknown,
    }
}

/// Takes holds off that were found settled. A failure leaves them for the next batch.
pub(crate) async fn take_off<S: StateStore>(store: &S, partition: u32, settled: &[Mark]) {
    let remove = |item: &mut SettledItem| item.holds.retain(|hold| !settled.contains(&hold.at));
    if let Err(problem) = try_change(store, partition, remove).await {
        tracing::warn!(error = &problem as &dyn std::error::Error, partition, "settled holds were not taken off");
    }
}

/// Notes the records that are reported as unsettled and takes off those that settled. Must be done before the batch is answered;
/// an error means that the whole batch must be given back, which keeps the order by itself.
pub(crate) async fn update<S: StateStore, C: Clock>(
    store: &S,
    clock: &C,
    slices: &[Slice],
    works: &[Work],
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
    if slices_by_partition.is_empty() {
        return Ok(());
    }
    let owners: HashMap<Position, &Work> = works.iter().map(|work| (work.position(), work)).collect();
    for (partition, indexes) in slices_by_partition {
        let changes: Vec<(Mark, Option<Hold>)> = indexes
            .iter()
            .flat_map(|&index| slices[index].marks.iter().map(move |&at| (index, at)))
            .map(|(index, at)| {
                let position = (index, at.offset);
                let owner = || {
                    let work = owners.get(&position)?;
                    Some(Owner { user: work.transaction.user_id.clone(), digest: work.digest })
                };
                (at, unsettled.contains(&position).then(|| Hold { at, owner: owner() }))
            })
            .collect();
        update_partition(store, clock, partition, &changes).await?;
    }
    Ok(())
}

async fn update_partition<S: StateStore, C: Clock>(
    store: &S,
    clock: &C,
    partition: u32,
    changes: &[(Mark, Option<Hold>)],
) -> Result<(), StoreError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let problem = match try_change(store, partition, |item| apply(item, changes)).await {
            Ok(true) => return Ok(()),
            Ok(false) => StoreError::OutOfTime,
            Err(problem) => problem,
        };
        if attempt == ATTEMPTS {
            return Err(problem);
        }
        clock.pause(PAUSE).await;
    }
}

/// Per record either its hold, or none to take a hold off.
fn apply(item: &mut SettledItem, changes: &[(Mark, Option<Hold>)]) {
    for (at, hold) in changes {
        let held = item.holds.iter().position(|hold| hold.at == *at);
        match (hold, held) {
            // What the noted mark covers was settled before: an invocation that lives on after its batch cannot unsettle it.
            (Some(hold), None) if !item.mark.is_some_and(|mark| covers(mark, *at)) => item.holds.push(hold.clone()),
            (None, Some(place)) => {
                item.holds.swap_remove(place);
            }
            (Some(_), _) | (None, None) => {}
        }
    }
}

fn covers(mark: Mark, at: Mark) -> bool {
    at.offset < mark.offset && at.timestamp <= mark.timestamp
}

/// Returns whether the item says what it must.
async fn try_change<S: StateStore>(
    store: &S,
    partition: u32,
    change: impl FnOnce(&mut SettledItem),
) -> Result<bool, StoreError> {
    let (expected, mut item) = match store.read_settled(partition).await? {
        Some(Versioned { version, item }) => (Some(version), item),
        None => (None, SettledItem::default()),
    };
    let before = item.holds.clone();
    change(&mut item);
    if item.holds == before {
        return Ok(true);
    }
    match store.commit_settled(Write { key: partition, expected, item }).await {
        Commit::Done => Ok(true),
        Commit::Lost(_) => Ok(false),
        Commit::Failed(problem) => Err(problem),
    }
}
