//! What makes a decision happen once: a ring of remembered decisions per user, and eviction floors below which every record
//! is complete.
//!
//! A decision stays in the ring *with its full evidence* until the source's own order proves that it was published; it then
//! shrinks, and outside the promised window ([`RingSize`]) it may leave, raising the floor of its partition. No proof goes by age.

use std::collections::BTreeMap;

use crate::decay::{DAY_MS, HOUR_MS};
use crate::decision::{Decision, Outcome};
use crate::identity::{ContentDigest, TransactionDigest};
use crate::transaction::Millis;

/// What a ring keeps beyond what may be unpublished: the promised window for a producer's duplicates, and its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize {
    /// The user's newest decisions, whatever their age and partition.
    pub newest: usize,
    /// Of a hot user also the newest decisions in each partition, as long as they are recent. A duplicate has the key of its original,
    /// so it comes in the same partition, behind it, whatever the other partitions have run ahead meanwhile.
    pub newest_in_partition: usize,
    /// Hot is who has more than `newest` decisions within this time before the newest record at hand; others pay nothing.
    pub hot_within_ms: i64,
    /// Recent is what is at most this much older, by the broker's time, than the newest record at hand.
    pub recent_ms: i64,
    /// A record older than this, by the broker's time, is not delivered any more: the mapping's largest age of a record, and a margin
    /// for clocks.
    pub delivered_within_ms: i64,
    /// Decisions at most; a user with more of them unpublished is retried until some are published.
    pub most: usize,
}

impl RingSize {
    /// 1,024 full entries are about 300 KB of the 400 KB that a DynamoDB item may have.
    pub const DEFAULT: Self = Self {
        newest: 16,
        newest_in_partition: 8,
        hot_within_ms: 10_000,
        recent_ms: 60_000,
        delivered_within_ms: 6 * HOUR_MS + 600_000,
        most: 1024,
    };

    /// Entries that are kept at most for being recent in their partition: whatever the number of partitions, the window alone
    /// never fills a ring.
    fn recent_max(self) -> usize {
        self.most / 4
    }
}

