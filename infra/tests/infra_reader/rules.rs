//! The stacks as they are break no rule, at any size. That each rule can be broken: `tests/planted_defects`.

use centinela_infra::{Finding, Infrastructure, Sources};
use serde_json::Value;

use super::{ENVIRONMENTS, load, with_parameters};

fn findings(sources: &Sources) -> Vec<Finding> {
    Infrastructure::from_sources(sources).unwrap_or_else(|error| panic!("{error}")).findings()
}

#[test]
fn every_environment_can_be_read_and_breaks_no_rule() {
    for environment in ENVIRONMENTS {
        let found: Vec<String> = load(environment).findings().iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{environment}:\n{}", found.join("\n"));
    }
}

/// MSK tells of them at its free level, so what dev pays for brokers is no reason to leave the alarm out.
#[test]
fn replicas_in_sync_are_watched_in_every_environment() {
    for environment in ENVIRONMENTS {
        let mut sources = with_parameters(environment, &[]);
        let brokers = sources.stacks.iter_mut().find(|(file, _)| file.starts_with("45-brokers"));
        let (_, text) = brokers.expect("the stack is there");
        *text = text.replace("UnderMinIsrPartitionCount", "UnderReplicatedPartitions");
        let found: Vec<String> = findings(&sources).iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|one| one.contains("watches UnderMinIsrPartitionCount")), "{environment}: {found:?}");
    }
}

/// Standard and Express brokers send different metrics, and at each level.
#[test]
fn every_level_and_type_of_brokers_breaks_no_rule() {
    for level in ["DEFAULT", "PER_BROKER", "PER_TOPIC_PER_BROKER", "PER_TOPIC_PER_PARTITION"] {
        for kind in ["kafka.m7g.large", "express.m7g.large"] {
            let properties = if kind.starts_with("express.") { "express" } else { "standard" };
            let brokers = [("BrokerMonitoring", level), ("BrokerInstanceType", kind), ("BrokerProperties", properties)];
            assert_eq!(findings(&with_parameters("dev", &brokers)), Vec::new(), "{level} {kind}");
        }
    }
}

#[test]
fn provisioned_tables_break_no_rule_either() {
    for environment in ENVIRONMENTS {
        let sources = with_parameters(environment, &[("TableBillingMode", "PROVISIONED")]);
        assert_eq!(findings(&sources), Vec::new(), "{environment}");
        let infrastructure = Infrastructure::from_sources(&sources).expect("it was read just now");
        let targets = infrastructure.resources.iter().filter(|resource| resource.kind.ends_with("ScalableTarget"));
        assert!(targets.count() >= 4, "reads and writes of users and devices");
    }
}

#[test]
fn larger_loads_are_reached_by_parameters_alone() {
    let million = with_parameters(
        "prod",
        &[
            ("TableBillingMode", "PAY_PER_REQUEST"),
            ("TransactionsPartitions", "40"),
            ("DecisionPartitions", "40"),
            ("DecisionsShards", "24"),
            ("ScoreTransactionsPollersMin", "8"),
            ("ScoreTransactionsPollersMax", "8"),
            ("ScoreTransactionsConcurrency", "60"),
            ("UserWriteUnitsMax", "30000"),
            ("UserWarmWriteUnits", "20000"),
            ("CompactLakeSlices", "12"),
            ("CompactLakeShares", "6"),
            ("CompactLakeSchedule", "cron(5/10 * * * ? *)"),
        ],
    );
    assert_eq!(findings(&million), Vec::new());
    let million = Infrastructure::from_sources(&million).expect("it was read just now");
    let user_state =
        million.resources.iter().find(|resource| resource.logical_id == "UserState").expect("it is declared");
    assert_eq!(user_state.properties["WarmThroughput"]["WriteUnitsPerSecond"], Value::from("20000"));
    let ten_million = with_parameters(
        "prod",
        &[
            ("TransactionsPartitions", "200"),
            ("DecisionPartitions", "200"),
            ("DecisionsShards", "200"),
            ("ScoreTransactionsPollersMin", "60"),
            ("ScoreTransactionsPollersMax", "60"),
            ("ScoreTransactionsConcurrency", "300"),
            ("UserWriteUnitsMax", "250000"),
            ("UserReadUnitsMax", "250000"),
        ],
    );
    assert_eq!(findings(&ten_million), Vec::new());
}
