//! Each rule over the whole of a deployment must fail when it is broken: every row is one defect, planted in the real stacks.

use centinela_infra::{Finding, Infrastructure, Sources};
use serde_json::Value;

use super::{ENVIRONMENTS, load, sources, with_parameters};

/// Stack (by its number), a text that it holds exactly once, what to put there instead (`\n` is a new line), the rule that this breaks.
const DEFECTS: &str = r#"
20 | auto.create.topics.enable=false | auto.create.topics.enable=true | CreatesTopics
20 | "min.insync.replicas":"2","max.message | "min.insync.replicas":"3","max.message | InSyncReplicas
20 | LogAppendTime | CreateTime | NotBrokerTime
20 | "retention.ms":"1209600000", |  | RetentionUnset
20 | "1209600000" | "259200000" | DeadLettersExpireFirst
20 | "2097152" | "1048588" | DeadLettersTooSmall
20 | TopicName: approved | TopicName: aproved | NamesNothing
20 | PartitionCount: 3\n      ReplicationFactor: 3 | PartitionCount: 3\n      ReplicationFactor: 4 | MoreReplicasThanBrokers
40 | Timeout: !Ref ScoreTransactionsTimeoutSeconds | Timeout: 900 | TimeoutTooLong
40 | Topics: [transactions] | Topics: [transaction] | UnknownTopic
40 | Topics: [transactions] | Topics: [approved] | EnvironmentDisagrees
40 | kafka://dead-letters | kafka://transactions | FailureTopicIsSource
40 | kafka://dead-letters | kafka://dead-leters | UnknownTopic
40 |       DestinationConfig:\n        OnFailure:\n          Destination: kafka://dead-letters\n |  | GivesUpIntoNothing
40 |       ProvisionedPollerConfig:\n        MinimumPollers: !Ref PollersMin\n        MaximumPollers: !Ref PollersMax\n |  | ControlsNeedProvisionedPollers
40 |       MaximumRetryAttempts: !Ref MaximumRetryAttempts\n |  | EndlessRetriesWithFailureTopic
40 | StartingPosition: TRIM_HORIZON | StartingPosition: LATEST | StartsAtLatest
40 | ConsumerGroupId: score-transactions | ConsumerGroupId: score:transactions | GroupHasColon
40 | ConsumerGroupId: score-transactions | ConsumerGroupId: scores | EnvironmentDisagrees
40 | MAXIMUM_RECORD_AGE_SECONDS: !Ref MaximumRecordAgeSeconds | MAXIMUM_RECORD_AGE_SECONDS: 60 | EnvironmentDisagrees
40 | BisectBatchOnFunctionError: false | BisectBatchOnFunctionError: true | SplitsBatches
40 | FunctionName: !Ref ScoreTransactions\n | FunctionName: score-transaction\n | UnknownFunction
40 | Architectures: [arm64] | Architectures: [x86_64] | NotPackagedForArm
40 | Action: kinesis:PutRecords | Action: kinesis:* | WildcardAction
40 |                   - kms:GenerateDataKey\n                Resource:\n                  Fn::ImportValue: !Sub '${NamePrefix}centinela-KeyArn' |                   - kms:GenerateDataKey\n                Resource: '*' | WildcardResource
40 |                   - Fn::ImportValue: !Sub '${NamePrefix}centinela-BlockedTopicArn'\n |  | RoleCannotReach
40 | '${Prefix}score-transactions' | '${Prefix}scores' | RoleCannotReach
40 | Role: !GetAtt ScoreTransactionsRole.Arn | Role: arn:aws:iam::000000000000:role/other | UnknownRole
40 | TRANSACTIONS_TOPIC: transactions\n | TRANSACTIONS_TOPIC: approved\n | EnvironmentDisagrees
40 | Metrics: [EventCount, ErrorCount, KafkaMetrics] | Metrics: [EventCount, ErrorCount] | MetricFromNobody
50 | MetricName: DroppedEventCount | MetricName: DropedEventCount | MetricFromNobody
50 | DatapointsToAlarm: 2 | DatapointsToAlarm: 4 | MoreDatapointsThanPeriods
50 | IF(decided >= 100 | IF(decisions >= 100 | UnknownMetricId
30 |     Value: !Ref Lake\n |     Value: !Ref Lake\n    Export:\n      Name: nobody\n | UnusedExport
"#;

fn findings(sources: &Sources) -> Vec<Finding> {
    Infrastructure::from_sources(sources).unwrap_or_else(|error| panic!("{error}")).findings()
}

/// Whether one of the findings is of the rule of this name.
fn breaks(findings: &[Finding], rule: &str) -> bool {
    findings.iter().any(|finding| {
        let name = format!("{:?}", finding.rule);
        name.split([' ', '(']).next() == Some(rule)
    })
}

fn broken(stack: &str, from: &str, to: &str) -> Sources {
    let mut sources = sources("prod");
    let (file, text) = sources.stacks.iter_mut().find(|(file, _)| file.starts_with(stack)).expect("the stack is there");
    assert_eq!(text.matches(from).count(), 1, "{file} must hold exactly once: {from}");
    *text = text.replace(from, to);
    sources
}

#[test]
fn every_environment_can_be_read_and_breaks_no_rule() {
    for environment in ENVIRONMENTS {
        let found: Vec<String> = load(environment).findings().iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{environment}:\n{}", found.join("\n"));
    }
}

#[test]
fn provisioned_tables_break_no_rule_either() {
    for environment in ENVIRONMENTS {
        let sources = with_parameters(environment, &[("TableBillingMode", "PROVISIONED")]);
        assert_eq!(findings(&sources), Vec::new(), "{environment}");
        let infrastructure = Infrastructure::from_sources(&sources).expect("it was read just now");
        let targets = infrastructure.resources.iter().filter(|resource| resource.kind.ends_with("ScalableTarget"));
        assert_eq!(targets.count(), 4);
    }
}

#[test]
fn larger_loads_are_reached_by_parameters_alone() {
    let million = with_parameters(
        "prod",
        &[
            ("TransactionsPartitions", "40"),
            ("DecisionPartitions", "40"),
            ("DecisionsShards", "24"),
            ("PollersMin", "8"),
            ("PollersMax", "8"),
            ("ScoreTransactionsConcurrency", "60"),
            ("UserWriteUnitsMax", "30000"),
            ("UserWarmWriteUnits", "20000"),
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
            ("PollersMin", "60"),
            ("PollersMax", "60"),
            ("ScoreTransactionsConcurrency", "300"),
            ("UserWriteUnitsMax", "250000"),
            ("UserReadUnitsMax", "250000"),
        ],
    );
    assert_eq!(findings(&ten_million), Vec::new());
}

#[test]
fn each_defect_in_a_stack_is_found() {
    for defect in DEFECTS.trim().lines() {
        let columns: Vec<String> = defect.split(" | ").map(|column| column.replace("\\n", "\n")).collect();
        let [stack, from, to, rule] = columns.as_slice() else { panic!("four columns: {defect}") };
        let found = findings(&broken(stack, from, to));
        assert!(breaks(&found, rule), "{defect}\nfound {found:?}");
    }
}

#[test]
fn each_defect_in_the_parameters_is_found() {
    let defects: [(&[(&str, &str)], &str); 7] = [
        (&[("PollersMin", "3")], "PollersOutOfOrder"),
        (&[("PollersMax", "11")], "MorePollersThanPartitions"),
        (&[("BrokerCount", "4")], "BrokersUneven"),
        (&[("MaximumRecordAgeSeconds", "604800")], "AgeReachesRetention"),
        (&[("MaximumRecordAgeSeconds", "60"), ("ScoreTransactionsTimeoutSeconds", "60")], "TimeoutReachesAge"),
        (&[("ScoreTransactionsConcurrency", "9")], "TooLittleConcurrency"),
        (&[("TableBillingMode", "PROVISIONED"), ("UserWriteUnitsMin", "5000")], "ScalingOutOfOrder"),
    ];
    for (changes, expected) in defects {
        let found = findings(&with_parameters("prod", changes));
        assert!(breaks(&found, expected), "{changes:?} must break {expected}, found {found:?}");
    }
}
