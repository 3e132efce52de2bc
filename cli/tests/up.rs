//! The real command, end to end: real function binaries on the real platform, judged from outside.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use centinela_contracts::dead_letter_v1::{self, DeadLetterReason};
use centinela_e2e::command::{assert_one_line, centinela, reported};
use centinela_e2e::running::Running;
use centinela_local::kafka::{TopicSpec, create_topics};
use nix::sys::signal::Signal;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::{Value, json};
use tempfile::TempDir;

fn run(arguments: &[&str]) -> Output {
    centinela(arguments).output().expect("the command can be started")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `up` to its end and returns its exit code, its report and what it said.
fn up(arguments: &[&str]) -> (Option<i32>, Value, String) {
    let (output, report) = reported(centinela(&["up", "--quiet"]).args(arguments));
    let said = stderr(&output);
    (output.status.code(), report.unwrap_or_else(|| panic!("no report; the command said: {said}")), said)
}

fn count(report: &Value, field: &str) -> u64 {
    report["records"][field].as_u64().unwrap_or_else(|| panic!("records.{field} is no count in {report}"))
}

fn assert_clean(code: Option<i32>, report: &Value, said: &str) {
    for field in ["lost", "doubled", "invented", "users_differing"] {
        assert_eq!(count(report, field), 0, "{field} in {report}");
    }
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(count(report, "unique"), count(report, "decided") + count(report, "parked"), "{report}");
}

/// The index has every decision of the topics, and the roll-ups are the fold of the stream.
fn assert_streams_agree(report: &Value) {
    let (index, rollups) = (&report["streams"]["index"], &report["streams"]["rollups"]);
    let decided = count(report, "decided");
    assert_eq!((&index["decisions"], &index["missing"], &index["wrong"]), (&json!(decided), &json!(0), &json!(0)));
    assert_eq!((&rollups["missing"], &rollups["wrong"]), (&json!(0), &json!(0)), "{rollups}");
    assert_eq!(rollups["decisions"].as_u64(), rollups["again"].as_u64().map(|again| decided + again), "{rollups}");
    assert_eq!(rollups["differs_from_topics"], false, "{rollups}");
}

/// A record costs its user's item one write at most, however often it is delivered; a lost race is charged as well.
fn assert_one_write_per_record(report: &Value) {
    let races = report["dynamodb"]["failed_conditions"].as_f64().unwrap();
    // Other functions have attributes of their own in the same items.
    let written = &report["dynamodb"]["write_units_by_function"]["score-transactions"]["user_state"];
    let write_units = written.as_f64().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let records = count(report, "sent") as f64;
    assert!(write_units <= records + races, "{report}");
}

fn transaction(id: usize) -> Value {
    json!({
        "version": 1,
        "transaction_id": format!("t{id}"),
        "timestamp": 1_767_571_200_000_u64 + id as u64 * 1_000,
        "user_id": format!("u{}", id % 7),
        "amount": "12.50",
        "currency": "EUR",
        "device_type": "mobile",
        "device_id": format!("d{}", id % 7),
        "ip": "203.0.113.9",
        "user_agent": "test/1",
    })
}

/// `up` with these arguments, ready.
fn start(arguments: &[&str]) -> Running {
    Running::start_as(|_| {
        let mut command = centinela(&["up", "--quiet"]);
        command.args(arguments);
        command
    })
}

#[test]
fn generated_traffic_is_decided_once_and_the_report_says_so() {
    let (code, report, said) = up(&["--rate", "200", "--for", "5s", "--seed", "7"]);
    assert_clean(code, &report, &said);
    assert_eq!(report["version"], 1);
    assert!(count(&report, "sent") >= 990, "{report}");
    assert_eq!(count(&report, "decided"), count(&report, "approved") + count(&report, "blocked"));
    // Only what the producer itself sends twice is answered twice.
    assert!(count(&report, "republished") <= count(&report, "sent") - count(&report, "unique"), "{report}");
    assert_one_write_per_record(&report);
    assert!(report["latency_ms"]["p50"].as_f64().unwrap() > 0.0, "{report}");
    let function = &report["function"]["score-transactions"];
    for field in ["cpu_us_per_tx", "rss_mb_max", "invocations", "batch_p50", "cold_starts", "first_decision_ms"] {
        assert!(function[field].as_f64().unwrap() > 0.0, "{field} in {function}");
    }
    assert_every_topic_is_covered(&report);
    for stage in ["read", "decide", "commit", "publish"] {
        assert!(report["stages_ms"][stage]["p50"].as_f64().is_some(), "{stage} in {report}");
    }
    if cfg!(target_os = "linux") {
        for part in ["broker", "aws_stand_ins", "kafka_clients", "platform"] {
            assert!(report["process"]["cpu_us_per_tx"][part].as_f64().unwrap() > 0.0, "{part} in {report}");
        }
    }
}

/// Actions and labels are handled, and every record of every topic is a row of the lake.
fn assert_every_topic_is_covered(report: &Value) {
    let of = |section: &str, field: &str| {
        report[section][field].as_u64().unwrap_or_else(|| panic!("{section}.{field} is no count in {report}"))
    };
    assert!(of("actions", "records") > count(report, "sent"), "{report}");
    assert!(of("labels", "labels") > 0, "{report}");
    for (section, fields) in [("actions", ["lost", "profiles_differing"]), ("labels", ["lost", "risks_differing"])] {
        assert_eq!(fields.map(|field| of(section, field)), [0, 0], "{section} in {report}");
    }
    let topics = report["archive"]["topics"].as_object().unwrap();
    for topic in ["transactions", "user_actions", "events", "approved", "blocked", "dead-letters"] {
        for field in ["missing", "twice", "wrong"] {
            assert_eq!(topics[topic][field], 0, "{field} of {topic} in {report}");
        }
    }
    assert_eq!(topics["transactions"]["records"].as_u64(), Some(count(report, "sent")), "{report}");
    assert!(of("archive", "raw_puts") > 0 && of("archive", "files") > 0, "{report}");
    for function in ["track-user-actions", "apply-labels", "archive-records", "compact-lake"] {
        let figures = &report["function"][function];
        assert!(figures["invocations"].as_u64() > Some(0) && figures["rss_mb_max"].as_u64() > Some(0), "{function}");
    }
}

#[test]
fn a_backlog_is_decided_once_after_all_of_it_was_there() {
    // More than an embedded stream keeps for nobody: its readers are started only when all is decided.
    let (code, report, said) = up(&["--backlog", "40000", "--shape", "uniform"]);
    assert_clean(code, &report, &said);
    assert_eq!(count(&report, "sent"), 40_000);
    let backlog = &report["backlog"];
    // Everything waited: nothing was decided before the last record was there.
    assert_eq!(backlog["waiting"].as_u64(), Some(count(&report, "unique")), "{report}");
    let steady = &backlog["steady"];
    assert!(steady["tx_s"].as_f64().unwrap() > 0.0, "{report}");
    assert!(steady["decided"].as_u64().unwrap() <= count(&report, "unique") * 7 / 10 + 1, "{report}");
    assert!(report["function"]["score-transactions"]["batch_p50"].as_u64().unwrap() > 1, "{report}");
}

#[test]
fn a_burst_is_decided_whole_and_the_report_says_when_it_was_worked_off() {
    let (code, report, said) = up(&["--rate", "100", "--for", "4s", "--burst", "8x1s@1s"]);
    assert_clean(code, &report, &said);
    assert!((1_090..=1_101).contains(&count(&report, "sent")), "{report}");
    assert!(report["burst"]["caught_up_s"].as_f64().is_some(), "{report}");
}

#[test]
fn a_backlog_may_be_delivered_twice() {
    let (code, report, said) = up(&["--backlog", "500", "--redeliver"]);
    assert_clean(code, &report, &said);
    assert!(report["mapping"]["replayed_batches"].as_u64() > Some(0), "{report}");
}

#[test]
fn lines_that_are_no_transaction_are_dead_lettered_and_delay_nothing() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("input.jsonl");
    let mut file = std::fs::File::create(&path).unwrap();
    for id in 0..60 {
        writeln!(file, "{}", transaction(id)).unwrap();
    }
    file.write_all(b"not json\n{\"version\":1}\n\n\xff\xfe\n[]\n").unwrap();
    writeln!(file, "{}", transaction(3)).unwrap();
    drop(file);
    let (code, report, said) = up(&["--input", path.to_str().unwrap(), "--unchecked", "--key", "user_id"]);
    assert_clean(code, &report, &said);
    let figures = ["sent", "unique", "decided", "parked"].map(|field| count(&report, field));
    assert_eq!(figures, [65, 64, 60, 4], "{report}");
}

