//! The real command with servers that are there already, and what it says when they, a disk or a flag are not as they should be:
//! one clear line and the right exit code.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileTypeExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use centinela_e2e::command::{PATIENCE, Process, assert_one_line, centinela, lines, reported};
use centinela_e2e::running::Running;
use centinela_local::aws::{AttrType, DynamoConfig, DynamoDb, TableSpec};
use centinela_local::broker::{Broker, BrokerConfig};
use centinela_local::kafka::{TopicSpec, create_topics};
use nix::sys::signal::Signal;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::config::ClientConfig;
use serde_json::Value;
use tempfile::TempDir;

fn nobody() -> String {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_flag_that_makes_no_sense_is_one_line_and_exit_code_2() {
    let cases: &[(&[&str], &str)] = &[
        (&["up", "--latency", "12ms,5ms"], "5ms,12ms"),
        (&["up", "--latency", "5ms"], "median"),
        (&["up", "--kafka", "localhost"], "HOST:PORT"),
        (&["up", "--kafka", "localhost:9092", "--kafka-port", "9092"], "--kafka-port"),
        (&["up", "--kafka-tls"], "--kafka"),
        (&["up", "--kafka", "localhost:9092", "--kafka-user", "x"], "CENTINELA_KAFKA_PASSWORD"),
        (&["up", "--kafka", "localhost:9092", "--kafka-ca", "/no/such.pem"], "/no/such.pem"),
        (&["up", "--kafka", "localhost:9092", "--kafka-iam"], "AWS_REGION"),
        (&["send", "--kafka", "localhost:9092", "--kafka-user", "x", "--kafka-password-file", "/no/such"], "/no/such"),
        (&["up", "--dynamodb", "127.0.0.1:8000"], "http://HOST:PORT"),
    ];
    for (arguments, named) in cases {
        assert_one_line(&mut centinela(arguments), 2, &[named]);
    }
}

#[test]
fn a_kafka_that_is_not_there_is_named_within_ten_seconds() {
    let (address, started) = (nobody(), Instant::now());
    assert_one_line(
        &mut centinela(&["up", "--kafka", &address, "--cold", "--rate", "10", "--for", "1s"]),
        1,
        &[&address, "Connection refused"],
    );
    assert!(started.elapsed() < Duration::from_secs(12));
}

/// As `--kafka-password-file <(pass show kafka)` of a shell gives it: once.
#[test]
fn a_password_that_can_be_read_only_once_is_read_once() {
    let directory = TempDir::new().unwrap();
    let fifo = directory.path().join("password");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let pipe = fifo.clone();
    let written = std::thread::spawn(move || std::fs::write(pipe, "hush"));
    let kafka = nobody();
    let mut up = centinela(&["up", "--quiet", "--kafka", &kafka, "--kafka-tls", "--kafka-user", "ana"]);
    up.arg("--kafka-password-file").arg(&fifo).stderr(Stdio::piped());
    let mut up = Process::spawn(&mut up);
    written.join().unwrap().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while up.0.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "it waits for a second writer");
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = std::io::read_to_string(up.0.stderr.take().unwrap()).unwrap();
    assert!(said.contains(&kafka), "{said}");
}

