//! Faults of delivery: what a mapping may do at worst, decided by a source, so that a test or a chaos run can ask for it.
//!
//! Nothing here delivers anything. The poller asks and carries out; without a source it behaves.

use std::collections::BTreeMap;

use super::event::Record;
use super::response::PartialReading;

/// What is wrong with the delivery of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryFault {
    /// Nothing.
    #[default]
    None,
    /// It comes in two halves, one after the other.
    Split,
    /// A second environment gets it at the same time, and nobody reads the second answer: two pollers for a moment.
    Twice,
    /// An earlier batch, complete since, comes beside it, and nobody reads the answer: a poller that was paused.
    WithOldBatch {
        /// Which of the batches that are remembered, modulo their number.
        pick: u64,
    },
    /// A batch that begins in what is complete and ends inside this one comes beside it, and nobody reads the answer: a poller
    /// that started from an older commit.
    WithOverlap,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerFault {
    /// Nothing.
    #[default]
    None,
    /// The batch succeeded and is delivered once more.
    DeliverAgain,
    /// It did not arrive: the invocation counts as failed.
    Lost,
}

/// What came of a delivery whose answer nobody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicateOutcome {
    /// Every record was handled.
    Handled {
        /// The records.
        records: usize,
    },
    /// Some records were reported as batch item failures.
    Reported {
        /// The records.
        records: usize,
        /// How many of them were reported.
        failed: usize,
    },
    /// The invocation failed as a whole.
    Failed {
        /// The records.
        records: usize,
    },
}

/// Decides the faults of a mapping. It is asked on the path of every batch, so it must not block.
pub trait MappingFaultSource: Send + Sync + 'static {
    /// Whether earlier batches are to be kept, so that they can be delivered again.
    fn remembers(&self) -> bool {
        false
    }

    /// Asked before a batch is delivered.
    fn delivery(&self, _records: usize) -> DeliveryFault {
        DeliveryFault::None
    }

    /// Asked when an invocation has answered.
    fn answer(&self) -> AnswerFault {
        AnswerFault::None
    }

    /// Asked when an answer names some records: how it is read.
    fn reading(&self, usual: PartialReading) -> PartialReading {
        usual
    }

    /// Whether a partition is left alone for now.
    fn holds_back(&self, _partition: i32) -> bool {
        false
    }

    /// Told when a delivery has ended whose answer nobody reads.
    fn duplicate_delivery(&self, _fault: DeliveryFault, _outcome: DuplicateOutcome) {}
}

/// No faults at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMappingFaults;

impl MappingFaultSource for NoMappingFaults {}

/// Old batches that are kept, and the newest complete records of each partition.
const OLD_BATCHES: usize = 64;
const TAIL_RECORDS: usize = 6;
/// Complete batches between two that are kept.
const KEEP_EVERY: u64 = 251;

/// What is complete, as far as faults need it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    handled: u64,
    old: Vec<Vec<Record>>,
    tails: BTreeMap<i32, Vec<Record>>,
}

impl Memory {
    /// Notes a batch that was handled whole.
    pub(super) fn handled(&mut self, records: &[Record]) {
        for record in records {
            let tail = self.tails.entry(record.partition).or_default();
            tail.push(record.clone());
            if tail.len() > TAIL_RECORDS {
                tail.remove(0);
            }
        }
        if self.handled.is_multiple_of(KEEP_EVERY) {
            if self.old.len() == OLD_BATCHES {
                self.old.remove(0);
            }
            self.old.push(records.to_vec());
        }
        self.handled += 1;
    }

    /// One of the old batches.
    pub(super) fn old(&self, pick: u64) -> Option<Vec<Record>> {
        let index = usize::try_from(pick).unwrap_or(usize::MAX).checked_rem(self.old.len())?;
        self.old.get(index).cloned()
    }

    /// The newest complete records of the batch's partitions, followed by the first half of what the batch has of each.
    pub(super) fn overlap(&self, batch: &[Record]) -> Option<Vec<Record>> {
        let mut overlapping = Vec::new();
        for records in batch.chunk_by(|a, b| a.partition == b.partition) {
            let Some(first) = records.first() else { continue };
            let tail = self.tails.get(&first.partition)?;
            overlapping.extend(tail.iter().filter(|record| record.offset < first.offset).cloned());
            overlapping.extend_from_slice(&records[..records.len().div_ceil(2)]);
        }
        (overlapping.len() > batch.len().div_ceil(2)).then_some(overlapping)
    }
}
