//! What must hold between a Kafka mapping, its topics and its function.

use std::time::Duration;

use super::Infrastructure;
use super::model::{Function, Mapping, StartingPosition, Topic};
use super::rules::{Rule, max_message_bytes, retention};

/// Kafka sources allow a function 14 minutes, not 15: <https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html>.
const MAX_KAFKA_TIMEOUT: Duration = Duration::from_secs(840);
/// A dead letter is kept as long as its source keeps records, or this long: time enough for a person to look and to redrive it.
const DEAD_LETTERS_KEPT: Duration = Duration::from_secs(14 * 86_400);
/// Room for the metadata around a dead-lettered record.
const DEAD_LETTER_METADATA_BYTES: u64 = 16_384;

/// Whether it remembers what is committed of a partition, which rests on the partition's order.
pub(super) fn keeps_offsets(function: &Function) -> bool {
    function.environment.contains_key("SETTLED_TABLE")
}

pub(super) fn rules(mapping: &Mapping, infrastructure: &Infrastructure) -> Vec<Rule> {
    let mut rules = Vec::new();
    let (min, max) = (mapping.pollers_min, mapping.pollers_max);
    if mapping.provisioned && min > max {
        rules.push(Rule::PollersOutOfOrder { min, max });
    }
    let gives_up = mapping.maximum_retry_attempts.is_some() || mapping.maximum_record_age.is_some();
    let controls =
        gives_up || mapping.bisect || mapping.report_batch_item_failures || mapping.on_failure_topic.is_some();
    if !mapping.provisioned && controls {
        rules.push(Rule::ControlsNeedProvisionedPollers);
    }
    if mapping.starting_position == StartingPosition::Latest {
        rules.push(Rule::StartsAtLatest);
    }
    if mapping.consumer_group.contains(':') {
        rules.push(Rule::GroupHasColon(mapping.consumer_group.clone()));
    }
    if gives_up && mapping.on_failure_topic.is_none() {
        rules.push(Rule::GivesUpIntoNothing);
    }
    if mapping.maximum_retry_attempts.is_none() && mapping.on_failure_topic.is_some() {
        rules.push(Rule::EndlessRetriesWithFailureTopic);
    }
    if let Some(topic) = infrastructure.topic(&mapping.topic) {
        rules.extend(source_rules(mapping, topic, infrastructure));
    } else {
        rules.push(Rule::UnknownTopic(mapping.topic.clone()));
    }
    if let Some(function) = infrastructure.function(&mapping.function) {
        rules.extend(agreement_rules(mapping, function));
    } else {
        rules.push(Rule::UnknownFunction(mapping.function.clone()));
    }
    rules
}

fn source_rules(mapping: &Mapping, source: &Topic, infrastructure: &Infrastructure) -> Vec<Rule> {
    let mut rules = Vec::new();
    if mapping.provisioned && mapping.pollers_max > source.partitions {
        let (pollers, partitions) = (mapping.pollers_max, source.partitions);
        rules.push(Rule::MorePollersThanPartitions { pollers, partitions, topic: source.name.clone() });
    }
    if let (Some(age), Some(retention)) = (mapping.maximum_record_age, retention(source))
        && age >= retention
    {
        rules.push(Rule::AgeReachesRetention { age, retention, topic: source.name.clone() });
    }
    let Some(name) = &mapping.on_failure_topic else {
        return rules;
    };
    // Whoever reads it and gives up on nothing, as the archive does, sends nothing round.
    if infrastructure.mappings.iter().any(|other| other.topic == *name && other.on_failure_topic.is_some()) {
        rules.push(Rule::FailureTopicIsSource(name.clone()));
    }
    let Some(dead_letters) = infrastructure.topic(name) else {
        rules.push(Rule::UnknownTopic(name.clone()));
        return rules;
    };
    if retention(dead_letters) < retention(source).map(|source| source.min(DEAD_LETTERS_KEPT)) {
        rules.push(Rule::DeadLettersExpireFirst(name.clone()));
    }
    let (needed, found) =
        (max_message_bytes(source).div_ceil(3) * 4 + DEAD_LETTER_METADATA_BYTES, max_message_bytes(dead_letters));
    if found < needed {
        rules.push(Rule::DeadLettersTooSmall { topic: name.clone(), found, needed });
    }
    rules
}

/// What the function is told must be what its mapping does.
fn agreement_rules(mapping: &Mapping, function: &Function) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut agree = |variable: &'static str, mapping: &str| match function.environment.get(variable) {
        Some(found) if found != mapping => {
            rules.push(Rule::EnvironmentDisagrees { variable, found: found.clone(), mapping: mapping.to_owned() });
        }
        _ => {}
    };
    agree("CONSUMER_GROUP", &mapping.consumer_group);
    agree("TRANSACTIONS_TOPIC", &mapping.topic);
    agree("SOURCE_TOPIC", &mapping.topic);
    if let Some(topic) = &mapping.on_failure_topic {
        agree("DEAD_LETTERS_TOPIC", topic);
    }
    if let Some(age) = mapping.maximum_record_age {
        agree("MAXIMUM_RECORD_AGE_SECONDS", &age.as_secs().to_string());
    }
    if mapping.bisect && keeps_offsets(function) {
        rules.push(Rule::SplitsBatches);
    }
    if function.timeout > MAX_KAFKA_TIMEOUT {
        rules.push(Rule::TimeoutTooLong(function.timeout));
    }
    if let Some(age) = mapping.maximum_record_age.filter(|age| function.timeout >= *age) {
        rules.push(Rule::TimeoutReachesAge { timeout: function.timeout, age });
    }
    rules
}