/// A lower offset whose time is later by more than this belongs to a recreated topic; less is another broker's clock.
pub const RECREATED_AFTER_MS: i64 = 10_000;
/// An eviction floor may go when its partition has been silent for the user this long: longer than the 14 days for which dead letters
/// are kept, after which nothing can be delivered again but by an operator's rewind.
pub const EVICTION_FLOOR_SILENCE_MS: i64 = 15 * DAY_MS;

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
    /// Counted anew in a recreated topic.
    pub offset: u64,
    /// The broker's time of the record there.
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

    /// The mark that reaches all that `current` and `to` reach of the later topic of the two: what is remembered is handled in any
    /// order, and a leader's clock may be a little behind. Of two topics of one name the earlier is gone, and never mixes in.
    fn joined(current: Option<Mark>, to: Mark) -> Mark {
        match current {
            None => to,
            Some(current) if current.outlives(to) => current,
            Some(current) if to.outlives(current) => to,
            Some(current) => {
                Mark { offset: to.offset.max(current.offset), timestamp: to.timestamp.max(current.timestamp) }
            }
        }
    }

    /// Whether a record here comes after one at `before`: further on in the topic, or in a later topic of the same name.
    pub fn is_after(self, before: Mark) -> bool {
        self.offset > before.offset || self.is_recreated(before)
    }

    /// Whether `at` belongs to an earlier topic of the same name, which is gone.
    fn outlives(self, at: Mark) -> bool {
        self.is_recreated(at) && at.offset >= self.offset
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

/// Committed marks: per partition the first position that is not known to be committed. Everything below was decided and published,
/// or dead-lettered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommittedMarks(BTreeMap<u32, Mark>);

impl CommittedMarks {
    /// Takes a partition's mark as it was read or proved. Marks never move back.
    pub fn raise(&mut self, partition: u32, to: Mark) {
        let mark = Mark::raised(self.0.get(&partition).copied(), to);
        self.0.insert(partition, mark);
    }

    /// Whether the record at `at` is proved to be committed.
    pub fn covers(&self, at: Coordinates) -> bool {
        self.0.get(&at.partition).is_some_and(|mark| at.offset < mark.offset && at.timestamp <= mark.timestamp)
    }

    /// Whether the record at `at` belongs to a topic that is gone, by more than `by_ms`, so that no mark will ever cover it.
    pub fn outlives(&self, at: Coordinates, by_ms: i64) -> bool {
        let mark = self.0.get(&at.partition);
        mark.is_some_and(|mark| mark.outlives(at.into()) && mark.timestamp.since(at.timestamp) > by_ms)
    }

    /// Where a record that is handled now must be taken to stand, so that only a later mark covers it.
    fn beyond(&self, at: Coordinates) -> Coordinates {
        match self.0.get(&at.partition) {
            Some(mark) if self.covers(at) => Coordinates { offset: mark.offset, timestamp: mark.timestamp, ..at },
            _ => at,
        }
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
    /// 48 bits of the decision's id.
    pub digest: TransactionDigest,
    /// What it was about; none in an entry of an earlier release.
    pub content: Option<ContentDigest>,
    /// Every partition that delivered it, with the position there that must be passed before the decision is proved published:
    /// the record's own, or a later one (see [`Ledger::record`]). Usually one, more for a producer's duplicates.
    pub coordinates: Vec<Coordinates>,
    /// The decision's, kept when the evidence is gone.
    pub outcome: Outcome,
    /// The score; kept to 1/65,535 once the evidence is gone.
    pub score: f32,
    /// The whole decision while it may be unpublished.
    pub decision: Option<Box<Decision>>,
}

impl Entry {
    /// Proved published; or of a topic that is gone, whose marks will never come, and too old to be delivered from anywhere.
    fn is_proved(&self, committed: &CommittedMarks, size: RingSize) -> bool {
        self.coordinates.iter().all(|&at| committed.covers(at) || committed.outlives(at, size.delivered_within_ms))
    }

    /// Whether the record at `at` is one of those that this entry stands for.
    pub fn knows(&self, at: Coordinates) -> bool {
        self.coordinates.iter().any(|known| known.partition == at.partition && Mark::from(*known).reaches(at))
    }

    /// Returns whether that is something new.
    fn take_coordinates(&mut self, at: Coordinates) -> bool {
        let Some(known) = self.coordinates.iter_mut().find(|known| known.partition == at.partition) else {
            self.coordinates.push(at);
            return true;
        };
        let before = *known;
        let mark = Mark::joined(Some(before.into()), at.into());
        *known = Coordinates { partition: at.partition, offset: mark.offset, timestamp: mark.timestamp };
        *known != before
    }
}

/// A user's ring and eviction floors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// Remembered decisions, oldest first.
    pub entries: Vec<Entry>,
    /// Per partition the highest position among the entries that have left the ring.
    pub eviction_floors: BTreeMap<u32, Mark>,
    /// A partition and its committed mark, as the last writer knew it: it rides along for whoever reads the item next.
    pub proof: Option<(u32, Mark)>,
}

impl Ledger {
    /// The decision for a transaction, if it is remembered.
    pub fn find(&self, digest: TransactionDigest) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.digest == digest)
    }

    /// Whether the record at `at` was decided, published and committed so long ago that its entry has left the ring.
    /// Meaningful only for a record that [`Ledger::find`] does not know.
    pub fn is_below_eviction_floor(&self, at: Coordinates) -> bool {
        self.eviction_floors.get(&at.partition).is_some_and(|floor| floor.reaches(at))
    }

    /// Whether nobody can tell any more what became of the record at `first`, which was given up there: it is at or below the floor,
    /// or the floor is that of a later topic of the same name. Meaningful only for a record that [`Ledger::find`] does not know.
    pub fn cannot_tell(&self, first: Coordinates) -> bool {
        self.eviction_floors
            .get(&first.partition)
            .is_some_and(|floor| floor.reaches(first) || floor.outlives(first.into()))
    }

    /// Whether a decision has left the ring that may stand at `from`, a committed mark, or later in its partition. If not, a record that
    /// [`Ledger::find`] does not know was not decided since that mark was read: whoever decides a record below a mark gives it its place at
    /// the mark, unless a broker's clock says that it came later.
    pub fn may_have_evicted_since(&self, from: Coordinates) -> bool {
        let mark = Mark::from(from);
        self.eviction_floors.get(&from.partition).is_some_and(|floor| {
            // The floor of a topic that was there before that of the mark says nothing about this one.
            floor.timestamp > mark.timestamp || (floor.offset >= mark.offset && !mark.is_recreated(*floor))
        })
    }

    /// Whether another decision would go beyond [`RingSize::most`].
    pub fn is_full(&self, size: RingSize) -> bool {
        self.entries.len() >= size.most
    }

    /// Decisions that may be unpublished.
    pub fn unproved(&self) -> usize {
        self.entries.iter().filter(|entry| entry.decision.is_some()).count()
    }

    /// Remembers a new decision on the record at `at`.
    ///
    /// A mark proves only what was handled before it was known. A record that is decided below its partition's mark therefore
    /// waits for a later mark: its entry stands at the mark of now.
    pub fn record(
        &mut self,
        digest: TransactionDigest,
        content: ContentDigest,
        at: Coordinates,
        decision: Decision,
        committed: &CommittedMarks,
    ) {
        self.entries.push(Entry {
            digest,
            content: Some(content),
            coordinates: vec![committed.beyond(at)],
            outcome: decision.outcome,
            score: decision.score,
            decision: Some(Box::new(decision)),
        });
    }

    /// Takes a record that repeats a remembered transaction. Returns whether the ledger changed: a producer's duplicate keeps the
    /// entry until the duplicate is committed too; a redelivery changes nothing.
    pub fn repeat(&mut self, digest: TransactionDigest, at: Coordinates, committed: &CommittedMarks) -> bool {
        let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.digest == digest) else {
            return false;
        };
        if entry.knows(at) || (entry.decision.is_none() && committed.covers(at)) {
            return false;
        }
        entry.take_coordinates(at)
    }

    /// Shrinks what is proved published, lets of it leave what is outside the promised window, and drops eviction floors of partitions that
    /// have been silent for [`EVICTION_FLOOR_SILENCE_MS`] before `newest`, the broker time of the newest record at hand. Returns whether an
    /// entry shrank or left.
    pub fn compact(&mut self, committed: &CommittedMarks, newest: Millis, size: RingSize) -> bool {
        let before = (self.entries.len(), self.unproved());
        for entry in &mut self.entries {
            if entry.decision.is_some() && entry.is_proved(committed, size) {
                entry.decision = None;
                entry.score = quantized(entry.score);
            }
        }
        if self.entries.len() > size.newest {
            let mut stays = self.promised(newest, size).into_iter();
            let floors = &mut self.eviction_floors;
            self.entries.retain(|entry| {
                if stays.next().unwrap_or(true) || !entry.is_proved(committed, size) {
                    return true;
                }
                for &at in &entry.coordinates {
                    let floor = Mark::joined(floors.get(&at.partition).copied(), at.into());
                    floors.insert(at.partition, floor);
                }
                false
            });
        }
        self.eviction_floors.retain(|_, floor| newest.since(floor.timestamp) <= EVICTION_FLOOR_SILENCE_MS);
        (self.entries.len(), self.unproved()) != before
    }

    /// Per entry whether it is in the promised window.
    fn promised(&self, newest: Millis, size: RingSize) -> Vec<bool> {
        let mut promised = vec![false; self.entries.len()];
        let mut in_partition: BTreeMap<u32, usize> = BTreeMap::new();
        let within = |ms: i64, at: &Coordinates| newest.since(at.timestamp) <= ms;
        let lately =
            self.entries.iter().filter(|entry| entry.coordinates.iter().any(|at| within(size.hot_within_ms, at)));
        let is_hot = lately.count() > size.newest;
        let mut recent = 0;
        for (index, entry) in self.entries.iter().enumerate().rev() {
            let is_among_newest = index + size.newest >= self.entries.len();
            let mut is_recent = false;
            for at in &entry.coordinates {
                let count = in_partition.entry(at.partition).or_default();
                *count += 1;
                is_recent |= is_hot && *count <= size.newest_in_partition && within(size.recent_ms, at);
            }
            is_recent &= recent < size.recent_max();
            recent += usize::from(is_recent);
            promised[index] = is_among_newest || is_recent;
        }
        promised
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