#[test]
fn a_dynamodb_or_another_emulator_that_is_not_there_is_named() {
    let url = format!("http://{}", nobody());
    assert_one_line(&mut centinela(&["up", "--dynamodb", &url]), 1, &[&url, "dynamodb", "cannot be reached"]);
    assert_one_line(&mut centinela(&["up", "--aws-endpoint", &url]), 1, &[&url, "cannot be reached"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_shape_is_named_with_both_shapes() {
    let partition_key = ("id".to_owned(), AttrType::N);
    let table = TableSpec { name: "user_state".to_owned(), partition_key, sort_key: None, ttl_attribute: None };
    let database = DynamoDb::start(DynamoConfig { tables: vec![table], ..DynamoConfig::default() }).await.unwrap();
    let url = database.url();
    let named = ["user_state", "id (N, HASH)", "pk (S, HASH)"];
    tokio::task::block_in_place(|| assert_one_line(&mut centinela(&["up", "--dynamodb", &url]), 1, &named));
    database.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_other_partitions_is_named_with_both_numbers() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let topic = TopicSpec { name: "transactions".to_owned(), partitions: 3, config: BTreeMap::new() };
    create_topics(&broker.bootstrap(), &[topic]).await.unwrap();
    let named = ["transactions", "3 partitions", "needs 10"];
    tokio::task::block_in_place(|| assert_one_line(&mut centinela(&["up", "--kafka", &broker.bootstrap()]), 1, &named));
    broker.shutdown().await.unwrap();
}

#[test]
fn a_full_disk_is_one_line_and_the_device_stays_a_device() {
    let run = ["up", "--quiet", "--rate", "50", "--for", "1s"];
    for flag in ["--summary", "--logs", "--endpoints"] {
        let arguments: Vec<&str> = run.iter().copied().chain([flag, "/dev/full"]).collect();
        let output = centinela(&arguments).output().unwrap();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{flag}: {output:?}");
        let lines = lines(&output);
        assert!(matches!(&lines[..], [line] if line.contains("/dev/full") && line.contains("No space")), "{lines:?}");
    }
    assert!(std::fs::symlink_metadata("/dev/full").unwrap().file_type().is_char_device());
}

/// Runs `up` with these servers and returns its report.
fn report(bootstrap: &str, database: &str, more: &[&str]) -> Value {
    let mut command = centinela(&["up", "--quiet", "--rate", "100", "--for", "3s", "--kafka", bootstrap]);
    let (output, report) = reported(command.args(["--dynamodb", database]).args(more));
    assert_eq!(output.status.code(), Some(0), "{:?}", lines(&output));
    report.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_covers_its_own_run_on_servers_that_remember_the_last_one() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let database = DynamoDb::start(DynamoConfig::default()).await.unwrap();
    let (bootstrap, url) = (broker.bootstrap(), database.url());
    tokio::task::block_in_place(|| {
        let first = report(&bootstrap, &url, &[]);
        // Records that nobody has decided yet, as a run leaves them that was killed.
        let sent = centinela(&["send", "--kafka", &bootstrap, "--count", "40", "--seed", "99", "--quiet"]).output();
        assert!(sent.unwrap().status.success());
        let second = report(&bootstrap, &url, &["--key", "user_id"]);
        for report in [&first, &second] {
            let count = |field: &str| report["records"][field].as_u64().unwrap();
            assert!((250..=310).contains(&count("sent")), "{report}");
            assert_eq!(count("decided"), count("unique"), "{report}");
            assert!(report["dynamodb"]["write_units_per_tx"].as_f64().unwrap() > 0.5, "{report}");
        }
    });
    broker.shutdown().await.unwrap();
    database.shutdown().await.unwrap();
}

#[test]
fn emulated_latency_shows_in_the_stages() {
    let command = &mut centinela(&["up", "--quiet", "--rate", "50", "--for", "2s", "--latency", "20ms,40ms"]);
    let (output, report) = reported(command);
    assert_eq!(output.status.code(), Some(0), "{:?}", lines(&output));
    let report = report.unwrap();
    // Each of these stages is one call at least.
    for stage in ["read", "commit"] {
        assert!(report["stages_ms"][stage]["p50"].as_f64().unwrap() > 15.0, "{stage} in {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_kafka_does_not_take_make_a_report_incomplete_with_their_number_and_reason() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let database = DynamoDb::start(DynamoConfig::default()).await.unwrap();
    let (bootstrap, url) = (broker.bootstrap(), database.url());
    tokio::task::block_in_place(|| report(&bootstrap, &url, &[]));
    assert!(broker.set_refusing("transactions", true));
    let mut up = centinela(&[
        "up",
        "--rate",
        "20",
        "--for",
        "1s",
        "--actions",
        "0",
        "--labels",
        "0",
        "--kafka",
        &bootstrap,
        "--dynamodb",
        &url,
    ]);
    let mut send =
        centinela(&["send", "--quiet", "--count", "20", "--actions", "0", "--labels", "0", "--kafka", &bootstrap]);
    let ((run, report), sent) = tokio::task::block_in_place(|| {
        let sending = std::thread::spawn(move || send.output().unwrap());
        (reported(&mut up), sending.join().unwrap())
    });
    let why = "20 of 20 records could not be sent: ";
    let results = String::from_utf8_lossy(&run.stdout);
    assert!(results.contains(&format!("INCOMPLETE  {why}")) && !results.contains("  CLEAN"), "{results}");
    let report = report.unwrap();
    assert_eq!(report["clean"], false, "{report}");
    assert!(report["incomplete"].as_str().unwrap().starts_with(why), "{report}");
    assert_eq!([&report["producer"]["failed"], &report["records"]["lost"]], [20, 0], "{report}");
    for output in [run, sent] {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(lines(&output).last().is_some_and(|line| line.contains(why)), "{output:?}");
    }
    broker.shutdown().await.unwrap();
    database.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_on_one_kafka_is_told_who_uses_the_group_until_that_one_has_ended() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let database = DynamoDb::start(DynamoConfig::default()).await.unwrap();
    let (bootstrap, url) = (broker.bootstrap(), database.url());
    let mut first = Running::start_as(|_| {
        let mut first = centinela(&["up", "--quiet", "--rate", "50", "--kafka", &bootstrap, "--dynamodb", &url]);
        first.stderr(Stdio::null());
        first
    });
    let holder = format!("centinela-up-{}@", first.process.0.id());
    tokio::task::block_in_place(|| {
        assert_one_line(
            &mut centinela(&["up", "--kafka", &bootstrap, "--for", "1s"]),
            2,
            &["consumer group", &bootstrap, &holder],
        );
        first.process.signal(Signal::SIGINT);
        assert_eq!(first.process.0.wait().unwrap().code(), Some(0), "the first report is clean");
        // It left the group when it ended, so nothing has to be waited for.
        report(&bootstrap, &url, &[]);
    });
    broker.shutdown().await.unwrap();
    database.shutdown().await.unwrap();
}

fn records(broker: &Broker, topic: &str) -> i64 {
    broker.extents(topic).iter().map(|extent| extent.next).sum()
}

/// Waits until a topic has this many records.
async fn reach(broker: &Broker, topic: &str, wanted: i64) {
    let until = Instant::now() + PATIENCE;
    while records(broker, topic) < wanted {
        assert!(Instant::now() < until, "topic {topic} never has {wanted} records");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A run on servers of its own: once it has decided something, `strike` happens, and then it is asked to end. Returns its report, which
/// there must be.
async fn report_after<Left>(strike: impl AsyncFnOnce(Broker, DynamoDb) -> Left) -> Value {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let database = DynamoDb::start(DynamoConfig::default()).await.unwrap();
    let (bootstrap, url) = (broker.bootstrap(), database.url());
    let directory = TempDir::new().unwrap();
    let summary = directory.path().join("report.json");
    let mut run =
        centinela(&["up", "--rate", "50", "--kafka", &bootstrap, "--dynamodb", &url, "--drain-timeout", "10s"]);
    let said = directory.path().join("said");
    let stderr = std::fs::File::create(&said).unwrap();
    let shown = directory.path().join("shown");
    run.stdout(std::fs::File::create(&shown).unwrap());
    let mut run = Process::spawn(run.arg("--summary").arg(&summary).stderr(stderr));
    reach(&broker, "approved", 20).await;
    let left = strike(broker, database).await;
    run.signal(Signal::SIGINT);
    let code = tokio::task::block_in_place(|| run.0.wait().unwrap().code());
    drop(left);
    assert_eq!(code, Some(1));
    let said = std::fs::read_to_string(&said).unwrap();
    let report = std::fs::read(&summary).unwrap_or_else(|error| panic!("no report, {error}: {said}"));
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["clean"], false, "{report}");
    assert!(report["records"]["decided"].as_u64().unwrap() > 0, "{report}");
    let shown = std::fs::read_to_string(&shown).unwrap();
    assert!(shown.contains("tables and lake were not compared") && !shown.contains("as they should be"), "{shown}");
    for unknown in ["lost", "doubled", "invented", "users_differing"] {
        assert_eq!(report["records"][unknown], 0, "{unknown} in {report}");
    }
    report
}

#[track_caller]
fn assert_incomplete(report: &Value, named: &[&str]) {
    let why = report["incomplete"].as_str().unwrap_or_default();
    for name in named {
        assert!(why.contains(name), "{name} is missing in {why:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_that_goes_away_for_good_leaves_a_report_of_what_is_known() {
    let mut bootstrap = String::new();
    let report = report_after(async |broker, database| {
        bootstrap = broker.bootstrap();
        broker.shutdown().await.unwrap();
        database
    });
    let report = report.await;
    assert_incomplete(&report, &[&format!("kafka at {bootstrap} does not say where the topics end")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_for_good_leaves_a_report_of_what_is_known() {
    let report = report_after(async |broker, database| {
        database.shutdown().await.unwrap();
        // Some that nobody can decide any more.
        let sent = records(&broker, "transactions");
        reach(&broker, "transactions", sent + 20).await;
        broker
    });
    let report = report.await;
    assert_incomplete(
        &report,
        &["records wait for", "score-transactions", "and do not move", "dynamodb at http://127.0.0.1:"],
    );
    assert!(report["records"]["undecided"].as_u64().unwrap() > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_under_a_run_is_named_in_its_report() {
    for topic in ["transactions", "approved"] {
        let report = report_after(async |broker, database| {
            let admin: AdminClient<_> =
                ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap();
            admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
            (broker, database)
        });
        let report = report.await;
        assert_incomplete(&report, &[&format!("`{topic}`")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_of_somebody_else_in_the_users_table_does_not_spoil_the_report() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let database = DynamoDb::start(DynamoConfig::default()).await.unwrap();
    let (bootstrap, url) = (broker.bootstrap(), database.url());
    tokio::task::block_in_place(|| {
        report(&bootstrap, &url, &[]);
        let item = r#"{"TableName":"user_state","Item":{"pk":{"S":"jane"},"note":{"S":"hello"}}}"#;
        let address = url.strip_prefix("http://").unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {address}\r\nx-amz-target: DynamoDB_20120810.PutItem\r\nconnection: close\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=centinela/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, \
             Signature=0\r\nx-amz-date: 20260101T000000Z\r\n\
             content-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{item}",
            item.len()
        );
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let answered = std::io::read_to_string(stream).unwrap();
        assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
        report(&bootstrap, &url, &["--seed", "2"]);
    });
    broker.shutdown().await.unwrap();
    database.shutdown().await.unwrap();
}
