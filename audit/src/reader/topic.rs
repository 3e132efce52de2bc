//! Which topics are read, from where, and why they cannot be.

use std::time::Duration;

use rdkafka::error::KafkaError;

/// What a topic holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Transactions as producers send them.
    Transactions,
    /// Decisions that let a transaction pass.
    Approved,
    /// Decisions that stop it.
    Blocked,
    /// Records that can never be decided.
    DeadLetters,
    /// User actions.
    Actions,
    /// Events, labels among them.
    Events,
}

impl Content {
    /// Whether producers write it, and not functions.
    pub fn is_produced(self) -> bool {
        matches!(self, Self::Transactions | Self::Actions | Self::Events)
    }
}

/// A topic to read.
#[derive(Clone, Debug)]
pub struct Topic {
    /// As Kafka knows it.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// What it holds.
    pub content: Content,
    /// The first offset to read, by partition; a partition without one is read from its beginning.
    pub starts: Vec<i64>,
}

impl Topic {
    /// The first offset to read.
    pub(super) fn start(&self, partition: u32) -> i64 {
        self.starts.get(partition as usize).copied().unwrap_or(0)
    }
}

/// Why the topics cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The client or the broker.
    #[error("the topics cannot be read back")]
    Kafka(#[from] KafkaError),
    /// A topic went away under it.
    #[error("topic {topics} was deleted or recreated while it was read for the report")]
    Gone {
        /// Those that are not there, or all when they are there again.
        topics: String,
    },
    /// What became of transactions cannot be told any more.
    #[error(
        "{offsets} records of topic `{topic}` were deleted before they were read for the report; raise the topic's retention"
    )]
    Deleted {
        /// Whose retention was too short.
        topic: String,
        /// Between the last that was read and the first that is left.
        offsets: i64,
    },
    /// The end was not reached.
    #[error("{records} records of the topics could not be read back: nothing came for {} s", .limit.as_secs_f64())]
    Stuck {
        /// Records between the reader and the ends.
        records: i64,
        /// How long it waited for the next.
        limit: Duration,
    },
    /// The thread of the reader ended by a panic, or could not be started.
    #[error("the reader of the topics ended early")]
    Ended,
}
