//! The ports of deliveries and of scoring on real services: DynamoDB for state, Kafka and Kinesis for decisions, the system's clock.
//!
//! Retries live here and nowhere above or below: the AWS SDK's own are switched off and the lean client has none. Every one
//! pauses for a random time and ends with the caller's deadline. Only Kafka's are the producer's, whose pauses double and end with the same
//! deadline. Nothing here decides anything about a transaction.

mod api_store;
mod attribute_group;
pub mod aws;
mod batch_read;
mod budget;
mod dynamo_labels;
mod dynamo_lookup;
mod dynamo_profiles;
mod dynamo_rollups;
pub mod dynamo_state;
pub mod kafka_publisher;
pub mod kinesis_stream;
mod owned_items;
mod service_failure;
mod streams;
mod system_clock;
mod tables;

pub use api_store::{ApiStore, ApiTables};
pub use attribute_group::AttributeGroup;
pub use centinela_kafka_access::KafkaClient;
pub use dynamo_labels::{DynamoLabels, LabelTables};
pub use dynamo_lookup::DynamoLookup;
pub use dynamo_profiles::DynamoProfiles;
pub use dynamo_rollups::DynamoRollups;
pub use dynamo_state::{DynamoConfig, DynamoStateStore};
pub use kafka_publisher::{IngestConfig, KafkaConfig, KafkaIngest, KafkaPublisher};
pub use kinesis_stream::{KinesisConfig, KinesisStream};
pub use owned_items::{DynamoLimits, NameForLogs, OwnedItems, OwnedTable};
pub use streams::Streams;
pub use system_clock::SystemClock;
pub use tables::Tables;

use std::error::Error;

/// A service that cannot be used as configured. Nothing to wait for: a person has to change something.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// DynamoDB refused a read of the tables.
    #[error("dynamodb refused a read of tables {tables:?}: check that they exist and that the role may read them")]
    Tables {
        /// The tables that were asked.
        tables: Vec<String>,
        /// What DynamoDB said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The lean client cannot be used as it is configured.
    #[error(transparent)]
    Wire(#[from] centinela_wire::ConnectError),
    /// Nobody knows where a service is.
    #[error("no address is known for {service}; AWS_REGION says where it is, or AWS_ENDPOINT_URL")]
    Endpoint {
        /// The service.
        service: &'static str,
        /// What the SDK's rules said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The Kafka client refused its configuration.
    #[error("the kafka client refused its configuration for {bootstrap}")]
    KafkaClient {
        /// The brokers.
        bootstrap: String,
        /// What the client said.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// The lean producer cannot be used as it is configured.
    #[error(transparent)]
    Produce(#[from] centinela_produce::ProduceError),
    /// Topics are missing, or the role may not see them.
    #[error("kafka at {bootstrap} shows no topic {}: create it, or allow the role to describe it", topics.join(", "))]
    TopicsMissing {
        /// The brokers.
        bootstrap: String,
        /// The topics.
        topics: Vec<String>,
    },
}
