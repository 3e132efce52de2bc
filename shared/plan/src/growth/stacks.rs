//! Which stacks declare a parameter: an update of one of them leaves the others with the value that they were last given.

/// The stack that a parameter is changed in first: the one whose resources it sizes.
#[must_use]
pub fn stack_of(parameter: &str) -> &'static str {
    const FUNCTIONS: [(&str, &str); 11] = [
        ("ScoreTransactions", "40-functions/score-transactions"),
        ("TrackUserActions", "40-functions/track-user-actions"),
        ("ApplyLabels", "40-functions/apply-labels"),
        ("IndexDecisions", "40-functions/index-decisions"),
        ("RollupMetrics", "40-functions/rollup-metrics"),
        ("CompactLake", "40-functions/compact-lake"),
        ("DecisionsApi", "40-functions/decisions-api"),
        ("Archive", "40-functions/archive-records"),
        // Each with the alarm that it is the limit of; the others of this name are in the ops stack.
        ("GuardCostsPollersMax", "40-functions/archive-records"),
        ("GuardCostsLagMax", "40-functions/track-user-actions"),
        ("GuardCostsIndexWriteUnitsMax", "40-functions/index-decisions"),
    ];
    if let Some((_, stack)) = FUNCTIONS.iter().find(|(prefix, _)| parameter.starts_with(prefix)) {
        return stack;
    }
    match parameter {
        "BrokerPartitionsMax" => return "45-brokers",
        "MonthlyBudgetUsd" => return "80-budget",
        _ => {}
    }
    if matches!(parameter, "KafkaVersion" | "DecisionsShards")
        || parameter.starts_with("Broker")
        || parameter.ends_with("Partitions")
    {
        return "20-streaming";
    }
    if parameter.contains("Units") && !parameter.starts_with("GuardCosts") || parameter == "TableBillingMode" {
        return "30-data";
    }
    "50-ops"
}

/// The other stacks that declare it, most of them because an alarm compares with it or a board shows it.
#[must_use]
pub fn also_in(parameter: &str) -> &'static [&'static str] {
    match parameter {
        "BrokerInstanceType" => &["45-brokers", "55-dashboard"],
        "BrokerCount" | "BrokerMonitoring" => &["45-brokers"],
        "DecisionsShards" | "TableBillingMode" | "UserWriteUnitsMax" => &["50-ops"],
        "GuardCostsLagMax" => &["40-functions/apply-labels"],
        "ArchiveRecordsConcurrency" | "CompactLakeConcurrency" => &["40-functions/guard-costs"],
        _ => &[],
    }
}
