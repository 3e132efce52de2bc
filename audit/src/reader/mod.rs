//! Reads topics back, each from where it stood when the run began, and hands every record to the tracker.
//!
//! It has a consumer of its own, belongs to no group and commits nothing. At the end it reads up to where each partition ends, or up to
//! the run's cut, so that the verdict rests on everything that the topics hold; if it cannot, the report is incomplete and says why.

mod control;
mod reading;
mod topic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use centinela_local::kafka::{KafkaAccess, Lost};
use centinela_local::platform::Cut;
use centinela_verdict::Places;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use self::control::Change;
use self::reading::{Reading, Tokens};
use crate::tracker::Tracker;

pub use self::control::ReadControl;
pub use self::topic::{Content, ReadError, Topic};

/// Where records were, by topic.
pub type PlacesByTopic = BTreeMap<String, Places>;

/// How long a broker holds back what is not worth an answer yet.
const WAIT: Duration = Duration::from_millis(200);

/// A reader at work, in a thread of its own.
pub struct Reader {
    control: ReadControl,
    contents: Vec<Content>,
    thread: JoinHandle<Result<PlacesByTopic, ReadError>>,
}

impl Reader {
    /// Starts to read. Below `worth` bytes (at most 100,000) the broker may hold an answer back for 200 ms: what it costs in
    /// latency it saves in CPU.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn start(
        access: &KafkaAccess,
        topics: Vec<Topic>,
        worth: u32,
        tracker: Arc<Tracker>,
    ) -> Result<Self, ReadError> {
        let consumer: BaseConsumer<Tokens> = access
            .client()
            .set("client.id", "centinela-audit")
            .set("group.id", "centinela-audit")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", WAIT.as_millis().to_string())
            .set("fetch.min.bytes", worth.to_string())
            .create_with_context(Tokens)?;
        let mut assignment = TopicPartitionList::new();
        for topic in &topics {
            for partition in 0..topic.partitions {
                let start = Offset::Offset(topic.start(partition));
                assignment.add_partition_offset(&topic.name, i32::try_from(partition).unwrap_or(i32::MAX), start)?;
            }
        }
        consumer.assign(&assignment)?;
        let (control, changes) = ReadControl::new();
        let bootstrap = access.bootstrap.clone();
        let contents = topics.iter().map(|topic| topic.content).collect();
        let thread = std::thread::Builder::new()
            .name("read-back".to_owned())
            .spawn(move || {
                let places = vec![Places::default(); topics.len()];
                let (consumer, lost, cuts) = (consumer.into(), Lost::default(), Vec::new());
                Reading { consumer, bootstrap, lost, topics, places, tracker, changes, cuts }.run()
            })
            .map_err(|_| ReadError::Ended)?;
        Ok(Self { control, contents, thread })
    }

    /// To tell it how its topics change.
    pub fn control(&self) -> ReadControl {
        self.control.clone()
    }

    /// Whether it reads what producers write.
    pub fn reads_what_is_produced(&self) -> bool {
        self.contents.iter().any(|content| content.is_produced())
    }

    /// Whether it ended before it was asked to.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Reads to the cut of a topic, or, where it has none, to where it ends now; returns where records were. Blocks.
    ///
    /// # Errors
    /// When the end was not reached: nothing came for as long as `limit`, or the reader could not go on.
    pub fn finish(self, cuts: Vec<Cut>, limit: Duration) -> Result<PlacesByTopic, ReadError> {
        self.control.tell(Change::Finish { cuts, limit });
        self.thread.join().unwrap_or(Err(ReadError::Ended))
    }
}
