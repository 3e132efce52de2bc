//! Why a platform cannot be started, used or stopped.

use centinela_aws::{DynamoError, EndpointError, KinesisError, S3Error};
use centinela_broker::BrokerError;
use centinela_cloudwatch::SpecError;
use centinela_http_front::IssuerError;
use centinela_kafka_client::ClusterError;
use centinela_lambda_host::mapping::MappingError;
use centinela_lambda_host::{HostError, InvokeError};
use centinela_serve::ServerError;

/// Why a platform cannot be started, used or stopped.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PlatformError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Dynamo(#[from] DynamoError),
    #[error(transparent)]
    Kinesis(#[from] KinesisError),
    #[error(transparent)]
    S3(#[from] S3Error),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("no threads for {name}")]
    Threads {
        name: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("the stacks have an alarm that cannot be evaluated: {0}")]
    Alarm(#[from] SpecError),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("function `{function}` does not start")]
    Start {
        function: String,
        #[source]
        source: InvokeError,
    },
    #[error("no stack declares a function `{function}`")]
    NoFunction { function: String },
    #[error("an invocation of `{function}` failed")]
    Invoke {
        function: String,
        #[source]
        source: InvokeError,
    },
    #[error(transparent)]
    Mapping(#[from] MappingError),
    #[error("the mapping of topic `{topic}` invokes `{function}`, which no stack declares")]
    UnknownFunction { topic: String, function: String },
    #[error(
        "{records} records on topic `{topic}` that group `{group}` has not committed do not move; look at the function's log (--logs), or \
         move the group's offsets"
    )]
    Backlog { records: u64, topic: String, group: String },

    #[error(
        "{records} records and windows, which a backlog left on a stream for {functions}, do not move; look at the functions' log (--logs)"
    )]
    StreamBacklog { records: u64, functions: String },
}

impl PlatformError {
    /// Whether another argument would help: a port is taken, an address is none, or somebody uses the consumer group.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        let server = match self {
            Self::Cluster(ClusterError::GroupTaken { .. })
            | Self::Endpoint(EndpointError::Url { .. })
            | Self::Alarm(_) => return true,
            Self::Server(server)
            | Self::Broker(BrokerError::Server(server))
            | Self::Dynamo(DynamoError::Server(server))
            | Self::Kinesis(KinesisError::Server(server))
            | Self::S3(S3Error::Server(server))
            | Self::Endpoint(EndpointError::Server(server)) => server,
            _ => return false,
        };
        matches!(server, ServerError::PortTaken { .. })
    }
}
