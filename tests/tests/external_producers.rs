//! The real command with producers of one's own, who do what the command's own producer never does.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use centinela_e2e::fixture::{Fixture, offsets_of};
use centinela_e2e::real_servers::RealServers;
use centinela_e2e::running::Running;
use centinela_local::kafka::{TopicSpec, create_topics};
use centinela_local::mapping::{KafkaMapping, KafkaMappingSpec, MappingFaultSource, Skipped};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

const TOPIC: &str = "transactions";
const PATIENCE: Duration = Duration::from_secs(60);
/// One set of servers and one consumer group for all tests: they take turns.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn producer(bootstrap: &str, more: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("enable.idempotence", "true").set("linger.ms", "1");
    for (name, value) in more {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

/// A transaction of one of 20 users; `run` and `number` make its id.
fn transaction(run: &str, number: usize) -> String {
    let user = format!("{run}-user-{}", number % 20);
    json!({
        "version": 1, "transaction_id": format!("{run}-{number}"), "timestamp": 1_700_000_000_000_u64 + number as u64,
        "user_id": user, "amount": "12.50", "currency": "EUR", "device_type": "mobile", "device_id": format!("{run}-device"),
        "ip": "203.0.113.7", "user_agent": "a shop",
    })
    .to_string()
}

fn send(producer: &BaseProducer, run: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let (key, value) = (format!("{run}-{number}"), transaction(run, number));
        producer.send(BaseRecord::to(TOPIC).key(&key).payload(&value)).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

#[track_caller]
fn assert_clean(report: &Value) {
    for field in ["lost", "lost_by_retention", "doubled", "invented", "users_differing"] {
        assert_eq!(report["records"][field].as_u64(), Some(0), "{field} in {report}");
    }
    assert_eq!(report["clean"], true, "{report}");
}

#[test]
fn markers_of_transactions_and_aborted_records_hold_up_neither_the_end_nor_the_next_start() {
    let _alone = ALONE.blocking_lock();
    let Some(servers) = RealServers::shared() else { return };
    let running = Running::start_with(&["--kafka", servers.kafka()]);
    let transactional = producer(servers.kafka(), &[("transactional.id", "a-shop")]);
    transactional.init_transactions(PATIENCE).unwrap();
    for (index, commits) in [true, false, true, false].into_iter().enumerate() {
        transactional.begin_transaction().unwrap();
        send(&transactional, "in-transactions", index * 20..(index + 1) * 20);
        if commits {
            transactional.commit_transaction(PATIENCE).unwrap();
        } else {
            transactional.abort_transaction(PATIENCE).unwrap();
        }
    }
    let (status, report) = running.end();
    assert_eq!(report["records"]["decided"], 40, "{report}");
    assert_clean(&report);
    assert!(status.success());

    let (status, report) = Running::start_with(&["--kafka", servers.kafka()]).end();
    assert_eq!(report["records"]["sent"], 0, "{report}");
    assert_clean(&report);
    assert!(status.success());
}

#[test]
fn what_waited_on_a_kafka_is_decided_first_and_does_not_count_whosever_the_database_is() {
    let _alone = ALONE.blocking_lock();
    let Some(servers) = RealServers::shared() else { return };
    for (run, more) in [("embedded", vec![]), ("external", vec!["--dynamodb", servers.dynamodb()])] {
        // The topics are made by the first run, if no test did before.
        let arguments = [vec!["--kafka", servers.kafka()], more].concat();
        assert!(Running::start_with(&arguments).end().0.success());
        let shop = producer(servers.kafka(), &[]);
        send(&shop, &format!("waiting-{run}"), 0..50);
        let running = Running::start_with(&arguments);
        send(&shop, &format!("waiting-{run}"), 50..80);
        let (status, report) = running.end();
        assert_eq!(report["records"]["sent"], 30, "{run}: {report}");
        assert_eq!(report["records"]["decided"], 30, "{run}: {report}");
        assert_clean(&report);
        assert!(status.success());
    }
}

#[test]
fn what_retention_took_before_a_run_is_not_in_its_report() {
    let _alone = ALONE.blocking_lock();
    let Some(servers) = RealServers::shared() else { return };
    let arguments = ["--kafka", servers.kafka()];
    assert!(Running::start_with(&arguments).end().0.success());
    // Nobody decides these, and retention takes most of them.
    let shop = producer(servers.kafka(), &[]);
    let before = end_of(servers.kafka(), 0);
    for number in 0..30 {
        let value = transaction("expired", number);
        let record = BaseRecord::<(), String>::to(TOPIC).partition(0).payload(&value);
        shop.send(record).map_err(|(error, _)| error).unwrap();
    }
    shop.flush(PATIENCE).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(delete_to(servers.kafka(), TOPIC, before + 25));
    let running = Running::start_with(&arguments);
    send(&shop, "after-retention", 0..40);
    let (status, report) = running.end();
    assert_eq!(report["records"]["sent"], 40, "{report}");
    assert_eq!(report["records"]["decided"], 40, "{report}");
    assert_clean(&report);
    assert!(status.success());
}

#[test]
fn what_a_producer_sends_after_ctrl_c_is_left_out_of_the_report() {
    let running = Running::start();
    let bootstrap = running.endpoint("kafka");
    let ended = AtomicBool::new(false);
    let (status, report, sent) = std::thread::scope(|scope| {
        let (sent, wait) = std::sync::mpsc::channel();
        let sender = scope.spawn({
            let ended = &ended;
            move || {
                let shop = producer(&bootstrap, &[("message.timeout.ms", "2000")]);
                let mut number = 0;
                while !ended.load(Ordering::SeqCst) {
                    let (key, value) = (number.to_string(), transaction("going-on", number));
                    // The broker goes away in the end.
                    if shop.send(BaseRecord::to(TOPIC).key(&key).payload(&value)).is_ok() {
                        number += 1;
                    }
                    shop.poll(Duration::from_millis(1));
                    // Events that wait count too, so there may be more of them than records.
                    let waiting = usize::try_from(shop.in_flight_count()).unwrap();
                    if number.saturating_sub(waiting) >= 500 {
                        sent.send(()).unwrap_or_default();
                    }
                }
                number as u64
            }
        });
        wait.recv_timeout(PATIENCE).unwrap();
        let (status, report) = running.end();
        ended.store(true, Ordering::SeqCst);
        (status, report, sender.join().unwrap())
    });
    assert_clean(&report);
    let decided = report["records"]["decided"].as_u64().unwrap();
    assert!(decided > 0 && report["records"]["sent"].as_u64() == Some(decided), "{report}");
    assert!(report["cut"]["later"].as_u64() > Some(0) && decided < sent, "nothing came after the cut: {report}");
    assert!(status.success());
}

#[test]
fn a_record_with_too_many_headers_is_dead_lettered_and_not_lost() {
    let running = Running::start();
    let shop = producer(&running.endpoint("kafka"), &[]);
    let mut headers = OwnedHeaders::new();
    for number in 0..1_025 {
        headers = headers.insert(Header { key: &number.to_string(), value: Some("x") });
    }
    let value = transaction("headers", 0);
    let record = BaseRecord::to(TOPIC).key("0").payload(&value).headers(headers);
    shop.send(record).map_err(|(error, _)| error).unwrap();
    send(&shop, "headers", 1..20);
    let (status, report) = running.end();
    assert_eq!(report["records"]["parked"], 1, "{report}");
    assert_eq!(report["records"]["decided"], 19, "{report}");
    assert_clean(&report);
    assert!(status.success());
}

/// Lets nothing be delivered until it is told to.
#[derive(Default)]
struct Held(AtomicBool);

impl MappingFaultSource for Held {
    fn holds_back(&self, _partition: i32) -> bool {
        !self.0.load(Ordering::SeqCst)
    }
}

/// Deletes the records of partition 0 below an offset, as retention would.
async fn delete_to(bootstrap: &str, topic: &str, offset: i64) {
    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let mut below = TopicPartitionList::new();
    below.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    let deleted = admin.delete_records(&below, &AdminOptions::new()).await.unwrap();
    deleted.elements()[0].error().unwrap();
}

fn end_of(bootstrap: &str, partition: i32) -> i64 {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    consumer.fetch_watermarks(TOPIC, partition, PATIENCE).unwrap().1
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_deletes_unread_is_counted_and_the_partition_goes_on() {
    const ORDERS: &str = "orders-with-retention";
    const RECORDS: i64 = 300;
    const DELETED_TO: i64 = 295;
    let _alone = ALONE.lock().await;
    let Some(servers) = RealServers::shared() else { return };
    // The share of one partition in ten is full after 6 MB; the client has 16 MB more.
    let topic = TopicSpec { name: ORDERS.to_owned(), partitions: 10, config: BTreeMap::new() };
    create_topics(servers.kafka(), &[topic]).await.unwrap();
    let fixture = Fixture::start(PATIENCE, 1).await;
    let spec = KafkaMappingSpec::new("fixture", ORDERS, "orders-with-retention");
    let settings = BTreeMap::new();
    let start = || KafkaMapping::start(spec.clone(), servers.kafka(), &settings, Arc::clone(&fixture.host));
    let mapping = start().await.unwrap();
    let held = Arc::new(Held::default());
    mapping.set_faults(held.clone());
    let (shop, value) = (producer(servers.kafka(), &[]), "x".repeat(200_000));
    let send = |count: i64| {
        for _ in 0..count {
            let record = BaseRecord::<(), String>::to(ORDERS).partition(0).payload(&value);
            shop.send(record).map_err(|(error, _)| error).unwrap();
        }
        shop.flush(PATIENCE).unwrap();
    };
    send(RECORDS);
    // It reads no further now.
    until("enough is buffered", || mapping.stats().buffered_bytes > 6_400_000).await;
    delete_to(servers.kafka(), ORDERS, DELETED_TO).await;
    held.0.store(true, Ordering::SeqCst);
    mapping.drain(PATIENCE).await.unwrap();

    let handled = || offsets_of(&fixture.handled(), &format!("{ORDERS}-0"));
    let offsets = handled();
    let first_missing = (0..).zip(&offsets).find(|(expected, offset)| expected != *offset).unwrap().0;
    assert!(0 < first_missing && first_missing < DELETED_TO, "{offsets:?}");
    let expected: Vec<i64> = (0..first_missing).chain(DELETED_TO..RECORDS).collect();
    assert_eq!(offsets, expected);
    assert_eq!(mapping.skipped(), [Skipped { partition: 0, offsets: first_missing..DELETED_TO }]);
    assert_eq!(mapping.stats().lost_by_retention, u64::try_from(DELETED_TO - first_missing).unwrap());
    mapping.stop().await.unwrap();

    // While no mapping runs, retention may pass the group's committed offset as well.
    send(10);
    delete_to(servers.kafka(), ORDERS, RECORDS + 4).await;
    let again = start().await.unwrap();
    again.drain(PATIENCE).await.unwrap();
    assert_eq!(again.skipped(), [Skipped { partition: 0, offsets: RECORDS..RECORDS + 4 }]);
    assert_eq!(handled().split_off(expected.len()), (RECORDS + 4..RECORDS + 10).collect::<Vec<_>>());
    again.stop().await.unwrap();
    fixture.host.stop(Duration::from_secs(5)).await;
}
