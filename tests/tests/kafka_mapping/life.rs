//! How a mapping starts, stops, grows and catches up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use centinela_e2e::fixture::offsets_of;
use centinela_local::mapping::{KafkaMapping, KafkaMappingSpec, MappingError, StartingPosition};
use rdkafka::producer::{FutureRecord, Producer};

use crate::world::{FAILURES, GROUP, PATIENCE, TOPIC, World, spec};

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
            let (down, unregistered) = (Duration::from_millis(300), Duration::from_millis(300));
            world.broker.restart_unregistered(down, unregistered).await.expect("restarted");
        }
    }
    mapping.drain(PATIENCE).await.expect("drained");
    for partition in ["orders-0", "orders-1"] {
        assert_eq!(offsets_of(&world.fixture.handled(), partition), (0..15).collect::<Vec<_>>());
    }
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
