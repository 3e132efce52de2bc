//! The whole platform in one value: the services, the functions and the mappings that the stacks describe.
//!
//! Everything that production configures comes from [`Infrastructure`]: topics, tables, streams, buckets, functions with their
//! environment, mappings. What this module sets over it is only where things are on this machine: endpoints, credentials and
//! Kafka's address. It decides nothing about traffic and reads no result.

mod backlog;
mod claims;
mod config;
mod endpoints;
mod error;
mod servers;
mod specs;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use centinela_aws::{DynamoStats, SECRET_ACCESS_KEY};
use centinela_broker::Broker;
use centinela_infra::Infrastructure;
use centinela_kafka_client::KafkaAccess;
use centinela_lambda_host::mapping::{KafkaMapping, MappingFaultSource, MappingStats};
use centinela_lambda_host::{FunctionHost, FunctionSpec, FunctionStats};
use futures::future::BoxFuture;

pub use config::{PlatformConfig, Ports, Servers};
pub use endpoints::Endpoints;
pub use error::PlatformError;
pub use specs::topic_spec;

use backlog::Past;
use claims::Claims;
use servers::Services;
use specs::mapping_spec;

/// Environments beyond one per processor: somebody waits for the database while the others compute. More of them only compete, and
/// lose races to each other while a backlog is worked off.
const ENVIRONMENTS_MORE: usize = 1;
/// Environments of a function that reserves no concurrency.
const CONCURRENCY_DEFAULT: usize = 4;

struct Mapped {
    topic: String,
    mapping: Arc<KafkaMapping>,
}

/// A running platform. Dropping it kills every function at once; [`Platform::stop`] lets work in progress finish.
pub struct Platform {
    infrastructure: Infrastructure,
    past: Past,
    // Dropped in this order: mappings before functions before services.
    mappings: OnceLock<Vec<Mapped>>,
    functions: BTreeMap<String, Arc<FunctionHost>>,
    claims: Claims,
    services: Services,
    environments: Option<usize>,
    mapping_faults: Arc<dyn MappingFaultSource>,
}

