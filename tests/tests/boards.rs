//! Boards show what is there: every metric of the dashboard in the stacks and of the Grafana boards is one that somebody sends, under
//! exactly these dimensions. A graph of a metric that nobody sends is empty for ever, and looks as if nothing happened.

#![expect(clippy::print_stdout, reason = "a skipped check says why")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use centinela_e2e::workspace;
use centinela_infra::Infrastructure;
use serde_json::{Value, json};

/// What the chassis sends for every function of Kafka, and of those that answer somebody.
const OF_THE_CHASSIS: [&str; 2] = ["ProcessingMilliseconds", "OldestRecordMilliseconds"];
/// AWS's own metrics by namespace and dimensions. Lambda: <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html>, MSK:
/// <https://docs.aws.amazon.com/msk/latest/developerguide/metrics-details.html>, DynamoDB:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html>, Kinesis:
/// <https://docs.aws.amazon.com/streams/latest/dev/monitoring-with-cloudwatch.html>, API Gateway:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html>, SQS:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html>.
const OF_AWS: &[(&str, &[&str], &[&str])] = &[
    (
        "AWS/Lambda",
        &["FunctionName"],
        &["Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions", "IteratorAge", "AsyncEventAge"],
    ),
    (
        "AWS/Lambda",
        &[],
        &["Invocations", "Errors", "Throttles", "ConcurrentExecutions", "UnreservedConcurrentExecutions"],
    ),
    (
        "AWS/Lambda",
        &["EventSourceMappingUUID"],
        &[
            "SumOffsetLag",
            "MaxOffsetLag",
            "PolledEventCount",
            "DroppedEventCount",
            "ProvisionedPollers",
            "EventPollerUnit",
        ],
    ),
    (
        "AWS/Kafka",
        &["Cluster Name", "Consumer Group", "Topic"],
        &["SumOffsetLag", "MaxOffsetLag", "EstimatedMaxTimeLag"],
    ),
    (
        "AWS/Kafka",
        &["Broker ID", "Cluster Name"],
        &[
            "CpuIdle",
            "CpuUser",
            "CpuSystem",
            "KafkaDataLogsDiskUsed",
            "PartitionCount",
            "ConnectionCount",
            "IAMTooManyConnections",
            "UnderMinIsrPartitionCount",
        ],
    ),
    ("AWS/Kafka", &["Cluster Name"], &["OfflinePartitionsCount", "GlobalPartitionCount", "ActiveControllerCount"]),
    (
        "AWS/DynamoDB",
        &["TableName"],
        &[
            "ConsumedReadCapacityUnits",
            "ConsumedWriteCapacityUnits",
            "ProvisionedReadCapacityUnits",
            "ProvisionedWriteCapacityUnits",
            "ReadThrottleEvents",
            "WriteThrottleEvents",
        ],
    ),
    (
        "AWS/Kinesis",
        &["StreamName"],
        &[
            "IncomingRecords",
            "IncomingBytes",
            "WriteProvisionedThroughputExceeded",
            "ReadProvisionedThroughputExceeded",
            "GetRecords.IteratorAgeMilliseconds",
        ],
    ),
    ("AWS/ApiGateway", &["ApiId"], &["Count", "4xx", "5xx", "Latency", "IntegrationLatency"]),
    ("AWS/SQS", &["QueueName"], &["ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"]),
    ("AWS/Billing", &["Currency"], &["EstimatedCharges"]),
];

/// The names that the functions declare with `counts!`, by function.
fn counts() -> BTreeMap<String, BTreeSet<String>> {
    let mut counts = BTreeMap::new();
    for function in std::fs::read_dir(workspace().join("functions")).expect("the functions") {
        let function = function.expect("a function").path();
        let name = function.file_name().expect("a name").to_string_lossy().into_owned();
        let source = std::fs::read_to_string(function.join("src/metrics.rs")).unwrap_or_default();
        let declared = source.split_once("counts! {").map_or("", |(_, rest)| rest);
        let declared = declared.split_once("\n    }\n").map_or("", |(declared, _)| declared);
        let lines = declared.lines().filter(|line| !line.trim_start().starts_with("//"));
        let names = lines.filter_map(|line| line.split('"').nth(1).map(str::to_owned));
        counts.insert(name, names.collect::<BTreeSet<_>>());
    }
    assert!(counts["score-transactions"].contains("Decided"), "{counts:?}");
    counts
}