#[test]
fn batches_that_are_delivered_again_cost_no_write() {
    let (code, report, said) = up(&["--rate", "150", "--for", "4s", "--redeliver"]);
    assert_clean(code, &report, &said);
    assert!(report["mapping"]["replayed_batches"].as_u64().unwrap() > 0, "{report}");
    assert!(count(&report, "replayed") + count(&report, "stale") >= count(&report, "decided"), "{report}");
    assert_one_write_per_record(&report);
}

#[test]
fn killed_functions_lose_and_double_nothing() {
    let (code, report, said) = up(&["--rate", "200", "--for", "5s", "--kill", "3"]);
    assert_clean(code, &report, &said);
    assert_eq!(report["producer"]["kills"], 3);
    assert!(report["function"]["score-transactions"]["cold_starts"].as_u64().unwrap() > 3, "{report}");
}

#[test]
fn faults_of_every_kind_lose_and_double_nothing_and_the_table_says_what_they_led_to() {
    let (code, report, said) = up(&["--chaos", "--seed", "3", "--rate", "700", "--for", "25s", "--users", "300"]);
    assert_clean(code, &report, &said);
    assert_streams_agree(&report);
    assert!(said.contains("outage is left out: it needs a run of at least 33 s"), "{said}");
    let table = &report["chaos"];
    assert_eq!(table["seed"], 3);
    let lines = table["faults"].as_array().unwrap();
    assert_eq!(lines.len(), 23);
    for line in lines {
        // These are drawn per answer that names records, or need two minutes.
        if !["outage", "partial"].contains(&line["fault"].as_str().unwrap()) {
            assert!(line["times"].as_u64() > Some(0), "{line} did not happen");
        }
    }
    let added = lines.iter().find(|line| line["fault"] == "partitions-added").unwrap();
    assert_eq!(added["led_to"], "2 partitions joined every mapping", "also where the topic was recreated just before");
    let timeouts = lines.iter().find(|line| line["fault"] == "timeout").unwrap();
    assert_eq!(timeouts["times"], 2, "also the one that was due while no traffic came: {timeouts}");
    assert!(count(&report, "replayed") > 0, "batches came again");
    let met = |fault: &str| {
        let line = lines.iter().find(|line| line["fault"] == fault).unwrap();
        line["functions"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert!(met("kill").len() > 1 && met("split").len() > 2, "{table}");
}

#[test]
fn an_ordinary_client_is_served_and_ctrl_c_drains() {
    let running = start(&["--rate", "0"]);
    let endpoints = running.endpoints.clone();
    for field in ["dynamodb", "s3", "kinesis", "region", "access_key_id", "secret_access_key", "topics", "tables"] {
        assert!(!endpoints[field].is_null(), "{field} in {endpoints}");
    }
    let kafka = endpoints["kafka"].as_str().unwrap();
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", kafka).create().unwrap();
    for value in [transaction(1).to_string(), "{\"version\":9}".to_owned(), "nonsense".to_owned()] {
        producer.send(BaseRecord::<(), str>::to("transactions").payload(&value)).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
    let processes = running.function_processes();
    let (status, report) = running.end();
    assert_clean(status.code(), &report, "");
    assert_eq!([count(&report, "sent"), count(&report, "decided"), count(&report, "parked")], [3, 1, 2], "{report}");
    for process in processes {
        assert!(!process.exists(), "function process {} is still there", process.display());
    }
}

#[test]
fn a_dead_letter_carries_a_reason_that_a_person_understands() {
    let running = start(&["--rate", "0"]);
    let kafka = &running.endpoint("kafka");
    let directory = bad_lines();
    let input = directory.path().join("bad.jsonl");
    let sent = run(&["send", "--kafka", kafka, "--unchecked", "--input", input.to_str().unwrap()]);
    assert_eq!(sent.status.code(), Some(0), "{}", stderr(&sent));
    let reasons = dead_letter_reasons(kafka, 2);
    assert!(reasons.iter().any(|(code, text)| *code == DeadLetterReason::NotJson && !text.is_empty()), "{reasons:?}");
    assert!(reasons.iter().any(|(_, text)| text.contains("amount")), "{reasons:?}");
    assert_eq!(running.end().0.code(), Some(0));
}

fn bad_lines() -> TempDir {
    let directory = TempDir::new().unwrap();
    let mut wrong = transaction(1);
    wrong["amount"] = json!("much");
    std::fs::write(directory.path().join("bad.jsonl"), format!("nonsense\n{wrong}\n")).unwrap();
    directory
}

fn dead_letter_reasons(kafka: &str, wanted: usize) -> Vec<(DeadLetterReason, String)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", "test")
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "6000")
        .create()
        .unwrap();
    consumer.subscribe(&["dead-letters"]).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let mut reasons = Vec::new();
    while reasons.len() < wanted && Instant::now() < until {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            let stored = dead_letter_v1::parse(message.payload().unwrap()).unwrap();
            reasons.push((stored.letter.reason_code, stored.letter.reason));
        }
    }
    reasons
}

