//! Where a mapping reads: shards with records in order, and what it must know of a stream that is split and merged while it reads.

use std::time::Instant;

use tokio::sync::watch;

/// A record of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRecord {
    /// Its sequence number, as long as every other one: the order of the texts is the order of the records.
    pub sequence_number: String,
    /// The key that chose the shard.
    pub partition_key: String,
    /// The data, base64.
    pub data_base64: String,
    /// When it was written, in milliseconds since 1970; later records may have earlier times.
    pub arrived_ms: u64,
}

/// A shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardInfo {
    /// Its id.
    pub id: String,
    /// The shards that it was split or merged from: they are read first.
    pub parents: Vec<String>,
    /// The sequence number of its newest record; none when it has had none.
    pub newest: Option<String>,
}

/// Where a shard is read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the oldest record that is kept.
    Oldest,
    /// Behind the record with this sequence number.
    After(String),
}

/// Some records of a shard, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The records.
    pub records: Vec<StreamRecord>,
    /// Whether the shard is closed and these are its last records.
    pub is_last: bool,
    /// Records behind the place that were asked for and are not kept any more.
    pub lost: u64,
}

/// A stream cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StreamUnreadable(pub String);

/// A stream that a mapping reads. It is asked often, so it must not block.
pub trait StreamSource: Send + Sync + 'static {
    /// The shards that are there, closed ones included.
    ///
    /// # Errors
    /// When there is no such stream.
    fn shards(&self) -> Result<Vec<ShardInfo>, StreamUnreadable>;

    /// At most so many records from a place on.
    ///
    /// # Errors
    /// When there is no such shard.
    fn read(&self, shard: &str, from: &Place, limit: usize) -> Result<Page, StreamUnreadable>;

    /// How many records are kept behind a place; none of a shard that is not there.
    fn behind(&self, shard: &str, from: &Place) -> u64;

    /// Changes whenever something was written, split or merged.
    fn written(&self) -> watch::Receiver<u64>;

    /// Told up to where a shard was handled: what comes behind it is to be kept.
    fn handled(&self, shard: &str, sequence_number: &str);
}

/// A record in a mapping's hands.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) record: StreamRecord,
    /// When the mapping read it.
    pub(super) received: Instant,
}
