//! The services of one platform, each embedded or somebody else's, behind one face.

use std::collections::BTreeMap;
use std::sync::Arc;

use dynoxide::actions::scan::ScanRequest;
use dynoxide::types::AttributeValue;
use serde_json::Value;

use super::{PlatformConfig, PlatformError, stream_spec, table_spec, topic_spec};
use crate::services::aws::{AwsClient, prepare_buckets, prepare_streams, prepare_tables, read_all};
use crate::services::foreign_topics::{DeclaredTopic, prepare_topics};
use crate::services::{
    AwsAccess, Broker, BrokerConfig, DynamoConfig, DynamoDb, DynamoStats, Endpoints, Front, FrontConfig, Fronted,
    KafkaAccess, Kinesis, KinesisConfig, S3, S3Config, ServiceError, TopicSpec, create_topics,
};
use crate::threads::{AWS_THREADS, BROKER_THREADS, ServiceThreads};
use centinela_infra::Infrastructure;

/// Items of one page when a table is read back.
const SCAN_PAGE_ITEMS: usize = 1_000;

/// Servers that are there already, instead of the embedded ones.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    /// A Kafka.
    pub kafka: Option<KafkaAccess>,
    /// Endpoint of a DynamoDB.
    pub dynamodb: Option<String>,
    /// Endpoint of a Kinesis.
    pub kinesis: Option<String>,
    /// Endpoint of an S3.
    pub s3: Option<String>,
    /// Who asks them. Used for the embedded ones too, so that one set of credentials fits all.
    pub access: AwsAccess,
}

enum Database {
    Embedded(DynamoDb),
    Foreign { front: Front, client: Box<AwsClient> },
}

enum Streams {
    Embedded(Kinesis),
    Foreign(Front),
}

/// Everything that listens or is connected to.
pub(super) struct Services {
    database: Database,
    streams: Streams,
    objects: Option<S3>,
    broker: Option<Broker>,
    kafka: KafkaAccess,
    /// Where people and other programs find the services.
    endpoints: Endpoints,
    /// Where the functions find them: a front, where there is one.
    inner: Endpoints,
    // The services run on them, so they end last.
    _threads: (ServiceThreads, Option<ServiceThreads>),
}

impl Services {
    /// Starts what is embedded, on threads of its own, reaches what is not, and creates what the stacks declare.
    pub(super) async fn start(config: &PlatformConfig) -> Result<Self, ServiceError> {
        let infrastructure = &config.infrastructure;
        let access = config.servers.access.clone();
        let aws_threads = threads(AWS_THREADS)?;
        let (database, dynamodb) = Box::pin(database(config, &aws_threads)).await?;
        let (streams, kinesis) = Box::pin(streams(config, &aws_threads)).await?;
        let (objects, s3) = Box::pin(objects(config, &aws_threads)).await?;
        let (broker, kafka) = Box::pin(kafka(config, infrastructure)).await?;
        let front_of_database = match &database {
            Database::Embedded(embedded) => embedded.url(),
            Database::Foreign { front, .. } => front.url(),
        };
        let front_of_streams = match &streams {
            Streams::Embedded(embedded) => embedded.url(),
            Streams::Foreign(front) => front.url(),
        };
        let endpoints = Endpoints {
            kafka: kafka.bootstrap.clone(),
            dynamodb,
            s3,
            kinesis,
            region: access.region,
            access_key_id: access.access_key_id,
            secret_access_key: access.secret_access_key,
            session_token: access.session_token,
        };
        let inner = Endpoints { dynamodb: front_of_database, kinesis: front_of_streams, ..endpoints.clone() };
        let (broker, broker_threads) = broker.unzip();
        let threads = (aws_threads, broker_threads);
        Ok(Self { database, streams, objects, broker, kafka, endpoints, inner, _threads: threads })
    }

    pub(super) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    pub(super) fn kafka(&self) -> &KafkaAccess {
        &self.kafka
    }

