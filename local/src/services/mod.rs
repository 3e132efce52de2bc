//! The embedded stand-ins for the managed services: Kafka, DynamoDB, S3 and Kinesis, each in this process on 127.0.0.1.
//!
//! Each service is started alone, listens on the port that was asked for or on a free one, and is stopped by an awaited
//! `shutdown`. Nothing here knows what Centinela does with the services: no table, topic or stream is named in this module.
//!
//! The same services can also be somebody else's: [`kafka`], [`foreign_topics`] and [`aws`] reach those, create what is missing and
//! check what is there, and [`front`] stands before them where faults, latency and units are wanted.
//!
//! What the stand-ins refuse to do: they never listen on another address than 127.0.0.1, never install a signal handler
//! and never keep data after the process ends (an S3 directory that the caller names is the one exception).

pub mod aws;
pub mod dynamodb;
pub mod fault;
pub mod foreign_topics;
pub mod front;
mod http;
pub mod kafka;
pub mod kinesis;
pub mod latency;
pub mod s3;
pub mod topic_admin;
pub mod topics;

use std::io;
use std::path::PathBuf;

use dynoxide::DynoxideError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

pub use aws::AwsAccess;
pub use centinela_broker::{Broker, BrokerConfig, BrokerError, Extent};
pub use dynamodb::{AttrType, DynamoConfig, DynamoDb, DynamoStats, TableSpec, TableUnits};
pub use fault::{Fault, FaultSource, NoFaults, RequestInfo};
pub use front::{Front, FrontConfig, Fronted};
pub use kafka::{KafkaAccess, KafkaLogin};
pub use kinesis::{Kinesis, KinesisConfig, KinesisStats, ReadFrom, ShardPage, ShardRecord, StreamSpec};
pub use latency::{Latency, LatencyError};
pub use s3::{S3, S3Config, S3Stats};
pub use topics::{TopicSpec, create_topics};

/// The AWS region that every stand-in answers for.
pub const REGION: &str = "us-east-1";
/// The access key id that the stand-ins accept.
pub const ACCESS_KEY_ID: &str = "centinela";
/// The secret that belongs to [`ACCESS_KEY_ID`]. Not a secret: it opens servers on 127.0.0.1 only.
pub const SECRET_ACCESS_KEY: &str = "centinela-local";

/// Where the services of one platform are, in the form that clients want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Kafka bootstrap servers, `host:port`.
    pub kafka: String,
    /// DynamoDB endpoint URL.
    pub dynamodb: String,
    /// S3 endpoint URL; clients must use path-style addressing.
    pub s3: String,
    /// Kinesis endpoint URL.
    pub kinesis: String,
    /// AWS region.
    pub region: String,
    /// AWS access key id.
    pub access_key_id: String,
    /// AWS secret access key.
    pub secret_access_key: String,
    /// The token of temporary credentials.
    pub session_token: Option<String>,
}

impl Endpoints {
    /// The environment variables that point an unmodified AWS SDK at these endpoints. Kafka has no such variable.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let token = self.session_token.iter().map(|token| ("AWS_SESSION_TOKEN", token.clone()));
        let variables = vec![
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.clone()),
            ("AWS_ENDPOINT_URL_S3", self.s3.clone()),
            ("AWS_ENDPOINT_URL_KINESIS", self.kinesis.clone()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_ACCESS_KEY_ID", self.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key.clone()),
        ];
        variables.into_iter().chain(token).collect()
    }
}

impl From<BrokerError> for ServiceError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::PortTaken { port } => Self::PortTaken { service: "kafka", port },
            other => Self::Broker(other),
        }
    }
}

