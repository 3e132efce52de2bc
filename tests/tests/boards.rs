//! Boards show what is there: every metric of the dashboard in the stacks and of the Grafana boards is one that somebody sends, under
//! exactly these dimensions. A graph of a metric that nobody sends is empty for ever, and looks as if nothing happened. Their limits are
//! those of the alarms, and Grafana's published schema has the Grafana boards so.

#![expect(clippy::print_stdout, reason = "a skipped check says why")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use centinela_e2e::python::environment;
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
    statistic: String,
}

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html>, those that are used here.
fn is_statistic(name: &str) -> bool {
    let percentile = name.strip_prefix('p').and_then(|share| share.parse::<f64>().ok());
    ["Average", "Maximum", "Minimum", "Sum"].contains(&name) || percentile.is_some_and(|share| share < 100.0)
}

/// Why nobody sends this metric; none when somebody does.
fn problem(named: &Named, stacks: &Infrastructure, counts: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let Named { namespace, name, dimensions, statistic } = named;
    if !is_statistic(statistic) {
        return Some(format!("{named:?}: {statistic:?} is no statistic"));
    }
    let keys: Vec<&str> = dimensions.keys().map(String::as_str).collect();
    if namespace == "Centinela" {
        let function = if keys == ["Function"] { stacks.function(&dimensions["Function"]) } else { None };
        let Some(function) = function else {
            return Some(format!("{named:?}: a function of the stacks is the only dimension"));
        };
        let is_count = counts.get(&function.binary).is_some_and(|names| names.contains(name));
        let is_sent = is_count || OF_THE_CHASSIS.contains(&name.as_str());
        if is_count && statistic != "Sum" {
            return Some(format!("{name} is a count: its {statistic} is how many there were in one invocation"));
        }
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
            let options = line.as_array().and_then(|line| line.last()).unwrap_or(&Value::Null);
            let statistic = options["stat"].as_str().unwrap_or_default().to_owned();
            named.push(Named { namespace: namespace.clone(), name: name.clone(), dimensions, statistic });
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
            check_places(
                environment,
                widgets.iter().map(|widget| [&widget["x"], &widget["y"], &widget["width"], &widget["height"]]),
            );
            for widget in widgets {
                check_widget(widget, &stacks, &counts);
            }
        }
    }
}

/// Tiles fill a grid of 24 columns, as CloudWatch and Grafana have it: none lies on another, and there is no hole.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html>
fn check_places<'a>(board: &str, tiles: impl Iterator<Item = [&'a Value; 4]>) {
    let mut taken = BTreeSet::new();
    for tile in tiles {
        let [x, y, width, height] = tile.map(|side| side.as_u64().expect("a place"));
        for place in (y..y + height).flat_map(|y| (x..x + width).map(move |x| (y, x))) {
            assert!(taken.insert(place), "{board}: two tiles are at {place:?}");
        }
    }
    let rows = taken.last().map_or(0, |(y, _)| y + 1);
    let wanted: BTreeSet<_> = (0..rows).flat_map(|y| (0..24).map(move |x| (y, x))).collect();
    assert_eq!(taken.symmetric_difference(&wanted).next(), None, "{board}: a hole, or a tile outside of the grid");
}

fn check_widget(widget: &Value, stacks: &Infrastructure, counts: &BTreeMap<String, BTreeSet<String>>) {
    let properties = &widget["properties"];
    // A graph of an alarm's own figures names it among its annotations.
    let graphed = properties["annotations"]["alarms"].as_array();
    let alarms = graphed.or_else(|| properties["alarms"].as_array());
    for arn in alarms.into_iter().flatten() {
        let name = arn.as_str().and_then(|arn| arn.rsplit(':').next()).unwrap_or_default();
        assert!(alarm(stacks, name).is_some(), "there is no alarm {name}");
    }
    match widget["type"].as_str() {
        Some("metric") => {
            let named = metrics_of(widget);
            assert!(!named.is_empty() || graphed.is_some(), "{widget} shows nothing");
            let problems: Vec<String> = named.iter().filter_map(|named| problem(named, stacks, counts)).collect();
            assert!(problems.is_empty(), "{problems:#?}");
        }
        Some("alarm") => assert!(alarms.is_some_and(|alarms| !alarms.is_empty()), "{widget} shows nothing"),
        Some("text" | "log") => {}
        other => panic!("{other:?} is no type of a widget"),
    }
}

/// The properties of an alarm.
fn alarm<'a>(stacks: &'a Infrastructure, name: &str) -> Option<&'a Value> {
    stacks.resources.iter().map(|one| &one.properties).find(|one| one["AlarmName"] == json!(name))
}

/// A number that a template may write as text.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

fn grafana(name: &str) -> Value {
    let text = std::fs::read_to_string(workspace().join("docs/grafana").join(name)).expect("a board");
    serde_json::from_str(&text).expect("JSON")
}

fn panels(board: &Value) -> &Vec<Value> {
    board["panels"].as_array().expect("panels")
}

