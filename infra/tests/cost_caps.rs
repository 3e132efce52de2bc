//! No cost driver enters a stack without an upper bound: each row is one bound taken away from the real stacks, and must be found.

use std::path::{Path, PathBuf};

use centinela_infra::{Infrastructure, Rule, Sources};

/// Stack (by the beginning of its file's name), a text that it holds, what to put in the place of its first occurrence, the resource that must
/// be named.
const DEFECTS: [(&str, &str, &str, &str); 14] = [
    (
        "score-transactions",
        "      ReservedConcurrentExecutions: !If [ReservesConcurrency, !Ref ScoreTransactionsConcurrency, !Ref AWS::NoValue]\n",
        "",
        "ScoreTransactions",
    ),
    (
        "score-transactions",
        "        MaximumPollers: !Ref ScoreTransactionsPollersMax\n",
        "",
        "ScoreTransactionsMapping",
    ),
    ("score-transactions", "      RetentionInDays: !Ref LogDays\n", "", "ScoreTransactionsLogs"),
    ("30-data", "          MaxWriteRequestUnits: !Ref DecisionWriteUnitsMax\n", "", "Decisions"),
    ("30-data", "        MaxReadRequestUnits: !Ref LabelReadUnitsMax\n", "        MaxReadRequestUnits: -1\n", "Labels"),
    ("30-data", "      MaxCapacity: !Ref UserWriteUnitsMax\n", "", "UserWrites"),
    ("30-data", "      ResourceId: !Sub 'table/${DeviceState}'\n", "      ResourceId: table/other\n", "DeviceState"),
    ("30-data", "              DaysAfterInitiation: 1\n", "              Days: 1\n", ""),
    ("30-data", "            AbortIncompleteMultipartUpload:\n", "            Other:\n", "Lake"),
    ("30-data", "            NoncurrentVersionExpiration:\n", "            Other:\n", "Lake"),
    ("20-streaming", "        StreamMode: PROVISIONED\n", "        StreamMode: ON_DEMAND\n", "Decisions"),
    ("decisions-api", "        ThrottlingRateLimit: !Ref DecisionsApiRate\n", "", ""),
    ("70-analysts", "        BytesScannedCutoffPerQuery: !Ref AnalystScanBytesMax\n", "", "WorkGroup"),
    (
        "70-analysts",
        "        EnforceWorkGroupConfiguration: true\n",
        "        EnforceWorkGroupConfiguration: false\n",
        "WorkGroup",
    ),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn uncapped(sources: &Sources) -> Vec<String> {
    let infrastructure = Infrastructure::from_sources(sources).unwrap_or_else(|error| panic!("{error}"));
    let findings = infrastructure.findings().into_iter().filter(|finding| matches!(finding.rule, Rule::Uncapped(_)));
    findings.map(|finding| finding.resource).collect()
}

#[test]
fn every_environment_is_bounded() {
    for environment in ["dev", "local", "prod", "stage"] {
        let sources = Sources::from_directory(&directory(), environment).expect("the stacks are there");
        assert_eq!(uncapped(&sources), Vec::<String>::new(), "{environment}");
    }
}

#[test]
fn a_bound_that_is_taken_away_is_found() {
    for (stack, from, to, resource) in DEFECTS {
        // The form of a rule that has no cost in it: it must not be taken for a bound that is missing.
        let is_control = from.contains("DaysAfterInitiation");
        let mut sources = Sources::from_directory(&directory(), "prod").expect("the stacks are there");
        let is_meant = |file: &str| file.rsplit('/').next().is_some_and(|file| file.starts_with(stack));
        let (file, text) = sources.stacks.iter_mut().find(|(file, _)| is_meant(file)).expect("the stack is there");
        assert!(text.contains(from), "{file} must hold: {from}");
        *text = text.replacen(from, to, 1);
        let found = uncapped(&sources);
        if is_control {
            assert!(found.is_empty(), "{from}: {found:?}");
        } else {
            assert!(found.iter().any(|found| resource.is_empty() || found == resource), "{from}: {found:?}");
        }
    }
}

#[test]
fn an_environment_without_a_budget_a_gateway_and_unreserved_functions_are_found() {
    let mut sources = Sources::from_directory(&directory(), "prod").expect("the stacks are there");
    sources.parameters =
        sources.parameters.replace("\"ReserveConcurrency\": \"true\"", "\"ReserveConcurrency\": \"false\"");
    let found = uncapped(&sources);
    assert!(found.len() >= 10, "every function: {found:?}");

    let mut sources = Sources::from_directory(&directory(), "prod").expect("the stacks are there");
    let budget = sources.stacks.iter_mut().find(|(file, _)| file == "80-budget.yaml").expect("it is there");
    budget.1 = budget.1.replace("AWS::Budgets::Budget\n", "AWS::CE::AnomalyMonitor\n");
    assert_eq!(uncapped(&sources), ["Budget"]);

    let mut sources = Sources::from_directory(&directory(), "prod").expect("the stacks are there");
    let network = sources.stacks.iter_mut().find(|(file, _)| file == "10-foundation.yaml").expect("it is there");
    network.1 = network.1.replacen(
        "Resources:\n",
        "Resources:\n  Gateway:\n    Type: AWS::EC2::NatGateway\n    Properties:\n      ConnectivityType: private\n",
        1,
    );
    assert_eq!(uncapped(&sources), ["Gateway"]);
}
