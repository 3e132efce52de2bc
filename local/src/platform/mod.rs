//! The whole platform in one value: the services, the functions and the mappings that the stacks describe.
//!
//! Everything that production configures comes from [`Infrastructure`]: topics, tables, streams, buckets, functions with their
//! environment, mappings. What this module sets over it is only where things are on this machine: endpoints, credentials and
//! Kafka's address. It decides nothing about traffic and reads no result.

mod backlog;
mod claims;
mod config;
mod control;
mod endpoints;
mod error;
mod exposed;
mod functions;
mod http_front;
mod mapped;
mod observing;
mod recording;
mod schedules;
mod servers;
mod specs;
mod streams_mapped;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use centinela_aws::{SECRET_ACCESS_KEY, StoredItem};
use centinela_broker::Broker;
use centinela_infra::Infrastructure;
use centinela_kafka_client::KafkaAccess;
use centinela_lambda_host::FunctionHost;
use futures::future::{BoxFuture, join_all};

pub use config::{FaultsOfMappings, PlatformConfig, Ports, Servers};
pub use endpoints::Endpoints;
pub use error::PlatformError;
pub use mapped::{Cut, MappingKey};
pub use observing::PlatformStats;
pub use specs::topic_spec;
pub use streams_mapped::StreamDrain;
pub use watch::{AlarmView, MetricTotal};

use backlog::Past;
use claims::Claims;
use control::Control;
use http_front::HttpApis;
use mapped::Mapped;
use schedules::Schedules;
use servers::Services;
use streams_mapped::StreamsMapped;
use watch::Watch;

