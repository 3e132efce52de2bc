//! What can go wrong.

use std::fmt;
use std::io;

/// An error code of Kafka. <https://kafka.apache.org/protocol#protocol_error_codes>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub i16);

impl Code {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const CORRUPT_MESSAGE: Self = Self(2);
    pub(crate) const UNKNOWN_TOPIC_OR_PARTITION: Self = Self(3);
    pub(crate) const LEADER_NOT_AVAILABLE: Self = Self(5);
    pub(crate) const NOT_LEADER_OR_FOLLOWER: Self = Self(6);
    pub(crate) const REQUEST_TIMED_OUT: Self = Self(7);
    pub(crate) const MESSAGE_TOO_LARGE: Self = Self(10);
    pub(crate) const NETWORK_EXCEPTION: Self = Self(13);
    pub(crate) const COORDINATOR_LOAD_IN_PROGRESS: Self = Self(14);
    pub(crate) const COORDINATOR_NOT_AVAILABLE: Self = Self(15);
    pub(crate) const INVALID_TOPIC: Self = Self(17);
    pub(crate) const RECORD_LIST_TOO_LARGE: Self = Self(18);
    pub(crate) const NOT_ENOUGH_REPLICAS: Self = Self(19);
    pub(crate) const NOT_ENOUGH_REPLICAS_AFTER_APPEND: Self = Self(20);
    pub(crate) const TOPIC_AUTHORIZATION_FAILED: Self = Self(29);
    pub(crate) const CLUSTER_AUTHORIZATION_FAILED: Self = Self(31);
    pub(crate) const POLICY_VIOLATION: Self = Self(44);
    pub(crate) const OUT_OF_ORDER_SEQUENCE_NUMBER: Self = Self(45);
    pub(crate) const DUPLICATE_SEQUENCE_NUMBER: Self = Self(46);
    pub(crate) const INVALID_PRODUCER_EPOCH: Self = Self(47);
    pub(crate) const KAFKA_STORAGE_ERROR: Self = Self(56);
    pub(crate) const UNKNOWN_PRODUCER_ID: Self = Self(59);
    pub(crate) const FENCED_LEADER_EPOCH: Self = Self(74);
    pub(crate) const UNKNOWN_LEADER_EPOCH: Self = Self(75);
    pub(crate) const INVALID_RECORD: Self = Self(87);
    pub(crate) const THROTTLING_QUOTA_EXCEEDED: Self = Self(89);

    fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::CORRUPT_MESSAGE => "CORRUPT_MESSAGE",
            Self::UNKNOWN_TOPIC_OR_PARTITION => "UNKNOWN_TOPIC_OR_PARTITION",
            Self::LEADER_NOT_AVAILABLE => "LEADER_NOT_AVAILABLE",
            Self::NOT_LEADER_OR_FOLLOWER => "NOT_LEADER_OR_FOLLOWER",
            Self::REQUEST_TIMED_OUT => "REQUEST_TIMED_OUT",
            Self::MESSAGE_TOO_LARGE => "MESSAGE_TOO_LARGE",
            Self::NETWORK_EXCEPTION => "NETWORK_EXCEPTION",
            Self::COORDINATOR_LOAD_IN_PROGRESS => "COORDINATOR_LOAD_IN_PROGRESS",
            Self::COORDINATOR_NOT_AVAILABLE => "COORDINATOR_NOT_AVAILABLE",
            Self::INVALID_TOPIC => "INVALID_TOPIC_EXCEPTION",
            Self::RECORD_LIST_TOO_LARGE => "RECORD_LIST_TOO_LARGE",
            Self::NOT_ENOUGH_REPLICAS => "NOT_ENOUGH_REPLICAS",
            Self::NOT_ENOUGH_REPLICAS_AFTER_APPEND => "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
            Self::TOPIC_AUTHORIZATION_FAILED => "TOPIC_AUTHORIZATION_FAILED",
            Self::CLUSTER_AUTHORIZATION_FAILED => "CLUSTER_AUTHORIZATION_FAILED",
            Self::POLICY_VIOLATION => "POLICY_VIOLATION",
            Self::DUPLICATE_SEQUENCE_NUMBER => "DUPLICATE_SEQUENCE_NUMBER",
            Self::OUT_OF_ORDER_SEQUENCE_NUMBER => "OUT_OF_ORDER_SEQUENCE_NUMBER",
            Self::INVALID_PRODUCER_EPOCH => "INVALID_PRODUCER_EPOCH",
            Self::KAFKA_STORAGE_ERROR => "KAFKA_STORAGE_ERROR",
            Self::UNKNOWN_PRODUCER_ID => "UNKNOWN_PRODUCER_ID",
            Self::FENCED_LEADER_EPOCH => "FENCED_LEADER_EPOCH",
            Self::UNKNOWN_LEADER_EPOCH => "UNKNOWN_LEADER_EPOCH",
            Self::INVALID_RECORD => "INVALID_RECORD",
            Self::THROTTLING_QUOTA_EXCEEDED => "THROTTLING_QUOTA_EXCEEDED",
            _ => return None,
        })
    }

    /// What follows for a batch of so many records.
    pub(crate) fn meaning(self, records: usize) -> Meaning {
        match self {
            Self::NONE => Meaning::Done,
            Self::DUPLICATE_SEQUENCE_NUMBER => Meaning::Repeated,
            Self::UNKNOWN_TOPIC_OR_PARTITION
            | Self::LEADER_NOT_AVAILABLE
            | Self::NOT_LEADER_OR_FOLLOWER
            | Self::NETWORK_EXCEPTION
            | Self::KAFKA_STORAGE_ERROR
            | Self::FENCED_LEADER_EPOCH
            | Self::UNKNOWN_LEADER_EPOCH => Meaning::Elsewhere,
            Self::OUT_OF_ORDER_SEQUENCE_NUMBER | Self::INVALID_PRODUCER_EPOCH | Self::UNKNOWN_PRODUCER_ID => {
                Meaning::OtherIdentity
            }
            Self::MESSAGE_TOO_LARGE | Self::RECORD_LIST_TOO_LARGE | Self::INVALID_RECORD if records > 1 => {
                Meaning::Apart
            }
            Self::MESSAGE_TOO_LARGE
            | Self::RECORD_LIST_TOO_LARGE
            | Self::INVALID_RECORD
            | Self::INVALID_TOPIC
            | Self::TOPIC_AUTHORIZATION_FAILED
            | Self::CLUSTER_AUTHORIZATION_FAILED
            | Self::POLICY_VIOLATION => Meaning::Refused,
            // Brokers that are busy say so, and one that says what nobody here knows may have written it.
            _ => Meaning::Later,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error code {}", self.0),
        }
    }
}

/// What a broker's answer about a batch means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It is on the topic.
    Done,
    /// A batch of this number is on the topic.
    Repeated,
    /// Another broker leads the partition by now, or none does.
    Elsewhere,
    /// The same again in a moment.
    Later,
    /// The brokers have lost count of this producer.
    OtherIdentity,
    /// A record is wrong, and it is not said which.
    Apart,
    /// For good.
    Refused,
}

/// Why there is no producer.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// No address is one.
    #[error("`{0}` is no list of brokers: each must be host:port")]
    Bootstrap(String),
    /// Certificates that cannot be used.
    #[error("the certificates that brokers are checked by cannot be used")]
    Certificates(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a record is not on its topic, as far as anybody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Larger than the client sends.
    #[error("the record has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest that is sent.
        limit: usize,
    },
    /// The brokers will not take it, now or later.
    #[error("the brokers refuse it: {0}")]
    Refused(Code),
    /// Not acknowledged in time. It may have been written.
    #[error("no acknowledgement in time: {0}")]
    Unacknowledged(String),
}

/// Why an exchange with a broker came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("no connection to {address}")]
    Connect { address: String, source: io::Error },
    #[error("no connection to {address} within {waited_ms} ms")]
    ConnectTimeout { address: String, waited_ms: u128 },
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("the broker closed the connection")]
    Closed,
    #[error("no answer within {waited_ms} ms")]
    NoAnswer { waited_ms: u128 },
    #[error("an answer is not of its form: {0}")]
    Malformed(&'static str),
    #[error("the broker answered {0}")]
    Refused(Code),
    #[error("the login failed: {0}")]
    Login(String),
    #[error("no time was left")]
    OutOfTime,
}

/// A problem with its causes in one line.
pub(crate) fn described(problem: &Problem) -> String {
    let mut text = problem.to_string();
    let mut cause = std::error::Error::source(problem);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
