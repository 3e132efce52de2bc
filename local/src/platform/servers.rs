//! The services of one platform, each embedded or external, behind one face.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use centinela_aws::{
    AwsClient, DynamoConfig, DynamoDb, DynamoStats, Kinesis, KinesisConfig, KinesisStats, ObjectStats, ProxiedService,
    Proxy, ProxyConfig, S3, S3Config, StoredItem, prepare_buckets, prepare_streams, prepare_tables, read_items,
    read_object,
};
use centinela_broker::{Broker, BrokerConfig};
use centinela_infra::{Infrastructure, Trigger, TriggerSource};
use centinela_kafka_client::{KafkaAccess, TopicSpec, create_topics, prepare_topics};

use super::config::PlatformConfig;
use super::endpoints::Endpoints;
use super::error::PlatformError;
use super::specs::{declared_topics, stream_spec, table_spec, topic_spec};
use crate::threads::{AWS_THREADS, BROKER_THREADS, ServiceThreads};

enum Database {
    Embedded(DynamoDb),
    External { proxy: Proxy, client: Box<AwsClient> },
}

enum Streams {
    Embedded(Kinesis),
    External(Proxy),
}

/// Everything that listens or is connected to.
pub(super) struct Services {
    database: Database,
    streams: Streams,
    objects: Option<S3>,
    s3: AwsClient,
    broker: Option<Broker>,
    kafka: KafkaAccess,
    /// Where people and other programs find the services.
    endpoints: Endpoints,
    /// Where the functions find them: a proxy, where there is one.
    inner: Endpoints,
    // The services run on them, so they end last.
    _threads: (ServiceThreads, Option<ServiceThreads>),
}

impl Services {
    /// Starts what is embedded, on threads of its own, reaches what is not, and creates what the stacks declare.
    pub(super) async fn start(config: &PlatformConfig) -> Result<Self, PlatformError> {
        let infrastructure = &config.infrastructure;
        let access = config.servers.access.clone();
        let aws_threads = threads(AWS_THREADS)?;
        let (database, dynamodb) = Box::pin(database(config, &aws_threads)).await?;
        let (streams, kinesis) = Box::pin(streams(config, &aws_threads)).await?;
        let (objects, s3) = Box::pin(objects(config, &aws_threads)).await?;
        let (broker, kafka) = Box::pin(kafka(config, infrastructure)).await?;
        let database_url = match &database {
            Database::Embedded(embedded) => embedded.url(),
            Database::External { proxy, .. } => proxy.url(),
        };
        let streams_url = match &streams {
            Streams::Embedded(embedded) => embedded.url(),
            Streams::External(proxy) => proxy.url(),
        };
        let endpoints = Endpoints {
            kafka: kafka.bootstrap.clone(),
            dynamodb,
            s3,
            kinesis,
            lambda: String::new(),
            api: String::new(),
            issuer: String::new(),
            sns: String::new(),
            region: access.region,
            access_key_id: access.access_key_id,
            secret_access_key: access.secret_access_key,
            session_token: access.session_token,
        };
        let s3 = AwsClient::new("s3", &endpoints.s3, &config.servers.access)?;
        let inner = Endpoints { dynamodb: database_url, kinesis: streams_url, ..endpoints.clone() };
        let (broker, broker_threads) = broker.unzip();
        let threads = (aws_threads, broker_threads);
        Ok(Self { database, streams, objects, s3, broker, kafka, endpoints, inner, _threads: threads })
    }

    pub(super) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Notes where the functions can be invoked and braked, and where people are told.
    pub(super) fn note_control(&mut self, lambda: &str, sns: &str) {
        for endpoints in [&mut self.endpoints, &mut self.inner] {
            lambda.clone_into(&mut endpoints.lambda);
            sns.clone_into(&mut endpoints.sns);
        }
    }

    /// Notes where the HTTP APIs are, and who gives tokens for them.
    pub(super) fn note_api(&mut self, url: String, issuer: String) {
        (self.endpoints.api, self.endpoints.issuer) = (url, issuer);
    }

    pub(super) fn kafka(&self) -> &KafkaAccess {
        &self.kafka
    }

    pub(super) fn broker(&self) -> Option<&Broker> {
        self.broker.as_ref()
    }

    /// The embedded streams; none when they are external.
    pub(super) fn embedded_streams(&self) -> Option<&Kinesis> {
        match &self.streams {
            Streams::Embedded(embedded) => Some(embedded),
            Streams::External(_) => None,
        }
    }

    /// Whether a trigger is an embedded stream, which is mapped.
    pub(super) fn has_stream(&self, trigger: &Trigger) -> bool {
        matches!(trigger.source, TriggerSource::Kinesis(_)) && self.embedded_streams().is_some()
    }

    /// The variables with which a function reaches all of them.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let variables = self.inner.environment().into_iter().chain(self.kafka.environment());
        variables.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    pub(super) fn database_stats(&self) -> DynamoStats {
        match &self.database {
            Database::Embedded(embedded) => embedded.snapshot(),
            Database::External { proxy, .. } => proxy.snapshot(),
        }
    }

