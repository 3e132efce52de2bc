//! A log against what it promises, and against a list of records in memory.

use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use kafka_protocol::ResponseError;
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::batch::{Batch, headers};
use super::log::Log;
use super::retention::Retention;
use super::segment::Segment;
use super::topics::locked;
use super::waiting::Queued;

const UNBOUNDED: Retention =
    Retention { age_ms: None, bytes: None, segment_bytes: u64::MAX, segment_ms: i64::MAX, disk_bytes: u64::MAX };
const ALL: u64 = u64::MAX;
const DAY_MS: i64 = 24 * 3_600 * 1_000;
const RECORD_BYTES: usize = 100;

fn log(retention: Retention) -> Log {
    Log::new(std::env::temp_dir().into(), retention)
}

/// A batch of records whose times are one behind the other from `first_ms` on, as another codec writes it.
fn bytes(records: i32, first_ms: i64, (producer_id, sequence): (i64, i32)) -> Bytes {
    let record = |delta: i32| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id,
        producer_epoch: if producer_id < 0 { -1 } else { 0 },
        timestamp_type: TimestampType::Creation,
        offset: delta.into(),
        sequence: sequence + delta,
        timestamp: first_ms + i64::from(delta),
        key: None,
        value: Some(Bytes::from(vec![7; RECORD_BYTES])),
        headers: IndexMap::new(),
    };
    let records: Vec<Record> = (0..records).map(record).collect();
    let mut encoded = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut encoded, &records, &options).expect("a batch");
    encoded.freeze()
}

fn batch(records: i32, first_ms: i64) -> Batch {
    Batch::check(&bytes(records, first_ms, (-1, -1))).expect("sound")
}

fn append(log: &mut Log, records: i32, at_ms: i64) {
    log.append(batch(records, at_ms), false, at_ms).expect("appended");
}

/// Offset and time of every record from an offset on, as another codec reads them.
fn records(log: &Log, from: i64) -> Vec<(i64, i64)> {
    let mut read = log.read(from, ALL, true).expect("read");
    let sets = RecordBatchDecoder::decode_all(&mut read).expect("readable");
    let records = sets.into_iter().flat_map(|set| set.records).map(|record| (record.offset, record.timestamp));
    // A fetch gets whole batches, and clients skip what they did not ask for.
    records.skip_while(|(offset, _)| *offset < from).collect()
}

fn offsets(log: &Log, from: i64) -> Vec<i64> {
    records(log, from).into_iter().map(|(offset, _)| offset).collect()
}

/// A log of ten batches of three records, each batch in a segment of its own.
fn of_ten_segments(retention: Retention) -> Log {
    let mut log = log(Retention { segment_bytes: 1, ..retention });
    for at_ms in 0..10 {
        append(&mut log, 3, at_ms * 1_000);
    }
    assert_eq!(log.segments.len(), 10);
    log
}

#[test]
fn a_read_goes_on_from_segment_to_segment() {
    let log = of_ten_segments(UNBOUNDED);
    for from in 0..=30 {
        assert_eq!(offsets(&log, from), (from..30).collect::<Vec<_>>(), "from offset {from}");
    }
}

#[test]
fn a_read_stops_where_it_has_enough_and_takes_one_batch_at_least() {
    let log = of_ten_segments(UNBOUNDED);
    let one = batch(3, 0).size();
    let batches = |max_bytes, takes_one| headers(&log.read(1, max_bytes, takes_one).expect("read")).count();
    assert_eq!([batches(0, true), batches(0, false)], [1, 0]);
    assert_eq!([batches(one, false), batches(3 * one, false), batches(3 * one - 1, true)], [1, 3, 2]);
}

