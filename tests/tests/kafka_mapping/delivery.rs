//! What is delivered, and what comes again after a failure.

use std::time::{Duration, Instant};

use centinela_e2e::fixture::offsets_of;
use centinela_local::mapping::{KafkaMappingSpec, PartialReading};
use rdkafka::producer::FutureRecord;
use serde_json::json;

use crate::world::{FAILURES, PATIENCE, TOPIC, World, distinct, spec};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_does_not_wait_for_the_window_and_gathers_what_is_there() {
    let world = World::start(3).await;
    let mapping = world.map(KafkaMappingSpec { window: Duration::from_secs(300), ..spec() }).await;
    for round in 1..=2 {
        for partition in 0..3 {
            world.send_all(partition, &["ok"; 5]).await;
        }
        mapping.drain(PATIENCE).await.expect("drained");
        assert_eq!(world.fixture.deliveries().len(), round, "one batch for each drain");
    }
    assert_eq!(distinct(&world.fixture.handled()).len(), 30);
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_read_no_further_until_it_is_delivered_does_not_wait_for_the_window() {
    let world = World::start(32).await;
    let mapping = world.map(KafkaMappingSpec { window: Duration::from_secs(300), batch_size: 10_000, ..spec() }).await;
    // Less than a payload takes, and more than the partition's share of what the mapping keeps in memory.
    let large = format!("ok:{}", "x".repeat(64 * 1024));
    world.send_all(7, &vec![large.as_str(); 40]).await;
    let deadline = Instant::now() + PATIENCE;
    while world.fixture.handled().is_empty() {
        assert!(Instant::now() < deadline, "it waits for the window");
        tokio::task::yield_now().await;
    }
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!(offsets_of(&world.fixture.handled(), &format!("{TOPIC}-7")), (0..40).collect::<Vec<_>>());
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_two_batches_lies_the_pace_unless_one_is_small_or_full_or_somebody_waits() {
    let world = World::start(2).await;
    world.send_all(0, &["ok"; 5]).await;
    let (pace, window) = (Duration::from_secs(3_600), Duration::from_millis(500));
    let mapping = world.map(KafkaMappingSpec { pace, window, batch_size: 20, ..spec() }).await;
    let until_handled = async |records: usize| {
        let deadline = Instant::now() + PATIENCE;
        while world.fixture.handled().len() < records {
            assert!(Instant::now() < deadline, "{} of {records} records", world.fixture.handled().len());
            tokio::task::yield_now().await;
        }
    };
    until_handled(5).await;
    for partition in 0..2 {
        world.send_all(partition, &["ok"; 10]).await;
    }
    until_handled(25).await;
    for few in [5, 1] {
        world.send_all(0, &vec!["ok"; few]).await;
        mapping.drain(PATIENCE).await.expect("drained");
    }
    world.send_all(0, &["ok"; 3]).await;
    until_handled(34).await;
    let sizes: Vec<usize> = world.fixture.deliveries().iter().map(Vec::len).collect();
    // The second was full, for the third and the fourth somebody waited, and the fourth was small.
    assert_eq!(sizes, [5, 20, 5, 1, 3]);
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
