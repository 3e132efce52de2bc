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
use centinela_lambda_host::mapping::{KafkaMapping, MappingError};
use futures::future::BoxFuture;

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
use specs::mapping_spec;
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
    mapping_faults: FaultsOfMappings,
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
            mapping_faults: Arc::clone(&config.mapping_faults),
            say: Arc::clone(&config.say),
        };
        platform.start_functions(&config).await?;
        // On the embedded broker nobody can have come before us, so nothing waits for it.
        if config.servers.kafka.is_some() {
            platform.claims.confirm(&*config.say).await?;
        }
        platform.past = Box::pin(backlog::work_off(&config, &platform.services, &platform.functions)).await?;
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

    /// Starts the mappings of a platform that was started without them, those that run already excepted.
    ///
    /// # Errors
    /// When a mapping names an unknown function, or cannot join its group.
    pub async fn start_mappings(&self) -> Result<(), PlatformError> {
        self.start_urgent_mappings().await?;
        self.start_mappings_where(false).await?;
        self.start_stream_mappings()
    }

    /// The same of those functions only for whose answer somebody waits, so that what the others do takes nothing from them.
    ///
    /// # Errors
    /// The same.
    pub async fn start_urgent_mappings(&self) -> Result<(), PlatformError> {
        self.start_mappings_where(true).await
    }

    async fn start_mappings_where(&self, urgent: bool) -> Result<(), PlatformError> {
        let started = &self.mappings[usize::from(!urgent)];
        if started.get().is_some() {
            return Ok(());
        }
        let settings = self.services.kafka().settings();
        let mut mappings = Vec::new();
        for declared in &self.infrastructure.mappings {
            let function = self.infrastructure.functions.iter().find(|function| function.name == declared.function);
            let (Some(host), Some(function)) = (self.function(&declared.function), function) else {
                let (topic, function) = (declared.topic.clone(), declared.function.clone());
                return Err(PlatformError::UnknownFunction { topic, function });
            };
            if functions::is_waited_for(&self.infrastructure, function) != urgent {
                continue;
            }
            let spec = mapping_spec(declared, self.environments);
            let mapping =
                KafkaMapping::start(spec, &self.services.kafka().bootstrap, &settings, Arc::clone(host)).await?;
            let key = MappingKey { topic: declared.topic.clone(), function: declared.function.clone() };
            mapping.set_faults((self.mapping_faults)(&key, declared.window));
            self.control.add(declared, host, &mapping);
            mappings.push(Mapped { key, mapping });
        }
        // Nobody starts them twice at a time.
        let _started_before = started.set(mappings);
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

    /// All mappings, by topic and function.
    pub fn mappings(&self) -> impl Iterator<Item = (&MappingKey, &Arc<KafkaMapping>)> {
        let mapped = self.mappings.iter().filter_map(OnceLock::get).flatten();
        mapped.map(|mapped| (&mapped.key, &mapped.mapping))
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

    /// The mapping that reads a topic for a function.
    #[must_use]
    pub fn mapping(&self, topic: &str, function: &str) -> Option<&Arc<KafkaMapping>> {
        self.mappings().find(|(key, _)| key.topic == topic && key.function == function).map(|(_, mapping)| mapping)
    }

    /// The topics that mappings read, in groups: nothing comes onto a topic any more, but from producers, once everything on those of
    /// the groups before it was handled.
    #[must_use]
    pub fn stages(&self) -> Vec<Vec<String>> {
        mapped::stages(&self.infrastructure)
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

    /// Lets the mappings of these topics take nothing that comes from now on, and says where that is.
    ///
    /// # Errors
    /// When Kafka does not answer.
    pub async fn cut(&self, topics: &[String]) -> Result<Vec<Cut>, PlatformError> {
        let mut mappings: Vec<_> = self.mappings().filter(|(key, _)| topics.contains(&key.topic)).collect();
        // Whoever reads many topics comes last, so that nothing is missing there of what the others have handled.
        mappings.sort_by_key(|(key, _)| self.mappings().filter(|(other, _)| other.function == key.function).count());
        let mut cuts = Vec::new();
        for (key, mapping) in mappings {
            let MappingKey { topic, function } = key.clone();
            cuts.push(Cut { topic, function, ends: mapping.cut().await? });
        }
        Ok(cuts)
    }

    /// Waits until the mappings have handled everything before these cuts, without waiting for their batching windows.
    ///
    /// # Errors
    /// [`MappingError::NotDrained`] after `limit`, with the records of all
    /// mappings.
    pub async fn drain(&self, cuts: &[Cut], limit: Duration) -> Result<(), PlatformError> {
        let drains = cuts.iter().filter_map(|cut| {
            let mapping = self.mapping(&cut.topic, &cut.function)?;
            Some(async move { mapping.drain_to(&cut.ends, limit).await })
        });
        let disabled = self.control.disabled();
        if !disabled.is_empty() {
            let functions = disabled.join(", ");
            (self.say)(&format!(
                "mappings of {functions} are disabled, so what is on their topics waits; release them"
            ));
        }
        let (mut waiting, mut failure) = (0, None);
        for outcome in futures::future::join_all(drains).await {
            match outcome {
                Ok(()) => {}
                Err(MappingError::NotDrained { records, .. }) => waiting += records,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(error) => Err(error.into()),
            None if waiting > 0 => Err(MappingError::NotDrained { records: waiting, deadline: limit }.into()),
            None => Ok(()),
        }
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
