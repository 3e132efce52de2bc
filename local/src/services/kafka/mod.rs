//! Whether a Kafka lets us in, and what it lets us do. Nothing here knows what a topic is for.

mod claim;
mod edges;
mod parting;
mod rights;
mod watcher;

use super::ServiceError;

pub use centinela_kafka_access::{KafkaAccess, KafkaLogin, Password, Scram, iam_token};
pub use claim::{Claim, Claimed, Group, check_free};
pub use edges::edges;
pub use parting::Parting;
pub use rights::{may_read, may_use_group, may_write};
pub(super) use watcher::{Watcher, reach};

/// How long a cluster may take to answer the first question.
pub const REACH_LIMIT: std::time::Duration = std::time::Duration::from_secs(8);

/// Whether the cluster shows us a topic. Blocks for up to [`REACH_LIMIT`].
///
/// # Errors
/// When nobody answers, or the login or the encryption is refused.
pub fn shows(access: &KafkaAccess, topic: &str) -> Result<bool, ServiceError> {
    let (_, metadata) = reach(access)?;
    Ok(metadata.topics().iter().any(|known| known.name() == topic && !known.partitions().is_empty()))
}