fn targets(panel: &Value) -> &Vec<Value> {
    panel["targets"].as_array().expect("targets")
}

/// The metric that a target of CloudWatch names, with no prefix; none when it is a formula.
fn asked(target: &Value) -> Option<Named> {
    let text = |name: &str| target[name].as_str().unwrap_or_default().to_owned();
    let dimensions = target["dimensions"].as_object().expect("dimensions").iter().map(|(key, value)| {
        // Of a list Grafana replaces no variable.
        let value = value.as_str().unwrap_or_else(|| panic!("{target}: {key} is one text"));
        (key.clone(), value.replace("${prefix}", ""))
    });
    text("expression").is_empty().then(|| Named {
        namespace: text("namespace"),
        name: text("metricName"),
        dimensions: dimensions.collect(),
        statistic: text("statistic"),
    })
}

#[test]
fn the_grafana_board_for_aws_shows_metrics_that_are_sent() {
    let stacks = Infrastructure::bundled("prod").expect("the stacks are in order");
    let (mut board, counts) = (grafana("cloudwatch.json"), counts());
    let problems = |board: &Value| -> (usize, Vec<String>) {
        let named: Vec<_> = panels(board).iter().flat_map(targets).filter_map(asked).collect();
        (named.len(), named.iter().filter_map(|named| problem(named, &stacks, &counts)).collect())
    };
    let (checked, found) = problems(&board);
    assert!(checked > 20 && found.is_empty(), "{checked} metrics, {found:#?}");
    for (field, planted, what) in [
        ("metricName", json!("Aproved"), "does not send Aproved"),
        ("namespace", json!("AWS/Lambda"), "none of AWS's metrics"),
        ("dimensions", json!({"FunctionName": "${prefix}score-transactions"}), "the only dimension"),
        ("dimensions", json!({"Function": "${prefix}score-transaction"}), "the only dimension"),
        ("statistic", json!("Average"), "is a count"),
        ("statistic", json!("Total"), "no statistic"),
    ] {
        let target = &mut board["panels"][0]["targets"][0];
        assert_eq!(target["metricName"], "Approved");
        let there = std::mem::replace(&mut target[field], planted);
        let found = problems(&board).1;
        assert!(found.len() == 1 && found[0].contains(what), "{what}: {found:?}");
        board["panels"][0]["targets"][0][field] = there;
    }
}

/// What a panel shows as its limit is what the alarm judges by. `scale` is how many of the alarm's unit are one of the panel's.
#[test]
fn the_limits_of_the_grafana_boards_are_those_of_the_alarms() {
    let stacks = Infrastructure::bundled("prod").expect("the stacks are in order");
    for (name, title, judged, scale) in [
        ("centinela.json", "Transactions that wait", "centinela-lag", 1.0),
        ("centinela.json", "Average time", "centinela-slow-average", 1000.0),
        ("centinela.json", "p99 time", "centinela-slow-p99", 1000.0),
        ("centinela.json", "From the broker's time to the decision", "centinela-slow-average", 1000.0),
        ("centinela.json", "From the broker's time to the decision", "centinela-slow-p99", 1000.0),
        ("centinela.json", "Blocked", "centinela-block-rate", 1.0),
        ("centinela.json", "Blocked and guarded", "centinela-block-rate", 1.0),
        ("cloudwatch.json", "Transactions that wait", "centinela-lag", 1.0),
        ("cloudwatch.json", "From the broker's time to the decision", "centinela-slow-average", 1.0),
        ("cloudwatch.json", "From the broker's time to the decision", "centinela-slow-p99", 1.0),
        ("cloudwatch.json", "Oldest record when it was answered", "centinela-oldest-record", 1.0),
        ("cloudwatch.json", "Blocked", "centinela-block-rate", 1.0),
        ("cloudwatch.json", "A million decisions cost", "centinela-cost-per-million", 1.0),
    ] {
        let alarm = alarm(&stacks, judged).unwrap_or_else(|| panic!("there is no alarm {judged}"));
        let board = grafana(name);
        let shown: Vec<&Value> = panels(&board).iter().filter(|panel| panel["title"] == title).collect();
        assert!(!shown.is_empty(), "{name}: there is no panel {title}");
        for panel in shown {
            let limit = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"].as_f64();
            assert_eq!(limit.map(|limit| limit * scale), number(&alarm["Threshold"]), "{name}: {title}");
            let formula = |target: &&Value| target["expression"].as_str().is_some_and(|text| !text.is_empty());
            if let Some(formula) = targets(panel).iter().find(formula) {
                reckons_alike(formula, panel, alarm);
            }
        }
    }
}