    pub(super) fn broker(&self) -> Option<&Broker> {
        self.broker.as_ref()
    }

    /// The variables with which a function reaches all of them.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let variables = self.inner.environment().into_iter().chain(self.kafka.environment());
        variables.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    pub(super) fn database_stats(&self) -> DynamoStats {
        match &self.database {
            Database::Embedded(embedded) => embedded.snapshot(),
            Database::Foreign { front, .. } => front.snapshot(),
        }
    }

    /// Key `pk` and state `s` of every item of a table that has both, in no order. Not counted as a read.
    pub(super) async fn read_back(&self, table: &str) -> Result<Vec<(String, Vec<u8>)>, PlatformError> {
        match &self.database {
            Database::Embedded(embedded) => read_embedded(embedded, table),
            Database::Foreign { client, .. } => {
                Ok(read_all(client, table).await?.iter().filter_map(state_of).collect())
            }
        }
    }

    /// Ends what is embedded; says what did not end in order.
    pub(super) async fn shutdown(self) -> Vec<ServiceError> {
        let mut failures = Vec::new();
        if let Some(broker) = self.broker {
            failures.extend(broker.shutdown().await.err().map(ServiceError::from));
        }
        let streams = match self.streams {
            Streams::Embedded(embedded) => embedded.shutdown().await,
            Streams::Foreign(front) => front.shutdown().await,
        };
        let database = match self.database {
            Database::Embedded(embedded) => embedded.shutdown().await,
            Database::Foreign { front, .. } => front.shutdown().await,
        };
        failures.extend(streams.err().into_iter().chain(database.err()));
        if let Some(objects) = self.objects {
            failures.extend(objects.shutdown().await.err());
        }
        failures
    }
}

fn threads(name: &'static str) -> Result<ServiceThreads, ServiceError> {
    ServiceThreads::start(name).map_err(|source| ServiceError::Threads { name, source })
}

async fn database(config: &PlatformConfig, threads: &ServiceThreads) -> Result<(Database, String), ServiceError> {
    let tables: Vec<_> = config.infrastructure.tables.iter().map(table_spec).collect();
    let (port, faults, latency) = (config.ports.dynamodb, Arc::clone(&config.faults), config.latency.clone());
    let Some(url) = &config.servers.dynamodb else {
        let embedded = threads.run(DynamoDb::start(DynamoConfig { port, tables, faults, latency })).await?;
        config.seeds.iter().try_for_each(|(table, states)| embedded.seed(table, states))?;
        let url = embedded.url();
        return Ok((Database::Embedded(embedded), url));
    };
    let access = config.servers.access.clone();
    let client = AwsClient::new("dynamodb", url, &access)?;
    prepare_tables(&client, &tables).await?.iter().for_each(|difference| (config.say)(difference));
    let service = Fronted::Dynamo;
    let front = FrontConfig { service, url: url.clone(), access, port, faults, latency };
    let front = threads.run(Front::start(front)).await?;
    Ok((Database::Foreign { front, client: Box::new(client) }, url.clone()))
}

async fn streams(config: &PlatformConfig, threads: &ServiceThreads) -> Result<(Streams, String), ServiceError> {
    let streams: Vec<_> = config.infrastructure.streams.iter().map(stream_spec).collect();
    let (port, faults, latency) = (config.ports.kinesis, Arc::clone(&config.faults), config.latency.clone());
    let Some(url) = &config.servers.kinesis else {
        let config = KinesisConfig { port, streams, faults, latency, ..KinesisConfig::default() };
        let embedded = threads.run(Kinesis::start(config)).await?;
        let url = embedded.url();
        return Ok((Streams::Embedded(embedded), url));
    };
    let access = config.servers.access.clone();
    let client = AwsClient::new("kinesis", url, &access)?;
    prepare_streams(&client, &streams).await?.iter().for_each(|difference| (config.say)(difference));
    let service = Fronted::Kinesis;
    let front = FrontConfig { service, url: url.clone(), access, port, faults, latency };
    let front = threads.run(Front::start(front)).await?;
    Ok((Streams::Foreign(front), url.clone()))
}

