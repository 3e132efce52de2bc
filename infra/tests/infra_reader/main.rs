//! The stacks in `infra/` are what one machine runs, so they are read here with every environment's parameters, checked as a whole,
//! and broken on purpose: a check that no defect can fail proves nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use centinela_infra::{
    InfraError, Infrastructure, LAPTOP_ACCOUNT, Mapping, PLACEHOLDER_SECRET, Sources, StartingPosition,
};
use serde_json::Value;

mod catalogue;
mod http;
mod refusals;
mod rules;

const ENVIRONMENTS: [&str; 4] = ["dev", "local", "prod", "stage"];

fn infra_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn load(environment: &str) -> Infrastructure {
    Infrastructure::load(&infra_directory(), environment).unwrap_or_else(|error| panic!("{environment}: {error}"))
}

fn sources(environment: &str) -> Sources {
    Sources::from_directory(&infra_directory(), environment).expect("the stacks are there")
}

fn with_parameters(environment: &str, changes: &[(&str, &str)]) -> Sources {
    let mut sources = sources(environment);
    let mut file: Value = serde_json::from_str(&sources.parameters).expect("the parameter file is JSON");
    for (name, value) in changes {
        assert!(file["Parameters"][name].is_string(), "{name} is no parameter");
        file["Parameters"][name] = Value::from(*value);
    }
    sources.parameters = file.to_string();
    sources
}

/// Loads one small stack with no parameters.
fn fixture(resources: &str) -> Result<Infrastructure, InfraError> {
    stacks(&[("10-only.yaml", resources)], "{\"Parameters\":{}}")
}

fn stacks(files: &[(&str, &str)], parameters: &str) -> Result<Infrastructure, InfraError> {
    Infrastructure::from_sources(&Sources {
        stacks: files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect(),
        environment: "test".to_owned(),
        parameters: parameters.to_owned(),
        ..Sources::default()
    })
}

fn mapping<'a>(infrastructure: &'a Infrastructure, function: &str) -> &'a Mapping {
    infrastructure.mappings.iter().find(|mapping| mapping.function == function).expect("it has a mapping")
}

fn refusal(result: Result<Infrastructure, InfraError>) -> String {
    result.expect_err("the stack must be refused").to_string()
}

#[test]
fn the_bundled_stacks_are_the_ones_of_the_directory() {
    for environment in ENVIRONMENTS {
        assert_eq!(Sources::bundled(environment).expect("it is bundled"), sources(environment));
        assert_eq!(Infrastructure::bundled(environment).expect("it is readable"), load(environment));
    }
    let files = std::fs::read_dir(infra_directory().join("env")).expect("the directory is there");
    assert_eq!(files.count(), ENVIRONMENTS.len(), "an environment is not bundled");
}

#[test]
fn environments_give_the_same_parameters_and_every_declared_one() {
    let declared: BTreeSet<String> =
        sources("prod").stacks.iter().flat_map(|(_, text)| declared_parameters(text)).collect();
    assert!(declared.contains("ScoreTransactionsPollersMax") && declared.contains("VpcCidrPrefix"));
    for environment in ENVIRONMENTS {
        let file: Value = serde_json::from_str(&sources(environment).parameters).expect("the parameter file is JSON");
        let given = file["Parameters"].as_object().expect("it holds parameters").keys().cloned().collect();
        assert_eq!(declared, given, "{environment}");
    }
}

fn declared_parameters(stack: &str) -> Vec<String> {
    let parameters = stack.lines().skip_while(|line| *line != "Parameters:").skip(1);
    let section = parameters.take_while(|line| line.is_empty() || line.starts_with(' '));
    let names = section.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.map(|line| line.trim().trim_end_matches(':').to_owned()).collect()
}

