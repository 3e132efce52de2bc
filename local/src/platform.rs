//! The whole platform in one value: the services, the functions and the mappings that the stacks describe.
//!
//! Everything that production configures comes from [`Infrastructure`]: topics, tables, streams, buckets, functions with their
//! environment, mappings. What this module sets over it is only where things are on this machine: endpoints, credentials and
//! Kafka's address. It decides nothing about traffic and reads no result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dynoxide::actions::scan::ScanRequest;
use dynoxide::types::AttributeValue;

use crate::infra::{self, Infrastructure};
use crate::lambda::{FunctionHost, FunctionSpec, FunctionStats, HostError, InvokeError};
use crate::mapping::{
    EMBEDDED_BROKER_SETTINGS, KafkaMapping, KafkaMappingSpec, MappingError, MappingFaults, MappingStats,
    StartingPosition,
};
use crate::services::{
    ACCESS_KEY_ID, AttrType, Broker, BrokerConfig, DynamoConfig, DynamoDb, DynamoStats, Endpoints, FaultSource,
    Kinesis, KinesisConfig, NoFaults, REGION, S3, S3Config, SECRET_ACCESS_KEY, ServiceError, StreamSpec, TableSpec,
    TopicSpec, create_topics,
};
use crate::threads::{AWS_THREADS, BROKER_THREADS, ServiceThreads};

/// Invocations that one provisioned poller keeps in flight.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-scaling-modes.html>
const INVOCATIONS_PER_POLLER: u32 = 5;
/// Environments of a function that reserves no concurrency.
const CONCURRENCY_DEFAULT: usize = 4;
/// Items of one page when a table is read back.
const SCAN_PAGE_ITEMS: usize = 1_000;

/// Ports that somebody wants to know beforehand; `None` takes a free one.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Ports {
    pub kafka: Option<u16>,
    pub dynamodb: Option<u16>,
    pub s3: Option<u16>,
    pub kinesis: Option<u16>,
}

/// How to start a platform.
#[derive(Clone)]
pub struct PlatformConfig {
    /// What there is to run.
    pub infrastructure: Infrastructure,
    /// The directory with the functions' binaries, each named like its package.
    pub binaries: PathBuf,
    /// Fixed ports.
    pub ports: Ports,
    /// Environments per function instead of what the stacks reserve.
    pub environments: Option<usize>,
    /// Faults of the mappings.
    pub mapping_faults: MappingFaults,
    /// Faults of DynamoDB and Kinesis.
    pub faults: Arc<dyn FaultSource>,
    /// Leave the mappings for [`Platform::start_mappings`], so that records can wait in the topics first.
    pub mappings_later: bool,
}

impl PlatformConfig {
    /// Free ports, no faults, everything else as the stacks say.
    #[must_use]
    pub fn new(infrastructure: Infrastructure, binaries: &Path) -> Self {
        Self {
            infrastructure,
            binaries: binaries.to_owned(),
            ports: Ports::default(),
            environments: None,
            mapping_faults: MappingFaults::default(),
            faults: Arc::new(NoFaults),
            mappings_later: false,
        }
    }
}

