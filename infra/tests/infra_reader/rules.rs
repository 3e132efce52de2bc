//! Each rule over the whole of a deployment must fail when it is broken: every row is one defect, planted in the real stacks.

use centinela_infra::{Finding, Infrastructure, Sources};
use serde_json::Value;

use super::{ENVIRONMENTS, load, sources, with_parameters};

/// Stack (by the beginning of its file's name), a text that it holds exactly once, what to put there instead (`\n` is a new line), the rule that this breaks.
const DEFECTS: &str = r#"
20 | auto.create.topics.enable=false | auto.create.topics.enable=true | CreatesTopics
20 | "min.insync.replicas":"2","max.message | "min.insync.replicas":"3","max.message | InSyncReplicas
20 | "LogAppendTime","max.message | "CreateTime","max.message | NotBrokerTime
20 | "retention.ms":"1209600000", |  | RetentionUnset
20 | "1209600000" | "259200000" | DeadLettersExpireFirst
20 | "2097152" | "1048588" | DeadLettersTooSmall
20 | TopicName: approved | TopicName: aproved | NamesNothing
20 | PartitionCount: 3\n      ReplicationFactor: 3 | PartitionCount: 3\n      ReplicationFactor: 4 | MoreReplicasThanBrokers
score | Timeout: !Ref ScoreTransactionsTimeoutSeconds | Timeout: 900 | TimeoutTooLong
score | Topics: [transactions] | Topics: [transaction] | UnknownTopic
score | Topics: [transactions] | Topics: [approved] | EnvironmentDisagrees
score | kafka://dead-letters | kafka://transactions | FailureTopicIsSource
score | kafka://dead-letters | kafka://dead-leters | UnknownTopic
score |       DestinationConfig:\n        OnFailure:\n          Destination: kafka://dead-letters\n |  | GivesUpIntoNothing
score |       ProvisionedPollerConfig:\n        MinimumPollers: !Ref ScoreTransactionsPollersMin\n        MaximumPollers: !Ref ScoreTransactionsPollersMax\n |  | ControlsNeedProvisionedPollers
score |       MaximumRetryAttempts: !Ref ScoreTransactionsMaximumRetryAttempts\n |  | EndlessRetriesWithFailureTopic
score | StartingPosition: TRIM_HORIZON | StartingPosition: LATEST | StartsAtLatest
score | ConsumerGroupId: score-transactions | ConsumerGroupId: score:transactions | GroupHasColon
score | ConsumerGroupId: score-transactions | ConsumerGroupId: scores | EnvironmentDisagrees
score | MAXIMUM_RECORD_AGE_SECONDS: !Ref ScoreTransactionsMaximumRecordAgeSeconds | MAXIMUM_RECORD_AGE_SECONDS: 60 | EnvironmentDisagrees
score | BisectBatchOnFunctionError: false | BisectBatchOnFunctionError: true | SplitsBatches
score | FunctionName: !Ref ScoreTransactions\n | FunctionName: score-transaction\n | UnknownFunction
score | Architectures: [arm64] | Architectures: [x86_64] | NotPackagedForArm
score | Action: kinesis:PutRecords | Action: kinesis:* | WildcardAction
score |                   - kms:GenerateDataKey\n                Resource:\n                  Fn::ImportValue: !Sub '${NamePrefix}centinela-KeyArn' |                   - kms:GenerateDataKey\n                Resource: '*' | WildcardResource
score |                   - Fn::ImportValue: !Sub '${NamePrefix}centinela-BlockedTopicArn'\n |  | RoleCannotReach
score | '${Prefix}score-transactions' | '${Prefix}scores' | RoleCannotReach
score | Role: !GetAtt ScoreTransactionsRole.Arn | Role: arn:aws:iam::000000000000:role/other | UnknownRole
score | TRANSACTIONS_TOPIC: transactions\n | TRANSACTIONS_TOPIC: approved\n | EnvironmentDisagrees
score | Metrics: [EventCount, ErrorCount, KafkaMetrics] | Metrics: [EventCount, ErrorCount] | MetricFromNobody
50 | MetricName: DroppedEventCount | MetricName: DropedEventCount | MetricFromNobody
50 | DatapointsToAlarm: 2 | DatapointsToAlarm: 4 | MoreDatapointsThanPeriods
50 | IF(decided >= 100, | IF(decisions >= 100, | UnknownMetricId
20 |   DecisionsStreamArn:\n |   Nobody:\n    Value: nothing\n    Export:\n      Name: nobody\n  DecisionsStreamArn:\n | UnusedExport
guard | Action: lambda:UpdateEventSourceMapping | Action: lambda:* | WildcardAction
archive | Action: s3:PutObject\n | Action: sqs:SendMessage\n | RoleCannotReach
70 |     Value: !Ref WorkGroup\n |     Value: !Ref WorkGroup\n    Export:\n      Name: nobody\n | UnusedExport
70 |                   - athena:StartQueryExecution\n |                   - athena:*\n | WildcardAction
70 |                 Resource: !Sub '${Results.Arn}/*' |                 Resource: '*' | WildcardResource
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
    let is_meant = |file: &str| file.rsplit('/').next().is_some_and(|file| file.starts_with(stack));
    let (file, text) = sources.stacks.iter_mut().find(|(file, _)| is_meant(file)).expect("the stack is there");
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
            ("ScoreTransactionsPollersMin", "8"),
            ("ScoreTransactionsPollersMax", "8"),
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
            ("ScoreTransactionsPollersMin", "60"),
            ("ScoreTransactionsPollersMax", "60"),
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
        (&[("ScoreTransactionsPollersMin", "3")], "PollersOutOfOrder"),
        (&[("ScoreTransactionsPollersMax", "11")], "MorePollersThanPartitions"),
        (&[("BrokerCount", "4")], "BrokersUneven"),
        (&[("ScoreTransactionsMaximumRecordAgeSeconds", "604800")], "AgeReachesRetention"),
        (
            &[("ScoreTransactionsMaximumRecordAgeSeconds", "60"), ("ScoreTransactionsTimeoutSeconds", "60")],
            "TimeoutReachesAge",
        ),
        (&[("ScoreTransactionsConcurrency", "9")], "TooLittleConcurrency"),
        (&[("TableBillingMode", "PROVISIONED"), ("UserWriteUnitsMin", "5000")], "ScalingOutOfOrder"),
    ];
    for (changes, expected) in defects {
        let found = findings(&with_parameters("prod", changes));
        assert!(breaks(&found, expected), "{changes:?} must break {expected}, found {found:?}");
    }
}
