//! How the broker is started, and how far its partitions reach.

use std::collections::BTreeMap;

/// What a topic may take of the disk unless it is said.
const DISK_BYTES_PER_TOPIC: u64 = 1024 * 1024 * 1024;

/// How to start the broker.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// The port to listen on; `None` takes a free one.
    pub port: Option<u16>,
    /// What a topic may take of the disk, in equal shares for its partitions; the oldest records go first. This comes on top of
    /// `retention.ms` and `retention.bytes`.
    pub disk_bytes_per_topic: u64,
    /// Groups by the topic that is kept for them: to stay within the disk nothing is given up that the group has not committed; records
    /// are refused instead, with `KAFKA_STORAGE_ERROR`, and producers try again. The topic's own retention heeds nobody, as in Apache Kafka.
    pub kept_for: BTreeMap<String, String>,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self { port: None, disk_bytes_per_topic: DISK_BYTES_PER_TOPIC, kept_for: BTreeMap::new() }
    }
}

/// How far a partition reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The oldest offset that is kept: everything below was given up.
    pub first: i64,
    /// The offset that the next record gets.
    pub next: i64,
    /// Bytes on disk.
    pub bytes: u64,
}