/// Why a platform cannot be started, used or stopped.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// A service.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A function.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The threads of a service.
    #[error("no threads for `{name}`")]
    Threads {
        /// The threads' name.
        name: &'static str,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
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
    /// A filter pattern is no JSON.
    #[error("the mapping of topic `{topic}` has a filter that is no JSON: {source}")]
    Filter {
        /// Topic of the mapping.
        topic: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A table cannot be read back.
    #[error("table `{table}` cannot be read back: {reason}")]
    ReadBack {
        /// The table.
        table: String,
        /// What the database said.
        reason: String,
    },
}

/// A running function with its mappings.
struct Hosted {
    name: String,
    host: Arc<FunctionHost>,
}

struct Mapped {
    topic: String,
    mapping: Arc<KafkaMapping>,
}

/// A running platform. Dropping it kills every function at once; [`Platform::stop`] lets work in progress finish.
pub struct Platform {
    infrastructure: Infrastructure,
    endpoints: Endpoints,
    // Dropped in this order: mappings before functions before services.
    mappings: Vec<Mapped>,
    functions: Vec<Hosted>,
    broker: Broker,
    dynamodb: DynamoDb,
    s3: S3,
    kinesis: Kinesis,
    environments: Option<usize>,
    mapping_faults: MappingFaults,
    // The services run on them, so they end last.
    _threads: [ServiceThreads; 2],
}

/// A look at a running platform.
#[derive(Clone, Debug)]
pub struct PlatformStats {
    /// What was asked of DynamoDB and what it would have cost.
    pub dynamodb: DynamoStats,
    /// Every function by name.
    pub functions: BTreeMap<String, FunctionStats>,
    /// Every mapping by topic.
    pub mappings: BTreeMap<String, MappingStats>,
}

impl Platform {
    /// Starts the services, each kind on threads of its own, creates what the stacks declare, starts the functions (warm) and
    /// then the mappings.
    ///
    /// # Errors
    /// When a port is taken, a binary is missing, a function does not start or a stack asks for what one machine cannot do.
    pub async fn start(config: PlatformConfig) -> Result<Self, PlatformError> {
        let infrastructure = config.infrastructure;
        let (ports, faults) = (config.ports, config.faults);
        let (aws, kafka) = (threads(AWS_THREADS)?, threads(BROKER_THREADS)?);
        let tables = infrastructure.tables.iter().map(table_spec).collect();
        let database = DynamoConfig { port: ports.dynamodb, tables, faults: Arc::clone(&faults) };
        let dynamodb = aws.run(DynamoDb::start(database)).await?;
        let streams = infrastructure.streams.iter().map(stream_spec).collect();
        let streams = KinesisConfig { port: ports.kinesis, streams, faults, ..KinesisConfig::default() };
        let kinesis = aws.run(Kinesis::start(streams)).await?;
        let buckets = infrastructure.buckets.iter().map(|bucket| bucket.name.clone()).collect();
        let s3 = aws.run(S3::start(S3Config { port: ports.s3, directory: None, buckets })).await?;
        let broker = kafka.run(Broker::start(BrokerConfig { port: ports.kafka })).await?;
        let endpoints = Endpoints {
            kafka: broker.bootstrap(),
            dynamodb: dynamodb.url(),
            s3: s3.url(),
            kinesis: kinesis.url(),
            region: REGION.to_owned(),
            access_key_id: ACCESS_KEY_ID.to_owned(),
            secret_access_key: SECRET_ACCESS_KEY.to_owned(),
        };
        let topics: Vec<TopicSpec> = infrastructure.topics.iter().map(topic_spec).collect();
        create_topics(&endpoints.kafka, &topics).await?;
        let mut platform = Self {
            infrastructure,
            endpoints,
            mappings: Vec::new(),
            functions: Vec::new(),
            broker,
            dynamodb,
            s3,
            kinesis,
            environments: config.environments,
            mapping_faults: config.mapping_faults,
            _threads: [aws, kafka],
        };
        platform.start_functions(&config.binaries, config.environments).await?;
        if !config.mappings_later {
            platform.start_mappings().await?;
        }
        Ok(platform)
    }

    async fn start_functions(&mut self, binaries: &Path, environments: Option<usize>) -> Result<(), PlatformError> {
        for function in &self.infrastructure.functions {
            let mut environment = function.environment.clone();
            environment.extend(self.endpoints.environment().into_iter().map(|(name, value)| (name.to_owned(), value)));
            environment.insert("KAFKA_BOOTSTRAP".to_owned(), self.endpoints.kafka.clone());
            environment.insert("KAFKA_AUTH".to_owned(), "plaintext".to_owned());
            let reserved = function.reserved_concurrency.map(|reserved| reserved as usize);
            let concurrency_max = environments.or(reserved).unwrap_or(CONCURRENCY_DEFAULT);
            let host = FunctionHost::start(FunctionSpec {
                name: function.name.clone(),
                binary: binaries.join(&function.binary),
                environment,
                timeout: function.timeout,
                memory_mb: function.memory_mb,
                concurrency_max,
            })
            .await?;
            self.functions.push(Hosted { name: function.name.clone(), host: Arc::clone(&host) });
            let started = host.warm(1).await;
            started.map_err(|source| PlatformError::Start { function: function.name.clone(), source })?;
        }
        Ok(())
    }

    /// Starts the mappings of a platform that was started without them; called once.
    ///
    /// # Errors
    /// When a mapping names an unknown function, or cannot join its group.
    pub async fn start_mappings(&mut self) -> Result<(), PlatformError> {
        let settings =
            EMBEDDED_BROKER_SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for declared in &self.infrastructure.mappings {
            let Some(host) = self.function(&declared.function) else {
                let (topic, function) = (declared.topic.clone(), declared.function.clone());
                return Err(PlatformError::UnknownFunction { topic, function });
            };
            let spec = mapping_spec(declared, self.environments)?;
            let mapping = KafkaMapping::start(spec, &self.endpoints.kafka, &settings, Arc::clone(host)).await?;
            mapping.set_faults(self.mapping_faults);
            self.mappings.push(Mapped { topic: declared.topic.clone(), mapping });
        }
        Ok(())
    }

    /// Where the services are.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// What is running, as the stacks describe it.
    #[must_use]
    pub fn infrastructure(&self) -> &Infrastructure {
        &self.infrastructure
    }

    /// The host of a function.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&Arc<FunctionHost>> {
        self.functions.iter().find(|hosted| hosted.name == name).map(|hosted| &hosted.host)
    }

    /// All function hosts.
    pub fn functions(&self) -> impl Iterator<Item = (&str, &Arc<FunctionHost>)> {
        self.functions.iter().map(|hosted| (hosted.name.as_str(), &hosted.host))
    }

    /// The mapping that reads a topic.
    #[must_use]
    pub fn mapping(&self, topic: &str) -> Option<&Arc<KafkaMapping>> {
        self.mappings.iter().find(|mapped| mapped.topic == topic).map(|mapped| &mapped.mapping)
    }

    /// Counters of everything.
    #[must_use]
    pub fn stats(&self) -> PlatformStats {
        PlatformStats {
            dynamodb: self.dynamodb.snapshot(),
            functions: self.functions.iter().map(|hosted| (hosted.name.clone(), hosted.host.stats())).collect(),
            mappings: self.mappings.iter().map(|mapped| (mapped.topic.clone(), mapped.mapping.stats())).collect(),
        }
    }

    /// Kills every process of every function with SIGKILL; says how many. The next invocations start new ones.
    pub fn kill_functions(&self) -> usize {
        self.functions.iter().map(|hosted| hosted.host.kill_all()).sum()
    }

    /// Waits until the mappings have handled everything that their topics hold now.
    ///
    /// # Errors
    /// [`MappingError::NotDrained`] after `limit`.
    pub async fn drain(&self, limit: Duration) -> Result<(), PlatformError> {
        for mapped in &self.mappings {
            mapped.mapping.drain(limit).await?;
        }
        Ok(())
    }

    /// Key `pk` and state `s` of every item of a table, in no order. Not counted as a read.
    ///
    /// # Errors
    /// When the table is not there or an item has another form.
    pub fn read_back(&self, table: &str) -> Result<Vec<(String, Vec<u8>)>, PlatformError> {
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
            let page = self.dynamodb.database().scan(request).map_err(|error| failed(error.to_string()))?;
            for mut item in page.items.unwrap_or_default() {
                match (item.remove("pk"), item.remove("s")) {
                    (Some(AttributeValue::S(key)), Some(AttributeValue::B(state))) => items.push((key, state)),
                    _ => return Err(failed("an item has no string `pk` or no binary `s`".to_owned())),
                }
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(items);
            }
        }
    }

    /// Ends the mappings, then the functions (work in progress finishes for up to `grace`), then the services. No process is
    /// left when this returns, whatever it returns.
    ///
    /// # Errors
    /// The first thing that did not end in order.
    pub async fn stop(self, grace: Duration) -> Result<(), PlatformError> {
        let mut outcome: Result<(), PlatformError> = Ok(());
        let mut note = |result: Result<(), PlatformError>| {
            if outcome.is_ok() {
                outcome = result;
            }
        };
        let Self { mappings, functions, broker, dynamodb, s3, kinesis, .. } = self;
        for mapped in &mappings {
            note(mapped.mapping.stop().await.map_err(PlatformError::from));
        }
        // Their clients would complain about the broker's end.
        drop(mappings);
        for hosted in &functions {
            hosted.host.stop(grace).await;
        }
        note(broker.shutdown().await.map_err(PlatformError::from));
        note(kinesis.shutdown().await.map_err(PlatformError::from));
        note(dynamodb.shutdown().await.map_err(PlatformError::from));
        note(s3.shutdown().await.map_err(PlatformError::from));
        outcome
    }
}

