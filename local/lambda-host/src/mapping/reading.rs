//! The partitions as they are read: what has come, how far that is, and what is committed.

mod questions;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use tokio::task::JoinSet;

use super::error::MappingError;
use super::look::Look;
use super::message::encode;
use super::partition::Partition;
use super::source::Source;
use super::stats::{Gauges, Shared};
pub(super) use questions::Answer;
use questions::TOPIC_LOOK;

/// Bytes of waiting records over all partitions; each partition may have its share. Beside it librdkafka holds up to 16 MB.
const BUFFER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Time between two commits.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);

/// The reading side of one mapping.
pub(super) struct Reading {
    source: Arc<Source>,
    shared: Arc<Shared>,
    partitions: Vec<Partition>,
    gauges: Gauges,
    questions: JoinSet<Answer>,
    topic_look: Look,
    client_look: Look,
    ranges_look: Look,
    /// The broker does not have an offset that was asked for.
    out_of_range: bool,
    /// Nothing is taken from here on.
    cut: Option<Vec<i64>>,
    committed: Vec<i64>,
    commit_not_before: Instant,
}

impl Reading {
    pub(super) fn new(source: Arc<Source>, starts: &[i64]) -> Reading {
        let shared = Arc::clone(source.shared());
        let mut reading = Reading {
            gauges: shared.gauges(),
            shared,
            source,
            partitions: Vec::new(),
            questions: JoinSet::new(),
            topic_look: Look::due_in(TOPIC_LOOK),
            client_look: Look::due_in(Duration::ZERO),
            ranges_look: Look::due_in(Duration::ZERO),
            out_of_range: false,
            cut: None,
            committed: Vec::new(),
            commit_not_before: Instant::now(),
        };
        reading.take_partitions(starts);
        reading
    }

    pub(super) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    pub(super) fn known(&self) -> &[Partition] {
        &self.partitions
    }

    pub(super) fn partitions(&mut self) -> &mut [Partition] {
        &mut self.partitions
    }

    /// Adds partitions behind those that are known.
    pub(super) fn take_partitions(&mut self, starts: &[i64]) {
        let first = i32::try_from(self.partitions.len()).unwrap_or(i32::MAX);
        self.partitions.extend((first..).zip(starts).map(|(id, start)| Partition::new(id, *start)));
        if let Some(ends) = self.cut.take() {
            self.cut(ends);
        }
        self.gauges = self.shared.gauges();
        // Unlike any position: where the group starts is committed too, so that a restart before the first batch keeps it.
        self.committed.resize(self.partitions.len(), -1);
    }

    /// Forgets everything that was read.
    pub(super) fn forget(&mut self) {
        self.partitions.clear();
        self.committed.clear();
        self.topic_look = Look::due_in(TOPIC_LOOK);
        self.client_look = Look::due_in(Duration::ZERO);
        self.ranges_look = Look::due_in(Duration::ZERO);
        self.out_of_range = false;
    }

    /// Takes nothing from these offsets on; returns where that is, by partition.
    pub(super) fn cut(&mut self, ends: Vec<i64>) -> Vec<i64> {
        let end = |index: usize| ends.get(index).copied().unwrap_or_default();
        let partitions = self.partitions.iter_mut().enumerate();
        let mut cuts: Vec<i64> = partitions.map(|(index, partition)| partition.cut(end(index))).collect();
        // Those that have not joined yet.
        cuts.extend(ends.iter().skip(cuts.len()));
        self.cut = Some(ends);
        cuts
    }

    /// What is below these offsets, by partition, is delivered as soon as all of it is read.
    pub(super) fn hurry(&mut self, ends: &[i64]) {
        self.partitions.iter_mut().zip(ends).for_each(|(partition, end)| partition.hurry(*end));
    }

    pub(super) fn read(&mut self, message: Result<BorrowedMessage<'_>, KafkaError>) {
        let message = match message {
            Ok(message) => message,
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                self.out_of_range = true;
                return;
            }
            Err(error) => {
                self.shared.counters().totals.poll_errors += 1;
                // The client's error callback had it first, and said it with its reason.
                tracing::debug!(topic = self.source.topic(), %error, "reading from kafka");
                return;
            }
        };
        let index = usize::try_from(message.partition()).unwrap_or(usize::MAX);
        let Some(partition) = self.partitions.get_mut(index) else {
            return;
        };
        let offset = message.offset();
        if !partition.expects(offset) {
            return;
        }
        if let Some(gauge) = self.gauges.get(index) {
            gauge.read_to(offset + 1);
        }
        partition.read(offset, encode(&message));
    }

    fn partition_bytes_max(&self) -> usize {
        BUFFER_BYTES_MAX / self.partitions.len().max(1)
    }

    pub(super) fn pause_full_partitions(&mut self) {
        let most = self.partition_bytes_max();
        for partition in self.partitions.iter_mut().filter(|partition| !partition.paused) {
            if partition.buffered_bytes() > most {
                partition.paused = true;
                self.source.set_paused(partition.id, true);
            }
        }
    }

    pub(super) fn resume_emptied_partitions(&mut self) {
        let most = self.partition_bytes_max();
        for partition in self.partitions.iter_mut().filter(|partition| partition.paused) {
            if partition.buffered_bytes() < most / 2 {
                partition.paused = false;
                self.source.set_paused(partition.id, false);
            }
        }
    }

    /// Shows how far the partitions are.
    pub(super) fn publish(&self) {
        for (partition, gauge) in self.partitions.iter().zip(self.gauges.iter()) {
            gauge.position.store(partition.position(), Ordering::Relaxed);
        }
        self.shared.counters().totals.buffered_bytes = self.partitions.iter().map(Partition::buffered_bytes).sum();
    }

    fn is_dirty(&self) -> bool {
        self.partitions.iter().zip(&self.committed).any(|(partition, committed)| partition.position() != *committed)
    }

    fn positions(&self) -> Vec<i64> {
        self.partitions.iter().map(Partition::position).collect()
    }

    pub(super) fn commit_when_due(&mut self) {
        if self.shared.take_commit_failed() {
            self.committed.fill(-1);
        }
        let now = Instant::now();
        if self.commit_not_before <= now && self.is_dirty() {
            self.commit_not_before = now + COMMIT_INTERVAL;
            self.committed = self.positions();
            self.source.commit_soon(&self.committed);
        }
    }

    pub(super) async fn commit(&mut self) -> Result<(), MappingError> {
        if self.partitions.is_empty() {
            return Ok(());
        }
        self.committed = self.positions();
        self.source.commit(&self.committed).await
    }

    pub(super) async fn commit_reporting(&mut self) {
        if let Err(error) = self.commit().await {
            tracing::warn!(topic = self.source.topic(), %error, "offsets were not committed; they will be");
            self.shared.commit_failed();
        }
    }
}
