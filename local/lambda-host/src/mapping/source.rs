//! The reading side of Kafka: one client, all partitions assigned by hand, offsets kept under the consumer group's name.
//!
//! Assigning by hand leaves out the group's join protocol (seconds on some brokers); a mapping is the group's only member.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use centinela_kafka_client::{Lost, Parting, bootstrap_again};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer, MessageStream, StreamConsumer};
use rdkafka::{Offset, TopicPartitionList};

use super::client::Context;
use super::error::{MappingError, blocking, kafka};
use super::positions::{BROKER_TIMEOUT, Position, bounds, by_partition, list, positions_now, ranges};
use super::spec::KafkaMappingSpec;
use super::stats::{Shared, Skipped};

/// Client settings that a caller may override. The group never joins, so no poll interval applies. An offset that the broker does not
/// have is an error, because what retention took unread must be told. A broker that is silent for ten seconds is asked again.
const CONSUMER_SETTINGS: [(&str, &str); 11] = [
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
];
/// A mapping with a window waits anyway: below so many bytes the broker may hold an answer back, for a quarter of the window at most. An
/// answer for every record costs more than all that is done with it.
const WORTH_WITH_WINDOW_BYTES: u32 = 1_000_000;
const WAIT_WITH_WINDOW_MAX: Duration = Duration::from_millis(250);

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
        let context = Context { topic: spec.topic.clone(), shared: Arc::clone(&shared), lost: Lost::default() };
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
        positions_now(&self.consumer, &self.spec, self.partition_count()?)
    }

    pub(super) fn topic(&self) -> &str {
        &self.spec.topic
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
        let asked = self.consumer.fetch_metadata(Some(topic), BROKER_TIMEOUT);
        // This is asked again and again, so a client that has no broker left is found here even if it did not say so.
        let metadata = asked
            .inspect_err(|_| bootstrap_again(self.consumer.client(), &self.bootstrap))
            .map_err(kafka("asking for the topic"))?;
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

    /// When [`Source::find_brokers`] has something to do; none while the client has its brokers.
    pub(super) fn brokers_due(&self) -> Option<Instant> {
        self.lost().due()
    }

    /// Gives the client its brokers back when it has lost them.
    pub(super) fn find_brokers(&self) {
        self.lost().mend(self.consumer.client(), &self.bootstrap);
    }

    fn lost(&self) -> &Lost {
        &self.consumer.client().context().lost
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
    if !spec.window.is_zero() {
        let wait = WAIT_WITH_WINDOW_MAX.min(spec.window / 4);
        config.set("fetch.wait.max.ms", wait.as_millis().to_string());
        config.set("fetch.min.bytes", WORTH_WITH_WINDOW_BYTES.to_string());
    }
    config.extend(extra.clone());
    config.set("bootstrap.servers", bootstrap).set("group.id", &spec.consumer_group);
    config
}
