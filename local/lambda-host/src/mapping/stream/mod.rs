//! The Kinesis event-source mapping: reads a stream's shards and invokes a function with batches, as AWS documents it.
//!
//! A shard has one batch in flight, so its order is kept, and a shard that was split or merged is read to its end before its children
//! begin. A batch that fails is delivered again, whole, in halves, or from the record that the function named; what is too old or was
//! tried too often goes to the failure destination. With tumbling windows an invocation takes the state that the one before it
//! returned; the last one of a window has no records. A window ends when a record of a later one comes, when its time is over and its
//! shard has nothing more, when its shard ends, and early when its state is above 1 MB: then the same window goes on without a state.
//! AWS does not say what becomes of a record that arrives, by its time, in a window before the open one; here it is in a window of its
//! own, with those bounds and a state of its own, that ends as soon as another record comes. Nor does it say what becomes of a window
//! that is open while its mapping is disabled: here it keeps its state, takes the records of its time that still wait, and ends when the
//! mapping is enabled.
//!
//! Facts: <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-windows.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>.
//!
//! Left out on purpose: several batches of a shard at once (`ParallelizationFactor`), enhanced fan-out and filters. A failure
//! destination is not written to: its reports are kept and can be asked for. Places and states are kept in memory.

mod delivering;
mod event;
mod response;
mod shared;
mod source;
mod spec;
mod window;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};

use super::error::MappingError;
use super::faults::MappingFaultSource;
use super::stats::MappingStats;
use crate::host::FunctionHost;
use shared::{Progress, Shared};
use worker::Worker;

pub use event::stream_arn;
pub use shared::StreamCut;
pub use source::{Page, Place, ShardInfo, StreamRecord, StreamSource, StreamUnreadable};
pub use spec::{StreamMappingSpec, StreamStart};

/// Between two looks at the shards of the stream.
const SHARDS_LOOK: Duration = Duration::from_millis(100);
/// How often [`StreamMapping::drain_to`] and [`StreamMapping::disable`] look.
const LOOK: Duration = Duration::from_millis(5);

/// A running mapping. Dropping it stops it without waiting.
pub struct StreamMapping {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for StreamMapping {
    fn drop(&mut self) {
        self.shared.control.send_modify(|control| control.stopped = true);
    }
}

impl StreamMapping {
    /// Finds the shards and starts reading. Records that are written after this returns are delivered whatever the starting position.
    ///
    /// # Errors
    /// When a value is out of range or there is no such stream.
    pub fn start(
        spec: StreamMappingSpec,
        source: Arc<dyn StreamSource>,
        host: Arc<FunctionHost>,
    ) -> Result<Arc<Self>, MappingError> {
        spec.check()?;
        let start = spec.start;
        let shared = Arc::new(Shared::new(spec, source, host));
        let shards = shared.source.shards().map_err(|error| MappingError::Stream { why: error.to_string() })?;
        let mut latest = Vec::new();
        if start == StreamStart::Latest {
            latest.extend(shards.into_iter().map(|shard| (shard.id, shard.newest.map_or(Place::Oldest, Place::After))));
        }
        let task = tokio::spawn(supervise(Arc::clone(&shared), latest));
        Ok(Arc::new(Self { shared, task: Mutex::new(Some(task)) }))
    }

    /// Counters and gauges; cheap enough for several looks a second.
    #[must_use]
    pub fn stats(&self) -> MappingStats {
        self.shared.stats()
    }

    /// Lets a source decide on faults from now on.
    pub fn set_faults(&self, faults: Arc<dyn MappingFaultSource>) {
        self.shared.counted.set_faults(faults);
    }

    /// The reports that the failure destination was sent, oldest first.
    #[must_use]
    pub fn given_up(&self) -> Vec<String> {
        self.shared.given_up()
    }

