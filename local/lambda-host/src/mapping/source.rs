//! The reading side of Kafka: one client, all partitions assigned by hand, offsets kept under the consumer group's name.
//!
//! Assigning by hand leaves out the group's join protocol (seconds on some brokers); a mapping is the group's only member.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer, ConsumerContext, MessageStream, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;

use super::stats::{Shared, Skipped};
use super::{KafkaMappingSpec, MappingError, StartingPosition};
use centinela_kafka_client::{Parting, edges, iam_token};

/// Patience with the broker for metadata, offsets and the last commit.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two questions to a cluster that is still starting.
const START_PAUSE: Duration = Duration::from_millis(100);

/// Client settings that a caller may override. The group never joins, so no poll interval applies. An offset that the broker does not
/// have is an error, because what retention took unread must be told. A broker that is silent for ten seconds is asked again.
const CONSUMER_SETTINGS: [(&str, &str); 12] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("socket.timeout.ms", "10000"),
    ("allow.auto.create.topics", "false"),
    ("session.timeout.ms", "6000"),
    ("max.poll.interval.ms", "86400000"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.queue.backoff.ms", "5"),
    ("queued.max.messages.kbytes", "16384"),
    ("queued.min.messages", "10000"),
    ("statistics.interval.ms", "500"),
];

/// A connected consumer of one topic.
pub(super) struct Source {
    consumer: Parting<StreamConsumer<Context>>,
    bootstrap: String,
    spec: KafkaMappingSpec,
    shared: Arc<Shared>,
}

impl Source {
    /// Connects and finds the topic; reading begins with [`Source::begin`].
    pub(super) async fn connect(
        spec: &KafkaMappingSpec,
        bootstrap: &str,
        extra: &BTreeMap<String, String>,
    ) -> Result<Arc<Source>, MappingError> {
        let config = consumer_config(spec, bootstrap, extra);
        let (spec, bootstrap) = (spec.clone(), bootstrap.to_owned());
        blocking(move || Source::find_blocking(&config, &spec, &bootstrap).map(Arc::new)).await
    }

    /// Where it would begin in each partition; reads nothing.
    pub(super) async fn positions(
        spec: &KafkaMappingSpec,
        bootstrap: &str,
        extra: &BTreeMap<String, String>,
    ) -> Result<Vec<Position>, MappingError> {
        let config = consumer_config(spec, bootstrap, extra);
        let (spec, bootstrap) = (spec.clone(), bootstrap.to_owned());
        blocking(move || Source::find_blocking(&config, &spec, &bootstrap)?.positions_now()).await
    }

    fn find_blocking(config: &ClientConfig, spec: &KafkaMappingSpec, bootstrap: &str) -> Result<Source, MappingError> {
        let shared = Arc::new(Shared::default());
        let context = Context { topic: spec.topic.clone(), shared: Arc::clone(&shared) };
        let consumer: StreamConsumer<Context> =
            config.create_with_context(context).map_err(kafka("creating the consumer"))?;
        let source = Source { consumer: consumer.into(), bootstrap: bootstrap.to_owned(), spec: spec.clone(), shared };
        source.partition_count()?;
        Ok(source)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Finds where to begin in each partition, begins there, and returns the first offsets by partition number.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<Vec<i64>, MappingError> {
        let source = Arc::clone(self);
        blocking(move || source.begin_blocking()).await
    }

    fn begin_blocking(&self) -> Result<Vec<i64>, MappingError> {
        let positions = self.positions_now()?;
        self.shared.set_gauges(&positions.iter().map(|at| (at.start, at.end)).collect::<Vec<_>>());
        for (partition, at) in (0..).zip(&positions) {
            if let Some(offsets) = at.skipped.clone() {
                self.skip(partition, offsets);
            }
        }
        let starts: Vec<i64> = positions.into_iter().map(|at| at.start).collect();
        self.consumer.assign(&self.offsets(&starts)?).map_err(kafka("assigning the partitions"))?;
        Ok(starts)
    }

    fn positions_now(&self) -> Result<Vec<Position>, MappingError> {
        let (consumer, topic) = (&self.consumer, &self.spec.topic);
        let partitions = self.partition_count()?;
        let ranges = ranges(consumer, topic, 0..partitions)?;
        let committed = committed(consumer, topic, partitions)?;
        let fallback = starting_offsets(consumer, &self.spec, &ranges)?;
        let begin =
            |partition: usize| start(topic, partition, committed[partition], fallback[partition], ranges[partition]);
        Ok((0..partitions).map(begin).collect())
    }

    /// Says and notes what the broker deleted before it was read.
    pub(super) fn skip(&self, partition: i32, offsets: Range<i64>) {
        let topic = &self.spec.topic;
        tracing::error!(
            topic,
            partition,
            from = offsets.start,
            to = offsets.end,
            "retention took records before they were read; they are lost. Raise the topic's retention, or keep the lag below it"
        );
        self.shared.skip(Skipped { partition, offsets });
    }

    /// The partitions that the topic has now.
    pub(super) fn partition_count(&self) -> Result<usize, MappingError> {
        let topic = &self.spec.topic;
        let metadata =
            self.consumer.fetch_metadata(Some(topic), BROKER_TIMEOUT).map_err(kafka("asking for the topic"))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
        match found.map_or(0, |found| found.partitions().len()) {
            0 => Err(MappingError::TopicMissing { topic: topic.clone(), bootstrap: self.bootstrap.clone() }),
            partitions => Ok(partitions),
        }
    }

    /// Reads further partitions from their first record on, whatever the starting position: they were added while the mapping
    /// ran, so everything in them came after it. Returns their first offsets.
    pub(super) async fn join(self: &Arc<Self>, further: Range<usize>) -> Result<Vec<i64>, MappingError> {
        let source = Arc::clone(self);
        blocking(move || {
            let first = further.start;
            let ranges = ranges(&source.consumer, &source.spec.topic, further)?;
            let mut list = TopicPartitionList::new();
            for (partition, (start, _)) in (first..).zip(&ranges) {
                let partition = i32::try_from(partition).unwrap_or(i32::MAX);
                let added = list.add_partition_offset(&source.spec.topic, partition, Offset::Offset(*start));
                added.map_err(kafka("listing offsets"))?;
            }
            source.consumer.incremental_assign(&list).map_err(kafka("joining partitions"))?;
            source.shared.add_gauges(&ranges);
            Ok(ranges.into_iter().map(|(start, _)| start).collect())
        })
        .await
    }

    pub(super) fn stream(&self) -> MessageStream<'_, Context> {
        self.consumer.stream()
    }

