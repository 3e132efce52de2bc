//! The Kafka event-source mapping: reads a topic and invokes a function with batches, as AWS documents it for Amazon MSK.
//!
//! A batch mixes partitions of one topic; a partition has at most one batch in flight, so its order is kept; a batch that fails
//! is delivered again, whole, split, or from the records that the function named; a record that cannot be handled goes to the
//! failure destination; offsets are committed only behind what is settled, so every record is delivered at least once.
//!
//! Facts: <https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure-destination.html>.
//!
//! Left out on purpose: poller auto scaling (the most pollers are there from the start), the minute that a real mapping needs to
//! begin, and schema registries.

mod destination;
pub mod event;
pub mod faults;
mod lane;
mod partition;
mod poller;
mod repeats;
pub mod response;
mod source;
mod stats;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use rdkafka::error::KafkaError;
use tokio::sync::{mpsc, oneshot};

use crate::FunctionHost;
pub use faults::MappingFaultSource;
pub use response::PartialReading;
pub use source::Position;
pub use stats::{MappingStats, Skipped};

use poller::{Command, Poller};
use source::Source;
use stats::Shared;

/// Retries when a failure destination is set and no number is: AWS caps "infinite" at this.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure-destination.html>
const RETRY_ATTEMPTS_WITH_DESTINATION: u32 = 10;
/// How often [`KafkaMapping::drain`] looks.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// Where a group that has not committed anything starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartingPosition {
    /// The oldest record.
    TrimHorizon,
    /// Records that arrive after the start.
    Latest,
    /// The first record at or after this time, in milliseconds since 1970.
    AtTimestamp(i64),
}

/// A mapping, in the terms of `AWS::Lambda::EventSourceMapping`.
#[derive(Clone, Debug)]
pub struct KafkaMappingSpec {
    /// Name of the function; for messages only.
    pub function: String,
    /// The one topic.
    pub topic: String,
    /// Consumer group whose committed offsets win over `starting_position`.
    pub consumer_group: String,
    /// Most records of an invocation, 1 to 10,000.
    pub batch_size: usize,
    /// How long to gather records before an invocation; zero takes whatever is there. At most 300 s.
    pub window: Duration,
    /// Least pollers; checked, not used: the local mapping always has the most.
    pub pollers_min: u32,
    /// Most pollers.
    pub pollers_max: u32,
    /// Invocations that one poller may have in flight; 5 on AWS.
    pub parallel_invocations_per_poller: u32,
    /// Where a new group starts.
    pub starting_position: StartingPosition,
    /// Whether the response is read as a partial batch response (`ReportBatchItemFailures`).
    pub report_batch_item_failures: bool,
    /// What a partial batch response means for the records behind the one it names.
    pub partial_reading: PartialReading,
    /// Split a batch in two when the invocation fails.
    pub bisect_batch_on_function_error: bool,
    /// Deliveries of a record after the first; `None` is without end, or 10 when there is a failure destination.
    pub maximum_retry_attempts: Option<u32>,
    /// Records older than this are given up instead of delivered.
    pub maximum_record_age: Option<Duration>,
    /// Topic for records that are given up; without it they are dropped and counted.
    pub on_failure_topic: Option<String>,
}

impl KafkaMappingSpec {
    /// A mapping with AWS's defaults, except that the window is zero as in low-latency mode.
    #[must_use]
    pub fn new(function: &str, topic: &str, consumer_group: &str) -> KafkaMappingSpec {
        KafkaMappingSpec {
            function: function.to_owned(),
            topic: topic.to_owned(),
            consumer_group: consumer_group.to_owned(),
            batch_size: 100,
            window: Duration::ZERO,
            pollers_min: 1,
            pollers_max: 200,
            parallel_invocations_per_poller: 5,
            starting_position: StartingPosition::TrimHorizon,
            report_batch_item_failures: false,
            partial_reading: PartialReading::default(),
            bisect_batch_on_function_error: false,
            maximum_retry_attempts: None,
            maximum_record_age: None,
            on_failure_topic: None,
        }
    }

    /// Retries that really apply.
    fn retry_attempts(&self) -> Option<u32> {
        let capped = self.on_failure_topic.as_ref().map(|_| RETRY_ATTEMPTS_WITH_DESTINATION);
        self.maximum_retry_attempts.or(capped)
    }

