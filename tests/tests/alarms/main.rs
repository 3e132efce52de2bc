//! Alarms in a running system: what the real functions print makes one speak, and what it does reaches the real brake. And the page of
//! metrics is what Prometheus reads.

#![expect(
    clippy::print_stdout,
    reason = "a skipped test says why, and what fired and cleared an alarm is for whoever runs the tests"
)]

mod asked_for;

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use centinela_e2e::command::centinela;
use centinela_e2e::python::environment;
use centinela_e2e::running::Running;
use centinela_e2e::{built, http, promtool, workspace};
use centinela_infra::{Infrastructure, TriggerSource};
use centinela_local::cloudwatch::State;
use centinela_local::exposition::snake;
use centinela_local::platform::{Platform, PlatformConfig};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);
const MINUTE_MS: i64 = 60_000;
/// What runs here, and nothing else.
const FUNCTIONS: [&str; 3] = ["score-transactions", "track-user-actions", "guard-costs"];
const BRAKE: &str = "centinela-brake-invocations";
const REUSED_IDS: &str = "centinela-id-conflicts";

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    i64::try_from(since.as_millis()).expect("milliseconds")
}

/// The stacks with these functions only, and a brake that acts at the first invocation.
fn stacks() -> Infrastructure {
    let mut stacks = Infrastructure::bundled("local").expect("the stacks are in order");
    stacks.functions.retain(|function| FUNCTIONS.contains(&function.name.as_str()));
    stacks.mappings.retain(|mapping| FUNCTIONS.contains(&mapping.function.as_str()));
    stacks.stream_mappings.clear();
    stacks.triggers.retain(|trigger| matches!(trigger.source, TriggerSource::Sns(_)));
    let brake = stacks.resources.iter_mut().find(|resource| resource.properties["AlarmName"] == BRAKE);
    let brake = brake.expect("the alarm is declared");
    brake.properties["Threshold"] = json!(0);
    brake.properties["EvaluationPeriods"] = json!(1);
    stacks
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A producer that gives two purchases one id.
async fn send_one_id_twice(bootstrap: &str) {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().expect("a producer");
    for amount in ["1.00", "99999.00"] {
        let transaction = json!({
            "transaction_id": "t-1", "timestamp": now_ms(), "user_id": "ana", "amount": amount, "currency": "EUR",
            "device_type": "mobile", "device_id": "d-1", "ip": "198.51.100.7", "user_agent": "shop/1",
        });
        let text = transaction.to_string();
        let record = FutureRecord::to("transactions").key("ana").payload(&text);
        producer.send(record, PATIENCE).await.expect("kafka takes it");
    }
}

/// Looks at the end of each of these minutes from now on; what happened to these alarms, by minute.
fn minutes(platform: &Platform, from_ms: i64, range: std::ops::RangeInclusive<i64>) -> Vec<(i64, String, State)> {
    let mut seen = Vec::new();
    for minute in range {
        for event in platform.observe(from_ms + minute * MINUTE_MS) {
            if [BRAKE, REUSED_IDS].contains(&event.alarm.as_str()) {
                seen.push((minute, event.alarm, event.to));
            }
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_function_prints_makes_an_alarm_speak_and_the_brake_acts() {
    let said = Arc::new(Mutex::new(Vec::<String>::new()));
    let noted = Arc::clone(&said);
    let mut config = PlatformConfig::new(stacks(), &built(&FUNCTIONS));
    config.say = Arc::new(move |line| noted.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned()));
    let platform = Platform::start(config).await.expect("the platform starts");
    let has_said = |part: &str| {
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().any(|line| line.contains(part))
    };

    send_one_id_twice(&platform.endpoints().kafka).await;
    let counted =
        |name: &str| platform.metric_totals().iter().any(|total| total.metric.name == name && total.sum > 0.0);
    until("the function has counted it", || counted("IdConflicts")).await;
    assert!(counted("Decided") && counted("ProcessingMilliseconds"));

    let began = now_ms();
    let spoke = minutes(&platform, began, 0..=12);
    for alarm in [BRAKE, REUSED_IDS] {
        assert!(spoke.iter().any(|(_, name, state)| name == alarm && *state == State::Alarm), "{alarm}: {spoke:?}");
    }
    assert!(has_said(&format!("message on centinela-alerts: ALARM: \"{REUSED_IDS}\"")), "{said:?}");
    until("the brake has acted and said so", || has_said(&format!("fire {BRAKE}"))).await;
    let quiet = platform.alarms().into_iter().filter(|alarm| alarm.name.ends_with("-lag"));
    assert!(quiet.into_iter().all(|alarm| alarm.state != State::Alarm || alarm.reason.contains("no data")));

    let changes = spoke.iter().filter(|(_, name, _)| name == REUSED_IDS).count();
    assert_eq!(changes, 1, "it comes and goes: {spoke:?}");

    let stopped = minutes(&platform, began, 13..=60);
    let is_well = |(_, name, state): &(i64, String, State)| name == REUSED_IDS && *state == State::Ok;
    assert!(stopped.iter().any(is_well), "{stopped:?}");
    println!("spoke {spoke:?}, stopped {stopped:?}");
    platform.stop(Duration::from_secs(5)).await.expect("it ends in order");
}

#[tokio::test]
async fn the_page_of_metrics_is_what_prometheus_reads() {
    let _binaries = built(&["centinela"]);
    let running = Running::start_as(|_| {
        let mut command = centinela(&["up", "--quiet", "--rate", "50", "--cold"]);
        command.stderr(Stdio::null());
        command
    });
    let page = running.endpoint("metrics");
    let (host, path) = page.split_at(page.rfind('/').expect("a path"));
    let line = format!("GET {path}");
    let get = |accept: &'static str| http::send(host, &line, accept, "");
    let began = Instant::now();
    let open = loop {
        let answer = get("accept: application/openmetrics-text; version=1.0.0\r\n").await;
        if answer.text().contains("centinela_decided_total") {
            break answer;
        }
        assert!(began.elapsed() < PATIENCE, "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(open.head.contains("application/openmetrics-text") && open.text().ends_with("# EOF\n"), "{}", open.head);
    let text = get("accept: text/plain\r\n").await;
    assert!(text.head.contains("version=0.0.4") && !text.text().contains("# EOF"), "{}", text.head);
    for part in [
        "centinela_alarm{alarm=\"centinela-lag\"",
        "centinela_processing_seconds_bucket{function=\"score-transactions\",le=\"0.5\"}",
        "centinela_lambda_invocations_total{function=\"score-transactions\"}",
        "centinela_mapping_lag_records{source=\"transactions\",function=\"score-transactions\"}",
        "centinela_dynamodb_units_total{table=\"user_state\",kind=\"write\"}",
        "centinela_seen_total{what=\"decided\"}",
    ] {
        assert!(open.text().contains(part) && text.text().contains(part), "{part} is missing in {}", open.text());
    }
    assert_eq!(http::send(host, "GET /other", "", "").await.status, 404);
    shows_what_is_served(&open.text());
    let (status, report) = running.end();
    assert!(status.success(), "{report:#}");
    read_as_openmetrics(&open.text());
    promtool::check(&text.text());
}

/// Every metric that the Grafana board names is on the page, or is a count of a function that has not happened yet.
fn shows_what_is_served(page: &str) {
    let board = std::fs::read_to_string(workspace().join("docs/grafana/centinela.json")).expect("the board");
    let letters = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    let named = board.split("centinela_").skip(1).map(|rest| {
        let end = rest.find(|letter| !letters(letter)).unwrap_or(rest.len());
        format!("centinela_{}", &rest[..end])
    });
    let metrics = std::fs::read_to_string(workspace().join("functions/score-transactions/src/metrics.rs"));
    let counted: Vec<String> = metrics
        .expect("the metrics of the function")
        .split('"')
        .skip(1)
        .step_by(2)
        .map(|name| format!("centinela_{}_total", snake(name)))
        .collect();
    let missing: Vec<String> = named
        // An alarm has a value once it has looked at a whole period.
        .filter(|name| name != "centinela_alarm_value")
        .filter(|name| !page.contains(&format!("\n{name}")) && !counted.contains(name))
        .collect();
    assert!(missing.is_empty(), "the board shows {missing:?}, which nobody serves");
}

/// The reference parser of the format, which refuses what the specification does.
fn read_as_openmetrics(text: &str) {
    let python = match environment("centinela-metrics", &workspace().join("tests/metrics/requirements.txt")) {
        Ok(directory) => directory.join("python3"),
        Err(skipped) => return println!("{skipped}"),
    };
    let directory = tempfile::TempDir::new().expect("a directory");
    let page = directory.path().join("page.txt");
    std::fs::write(&page, text).expect("a file");
    let script = "import sys\n\
                  from prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
                  print(sum(len(family.samples) for family in read(open(sys.argv[1]).read())))";
    let mut command = Command::new(python);
    command.args(["-c", script]).arg(&page).env_remove("LD_LIBRARY_PATH");
    let output = command.output().expect("python runs");
    let samples: usize = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(0);
    assert!(output.status.success() && samples > 300, "{output:?}");
}
