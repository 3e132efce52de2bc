//! What a cluster held before this run began: decided first, so that a report covers its own run only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use centinela_aws::StoredItem;
use centinela_kafka_client::{ClusterError, KafkaAccess, may_use_group, topic_ends};
use centinela_lambda_host::FunctionHost;
use centinela_lambda_host::mapping::{self, KafkaMapping, KafkaMappingSpec, MappingError, Position};

use super::config::PlatformConfig;
use super::error::PlatformError;
use super::mapped;
use super::servers::Services;
use super::specs::{declared_topics, mapping_spec};
use super::streams_mapped::StreamDrain;

/// One attempt to drain; afterwards it is looked at whether anything moved.
pub(super) const DRAIN_SLICE: Duration = Duration::from_secs(1);
/// A backlog that does not move for this long is given up.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// Where everything stood when a run began.
#[derive(Default)]
pub(super) struct Past {
    /// The offset of the first record of the run by topic and partition.
    pub(super) starts: BTreeMap<String, Vec<i64>>,
    /// What the tables held, where they were to be remembered.
    pub(super) remembered: BTreeMap<String, Vec<StoredItem>>,
    /// What was worked off of the streams that functions read; none where nothing was.
    pub(super) streams: StreamDrain,
}

/// Decides what the groups of the mappings have not committed yet, with no mapping running afterwards; then notes where every topic
/// stands.
pub(super) async fn work_off(
    config: &PlatformConfig,
    services: &Services,
    functions: &BTreeMap<String, Arc<FunctionHost>>,
) -> Result<Past, PlatformError> {
    let mut past = Past::default();
    if config.servers.kafka.is_some() {
        let mut starts = BTreeMap::<String, Vec<i64>>::new();
        let mappings = &config.infrastructure.mappings;
        // What one function leaves on a topic is another one's to handle.
        for topic in mapped::stages(&config.infrastructure).iter().flatten() {
            for declared in mappings.iter().filter(|mapping| mapping.topic == *topic) {
                let spec = mapping_spec(declared, config.environments);
                let positions = begin_topic(config, services.kafka(), &spec, functions.get(&spec.function)).await?;
                let known = starts.entry(spec.topic).or_default();
                known.resize(positions.len().max(known.len()), 0);
                known.iter_mut().zip(positions).for_each(|(known, at)| *known = at.start.max(*known));
            }
        }
        past.starts = topic_ends(services.kafka(), &declared_topics(&config.infrastructure)).await?;
        past.starts.append(&mut starts);
    }
    Ok(past)
}

impl Past {
    /// Notes what the tables hold: what was decided just now is there too, whosever they are.
    pub(super) async fn remember(&mut self, config: &PlatformConfig, services: &Services) -> Result<(), PlatformError> {
        for table in &config.remembered_tables {
            self.remembered.insert(table.clone(), services.read_back(table).await?);
        }
        Ok(())
    }
}

/// Works off what a mapping would find; returns where it begins then.
async fn begin_topic(
    config: &PlatformConfig,
    kafka: &KafkaAccess,
    spec: &KafkaMappingSpec,
    host: Option<&Arc<FunctionHost>>,
) -> Result<Vec<Position>, PlatformError> {
    let settings = kafka.settings();
    let (access, group, topic) = (kafka.clone(), spec.consumer_group.clone(), spec.topic.clone());
    let asked = tokio::task::spawn_blocking(move || may_use_group(&access, &group, &topic)).await;
    asked.unwrap_or(Err(ClusterError::Panicked))?;
    let positions = mapping::positions(spec, &kafka.bootstrap, &settings).await?;
    // As many records at most: markers of transactions have offsets as well.
    let waiting: i64 = positions.iter().map(|at| (at.end - at.start).max(0)).sum();
    let gone: i64 = positions.iter().filter_map(|at| at.skipped.as_ref()).map(|gone| gone.end - gone.start).sum();
    if gone > 0 {
        (config.say)(&format!(
            "up to {gone} records on topic {} were deleted by its retention before group {} had committed them; they are lost and do not \
             count in the report",
            spec.topic, spec.consumer_group
        ));
    }
    if waiting > 0 {
        (config.say)(&format!(
            "up to {waiting} records on topic {} are not committed by group {}; they are decided first and do not count in the report",
            spec.topic, spec.consumer_group
        ));
    }
    match host {
        Some(host) if waiting > 0 || gone > 0 => {
            drain(kafka, spec, &settings, host).await?;
            Ok(mapping::positions(spec, &kafka.bootstrap, &settings).await?)
        }
        _ => Ok(positions),
    }
}

async fn drain(
    kafka: &KafkaAccess,
    spec: &KafkaMappingSpec,
    settings: &BTreeMap<String, String>,
    host: &Arc<FunctionHost>,
) -> Result<(), PlatformError> {
    let mapping = KafkaMapping::start(spec.clone(), &kafka.bootstrap, settings, Arc::clone(host)).await?;
    let drain = || async { Ok(mapping.drain(DRAIN_SLICE).await?) };
    until_drained(drain, |records| {
        let (topic, group) = (spec.topic.clone(), spec.consumer_group.clone());
        PlatformError::Backlog { records, topic, group }
    })
    .await?;
    Ok(mapping.stop().await?)
}

/// Drains until nothing is left; `stuck` says what it means when what is left does not move.
pub(super) async fn until_drained<F: Future<Output = Result<(), PlatformError>>>(
    drain: impl Fn() -> F,
    stuck: impl Fn(u64) -> PlatformError,
) -> Result<(), PlatformError> {
    let (mut least, mut moved_at) = (u64::MAX, Instant::now());
    loop {
        match drain().await {
            Err(PlatformError::Mapping(MappingError::NotDrained { records, .. })) if records < least => {
                (least, moved_at) = (records, Instant::now());
            }
            Err(PlatformError::Mapping(MappingError::NotDrained { records, .. })) => {
                if moved_at.elapsed() >= STUCK_AFTER {
                    return Err(stuck(records));
                }
            }
            ended => return ended,
        }
    }
}
