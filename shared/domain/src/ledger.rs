//! What makes a decision happen once: a ring of remembered decisions per user, and floors below which everything is settled.
//!
//! A decision stays in the ring *with its full evidence* until the source's own order proves that it was published; it then
//! shrinks, and beyond the newest [`RING_MIN`] it may leave, raising the floor of its partition. Nothing here goes by age.

use std::collections::BTreeMap;

use crate::decay::DAY_MS;
use crate::decision::{Decision, Outcome};
use crate::identity::TransactionDigest;
use crate::transaction::Millis;

/// Decisions that the ring remembers at least, whatever their age: the promised window for a producer's duplicates.
pub const RING_MIN: usize = 16;
/// Decisions that the ring holds at most; a user with more of them unpublished is retried until some settle.
/// 1,024 full entries are about 300 KB of the 400 KB that a DynamoDB item may have.
pub const RING_MAX: usize = 1024;
/// A lower offset whose time is later by more than this belongs to a recreated topic; less is another broker's clock.
pub const RECREATED_AFTER_MS: i64 = 10_000;
/// A floor may go when its partition has been silent for the user this long: longer than the 14 days for which parked records
/// are kept, after which nothing can be delivered again but by an operator's rewind.
pub const FLOOR_SILENCE_MS: i64 = 15 * DAY_MS;

/// Where a record stands in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Coordinates {
    /// Partition number.
    pub partition: u32,
    /// Offset in the partition.
    pub offset: u64,
    /// The broker's time of the record.
    pub timestamp: Millis,
}

/// A position in a partition: an offset with its broker time, because a recreated topic counts offsets anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Offset.
    pub offset: u64,
    /// The broker's time.
    pub timestamp: Millis,
}

impl From<Coordinates> for Mark {
    fn from(at: Coordinates) -> Self {
        Self { offset: at.offset, timestamp: at.timestamp }
    }
}

impl Mark {
    /// The mark after `to`: a higher offset raises both parts. Times that are far apart the other way round tell two topics of one
    /// name: the later one's mark stays or replaces. Never a comparison of the pair as a whole: a new leader's clock may be a
    /// little behind.
    pub fn raised(current: Option<Mark>, to: Mark) -> Mark {
        match current {
            None => to,
            Some(current) if to.offset < current.offset => {
                if to.is_recreated(current) {
                    to
                } else {
                    current
                }
            }
            Some(current) if current.is_recreated(to) => current,
            Some(current) => Mark { offset: to.offset, timestamp: to.timestamp.max(current.timestamp) },
        }
    }

    /// The mark that reaches all that `current` and `to` reach. What left a ring is settled in any order: after a topic was recreated,
    /// an entry of the old one may leave behind entries of the new one, and those that follow must still be reached.
    fn joined(current: Option<Mark>, to: Mark) -> Mark {
        match current {
            None => to,
            Some(current) if to.offset < current.offset && to.is_recreated(current) => to,
            Some(current) => {
                Mark { offset: to.offset.max(current.offset), timestamp: to.timestamp.max(current.timestamp) }
            }
        }
    }

    /// Whether this mark belongs to a topic that was made later than that of `before`.
    fn is_recreated(self, before: Mark) -> bool {
        self.timestamp.since(before.timestamp) > RECREATED_AFTER_MS
    }

    /// Whether `at` is at or below this mark, in offset *and* time.
    pub fn reaches(self, at: Coordinates) -> bool {
        at.offset <= self.offset && at.timestamp <= self.timestamp
    }
}

/// Per partition the first offset that is not known to be settled: everything below was decided and published, or parked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled(BTreeMap<u32, Mark>);

impl Settled {
    /// Takes a partition's mark as it was read or noted. Marks never move back.
    pub fn raise(&mut self, partition: u32, to: Mark) {
        let mark = Mark::raised(self.0.get(&partition).copied(), to);
        self.0.insert(partition, mark);
    }

    /// Whether the record at `at` is proved settled.
    pub fn covers(&self, at: Coordinates) -> bool {
        self.0.get(&at.partition).is_some_and(|mark| at.offset < mark.offset && at.timestamp <= mark.timestamp)
    }

    /// The mark of a partition.
    pub fn mark(&self, partition: u32) -> Option<Mark> {
        self.0.get(&partition).copied()
    }

    /// Partitions that have a mark.
    pub fn partitions(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.keys().copied()
    }
}

