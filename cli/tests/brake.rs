//! The brake in a running system: an alarm stops side jobs within seconds, one command brings them back, and nothing is lost.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use centinela_e2e::command::{assert_one_line, centinela};
use centinela_e2e::running::Running;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What "within seconds" is on a machine with much else to do.
const SECONDS: Duration = Duration::from_secs(20);

fn brake(endpoints: &Path, arguments: &[&str]) -> Output {
    let mut command = centinela(&["brake"]);
    command.args(arguments).arg("--endpoints").arg(endpoints).output().unwrap()
}

/// The steps of the plans that a command answers with: outcome, function and target.
fn steps(output: &Output) -> Vec<(String, String, String)> {
    assert!(output.status.success(), "{output:?}");
    let reports: Value = serde_json::from_slice(&output.stdout).unwrap();
    let plans = reports[0]["plans"].as_array().unwrap();
    let steps = plans.iter().flat_map(|plan| plan["steps"].as_array().unwrap());
    let text = |step: &Value, name: &str| step[name].as_str().unwrap().to_owned();
    steps.map(|step| (text(step, "outcome"), text(step, "function"), text(step, "target"))).collect()
}

/// Publishes to a topic of SNS as CloudWatch does; returns the answer's first line.
fn publish(sns: &str, topic: &str, message: &Value) -> String {
    let encoded = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let form = format!(
        "Action=Publish&Version=2010-03-31&TopicArn={}&Message={}",
        encoded(&format!("arn:aws:sns:us-east-1:000000000000:{topic}")),
        encoded(&message.to_string())
    );
    ask(sns, "POST", "/", &form).lines().next().unwrap_or_default().to_owned()
}

fn ask(url: &str, method: &str, path: &str, body: &str) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A function's mappings, as the Lambda API says.
fn mappings(running: &Running, function: &str) -> Vec<Value> {
    let path = format!("/2015-03-31/event-source-mappings/?FunctionName={function}");
    let answer = ask(&running.endpoint("lambda"), "GET", &path, "");
    let mut body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let Value::Array(mappings) = body["EventSourceMappings"].take() else { panic!("no list in {answer}") };
    mappings
}

