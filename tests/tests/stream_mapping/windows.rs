//! Tumbling windows: what belongs together, when a window ends, and what it remembers.

use std::time::Duration;

use centinela_local::mapping::stream::StreamMappingSpec;

use crate::world::{LONG_AGO_MS, Scripted, World, windowed};

const SHARD: &str = "shardId-0";

fn window(start: &str, early: bool, seen: &str) -> (String, String, bool, Option<String>) {
    (start.to_owned(), SHARD.to_owned(), early, Some(seen.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_ends_when_its_time_is_over_and_keeps_its_state_from_batch_to_batch() {
    let stream = Scripted::new(&[SHARD]);
    stream.put_at(SHARD, LONG_AGO_MS, &["a", "b", "c"]);
    stream.put_at(SHARD, LONG_AGO_MS + 9_999, &["d", "e"]);
    stream.put_at(SHARD, LONG_AGO_MS + 10_000, &["f"]);
    let world = World::start(stream, StreamMappingSpec { batch_size: 2, ..windowed() }).await;
    world.drain().await;
    let expected = [window("2020-09-13T12:26:40Z", false, "a b c d e"), window("2020-09-13T12:26:50Z", false, "f")];
    assert_eq!(world.fixture.windows(), expected);
    assert_eq!(world.mapping.stats().windows, 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_not_over_stays_open_until_the_end_of_a_run_is_asked_for() {
    let stream = Scripted::new(&[SHARD]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis();
    let in_an_hour = u64::try_from(now).expect("fits") + 3_600_000;
    stream.put_at(SHARD, in_an_hour, &["a"]);
    let world = World::start(stream, windowed()).await;
    while world.stream.handled(SHARD).is_none() {
        tokio::task::yield_now().await;
    }
    assert!(world.fixture.windows().is_empty());
    assert_eq!(world.mapping.stats().lag, 1, "an open window is not complete");
    world.drain().await;
    assert_eq!(world.fixture.windows().len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_open_while_its_mapping_is_disabled_goes_on_with_its_state() {
    let stream = Scripted::new(&[SHARD]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis();
    let in_an_hour = u64::try_from(now).expect("fits") + 3_600_000;
    stream.put_at(SHARD, in_an_hour, &["a"]);
    let world = World::start(stream, windowed()).await;
    while world.stream.handled(SHARD).is_none() {
        tokio::task::yield_now().await;
    }
    world.mapping.disable().await;
    world.stream.put_at(SHARD, in_an_hour, &["b", "c"]);
    world.mapping.enable();
    world.drain().await;
    let windows = world.fixture.windows();
    let seen: Vec<_> = windows.iter().map(|(_, _, early, seen)| (*early, seen.as_deref())).collect();
    assert_eq!(seen, [(false, Some("a b c"))]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_records_have_a_window_of_their_own_and_leave_the_newest_open() {
    let stream = Scripted::new(&[SHARD]);
    stream.put_at(SHARD, LONG_AGO_MS + 10_000, &["a"]);
    stream.put_at(SHARD, LONG_AGO_MS, &["late"]);
    stream.put_at(SHARD, LONG_AGO_MS + 10_001, &["b"]);
    let world = World::start(stream, windowed()).await;
    world.drain().await;
    let expected = [window("2020-09-13T12:26:40Z", false, "late"), window("2020-09-13T12:26:50Z", false, "a b")];
    assert_eq!(world.fixture.windows(), expected);
    assert_eq!(world.mapping.stats().late_windows, 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_above_a_megabyte_ends_its_window_early_and_the_window_goes_on_without_it() {
    let stream = Scripted::new(&[SHARD]);
    stream.put_at(SHARD, LONG_AGO_MS, &["a", "grow:1048600"]);
    stream.put_at(SHARD, LONG_AGO_MS + 1, &["b"]);
    let world = World::start(stream, StreamMappingSpec { batch_size: 2, ..windowed() }).await;
    world.drain().await;
    let start = "2020-09-13T12:26:40Z";
    assert_eq!(world.fixture.windows(), [window(start, true, "a grow:1048600"), window(start, false, "b")]);
    let stats = world.mapping.stats();
    assert_eq!((stats.windows, stats.windows_ended_early), (2, 1));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_batch_comes_again_with_the_state_before_it() {
    let stream = Scripted::new(&[SHARD]);
    stream.put(SHARD, &["a", "fail-once", "report-once", "crash-once", "b"]);
    let world = World::start_with(stream, windowed(), &[("FIXTURE_END", "fail-once")]).await;
    world.drain().await;
    let windows = world.fixture.windows();
    let all = window("2020-09-13T12:26:40Z", false, "a fail-once report-once crash-once b");
    // The first end failed after it was noted.
    assert_eq!(windows, [all.clone(), all]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_windows_of_a_shard_end_with_it() {
    let stream = Scripted::new(&[SHARD]);
    stream.put(SHARD, &["a"]);
    stream.reshape(&[SHARD], &["shardId-1", "shardId-2"]);
    stream.put("shardId-1", &["b"]);
    let world = World::start(stream, StreamMappingSpec { window: Duration::from_secs(300), ..windowed() }).await;
    world.drain().await;
    let of_shards: Vec<_> = world.fixture.windows().into_iter().map(|(_, shard, _, seen)| (shard, seen)).collect();
    let seen = |text: &str| Some(text.to_owned());
    assert_eq!(of_shards, [(SHARD.to_owned(), seen("a")), ("shardId-1".to_owned(), seen("b"))]);
    world.finish().await;
}
