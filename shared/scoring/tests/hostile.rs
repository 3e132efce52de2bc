//! What a hostile reading of the protocol tried, and what a hostile producer can send: each alone, with the harm that it must not do.

#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

use centinela_contracts::dead_letter_v1::{self, DeadLetterReason};
use centinela_contracts::decision_v1;
use centinela_contracts::kafka_event::Record;
use centinela_delivery::{Deadline, Settings};
use centinela_domain::ledger::RingSize;
use centinela_domain::transaction::TIME_MIN_MS;
use centinela_domain::{Coordinates, Decision, FeatureVector, Millis, TransactionId, UserId};
use centinela_scoring::Limits;
use centinela_testkit::bench::{Bench, FOREVER, distinct};
use centinela_testkit::builders::{
    self, EPOCH_MS, TOPIC, batch, record, redriven, transaction, transaction_json, transaction_json_on,
};
use centinela_testkit::fakes::Faults;
use centinela_testkit::schedule::run;

const DAY_MS: i64 = 86_400_000;

/// What the decision on a transaction rested on.
fn evidence(bench: &Bench, id: &str) -> Decision {
    let id = TransactionId::new(id).unwrap();
    let published = bench.published();
    let decision = published.iter().find(|decision| decision.transaction_id == id).expect("it was published");
    decision_v1::parse(&decision.payload).unwrap().evidence.expect("in full")
}

fn feature(evidence: &Decision, name: &str) -> f32 {
    evidence.features.values[FeatureVector::NAMES.iter().position(|known| *known == name).unwrap()]
}

fn is_zero(value: f32) -> bool {
    value.abs() < f32::EPSILON
}

fn was_published(bench: &Bench, id: &str) -> bool {
    bench.published().iter().any(|decision| decision.transaction_id.as_str() == id)
}

fn reasons(bench: &Bench) -> Vec<DeadLetterReason> {
    bench.fakes.shared().dead_letters.iter().map(|letter| letter.reason_code).collect()
}

#[test]
fn a_new_decision_is_published_wherever_its_record_stands() {
    let bench = Bench::new();
    bench.deliver([transaction(0, 5, "ana", "t5")]);
    let report = bench.deliver([transaction(0, 4, "ana", "t4")]);
    assert_eq!(report.decided, 1);
    assert!(was_published(&bench, "t4"), "what was proved before says nothing of it");
}

#[test]
fn a_new_decision_below_a_mark_keeps_its_evidence_until_it_is_published() {
    let bench = Bench::new();
    bench.deliver([transaction(0, 5, "ana", "t5")]);
    bench.fakes.shared().outage = true;
    assert_eq!(bench.deliver([transaction(0, 4, "ana", "t4")]).failed, 1);
    assert_eq!(bench.pending_failures(0), 1, "although the mark is above it");
    bench.fakes.shared().outage = false;
    bench.deliver([transaction(1, 0, "ana", "u0")]);
    assert_eq!(bench.deliver([transaction(0, 4, "ana", "t4")]).replayed, 1);
    assert!(!evidence(&bench, "t4").features.values.is_empty());
    assert_eq!(bench.pending_failures(0), 0);
    for offset in 6..8 {
        bench.deliver([transaction(0, offset, "ana", &format!("t{offset}"))]);
    }
    assert_eq!(bench.unproved("ana"), 2, "of partition 1, and the last one: a later mark proved it");
}

#[test]
fn a_bad_record_that_cannot_be_dead_lettered_delays_nothing() {
    let bench = Bench::new();
    bench.faults(Faults { dead_letter_failed: 1.0, ..Faults::default() });
    let report = bench.deliver([record(0, 0, b"nonsense".to_vec()), transaction(0, 1, "ana", "t1")]);
    assert_eq!((report.failed, bench.pending_failures(0)), (1, 0), "no ring has anything to lose by it");
    let report = bench.deliver([transaction(0, 2, "ana", "t2")]);
    assert_eq!(report.order_violations, 0);
    assert_eq!(bench.unproved("ana"), 1);
}

#[test]
fn a_hold_of_a_record_that_the_mapping_gave_up_is_retired_and_rings_shrink_again() {
    let bench = Bench::new();
    bench.faults(Faults { write_refused: 1.0, ..Faults::default() });
    bench.deliver([transaction(0, 0, "ana", "t0")]);
    bench.faults(Faults::default());
    for offset in 1..5 {
        let report = bench.deliver([transaction(0, offset, "ben", &format!("t{offset}"))]);
        assert_eq!((report.order_violations, report.markers_retired), (1, 0));
    }
    assert_eq!(bench.unproved("ben"), 4, "nothing is proved above a marker whose record may still be delivered");
    bench.pass(RingSize::DEFAULT.delivered_within_ms);
    let mut late = transaction(0, 5, "ben", "t5");
    late.coordinates.timestamp = bench.fakes.shared().now;
    let report = bench.deliver([late]);
    assert_eq!((report.order_violations, report.markers_retired), (0, 1), "and it is told");
    assert_eq!((bench.pending_failures(0), bench.unproved("ben")), (0, 1));
}

