//! What cannot be understood completely is refused, by file, resource and property.

use std::time::Duration;

use centinela_infra::Infrastructure;

use super::{fixture, infra_directory, refusal, stacks, with_parameters};

#[test]
fn a_parameter_outside_its_declaration_is_refused_by_name() {
    let refused = |changes: &[(&str, &str)]| refusal(Infrastructure::from_sources(&with_parameters("prod", changes)));
    assert!(
        refused(&[("ScoreTransactionsPollersMax", "2001")])
            .starts_with("40-functions/score-transactions.yaml: Parameters.ScoreTransactionsPollersMax: is 2001, must be between 1 and 2000")
    );
    assert!(refused(&[("LogDays", "8")]).contains("Parameters.LogDays: is 8, must be one of 7, 14"));
    assert!(
        refused(&[("ScoreTransactionsBatchSize", "many")])
            .contains("Parameters.ScoreTransactionsBatchSize: must be a whole number")
    );
    assert!(refused(&[("NamePrefix", "a-very-long-name-")]).contains("at most 12 characters"));
}

#[test]
fn an_import_follows_the_export_of_an_earlier_stack() {
    let exporter = "
Resources:
  S: {Type: AWS::Kinesis::Stream, Properties: {Name: one}}
Outputs:
  Name: {Value: !Ref S, Export: {Name: shared}}
";
    let importer = "
Resources:
  T: {Type: AWS::Kinesis::Stream, Properties: {Name: !Join ['-', [!ImportValue shared, two]]}}
";
    let empty = "{\"Parameters\":{}}";
    let read =
        stacks(&[("10-a.yaml", exporter), ("20-b.yaml", importer)], empty).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read.streams[1].name, "one-two");
    let refused = refusal(stacks(&[("20-a.yaml", exporter), ("10-b.yaml", importer)], empty));
    assert!(refused.starts_with("10-b.yaml: T.Name"), "{refused}");
    assert!(refused.contains("exported by 20-a.yaml, which is deployed after this stack"), "{refused}");
    let refused = refusal(stacks(&[("10-a.yaml", exporter), ("20-a.yaml", exporter)], empty));
    assert!(refused.contains("\"shared\" is exported by 10-a.yaml too"), "{refused}");
}

#[test]
fn a_stack_that_is_not_understood_is_refused_with_file_resource_and_property() {
    let stream =
        |name: &str| format!("Resources:\n  S:\n    Type: AWS::Kinesis::Stream\n    Properties:\n      Name: {name}\n");
    let topic = |properties: &str| {
        format!(
            "Resources:\n  T:\n    Type: AWS::MSK::Topic\n    Properties: {{TopicName: t, ReplicationFactor: 3, ClusterArn: c, {properties}}}\n"
        )
    };
    let cases = [
        (stream("!Transform {Name: x}"), "10-only.yaml: S.Name: \"Fn::Transform\" is not an intrinsic function"),
        (stream("!Cidr [a, 1, 8]"), "10-only.yaml: S.Name: \"Fn::Cidr\" is not an intrinsic function"),
        (stream("!Ref Nobody"), "10-only.yaml: S.Name: \"Nobody\" is neither a parameter nor a resource"),
        (stream("!Sub '${Nobody}'"), "10-only.yaml: S.Name: \"Nobody\" is neither"),
        (
            format!(
                "{}  U: {{Type: AWS::Kinesis::Stream, Properties: {{Name: u, ShardCount: !GetAtt S.Colour}}}}\n",
                stream("s")
            ),
            "10-only.yaml: U.ShardCount: AWS::Kinesis::Stream has no attribute \"Colour\"",
        ),
        (
            format!("{}  U: {{Type: AWS::Kinesis::Stream, Properties: {{Name: s}}}}\n", stream("s")),
            "10-only.yaml: U.Name: \"s\" is already the name of S",
        ),
        (stream("!Ref S"), "circle"),
        (stream("!ImportValue nothing"), "10-only.yaml: S.Name: no stack exports \"nothing\""),
        (stream("!If [Maybe, a, b]"), "10-only.yaml: S.Name: condition \"Maybe\" is not declared"),
        (stream("!Select [2, [a, b]]"), "10-only.yaml: S.Name: is 2, must be an index below 2"),
        (stream("!Join [a]"), "10-only.yaml: S.Name: Join takes a separator and a list"),
        (stream("!FindInMap [A, b, c]"), "10-only.yaml: S.Name: mapping entry A / b / c is not declared"),
        (stream("'{{resolve:ssm:/a}}'"), "10-only.yaml: S.Name: dynamic reference"),
        (stream("[a]"), "10-only.yaml: S.Name: must be a text"),
        (stream("a\n      Name: b"), "10-only.yaml"),
        ("Transform: AWS::Serverless-2016-10-31\nResources: {A: {Type: T}}".into(), "10-only.yaml: template.Transform"),
        ("Resources: {}".into(), "10-only.yaml: template.Resources: is missing"),
        ("Resources: {A: {Properties: {}}}".into(), "10-only.yaml: A.Type: is missing"),
        ("a: [".into(), "10-only.yaml: "),
        (topic("PartitionCount: 0"), "10-only.yaml: T.PartitionCount: is 0, must be between 1 and 100000"),
        (topic("PartitionCount: some"), "10-only.yaml: T.PartitionCount: must be a whole number"),
        (
            topic("PartitionCount: 1, Configs: 'retention.ms=1'"),
            "10-only.yaml: T.Configs: must be base64 of a JSON object",
        ),
        (
            topic("PartitionCount: 1, Configs: !Base64 'retention.ms=1'"),
            "10-only.yaml: T.Configs: must be base64 of a JSON object",
        ),
        (
            topic("PartitionCount: 1, Configs: !Base64 '{\"retention.ms\":1}'"),
            "10-only.yaml: T.Configs: must be base64 of a JSON object",
        ),
    ];
    for (text, expected) in cases {
        let refused = refusal(fixture(&text));
        assert!(refused.contains(expected), "{text}\nexpected {expected}\nfound    {refused}");
    }
}

