//! The Kafka event-source mapping: reads a topic and invokes a function with batches, as AWS documents it for Amazon MSK.
//!
//! A batch mixes partitions of one topic; a partition has at most one batch in flight, so its order is kept; a batch that fails
//! is delivered again, whole, split, or from the records that the function named; a record that cannot be handled goes to the
//! failure destination; offsets are committed only behind what is complete, so every record is delivered at least once.
//!
//! Facts: <https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure-destination.html>.
//!
//! Left out on purpose: poller auto scaling (the most pollers are there from the start), the minute that a real mapping needs to
//! begin, and schema registries.

mod client;
mod deliveries;
mod destination;
mod error;
pub mod event;
pub mod faults;
mod in_flight;
mod look;
mod message;
mod partition;
mod poller;
mod positions;
mod reading;
mod repeats;
pub mod response;
mod source;
mod spec;
mod stats;
pub mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::host::FunctionHost;
pub use error::MappingError;
pub use faults::MappingFaultSource;
pub use positions::Position;
pub use response::PartialReading;
pub use spec::{KafkaMappingSpec, StartingPosition};
pub use stats::{MappingStats, Skipped};

use deliveries::Deliveries;
use poller::{Command, Poller};
use reading::Reading;
use source::Source;
use stats::Shared;

/// How often [`KafkaMapping::drain`] looks.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

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

/// A running mapping. Dropping it stops it without waiting; [`KafkaMapping::stop`] commits what is complete.
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
        let destination = destination::Destination::of(&spec, bootstrap, extra_rdkafka_config);
        let shared = Arc::clone(source.shared());
        let (commands, inbox) = mpsc::channel(16);
        let starts = source.begin().await?;
        let deliveries = Deliveries::new(&spec, bootstrap, Arc::clone(&shared), destination, host);
        let poller = Poller { reading: Reading::new(Arc::clone(&source), &starts), deliveries };
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

    /// Takes no further records, waits for the invocations in flight and commits what is complete, as when a mapping is disabled.
    /// What was read and is not complete is read again once it is enabled.
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

    /// Waits until everything below these offsets, by partition, has been handled, then commits. It is delivered without waiting
    /// for the batching window.
    ///
    /// # Errors
    /// [`MappingError::NotDrained`] at the deadline; the mapping goes on.
    pub async fn drain_to(&self, ends: &[i64], deadline: Duration) -> Result<(), MappingError> {
        let until = Instant::now() + deadline;
        self.send(Command::Hurry(ends.to_vec())).await?;
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

    /// Takes no further records, waits for the invocations in flight, commits what is complete and leaves. Waits at most about
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