    /// What was asked of the embedded Kinesis.
    pub(super) fn stream_stats(&self) -> Option<KinesisStats> {
        self.embedded_streams().map(Kinesis::snapshot)
    }

    /// What was asked of the embedded S3.
    pub(super) fn object_stats(&self) -> Option<ObjectStats> {
        self.objects.as_ref().map(S3::snapshot)
    }

    /// Every item of a table, in no order. Not counted as a read.
    pub(super) async fn read_back(&self, table: &str) -> Result<Vec<StoredItem>, PlatformError> {
        match &self.database {
            Database::Embedded(embedded) => Ok(embedded.items(table)?),
            Database::External { client, .. } => Ok(read_items(client, table).await?),
        }
    }

    /// An object; none where there is none. Not counted.
    pub(super) async fn object(&self, bucket: &str, key: &str) -> Result<Option<Bytes>, PlatformError> {
        match &self.objects {
            Some(embedded) => Ok(embedded.object(bucket, key).await?),
            None => Ok(read_object(&self.s3, bucket, key).await?),
        }
    }

    /// Ends what is embedded; says what did not end in order.
    pub(super) async fn shutdown(self) -> Vec<PlatformError> {
        let mut failures = Vec::new();
        if let Some(broker) = self.broker {
            failures.extend(broker.shutdown().await.err().map(PlatformError::from));
        }
        let streams = match self.streams {
            Streams::Embedded(embedded) => embedded.shutdown().await,
            Streams::External(proxy) => proxy.shutdown().await,
        };
        let database = match self.database {
            Database::Embedded(embedded) => embedded.shutdown().await,
            Database::External { proxy, .. } => proxy.shutdown().await,
        };
        failures.extend(streams.err().into_iter().chain(database.err()).map(PlatformError::from));
        if let Some(objects) = self.objects {
            failures.extend(objects.shutdown().await.err().map(PlatformError::from));
        }
        failures
    }
}

fn threads(name: &'static str) -> Result<ServiceThreads, PlatformError> {
    ServiceThreads::start(name).map_err(|source| PlatformError::Threads { name, source })
}

async fn database(config: &PlatformConfig, threads: &ServiceThreads) -> Result<(Database, String), PlatformError> {
    let tables: Vec<_> = config.infrastructure.tables.iter().map(table_spec).collect();
    let (port, faults, latency) = (config.ports.dynamodb, Arc::clone(&config.faults), config.latency.clone());
    let Some(url) = &config.servers.dynamodb else {
        let embedded = threads.run(DynamoDb::start(DynamoConfig { port, tables, faults, latency })).await?;
        config.seeds.iter().try_for_each(|(table, items)| embedded.seed(table, items))?;
        let url = embedded.url();
        return Ok((Database::Embedded(embedded), url));
    };
    let access = config.servers.access.clone();
    let client = AwsClient::new("dynamodb", url, &access)?;
    prepare_tables(&client, &tables).await?.iter().for_each(|difference| (config.say)(difference));
    let service = ProxiedService::DynamoDb;
    let proxy = ProxyConfig { service, url: url.clone(), access, port, faults, latency };
    let proxy = threads.run(Proxy::start(proxy)).await?;
    Ok((Database::External { proxy, client: Box::new(client) }, url.clone()))
}

async fn streams(config: &PlatformConfig, threads: &ServiceThreads) -> Result<(Streams, String), PlatformError> {
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
    let service = ProxiedService::Kinesis;
    let proxy = ProxyConfig { service, url: url.clone(), access, port, faults, latency };
    let proxy = threads.run(Proxy::start(proxy)).await?;
    Ok((Streams::External(proxy), url.clone()))
}

async fn objects(config: &PlatformConfig, threads: &ServiceThreads) -> Result<(Option<S3>, String), PlatformError> {
    let buckets: Vec<_> = config.infrastructure.buckets.iter().map(|bucket| bucket.name.clone()).collect();
    let access = config.servers.access.clone();
    let Some(url) = &config.servers.s3 else {
        let faults = Arc::clone(&config.faults);
        let (port, directory, calls) = (config.ports.s3, config.objects.clone(), config.calls.clone());
        let store = S3Config { port, directory, buckets, access, faults, calls };
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
) -> Result<(Option<(Broker, ServiceThreads)>, KafkaAccess), PlatformError> {
    let Some(access) = &config.servers.kafka else {
        let threads = threads(BROKER_THREADS)?;
        let mut kept_for = BTreeMap::<_, Vec<_>>::new();
        for mapping in &infrastructure.mappings {
            kept_for.entry(mapping.topic.clone()).or_default().push(mapping.consumer_group.clone());
        }
        let (port, calls) = (config.ports.kafka, config.calls.clone());
        let broker = BrokerConfig { port, kept_for, calls, ..BrokerConfig::default() };
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
