//! A Kafka cluster from its clients' side: how to get into it, what it shows and allows, its topics, and who uses a consumer group.
//!
//! Nothing here knows what a topic is for.

mod claim;
mod edges;
mod error;
mod external_topics;
mod parting;
mod rights;
mod topic_admin;
mod topics;
mod watcher;

pub use centinela_kafka_access::{
    KafkaAccess, KafkaLogin, Lost, Password, Scram, bootstrap_again, iam_token, is_identified, tell_when_identified,
};
pub use claim::{Claim, Claimed, Group, check_free};
pub use edges::edges;
pub use error::ClusterError;
pub use external_topics::{DeclaredTopic, PreparedTopics, prepare_topics, topic_ends};
pub use parting::Parting;
pub use rights::may_use_group;
pub use topic_admin::TopicAdmin;
pub use topics::{TopicSpec, create_topics};
pub use watcher::shows;

/// How long a cluster may take to answer the first question.
pub const REACH_LIMIT: std::time::Duration = std::time::Duration::from_secs(8);
