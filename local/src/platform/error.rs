//! Why a platform cannot be started, used or stopped.

use centinela_aws::{DynamoError, EndpointError, KinesisError, S3Error};
use centinela_broker::BrokerError;
use centinela_kafka_client::ClusterError;
use centinela_lambda_host::mapping::MappingError;
use centinela_lambda_host::{HostError, InvokeError};
use centinela_serve::ServerError;

/// Why a platform cannot be started, used or stopped.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// A Kafka that was there already, or a topic.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The end of a server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The embedded broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The embedded DynamoDB.
    #[error(transparent)]
    Dynamo(#[from] DynamoError),
    /// The embedded Kinesis.
    #[error(transparent)]
    Kinesis(#[from] KinesisError),
    /// The embedded S3.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// A DynamoDB, Kinesis or S3 that was there already.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The threads of a service.
    #[error("no threads for {name}")]
    Threads {
        /// The threads' name.
        name: &'static str,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A function.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A function does not start.
    #[error("function `{function}` does not start")]
    Start {
        /// The function.
        function: String,
        /// What it said.
        #[source]
        source: InvokeError,
    },
    /// A mapping.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// A mapping names a function that no stack declares.
    #[error("the mapping of topic `{topic}` invokes `{function}`, which no stack declares")]
    UnknownFunction {
        /// Topic of the mapping.
        topic: String,
        /// The missing function.
        function: String,
    },
    /// What the group had not committed before does not move.
    #[error(
        "{records} records on topic `{topic}` that group `{group}` has not committed do not move; look at the function's log (--logs), or \
         move the group's offsets"
    )]
    Backlog {
        /// Records that are open.
        records: u64,
        /// The topic.
        topic: String,
        /// The group.
        group: String,
    },
}

impl PlatformError {
    /// Whether another argument would help: a port is taken, an address is none, or somebody uses the consumer group.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        let server = match self {
            Self::Cluster(ClusterError::GroupTaken { .. }) | Self::Endpoint(EndpointError::Url { .. }) => return true,
            Self::Broker(BrokerError::Server(server))
            | Self::Dynamo(DynamoError::Server(server))
            | Self::Kinesis(KinesisError::Server(server))
            | Self::S3(S3Error::Server(server))
            | Self::Endpoint(EndpointError::Server(server)) => server,
            _ => return false,
        };
        matches!(server, ServerError::PortTaken { .. })
    }
}
