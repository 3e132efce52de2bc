//! What the tracker makes of a run's records, in every order in which they may be read.

use std::time::Duration;

use centinela_verdict::{Totals, Verdict};

use super::*;

const DECISION: &[u8] = include_bytes!("../../../shared/contracts/tests/golden/decision_v1.json");

#[test]
fn latency_counts_from_the_time_that_was_meant_however_late_the_record_was_sent() {
    let decision_id = decision_v1::parse(DECISION).unwrap().decision_id;
    let started = Instant::now();
    let tracker = Tracker::new(started, 1);
    // Meant for one second after the start; when it really went out is not asked.
    tracker.sending(decision_id, None, started + Duration::from_secs(1));
    // A producer's duplicate goes out later and must not shorten the wait.
    tracker.sending(decision_id, None, started + Duration::from_secs(3));
    tracker.saw_decision(true, DECISION, started + Duration::from_secs(4), 0);
    let latencies = tracker.latencies();
    assert_eq!(latencies.len(), 1);
    assert!((2_990_000..=3_010_000).contains(&latencies.max()), "{} µs", latencies.max());
}

/// A transaction of 12.34 euro as it is sent.
fn transaction(number: u64) -> Vec<u8> {
    let text = format!(
        r#"{{"version":1,"transaction_id":"tx-{number}","user_id":"user-{}","timestamp":1700000000000,"amount":"12.34","currency":"EUR","device_type":"mobile","device_id":"d","ip":"203.0.113.7","user_agent":"a shop"}}"#,
        number % 3
    );
    text.into_bytes()
}

/// The decision about it, made at `ingested_ms`.
fn decision(number: u64, ingested_ms: i64) -> Vec<u8> {
    let id = transaction_v1::parse(&transaction(number)).unwrap().decision_id();
    let golden: serde_json::Value = serde_json::from_slice(DECISION).unwrap();
    let mut text = String::from_utf8(DECISION.to_vec()).unwrap();
    for (field, value) in [
        ("decision_id", serde_json::Value::from(id.to_string())),
        ("transaction_id", format!("tx-{number}").into()),
        ("user_id", format!("user-{}", number % 3).into()),
        ("ingested_at", ingested_ms.into()),
    ] {
        let with = |value: &serde_json::Value| format!("\"{field}\":{value}");
        assert!(text.contains(&with(&golden[field])), "{field}");
        text = text.replace(&with(&golden[field]), &with(&value));
    }
    text.into_bytes()
}

fn send(tracker: &Tracker, number: u64, offset: u64, ingested_ms: i64) {
    tracker.saw_transaction(0, offset, Some(&transaction(number)), ingested_ms);
}

fn decide(tracker: &Tracker, number: u64, ingested_ms: i64) {
    tracker.saw_decision(true, &decision(number, ingested_ms), Instant::now(), ingested_ms + 10);
}

/// A tracker that has seen `count` transactions decided, with room for 10 whole and 20 to 40 folded ones.
fn seen(count: u64) -> Tracker {
    let tracker = Tracker::with_room(Instant::now(), 0, 10, 20);
    for number in 0..count {
        send(&tracker, number, number, number as i64);
        decide(&tracker, number, number as i64);
    }
    tracker
}

fn transactions(reconciled: &Reconciliation) -> u64 {
    reconciled.users.values().map(|totals| totals.transactions).sum()
}

#[test]
fn what_is_folded_is_counted_and_what_comes_of_it_later_is_told_apart() {
    let tracker = seen(40);
    assert_eq!(tracker.lock().entries.len(), 10, "the others are folded");
    assert_eq!(tracker.undecided(), 0);
    // A producer's duplicate of a folded transaction and the repetition of its decision; a repetition; another decision.
    send(&tracker, 25, 100, 100);
    decide(&tracker, 25, 25);
    decide(&tracker, 26, 26);
    assert_eq!(tracker.seen().republished, 2);
    let reconciled = tracker.reconcile(&Gone::default());
    assert_eq!(reconciled.verdict, Verdict::default());
    assert_eq!(reconciled.republished_duplicates, 1);
    assert_eq!(transactions(&reconciled), 40);
    assert_eq!(reconciled.users["user-0"], Totals { transactions: 14, amount_minor: 14 * 1_234 });
    decide(&tracker, 27, 9_999);
    assert_eq!(tracker.reconcile(&Gone::default()).verdict.doubled, 1);
}

#[test]
fn a_duplicate_of_what_is_forgotten_counts_once() {
    let tracker = seen(200);
    // Number 3 is forgotten, its user's ring is not.
    send(&tracker, 3, 500, 500);
    decide(&tracker, 3, 3);
    // The decision may be read before the record.
    decide(&tracker, 4, 4);
    send(&tracker, 4, 501, 501);
    let reconciled = tracker.reconcile(&Gone::default());
    assert_eq!(reconciled.verdict, Verdict::default());
    assert_eq!(transactions(&reconciled), 200);
}

#[test]
fn what_is_not_complete_is_never_forgotten() {
    let tracker = Tracker::with_room(Instant::now(), 0, 10, 20);
    send(&tracker, 1_000, 0, 0);
    for number in 0..100 {
        send(&tracker, number, number + 1, 1);
        decide(&tracker, number, 1);
    }
    assert_eq!(tracker.reconcile(&Gone::default()).verdict.lost, 1);
    assert_eq!(tracker.undecided(), 1);
    decide(&tracker, 1_000, 0);
    assert_eq!(tracker.reconcile(&Gone::default()).verdict.lost, 0);
}

#[test]
fn what_retention_took_is_neither_lost_nor_invented() {
    let tracker = seen(30);
    // This one was read here and deleted before it was delivered.
    send(&tracker, 40, 40, 40);
    // These were delivered and deleted before they were read here.
    tracker.missed(2);
    decide(&tracker, 41, 41);
    decide(&tracker, 42, 42);
    let gone = Gone { unread: vec![(0, 40..41)] };
    let reconciled = tracker.reconcile(&gone);
    assert_eq!(reconciled.verdict, Verdict::default());
    assert_eq!(transactions(&reconciled), 32, "what was delivered counts");
    assert_eq!(tracker.reconcile(&Gone::default()).verdict.lost, 1, "of another offset it would be lost");
    decide(&tracker, 43, 43);
    assert_eq!(tracker.reconcile(&gone).verdict.invented, 1, "more decisions than were missed");
}

#[test]
fn a_record_is_dead_lettered_by_its_place_whatever_comes_first() {
    let parked = include_bytes!("../../../shared/contracts/tests/golden/parked_v1.json");
    let ReceivedDeadLetter { letter: DeadLetter { partition, offset, .. }, .. } =
        dead_letter_v1::parse(parked).unwrap();
    for dead_letter_first in [false, true] {
        let tracker = Tracker::with_room(Instant::now(), 0, 10, 20);
        if dead_letter_first {
            tracker.saw_dead_letter(parked);
        }
        tracker.saw_transaction(partition, offset.unwrap(), Some(&transaction(1)), 1);
        if !dead_letter_first {
            tracker.saw_dead_letter(parked);
        }
        let reconciled = tracker.reconcile(&Gone::default());
        assert_eq!(
            (reconciled.verdict.lost, transactions(&reconciled)),
            (0, 0),
            "dead letter first: {dead_letter_first}"
        );
        assert_eq!(tracker.undecided(), 0);
    }
}
