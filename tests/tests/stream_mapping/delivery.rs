//! Order, partial failures, halves, limits, shards that end.

use std::sync::Arc;
use std::time::Duration;

use centinela_local::mapping::faults::{AnswerFault, DeliveryFault};
use centinela_local::mapping::stream::{StreamMappingSpec, StreamStart};
use centinela_local::mapping::{MappingError, MappingFaultSource};
use serde_json::Value;

use crate::world::{LONG_AGO_MS, PATIENCE, Scripted, World, spec};

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_shard_come_in_order_and_a_reported_one_comes_again_with_what_is_behind_it() {
    let stream = Scripted::new(&["shardId-0", "shardId-1"]);
    stream.put("shardId-0", &["a", "report-once", "b", "crash-once", "c"]);
    stream.put("shardId-1", &["x", "fail-once", "y"]);
    let world = World::start(stream, spec()).await;
    world.drain().await;
    assert_eq!(world.stream.handled("shardId-0"), Some(5));
    // What a crash or a failure took with it is handled again; what was handled before a report is not.
    let first = world.handled("shardId-0");
    assert_eq!(first.iter().filter(|value| *value == "report-once").count(), 1, "{first:?}");
    for value in ["a", "b", "crash-once", "c"] {
        assert!(first.iter().any(|handled| handled == value), "{value}: {first:?}");
    }
    let second = world.handled("shardId-1");
    assert_eq!(second, ["x", "fail-once", "y"]);
    let stats = world.mapping.stats();
    assert_eq!((stats.records, stats.lag, stats.dropped), (8, 0, 0));
    assert!(stats.bisected > 0 && stats.retried_batches > 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_tried_too_often_goes_to_the_destination_with_what_is_behind_it_in_its_batch() {
    let stream = Scripted::new(&["shardId-0"]);
    stream.put("shardId-0", &["a", "fail-always", "b", "c", "report-always", "d"]);
    let spec = StreamMappingSpec {
        maximum_retry_attempts: Some(1),
        on_failure: Some("arn:aws:sqs:us-east-1:000000000000:given-up".to_owned()),
        ..spec()
    };
    let world = World::start(stream, spec).await;
    world.drain().await;
    let handled = world.handled("shardId-0");
    for value in ["a", "b", "c"] {
        assert!(handled.iter().any(|one| one == value), "{value} was handled: {handled:?}");
    }
    let given_up: Vec<Value> =
        world.mapping.given_up().iter().map(|report| serde_json::from_str(report).expect("JSON")).collect();
    let numbers: Vec<_> = given_up
        .iter()
        .map(|report| {
            report["KinesisBatchInfo"]["startSequenceNumber"].as_str().map(|text| text.trim_start_matches('0'))
        })
        .collect();
    assert_eq!(numbers[0], Some("2"));
    assert_eq!(given_up[0]["requestContext"]["condition"], "RetryAttemptsExhausted");
    // A batch that fails as a whole is halved until the record is alone; one that names a record begins there.
    assert_eq!(given_up[0]["KinesisBatchInfo"]["batchSize"], 1);
    assert_eq!((numbers.last(), numbers.len()), (Some(&Some("5")), 2));
    assert_eq!(given_up[1]["KinesisBatchInfo"]["batchSize"], 2);
    assert_eq!(world.mapping.stats().dropped, 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_not_delivered() {
    let stream = Scripted::new(&["shardId-0"]);
    stream.put_at("shardId-0", LONG_AGO_MS, &["old"]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis();
    stream.put_at("shardId-0", u64::try_from(now).expect("fits"), &["new"]);
    let spec = StreamMappingSpec { maximum_record_age: Some(Duration::from_secs(3_600)), ..spec() };
    let world = World::start(stream, spec).await;
    world.drain().await;
    assert_eq!(world.handled("shardId-0"), ["new"]);
    assert_eq!(world.mapping.stats().dropped, 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_begin_when_their_parents_were_read_to_the_end() {
    let stream = Scripted::new(&["shardId-0", "shardId-1"]);
    stream.put("shardId-0", &["a", "fail-once"]);
    stream.put("shardId-1", &["b"]);
    stream.reshape(&["shardId-0"], &["shardId-2", "shardId-3"]);
    stream.put("shardId-2", &["c"]);
    stream.reshape(&["shardId-1", "shardId-2"], &["shardId-4"]);
    stream.put("shardId-3", &["d"]);
    stream.put("shardId-4", &["e"]);
    let world = World::start(stream, spec()).await;
    world.drain().await;
    let handled: Vec<String> = world.fixture.handled().into_iter().map(|entry| entry.2).collect();
    let place = |value: &str| handled.iter().rposition(|handled| handled == value).expect("it was handled");
    assert!(place("fail-once") < place("c") && place("fail-once") < place("d"), "{handled:?}");
    assert!(place("c") < place("e") && place("b") < place("e"), "{handled:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_delivered_that_came_before_the_start_at_latest_or_after_a_cut() {
    let stream = Scripted::new(&["shardId-0"]);
    stream.put("shardId-0", &["before"]);
    let world = World::start(stream, StreamMappingSpec { start: StreamStart::Latest, ..spec() }).await;
    world.stream.put("shardId-0", &["within"]);
    world.drain().await;
    world.stream.put("shardId-0", &["after"]);
    world.drain_to_the_old_cut().await;
    assert_eq!(world.handled("shardId-0"), ["within"]);
    world.finish().await;
}

impl World {
    /// A second look finds the mapping where it was: what came after the first cut is taken by a later one only.
    async fn drain_to_the_old_cut(&self) {
        self.mapping.disable().await;
        self.mapping.enable();
        let nothing = centinela_local::mapping::stream::StreamCut::new();
        self.mapping.drain_to(&nothing, PATIENCE).await.expect("there is nothing to wait for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_mapping_invokes_nothing_and_goes_on_where_it_was() {
    let stream = Scripted::new(&["shardId-0"]);
    let world = World::start(stream, spec()).await;
    world.mapping.disable().await;
    world.stream.put("shardId-0", &["a", "b"]);
    let cut = world.mapping.cut().expect("the stream is there");
    let drained = world.mapping.drain_to(&cut, Duration::from_millis(300)).await;
    assert!(matches!(drained, Err(MappingError::NotDrained { records: 2, .. })), "{drained:?}");
    assert!(world.fixture.deliveries().is_empty());
    world.mapping.enable();
    world.drain().await;
    assert_eq!(world.handled("shardId-0"), ["a", "b"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_that_is_throttled_is_no_try_of_its_records() {
    let stream = Scripted::new(&["shardId-0"]);
    let given_up = Some("arn:aws:sqs:us-east-1:000000000000:given-up".to_owned());
    let spec = StreamMappingSpec { maximum_retry_attempts: Some(0), on_failure: given_up, ..spec() };
    let world = World::start(stream, spec).await;
    world.fixture.host.allow(0);
    world.stream.put("shardId-0", &["a", "b"]);
    let cut = world.mapping.cut().expect("the stream is there");
    let drained = world.mapping.drain_to(&cut, Duration::from_millis(300)).await;
    assert!(matches!(drained, Err(MappingError::NotDrained { records: 2, .. })), "{drained:?}");
    world.fixture.host.allow(usize::MAX);
    world.drain().await;
    assert_eq!(world.handled("shardId-0"), ["a", "b"]);
    assert_eq!((world.mapping.given_up().len(), world.mapping.stats().bisected), (0, 0));
    world.finish().await;
}

/// Everything goes wrong that can.
struct Worst;

impl MappingFaultSource for Worst {
    fn remembers(&self) -> bool {
        true
    }

    fn delivery(&self, records: usize) -> DeliveryFault {
        if records > 1 { DeliveryFault::Split } else { DeliveryFault::Twice }
    }

    fn answer(&self) -> AnswerFault {
        AnswerFault::DeliverAgain
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_fault_each_record_is_delivered_and_more_than_once() {
    let stream = Scripted::new(&["shardId-0"]);
    let world = World::start(stream, spec()).await;
    world.mapping.set_faults(Arc::new(Worst));
    world.stream.put("shardId-0", &["a", "b", "c", "d"]);
    world.drain().await;
    let handled = world.handled("shardId-0");
    for value in ["a", "b", "c", "d"] {
        assert!(handled.iter().filter(|one| *one == value).count() > 1, "{value}: {handled:?}");
    }
    assert_eq!(world.stream.handled("shardId-0"), Some(4));
    let stats = world.mapping.stats();
    assert_eq!(stats.records, 4);
    assert!(stats.replayed_batches > 0 && stats.duplicate_deliveries > 0);
    world.finish().await;
}