fn threads(name: &'static str) -> Result<ServiceThreads, PlatformError> {
    ServiceThreads::start(name).map_err(|source| PlatformError::Threads { name, source })
}

fn attribute_type(name: &str) -> AttrType {
    match name {
        "N" => AttrType::N,
        "B" => AttrType::B,
        _ => AttrType::S,
    }
}

fn table_spec(table: &infra::Table) -> TableSpec {
    let key = |(name, kind): &(String, String)| (name.clone(), attribute_type(kind));
    TableSpec {
        name: table.name.clone(),
        partition_key: key(&table.partition_key),
        sort_key: table.sort_key.as_ref().map(key),
        ttl_attribute: table.ttl_attribute.clone(),
    }
}

fn stream_spec(stream: &infra::Stream) -> StreamSpec {
    StreamSpec { name: stream.name.clone(), shards: u16::try_from(stream.shards).unwrap_or(u16::MAX) }
}

fn topic_spec(topic: &infra::Topic) -> TopicSpec {
    TopicSpec { name: topic.name.clone(), partitions: topic.partitions as usize, config: topic.config.clone() }
}

fn mapping_spec(declared: &infra::Mapping, environments: Option<usize>) -> Result<KafkaMappingSpec, PlatformError> {
    let mut filters = Vec::new();
    for pattern in &declared.filters {
        let failed = |source| PlatformError::Filter { topic: declared.topic.clone(), source };
        filters.push(serde_json::from_str(pattern).map_err(failed)?);
    }
    let wanted = environments.and_then(|count| u32::try_from(count).ok());
    let pollers_max = wanted.map_or(declared.pollers_max, |count| count.div_ceil(INVOCATIONS_PER_POLLER).max(1));
    Ok(KafkaMappingSpec {
        batch_size: declared.batch_size as usize,
        window: declared.window,
        pollers_min: declared.pollers_min.min(pollers_max),
        pollers_max,
        parallel_invocations_per_poller: INVOCATIONS_PER_POLLER,
        starting_position: match declared.starting_position {
            infra::StartingPosition::TrimHorizon => StartingPosition::TrimHorizon,
            infra::StartingPosition::Latest => StartingPosition::Latest,
            infra::StartingPosition::AtTimestamp(time) => StartingPosition::AtTimestamp(time),
        },
        report_batch_item_failures: declared.report_batch_item_failures,
        bisect_batch_on_function_error: declared.bisect,
        maximum_retry_attempts: declared.maximum_retry_attempts,
        maximum_record_age: declared.maximum_record_age,
        on_failure_topic: declared.on_failure_topic.clone(),
        filters,
        ..KafkaMappingSpec::new(&declared.function, &declared.topic, &declared.consumer_group)
    })
}