#[test]
fn a_second_interrupt_or_one_during_the_start_leaves_no_process() {
    let running = start(&[]);
    let processes = running.function_processes();
    running.process.signal(Signal::SIGINT);
    let code = running.end().0.code();
    // Two signals that arrive together may count as one.
    assert!(code == Some(130) || code == Some(0), "{code:?}");
    let until = Instant::now() + Duration::from_secs(5);
    for process in processes {
        while process.exists() {
            assert!(Instant::now() < until, "function process {} is still there", process.display());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_request_that_makes_no_sense_is_one_clear_line_and_exit_code_2() {
    let busy = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    let directory = TempDir::new().unwrap();
    let broken = directory.path().join("broken.parquet");
    std::fs::write(&broken, b"PAR1 but not for long").unwrap();
    let broken = broken.to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["up", "--kafka-port", &port], &port),
        (&["up", "--dynamodb-port", &port], &port),
        (&["up", "--rate", "fast"], "rate"),
        (&["up", "--chaos=kill,thunder"], "`thunder`"),
        (&["up", "--no-such-flag"], "--no-such-flag"),
        (&["up", "--input", "/no/such/file.jsonl"], "/no/such/file.jsonl"),
        (&["up", "--input", "/"], "no file"),
        (&["up", "--input", broken], "broken.parquet"),
        (&["up", "--kill", "3"], "--for"),
        (&["up", "--shape", "hot=2"], "hot=SHARE"),
        (&["up", "--backlog", "1000", "--rate", "5"], "--rate"),
        (&["up", "--backlog", "1000", "--chaos"], "--chaos"),
        (&["up", "--burst", "10x10s", "--for", "15s"], "--burst"),
        (&["up", "--burst", "10x10s", "--rate", "0"], "--rate 0"),
        (&["up", "--summary", "/no/such/directory/a.json"], "/no/such/directory"),
        (&["up", "--infra", "/no/such/directory"], "/no/such/directory"),
        (&["send"], "--kafka"),
    ];
    for (arguments, name) in cases {
        assert_one_line(&mut centinela(arguments), 2, &[name]);
    }
}

#[test]
fn a_broker_that_is_not_there_is_named_within_ten_seconds() {
    let nobody = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string();
    let started = Instant::now();
    let output = run(&["send", "--kafka", &nobody, "--rate", "10", "--for", "1s", "--quiet"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&nobody), "{}", stderr(&output));
    assert!(started.elapsed() < Duration::from_secs(12));
}

#[test]
fn without_a_terminal_the_view_is_plain_lines_with_endpoints_to_paste() {
    let mut command = centinela(&["up", "--rate", "100", "--for", "7s"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success());
    let text = lines.join("\n");
    assert!(!text.contains('\x1b'), "{text}");
    for needle in ["kcat -b 127.0.0.1:", "aws --endpoint-url http://127.0.0.1:", "write units/tx", "CLEAN"] {
        assert!(text.contains(needle), "{needle} is missing in {text}");
    }
}

/// A topic of five times what it may take of the disk.
#[test]
fn records_that_nobody_reads_fill_neither_the_memory_nor_the_disk() {
    const RECORDS: usize = 3_200;
    let running = start(&["--rate", "0", "--kafka-disk", "64"]);
    let kafka = &running.endpoint("kafka");
    let topic = TopicSpec { name: "unread".to_owned(), partitions: 1, config: BTreeMap::new() };
    tokio::runtime::Runtime::new().unwrap().block_on(create_topics(kafka, &[topic])).unwrap();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", kafka).set("group.id", "nobody");
    let producer: ThreadedProducer<DefaultProducerContext> = client.create().unwrap();
    let payload = vec![7; 100_000];
    for _ in 0..RECORDS {
        while producer.send(BaseRecord::<(), [u8]>::to("unread").payload(&payload)).is_err() {
            producer.flush(Duration::from_secs(20)).unwrap();
        }
    }
    producer.flush(Duration::from_secs(20)).unwrap();
    let consumer: BaseConsumer = client.create().unwrap();
    let (first, next) = consumer.fetch_watermarks("unread", 0, Duration::from_secs(20)).unwrap();
    assert_eq!(next, i64::try_from(RECORDS).unwrap());
    assert!((450..=671).contains(&(next - first)), "{first} to {next} in 64 MB");
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.process.0.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident_kb: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(resident_kb < 200_000, "{resident_kb} kB");
    assert_eq!(running.end().0.code(), Some(0));
}