#[test]
fn a_fetch_is_woken_when_it_has_enough_and_by_no_other_partition() {
    let [one, two, other] = [(); 3].map(|()| Mutex::new(log(UNBOUNDED)));
    let put = |log: &Mutex<Log>| append(&mut locked(log), 1, 0);
    put(&one);
    let size = i32::try_from(batch(1, 0).size()).expect("small");
    let mut fetch = Queued::new(3 * size);
    assert!(fetch.at(&one, 0) && fetch.at(&two, 0), "there is one batch of three");
    [&other, &other, &two].into_iter().for_each(put);
    assert!(fetch.woken().now_or_never().is_none(), "there are two");
    put(&one);
    assert!(fetch.woken().now_or_never().is_some());
    drop(fetch);
    assert!([&one, &two].into_iter().all(|log| !locked(log).is_waited_for()));

    let mut fetch = Queued::new(4 * size);
    assert!(fetch.at(&one, 0));
    locked(&one).delete_before(1).expect("deleted");
    assert!(fetch.woken().now_or_never().is_some(), "its place may be gone");
    drop(fetch);
    assert!(!Queued::new(size).at(&two, 0), "it is there already");
    assert!(!Queued::new(size).at(&two, 9), "there is no such place");
}

#[test]
fn what_is_not_one_whole_batch_is_refused() {
    let sound = bytes(3, 0, (-1, -1));
    let changed = |at: usize, to: u8| {
        let mut bytes = sound.to_vec();
        bytes[at] = to;
        Batch::check(&bytes.into()).map(|_| ()).expect_err("refused")
    };
    let cut = |bytes: Bytes| Batch::check(&bytes).map(|_| ()).expect_err("refused");
    assert_eq!(cut(sound.slice(..sound.len() - 1)), ResponseError::InvalidRecord);
    assert_eq!(cut([&sound[..], &sound].concat().into()), ResponseError::InvalidRecord);
    assert_eq!(cut(Bytes::new()), ResponseError::InvalidRecord);
    assert_eq!(changed(16, 1), ResponseError::UnsupportedForMessageFormat);
    assert_eq!(changed(sound.len() - 1, 1), ResponseError::CorruptMessage);
    assert_eq!(changed(60, 4), ResponseError::CorruptMessage);
}

#[test]
fn a_batch_with_the_brokers_time_is_still_sound() {
    let mut log = log(UNBOUNDED);
    log.append(batch(3, 5), true, 1_000).expect("appended");
    log.append(batch(3, 5), true, 2_000).expect("appended");
    assert_eq!(offsets(&log, 2), [2, 3, 4, 5], "the other codec compares the checksum");
    assert_eq!(log.at_or_after(1_001).expect("read"), Some((3, 2_000)));
}

#[test]
fn a_segment_is_full_of_bytes_or_of_time() {
    let three = 3 * batch(1, 0).size();
    let mut log = log(Retention { segment_bytes: three, segment_ms: 60_000, ..UNBOUNDED });
    (0..7).for_each(|_| append(&mut log, 1, 0));
    assert_eq!(log.segments.iter().map(Segment::first).collect::<Vec<_>>(), [0, 3, 6]);
    append(&mut log, 1, 59_999);
    append(&mut log, 1, 60_000);
    assert_eq!(log.segments.iter().map(Segment::first).collect::<Vec<_>>(), [0, 3, 6, 8]);
}

#[test]
fn what_is_older_than_its_retention_goes_a_segment_at_a_time() {
    let mut log = of_ten_segments(Retention { age_ms: Some(5_000), ..UNBOUNDED });
    // The newest record of the segment at 2,000 ms has the time 2,002.
    log.retain(7_002);
    assert_eq!((log.start(), log.high_watermark()), (6, 30));
    log.retain(7_003);
    assert_eq!(log.start(), 9);
    assert_eq!(offsets(&log, 9), (9..30).collect::<Vec<_>>());
    log.retain(1_000_000);
    assert_eq!((log.start(), log.high_watermark(), log.bytes()), (30, 30, 0), "the last segment is no exception");
    append(&mut log, 1, 1_000_000);
    assert_eq!(offsets(&log, 30), [30]);
}

#[test]
fn what_is_beyond_its_bytes_goes_and_never_less_than_them_stays() {
    let size = batch(3, 0).size();
    let of_one_batch = Retention { segment_bytes: 1, ..UNBOUNDED };
    let mut log = of_ten_segments(Retention { bytes: Some(4 * size), ..of_one_batch });
    log.retain(0);
    assert_eq!((log.start(), log.bytes()), (18, 4 * size));
    log.set_retention(Retention { bytes: Some(4 * size - 1), ..of_one_batch });
    log.retain(0);
    assert_eq!(log.start(), 18, "three segments would be less than was asked for");
}

