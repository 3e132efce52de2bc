//! The mappings of a platform: which function reads which topic, and in which order they come to an end.

use std::fmt;
use std::sync::Arc;

use centinela_infra::{Function, Infrastructure};
use centinela_lambda_host::mapping::KafkaMapping;

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