    /// Starts no further invocations and waits for those in flight. Places and states are kept.
    pub async fn disable(&self) {
        self.shared.control.send_modify(|control| control.disabled = true);
        while self.shared.is_busy() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Goes on where it was disabled.
    pub fn enable(&self) {
        self.shared.control.send_modify(|control| control.disabled = false);
    }

    /// Takes nothing any more that comes from now on. Returns where that is.
    ///
    /// # Errors
    /// When the stream is gone.
    pub fn cut(&self) -> Result<StreamCut, MappingError> {
        let shards = self.shared.source.shards().map_err(|error| MappingError::Stream { why: error.to_string() })?;
        let cut: StreamCut = shards.into_iter().map(|shard| (shard.id, shard.newest)).collect();
        self.shared.control.send_modify(|control| control.cut = Some(Arc::new(cut.clone())));
        Ok(cut)
    }

    /// Waits until everything up to a cut has been handled and no window is open, without waiting for windows of either kind.
    ///
    /// # Errors
    /// [`MappingError::NotDrained`] at the deadline; the mapping goes on.
    pub async fn drain_to(&self, cut: &StreamCut, deadline: Duration) -> Result<(), MappingError> {
        let until = Instant::now() + deadline;
        self.shared.control.send_modify(|control| control.hurried = true);
        loop {
            let open = self.shared.open(Some(cut));
            if open == 0 {
                return Ok(());
            }
            if self.shared.control.borrow().stopped {
                return Err(MappingError::Stopped);
            }
            if until <= Instant::now() {
                return Err(MappingError::NotDrained { records: open, deadline });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes again what came after a cut, and waits for windows as it did.
    pub fn resume(&self) {
        self.shared.control.send_modify(|control| (control.cut, control.hurried) = (None, false));
    }

    /// Starts no further invocations, waits for those in flight and ends. Open windows stay without an end. Stopping twice is fine.
    pub async fn stop(&self) {
        self.shared.control.send_modify(|control| control.stopped = true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(stream = self.shared.spec.stream, %error, "the mapping ended by a panic");
        }
    }
}

/// Starts a worker for every shard that may be read, until the mapping is stopped.
async fn supervise(shared: Arc<Shared>, latest: Vec<(String, Place)>) {
    let mut workers = JoinSet::new();
    let mut control = shared.control.subscribe();
    while !control.borrow_and_update().stopped {
        match shared.source.shards() {
            Ok(shards) => {
                for shard in shards.iter().filter(|shard| may_begin(shard, &shards, &shared)) {
                    let start = latest.iter().find(|(id, _)| *id == shard.id).map(|(_, place)| place.clone());
                    let handled = start.unwrap_or(Place::Oldest);
                    let progress = Progress { handled: handled.clone(), open_windows: 0, is_finished: false };
                    shared.progress().insert(shard.id.clone(), progress);
                    workers.spawn(Worker::new(&shard.id, handled, &shared).run());
                }
            }
            Err(error) => {
                tracing::warn!(stream = shared.spec.stream, %error, "the shards cannot be listed; trying again")
            }
        }
        // A worker that is lost would hold its shard for ever, so its panic goes on here.
        while let Some(ended) = workers.try_join_next() {
            if let Err(Ok(panic)) = ended.map_err(tokio::task::JoinError::try_into_panic) {
                std::panic::resume_unwind(panic);
            }
        }
        tokio::select! {
            Ok(()) = control.changed() => {}
            () = tokio::time::sleep(SHARDS_LOOK) => {}
        }
    }
    while workers.join_next().await.is_some() {}
}

/// A shard begins when those that it was split or merged from are read to their ends, or are not there any more.
fn may_begin(shard: &ShardInfo, shards: &[ShardInfo], shared: &Shared) -> bool {
    let progress = shared.progress();
    let is_over = |parent: &String| {
        progress.get(parent).is_some_and(|parent| parent.is_finished) || shards.iter().all(|other| other.id != *parent)
    };
    !progress.contains_key(&shard.id) && shard.parents.iter().all(is_over)
}