/// Their states.
fn states(running: &Running, function: &str) -> Vec<String> {
    mappings(running, function).iter().map(|mapping| mapping["State"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < SECONDS, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    began.elapsed()
}

fn start(arguments: &[&str]) -> Running {
    Running::start_as(|_| {
        let mut command: Command = centinela(&["up", "--quiet"]);
        command.args(arguments).stderr(Stdio::piped());
        command
    })
}

#[test]
fn an_alarm_stops_what_it_is_about_within_seconds_and_one_command_brings_it_back_and_nothing_is_lost() {
    let mut running = start(&["--rate", "100", "--cold"]);
    let endpoints = running.endpoints_file();
    let alarm = json!({
        "AlarmName": "centinela-brake-user-actions-lag", "NewStateValue": "ALARM", "NewStateReason": "a flood",
        "Trigger": {"MetricName": "SumOffsetLag"}, "AWSAccountId": "000000000000",
    });
    assert_eq!(states(&running, "track-user-actions"), ["Enabled"]);
    assert!(publish(&running.endpoint("sns"), "centinela-brake", &alarm).contains("200"));
    let took = until("the mapping is disabled", || states(&running, "track-user-actions") == ["Disabled"]);
    assert_eq!(states(&running, "score-transactions"), ["Enabled"], "the main job goes on");

    let braked = steps(&brake(&endpoints, &["show", "--json"]));
    let of_actions = ("braked".to_owned(), "track-user-actions".to_owned(), "mapping of user_actions".to_owned());
    assert!(braked.contains(&of_actions), "{braked:?}");
    let dry = steps(&brake(&endpoints, &["release", "user-actions-lag", "--dry-run", "--json"]));
    assert_eq!((dry[0].0.as_str(), states(&running, "track-user-actions")[0].as_str()), ("would", "Disabled"));

    let released = brake(&endpoints, &["release"]);
    let said = String::from_utf8_lossy(&released.stdout).into_owned();
    assert!(released.status.success() && said.contains("done      track-user-actions"), "{said}");
    until("the mapping is enabled", || states(&running, "track-user-actions") == ["Enabled"]);

    running.process.signal(Signal::SIGINT);
    let noted = std::io::read_to_string(running.process.0.stderr.take().unwrap()).unwrap();
    let status = running.process.0.wait().unwrap();
    let report = running.report();
    assert!(status.success() && report["clean"] == true, "{noted}\n{report:#}");
    for word in ["centinela-alerts", "fire centinela-brake-user-actions-lag", "centinela brake: release"] {
        assert!(noted.contains(word), "{word} is not in {noted}");
    }
    assert!(took < SECONDS, "{took:?}");
}

#[test]
fn an_alarm_only_says_what_it_would_stop_where_that_is_asked_for() {
    let mut running = start(&["--rate", "100", "--cold", "--at-alarms", "say"]);
    let alarm = json!({
        "AlarmName": "centinela-brake-user-actions-lag", "NewStateValue": "ALARM", "NewStateReason": "a flood",
    });
    assert!(publish(&running.endpoint("sns"), "centinela-brake", &alarm).contains("200"));
    let mut noted = BufReader::new(running.process.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let said = noted.find(|line| line.contains("(dry run): fire centinela-brake-user-actions-lag"));
    assert!(said.is_some(), "the alert topic is told");
    assert_eq!(states(&running, "track-user-actions"), ["Enabled"]);
    running.process.signal(Signal::SIGINT);
    let rest: Vec<String> = noted.collect();
    let status = running.process.0.wait().unwrap();
    assert!(status.success() && running.report()["clean"] == true, "{rest:?}");
}

/// The end of a run waits for what these functions lack, and says so; they are braked still, and it is clean once they are released.
fn ends_when_released(running: &mut Running, braked: &[&str]) -> Value {
    let mut said = BufReader::new(running.process.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let waits = said.find(|line| line.contains("mappings of") && line.contains("centinela brake release"));
    let waits = waits.expect("it says what it waits for");
    for function in braked {
        assert!(waits.contains(function), "{function} is not in {waits}");
        assert_eq!(states(running, function), ["Disabled"]);
    }
    assert!(brake(&running.endpoints_file(), &["release", "--main-job"]).status.success());
    let rest: Vec<String> = said.collect();
    let status = running.process.0.wait().unwrap();
    let report = running.report();
    assert!(status.success() && report["clean"] == true, "{rest:?}\n{report:#}");
    report
}

#[test]
fn what_is_braked_stays_so_although_chaos_would_recreate_its_topic() {
    let mut running = start(&["--rate", "50", "--cold", "--for", "30s", "--chaos=topic-recreated,pause"]);
    until("the main job is stopped", || {
        steps(&brake(&running.endpoints_file(), &["fire", "block-rate", "--main-job", "--json"]));
        states(&running, "score-transactions") == ["Disabled"]
    });
    let report = ends_when_released(&mut running, &["score-transactions"]);
    assert!(report["records"]["decided"].as_u64() > Some(1_000), "{report:#}");
}

#[test]
fn what_reads_the_stream_is_braked_too_and_goes_on_from_where_it_was() {
    const OF_STREAM: [&str; 2] = ["index-decisions", "rollup-metrics"];
    let mut running = start(&["--rate", "100", "--cold"]);
    let endpoints = running.endpoints_file();
    let alarm = |name: &str| json!({"AlarmName": name, "NewStateValue": "ALARM", "NewStateReason": "too many writes"});
    assert!(
        publish(&running.endpoint("sns"), "centinela-brake", &alarm("centinela-brake-index-writes")).contains("200")
    );
    steps(&brake(&endpoints, &["fire", "invocations", "--json"]));
    until("both are disabled", || OF_STREAM.iter().all(|function| states(&running, function) == ["Disabled"]));
    let described = mappings(&running, "rollup-metrics");
    let kinesis = "arn:aws:kinesis:us-east-1:000000000000:stream/decisions";
    assert_eq!(
        (&described[0]["EventSourceArn"], &described[0]["TumblingWindowInSeconds"]),
        (&json!(kinesis), &json!(10))
    );
    let braked = steps(&brake(&endpoints, &["show", "--json"]));
    for function in OF_STREAM {
        let step = ("braked".to_owned(), function.to_owned(), "mapping of decisions".to_owned());
        assert!(braked.contains(&step), "{braked:?}");
    }

    running.process.signal(Signal::SIGINT);
    let report = ends_when_released(&mut running, &OF_STREAM);
    let (decided, streams) = (&report["records"]["decided"], &report["streams"]);
    assert!(decided.as_u64() > Some(0), "{report:#}");
    let index = &streams["index"];
    assert_eq!(
        (&index["decisions"], &index["missing"], &index["wrong"]),
        (decided, &json!(0), &json!(0)),
        "{streams:#}"
    );
    let rollups = &streams["rollups"];
    assert_eq!((&rollups["decisions"], &rollups["wrong"]), (decided, &json!(0)), "{streams:#}");
}

#[test]
fn the_plan_of_cost_brakes_side_jobs_and_leaves_the_main_job_unless_it_is_told() {
    let running = start(&["--rate", "0"]);
    let endpoints = running.endpoints_file();
    let reserved = || {
        let path = "/2019-09-30/functions/archive-records/concurrency";
        let answer = ask(&running.endpoint("lambda"), "GET", path, "");
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        body["ReservedConcurrentExecutions"].as_u64()
    };
    for (arguments, words) in [
        (["fire", "wirtes"], ["alarm `wirtes` has no plan", "centinela-brake-writes"]),
        (["release", "lag"], ["`lag` may mean", "centinela-brake-user-actions-lag, centinela-brake-events-lag"]),
    ] {
        let mut command = centinela(&["brake", "--json", "--endpoints"]);
        assert_one_line(command.arg(&endpoints).args(arguments), 2, &words);
    }
    let writes = brake(&endpoints, &["fire", "writes", "--dry-run"]);
    assert!(String::from_utf8_lossy(&writes.stdout).starts_with("centinela-brake-writes (cost)\n"), "{writes:?}");
    let before = reserved();
    let fired = steps(&brake(&endpoints, &["fire", "invocations", "--json"]));
    let kept: Vec<_> = fired.iter().filter(|step| step.0 == "kept").map(|step| step.1.as_str()).collect();
    assert_eq!((kept, reserved()), (vec!["score-transactions"], Some(2)));
    until("it is told so", || {
        steps(&brake(&endpoints, &["fire", "invocations", "--main-job", "--json"]));
        states(&running, "score-transactions") == ["Disabled"]
    });
    assert!(brake(&endpoints, &["release", "--main-job"]).status.success());
    until("everything is back", || {
        ["score-transactions", "track-user-actions"].iter().all(|function| states(&running, function) == ["Enabled"])
    });
    assert_eq!(reserved(), before);
    let (status, report) = running.end();
    assert!(status.success(), "{report:#}");
}

#[test]
fn a_request_that_cannot_be_carried_out_says_what_would_be() {
    let directory = TempDir::new().unwrap();
    let nothing = directory.path().join("none");
    let endpoints = directory.path().join("endpoints.json");
    std::fs::write(&endpoints, "{}").unwrap();
    assert_one_line(centinela(&["brake", "show", "--endpoints"]).arg(&endpoints), 2, &["names no `lambda`"]);
    assert_one_line(centinela(&["brake", "show", "--endpoints"]).arg(&nothing), 2, &["none"]);
    let mut of_aws = centinela(&["brake", "show"]);
    of_aws
        .env("AWS_CONFIG_FILE", &nothing)
        .env("AWS_SHARED_CREDENTIALS_FILE", &nothing)
        .env("AWS_EC2_METADATA_DISABLED", "true");
    assert_one_line(&mut of_aws, 2, &["no region", "--endpoints FILE"]);
    std::fs::write(&endpoints, r#"{"lambda": "http://127.0.0.1:9"}"#).unwrap();
    assert_one_line(centinela(&["brake", "show", "--endpoints"]).arg(&endpoints), 1, &["guard-costs", "127.0.0.1:9"]);
}