    /// One past what can be read of each partition, asked from the broker now; partitions included that are not read yet.
    pub(super) async fn ends(self: &Arc<Self>) -> Result<Vec<i64>, MappingError> {
        let source = Arc::clone(self);
        let ends = blocking(move || {
            let partitions = source.partition_count()?;
            bounds(&source.consumer, &source.spec.topic, 0..partitions, Offset::End)
        })
        .await?;
        self.shared.saw_ends(&ends);
        Ok(ends)
    }

    /// First offset and one past the last of the partitions `0..partitions`, asked from the broker now.
    pub(super) async fn ranges(self: &Arc<Self>, partitions: usize) -> Result<Vec<(i64, i64)>, MappingError> {
        let source = Arc::clone(self);
        blocking(move || ranges(&source.consumer, &source.spec.topic, 0..partitions)).await
    }

    /// Up to where the client has handed out everything, by partition; none where it has handed out nothing. Beyond the last record
    /// where something follows that is no record for us: the marker of a transaction, an aborted record.
    pub(super) async fn read_up_to(self: &Arc<Self>, partitions: usize) -> Result<Vec<Option<i64>>, MappingError> {
        let source = Arc::clone(self);
        blocking(move || {
            let positions = source.consumer.position().map_err(kafka("asking the client for its positions"))?;
            Ok(by_partition(&positions, partitions))
        })
        .await
    }

    /// Reads a partition anew, from `offset` on.
    pub(super) async fn read_anew(self: &Arc<Self>, partition: i32, offset: i64) -> Result<(), MappingError> {
        let source = Arc::clone(self);
        blocking(move || {
            let mut list = TopicPartitionList::with_capacity(1);
            let added = list.add_partition_offset(&source.spec.topic, partition, Offset::Offset(offset));
            added.map_err(kafka("listing offsets"))?;
            source.consumer.incremental_unassign(&list).map_err(kafka("giving a partition back"))?;
            source.consumer.incremental_assign(&list).map_err(kafka("taking a partition again"))
        })
        .await
    }

    /// Sends these offsets without waiting; a failure shows in the stats and through [`Shared::take_commit_failed`].
    pub(super) fn commit_soon(&self, offsets: &[i64]) {
        let committed = self
            .offsets(offsets)
            .and_then(|offsets| self.consumer.commit(&offsets, CommitMode::Async).map_err(kafka("committing offsets")));
        if let Err(error) = committed {
            tracing::warn!(%error, "offsets were not sent to the broker; they will be again");
            self.shared.commit_failed();
        }
    }