/// Where a mapping stops taking records of its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The topic.
    pub topic: String,
    /// By partition, the first offset that is left alone.
    pub ends: Vec<i64>,
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
    pub fn start(config: PlatformConfig) -> BoxFuture<'static, Result<Self, PlatformError>> {
        Box::pin(Self::put_together(config))
    }

    async fn put_together(config: PlatformConfig) -> Result<Self, PlatformError> {
        if let Some(access) = &config.servers.kafka {
            Claims::check(access, &config.infrastructure).await?;
        }
        let services = Box::pin(Services::start(&config)).await?;
        let claims = Claims::begin(services.kafka(), &config.infrastructure)?;
        let mut platform = Self {
            infrastructure: config.infrastructure.clone(),
            past: Past::default(),
            mappings: OnceLock::new(),
            functions: BTreeMap::new(),
            claims,
            services,
            environments: config.environments,
            mapping_faults: Arc::clone(&config.mapping_faults),
        };
        platform.start_functions(&config).await?;
        for trigger in &config.infrastructure.triggers {
            let function = &trigger.function;
            (config.say)(&format!("`{function}` runs but is not invoked: one machine does not run its {trigger} yet"));
        }
        // On the embedded broker nobody can have come before us, so nothing waits for it.
        if config.servers.kafka.is_some() {
            platform.claims.confirm(&*config.say).await?;
        }
        platform.past = Box::pin(backlog::work_off(&config, &platform.services, &platform.functions)).await?;
        if !config.mappings_later {
            platform.start_mappings().await?;
        }
        Ok(platform)
    }

    async fn start_functions(&mut self, config: &PlatformConfig) -> Result<(), PlatformError> {
        for function in &self.infrastructure.functions {
            let mut environment = function.environment.clone();
            environment.extend(self.services.environment());
            let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
            // With calls as slow as in AWS an environment mostly waits.
            let useful = if config.latency.is_some() { usize::MAX } else { processors + ENVIRONMENTS_MORE };
            let reserved = function.reserved_concurrency.map_or(CONCURRENCY_DEFAULT, |reserved| reserved as usize);
            let concurrency_max = config.environments.unwrap_or(reserved.min(useful));
            let host = FunctionHost::start(FunctionSpec {
                name: function.name.clone(),
                binary: config.binaries.join(&function.binary),
                environment,
                timeout: function.timeout,
                memory_mb: function.memory_mb,
                concurrency_max,
            })
            .await?;
            self.functions.insert(function.name.clone(), Arc::clone(&host));
            let started = host.warm(1).await;
            started.map_err(|source| PlatformError::Start { function: function.name.clone(), source })?;
        }
        Ok(())
    }

    /// Starts the mappings of a platform that was started without them; called once.
    ///
    /// # Errors
    /// When a mapping names an unknown function, or cannot join its group.
    pub async fn start_mappings(&self) -> Result<(), PlatformError> {
        let settings = self.services.kafka().settings();
        let mut mappings = Vec::new();
        for declared in &self.infrastructure.mappings {
            let Some(host) = self.function(&declared.function) else {
                let (topic, function) = (declared.topic.clone(), declared.function.clone());
                return Err(PlatformError::UnknownFunction { topic, function });
            };
            let spec = mapping_spec(declared, self.environments);
            let mapping =
                KafkaMapping::start(spec, &self.services.kafka().bootstrap, &settings, Arc::clone(host)).await?;
            mapping.set_faults(Arc::clone(&self.mapping_faults));
            mappings.push(Mapped { topic: declared.topic.clone(), mapping });
        }
        // They are started once.
        let _started_before = self.mappings.set(mappings);
        Ok(())
    }

    /// Where the services are.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        self.services.endpoints()
    }

    /// How clients get into Kafka.
    #[must_use]
    pub fn kafka(&self) -> &KafkaAccess {
        self.services.kafka()
    }

    /// Whether the credentials are those of the emulators, which may be shown to anybody.
    #[must_use]
    pub fn has_local_credentials(&self) -> bool {
        self.services.endpoints().secret_access_key == SECRET_ACCESS_KEY
    }

    /// The embedded broker; none when Kafka is external.
    #[must_use]
    pub fn broker(&self) -> Option<&Broker> {
        self.services.broker()
    }

    fn mappings(&self) -> &[Mapped] {
        self.mappings.get().map_or(&[], Vec::as_slice)
    }

    /// The offset of the first record of this run, by partition; empty where a topic began with it.
    #[must_use]
    pub fn starts(&self, topic: &str) -> &[i64] {
        self.past.starts.get(topic).map(Vec::as_slice).unwrap_or_default()
    }

    /// Key and state of every item that a table held before this run, where it was asked to be remembered.
    #[must_use]
    pub fn remembered(&self, table: &str) -> &[(String, Vec<u8>)] {
        self.past.remembered.get(table).map(Vec::as_slice).unwrap_or_default()
    }

    /// What is running, as the stacks describe it.
    #[must_use]
    pub fn infrastructure(&self) -> &Infrastructure {
        &self.infrastructure
    }

    /// The host of a function.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&Arc<FunctionHost>> {
        self.functions.get(name)
    }

    /// All function hosts.
    pub fn functions(&self) -> impl Iterator<Item = (&str, &Arc<FunctionHost>)> {
        self.functions.iter().map(|(name, host)| (name.as_str(), host))
    }

    /// The mapping that reads a topic.
    #[must_use]
    pub fn mapping(&self, topic: &str) -> Option<&Arc<KafkaMapping>> {
        self.mappings().iter().find(|mapped| mapped.topic == topic).map(|mapped| &mapped.mapping)
    }

    /// Counters of everything.
    #[must_use]
    pub fn stats(&self) -> PlatformStats {
        PlatformStats {
            dynamodb: self.services.database_stats(),
            functions: self.functions.iter().map(|(name, host)| (name.clone(), host.stats())).collect(),
            mappings: self.mappings().iter().map(|mapped| (mapped.topic.clone(), mapped.mapping.stats())).collect(),
        }
    }

    /// Kills every process of every function with SIGKILL; says how many. The next invocations start new ones.
    pub fn kill_functions(&self) -> usize {
        self.functions.values().map(|host| host.kill_all()).sum()
    }

    /// Lets the mappings take nothing that comes from now on, and says where that is.
    ///
    /// # Errors
    /// When Kafka does not answer.
    pub async fn cut(&self) -> Result<Vec<Cut>, PlatformError> {
        let mut cuts = Vec::new();
        for mapped in self.mappings() {
            cuts.push(Cut { topic: mapped.topic.clone(), ends: mapped.mapping.cut().await? });
        }
        Ok(cuts)
    }

    /// Waits until the mappings have handled everything before these cuts.
    ///
    /// # Errors
    /// [`MappingError::NotDrained`](centinela_lambda_host::mapping::MappingError::NotDrained) after `limit`.
    pub async fn drain(&self, cuts: &[Cut], limit: Duration) -> Result<(), PlatformError> {
        for cut in cuts {
            if let Some(mapping) = self.mapping(&cut.topic) {
                mapping.drain_to(&cut.ends, limit).await?;
            }
        }
        Ok(())
    }

    /// Key `pk` and state `s` of every item of a table that has both, in no order. Not counted as a read.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn read_back(&self, table: &str) -> Result<Vec<(String, Vec<u8>)>, PlatformError> {
        self.services.read_back(table).await
    }

    /// Ends the mappings, then the functions (work in progress finishes for up to `grace`), then the embedded services; nothing
    /// external is deleted. No process is left when this returns, whatever it returns.
    ///
    /// # Errors
    /// The first thing that did not end in order.
    pub fn stop(self, grace: Duration) -> BoxFuture<'static, Result<(), PlatformError>> {
        Box::pin(self.take_apart(grace))
    }

    async fn take_apart(self, grace: Duration) -> Result<(), PlatformError> {
        let mut outcome: Result<(), PlatformError> = Ok(());
        let mut note = |result: Result<(), PlatformError>| {
            if outcome.is_ok() {
                outcome = result;
            }
        };
        let Self { mappings, functions, claims, services, .. } = self;
        let mappings = mappings.into_inner().unwrap_or_default();
        for mapped in &mappings {
            note(mapped.mapping.stop().await.map_err(PlatformError::from));
        }
        // Their clients would complain about the broker's end.
        drop(mappings);
        let left = tokio::spawn(claims.leave());
        for host in functions.values() {
            host.stop(grace).await;
        }
        if left.await.is_err() {
            tracing::warn!("leaving the consumer groups ended by a panic");
        }
        services.shutdown().await.into_iter().for_each(|error| note(Err(error)));
        outcome
    }
}
