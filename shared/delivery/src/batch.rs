//! A batch on its way, and its answer.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroUsize;
use std::slice::Chunks;
use std::time::Duration;

use centinela_contracts::batch_response::KafkaBatchResponse;
use centinela_contracts::dead_letter_v1::{DeadLetter, DeadLetterReason};
use centinela_contracts::kafka_event::Record;
use centinela_domain::{Coordinates, Mark, Millis};

use crate::intake;

/// A record of a batch: the place of its partition in the batch, and its offset.
pub type Position = (usize, u64);

/// Keys of a batch, each with the indexes of its records in partition and offset order.
pub type Groups<K> = Vec<(K, Vec<usize>)>;

/// Until when a batch has time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// After this nothing new is started.
    pub work: Millis,
    /// Until this it is written down what could not be done.
    pub answer: Millis,
}

/// One partition of a batch.
#[derive(Debug)]
pub struct Slice {
    /// Under which the mapping knows the partition.
    pub key: String,
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: u32,
    /// The first record, if its place can be read: the mapping has committed everything below it.
    pub first: Option<Mark>,
    /// Every record's place. A time that cannot be read is 0.
    pub marks: Vec<Mark>,
}

/// A record that could be decoded.
#[derive(Debug)]
pub struct Delivered<T> {
    /// The place of its partition in [`Batch::slices`].
    pub partition_index: usize,
    /// Where the record stands now.
    pub at: Coordinates,
    /// Where it stood when it was first delivered; differs only for a redriven record.
    pub source: Coordinates,
    /// The committed mark after which a redrive found no decision on the record, proved with the deployment's key; only of a redriven
    /// record.
    pub verified: Option<Coordinates>,
    /// What it says.
    pub content: T,
    /// As it was delivered, in case it must be dead-lettered.
    pub(crate) record: Record,
}

impl<T> Delivered<T> {
    /// Where it is in the batch.
    pub fn position(&self) -> Position {
        (self.partition_index, self.at.offset)
    }

    /// Whether it was given up by the mapping once and comes from the dead letters.
    pub fn is_redriven(&self) -> bool {
        self.source != self.at
    }
}

/// A record to dead-letter. Without a position it cannot be reported alone.
#[derive(Debug)]
pub(crate) struct DueLetter {
    pub letter: DeadLetter,
    pub position: Option<Position>,
}

/// A batch on its way through a function.
#[derive(Debug)]
pub struct Batch<T> {
    /// Its partitions.
    pub slices: Vec<Slice>,
    /// The records that could be decoded, each once.
    pub records: Vec<Delivered<T>>,
    /// How many records were delivered.
    pub size: usize,
    /// Until when there is time.
    pub deadline: Deadline,
    pub(crate) dead: Vec<DueLetter>,
    pub(crate) dead_lettered: usize,
    pub(crate) undelivered: HashSet<Position>,
    pub(crate) failed: BTreeSet<Position>,
    pub(crate) refused: bool,
}

impl<T> Batch<T> {
    /// These records are to be delivered again.
    pub fn fail(&mut self, indexes: impl IntoIterator<Item = usize>) {
        for index in indexes {
            self.failed.insert(self.records[index].position());
        }
    }

    /// Whether the record at this place is to be delivered again.
    pub fn is_failed(&self, position: Position) -> bool {
        self.failed.contains(&position)
    }

    /// This record can never be handled: it goes to the dead letters before the batch is answered.
    pub fn dead_letter(&mut self, index: usize, code: DeadLetterReason, reason: String, now: Millis) {
        let record = &self.records[index];
        let topic = &self.slices[record.partition_index].topic;
        let letter = *intake::letter(record.record.clone(), topic, code, reason, now);
        self.dead.push(DueLetter { letter, position: Some(record.position()) });
    }

    /// These records wait for something that a person has to repair: they are to be delivered again, and the ones that have waited for
    /// longer than `patience`, by the broker's time, are dead-lettered, to be redriven after the repair. Returns how many.
    pub fn await_repair(
        &mut self,
        indexes: impl IntoIterator<Item = usize>,
        patience: Duration,
        now: Millis,
        code: DeadLetterReason,
        reason: &str,
    ) -> usize {
        let mut given_up = 0;
        for index in indexes {
            if now.since(self.records[index].at.timestamp) > i64::try_from(patience.as_millis()).unwrap_or(i64::MAX) {
                self.dead_letter(index, code, reason.to_owned(), now);
                given_up += 1;
            } else {
                self.fail([index]);
            }
        }
        given_up
    }

    /// Whether the record at this place was to be dead-lettered and could not be.
    pub fn is_undelivered(&self, position: Position) -> bool {
        self.undelivered.contains(&position)
    }

    /// Somebody refuses to do a part, at once and probably again. When nothing of the batch could be done, its answer waits a while.
    pub fn note_refusal(&mut self, is_refusal: bool) {
        self.refused |= is_refusal;
    }

    /// The records by a key that they have, in the order of the keys.
    pub fn by_key<K: Ord + Clone>(&self, key: impl Fn(&T) -> &K) -> Groups<K> {
        let mut groups: BTreeMap<&K, Vec<usize>> = BTreeMap::new();
        for (index, record) in self.records.iter().enumerate() {
            groups.entry(key(&record.content)).or_default().push(index);
        }
        let mut groups: Groups<K> = groups.into_iter().map(|(key, indexes)| (key.clone(), indexes)).collect();
        for (_, indexes) in &mut groups {
            indexes.sort_by_key(|&index| (self.records[index].at.partition, self.records[index].at.offset));
        }
        groups
    }

    pub(crate) fn response(&self) -> KafkaBatchResponse {
        let failures = self.failed.iter().map(|&(index, offset)| (self.slices[index].key.clone(), offset));
        KafkaBatchResponse { failures: failures.collect() }
    }
}

/// How many keys are worked on at a time.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// A batch with more keys than this goes in rounds; the others are read and written at once, for a round costs the time of a read
    /// and a write.
    pub keys_at_once: usize,
    /// Keys of a round: the fewer are between their read and their write at a time, the fewer races environments lose to each other.
    pub keys_in_a_round: NonZeroUsize,
}

impl Rounds {
    /// The rounds of these keys.
    pub fn of<K>(self, groups: &[(K, Vec<usize>)]) -> Chunks<'_, (K, Vec<usize>)> {
        let one = groups.len().max(1);
        groups.chunks(if groups.len() <= self.keys_at_once { one } else { self.keys_in_a_round.get() })
    }
}