    /// Commits and waits for the broker.
    pub(super) async fn commit(self: &Arc<Self>, offsets: &[i64]) -> Result<(), MappingError> {
        let offsets = self.offsets(offsets)?;
        let source = Arc::clone(self);
        blocking(move || source.consumer.commit(&offsets, CommitMode::Sync).map_err(kafka("committing offsets"))).await
    }

    /// Suspends or resumes reading of one partition.
    pub(super) fn set_paused(&self, partition: i32, paused: bool) {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.spec.topic, partition);
        let switched = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        if let Err(error) = switched {
            tracing::warn!(topic = self.spec.topic, partition, paused, %error, "cannot change the flow of a partition");
        }
    }

    /// Stops reading.
    pub(super) fn leave(&self) {
        if let Err(error) = self.consumer.unassign() {
            tracing::warn!(topic = self.spec.topic, %error, "cannot give the partitions back");
        }
    }

    fn offsets(&self, offsets: &[i64]) -> Result<TopicPartitionList, MappingError> {
        list(&self.spec.topic, offsets.iter().map(|offset| Offset::Offset(*offset)))
    }
}

fn consumer_config(spec: &KafkaMappingSpec, bootstrap: &str, extra: &BTreeMap<String, String>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.extend(CONSUMER_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    config.extend(extra.clone());
    config.set("bootstrap.servers", bootstrap).set("group.id", &spec.consumer_group);
    config
}

/// First offset and one past the last, by partition number.
fn ranges(
    consumer: &StreamConsumer<Context>,
    topic: &str,
    partitions: Range<usize>,
) -> Result<Vec<(i64, i64)>, MappingError> {
    let first = bounds(consumer, topic, partitions.clone(), Offset::Beginning)?;
    // In this order: a partition may be shortened in between, and its end never lies before its beginning.
    Ok(first.into_iter().zip(bounds(consumer, topic, partitions, Offset::End)?).collect())
}

/// The first offset of each partition, or one past what can be read of it.
fn bounds(
    consumer: &StreamConsumer<Context>,
    topic: &str,
    partitions: Range<usize>,
    edge: Offset,
) -> Result<Vec<i64>, MappingError> {
    let number = |partition| (topic, i32::try_from(partition).unwrap_or(i32::MAX));
    let asked: Vec<(&str, i32)> = partitions.map(number).collect();
    once_ready(|| edges(consumer, &asked, edge, BROKER_TIMEOUT)).map_err(kafka("asking for the partitions' ranges"))
}

fn committed(
    consumer: &StreamConsumer<Context>,
    topic: &str,
    partitions: usize,
) -> Result<Vec<Option<i64>>, MappingError> {
    let asked = list(topic, std::iter::repeat_n(Offset::Invalid, partitions))?;
    let answer = once_ready(|| consumer.committed_offsets(asked.clone(), BROKER_TIMEOUT))
        .map_err(kafka("asking for the committed offsets"))?;
    Ok(by_partition(&answer, partitions))
}

/// Asks until the cluster can tell: one that never kept offsets makes their topic on the first question, and one that has just
/// started is still loading it, or has not yet said who leads a partition.
fn once_ready<T>(ask: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
    let deadline = Instant::now() + BROKER_TIMEOUT;
    loop {
        match ask() {
            Err(error) if is_of_a_start(&error) && Instant::now() < deadline => std::thread::sleep(START_PAUSE),
            answer => return answer,
        }
    }
}

fn is_of_a_start(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::UnknownPartition
        )
    )
}

fn starting_offsets(
    consumer: &StreamConsumer<Context>,
    spec: &KafkaMappingSpec,
    ranges: &[(i64, i64)],
) -> Result<Vec<i64>, MappingError> {
    let since_ms = match spec.starting_position {
        StartingPosition::TrimHorizon => return Ok(ranges.iter().map(|(first, _)| *first).collect()),
        StartingPosition::Latest => return Ok(ranges.iter().map(|(_, end)| *end).collect()),
        StartingPosition::AtTimestamp(since_ms) => since_ms,
    };
    let asked = list(&spec.topic, std::iter::repeat_n(Offset::Offset(since_ms), ranges.len()))?;
    let answer = consumer.offsets_for_times(asked, BROKER_TIMEOUT).map_err(kafka("asking for offsets by time"))?;
    let found = by_partition(&answer, ranges.len());
    Ok(found.into_iter().zip(ranges).map(|(offset, (_, end))| offset.unwrap_or(*end)).collect())
}

/// Where a mapping begins in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The first offset that it delivers.
    pub start: i64,
    /// One past what can be read now.
    pub end: i64,
    /// What the group had not settled when the broker deleted it.
    pub skipped: Option<Range<i64>>,
}

