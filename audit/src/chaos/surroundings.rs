//! What the faults reach, and why one cannot be carried out.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use centinela_local::broker::BrokerError;
use centinela_local::kafka::{ClusterError, TopicAdmin, TopicSpec};
use centinela_local::lambda::FunctionHost;
use centinela_local::mapping::{KafkaMapping, MappingError};
use centinela_local::platform::Platform;
use nix::errno::Errno;
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use super::kafka_process::{KafkaProcess, There};
use super::tally::Tally;
use crate::lake::Lake;
use crate::reader::ReadControl;
use crate::tracker::Tracker;

/// How long everything in flight may take to come to rest before the topic is deleted.
pub(super) const REST_LIMIT: Duration = Duration::from_secs(60);

/// What the faults need to reach.
pub struct Surroundings<'a> {
    /// The functions, and Kafka where it is embedded.
    pub platform: &'a Platform,
    /// The scoring function: faults of time go by its timeout, and half of those of processes meet it.
    pub scoring: &'a Arc<FunctionHost>,
    /// The lake, where there is one: its open hours are compacted again and again, so that faults meet that too.
    pub lake: Option<Lake>,
    /// What restarts and freezes Kafka.
    pub kafka: KafkaProcess,
    /// The topic of the transactions, as it was declared.
    pub transactions: TopicSpec,
    /// The topics of approved and of blocked ones.
    pub decisions: [TopicSpec; 2],
    /// Holds the producer while the topic is recreated.
    pub gate: Arc<Gate>,
    /// The reader of the topic of the transactions.
    pub reader: ReadControl,
    /// What is known about every record.
    pub tracker: Arc<Tracker>,
    /// How often each fault happened.
    pub tally: Arc<Tally>,
    /// Cancelled when the faults have to end.
    pub calm: CancellationToken,
}

impl<'a> Surroundings<'a> {
    /// Waits, or less when the faults have to end.
    pub(super) async fn wait(&self, duration: Duration) {
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            () = self.calm.cancelled() => {}
        }
    }

    /// The mappings that read a topic.
    pub(super) fn mappings_of(&self, topic: &str) -> Vec<&'a Arc<KafkaMapping>> {
        self.platform.mappings().filter(|(key, _)| key.topic == topic).map(|(_, mapping)| mapping).collect()
    }

    /// Records that wait for the scoring function; others gather theirs.
    pub(super) fn lag(&self) -> u64 {
        let scoring = &self.scoring.spec().name;
        let mappings = self.platform.mappings().filter(|(key, _)| key.function == *scoring);
        mappings.map(|(_, mapping)| mapping.stats().lag).sum()
    }

    /// Waits until no fault has taken Kafka away, and keeps it there meanwhile.
    pub(super) async fn admin(&self) -> Result<Admin<'_>, ClusterError> {
        let there = self.kafka.there().await;
        Ok(Admin { client: TopicAdmin::new(self.platform.kafka())?, _there: there })
    }
}

/// Changes topics of a Kafka that stays there.
pub(super) struct Admin<'a> {
    client: TopicAdmin,
    _there: There<'a>,
}

impl Deref for Admin<'_> {
    type Target = TopicAdmin;

    fn deref(&self) -> &TopicAdmin {
        &self.client
    }
}

/// Why a fault could not be carried out or undone.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// An external Kafka did not do what the fault needs.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The embedded broker did not.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The mapping could not be stopped, drained or started.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The command that restarts Kafka.
    #[error("`{command}` did not restart kafka: {reason}")]
    Restart {
        /// As it was given to the shell.
        command: String,
        /// How it ended, and the last line that it said.
        reason: String,
    },
    /// The process of a Kafka that is not embedded.
    #[error(
        "process {pid} cannot be stopped or continued: {reason}; give the one of Kafka on this machine (--kafka-pid)"
    )]
    Freeze {
        /// Its id, as it was given.
        pid: i32,
        /// What the system said.
        reason: Errno,
    },
    /// The reader of the topics has ended.
    #[error("the reader of the topics ended while a topic was changed")]
    Reader,
    /// The topic could not be recreated safely.
    #[error("{records} records were still open after {} s, so the topic was not recreated", REST_LIMIT.as_secs())]
    Restless {
        /// Records that were not committed.
        records: u64,
    },
}