/// A remembered decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Which transaction.
    pub digest: TransactionDigest,
    /// Every partition that delivered it, with the highest position there: usually one, more for a producer's duplicates.
    pub coordinates: Vec<Coordinates>,
    /// The answer.
    pub outcome: Outcome,
    /// The score; kept to 1/65,535 once the evidence is gone.
    pub score: f32,
    /// The whole decision while it may be unpublished.
    pub decision: Option<Box<Decision>>,
}

impl Entry {
    fn is_settled(&self, settled: &Settled) -> bool {
        self.coordinates.iter().all(|&at| settled.covers(at))
    }

    /// Whether the record at `at` is one of those that this entry stands for.
    pub fn knows(&self, at: Coordinates) -> bool {
        self.coordinates.iter().any(|known| known.partition == at.partition && Mark::from(*known).reaches(at))
    }

    fn take_coordinates(&mut self, at: Coordinates) {
        match self.coordinates.iter_mut().find(|known| known.partition == at.partition) {
            Some(known) => {
                let mark = Mark::joined(Some(Mark::from(*known)), at.into());
                *known = Coordinates { partition: at.partition, offset: mark.offset, timestamp: mark.timestamp };
            }
            None => self.coordinates.push(at),
        }
    }
}

/// A user's ring and floors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// Remembered decisions, oldest first.
    pub entries: Vec<Entry>,
    /// Per partition the highest position among the entries that have left the ring.
    pub floors: BTreeMap<u32, Mark>,
    /// A partition and its settled mark, as the last writer knew it: it rides along for whoever reads the item next.
    pub proof: Option<(u32, Mark)>,
}

impl Ledger {
    /// The decision for a transaction, if it is remembered.
    pub fn find(&self, digest: TransactionDigest) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.digest == digest)
    }

    /// Whether the record at `at` was decided, published and settled so long ago that its entry has left the ring.
    /// Meaningful only for a record that [`Ledger::find`] does not know.
    pub fn is_below_floor(&self, at: Coordinates) -> bool {
        self.floors.get(&at.partition).is_some_and(|floor| floor.reaches(at))
    }

    /// Whether another decision would go beyond [`RING_MAX`].
    pub fn is_full(&self) -> bool {
        self.entries.len() >= RING_MAX
    }

    /// Decisions that may be unpublished.
    pub fn unproved(&self) -> usize {
        self.entries.iter().filter(|entry| entry.decision.is_some()).count()
    }

    /// Remembers a new decision.
    pub fn record(&mut self, digest: TransactionDigest, at: Coordinates, decision: Decision) {
        self.entries.push(Entry {
            digest,
            coordinates: vec![at],
            outcome: decision.outcome,
            score: decision.score,
            decision: Some(Box::new(decision)),
        });
    }

    /// Takes a record that repeats a remembered transaction. Returns whether the ledger changed: a producer's duplicate keeps the
    /// entry until the duplicate is settled too; a redelivery changes nothing.
    pub fn repeat(&mut self, digest: TransactionDigest, at: Coordinates, settled: &Settled) -> bool {
        let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.digest == digest) else {
            return false;
        };
        if entry.knows(at) || (entry.decision.is_none() && settled.covers(at)) {
            return false;
        }
        entry.take_coordinates(at);
        true
    }

    /// Shrinks what is proved settled, lets the oldest of it leave beyond [`RING_MIN`], and drops floors of partitions that have
    /// been silent for [`FLOOR_SILENCE_MS`] before `newest`, the broker time of the newest record at hand.
    pub fn compact(&mut self, settled: &Settled, newest: Millis) {
        for entry in &mut self.entries {
            if entry.decision.is_some() && entry.is_settled(settled) {
                entry.decision = None;
                entry.score = quantized(entry.score);
            }
        }
        while self.entries.len() > RING_MIN {
            let leaving =
                self.entries[..self.entries.len() - RING_MIN].iter().position(|entry| entry.is_settled(settled));
            let Some(index) = leaving else { break };
            for at in self.entries.remove(index).coordinates {
                let floor = Mark::joined(self.floors.get(&at.partition).copied(), at.into());
                self.floors.insert(at.partition, floor);
            }
        }
        self.floors.retain(|_, floor| newest.since(floor.timestamp) <= FLOOR_SILENCE_MS);
    }
}

/// The score as a shrunk entry keeps it.
pub fn quantized(score: f32) -> f32 {
    f32::from(score_steps(score)) / f32::from(u16::MAX)
}

/// The score in steps of 1/65,535.
pub fn score_steps(score: f32) -> u16 {
    (score.clamp(0.0, 1.0) * f32::from(u16::MAX)).round() as u16
}