/// Why a service could not be started or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The requested port has another owner.
    #[error(
        "port {port} on 127.0.0.1 is taken, so {service} cannot listen there; stop its owner or ask for another port"
    )]
    PortTaken {
        /// The service that wanted the port.
        service: &'static str,
        /// The port.
        port: u16,
    },
    /// The listener could not be opened for a reason other than a taken port.
    #[error("{service} cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The service that wanted the port.
        service: &'static str,
        /// The port, 0 for a free one.
        port: u16,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The broker refused to start or ended by itself.
    #[error(transparent)]
    Broker(BrokerError),
    /// The broker did not accept a connection in time.
    #[error("the embedded kafka broker did not answer on {bootstrap} within {waited_ms} ms")]
    BrokerSilent {
        /// Where it was expected.
        bootstrap: String,
        /// How long it was waited for.
        waited_ms: u128,
    },
    /// The Kafka client reported an error.
    #[error("kafka at {bootstrap} cannot be used")]
    Kafka {
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
    KafkaUnreachable {
        /// The bootstrap servers that were asked.
        bootstrap: String,
        /// How long was waited.
        waited_s: u64,
        /// What the client saw last.
        reason: String,
    },
    /// The login was refused.
    #[error("kafka at {bootstrap} does not accept {who}: {reason}")]
    KafkaLogin {
        /// The bootstrap servers that were asked.
        bootstrap: String,
        /// Who asked.
        who: String,
        /// What Kafka said.
        reason: String,
    },
    /// The encryption cannot be agreed on.
    #[error("kafka at {bootstrap}: {reason}; {advice}")]
    KafkaEncryption {
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
    KafkaRight {
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
    /// Not a URL of a service.
    #[error("{url:?} is no endpoint; give it as http://HOST:PORT or https://HOST")]
    EndpointUrl {
        /// What was given.
        url: String,
    },
    /// The system's certificates cannot be read.
    #[error("the system's certificates cannot be read")]
    Certificates {
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Nobody answers.
    #[error("{service} at {url} cannot be reached: {reason}; check the address, and that it is up")]
    EndpointUnreachable {
        /// The service.
        service: &'static str,
        /// Where it was looked for.
        url: String,
        /// What the client saw.
        reason: String,
    },
    /// The service does not do what was asked.
    #[error("{service} at {url} refused {doing}: {reason}")]
    EndpointRefused {
        /// The service.
        service: &'static str,
        /// Where it is.
        url: String,
        /// What was attempted.
        doing: String,
        /// The service's name for the error, and what it says.
        reason: String,
    },
    /// A table with another key.
    #[error(
        "table {table} has the key {found} and needs {wanted}; name another database, or delete the table yourself"
    )]
    TableShape {
        /// The table.
        table: String,
        /// The key that is needed.
        wanted: String,
        /// The key that it has.
        found: String,
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
    /// A DynamoDB table could not be created.
    #[error("table {table} cannot be created")]
    Table {
        /// The table.
        table: String,
        /// What the database said.
        #[source]
        source: Box<DynoxideError>,
    },
    /// A table of the embedded database could not be given its first items.
    #[error("table {table} cannot be filled")]
    Seed {
        /// The table.
        table: String,
        /// What the database said.
        #[source]
        source: Box<DynoxideError>,
    },
    /// The embedded database could not be opened.
    #[error("the embedded dynamodb cannot open its memory database")]
    Database(#[source] Box<DynoxideError>),
    /// A bucket name that S3 would not accept.
    #[error("bucket name {name:?} is not valid; use 3 to 63 lower-case letters, digits, dots and hyphens")]
    BucketName {
        /// The name.
        name: String,
    },
    /// The directory that holds the objects cannot be used.
    #[error("s3 cannot use the directory {}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The file-backed object store refused its directory.
    #[error("s3 cannot keep objects in {}: {reason:?}", directory.display())]
    ObjectStore {
        /// The directory.
        directory: PathBuf,
        /// What the object store said.
        reason: s3s_fs::Error,
    },
    /// A stream that cannot exist.
    #[error(
        "stream {name:?} with {shards} shards is not valid; use a name of 1 to 128 letters, digits, '_', '.' or '-' and at least one shard"
    )]
    Stream {
        /// The stream.
        name: String,
        /// The shards that were asked for.
        shards: u16,
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
    /// A task of a service ended by a panic.
    #[error("{service} ended by a panic")]
    Panicked {
        /// The service.
        service: &'static str,
    },
}