/// A metric as a board names it.
#[derive(Debug)]
struct Named {
    namespace: String,
    name: String,
    dimensions: BTreeMap<String, String>,
}

/// Why nobody sends this metric; none when somebody does.
fn problem(named: &Named, stacks: &Infrastructure, counts: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let Named { namespace, name, dimensions } = named;
    let keys: Vec<&str> = dimensions.keys().map(String::as_str).collect();
    if namespace == "Centinela" {
        let function = if keys == ["Function"] { stacks.function(&dimensions["Function"]) } else { None };
        let Some(function) = function else {
            return Some(format!("{named:?}: a function of the stacks is the only dimension"));
        };
        let is_count = counts.get(&function.binary).is_some_and(|names| names.contains(name));
        let is_sent = is_count || OF_THE_CHASSIS.contains(&name.as_str());
        return (!is_sent).then(|| format!("{} does not send {name}", function.name));
    }
    let known =
        OF_AWS.iter().any(|(space, set, names)| space == namespace && *set == keys && names.contains(&name.as_str()));
    if !known {
        return Some(format!("{named:?} is none of AWS's metrics"));
    }
    let missing = dimensions.iter().find(|(key, value)| !is_there(key, value, stacks));
    missing.map(|(key, value)| format!("{namespace} {name}: no stack has {key} {value}"))
}

fn is_there(dimension: &str, value: &str, stacks: &Infrastructure) -> bool {
    let named = |kind: &str, property: &str| {
        stacks.resources.iter().any(|one| one.kind == kind && one.properties[property] == json!(value))
    };
    match dimension {
        "FunctionName" => stacks.function(value).is_some(),
        "TableName" => stacks.tables.iter().any(|table| table.name == value),
        "StreamName" => stacks.streams.iter().any(|stream| stream.name == value),
        "Topic" => stacks.topic(value).is_some(),
        "Consumer Group" => stacks.mappings.iter().any(|mapping| mapping.consumer_group == value),
        "Cluster Name" => named("AWS::MSK::Cluster", "ClusterName"),
        "QueueName" => named("AWS::SQS::Queue", "QueueName"),
        "ApiId" => stacks.resources.iter().any(|one| one.logical_id == value),
        "EventSourceMappingUUID" => {
            stacks.mappings.iter().any(|one| Infrastructure::mapping_id(&one.logical_id) == value)
        }
        "Broker ID" => value.parse().is_ok_and(|broker: u32| (1..=9).contains(&broker)),
        _ => true,
    }
}

/// The metrics of a widget: `[namespace, name, dimension, value, ..., options]`, where `.` repeats what stands above.
fn metrics_of(widget: &Value) -> Vec<Named> {
    let mut above: Vec<String> = Vec::new();
    let mut named = Vec::new();
    for line in widget["properties"]["metrics"].as_array().into_iter().flatten() {
        let words: Vec<&str> = line.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        let repeated = |(place, word): (usize, &&str)| match *word {
            "." => above.get(place).cloned().expect("something stands above"),
            word => word.to_owned(),
        };
        let words: Vec<String> = words.iter().enumerate().map(repeated).collect();
        if let [namespace, name, dimensions @ ..] = words.as_slice() {
            let dimensions = dimensions.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
            named.push(Named { namespace: namespace.clone(), name: name.clone(), dimensions });
            above = words;
        }
    }
    named
}

#[test]
fn the_dashboard_shows_metrics_that_are_sent_and_alarms_that_are_there() {
    for environment in ["local", "dev", "stage", "prod"] {
        let stacks = Infrastructure::bundled(environment).expect("the stacks are in order");
        let counts = counts();
        let dashboards: Vec<_> =
            stacks.resources.iter().filter(|one| one.kind == "AWS::CloudWatch::Dashboard").collect();
        assert!(!dashboards.is_empty(), "{environment} has no dashboard");
        for dashboard in dashboards {
            let body = dashboard.properties["DashboardBody"].as_str().expect("a body");
            let body: Value = serde_json::from_str(body).expect("the body is JSON");
            let widgets = body["widgets"].as_array().expect("widgets");
            assert!(widgets.len() >= 6, "{environment}: {} widgets", widgets.len());
            for widget in widgets {
                check_widget(widget, &stacks, &counts);
            }
        }
    }
}