#[test]
fn one_machine_gets_the_topics_tables_stream_and_bucket_by_their_fixed_names() {
    let local = load("local");
    let topics: Vec<_> = local.topics.iter().map(|topic| (topic.name.as_str(), topic.partitions)).collect();
    for expected in [
        ("transactions", 10),
        ("approved", 10),
        ("blocked", 10),
        ("dead-letters", 3),
        ("user_actions", 20),
        ("events", 5),
    ] {
        assert!(topics.contains(&expected), "{expected:?} is not in {topics:?}");
    }
    let mut tables: Vec<_> = local.tables.iter().map(|table| table.name.as_str()).collect();
    tables.sort_unstable();
    assert_eq!(tables, ["decision_metrics", "decisions", "device_state", "labels", "settled_offsets", "user_state"]);
    assert!(local.tables.iter().all(|table| table.partition_key == ("pk".into(), "S".into())));
    let sorted: Vec<_> =
        local.tables.iter().filter(|table| table.sort_key.is_some()).map(|table| &table.name).collect();
    assert_eq!(sorted, ["decision_metrics"]);
    assert_eq!(
        local.streams.iter().map(|stream| (stream.name.as_str(), stream.shards)).collect::<Vec<_>>(),
        [("decisions", 4)]
    );
    assert!(local.buckets.iter().any(|bucket| bucket.name == "lake"));
}

#[test]
fn topics_keep_seven_days_dead_letters_fourteen_actions_thirty_and_events_three() {
    let local = load("local");
    let setting = |topic: &str, name: &str| local.topic(topic).and_then(|topic| topic.config.get(name)).cloned();
    assert_eq!(setting("transactions", "retention.ms").as_deref(), Some("604800000"));
    assert_eq!(setting("transactions", "message.timestamp.type").as_deref(), Some("LogAppendTime"));
    assert_eq!(setting("dead-letters", "retention.ms").as_deref(), Some("1209600000"));
    assert_eq!(setting("user_actions", "retention.ms").as_deref(), Some("2592000000"));
    assert_eq!(setting("events", "retention.ms").as_deref(), Some("259200000"));
    for topic in ["user_actions", "events"] {
        assert_eq!(setting(topic, "message.timestamp.type").as_deref(), Some("LogAppendTime"));
    }
    let labels = local.tables.iter().find(|table| table.name == "labels").expect("it is declared");
    assert_eq!(labels.ttl_attribute.as_deref(), Some("ttl"));
}