#[test]
fn a_hold_is_retired_by_a_batch_without_a_user_too_and_told_once() {
    let bench = Bench::new();
    bench.faults(Faults { write_refused: 1.0, ..Faults::default() });
    bench.deliver([transaction(0, 0, "ana", "t0")]);
    bench.faults(Faults::default());
    bench.pass(RingSize::DEFAULT.delivered_within_ms);
    let bad = |offset| {
        let mut bad = record(0, offset, b"nonsense".to_vec());
        bad.coordinates.timestamp = bench.fakes.shared().now;
        bench.deliver([bad]).markers_retired
    };
    assert_eq!((bad(1), bench.pending_failures(0)), (1, 0));
    assert_eq!(bad(2), 0, "it was written that it is gone");
}

#[test]
fn holds_that_nobody_can_answer_do_not_hide_those_that_can_be_answered() {
    let bench = Bench::new();
    let zombie = bench.fakes.engine();
    bench.faults(Faults { write_refused: 1.0, ..Faults::default() });
    let users: Vec<String> = (0..40).map(|number| format!("user-{number}")).collect();
    bench.deliver(users.iter().enumerate().map(|(n, user)| transaction(0, n as u64, user, &format!("t{n}"))));
    bench.faults(Faults::default());
    bench.deliver([transaction(0, 40, "ana", "t40")]);
    bench.fakes.shared().outage = true;
    run(zombie.process(batch([transaction(0, 40, "ana", "t40")]), FOREVER)).unwrap();
    bench.fakes.shared().outage = false;
    assert_eq!(bench.pending_failures(0), 41);
    let complete: usize = (41..45)
        .map(|offset| bench.deliver([transaction(0, offset, "ben", &format!("t{offset}"))]).markers_complete)
        .sum();
    assert_eq!((complete, bench.pending_failures(0)), (1, 40), "ana's was asked within three batches");
}

#[test]
fn a_full_ring_that_cannot_shrink_is_not_written_again() {
    let bench = Bench::new();
    bench.fakes.shared().outage = true;
    let all = RingSize::DEFAULT.most as u64 + 5;
    let records: Vec<Record> = (0..all).map(|offset| transaction(0, offset, "ana", &format!("t{offset}"))).collect();
    bench.deliver(records.clone());
    let writes = bench.fakes.shared().user_writes;
    for _ in 0..3 {
        assert_eq!(bench.deliver(records.clone()).failed, records.len());
    }
    assert_eq!(bench.fakes.shared().user_writes, writes, "each would be 360 units");
}

#[test]
fn a_decision_that_is_tried_again_does_not_see_its_own_visit_to_a_device() {
    let on = |device: &str, offset, user: &str, id: &str| {
        record(0, offset, transaction_json_on(device, user, id, EPOCH_MS + 1_000 * offset as i64, "1.00"))
    };
    // Its write was not known to be done; it is delivered again.
    for faults in [Faults { write_refused: 1.0, ..Faults::default() }, Faults { user_unread: 1.0, ..Faults::default() }]
    {
        let bench = Bench::new();
        bench.faults(faults);
        bench.deliver([on("kiosk", 0, "ana", "t0")]);
        bench.faults(Faults::default());
        bench.deliver([on("kiosk", 0, "ana", "t0")]);
        let seen = evidence(&bench, "t0");
        assert!(is_zero(feature(&seen, "device_users")) && is_zero(feature(&seen, "device_newcomers_1d")));
    }
    // It lost a race and was planned again.
    let bench = Bench::new();
    bench.faults(Faults { stale_read: 1.0, ..Faults::default() });
    let mut conflicts = 0;
    for offset in 0..20 {
        let (device, id) = (format!("kiosk-{offset}"), format!("s{offset}"));
        conflicts += bench.deliver([on(&device, offset, "ana", &id)]).conflicts;
        assert!(is_zero(feature(&evidence(&bench, &id), "device_users")), "{id}");
    }
    assert!(conflicts > 5, "{conflicts} races were lost");
    bench.faults(Faults::default());
    bench.deliver([on("kiosk", 30, "ana", "t1")]);
    // The user's next one sees it, in the same batch too.
    bench.deliver([on("kiosk", 31, "ben", "t2"), on("kiosk", 32, "ben", "t3")]);
    let users = |id| feature(&evidence(&bench, id), "device_users");
    assert!(is_zero(users("t2") - 1.0) && is_zero(users("t3") - 2.0));
}