/// A panel with a formula reckons with what its alarm does.
fn reckons_alike(formula: &Value, panel: &Value, alarm: &Value) {
    let metrics = alarm["Metrics"].as_array().expect("the alarm has a formula");
    let expression = metrics.iter().find_map(|one| one["Expression"].as_str());
    assert_eq!(formula["expression"].as_str(), expression);
    let judged = metrics.iter().filter(|one| one["MetricStat"].is_object()).map(|one| {
        let (stat, metric) = (&one["MetricStat"], &one["MetricStat"]["Metric"]);
        let period = number(&stat["Period"]).map(|seconds| seconds.to_string());
        json!([one["Id"], metric["Namespace"], metric["MetricName"], stat["Stat"], period])
    });
    let shown = targets(panel).iter().filter(|target| target["expression"] == "").map(|target| {
        assert_eq!(target["hide"], true, "{target}");
        json!([target["id"], target["namespace"], target["metricName"], target["statistic"], target["period"]])
    });
    assert_eq!(shown.collect::<Vec<_>>(), judged.collect::<Vec<_>>());
}

/// What no schema says: ids are told apart, panels have places of their own, and the data source is the one that was chosen.
#[test]
fn the_grafana_boards_are_well_formed() {
    for name in ["centinela.json", "cloudwatch.json"] {
        let board = grafana(name);
        let source = board["templating"]["list"][0]["name"].as_str().expect("a data source can be chosen");
        let mut ids = BTreeSet::new();
        check_places(name, panels(&board).iter().map(|panel| ["x", "y", "w", "h"].map(|side| &panel["gridPos"][side])));
        for panel in panels(&board) {
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{name}: an id stands twice");
            assert_eq!(panel["datasource"]["uid"], json!(format!("${{{source}}}")), "{name}");
            let letters: BTreeSet<_> = targets(panel).iter().map(|target| target["refId"].to_string()).collect();
            assert!(!letters.is_empty() && letters.len() == targets(panel).len(), "{name}: {}", panel["title"]);
        }
    }
}

/// What tests/boards/check.py finds in each of some boards; nothing when Grafana's published schema has it so.
fn against_the_schema(python: &Path, boards: &[Value]) -> Vec<String> {
    let directory = tempfile::TempDir::new().expect("a directory");
    let files: Vec<PathBuf> = (0..boards.len()).map(|place| directory.path().join(format!("{place}.json"))).collect();
    for (file, board) in files.iter().zip(boards) {
        std::fs::write(file, board.to_string()).expect("a file");
    }
    let mut command = Command::new(python);
    command.arg("-B").arg(workspace().join("tests/boards/check.py")).args(&files).env_remove("LD_LIBRARY_PATH");
    let output = command.output().expect("python runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.stderr.is_empty() && output.status.success() == said.is_empty(), "{output:?}");
    let of = |file: &PathBuf| said.lines().filter(|line| line.starts_with(&format!("{}:", file.display()))).collect();
    files.iter().map(of).collect()
}

#[test]
fn the_grafana_boards_are_as_grafanas_schema_has_them() {
    let python = match environment("centinela-boards", &workspace().join("tests/boards/requirements.txt")) {
        Ok(directory) => directory.join("python3"),
        Err(skipped) => return println!("{skipped}"),
    };
    for name in ["centinela.json", "cloudwatch.json"] {
        let board = grafana(name);
        let graph = panels(&board).iter().position(|panel| panel["type"] == "timeseries").expect("a graph");
        let planted = [
            ("/refresh", json!(10), "refresh: 10 is no"),
            ("/templating/list/0/type", json!("source"), "'source' is no"),
            ("/panels/0/type", json!("graph paper"), "no panel is known"),
            ("/panels/0/gridPos/w", json!("3"), "gridPos.w: '3' is no int"),
            ("/panels/0/datasource/type", json!("prometeus"), "no data source is known"),
            ("/panels/0/targets/0/legend", json!("approved"), "targets[0].legend: "),
            ("/panels/0/options/colour", json!("value"), "options.colour: Options has no such field"),
            ("/panels/0/fieldConfig/defaults/unit", json!("miliseconds"), "is no unit"),
            ("/panels/0/fieldConfig/defaults/thresholds/mode", json!("relative"), "mode: 'relative' is no"),
            ("/panels/GRAPH/fieldConfig/defaults/custom/drawStyle", json!("lines"), "drawStyle: 'lines' is no"),
            ("/panels/GRAPH/fieldConfig/overrides/0/properties/0/value/fixedColour", json!("red"), "fixedColour: "),
        ];
        let mut boards = vec![board];
        for (place, value, _) in &planted {
            let (mut defective, place) = (boards[0].clone(), place.replace("GRAPH", &graph.to_string()));
            let (parent, field) = place.rsplit_once('/').expect("a place");
            defective.pointer_mut(parent).unwrap_or_else(|| panic!("{name} has no {parent}"))[field] = value.clone();
            boards.push(defective);
        }
        let said = against_the_schema(&python, &boards);
        assert_eq!(said[0], "", "{name}");
        for ((place, _, what), said) in planted.iter().zip(&said[1..]) {
            assert!(said.contains(what), "{name}, {place}: {said:?}");
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