fn check_widget(widget: &Value, stacks: &Infrastructure, counts: &BTreeMap<String, BTreeSet<String>>) {
    let number = |name: &str| widget[name].as_u64().unwrap_or_else(|| panic!("no {name} in {widget}"));
    // <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html>
    assert!(number("x") + number("width") <= 24 && number("height") >= 1, "{widget} is outside of the grid");
    match widget["type"].as_str() {
        Some("metric") => {
            let named = metrics_of(widget);
            assert!(!named.is_empty(), "{widget} shows nothing");
            let problems: Vec<String> = named.iter().filter_map(|named| problem(named, stacks, counts)).collect();
            assert!(problems.is_empty(), "{problems:#?}");
        }
        Some("alarm") => {
            for arn in widget["properties"]["alarms"].as_array().expect("alarms") {
                let name = arn.as_str().and_then(|arn| arn.rsplit(':').next()).unwrap_or_default();
                let is_there = stacks.resources.iter().any(|one| one.properties["AlarmName"] == json!(name));
                assert!(is_there, "there is no alarm {name}");
            }
        }
        Some("text" | "log") => {}
        other => panic!("{other:?} is no type of a widget"),
    }
}

fn grafana(name: &str) -> Value {
    let text = std::fs::read_to_string(workspace().join("docs/grafana").join(name)).expect("a board");
    serde_json::from_str(&text).expect("JSON")
}

fn panels(board: &Value) -> &Vec<Value> {
    board["panels"].as_array().expect("panels")
}

#[test]
fn the_grafana_board_for_aws_shows_metrics_that_are_sent() {
    let stacks = Infrastructure::bundled("prod").expect("the stacks are in order");
    let (board, counts) = (grafana("cloudwatch.json"), counts());
    let mut checked = 0;
    for target in panels(&board).iter().flat_map(|panel| panel["targets"].as_array().expect("targets")) {
        let text = |name: &str| target[name].as_str().unwrap_or_default().to_owned();
        let dimensions = target["dimensions"].as_object().expect("dimensions").iter();
        let dimensions =
            dimensions.map(|(key, values)| (key.clone(), values[0].as_str().unwrap_or_default().to_owned()));
        let named = Named { namespace: text("namespace"), name: text("metricName"), dimensions: dimensions.collect() };
        assert_eq!(problem(&named, &stacks, &counts), None);
        checked += 1;
    }
    assert!(checked > 15, "only {checked} metrics");
}

/// What Grafana's schema asks of a board that it shows as it was meant.
#[test]
fn the_grafana_boards_are_well_formed() {
    for name in ["centinela.json", "cloudwatch.json"] {
        let board = grafana(name);
        let source = board["templating"]["list"][0]["name"].as_str().expect("a data source can be chosen");
        let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
        for panel in panels(&board) {
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{name}: an id stands twice");
            assert_eq!(panel["datasource"]["uid"], json!(format!("${{{source}}}")), "{name}");
            let at = |side: &str| panel["gridPos"][side].as_u64().expect("a place");
            assert!(at("x") + at("w") <= 24, "{name}: {} is outside of the grid", panel["title"]);
            for (x, y) in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
                assert!(places.insert((x, y)), "{name}: {} lies on another panel", panel["title"]);
            }
            let targets = panel["targets"].as_array().expect("targets");
            let letters: BTreeSet<_> = targets.iter().map(|target| target["refId"].to_string()).collect();
            assert!(!targets.is_empty() && letters.len() == targets.len(), "{name}: {}", panel["title"]);
        }
    }
}

#[test]
fn the_grafana_boards_are_what_their_script_writes() {
    let directory = workspace().join("docs/grafana");
    let script = "import json, boards; print(json.dumps(boards.BOARDS))";
    let mut python = Command::new("python3");
    let output = python.args(["-B", "-c", script]).current_dir(&directory).env_remove("LD_LIBRARY_PATH").output();
    let Ok(output) = output else { return println!("skipped: there is no python3") };
    assert!(output.status.success(), "{output:?}");
    let written: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for name in ["centinela.json", "cloudwatch.json"] {
        assert_eq!(written[name], grafana(name), "{name} is not what docs/grafana/boards.py writes; run it");
    }
}