#[test]
fn one_event_from_the_future_does_not_blind_a_user() {
    let bench = Bench::new();
    let future = transaction_json("ana", "t0", 4_070_908_800_000, "1.00");
    let report = bench.deliver([record(0, 0, future)]);
    assert_eq!((report.decided, report.ahead), (1, 1));
    let seen = evidence(&bench, "t0");
    assert!(seen.ahead && seen.occurred_at == Millis(4_070_908_800_000), "as the producer said it, and flagged");
    let report = bench.deliver((1..6).map(|offset| transaction(0, offset, "ana", &format!("t{offset}"))));
    assert_eq!((report.decided, report.late, report.ahead), (5, 0, 0));
    let seen = evidence(&bench, "t5");
    assert!(!seen.ahead && feature(&seen, "user_count_1h") > 4.9, "its velocity is what it would have been");
    assert!(feature(&seen, "user_seconds_since_last") < 2.0);
}

#[test]
fn one_event_of_long_ago_does_not_make_an_account_look_old_and_a_file_from_then_is_decided() {
    let bench = Bench::new();
    bench.deliver([record(0, 0, transaction_json("ana", "t0", TIME_MIN_MS, "1.00"))]);
    bench.deliver([transaction(0, 1, "ana", "t1"), transaction(0, 2, "ana", "t2")]);
    for id in ["t1", "t2"] {
        assert!(feature(&evidence(&bench, id), "user_age_days") < 1.0, "{id}");
    }
    let of_2018 = |day: i64| transaction_json("ben", &format!("b{day}"), 1_522_540_800_000 + day * DAY_MS, "1.00");
    let report = bench.deliver((0..150).map(|day| record(1, day as u64, of_2018(day))));
    assert_eq!((report.decided, report.late, report.ahead), (150, 0, 0));
    assert!((feature(&evidence(&bench, "b149"), "user_age_days") - 149.0).abs() < 0.01);
}

#[test]
fn an_unreadable_item_stops_its_user_and_not_the_partition() {
    let bench = Bench::new();
    bench.fakes.shared().unreadable.insert(UserId::new("ana").unwrap());
    let both = || [transaction(0, 0, "ana", "t0"), transaction(0, 1, "ben", "t1")];
    for delivery in 1..Limits::default().unreadable_deliveries {
        let report = bench.deliver(both());
        assert_eq!(
            (report.failed, report.state_unreadable, bench.pending_failures(0)),
            (1, 1, 1),
            "delivery {delivery}"
        );
    }
    let report = bench.deliver(both());
    assert_eq!((report.failed, report.dead_lettered, bench.pending_failures(0)), (0, 1, 0));
    assert_eq!(reasons(&bench), [DeadLetterReason::StateUnreadable]);
    bench.deliver([transaction(0, 2, "ben", "t2")]);
    assert_eq!((bench.transactions("ben"), bench.unproved("ben")), (2, 1), "the partition's proof goes on");
    // After the repair.
    bench.fakes.shared().unreadable.clear();
    let report = bench.deliver([redriven(&transaction(0, 0, "ana", "t0"), 1, 0, Millis(EPOCH_MS + 60_000))]);
    assert_eq!((report.decided, bench.transactions("ana")), (1, 1));
}

#[test]
fn a_bad_record_is_dead_lettered_once_however_often_its_batch_comes() {
    let bench = Bench::new();
    let records = || [record(0, 1, b"nonsense".to_vec()), transaction(0, 0, "ana", "t0")];
    bench.faults(Faults { write_refused: 1.0, ..Faults::default() });
    for _ in 0..50 {
        bench.deliver(records());
    }
    // As a whole, because no marker can be written either.
    bench.faults(Faults { write_refused: 1.0, marks_refused: 1.0, ..Faults::default() });
    for _ in 0..50 {
        bench.deliver_batch_tolerant(records());
    }
    bench.faults(Faults::default());
    assert_eq!(bench.deliver(records()).failed, 0);
    assert_eq!(reasons(&bench), [DeadLetterReason::NotJson]);
}

#[test]
fn marking_what_could_not_be_done_ends_before_the_function_does() {
    let bench = Bench::new();
    bench.fakes.shared().pauses_take_time = true;
    bench.faults(Faults { write_refused: 1.0, marks_refused: 1.0, ..Faults::default() });
    let now = bench.fakes.shared().now;
    let deadline = Deadline { work: Millis(now.0 - 1), answer: Millis(now.0 + 30) };
    let answer = run(bench.engine.process(batch([transaction(0, 0, "ana", "t0")]), deadline));
    assert!(answer.is_err(), "its marker could not be written");
    let took_ms = bench.fakes.shared().now.since(now);
    assert!((30..60).contains(&took_ms), "{took_ms} ms, with 30 to go and pauses of 20");
}