#[test]
fn the_scoring_function_is_told_where_everything_is() {
    let local = load("local");
    let function = local.function("score-transactions").expect("it is declared");
    assert_eq!(function.binary, "score-transactions");
    assert_eq!((function.memory_mb, function.timeout), (1769, Duration::from_secs(6)));
    let expected = [
        ("USER_TABLE", "user_state"),
        ("DEVICE_TABLE", "device_state"),
        ("SETTLED_TABLE", "settled_offsets"),
        ("DECISIONS_STREAM", "decisions"),
        ("TRANSACTIONS_TOPIC", "transactions"),
        ("APPROVED_TOPIC", "approved"),
        ("BLOCKED_TOPIC", "blocked"),
        ("DEAD_LETTERS_TOPIC", "dead-letters"),
        ("CONSUMER_GROUP", "score-transactions"),
        ("KAFKA_BOOTSTRAP", "ssm:/centinela/kafka-bootstrap"),
        ("KAFKA_AUTH", "plaintext"),
        ("PSEUDONYM_KEY", PLACEHOLDER_SECRET),
        ("MAXIMUM_RECORD_AGE_SECONDS", "21600"),
        ("DEFAULT_CURRENCY", "USD"),
        ("BLOCK_RATE_GUARD", "on"),
        ("BLOCK_RATE_GUARD_ONE_IN", "1000000000000"),
        ("MODEL_DIRECTORY", ""),
        ("KAFKA_CLIENT", "lean"),
        ("KAFKA_IDEMPOTENCE", "on"),
        ("WIRE_CLIENT", "lean"),
        ("RUST_LOG", "info"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(function.environment, expected);
}

#[test]
fn the_scoring_mapping_has_every_error_control_that_keeps_the_order_and_no_window() {
    let prod = load("prod");
    let mapping = mapping(&prod, "score-transactions");
    assert_eq!(mapping.topic, "transactions");
    assert_eq!(mapping.consumer_group, "score-transactions");
    assert!(mapping.enabled && mapping.provisioned && mapping.report_batch_item_failures && !mapping.bisect);
    assert_eq!((mapping.batch_size, mapping.window), (100, Duration::ZERO));
    assert_eq!((mapping.pollers_min, mapping.pollers_max), (1, 2));
    assert_eq!(mapping.maximum_retry_attempts, Some(10_000));
    assert_eq!(mapping.maximum_record_age, Some(Duration::from_secs(21_600)));
    assert_eq!(mapping.on_failure_topic.as_deref(), Some("dead-letters"));
    assert_eq!(mapping.starting_position, StartingPosition::TrimHorizon);
}

#[test]
fn the_stream_has_a_mapping_without_windows_and_one_with() {
    let local = load("local");
    let of = |function: &str| {
        local.stream_mappings.iter().find(|mapping| mapping.function == function).expect("it has a mapping")
    };
    let (index, rollup) = (of("index-decisions"), of("rollup-metrics"));
    for mapping in [index, rollup] {
        assert!(mapping.stream == "decisions" && mapping.enabled && mapping.from_oldest && mapping.bisect);
        assert!(mapping.report_batch_item_failures && mapping.on_failure.is_some());
        assert_eq!(mapping.maximum_record_age, Some(Duration::from_secs(21_600)));
    }
    assert_eq!((index.tumbling_window, rollup.tumbling_window), (None, Some(Duration::from_secs(10))));
    let off =
        Infrastructure::from_sources(&with_parameters("prod", &[("IndexDecisionsDays", "0")])).expect("it is readable");
    let index = off.stream_mappings.iter().find(|mapping| mapping.function == "index-decisions").expect("it stays");
    assert!(!index.enabled, "0 days switch the index off");
}

#[test]
fn a_name_prefix_renames_everything_that_shares_an_account() {
    let dev = load("dev");
    let function = dev.function("dev-score-transactions").expect("it is prefixed");
    assert_eq!(function.binary, "score-transactions");
    assert_eq!(mapping(&dev, "dev-score-transactions").consumer_group, "score-transactions");
    assert_eq!(function.environment["USER_TABLE"], "dev-user_state");
    assert_eq!(function.environment["DECISIONS_STREAM"], "dev-decisions");
    assert_eq!(function.environment["APPROVED_TOPIC"], "approved", "topics belong to the environment's own cluster");
    assert!(dev.tables.iter().all(|table| table.name.starts_with("dev-")));
    assert!(dev.exports.iter().all(|export| export.name.starts_with("dev-")));
    let lake = format!("dev-centinela-lake-{LAPTOP_ACCOUNT}-us-east-1");
    assert!(dev.buckets.iter().any(|bucket| bucket.name == lake));
}

#[test]
fn what_one_machine_cannot_honour_is_named() {
    let local = load("local");
    let ignored = |resource: &str, property: &str| {
        local.ignored.iter().any(|ignored| ignored.resource == resource && ignored.property == property)
    };
    assert!(ignored("TransactionsTopic", "ReplicationFactor"));
    assert!(ignored("UserState", "SSESpecification"));
    assert!(ignored("ScoreTransactions", "VpcConfig"));
    assert!(ignored("ScoreTransactionsMapping", "MetricsConfig"));
    assert!(!ignored("ScoreTransactions", "Environment"));
    assert!(!ignored("ScoreTransactionsMapping", "DestinationConfig"));
    assert!(local.ignored.iter().all(|ignored| ignored.resource != "Cluster"), "only kinds that it runs");
}

#[test]
fn what_invokes_a_function_elsewhere_than_on_one_machine_is_named() {
    let text = r#"
Resources:
  F: {Type: AWS::Lambda::Function, Properties: {FunctionName: f, Runtime: provided.al2023}}
  S: {Type: AWS::Kinesis::Stream, Properties: {Name: s}}
  M:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {FunctionName: !Ref F, EventSourceArn: !GetAtt S.Arn}
  I: {Type: AWS::ApiGatewayV2::Integration, Properties: {IntegrationUri: !GetAtt F.Arn}}
  R: {Type: AWS::ApiGatewayV2::Route, Properties: {RouteKey: GET /v1/f, Target: !Sub 'integrations/${I}'}}
  E:
    Type: AWS::Events::Rule
    Properties: {ScheduleExpression: rate(1 hour), Targets: [{Id: f, Arn: !GetAtt F.Arn}]}
  N: {Type: AWS::Events::Rule, Properties: {ScheduleExpression: rate(1 day), Targets: [{Id: g, Arn: g}, {Id: h, Arn: h}, {Id: t, Arn: "arn:aws:sns:eu-west-1:1:t"}]}}
"#;
    let read = fixture(text).unwrap_or_else(|error| panic!("{error}"));
    let triggers: Vec<_> = read.triggers.iter().map(|one| (one.function.as_str(), one.to_string())).collect();
    let wanted = [
        ("f", "schedule `rate(1 hour)`"),
        ("f", "mapping of Kinesis stream `s`"),
        ("g", "schedule `rate(1 day)`"),
        ("h", "schedule `rate(1 day)`"),
        ("f", "route `GET /v1/f`"),
    ];
    assert_eq!(triggers, wanted.map(|(function, source)| (function, source.to_owned())));
    assert!(read.mappings.is_empty());
    let streams: Vec<_> = read.stream_mappings.iter().map(|one| (one.stream.as_str(), one.function.as_str())).collect();
    assert_eq!(streams, [("s", "f")]);
    let unknown = read.findings().iter().any(|finding| finding.to_string().contains("N: function \"g\" is declared"));
    assert!(unknown, "{:?}", read.findings());
}

#[test]
fn intrinsic_functions_give_what_cloudformation_gives() {
    let text = r#"
Parameters:
  Size: {Type: Number, Default: 4}
  Zones: {Type: CommaDelimitedList, Default: 'x, y'}
Mappings:
  Sizes: {big: {shards: 7}}
Conditions:
  IsFour: !Equals [!Ref Size, 4]
  Neither: !Not [!Or [!Condition IsFour, !Equals [a, b]]]
  Both: !And [!Condition IsFour, !Equals [a, a]]
Resources:
  A:
    Type: AWS::Kinesis::Stream
    Properties:
      Name: !Join ['-', [a, !Select [1, !Ref Zones], !If [Both, yes, no]]]
      ShardCount: !FindInMap [Sizes, big, shards]
  B:
    Type: AWS::Kinesis::Stream
    DependsOn: A
    Properties:
      Name: !Sub ['${A}.${!kept}.${Extra}.${A.Arn}', {Extra: !Select [0, !Split ['/', 'p/q']]}]
      ShardCount: !If [Neither, 1, !Ref Size]
      RetentionPeriodHours: !If [Neither, 24, !Ref AWS::NoValue]
  Gone:
    Type: AWS::Kinesis::Stream
    Condition: Neither
    Properties: {Name: gone}
"#;
    let read = fixture(text).unwrap_or_else(|error| panic!("{error}"));
    let streams: Vec<_> = read.streams.iter().map(|stream| (stream.name.as_str(), stream.shards)).collect();
    let arn = format!("a-y-yes.${{kept}}.p.arn:aws:kinesis:us-east-1:{LAPTOP_ACCOUNT}:stream/a-y-yes");
    assert_eq!(streams, [("a-y-yes", 7), (arn.as_str(), 4)]);
    assert!(read.ignored.is_empty(), "an absent value is nothing to ignore: {:?}", read.ignored);
}