#[test]
fn room_on_the_disk_is_made_of_what_is_committed_only() {
    let size = batch(3, 0).size();
    let mut log = of_ten_segments(Retention { disk_bytes: 10 * size, ..UNBOUNDED });
    assert!(log.is_full_for(size));
    log.make_room(size, 2);
    assert!(log.is_full_for(size) && log.start() == 0, "the first segment holds offset 2, which is not committed");
    log.make_room(size, 30);
    assert_eq!((log.is_full_for(size), log.start()), (false, 3), "no more than is needed");
}

#[test]
fn an_empty_log_takes_what_is_larger_than_its_share() {
    let mut log = log(Retention { disk_bytes: 10, segment_bytes: 1, ..UNBOUNDED });
    assert!(!log.is_full_for(1_000));
    append(&mut log, 5, 0);
    assert_eq!(offsets(&log, 0).len(), 5);
}

#[test]
fn a_log_begins_where_a_request_to_delete_says() {
    let mut log = of_ten_segments(UNBOUNDED);
    assert_eq!(log.delete_before(7).expect("inside a batch"), 7);
    assert_eq!((log.segments.len(), log.has(6), offsets(&log, 6)), (8, false, vec![]));
    assert_eq!(offsets(&log, 7), (7..30).collect::<Vec<_>>());
    assert_eq!(log.delete_before(3).expect("nothing comes back"), 7);
    assert_eq!(log.delete_before(31), Err(ResponseError::OffsetOutOfRange));
    assert_eq!(log.delete_before(-1).expect("to the end"), 30);
    assert_eq!((log.bytes(), log.high_watermark()), (0, 30));
}

#[test]
fn a_time_is_found_among_what_is_left() {
    let mut log = of_ten_segments(UNBOUNDED);
    assert_eq!(log.at_or_after(1_001).expect("read"), Some((4, 1_001)));
    assert_eq!(log.at_or_after(1_003).expect("read"), Some((6, 2_000)));
    assert_eq!(log.at_or_after(9_003).expect("read"), None);
    log.delete_before(7).expect("deleted");
    assert_eq!(log.at_or_after(0).expect("read"), Some((7, 2_001)));
}

/// The offset of a producer's batch, new or repeated.
fn offer(log: &mut Log, records: i32, sequence: i32, now_ms: i64) -> Result<i64, ResponseError> {
    let batch = Batch::check(&bytes(records, 0, (5, sequence))).expect("sound");
    match log.repeated(&batch.header, now_ms)? {
        Some(offset) => Ok(offset),
        None => log.append(batch, false, now_ms),
    }
}

#[test]
fn a_producer_goes_on_after_its_records_went() {
    let mut log = log(Retention { age_ms: Some(1_000), ..UNBOUNDED });
    assert_eq!(offer(&mut log, 1, 0, 0).expect("new"), 0);
    log.retain(10_000);
    assert_eq!((log.start(), log.bytes()), (1, 0));
    assert_eq!(offer(&mut log, 1, 0, 10_000).expect("known"), 0, "a repetition is not written again");
    assert_eq!(offer(&mut log, 1, 1, 10_000).expect("next"), 1);
    assert!(offer(&mut log, 1, 3, 10_000).is_err(), "one is missing");
    log.retain(10_000 + DAY_MS);
    assert_eq!(offer(&mut log, 1, 3, 0).expect("forgotten after a day, so it may begin anywhere"), 2);
}

#[test]
fn a_batch_of_another_length_is_no_repetition() {
    let mut log = log(UNBOUNDED);
    assert_eq!(offer(&mut log, 3, 0, 0).expect("new"), 0);
    assert_eq!(offer(&mut log, 5, 0, 0), Err(ResponseError::OutOfOrderSequenceNumber), "two records would be lost");
    assert_eq!(offer(&mut log, 3, 0, 0).expect("known"), 0);
}