/// A running platform. Dropping it kills every function at once; [`Platform::stop`] lets work in progress finish.
pub struct Platform {
    infrastructure: Infrastructure,
    past: Past,
    // Dropped in this order: schedules, the API and mappings before functions before services.
    schedules: Schedules,
    watch: Watch,
    control: Control,
    http_apis: Option<HttpApis>,
    /// Those of functions for whose answer somebody waits, and the others.
    mappings: [OnceLock<Vec<Mapped>>; 2],
    streams: OnceLock<StreamsMapped>,
    functions: BTreeMap<String, Arc<FunctionHost>>,
    claims: Claims,
    services: Services,
    environments: Option<usize>,
    is_paced: bool,
    mapping_faults: FaultsOfMappings,
    /// Takes what a person should know, a line at a time.
    say: Arc<dyn Fn(&str) + Send + Sync>,
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
        let config = recording::noted(config);
        if let Some(access) = &config.servers.kafka {
            Claims::check(access, &config.infrastructure).await?;
        }
        let mut services = Box::pin(Services::start(&config)).await?;
        let control = Control::start(&config.ports).await?;
        services.note_control(&control.lambda_url(), &control.sns_url());
        let watch = Watch::new(&config.infrastructure, watch::now_ms())?;
        let claims = Claims::begin(services.kafka(), &config.infrastructure)?;
        let mut platform = Self {
            infrastructure: config.infrastructure.clone(),
            past: Past::default(),
            schedules: Schedules::default(),
            watch,
            control,
            http_apis: None,
            mappings: Default::default(),
            streams: OnceLock::new(),
            functions: BTreeMap::new(),
            claims,
            services,
            environments: config.environments,
            is_paced: functions::is_paced(&config),
            mapping_faults: Arc::clone(&config.mapping_faults),
            say: Arc::clone(&config.say),
        };
        platform.start_functions(&config).await?;
        // On the embedded broker nobody can have come before us, so nothing waits for it.
        if config.servers.kafka.is_some() {
            platform.claims.confirm(&*config.say).await?;
        }
        platform.past = Box::pin(backlog::work_off(&config, &platform.services, &platform.functions)).await?;
        if config.servers.kafka.is_some() {
            platform.work_off_streams().await?;
        }
        platform.past.remember(&config, &platform.services).await?;
        if !config.mappings_later {
            platform.start_mappings().await?;
        }
        platform.start_schedules(&*config.say);
        let (endpoints, hosts, say) = (platform.services.endpoints().clone(), &platform.functions, &*config.say);
        let apis = HttpApis::start(&platform.infrastructure, hosts, config.ports.api, &endpoints, say).await?;
        if let Some(apis) = &apis {
            platform.services.note_api(apis.url(), apis.issuer_url());
        }
        platform.http_apis = apis;
        Ok(platform)
    }

    async fn start_functions(&mut self, config: &PlatformConfig) -> Result<(), PlatformError> {
        for function in &self.infrastructure.functions {
            let host = functions::start(config, &self.services, function).await?;
            self.functions.insert(function.name.clone(), host);
        }
        self.watch.listen(&self.functions);
        self.control.serve(&self.infrastructure, &self.functions, &config.calls, &config.say);
        Ok(())
    }

    /// Begins the schedules; says of what else invokes a function that it does not do so here.
    fn start_schedules(&mut self, say: &(dyn Fn(&str) + Send + Sync)) {
        let region = &self.services.endpoints().region;
        for trigger in self.infrastructure.triggers.iter().filter(|trigger| !self.services.has_stream(trigger)) {
            let function = &trigger.function;
            let host = self.functions.get(function);
            if http_front::is_route(trigger) || control::runs(trigger) {
                continue;
            }
            if !host.is_some_and(|host| self.schedules.begin(trigger, host, region)) {
                say(&format!("`{function}` runs but is not invoked: one machine does not run its {trigger} yet"));
            }
        }
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

    /// The offset of the first record of this run, by partition; empty where a topic began with it.
    #[must_use]
    pub fn starts(&self, topic: &str) -> &[i64] {
        self.past.starts.get(topic).map(Vec::as_slice).unwrap_or_default()
    }

    /// Every item that a table held before this run, where it was asked to be remembered.
    #[must_use]
    pub fn remembered(&self, table: &str) -> &[StoredItem] {
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

    /// Invokes a function once with this event, beside whatever else invokes it, and returns its answer.
    ///
    /// # Errors
    /// When there is no such function, or the invocation fails.
    pub async fn invoke(&self, function: &str, event: Bytes) -> Result<Bytes, PlatformError> {
        let unknown = || PlatformError::NoFunction { function: function.to_owned() };
        let host = self.function(function).ok_or_else(unknown)?;
        host.invoke(event).await.map_err(|source| PlatformError::Invoke { function: function.to_owned(), source })
    }

    /// Kills every process of every function with SIGKILL; says how many. The next invocations start new ones.
    pub fn kill_functions(&self) -> usize {
        self.functions.values().map(|host| host.kill_all()).sum()
    }

    /// An object of S3, embedded or not; none where there is none.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn object(&self, bucket: &str, key: &str) -> Result<Option<Bytes>, PlatformError> {
        self.services.object(bucket, key).await
    }

    /// Every item of a table, in no order. Not counted as a read.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn read_back(&self, table: &str) -> Result<Vec<StoredItem>, PlatformError> {
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
        let Self { schedules, control, http_apis, mappings, streams, functions, claims, services, .. } = self;
        drop(schedules);
        if let Some(streams) = streams.into_inner() {
            streams.stop().await;
        }
        control.shutdown().await.into_iter().for_each(|error| note(Err(error)));
        if let Some(apis) = http_apis {
            note(apis.shutdown().await);
        }
        let mappings: Vec<Mapped> = mappings.into_iter().filter_map(OnceLock::into_inner).flatten().collect();
        let stopped = join_all(mappings.iter().map(|mapped| mapped.mapping.stop())).await;
        stopped.into_iter().for_each(|stopped| note(stopped.map_err(PlatformError::from)));
        // Their clients would complain about the broker's end.
        drop(mappings);
        let left = tokio::spawn(claims.leave());
        join_all(functions.values().map(|host| host.stop(grace))).await;
        if left.await.is_err() {
            tracing::warn!("leaving the consumer groups ended by a panic");
        }
        services.shutdown().await.into_iter().for_each(|error| note(Err(error)));
        outcome
    }
}