    fn check(&self) -> Result<(), MappingError> {
        let window_s = self.window.as_secs_f64().ceil() as u64;
        let limits = [
            ("batch size", self.batch_size as u64, 1, 10_000),
            ("batching window in s", window_s, 0, 300),
            ("minimum pollers", u64::from(self.pollers_min), 1, 200),
            ("maximum pollers", u64::from(self.pollers_max), u64::from(self.pollers_min), 2_000),
            ("invocations per poller", u64::from(self.parallel_invocations_per_poller), 1, 5),
            ("length of the consumer group's name", self.consumer_group.len() as u64, 1, 200),
            ("maximum retry attempts", u64::from(self.maximum_retry_attempts.unwrap_or(0)), 0, 10_000),
        ];
        for (field, value, least, most) in limits {
            if !(least..=most).contains(&value) {
                return Err(MappingError::OutOfRange { topic: self.topic.clone(), field, value, least, most });
            }
        }
        match &self.on_failure_topic {
            Some(destination) if *destination == self.topic => {
                Err(MappingError::DestinationIsSource { topic: self.topic.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// Why a mapping cannot start or finish.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// A value of the specification is outside AWS's limits.
    #[error("mapping of topic `{topic}`: {field} is {value}, but must be between {least} and {most}")]
    OutOfRange {
        /// Topic of the mapping.
        topic: String,
        /// What is out of range.
        field: &'static str,
        /// What was given.
        value: u64,
        /// Least allowed.
        least: u64,
        /// Most allowed.
        most: u64,
    },
    /// Failed records would be read again.
    #[error("mapping of topic `{topic}`: the failure destination is the same topic; choose another")]
    DestinationIsSource {
        /// Topic of the mapping.
        topic: String,
    },
    /// The topic does not exist.
    #[error("topic `{topic}` does not exist at {bootstrap}; create it before the mapping")]
    TopicMissing {
        /// The missing topic.
        topic: String,
        /// Brokers that were asked.
        bootstrap: String,
    },
    /// The Kafka client or the broker refused.
    #[error("kafka, while {doing}")]
    Kafka {
        /// What was attempted.
        doing: &'static str,
        /// The client's error.
        #[source]
        source: KafkaError,
    },
    /// Not everything was handled in time.
    #[error("{records} records were not handled within {} ms", deadline.as_millis())]
    NotDrained {
        /// Offsets of the call's time that are still open: as many records at most.
        records: u64,
        /// The deadline.
        deadline: Duration,
    },
    /// The mapping has been stopped.
    #[error("the mapping has stopped")]
    Stopped,
}

/// Where a mapping would begin in each partition. Nothing is read or committed.
///
/// # Errors
/// When the topic is missing, or the broker cannot be reached or does not let us use the group.
pub async fn positions(
    spec: &KafkaMappingSpec,
    bootstrap: &str,
    extra_rdkafka_config: &BTreeMap<String, String>,
) -> Result<Vec<Position>, MappingError> {
    Source::positions(spec, bootstrap, extra_rdkafka_config).await
}

/// A running mapping. Dropping it stops it without waiting; [`KafkaMapping::stop`] commits what was settled.
pub struct KafkaMapping {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    source: Arc<Source>,
}

impl KafkaMapping {
    /// Connects, finds the group's offsets and starts reading. Records that arrive after this returns are delivered whatever
    /// the starting position.
    ///
    /// # Errors
    /// When a value is out of range, a topic is missing or the broker cannot be reached.
    pub fn start<'a>(
        spec: KafkaMappingSpec,
        bootstrap: &'a str,
        extra_rdkafka_config: &'a BTreeMap<String, String>,
        host: Arc<FunctionHost>,
    ) -> BoxFuture<'a, Result<Arc<KafkaMapping>, MappingError>> {
        Box::pin(Self::begin(spec, bootstrap, extra_rdkafka_config, host))
    }

    async fn begin(
        spec: KafkaMappingSpec,
        bootstrap: &str,
        extra_rdkafka_config: &BTreeMap<String, String>,
        host: Arc<FunctionHost>,
    ) -> Result<Arc<KafkaMapping>, MappingError> {
        spec.check()?;
        let source = Source::connect(&spec, bootstrap, extra_rdkafka_config).await?;
        let destination = destination::Destination::connect(&spec, bootstrap, extra_rdkafka_config).await?;
        let shared = Arc::clone(source.shared());
        let (commands, inbox) = mpsc::channel(16);
        let starts = source.begin().await?;
        let poller = Poller::new(spec, bootstrap, Arc::clone(&source), &starts, destination, host);
        tokio::spawn(poller.run(inbox));
        Ok(Arc::new(KafkaMapping { commands, shared, source }))
    }

    /// Counters and gauges; cheap enough for several looks a second.
    #[must_use]
    pub fn stats(&self) -> MappingStats {
        self.shared.stats()
    }

    /// Lets a source decide on faults from now on.
    pub fn set_faults(&self, faults: Arc<dyn MappingFaultSource>) {
        self.shared.set_faults(faults);
    }

    /// Takes no further records, waits for the invocations in flight and commits what is settled, as when a mapping is disabled.
    /// What was read and not settled is read again once it is enabled.
    ///
    /// # Errors
    /// When the last commit fails or the mapping has stopped.
    pub async fn disable(&self) -> Result<(), MappingError> {
        let (done, wait) = oneshot::channel();
        self.send(Command::Disable(done)).await?;
        wait.await.unwrap_or(Err(MappingError::Stopped))
    }

    /// Begins anew, at the group's committed offsets or, where they do not fit the topic, at its starting position.
    ///
    /// # Errors
    /// When the topic is missing, the broker cannot be reached or the mapping has stopped; it stays disabled.
    pub async fn enable(&self) -> Result<(), MappingError> {
        let (done, wait) = oneshot::channel();
        self.send(Command::Enable(done)).await?;
        wait.await.unwrap_or(Err(MappingError::Stopped))
    }

    /// What the broker deleted before it was read.
    #[must_use]
    pub fn skipped(&self) -> Vec<Skipped> {
        self.shared.skipped()
    }

    /// Takes nothing any more that comes from now on. Returns, by partition, the first offset that is left alone; it is at least
    /// where the partition ended when this was called, and above everything that was delivered already.
    ///
    /// # Errors
    /// When the broker cannot be asked or the mapping has stopped.
    pub async fn cut(&self) -> Result<Vec<i64>, MappingError> {
        let ends = self.source.ends().await?;
        let (done, wait) = oneshot::channel();
        self.send(Command::Cut(ends, done)).await?;
        wait.await.map_err(|_| MappingError::Stopped)
    }

    /// Where the partitions end now, as the broker says.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn ends(&self) -> Result<Vec<i64>, MappingError> {
        self.source.ends().await
    }

    /// Waits until everything that the topic holds now has been handled, then commits.
    ///
    /// # Errors
    /// [`MappingError::NotDrained`] at the deadline; the mapping goes on.
    pub async fn drain(&self, deadline: Duration) -> Result<(), MappingError> {
        let until = Instant::now() + deadline;
        let ends = self.source.ends().await?;
        self.drain_to(&ends, until.saturating_duration_since(Instant::now())).await
    }

    /// Waits until everything below these offsets, by partition, has been handled, then commits.
    ///
    /// # Errors
    /// [`MappingError::NotDrained`] at the deadline; the mapping goes on.
    pub async fn drain_to(&self, ends: &[i64], deadline: Duration) -> Result<(), MappingError> {
        let until = Instant::now() + deadline;
        self.send(Command::Look).await?;
        loop {
            let open = self.shared.open_below(ends);
            if open == 0 && ends.len() <= self.shared.gauges().len() {
                break;
            }
            if self.commands.is_closed() {
                return Err(MappingError::Stopped);
            }
            if until <= Instant::now() {
                return Err(MappingError::NotDrained { records: open, deadline });
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
        let (done, wait) = oneshot::channel();
        self.send(Command::Commit(done)).await?;
        wait.await.map_err(|_| MappingError::Stopped)
    }

    /// Takes no further records, waits for the invocations in flight, commits what is settled and leaves. Waits at most about
    /// the function's timeout. Stopping twice is fine.
    ///
    /// # Errors
    /// When the last commit fails: the records behind it are delivered again after a restart.
    pub async fn stop(&self) -> Result<(), MappingError> {
        let (done, wait) = oneshot::channel();
        if self.send(Command::Stop(done)).await.is_err() {
            return Ok(());
        }
        wait.await.unwrap_or(Ok(()))
    }

    async fn send(&self, command: Command) -> Result<(), MappingError> {
        self.commands.send(command).await.map_err(|_| MappingError::Stopped)
    }
}
