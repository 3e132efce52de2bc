//! The partitions as they are read: what has come, how far that is, and what is asked of the broker and the client meanwhile.
//!
//! Questions run beside the mapping's task and their answers come back as values.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use rdkafka::Message as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use tokio::task::JoinSet;

use super::error::{MappingError, came_back};
use super::look::Look;
use super::message::encode;
use super::partition::Partition;
use super::source::Source;
use super::stats::{Gauges, Shared};

/// Bytes of waiting records over all partitions; each partition may have its share. Beside it librdkafka holds up to 16 MB.
const BUFFER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Time between two commits.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// Between two looks at the topic: where it ends, and whether it has further partitions.
const TOPIC_LOOK: Duration = Duration::from_secs(1);
/// Between two questions to the client how far it is, while there is more on the topic than it has handed out.
const CLIENT_LOOK: Duration = Duration::from_millis(100);
/// A reader that stands still for this long although records wait is started anew. Every question to the broker has been answered or
/// given up by then.
const STILL_MAX: Duration = Duration::from_secs(15);

/// An answer to a question.
pub(super) enum Answer {
    /// Where the partitions end, and where those begin that are new.
    Topic(Result<(Vec<i64>, Vec<i64>), MappingError>),
    /// How far the client is.
    Client(Result<Vec<Option<i64>>, MappingError>),
    /// What the partitions hold, and where reading stood when that was asked.
    Ranges {
        read_next: Vec<i64>,
        ranges: Result<Vec<(i64, i64)>, MappingError>,
    },
    ReadAnew(Result<(), MappingError>),
}

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

    /// When there is something to ask or to commit.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let commit = self.is_dirty().then_some(self.commit_not_before);
        let client = if self.is_behind() { self.client_look.due() } else { None };
        let ranges = if self.out_of_range { self.ranges_look.due() } else { None };
        [commit, self.topic_look.due(), client, ranges].into_iter().flatten().min()
    }

    pub(super) fn ask_what_is_due(&mut self) {
        self.look_at_the_topic();
        self.look_behind_the_last_records();
        self.look_for_what_is_gone();
    }

    /// The next answer; waits for ever while nothing was asked.
    pub(super) async fn next_answer(&mut self) -> Option<Answer> {
        match self.questions.join_next().await {
            Some(answer) => came_back(answer),
            None => std::future::pending().await,
        }
    }

    /// Waits for the answers to all questions.
    pub(super) async fn hear_the_rest(&mut self) {
        while let Some(answer) = self.questions.join_next().await {
            self.hear(came_back(answer));
        }
    }

    pub(super) fn hear(&mut self, answer: Option<Answer>) {
        match answer {
            Some(Answer::Topic(look)) => self.looked(look),
            Some(Answer::Client(positions)) => self.read_up_to(positions),
            Some(Answer::Ranges { read_next, ranges }) => self.skip_what_is_gone(&read_next, ranges),
            // The reader stands still, which will be seen.
            Some(Answer::ReadAnew(Err(error))) => {
                tracing::warn!(topic = self.source.topic(), %error, "a partition's reader was not started anew");
            }
            Some(Answer::ReadAnew(Ok(()))) | None => {}
        }
    }

    /// Asks the broker now and then where the topic ends, and whether it has further partitions. The client alone would not do: it
    /// learns an end from the answer to a fetch, and none comes while it is held back or stands still.
    fn look_at_the_topic(&mut self) {
        if !self.topic_look.begin() {
            return;
        }
        let (source, known) = (Arc::clone(&self.source), self.partitions.len());
        let look = async move {
            let ends = source.ends().await?;
            let starts = if ends.len() > known { source.join(known..ends.len()).await? } else { Vec::new() };
            Ok((ends, starts))
        };
        self.questions.spawn(look.map(Answer::Topic));
    }

    fn looked(&mut self, look: Result<(Vec<i64>, Vec<i64>), MappingError>) {
        self.topic_look = Look::due_in(TOPIC_LOOK);
        for ((what, error), times) in self.shared.over() {
            tracing::warn!(topic = self.source.topic(), what, error, times, "over: it has not come again");
        }
        let (ends, starts) = match look {
            Ok(look) => look,
            // The next look asks again.
            Err(error) => {
                tracing::debug!(topic = self.source.topic(), %error, "the topic's ends were not told");
                return;
            }
        };
        self.wake_readers(&ends);
        if !starts.is_empty() {
            tracing::info!(topic = self.source.topic(), added = starts.len(), "the topic has further partitions");
            self.take_partitions(&starts);
        }
    }

    /// Starts the readers anew that stand still although the broker answers and has records for them.
    fn wake_readers(&mut self, ends: &[i64]) {
        let now = Instant::now();
        for (partition, end) in self.partitions.iter_mut().zip(ends) {
            let still = partition.still_for(*end, now);
            if still < STILL_MAX {
                continue;
            }
            let (id, read_next) = (partition.id, partition.read_next());
            tracing::warn!(
                topic = self.source.topic(),
                partition = id,
                read_next,
                end,
                still_s = still.as_secs(),
                "nothing comes from a partition although records wait; its reader is started anew"
            );
            self.shared.counters().totals.restarted_readers += 1;
            partition.restarted();
            read_anew(&mut self.questions, &self.source, id, read_next);
        }
    }

    /// Asks the client how far it is, where the topic goes on behind the last record that it handed out.
    fn look_behind_the_last_records(&mut self) {
        if !self.is_behind() || !self.client_look.begin() {
            return;
        }
        let (source, partitions) = (Arc::clone(&self.source), self.partitions.len());
        self.questions.spawn(async move { Answer::Client(source.read_up_to(partitions).await) });
    }

    fn is_behind(&self) -> bool {
        let ends = self.gauges.iter().map(|gauge| gauge.end.load(Ordering::Relaxed));
        self.partitions.iter().zip(ends).any(|(partition, end)| partition.expects_up_to(end))
    }

    fn read_up_to(&mut self, positions: Result<Vec<Option<i64>>, MappingError>) {
        self.client_look = Look::due_in(CLIENT_LOOK);
        match positions {
            // What the client has handed out by then was read before this answer: both come to this task.
            Ok(positions) => self.partitions.iter_mut().zip(positions).for_each(|(partition, position)| {
                if let Some(position) = position {
                    partition.read_up_to(position);
                }
            }),
            Err(error) => {
                tracing::debug!(topic = self.source.topic(), %error, "the client did not say how far it is")
            }
        }
    }

    /// Asks what the partitions hold when the broker did not have what was asked for.
    fn look_for_what_is_gone(&mut self) {
        if !self.out_of_range || !self.ranges_look.begin() {
            return;
        }
        self.out_of_range = false;
        let source = Arc::clone(&self.source);
        let read_next: Vec<i64> = self.partitions.iter().map(Partition::read_next).collect();
        self.questions.spawn(async move {
            let ranges = source.ranges(read_next.len()).await;
            Answer::Ranges { read_next, ranges }
        });
    }

    fn skip_what_is_gone(&mut self, asked_at: &[i64], ranges: Result<Vec<(i64, i64)>, MappingError>) {
        self.ranges_look = Look::due_in(CLIENT_LOOK);
        let ranges = match ranges {
            Ok(ranges) => ranges,
            Err(error) => {
                tracing::debug!(topic = self.source.topic(), %error, "what the partitions hold was not told");
                self.out_of_range = true;
                return;
            }
        };
        let asked = asked_at.iter().zip(&ranges);
        for (partition, (asked_at, (first, end))) in self.partitions.iter_mut().zip(asked) {
            let (id, read_next) = (partition.id, partition.read_next());
            if (*first..=*end).contains(&read_next) {
                continue;
            }
            // What the client had already came meanwhile, and there may be more of it.
            if read_next != *asked_at {
                self.out_of_range = true;
                continue;
            }
            if read_next < *first {
                self.source.skip(id, read_next..*first);
                partition.read_up_to(*first);
            } else {
                tracing::warn!(
                    topic = self.source.topic(),
                    partition = id,
                    read_next,
                    end,
                    "the partition ends before what was read of it: it was recreated or cut; starting at its first record"
                );
                partition.begin_anew(*first);
            }
            read_anew(&mut self.questions, &self.source, id, *first);
        }
    }
}

fn read_anew(questions: &mut JoinSet<Answer>, source: &Arc<Source>, partition: i32, offset: i64) {
    let source = Arc::clone(source);
    questions.spawn(async move { Answer::ReadAnew(source.read_anew(partition, offset).await) });
}