async fn objects(config: &PlatformConfig, threads: &ServiceThreads) -> Result<(Option<S3>, String), ServiceError> {
    let buckets: Vec<_> = config.infrastructure.buckets.iter().map(|bucket| bucket.name.clone()).collect();
    let access = config.servers.access.clone();
    let Some(url) = &config.servers.s3 else {
        let store = S3Config { port: config.ports.s3, directory: None, buckets, access };
        let embedded = threads.run(S3::start(store)).await?;
        let url = embedded.url();
        return Ok((Some(embedded), url));
    };
    prepare_buckets(&AwsClient::new("s3", url, &access)?, &access.region, &buckets).await?;
    Ok((None, url.clone()))
}

async fn kafka(
    config: &PlatformConfig,
    infrastructure: &Infrastructure,
) -> Result<(Option<(Broker, ServiceThreads)>, KafkaAccess), ServiceError> {
    let Some(access) = &config.servers.kafka else {
        let threads = threads(BROKER_THREADS)?;
        let mapped = infrastructure.mappings.iter();
        let kept_for = mapped.map(|mapping| (mapping.topic.clone(), mapping.consumer_group.clone())).collect();
        let broker = BrokerConfig { port: config.ports.kafka, kept_for, ..BrokerConfig::default() };
        let disk_bytes_per_topic = config.kafka_disk_bytes.unwrap_or(broker.disk_bytes_per_topic);
        let broker = threads.run(Broker::start(BrokerConfig { disk_bytes_per_topic, ..broker })).await?;
        let topics: Vec<TopicSpec> = infrastructure.topics.iter().map(topic_spec).collect();
        create_topics(&broker.bootstrap(), &topics).await?;
        let access = KafkaAccess::plaintext(&broker.bootstrap());
        return Ok((Some((broker, threads)), access));
    };
    let declared = declared_topics(infrastructure);
    prepare_topics(access, &declared).await?.differences.iter().for_each(|difference| (config.say)(difference));
    Ok((None, access.clone()))
}

/// The topics, with what is only needed of a foreign cluster.
pub(super) fn declared_topics(infrastructure: &Infrastructure) -> Vec<DeclaredTopic> {
    let is_source = |name: &str| infrastructure.mappings.iter().any(|mapping| mapping.topic == name);
    let declared = infrastructure.topics.iter().map(|topic| DeclaredTopic {
        spec: topic_spec(topic),
        replication: topic.replication as usize,
        written: !is_source(&topic.name),
    });
    declared.collect()
}

fn read_embedded(database: &DynamoDb, table: &str) -> Result<Vec<(String, Vec<u8>)>, PlatformError> {
    let failed = |reason: String| PlatformError::ReadBack { table: table.to_owned(), reason };
    let mut items = Vec::new();
    let mut from = None;
    loop {
        let request = ScanRequest {
            table_name: table.to_owned(),
            limit: Some(SCAN_PAGE_ITEMS),
            exclusive_start_key: from,
            ..ScanRequest::default()
        };
        let page = database.database().scan(request).map_err(|error| failed(error.to_string()))?;
        for mut item in page.items.unwrap_or_default() {
            // An item without state is somebody else's.
            if let (Some(AttributeValue::S(key)), Some(AttributeValue::B(state))) =
                (item.remove("pk"), item.remove("s"))
            {
                items.push((key, state));
            }
        }
        from = page.last_evaluated_key;
        if from.is_none() {
            return Ok(items);
        }
    }
}

fn state_of(item: &Value) -> Option<(String, Vec<u8>)> {
    let state = base64_simd::STANDARD.decode_to_vec(item["s"]["B"].as_str()?).ok()?;
    Some((item["pk"]["S"].as_str()?.to_owned(), state))
}