#[test]
fn a_mapping_that_cannot_be_run_is_refused() {
    let mapping = |extra: &str| {
        fixture(&format!(
            "Resources:\n  M:\n    Type: AWS::Lambda::EventSourceMapping\n    Properties: {{FunctionName: f, {extra}}}\n"
        ))
    };
    let group = "AmazonManagedKafkaEventSourceConfig: {ConsumerGroupId: g}, StartingPosition: TRIM_HORIZON";
    let plain = mapping(&format!("Topics: [t], {group}")).expect("it is complete");
    assert_eq!((plain.mappings[0].window, plain.mappings[0].batch_size), (Duration::from_millis(500), 100));
    assert_eq!((plain.mappings[0].maximum_retry_attempts, plain.mappings[0].maximum_record_age), (None, None));
    let cases = [
        (format!("Topics: [t, u], {group}"), "M.Topics: must be a list of exactly one topic"),
        (group.to_owned(), "M.Topics: must be a list of exactly one topic"),
        (format!("Topics: [t], {group}, BatchSize: 10001"), "M.BatchSize: is 10001, must be between 1 and 10000"),
        (
            format!("Topics: [t], {group}, FilterCriteria: {{ Filters: [{{ Pattern: '{{}}' }}] }}"),
            "M.FilterCriteria.Filters: is {\"Pattern\":\"{}\"}, must be none: the mapping of one machine does not filter",
        ),
        (format!("Topics: [t], {group}, MaximumRecordAgeInSeconds: 59"), "M.MaximumRecordAgeInSeconds: is 59"),
        (format!("Topics: [t], {group}, MaximumRetryAttempts: -2"), "M.MaximumRetryAttempts: is -2"),
        (
            format!("Topics: [t], {group}, ProvisionedPollerConfig: {{MaximumPollers: 5000}}"),
            "M.ProvisionedPollerConfig.MaximumPollers: is 5000",
        ),
        (
            format!("Topics: [t], {group}, DestinationConfig: {{OnFailure: {{Destination: 'arn:aws:sqs:a:b:c'}}}}"),
            "M.DestinationConfig.OnFailure.Destination",
        ),
        (
            "Topics: [t], StartingPosition: LATEST".to_owned(),
            "M.AmazonManagedKafkaEventSourceConfig.ConsumerGroupId: is missing",
        ),
        (
            "Topics: [t], AmazonManagedKafkaEventSourceConfig: {ConsumerGroupId: g}, StartingPosition: AT_TIMESTAMP"
                .to_owned(),
            "M.StartingPosition: is AT_TIMESTAMP",
        ),
    ];
    for (extra, expected) in cases {
        let refused = refusal(mapping(&extra));
        assert!(refused.contains(expected), "{extra}\nexpected {expected}\nfound    {refused}");
    }
}

#[test]
fn a_missing_environment_or_directory_is_one_clear_line() {
    let refused = refusal(Infrastructure::load(&infra_directory(), "test"));
    assert_eq!(refused, "no environment \"test\": there are parameters for dev, local, prod, stage");
    assert_eq!(refusal(Infrastructure::bundled("test")), refused);
    let directory = tempfile::tempdir().expect("a directory can be made");
    assert!(refusal(Infrastructure::load(directory.path(), "local")).starts_with("no *.yaml stack in "));
    assert!(refusal(Infrastructure::load(&directory.path().join("none"), "local")).starts_with("cannot read "));
    let undeclared =
        refusal(stacks(&[("10-a.yaml", "Resources: {A: {Type: T}}")], "{\"Parameters\":{\"Sise\":\"1\"}}"));
    assert_eq!(undeclared, "env/test.json: Parameters.Sise: is declared by no stack; remove it or correct its name");
    let unset = refusal(fixture("Parameters: {Size: {Type: Number}}\nResources: {A: {Type: T}}"));
    assert!(unset.starts_with("10-only.yaml: Parameters.Size: has no value"), "{unset}");
    let malformed = refusal(stacks(&[("10-a.yaml", "Resources: {A: {Type: T}}")], "{\"Parameters\":{\"Size\":1}}"));
    assert!(malformed.starts_with("env/test.json: "), "{malformed}");
}
