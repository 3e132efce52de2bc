//! Why a cluster cannot be used: what a person can do about it stands in the message.

use std::io;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why a cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The Kafka client reported an error.
    #[error("kafka at {bootstrap} cannot be used")]
    Client {
        /// The bootstrap servers that were asked.
        bootstrap: String,
        /// What librdkafka said.
        #[source]
        source: KafkaError,
    },
    /// Nobody answers, or not in time.
    #[error(
        "no kafka broker answers at {bootstrap} within {waited_s} s ({reason}); check the address, and that the broker is up"
    )]
    Unreachable {
        /// The bootstrap servers that were asked.
        bootstrap: String,
        /// How long was waited.
        waited_s: u64,
        /// What the client saw last.
        reason: String,
    },
    /// The login was refused.
    #[error("kafka at {bootstrap} does not accept {who}: {reason}")]
    Login {
        /// The bootstrap servers that were asked.
        bootstrap: String,
        /// Who asked.
        who: String,
        /// What Kafka said.
        reason: String,
    },
    /// The encryption cannot be agreed on.
    #[error("kafka at {bootstrap}: {reason}; {advice}")]
    Encryption {
        /// The bootstrap servers that were asked.
        bootstrap: String,
        /// What is wrong.
        reason: String,
        /// What would help.
        advice: &'static str,
    },
    /// A right is missing.
    #[error(
        "kafka at {bootstrap} does not allow {who} to use {resource}: authorization failed; grant the right {right}"
    )]
    Right {
        /// The bootstrap servers that were asked.
        bootstrap: String,
        /// Who asked.
        who: String,
        /// The missing right, by Kafka's name.
        right: &'static str,
        /// What it is needed on.
        resource: String,
    },
    /// Somebody else uses the consumer group.
    #[error(
        "consumer group {group} at {bootstrap} is used by {holder}, and two would decide and count each other's records; end that one \
         first (kafka forgets one that was killed within {forgotten_after_s} s), or use another kafka"
    )]
    GroupTaken {
        /// The bootstrap servers that were asked.
        bootstrap: String,
        /// The group.
        group: String,
        /// Who uses it, by the name that it gave to Kafka, and from where.
        holder: String,
        /// How long Kafka remembers one that was killed.
        forgotten_after_s: u64,
    },
    /// Topics that we cannot create.
    #[error("kafka at {bootstrap} shows no topic {}: create it, or allow the role to describe it", topics.join(", "))]
    TopicsMissing {
        /// The bootstrap servers that were asked.
        bootstrap: String,
        /// The topics.
        topics: Vec<String>,
    },
    /// The broker's own time does not stand in the records.
    #[error(
        "topic {topic} has message.timestamp.type={found} and needs {wanted}, because replays are recognised by the broker's time; \
         change it with kafka-configs --alter --add-config message.timestamp.type={wanted}"
    )]
    TimestampType {
        /// The topic.
        topic: String,
        /// The type that is needed.
        wanted: String,
        /// The type that it has.
        found: String,
    },
    /// No record can be written that waits for all replicas.
    #[error(
        "topic {topic} has {copies} replicas and min.insync.replicas={needed}, so nothing can be written to it; lower the setting"
    )]
    TopicUnwritable {
        /// The topic.
        topic: String,
        /// Replicas that must have a record.
        needed: usize,
        /// Replicas that there are.
        copies: usize,
    },
    /// Kafka refused to create a topic.
    #[error("kafka refused what was asked of topic {topic}: {code}")]
    TopicRefused {
        /// The topic.
        topic: String,
        /// Kafka's error code.
        code: RDKafkaErrorCode,
    },
    /// A topic is there with other partitions than the ones that were asked for.
    #[error(
        "topic {topic} has {found} partitions and needs {wanted}; delete it, or change the number that is asked for"
    )]
    PartitionCount {
        /// The topic.
        topic: String,
        /// The partitions that were asked for.
        wanted: usize,
        /// The partitions that it has.
        found: usize,
    },
    /// The threads of a service.
    #[error("no threads for {name}")]
    Threads {
        /// The threads' name.
        name: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A question to the client ended by a panic.
    #[error("kafka ended by a panic")]
    Panicked,
}
