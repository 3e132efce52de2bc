//! The whole system on Apache Kafka and DynamoDB Local, with a restart of the broker in the middle.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use centinela_e2e::built;
use centinela_e2e::command::{centinela, reported};
use centinela_e2e::fixture::{Fixture, offsets_of};
use centinela_e2e::real_servers::RealServers;
use centinela_e2e::running::Running;
use centinela_local::kafka::{TopicSpec, create_topics};
use centinela_local::mapping::{KafkaMapping, KafkaMappingSpec};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use serde_json::Value;
use tokio::sync::Mutex;

const PATIENCE: Duration = Duration::from_secs(60);

/// Each test restarts the broker that both use.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn the_mapping_handles_every_record_in_order_when_the_broker_restarts() {
    const TOPIC: &str = "orders";
    const PARTITIONS: i32 = 3;
    let _alone = ALONE.lock().await;
    let Some(servers) = RealServers::shared() else { return };
    let topic = TopicSpec { name: TOPIC.to_owned(), partitions: 3, config: BTreeMap::new() };
    create_topics(servers.kafka(), &[topic]).await.unwrap();
    let fixture = Fixture::start(PATIENCE, 4).await;
    let host = &fixture.host;
    let spec = KafkaMappingSpec::new("fixture", TOPIC, "orders-on-kafka");
    let mapping = KafkaMapping::start(spec.clone(), servers.kafka(), &BTreeMap::new(), Arc::clone(host)).await.unwrap();
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", servers.kafka())
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "60000")
        .create()
        .unwrap();
    let send = |count: i64| {
        for number in 0..count * i64::from(PARTITIONS) {
            let record = FutureRecord::<(), str>::to(TOPIC).partition((number % 3) as i32).payload("ok");
            drop(producer.send_result(record).unwrap());
        }
    };
    send(100);
    let deadline = Instant::now() + PATIENCE;
    while mapping.stats().records < 100 {
        assert!(Instant::now() < deadline, "{:?}", mapping.stats());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // These wait in the producer or in the mapping while the broker is away.
    send(100);
    // Two restarts that overlap are one after the other: the second must not stop a Kafka that is only starting.
    let restart = || {
        let servers = Arc::clone(&servers);
        tokio::task::spawn_blocking(move || servers.restart_kafka())
    };
    tokio::try_join!(restart(), restart()).unwrap();
    send(100);
    producer.flush(PATIENCE).unwrap();
    mapping.drain(PATIENCE).await.unwrap();
    mapping.stop().await.unwrap();

    // What was handled is committed: a mapping that starts now finds nothing to do.
    let again = KafkaMapping::start(spec, servers.kafka(), &BTreeMap::new(), Arc::clone(host)).await.unwrap();
    again.drain(PATIENCE).await.unwrap();
    assert_eq!(again.stats().batches, 0, "{:?}", again.stats());
    again.stop().await.unwrap();
    host.stop(Duration::from_secs(5)).await;
    let handled = fixture.handled();
    for partition in 0..PARTITIONS {
        let offsets = offsets_of(&handled, &format!("{TOPIC}-{partition}"));
        assert_eq!(offsets, (0..300).collect::<Vec<_>>(), "partition {partition}");
    }
}

/// `centinela up` as it is now: cargo builds it when it is older than its sources.
fn up(arguments: &[&str]) -> Command {
    let _directory = built(&["centinela"]);
    let mut command = centinela(&["up", "--quiet"]);
    command.args(arguments);
    command
}

