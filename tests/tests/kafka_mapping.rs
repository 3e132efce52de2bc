//! The Kafka event-source mapping against the embedded broker, with real processes of a real function.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use centinela_e2e::fixture::{Entry, Fixture, offsets_of};
use centinela_local::broker::{Broker, BrokerConfig};
use centinela_local::kafka::{TopicSpec, create_topics};
use centinela_local::mapping::event::{Envelope, RawRecord, Record, TimestampType};
use centinela_local::mapping::faults::{DeliveryFault, DuplicateOutcome, EveryBatchAgain, MappingFaultSource};
use centinela_local::mapping::response::{Verdict, read};
use centinela_local::mapping::{KafkaMapping, KafkaMappingSpec, MappingError, PartialReading, StartingPosition};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use serde_json::{Value, json};

const TOPIC: &str = "orders";
const FAILURES: &str = "failed-orders";
const GROUP: &str = "score-orders";
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    broker: Broker,
    producer: FutureProducer,
    fixture: Fixture,
}

impl World {
    async fn start(partitions: usize) -> World {
        World::with_timeout(partitions, Duration::from_secs(30)).await
    }

    async fn with_timeout(partitions: usize, timeout: Duration) -> World {
        let broker = Broker::start(BrokerConfig::default()).await.expect("a broker");
        // Records of years ago are sent too.
        let config = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        let topic = |name: &str, partitions| TopicSpec { name: name.to_owned(), partitions, config: config.clone() };
        let topics = [topic(TOPIC, partitions), topic(FAILURES, 1)];
        create_topics(&broker.bootstrap(), &topics).await.expect("topics");
        let producer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap())
            .set("linger.ms", "0")
            .create()
            .expect("a producer");
        let fixture = Fixture::start(timeout, 4).await;
        World { broker, producer, fixture }
    }

    async fn map(&self, spec: KafkaMappingSpec) -> Arc<KafkaMapping> {
        let bootstrap = self.broker.bootstrap();
        KafkaMapping::start(spec, &bootstrap, &BTreeMap::new(), Arc::clone(&self.fixture.host))
            .await
            .expect("the mapping starts")
    }

    async fn send(&self, partition: i32, value: &str) -> i64 {
        let record = FutureRecord::to(TOPIC).partition(partition).key("a key").payload(value);
        self.producer.send(record, PATIENCE).await.expect("the broker takes it").offset
    }

    async fn send_all(&self, partition: i32, values: &[&str]) {
        for value in values {
            self.send(partition, value).await;
        }
    }

    /// Values of the failure topic's messages, and their keys.
    fn failures(&self, count: usize) -> Vec<(Option<Vec<u8>>, Value)> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.broker.bootstrap())
            .set("group.id", "reader")
            .create()
            .expect("a consumer");
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(FAILURES, 0, rdkafka::Offset::Beginning).expect("an offset");
        consumer.assign(&list).expect("an assignment");
        let deadline = Instant::now() + PATIENCE;
        let mut found = Vec::new();
        while found.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} failure records", found.len());
            let Some(message) = consumer.poll(Duration::from_millis(100)) else {
                continue;
            };
            let message: BorrowedMessage<'_> = message.expect("a record");
            let value = serde_json::from_slice(message.payload().unwrap_or_default()).expect("JSON");
            found.push((message.key().map(<[u8]>::to_vec), value));
        }
        found
    }

    async fn finish(self, mapping: &KafkaMapping) {
        mapping.stop().await.expect("a clean stop");
        self.fixture.host.stop(Duration::from_secs(5)).await;
        assert!(self.fixture.host.environments().is_empty());
        self.broker.shutdown().await.expect("the broker ends");
    }
}

fn spec() -> KafkaMappingSpec {
    KafkaMappingSpec { report_batch_item_failures: true, ..KafkaMappingSpec::new("fixture", TOPIC, GROUP) }
}

