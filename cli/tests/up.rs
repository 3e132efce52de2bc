//! The real command, end to end: real function binaries on the real platform, judged from outside.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use centinela_contracts::dead_letter_v1::{self, DeadLetterReason};
use centinela_local::kafka::{TopicSpec, create_topics};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Generous: the first run may have to build the function.
const PATIENCE: Duration = Duration::from_secs(600);

fn centinela(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_centinela"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    centinela(arguments).output().expect("the command can be started")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `up` to its end and returns its exit code and account.
fn account(arguments: &[&str]) -> (Option<i32>, Value, String) {
    let directory = TempDir::new().unwrap();
    let summary = directory.path().join("account.json");
    let mut all = vec!["up", "--quiet", "--summary", summary.to_str().unwrap()];
    all.extend_from_slice(arguments);
    let output = run(&all);
    let said = stderr(&output);
    let account =
        std::fs::read(&summary).unwrap_or_else(|error| panic!("no account ({error}); the command said: {said}"));
    (output.status.code(), serde_json::from_slice(&account).unwrap(), said)
}

fn count(account: &Value, field: &str) -> u64 {
    account["records"][field].as_u64().unwrap_or_else(|| panic!("records.{field} is no count in {account}"))
}

fn assert_clean(code: Option<i32>, account: &Value, said: &str) {
    for field in ["lost", "doubled", "invented", "users_differing"] {
        assert_eq!(count(account, field), 0, "{field} in {account}");
    }
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(count(account, "unique"), count(account, "decided") + count(account, "parked"), "{account}");
}

/// A record costs its user's item one write at most, however often it is delivered; a lost race is charged as well.
fn assert_one_write_per_record(account: &Value) {
    let races = account["dynamodb"]["failed_conditions"].as_f64().unwrap();
    let write_units = account["dynamodb"]["write_units"]["user_state"].as_f64().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let records = count(account, "sent") as f64;
    assert!(write_units <= records + races, "{account}");
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

/// A command that is running; it never outlives the test.
struct Running {
    child: Child,
    directory: TempDir,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let mut command = centinela(&["up", "--quiet"]);
        command.arg("--endpoints").arg(directory.path().join("endpoints.json"));
        command.arg("--summary").arg(directory.path().join("account.json"));
        let child = command.args(arguments).stderr(Stdio::piped()).spawn().expect("the command can be started");
        Self { child, directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn endpoints(&mut self) -> Value {
        let until = Instant::now() + PATIENCE;
        let path = self.file("endpoints.json");
        while !path.exists() {
            assert!(self.child.try_wait().unwrap().is_none(), "the command ended before it was ready");
            assert!(Instant::now() < until, "the command is never ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn interrupt(&self) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), Signal::SIGINT).unwrap();
    }

    /// Waits for the end; returns the exit code and the account.
    fn end(mut self) -> (Option<i32>, Option<Value>) {
        let status = self.child.wait().unwrap();
        let account = std::fs::read(self.file("account.json")).ok();
        (status.code(), account.map(|account| serde_json::from_slice(&account).unwrap()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ended_meanwhile = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}

fn pids(endpoints: &Value) -> Vec<u64> {
    let functions = endpoints["functions"].as_array().unwrap();
    functions.iter().flat_map(|function| function["pids"].as_array().unwrap()).filter_map(Value::as_u64).collect()
}

#[test]
fn generated_traffic_is_decided_once_and_the_account_says_so() {
    let (code, account, said) = account(&["--rate", "200", "--for", "5s", "--seed", "7"]);
    assert_clean(code, &account, &said);
    assert_eq!(account["version"], 1);
    assert!(count(&account, "sent") >= 990, "{account}");
    assert_eq!(count(&account, "decided"), count(&account, "approved") + count(&account, "blocked"));
    // Only what the producer itself sends twice is answered twice.
    assert!(count(&account, "republished") <= count(&account, "sent") - count(&account, "unique"), "{account}");
    assert_one_write_per_record(&account);
    assert!(account["latency_ms"]["p50"].as_f64().unwrap() > 0.0, "{account}");
    let function = &account["function"]["score-transactions"];
    for field in ["cpu_us_per_tx", "rss_mb_max", "invocations", "batch_p50", "cold_starts", "first_decision_ms"] {
        assert!(function[field].as_f64().unwrap() > 0.0, "{field} in {function}");
    }
    for stage in ["read", "decide", "commit", "publish"] {
        assert!(account["stages_ms"][stage]["p50"].as_f64().is_some(), "{stage} in {account}");
    }
    if cfg!(target_os = "linux") {
        for part in ["broker", "aws_stand_ins", "kafka_clients", "platform"] {
            assert!(account["process"]["cpu_us_per_tx"][part].as_f64().unwrap() > 0.0, "{part} in {account}");
        }
    }
}

#[test]
fn a_backlog_is_decided_once_after_all_of_it_was_there() {
    let (code, account, said) = account(&["--backlog", "3000", "--shape", "uniform"]);
    assert_clean(code, &account, &said);
    assert_eq!(count(&account, "sent"), 3_000);
    let backlog = &account["backlog"];
    // Everything waited: nothing was decided before the last record was there.
    assert_eq!(backlog["waiting"].as_u64(), Some(count(&account, "unique")), "{account}");
    let steady = &backlog["steady"];
    assert!(steady["tx_s"].as_f64().unwrap() > 0.0, "{account}");
    assert!(steady["decided"].as_u64().unwrap() <= count(&account, "unique") * 7 / 10 + 1, "{account}");
    assert!(account["function"]["score-transactions"]["batch_p50"].as_u64().unwrap() > 1, "{account}");
}

#[test]
fn lines_that_are_no_transaction_are_parked_and_delay_nothing() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("input.jsonl");
    let mut file = std::fs::File::create(&path).unwrap();
    for id in 0..60 {
        writeln!(file, "{}", transaction(id)).unwrap();
    }
    file.write_all(b"not json\n{\"version\":1}\n\n\xff\xfe\n[]\n").unwrap();
    writeln!(file, "{}", transaction(3)).unwrap();
    drop(file);
    let (code, account, said) = account(&["--input", path.to_str().unwrap(), "--unchecked", "--key", "user_id"]);
    assert_clean(code, &account, &said);
    let figures = ["sent", "unique", "decided", "parked"].map(|field| count(&account, field));
    assert_eq!(figures, [65, 64, 60, 4], "{account}");
}

#[test]
fn batches_that_are_delivered_again_cost_no_write() {
    let (code, account, said) = account(&["--rate", "150", "--for", "4s", "--redeliver"]);
    assert_clean(code, &account, &said);
    assert!(account["mapping"]["replayed_batches"].as_u64().unwrap() > 0, "{account}");
    assert!(count(&account, "replayed") + count(&account, "stale") >= count(&account, "decided"), "{account}");
    assert_one_write_per_record(&account);
}

#[test]
fn killed_functions_lose_and_double_nothing() {
    let (code, account, said) = account(&["--rate", "200", "--for", "5s", "--kill", "3"]);
    assert_clean(code, &account, &said);
    assert_eq!(account["producer"]["kills"], 3);
    assert!(account["function"]["score-transactions"]["cold_starts"].as_u64().unwrap() > 3, "{account}");
}

#[test]
fn faults_of_every_kind_lose_and_double_nothing_and_the_table_says_what_they_led_to() {
    let (code, account, said) = account(&["--chaos", "--seed", "3", "--rate", "700", "--for", "25s", "--users", "300"]);
    assert_clean(code, &account, &said);
    assert!(said.contains("outage is left out: it needs a run of at least 33 s"), "{said}");
    let table = &account["chaos"];
    assert_eq!(table["seed"], 3);
    let lines = table["faults"].as_array().unwrap();
    assert_eq!(lines.len(), 22);
    for line in lines {
        // These are drawn per answer that names records, or need two minutes.
        if !["outage", "partial"].contains(&line["fault"].as_str().unwrap()) {
            assert!(line["times"].as_u64() > Some(0), "{line} did not happen");
        }
    }
    assert!(count(&account, "replayed") > 0, "batches came again");
}

#[test]
fn an_ordinary_client_is_served_and_ctrl_c_drains() {
    let mut running = Running::start(&["--rate", "0"]);
    let endpoints = running.endpoints();
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
    running.interrupt();
    let (code, account) = running.end();
    let account = account.expect("an interrupted run still gives its account");
    assert_clean(code, &account, "");
    assert_eq!(
        [count(&account, "sent"), count(&account, "decided"), count(&account, "parked")],
        [3, 1, 2],
        "{account}"
    );
    for pid in pids(&endpoints) {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "function process {pid} is still there");
    }
}

#[test]
fn a_parked_record_carries_a_reason_that_a_person_understands() {
    let mut running = Running::start(&["--rate", "0"]);
    let endpoints = running.endpoints();
    let kafka = endpoints["kafka"].as_str().unwrap();
    let directory = bad_lines();
    let input = directory.path().join("bad.jsonl");
    let sent = run(&["send", "--kafka", kafka, "--unchecked", "--input", input.to_str().unwrap()]);
    assert_eq!(sent.status.code(), Some(0), "{}", stderr(&sent));
    let reasons = parked_reasons(kafka, 2);
    assert!(reasons.iter().any(|(code, text)| *code == DeadLetterReason::NotJson && !text.is_empty()), "{reasons:?}");
    assert!(reasons.iter().any(|(_, text)| text.contains("amount")), "{reasons:?}");
    running.interrupt();
    assert_eq!(running.end().0, Some(0));
}

fn bad_lines() -> TempDir {
    let directory = TempDir::new().unwrap();
    let mut wrong = transaction(1);
    wrong["amount"] = json!("much");
    std::fs::write(directory.path().join("bad.jsonl"), format!("nonsense\n{wrong}\n")).unwrap();
    directory
}

fn parked_reasons(kafka: &str, wanted: usize) -> Vec<(DeadLetterReason, String)> {
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
    let mut running = Running::start(&[]);
    let endpoints = running.endpoints();
    running.interrupt();
    running.interrupt();
    let (code, _) = running.end();
    // Two signals that arrive together may count as one.
    assert!(code == Some(130) || code == Some(0), "{code:?}");
    let until = Instant::now() + Duration::from_secs(5);
    for pid in pids(&endpoints) {
        while Path::new(&format!("/proc/{pid}")).exists() {
            assert!(Instant::now() < until, "function process {pid} is still there");
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
        (&["up", "--summary", "/no/such/directory/a.json"], "/no/such/directory"),
        (&["up", "--infra", "/no/such/directory"], "/no/such/directory"),
        (&["send"], "--kafka"),
    ];
    for (arguments, names) in cases {
        let output = run(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(names), "{arguments:?}: {said}");
        // A build of the function, where it is the first thing to do, is shown as well.
        let lines =
            said.lines().filter(|line| line.starts_with("centinela: ") && !line.contains("building it")).count();
        assert_eq!(lines, 1, "{arguments:?}: {said}");
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
    let mut running = Running::start(&["--rate", "0", "--kafka-disk", "64"]);
    let endpoints = running.endpoints();
    let kafka = endpoints["kafka"].as_str().unwrap();
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
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident_kb: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(resident_kb < 200_000, "{resident_kb} kB");
    running.interrupt();
    assert_eq!(running.end().0, Some(0));
}
