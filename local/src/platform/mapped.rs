//! The mappings of a platform: which function reads which topic, and in which order they come to an end.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use centinela_infra::{Function, Infrastructure};
use centinela_lambda_host::HeldMappings;
use centinela_lambda_host::mapping::{KafkaMapping, KafkaMappingSpec, MappingError};

use super::error::PlatformError;
use super::specs::mapping_spec;
use super::{Platform, functions};

/// Variables of a function that name a topic.
const TOPIC_VARIABLE: &str = "_TOPIC";
/// The variable that names the topic of what can never be handled.
const DEAD_LETTERS_VARIABLE: &str = "DEAD_LETTERS_TOPIC";

/// Which mapping: a topic may have several functions, and a function several topics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MappingKey {
    /// The topic that it reads.
    pub topic: String,
    /// The function that it invokes.
    pub function: String,
}

impl fmt::Display for MappingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "topic `{}` for `{}`", self.topic, self.function)
    }
}

/// A mapping at work.
pub(super) struct Mapped {
    pub(super) key: MappingKey,
    pub(super) mapping: Arc<KafkaMapping>,
}

/// Where a mapping stops taking records of its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The topic.
    pub topic: String,
    /// The function that the mapping invokes.
    pub function: String,
    /// By partition, the first offset that is left alone.
    pub ends: Vec<i64>,
}

impl Platform {
    /// Starts the mappings of a platform that was started without them, those that run already excepted.
    ///
    /// # Errors
    /// When a mapping names an unknown function, or cannot join its group.
    pub async fn start_mappings(&self) -> Result<(), PlatformError> {
        self.start_urgent_mappings().await?;
        self.start_mappings_where(false).await?;
        self.start_stream_mappings()
    }

    /// The same of those functions only for whose answer somebody waits, so that what the others do takes nothing from them. What those
    /// write to streams is kept for the others until they are started.
    ///
    /// # Errors
    /// The same.
    pub async fn start_urgent_mappings(&self) -> Result<(), PlatformError> {
        self.keep_for_stream_mappings();
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
            let pace = if urgent && self.is_paced { functions::PACE } else { Duration::ZERO };
            let spec = KafkaMappingSpec { pace, ..mapping_spec(declared, self.environments) };
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

    /// All mappings, by topic and function.
    pub fn mappings(&self) -> impl Iterator<Item = (&MappingKey, &Arc<KafkaMapping>)> {
        let mapped = self.mappings.iter().filter_map(OnceLock::get).flatten();
        mapped.map(|mapped| (&mapped.key, &mapped.mapping))
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
        stages(&self.infrastructure)
    }

    /// Functions of which a mapping is disabled, or on its way, each once: the brake, or somebody, has stopped it.
    #[must_use]
    pub fn disabled(&self) -> Vec<String> {
        let mut functions = self.control.disabled();
        functions.sort_unstable();
        functions.dedup();
        functions
    }

    /// Keeps the brake from the mappings of a topic until what this returns is dropped. None while one of them is disabled.
    #[must_use]
    pub fn hold_mappings(&self, topic: &str) -> Option<HeldMappings> {
        self.control.hold(topic)
    }

    /// Lets the mappings of these topics take nothing that comes from now on, and says where that is.
    ///
    /// # Errors
    /// When Kafka does not answer.
    pub async fn cut(&self, topics: &[String]) -> Result<Vec<Cut>, PlatformError> {
        let mut mappings: Vec<_> = self.mappings().filter(|(key, _)| topics.contains(&key.topic)).collect();
        let topics_of = |key: &MappingKey| self.mappings().filter(|(other, _)| other.function == key.function).count();
        // Whoever reads many topics comes last, so that nothing is missing there of what the others have handled.
        mappings.sort_by_key(|(key, _)| topics_of(key));
        let mut cuts = Vec::new();
        for alike in mappings.chunk_by(|(one, _), (other, _)| topics_of(one) == topics_of(other)) {
            let cut = |(key, mapping): &(&MappingKey, &Arc<KafkaMapping>)| {
                let (MappingKey { topic, function }, mapping) = ((*key).clone(), Arc::clone(mapping));
                async move { Ok::<_, MappingError>(Cut { topic, function, ends: mapping.cut().await? }) }
            };
            // Each may have to wait until the broker has answered what was asked before.
            cuts.extend(futures::future::try_join_all(alike.iter().map(cut)).await?);
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
}

/// The topics that mappings read, in groups: nothing comes onto a topic any more once the mappings of the groups before it have handled
/// everything. First what producers write, then what functions publish, then what could not be handled.
pub(super) fn stages(infrastructure: &Infrastructure) -> Vec<Vec<String>> {
    let mut stages = vec![Vec::new(), Vec::new(), Vec::new()];
    let mut topics: Vec<&String> = infrastructure.mappings.iter().map(|mapping| &mapping.topic).collect();
    topics.sort_unstable();
    topics.dedup();
    for topic in topics {
        stages[stage(infrastructure, topic)].push(topic.clone());
    }
    stages.retain(|topics| !topics.is_empty());
    stages
}

/// The number of a topic's group.
fn stage(infrastructure: &Infrastructure, topic: &str) -> usize {
    let reads = |function: &str| {
        infrastructure.mappings.iter().any(|mapping| mapping.function == function && mapping.topic == topic)
    };
    let is_destination =
        infrastructure.mappings.iter().any(|mapping| mapping.on_failure_topic.as_deref() == Some(topic));
    let mut stage = if is_destination { 2 } else { 0 };
    // Who reads no topic writes what somebody outside has asked for, as a producer does.
    let is_mapped = |function: &&Function| infrastructure.mappings.iter().any(|one| one.function == function.name);
    for function in infrastructure.functions.iter().filter(is_mapped) {
        let named = function.environment.iter().filter(|(_, value)| *value == topic).map(|(name, _)| name);
        for name in named.filter(|name| name.ends_with(TOPIC_VARIABLE)) {
            if name == DEAD_LETTERS_VARIABLE {
                stage = 2;
            } else if !reads(&function.name) {
                stage = stage.max(1);
            }
        }
    }
    stage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_publishes_ends_after_what_it_reads_and_dead_letters_end_last() {
        let infrastructure = Infrastructure::bundled("local").expect("the stacks are in order");
        let stage = |topic| stage(&infrastructure, topic);
        assert_eq!(["transactions", "approved", "blocked", "dead-letters"].map(stage), [0, 1, 1, 2]);
        assert_eq!(["user_actions", "events"].map(stage), [0, 0], "the HTTP API writes there as producers do");
        let all: Vec<String> = stages(&infrastructure).into_iter().flatten().collect();
        assert!(infrastructure.mappings.iter().all(|mapping| all.contains(&mapping.topic)), "{all:?}");
    }
}