#[test]
fn a_refusal_that_comes_at_once_is_not_answered_at_once() {
    let bench = Bench::new();
    bench.fakes.shared().pauses_take_time = true;
    bench.faults(Faults { refused: 1.0, ..Faults::default() });
    let report = bench.deliver([transaction(0, 0, "ana", "t0")]);
    assert_eq!(report.failed, 1);
    assert_eq!(
        bench.fakes.shared().pauses,
        [Settings::new(builders::key()).refused_pause],
        "or 10,000 tries are over in minutes"
    );
    // A batch of which something was done is answered at once, and so is a race that was lost.
    bench.fakes.shared().pauses.clear();
    bench.faults(Faults { write_refused: 1.0, ..Faults::default() });
    bench.deliver([transaction(0, 0, "ana", "t0")]);
    assert!(bench.fakes.shared().pauses.is_empty());
    // Nor is the wait longer than the time to answer.
    bench.faults(Faults { refused: 1.0, ..Faults::default() });
    let now = bench.fakes.shared().now;
    let deadline = Deadline { work: Millis(now.0 + 1_000), answer: Millis(now.0 + 1_500) };
    run(bench.engine.process(batch([transaction(0, 0, "ana", "t0")]), deadline)).unwrap();
    assert_eq!(bench.fakes.shared().now.since(now), 1_500);
}

/// Tried from outside: 1,024 decided, then the ring was full for ever, and ten of ten neighbours were never decided.
#[test]
fn forged_headers_of_a_redrive_fill_no_ring_and_freeze_no_partition() {
    let bench = Bench::new();
    let never = Coordinates { partition: 7, offset: 9_000_000_000_000_000_000, timestamp: Millis(EPOCH_MS) };
    let forged = |offset: u64| {
        let mut record = transaction(0, offset, "ana", &format!("t{offset}"));
        record.headers =
            dead_letter_v1::first_headers(TOPIC, never, record.value.as_deref().unwrap(), &builders::key());
        // Whoever has not the key can do no better than to guess.
        record.headers[4].1 = vec![b'0'; 32];
        record
    };
    for offset in (0..1_100).step_by(100) {
        let report = bench.deliver((offset..offset + 100).map(forged));
        assert_eq!((report.dead_lettered, report.decided, report.failed), (100, 0, 0));
    }
    assert!(reasons(&bench).iter().all(|reason| *reason == DeadLetterReason::BadFirstCoordinates));
    let report = bench.deliver((1_100..1_110).map(|offset| transaction(0, offset, "ana", &format!("n{offset}"))));
    assert_eq!(report.decided, 10);
}

#[test]
fn a_transaction_id_that_comes_again_with_other_content_is_never_answered() {
    let bench = Bench::new();
    let small = transaction_json("ana", "t0", EPOCH_MS, "1.00");
    let large = transaction_json_on("another", "ana", "t0", EPOCH_MS, "9999999.00");
    bench.deliver([record(0, 0, small.clone())]);
    for (offset, at_once) in [(1, false), (2, true)] {
        let mut records = vec![record(0, offset, large.clone())];
        if at_once {
            records.push(record(0, 3, small.clone()));
        }
        let published = bench.published().len();
        let report = bench.deliver(records);
        assert_eq!((report.id_conflicts, report.dead_lettered, report.failed), (1, 1, 0));
        assert_eq!(report.replayed, usize::from(at_once), "a repetition is still a repetition");
        assert_eq!(distinct(&bench.published()[published..]).len(), usize::from(at_once));
    }
    assert_eq!(reasons(&bench), [DeadLetterReason::TransactionIdReused; 2]);
    assert_eq!(bench.fakes.shared().dead_letters[0].value.as_deref(), Some(&*large), "with its original bytes");
    assert_eq!(bench.transactions("ana"), 1);
}

#[test]
fn a_hot_users_duplicate_is_known_although_other_partitions_ran_ahead() {
    let bench = Bench::new();
    bench.deliver([transaction(0, 0, "ana", "t0")]);
    for offset in 1..60 {
        let mut record = transaction(1, offset, "ana", &format!("u{offset}"));
        record.coordinates.timestamp = Millis(EPOCH_MS + 50 * offset as i64);
        bench.deliver_batch(batch([record]));
    }
    let mut duplicate = transaction(0, 1, "ana", "t0");
    duplicate.value = transaction(0, 0, "ana", "t0").value;
    assert_eq!(bench.deliver([duplicate]).replayed, 1);
    assert_eq!(bench.transactions("ana"), 60);
}
