//! What a cluster held before this run began: settled first, so that an account covers its own run only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use centinela_kafka_client::{ClusterError, may_use_group, topic_ends};
use centinela_lambda_host::mapping::{self, KafkaMapping, KafkaMappingSpec, MappingError, Position};

use super::servers::declared_topics;
use super::{Platform, PlatformConfig, PlatformError, mapping_spec};

/// One attempt to drain; afterwards it is looked at whether anything moved.
const DRAIN_SLICE: Duration = Duration::from_secs(1);
/// A backlog that does not move for this long is given up.
const STUCK_AFTER: Duration = Duration::from_secs(60);

impl Platform {
    /// Decides what the groups of the mappings have not settled yet, with no mapping running afterwards; then notes where every
    /// topic stands and what the tables hold.
    pub(super) async fn begin(&mut self, config: &PlatformConfig) -> Result<(), PlatformError> {
        let settings = self.services.kafka().settings();
        if config.servers.kafka.is_some() {
            let mut starts = BTreeMap::new();
            for declared in &self.infrastructure.mappings {
                let spec = mapping_spec(declared, config.environments);
                self.check_group(&spec).await?;
                let bootstrap = &self.services.kafka().bootstrap;
                let mut positions = mapping::positions(&spec, bootstrap, &settings).await?;
                let waiting = waiting(&positions);
                let gone: i64 =
                    positions.iter().filter_map(|at| at.skipped.as_ref()).map(|gone| gone.end - gone.start).sum();
                if gone > 0 {
                    (config.say)(&format!(
                        "up to {gone} records on topic {} were deleted by its retention before group {} had settled them; they are lost and \
                         do not count in the account",
                        spec.topic, spec.consumer_group
                    ));
                }
                if waiting > 0 {
                    (config.say)(&format!(
                        "up to {waiting} records on topic {} are not settled for group {}; they are decided first and do not count \
                         in the account",
                        spec.topic, spec.consumer_group
                    ));
                }
                if waiting > 0 || gone > 0 {
                    self.settle(&spec, &settings).await?;
                    positions = mapping::positions(&spec, bootstrap, &settings).await?;
                }
                starts.insert(spec.topic.clone(), positions.into_iter().map(|at| at.start).collect());
            }
            let mut ends = topic_ends(self.services.kafka(), &declared_topics(&self.infrastructure)).await?;
            ends.append(&mut starts);
            self.starts = ends;
        }
        // What was settled just now is in the tables too, whosever they are.
        for table in &config.remembered_tables {
            let items = self.services.read_back(table).await?;
            self.remembered.insert(table.clone(), items);
        }
        Ok(())
    }

    async fn check_group(&self, spec: &KafkaMappingSpec) -> Result<(), PlatformError> {
        let (access, group, topic) = (self.services.kafka().clone(), spec.consumer_group.clone(), spec.topic.clone());
        let asked = tokio::task::spawn_blocking(move || may_use_group(&access, &group, &topic)).await;
        Ok(asked.unwrap_or(Err(ClusterError::Panicked))?)
    }

    async fn settle(&self, spec: &KafkaMappingSpec, settings: &BTreeMap<String, String>) -> Result<(), PlatformError> {
        let Some(host) = self.function(&spec.function) else { return Ok(()) };
        let bootstrap = &self.services.kafka().bootstrap;
        let mapping = KafkaMapping::start(spec.clone(), bootstrap, settings, Arc::clone(host)).await?;
        let (mut least, mut moved_at) = (u64::MAX, Instant::now());
        loop {
            match mapping.drain(DRAIN_SLICE).await {
                Ok(()) => break,
                Err(MappingError::NotDrained { records, .. })
                    if moved_at.elapsed() < STUCK_AFTER || records < least =>
                {
                    if records < least {
                        (least, moved_at) = (records, Instant::now());
                    }
                }
                Err(MappingError::NotDrained { records, .. }) => {
                    let (topic, group) = (spec.topic.clone(), spec.consumer_group.clone());
                    return Err(PlatformError::Backlog { records, topic, group });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(mapping.stop().await?)
    }
}

/// As many records at most: markers of transactions have offsets as well.
fn waiting(positions: &[Position]) -> i64 {
    positions.iter().map(|at| (at.end - at.start).max(0)).sum()
}