fn transactions_on(bootstrap: &str) -> i64 {
    const TOPIC: &str = "transactions";
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let metadata = consumer.fetch_metadata(Some(TOPIC), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions();
    partitions.iter().map(|partition| consumer.fetch_watermarks(TOPIC, partition.id(), PATIENCE).unwrap().1).sum()
}

#[test]
fn a_run_on_real_servers_loses_and_doubles_nothing_when_the_broker_restarts() {
    let _alone = ALONE.blocking_lock();
    let Some(servers) = RealServers::shared() else { return };
    let mut run = Running::start_as(|directory| {
        let mut command = up(&["--rate", "200", "--for", "20s"]);
        command.args(["--kafka", servers.kafka(), "--dynamodb", servers.dynamodb()]);
        command.stderr(std::fs::File::create(directory.join("said")).unwrap());
        command
    });
    let said = |run: &Running| std::fs::read_to_string(run.directory().join("said")).unwrap();
    // Far enough into the 20 s that there are transactions before and after.
    while transactions_on(servers.kafka()) < 1_000 {
        assert!(run.process.0.try_wait().unwrap().is_none(), "it ended before 1,000 transactions: {}", said(&run));
        std::thread::sleep(Duration::from_millis(50));
    }
    servers.restart_kafka();
    let code = run.process.0.wait().unwrap().code();

    let (report, said) = (run.report(), said(&run));
    let records = |field: &str| report["records"][field].as_u64();
    for field in ["lost", "doubled", "invented", "users_differing"] {
        assert_eq!(records(field), Some(0), "{field} in {report}; {said}");
    }
    assert_eq!(records("unique"), records("decided"), "{report}");
    assert!(records("decided") > Some(3_000), "{report}");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_second_run_is_told_who_uses_the_group_and_one_that_was_killed_is_forgotten() {
    let _alone = ALONE.blocking_lock();
    let Some(servers) = RealServers::shared() else { return };
    let up = |rest: &[&str]| {
        let mut command = up(rest);
        command.args(["--kafka", servers.kafka(), "--dynamodb", servers.dynamodb()]);
        command
    };
    let mut first = Running::start_as(|_| up(&["--rate", "50"])).process;
    let holder = format!("centinela-up-{}@", first.0.id());
    let second = || up(&["--rate", "20", "--for", "2s"]).output().unwrap();
    let assert_refused = |output: &Output| {
        let said = only_line(output);
        for word in [servers.kafka(), "consumer group", &holder, "from 127.0.0.1"] {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
    };
    let output = second();
    assert_eq!(output.status.code(), Some(2));
    assert_refused(&output);

    // Killed, it cannot leave the group; Kafka takes it out when its session is over.
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = second();
        match output.status.code() {
            Some(0) => break,
            Some(2) => assert_refused(&output),
            code => panic!("{code:?}: {}", String::from_utf8_lossy(&output.stderr)),
        }
        assert!(Instant::now() < deadline, "it is never forgotten");
    }
}

/// A run on the listener that wants TLS and a login, which ends within the patience.
fn log_in(servers: &RealServers, user: &str, password: &str, authority: Option<&Path>) -> (Output, Option<Value>) {
    let directory = tempfile::tempdir().unwrap();
    let password_file = directory.path().join("password");
    std::fs::write(&password_file, format!("{password}\n")).unwrap();
    let mut command = up(&["--rate", "100", "--for", "5s", "--kafka-tls", "--kafka-user", user]);
    command.args(["--kafka", servers.text("/kafka/tls/bootstrap")]).arg("--kafka-password-file").arg(&password_file);
    if let Some(authority) = authority {
        command.arg("--kafka-ca").arg(authority);
    }
    reported(&mut command)
}

/// The only line that it said.
fn only_line(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    said
}

#[test]
fn a_login_with_scram_over_tls_is_enough_for_a_clean_run() {
    let _alone = ALONE.blocking_lock();
    let Some(servers) = RealServers::shared() else { return };
    let (user, password) = ("centinela", servers.text("/kafka/tls/users/centinela"));
    let authority = Path::new(servers.text("/kafka/tls/ca_pem"));
    let (output, report) = log_in(&servers, user, password, Some(authority));
    let said = String::from_utf8_lossy(&output.stderr);
    let report = report.unwrap_or_default();
    assert_eq!(report["clean"], true, "{report}; {said}");
    assert!(report["records"]["decided"].as_u64() > Some(400), "{report}");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains(password), "the password is said");
}

#[test]
fn a_login_that_cannot_work_is_one_line_that_says_what_to_do() {
    let _alone = ALONE.blocking_lock();
    let Some(servers) = RealServers::shared() else { return };
    let authority = Path::new(servers.text("/kafka/tls/ca_pem"));
    let right = servers.text("/kafka/tls/users/centinela");
    let cases = [
        (
            "without rights",
            "nobody",
            servers.text("/kafka/tls/users/nobody"),
            Some(authority),
            ["`nobody`", "grant the right Describe"],
        ),
        ("wrong password", "centinela", "wrong", Some(authority), ["`centinela`", "invalid credentials"]),
        (
            "unknown authority",
            "centinela",
            right,
            None,
            ["certificate cannot be verified with the authorities of this system", "--kafka-ca"],
        ),
    ];
    for (case, user, password, authority, words) in cases {
        let (output, _) = log_in(&servers, user, password, authority);
        let said = only_line(&output);
        assert_eq!(output.status.code(), Some(1), "{case}: {said}");
        for word in words {
            assert!(said.contains(word), "{case}: no {word:?} in {said}");
        }
        assert!(!said.contains(password), "{case}: {said}");
        assert_eq!(
            said.contains(&format!("`{user}`")),
            case != "unknown authority",
            "{case}: the login was not asked yet: {said}"
        );
    }
}