fn distinct(entries: &[Entry]) -> BTreeSet<(String, i64)> {
    entries.iter().map(|entry| (entry.0.clone(), entry.1)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_handled_once_and_in_the_order_of_its_partition() {
    let world = World::start(4).await;
    let mapping = world.map(KafkaMappingSpec { batch_size: 50, ..spec() }).await;
    for round in 0..250 {
        for partition in 0..4 {
            let record = FutureRecord::<str, _>::to(TOPIC).partition(partition).payload("ok");
            let sent = world.producer.send_result(record);
            drop(sent.expect("room in the producer's queue"));
        }
        if round % 50 == 49 {
            mapping.drain(PATIENCE).await.expect("drained");
        }
    }
    rdkafka::producer::Producer::flush(&world.producer, PATIENCE).expect("flushed");
    mapping.drain(PATIENCE).await.expect("drained");
    let handled = world.fixture.handled();
    assert_eq!(handled.len(), 1_000);
    for partition in 0..4 {
        let offsets = offsets_of(&handled, &format!("{TOPIC}-{partition}"));
        assert_eq!(offsets, (0..250).collect::<Vec<_>>(), "partition {partition}");
    }
    let stats = mapping.stats();
    assert_eq!((stats.records, stats.lag, stats.in_flight, stats.retried_batches), (1_000, 0, 0, 0));
    assert!(stats.batch_size_max <= 50);
    assert_eq!(stats.batches, world.fixture.deliveries().len() as u64);
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_batch_mixes_the_partitions_of_the_topic() {
    let world = World::start(3).await;
    for partition in 0..3 {
        world.send_all(partition, &["ok"; 5]).await;
    }
    let mapping = world.map(KafkaMappingSpec { window: Duration::from_millis(500), ..spec() }).await;
    mapping.drain(PATIENCE).await.expect("drained");
    let deliveries = world.fixture.deliveries();
    assert_eq!(deliveries.len(), 1, "{deliveries:?}");
    assert_eq!(distinct(&deliveries[0]).len(), 15);
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_kills_the_environment_and_the_batch_comes_again() {
    let world = World::with_timeout(1, Duration::from_millis(700)).await;
    let mapping = world.map(spec()).await;
    world.send_all(0, &["ok", "sleep-once:60000", "ok"]).await;
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!(world.fixture.host.stats().timeouts, 1);
    assert!(mapping.stats().last_failure.expect("a reason").contains("timeout"));
    assert_eq!(distinct(&world.fixture.handled()).len(), 3);
    assert_eq!(mapping.stats().records, 3);
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_brings_the_batch_again() {
    let world = World::start(1).await;
    let mapping = world.map(spec()).await;
    world.send_all(0, &["ok", "crash-once", "ok"]).await;
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!(world.fixture.host.stats().crashes, 1);
    assert_eq!(offsets_of(&world.fixture.handled(), "orders-0"), [0, 1, 2]);
    world.finish(&mapping).await;
}

/// The invocation that was told to report offset 2 of offsets 0 to 4, and the one after it.
async fn deliveries_around_a_partial_failure(partial_reading: PartialReading) -> (Vec<i64>, Vec<i64>, usize) {
    let world = World::start(1).await;
    world.send_all(0, &["ok", "ok", "report-once", "ok", "ok"]).await;
    let mapping = world.map(KafkaMappingSpec { partial_reading, window: Duration::from_millis(300), ..spec() }).await;
    mapping.drain(PATIENCE).await.expect("drained");
    let deliveries = world.fixture.deliveries();
    let offsets: Vec<Vec<i64>> = deliveries.iter().map(|delivery| offsets_of(delivery, "orders-0")).collect();
    let records = mapping.stats().records;
    world.finish(&mapping).await;
    assert_eq!(offsets.len(), 2, "{offsets:?}");
    assert_eq!(records, 5);
    (offsets[0].clone(), offsets[1].clone(), offsets.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_failure_resumes_the_partition_at_the_named_offset() {
    let (first, second, _) = deliveries_around_a_partial_failure(PartialReading::ResumeAtFirst).await;
    assert_eq!((first, second), (vec![0, 1, 2, 3, 4], vec![2, 3, 4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_failure_may_bring_back_only_the_named_record() {
    let (first, second, _) = deliveries_around_a_partial_failure(PartialReading::RedeliverListed).await;
    assert_eq!((first, second), (vec![0, 1, 2, 3, 4], vec![2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn bisecting_isolates_a_poison_record_which_alone_reaches_the_failure_topic() {
    let world = World::start(2).await;
    world.send_all(0, &["ok", "ok", "fail-always", "ok", "ok", "ok"]).await;
    world.send_all(1, &["ok"; 6]).await;
    let mapping = world
        .map(KafkaMappingSpec {
            bisect_batch_on_function_error: true,
            maximum_retry_attempts: Some(1),
            on_failure_topic: Some(FAILURES.to_owned()),
            ..spec()
        })
        .await;
    mapping.drain(PATIENCE).await.expect("drained");
    let handled = distinct(&world.fixture.handled());
    assert_eq!(handled.len(), 11);
    assert!(!handled.contains(&("orders-0".to_owned(), 2)));
    let stats = mapping.stats();
    assert_eq!((stats.records, stats.to_failure_destination, stats.dropped), (11, 1, 0));
    assert!(stats.bisected >= 2, "{} splits", stats.bisected);
    let [(key, failed)] = &world.failures(1)[..] else { panic!("one failure record") };
    assert_eq!(key.as_deref(), Some(b"a key".as_slice()));
    assert_eq!(failed["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(failed["requestContext"]["approximateInvokeCount"], 2);
    assert_eq!(failed["KafkaBatchInfo"]["recordInfo"]["offset"], "2");
    let record = &failed["payload"]["records"]["orders-0"][0];
    assert_eq!((&record["offset"], &record["value"]), (&json!(2), &json!("ZmFpbC1hbHdheXM=")));
    assert_eq!(failed["payload"]["eventSource"], "aws:kafka");
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reported_record_that_never_works_is_given_up_without_its_neighbours() {
    let world = World::start(1).await;
    world.send_all(0, &["ok", "report-always", "ok", "ok"]).await;
    let mapping = world.map(KafkaMappingSpec { maximum_retry_attempts: Some(2), ..spec() }).await;
    mapping.drain(PATIENCE).await.expect("drained");
    let stats = mapping.stats();
    assert_eq!((stats.records, stats.dropped, stats.to_failure_destination), (3, 1, 0));
    let tries = world.fixture.deliveries().iter().flatten().filter(|entry| entry.1 == 1).count();
    assert_eq!(tries, 3, "one delivery and two retries");
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_cannot_be_read_or_names_a_stranger_brings_the_whole_batch_again() {
    for order in ["invalid-once", "unknown-once"] {
        let world = World::start(1).await;
        world.send_all(0, &["ok", order, "ok"]).await;
        let mapping = world.map(KafkaMappingSpec { window: Duration::from_millis(300), ..spec() }).await;
        mapping.drain(PATIENCE).await.expect("drained");
        let offsets: Vec<Vec<i64>> =
            world.fixture.deliveries().iter().map(|delivery| offsets_of(delivery, "orders-0")).collect();
        assert_eq!(offsets, [[0, 1, 2], [0, 1, 2]], "{order}");
        world.finish(&mapping).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_never_exceeds_six_megabytes() {
    let world = World::start(2).await;
    let large = "x".repeat(700_000);
    for partition in 0..2 {
        world.send_all(partition, &[large.as_str(); 8]).await;
    }
    let mapping = world.map(KafkaMappingSpec { window: Duration::from_secs(1), ..spec() }).await;
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!(mapping.stats().records, 16);
    let sizes: Vec<usize> = world.fixture.deliveries().iter().map(Vec::len).collect();
    assert!(sizes.iter().all(|size| *size <= 6), "0.93 MB each as base64: {sizes:?}");
    assert!(sizes.contains(&6), "the room is used: {sizes:?}");
    assert_eq!(mapping.stats().retried_batches, 0);
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_mapping_resumes_where_the_group_stopped() {
    let world = World::start(2).await;
    let mapping = world.map(spec()).await;
    world.send_all(0, &["ok"; 3]).await;
    world.send_all(1, &["ok"; 2]).await;
    mapping.drain(PATIENCE).await.expect("drained");
    mapping.stop().await.expect("a clean stop");
    drop(mapping);
    world.send_all(0, &["ok"; 2]).await;
    let starting_position = StartingPosition::Latest;
    let mapping = world.map(KafkaMappingSpec { starting_position, ..spec() }).await;
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!(offsets_of(&world.fixture.handled(), "orders-0"), [0, 1, 2, 3, 4], "committed offsets win over LATEST");
    assert_eq!(offsets_of(&world.fixture.handled(), "orders-1"), [0, 1]);
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_starts_where_it_is_told() {
    let world = World::start(1).await;
    world.send_all(0, &["ok"; 3]).await;
    let consumer_group = "late".to_owned();
    let starting_position = StartingPosition::Latest;
    let mapping = world.map(KafkaMappingSpec { consumer_group, starting_position, ..spec() }).await;
    world.send(0, "ok").await;
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!(offsets_of(&world.fixture.handled(), "orders-0"), [3]);
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_mapping_commits_nothing_that_is_still_failing() {
    let world = World::start(1).await;
    world.send_all(0, &["ok", "ok", "report-always", "ok"]).await;
    let mapping = world.map(spec()).await;
    let deadline = Instant::now() + PATIENCE;
    while mapping.stats().retried_batches < 2 {
        assert!(Instant::now() < deadline, "no retries");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let open = mapping.drain(Duration::from_millis(50)).await;
    assert!(matches!(open, Err(MappingError::NotDrained { records: 2, .. })), "{open:?}");
    mapping.stop().await.expect("a clean stop");
    drop(mapping);
    let before = world.fixture.deliveries().len();
    let mapping = world.map(KafkaMappingSpec { maximum_retry_attempts: Some(0), ..spec() }).await;
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!(offsets_of(&world.fixture.deliveries()[before], "orders-0"), [2, 3]);
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicating_delivers_every_batch_twice_and_counts_it_once() {
    let world = World::start(2).await;
    let mapping = world.map(spec()).await;
    mapping.set_faults(Arc::new(EveryBatchAgain));
    for partition in 0..2 {
        world.send_all(partition, &["ok"; 10]).await;
    }
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!((world.fixture.handled().len(), distinct(&world.fixture.handled()).len()), (40, 20));
    let stats = mapping.stats();
    assert_eq!((stats.records, stats.retried_batches), (20, 0));
    assert_eq!(stats.replayed_batches * 2, stats.batches);
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_mapping_delivers_nothing_and_goes_on_where_it_was() {
    let world = World::start(2).await;
    let mapping = world.map(spec()).await;
    world.send_all(0, &["ok"; 3]).await;
    mapping.drain(PATIENCE).await.expect("drained");
    mapping.disable().await.expect("disabled");
    world.send_all(0, &["ok"; 2]).await;
    world.send_all(1, &["ok"; 2]).await;
    let open = mapping.drain(Duration::from_millis(300)).await;
    assert!(matches!(open, Err(MappingError::NotDrained { records: 4, .. })), "{open:?}");
    mapping.disable().await.expect("disabling twice is fine");
    mapping.enable().await.expect("enabled");
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!(offsets_of(&world.fixture.handled(), "orders-0"), [0, 1, 2, 3, 4]);
    assert_eq!(offsets_of(&world.fixture.handled(), "orders-1"), [0, 1]);
    mapping.disable().await.expect("disabled");
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_join_a_running_mapping() {
    let world = World::start(1).await;
    let starting_position = StartingPosition::Latest;
    let mapping = world.map(KafkaMappingSpec { starting_position, ..spec() }).await;
    world.send(0, "ok").await;
    world.broker.add_partitions(TOPIC, 3);
    world.producer.client().fetch_metadata(Some(TOPIC), PATIENCE).expect("the producer learns of them");
    world.send_all(2, &["ok"; 3]).await;
    mapping.drain(PATIENCE).await.expect("drained, the new partitions included");
    assert_eq!(offsets_of(&world.fixture.handled(), "orders-2"), [0, 1, 2], "from their first record on");
    assert_eq!(mapping.stats().partitions, 3);
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_goes_on_after_its_broker_was_away() {
    let world = World::start(2).await;
    let mapping = world.map(spec()).await;
    for round in 0..3 {
        for partition in 0..2 {
            world.send_all(partition, &["ok"; 5]).await;
        }
        if round < 2 {
            world.broker.restart(Duration::from_millis(300)).await.expect("restarted");
        }
    }
    mapping.drain(PATIENCE).await.expect("drained");
    for partition in ["orders-0", "orders-1"] {
        assert_eq!(offsets_of(&world.fixture.handled(), partition), (0..15).collect::<Vec<_>>());
    }
    world.finish(&mapping).await;
}

/// One fault for every delivery, and what came of those that nobody read.
#[derive(Default)]
struct Always {
    fault: DeliveryFault,
    held_back: AtomicBool,
    duplicates: Mutex<Vec<DuplicateOutcome>>,
}

impl MappingFaultSource for Always {
    fn remembers(&self) -> bool {
        true
    }

    fn delivery(&self, _records: usize) -> DeliveryFault {
        self.fault
    }

    fn holds_back(&self, partition: i32) -> bool {
        partition == 0 && self.held_back.load(Ordering::SeqCst)
    }

    fn duplicate_delivery(&self, _fault: DeliveryFault, outcome: DuplicateOutcome) {
        self.duplicates.lock().expect("no panic").push(outcome);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_deliveries_come_beside_the_batches_and_commit_nothing() {
    for fault in [DeliveryFault::Twice, DeliveryFault::WithOldBatch { pick: 0 }, DeliveryFault::WithOverlap] {
        let world = World::start(2).await;
        let mapping = world.map(KafkaMappingSpec { batch_size: 4, ..spec() }).await;
        let always = Arc::new(Always { fault, ..Always::default() });
        mapping.set_faults(always.clone());
        for partition in 0..2 {
            world.send_all(partition, &["ok"; 12]).await;
        }
        mapping.drain(PATIENCE).await.expect("drained");
        mapping.disable().await.expect("every duplicate delivery has ended");
        let stats = mapping.stats();
        assert_eq!(stats.records, 24, "{fault:?}: a duplicate delivery's records count for nothing");
        assert!(stats.duplicate_deliveries > 0, "{fault:?}");
        let duplicates = always.duplicates.lock().expect("no panic").clone();
        assert_eq!(duplicates.len() as u64, stats.duplicate_deliveries);
        assert!(
            duplicates.iter().all(|one| matches!(one, DuplicateOutcome::Handled { records } if *records > 0)),
            "{duplicates:?}"
        );
        assert_eq!(distinct(&world.fixture.handled()).len(), 24);
        assert!(world.fixture.handled().len() > 24, "{fault:?} came again");
        world.finish(&mapping).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_batch_keeps_its_order() {
    let world = World::start(1).await;
    world.send_all(0, &["ok"; 9]).await;
    let mapping = world.map(KafkaMappingSpec { batch_size: 9, ..spec() }).await;
    mapping.set_faults(Arc::new(Always { fault: DeliveryFault::Split, ..Always::default() }));
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!(offsets_of(&world.fixture.handled(), "orders-0"), (0..9).collect::<Vec<_>>());
    assert!(world.fixture.deliveries().len() > 1);
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_held_back_does_not_hold_up_the_others() {
    let world = World::start(2).await;
    let mapping = world.map(spec()).await;
    let always = Arc::new(Always { held_back: AtomicBool::new(true), ..Always::default() });
    mapping.set_faults(always.clone());
    for partition in 0..2 {
        world.send_all(partition, &["ok"; 5]).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while offsets_of(&world.fixture.handled(), "orders-1").len() < 5 {
        assert!(Instant::now() < deadline, "the other partition goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(mapping.stats().lag, 5);
    always.held_back.store(false, Ordering::SeqCst);
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!(offsets_of(&world.fixture.handled(), "orders-0"), [0, 1, 2, 3, 4]);
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_too_old_are_given_up_instead_of_delivered() {
    let world = World::start(1).await;
    let old = FutureRecord::to(TOPIC).partition(0).key("a key").payload("ok").timestamp(1_700_000_000_000);
    world.producer.send(old, PATIENCE).await.expect("the broker takes it");
    world.send(0, "ok").await;
    let mapping = world
        .map(KafkaMappingSpec {
            maximum_record_age: Some(Duration::from_secs(3_600)),
            on_failure_topic: Some(FAILURES.to_owned()),
            ..spec()
        })
        .await;
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!(offsets_of(&world.fixture.handled(), "orders-0"), [1]);
    assert_eq!(world.failures(1)[0].1["requestContext"]["condition"], "RecordAgeExceeded");
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_function_loses_nothing() {
    let world = World::start(4).await;
    let mapping = world.map(KafkaMappingSpec { batch_size: 10, ..spec() }).await;
    for round in 0..40 {
        for partition in 0..4 {
            world.send(partition, "ok").await;
        }
        if round % 8 == 0 {
            world.fixture.host.kill_all();
        }
    }
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!(distinct(&world.fixture.handled()).len(), 160);
    assert_eq!(mapping.stats().records, 160);
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_that_cannot_work_is_refused_at_start() {
    let world = World::start(1).await;
    let refusal = async |spec: KafkaMappingSpec| {
        let started =
            KafkaMapping::start(spec, &world.broker.bootstrap(), &BTreeMap::new(), Arc::clone(&world.fixture.host))
                .await;
        started.err().expect("a refusal").to_string()
    };
    let topic = refusal(KafkaMappingSpec { topic: "absent".to_owned(), ..spec() }).await;
    assert!(topic.contains("`absent` does not exist"), "{topic}");
    let size = refusal(KafkaMappingSpec { batch_size: 10_001, ..spec() }).await;
    assert!(size.contains("batch size is 10001, but must be between 1 and 10000"), "{size}");
    let same = refusal(KafkaMappingSpec { on_failure_topic: Some(TOPIC.to_owned()), ..spec() }).await;
    assert!(same.contains("the failure destination is the same topic"), "{same}");
    world.fixture.host.stop(Duration::from_secs(1)).await;
    world.broker.shutdown().await.expect("the broker ends");
}

fn record(partition: i32, offset: i64) -> Record {
    Record::encode(&RawRecord {
        topic: TOPIC,
        partition,
        offset,
        timestamp_ms: 1_700_000_000_000,
        timestamp_type: TimestampType::CreateTime,
        key: None,
        value: Some(b"v"),
        headers: &[],
    })
}

#[test]
fn an_event_has_the_shape_that_msk_delivers() {
    let rich = Record::encode(&RawRecord {
        topic: TOPIC,
        partition: 11,
        offset: 7,
        timestamp_ms: 1_700_000_000_001,
        timestamp_type: TimestampType::LogAppendTime,
        key: Some(b"k"),
        value: None,
        headers: &[("a \"name\"", Some(&[0, 127, 128, 255])), ("empty", None)],
    });
    let envelope = Envelope::new(TOPIC, "127.0.0.1:9092,127.0.0.1:9093");
    let event: Value = serde_json::from_slice(&envelope.event(&[record(2, 5), record(2, 6), rich])).expect("JSON");
    let expected = json!({
        "eventSource": "aws:kafka",
        "eventSourceArn": centinela_local::mapping::event::CLUSTER_ARN,
        "bootstrapServers": "127.0.0.1:9092,127.0.0.1:9093",
        "records": {
            "orders-2": [
                { "topic": "orders", "partition": 2, "offset": 5, "timestamp": 1_700_000_000_000_i64,
                  "timestampType": "CREATE_TIME", "key": null, "value": "dg==", "headers": [] },
                { "topic": "orders", "partition": 2, "offset": 6, "timestamp": 1_700_000_000_000_i64,
                  "timestampType": "CREATE_TIME", "key": null, "value": "dg==", "headers": [] },
            ],
            "orders-11": [
                { "topic": "orders", "partition": 11, "offset": 7, "timestamp": 1_700_000_000_001_i64,
                  "timestampType": "LOG_APPEND_TIME", "key": "aw==", "value": null,
                  "headers": [{ "a \"name\"": [0, 127, -128, -1] }, { "empty": [] }] },
            ],
        },
    });
    assert_eq!(event, expected);
}

#[test]
fn a_response_means_what_aws_documents() {
    let records = [record(0, 5), record(0, 6), record(3, 1)];
    for success in ["", " null ", "{}", r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":null}"#] {
        assert_eq!(read(success.as_bytes(), TOPIC, &records), Verdict::AllHandled, "{success}");
    }
    let failure =
        |partition: &str, offset: i64| json!({ "itemIdentifier": { "partition": partition, "offset": offset } });
    let listed =
        json!({ "batchItemFailures": [failure("orders-3", 1), failure("orders-0", 6), failure("orders-3", 1)] });
    assert_eq!(read(listed.to_string().as_bytes(), TOPIC, &records), Verdict::SomeFailed(vec![1, 2]));
    let whole_batch = [
        json!({ "batchItemFailures": [{ "itemIdentifier": "orders-3" }] }),
        json!({ "batchItemFailures": [failure("orders-3", 2)] }),
        json!({ "batchItemFailures": [failure("others-3", 1)] }),
        json!({ "batchItemFailures": [failure("orders-3", 1), {}] }),
        json!({ "batchItemFailure": [] }),
        json!([]),
        json!("fine"),
    ];
    for response in whole_batch {
        let verdict = read(response.to_string().as_bytes(), TOPIC, &records);
        assert!(matches!(verdict, Verdict::AllFailed { .. }), "{response}: {verdict:?}");
    }
    assert!(matches!(read(b"{", TOPIC, &records), Verdict::AllFailed { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_grows_while_the_mapping_reads_nothing_has_its_true_lag() {
    let world = World::start(1).await;
    let mapping = world.map(KafkaMappingSpec::new("fixture", TOPIC, GROUP)).await;
    world.send(0, "sleep-once:60000").await;
    // More bytes than the mapping (64 MB) and its client (16 MB) take in together.
    let large = "x".repeat(900_000);
    for _ in 0..150 {
        world.send(0, &large).await;
    }
    assert_eq!(mapping.ends().await.expect("the broker answers"), [151]);
    assert_eq!(mapping.stats().lag, 151, "{:?}", mapping.stats());
}
