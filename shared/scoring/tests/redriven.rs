//! Redriven records of which the state cannot tell any more: decided when it is verified that nobody decided them, and once.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use centinela_contracts::dead_letter_v1;
use centinela_contracts::kafka_event::Record;
use centinela_domain::{Coordinates, Millis};
use centinela_testkit::bench::Bench;
use centinela_testkit::builders::{self, EPOCH_MS, TOPIC, redriven, transaction};
use centinela_testkit::fakes::Faults;

/// A user's newer decisions have passed a record that was given up; returns its redriven copy, verified from the mark that is known.
fn passed_and_verified(bench: &Bench, given_up: &Record, at: (u32, u64)) -> Record {
    let mark = bench.fakes.shared().partitions[&at.0].item.mark.unwrap();
    let from = Coordinates { partition: at.0, offset: mark.offset, timestamp: mark.timestamp };
    let mut again = redriven(given_up, at.0, at.1, Millis(EPOCH_MS + 1_000 * at.1 as i64));
    let value = given_up.value.as_deref().unwrap();
    again.headers.push(dead_letter_v1::verified_header(TOPIC, given_up.coordinates, value, from, &builders::key()));
    again
}

#[test]
fn a_verified_record_below_the_eviction_floor_is_decided_once() {
    let bench = Bench::new();
    for offset in (0..60).filter(|offset| *offset != 2) {
        bench.pass(500);
        bench.deliver([transaction(0, offset, "ana", &format!("t{offset}"))]);
    }
    let verified = passed_and_verified(&bench, &transaction(0, 2, "ana", "t2"), (0, 60));
    let report = bench.deliver([verified.clone()]);
    assert_eq!((report.decided, report.dead_lettered), (1, 0));
    assert_eq!((bench.deliver([verified.clone()]).decided, bench.transactions("ana")), (0, 60));
    // A second copy that comes when the first has left the ring is not decided again.
    for offset in 61..120 {
        bench.pass(500);
        bench.deliver([transaction(0, offset, "ana", &format!("t{offset}"))]);
    }
    let mut copy = verified;
    copy.coordinates.offset = 120;
    copy.coordinates.timestamp = Millis(EPOCH_MS + 120_000);
    let report = bench.deliver([copy]);
    assert_eq!((report.decided, report.dead_lettered, bench.transactions("ana")), (0, 1, 119));
}

#[test]
fn a_mark_of_verification_is_believed_for_its_record_and_with_the_deployments_key_only() {
    let bench = Bench::new();
    for offset in (0..60).filter(|offset| *offset != 2) {
        bench.pass(500);
        bench.deliver([transaction(0, offset, "ana", &format!("t{offset}"))]);
    }
    let good = passed_and_verified(&bench, &transaction(0, 2, "ana", "t2"), (0, 70));
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut forged = good.clone();
        change(&mut forged.headers.last_mut().unwrap().1);
        forged
    };
    let of_another = passed_and_verified(&bench, &transaction(0, 3, "ana", "t3"), (0, 70)).headers.pop().unwrap();
    let elsewhere = Record { coordinates: Coordinates { partition: 1, offset: 0, ..good.coordinates }, ..good.clone() };
    let forged = [
        with(&|mark| mark.iter_mut().rev().take(32).for_each(|digit| *digit = b'0')),
        with(&|mark| mark[0] = b'9'),
        with(&|mark| mark.truncate(5)),
        with(&|mark| mark.extend(b" 1")),
        with(&|mark| *mark = of_another.1.clone()),
        with(&|mark| *mark = vec![0xff; 60]),
        elsewhere,
    ];
    for (place, mut record) in (60..).zip(forged) {
        // Each at a place of its own: what was dead-lettered once is not sent again.
        record.coordinates.offset = place;
        record.coordinates.timestamp = Millis(EPOCH_MS + 1_000 * place as i64);
        let report = bench.deliver([record]);
        assert_eq!((report.decided, report.dead_lettered), (0, 1));
    }
    assert_eq!((bench.deliver([good]).decided, bench.transactions("ana")), (1, 60));
}

#[test]
fn a_redriven_record_waits_for_its_partitions_mark() {
    let bench = Bench::new();
    bench.deliver([transaction(0, 7, "ana", "t7")]);
    bench.faults(Faults { marks_unread: 1.0, ..Faults::default() });
    let again = redriven(&transaction(0, 3, "ana", "t3"), 0, 9, Millis(EPOCH_MS + 50_000));
    assert!(
        bench.deliver_batch_tolerant([again.clone()]).is_none_or(|report| (report.decided, report.failed) == (0, 1))
    );
    bench.faults(Faults::default());
    assert_eq!(bench.deliver([again]).decided, 1);
}