/// The committed offset wins unless the topic does not have it any more (retention) or never had it (recreated).
fn start(topic: &str, partition: usize, committed: Option<i64>, fallback: i64, (first, end): (i64, i64)) -> Position {
    let skipped = committed.filter(|offset| *offset < first).map(|offset| offset..first);
    let start = match committed {
        None => fallback,
        Some(offset) if (first..=end).contains(&offset) => offset,
        // Said where it is noted.
        Some(offset) if offset < first => first,
        Some(offset) => {
            tracing::warn!(
                topic,
                partition,
                offset,
                first,
                end,
                "the committed offset is behind the topic's end: it was made again or cut; starting at its first record"
            );
            first
        }
    };
    Position { start, end, skipped }
}

fn list(topic: &str, offsets: impl Iterator<Item = Offset>) -> Result<TopicPartitionList, MappingError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in (0..).zip(offsets) {
        list.add_partition_offset(topic, partition, offset).map_err(kafka("listing offsets"))?;
    }
    Ok(list)
}

fn by_partition(list: &TopicPartitionList, partitions: usize) -> Vec<Option<i64>> {
    let mut offsets = vec![None; partitions];
    for element in list.elements() {
        let slot = usize::try_from(element.partition()).ok().and_then(|partition| offsets.get_mut(partition));
        if let (Some(slot), Offset::Offset(offset)) = (slot, element.offset()) {
            *slot = Some(offset);
        }
    }
    offsets
}

pub(super) fn kafka(doing: &'static str) -> impl Fn(KafkaError) -> MappingError {
    move |source| MappingError::Kafka { doing, source }
}

/// librdkafka's questions to the broker block; they have no place on a task.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MappingError> + Send + 'static,
) -> Result<T, MappingError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(MappingError::Stopped))
}

/// What is said of the client's errors.
const CLIENT: &str = "kafka client";
/// What is said of a commit that failed.
const COMMIT: &str = "the broker did not take the offsets; they will be sent again";

/// Receives what librdkafka says besides records. What it says again and again is said as [`super::repeats`] promises.
pub(super) struct Context {
    topic: String,
    shared: Arc<Shared>,
}

/// The only part of librdkafka's statistics that is used: where what can be read of each partition ends.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    topics: BTreeMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct TopicStatistics {
    partitions: BTreeMap<i32, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    ls_offset: i64,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        iam_token(config)
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let statistics: Statistics = match serde_json::from_slice(statistics) {
            Ok(statistics) => statistics,
            Err(error) => {
                tracing::warn!(%error, "the Kafka client's statistics cannot be read; the lag may be too low");
                return;
            }
        };
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        for (partition, gauge) in (0..).zip(self.shared.gauges().iter()) {
            if let Some(statistics) = topic.partitions.get(&partition) {
                gauge.saw_end(statistics.ls_offset);
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.shared.counters().totals.poll_errors += 1;
        // Says nothing that the broker's own failure has not said, and follows the end of an embedded broker.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            tracing::debug!(topic = self.topic, %error, reason, "kafka client");
            return;
        }
        if let Some(times) = self.shared.came(CLIENT, &error.to_string()) {
            tracing::warn!(topic = self.topic, %error, reason, times, "{CLIENT}");
        }
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        match result {
            Ok(()) => {}
            // There was nothing new to commit.
            Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => {
                if let Some(times) = self.shared.came(COMMIT, &error.to_string()) {
                    tracing::warn!(topic = self.topic, %error, times, "{COMMIT}");
                }
                self.shared.commit_failed();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;

    /// Counts lines that a user sees.
    #[derive(Clone, Default)]
    struct Lines(Arc<AtomicUsize>);

    impl Subscriber for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= Level::WARN
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_topic_that_is_gone_is_said_once_and_not_at_every_fetch() {
        let lines = Lines::default();
        let shared = Arc::new(Shared::default());
        let context = Context { topic: "transactions".to_owned(), shared: Arc::clone(&shared) };
        tracing::subscriber::with_default(lines.clone(), || {
            for offset in 0..1_000 {
                let reason =
                    format!("Fetch from broker 1 failed at offset {offset}: Broker: Unknown topic or partition");
                context.error(KafkaError::Global(RDKafkaErrorCode::UnknownTopicOrPartition), &reason);
                context.commit_callback(
                    Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::UnknownTopicOrPartition)),
                    &TopicPartitionList::new(),
                );
            }
        });
        assert_eq!(lines.0.load(Ordering::Relaxed), 2);
        assert_eq!(shared.stats().poll_errors, 1_000, "every one is counted");
        assert_eq!(shared.stats().commit_errors, 1_000);
    }
}
