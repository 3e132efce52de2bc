//! Why a cluster cannot be used: what a person can do about it stands in the message.

use std::io;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why a cluster cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ClusterError {
    #[error("kafka at {bootstrap} cannot be used")]
    Client {
        bootstrap: String,
        #[source]
        source: KafkaError,
    },
    #[error(
        "no kafka broker answers at {bootstrap} within {waited_s} s ({reason}); check the address, and that the broker is up"
    )]
    Unreachable { bootstrap: String, waited_s: u64, reason: String },
    #[error("kafka at {bootstrap} does not accept {who}: {reason}")]
    Login { bootstrap: String, who: String, reason: String },
    #[error("kafka at {bootstrap}: {reason}; {advice}")]
    Encryption { bootstrap: String, reason: String, advice: &'static str },
    #[error(
        "kafka at {bootstrap} does not allow {who} to use {resource}: authorization failed; grant the right {right}"
    )]
    Right { bootstrap: String, who: String, right: &'static str, resource: String },
    #[error(
        "consumer group {group} at {bootstrap} is used by {holder}, and two would decide and count each other's records; end that one \
         first (kafka forgets one that was killed within {forgotten_after_s} s), or use another kafka"
    )]
    GroupTaken {
        bootstrap: String,
        group: String,
        /// Who uses it, by the name that it gave to Kafka, and from where.
        holder: String,
        forgotten_after_s: u64,
    },
    #[error("kafka at {bootstrap} shows no topic {}: create it, or allow the role to describe it", topics.join(", "))]
    TopicsMissing { bootstrap: String, topics: Vec<String> },
    #[error(
        "topic {topic} has message.timestamp.type={found} and needs {wanted}, because replays are recognised by the broker's time; \
         change it with kafka-configs --alter --add-config message.timestamp.type={wanted}"
    )]
    TimestampType { topic: String, wanted: String, found: String },
    #[error(
        "topic {topic} has {copies} replicas and min.insync.replicas={needed}, so nothing can be written to it; lower the setting"
    )]
    TopicUnwritable { topic: String, needed: usize, copies: usize },
    #[error("kafka refused what was asked of topic {topic}: {code}")]
    TopicRefused { topic: String, code: RDKafkaErrorCode },
    /// A topic is there with other partitions than the ones that were asked for.
    #[error(
        "topic {topic} has {found} partitions and needs {wanted}; delete it, or change the number that is asked for"
    )]
    PartitionCount { topic: String, wanted: usize, found: usize },
    #[error("no threads for {name}")]
    Threads {
        name: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("kafka ended by a panic")]
    Panicked,
}