#[test]
fn records_without_a_time_are_as_old_as_their_segment() {
    let mut log = log(Retention { age_ms: Some(1_000), ..UNBOUNDED });
    let timeless = Batch::check(&bytes(1, -1, (-1, -1))).expect("sound");
    log.append(timeless, false, 50_000).expect("appended");
    log.retain(50_500);
    assert!(log.bytes() > 0, "it came half a second ago");
    log.retain(51_500);
    assert_eq!(log.bytes(), 0);
}

/// What may happen to a log.
#[derive(Clone, Debug)]
enum Step {
    Append { records: i32, later_ms: i64 },
    Delete { share: f64 },
    Retain,
    MakeRoom { committed: f64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (1..40, -50..500_i64).prop_map(|(records, later_ms)| Step::Append { records, later_ms });
    let delete = (0.0..1.0).prop_map(|share| Step::Delete { share });
    let make_room = (0.0..1.0).prop_map(|committed| Step::MakeRoom { committed });
    vec(prop_oneof![20 => append, 1 => delete, 2 => Just(Step::Retain), 2 => make_room], 1..60)
}

fn bounds() -> impl Strategy<Value = Retention> {
    let age_ms = proptest::option::of(1_000..8_000_i64);
    let bytes = proptest::option::of(10_000..60_000_u64);
    (age_ms, bytes, 1..30_000_u64, 500..5_000_i64, 20_000..90_000_u64).prop_map(
        |(age_ms, bytes, segment_bytes, segment_ms, disk_bytes)| Retention {
            age_ms,
            bytes,
            segment_bytes,
            segment_ms,
            disk_bytes,
        },
    )
}

fn at(log: &Log, share: f64) -> i64 {
    log.start() + ((log.high_watermark() - log.start()) as f64 * share) as i64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Everything that was appended and is not below the start is there, wherever a read begins, by offset and by time.
    #[test]
    fn a_log_holds_what_a_list_holds(steps in steps(), bounds in bounds(), probes in vec(0.0..1.0, 4)) {
        let mut log = log(bounds);
        let mut all: Vec<(i64, i64)> = Vec::new();
        let mut now_ms = 10_000;
        for step in steps {
            let before = log.start();
            match step {
                Step::Append { records, later_ms } => {
                    // Producers' times are in no order.
                    now_ms += later_ms;
                    append(&mut log, records, now_ms);
                    let next = all.len() as i64;
                    all.extend((0..i64::from(records)).map(|delta| (next + delta, now_ms + delta)));
                }
                Step::Delete { share } => {
                    let offset = at(&log, share);
                    prop_assert_eq!(log.delete_before(offset).expect("in range"), offset);
                }
                Step::Retain => {
                    log.retain(now_ms);
                    prop_assert!(bounds.bytes.is_none_or(|bytes| log.segments.len() < 2 || log.bytes() < bytes + bounds.segment_bytes.max(6_000)));
                }
                Step::MakeRoom { committed } => {
                    let committed = at(&log, committed);
                    log.make_room(1_000, committed);
                    prop_assert!(log.start() <= committed.max(before));
                }
            }
            prop_assert!(log.start() >= before);
            prop_assert_eq!(log.high_watermark(), all.len() as i64);
            prop_assert_eq!(log.bytes(), log.segments.iter().map(Segment::bytes).sum::<u64>());
            for probe in &probes {
                let from = at(&log, *probe);
                prop_assert_eq!(records(&log, from), &all[from as usize..]);
                let wanted_ms = 9_900 + ((now_ms - 9_800) as f64 * probe) as i64;
                let kept = &all[log.start() as usize..];
                let first = kept.iter().find(|(_, time)| *time >= wanted_ms).copied();
                prop_assert_eq!(log.at_or_after(wanted_ms).expect("read"), first);
                let bytes = log.read(from, ALL, true).expect("read").len() as u64;
                let counted = log.bytes_from(from, u64::MAX);
                prop_assert!(counted == bytes, "{counted} for {bytes}");
            }
            prop_assert!(log.read(log.start() - 1, ALL, true).expect("read").is_empty());
        }
    }
}
