//! Each rule of the protocol, alone: a test that fails when the rule is broken.

use centinela_contracts::decision_v1;
use centinela_contracts::kafka_event::Record;
use centinela_delivery::Deadline;
use centinela_domain::ledger::RingSize;
use centinela_domain::{DeviceId, Millis, MissingInputs, UserId};
use centinela_testkit::bench::{Bench, FOREVER, distinct};
use centinela_testkit::builders::{self, EPOCH_MS, batch, redriven, transaction, transaction_json};
use centinela_testkit::fakes::{Faults, UserCall};
use centinela_testkit::schedule::{run, run_and_crash};

#[test]
fn nothing_is_published_that_is_not_committed() {
    let bench = Bench::new();
    bench.faults(Faults { write_refused: 1.0, ..Faults::default() });
    let report = bench.deliver([transaction(0, 0, "ana", "t0")]);
    assert!(bench.published().is_empty());
    assert_eq!(report.response.failures, [("transactions-0".to_owned(), 0)]);
}

#[test]
fn nothing_is_acknowledged_that_is_not_published_to_both_places() {
    for faults in
        [Faults { topic_failed: 1.0, ..Faults::default() }, Faults { stream_failed: 1.0, ..Faults::default() }]
    {
        let bench = Bench::new();
        bench.faults(faults);
        let report = bench.deliver([transaction(0, 0, "ana", "t0")]);
        assert_eq!(report.response.failures, [("transactions-0".to_owned(), 0)]);
        assert_eq!(report.decided, 0, "it counts when it is published");
        bench.faults(Faults::default());
        let report = bench.deliver([transaction(0, 0, "ana", "t0")]);
        assert!(report.response.failures.is_empty());
        let on_stream = bench.fakes.shared().on_stream.clone();
        assert_eq!(distinct(&on_stream), distinct(&bench.published()), "the same bytes in both places");
        assert_eq!(bench.transactions("ana"), 1);
    }
}

#[test]
fn a_publisher_that_fails_for_an_hour_finds_every_decision_again() {
    let bench = Bench::new();
    bench.fakes.shared().outage = true;
    let records: Vec<Record> = (0..60).map(|offset| transaction(0, offset, "ana", &format!("t{offset}"))).collect();
    for record in &records {
        bench.deliver([record.clone()]);
        bench.pass(60_000);
    }
    assert_eq!(bench.unproved("ana"), 60, "none of them may be forgotten");
    bench.fakes.shared().outage = false;
    let report = bench.deliver(records);
    assert_eq!((report.replayed, report.decided), (60, 0));
    assert_eq!(distinct(&bench.published()).len(), 60);
    let first = decision_v1::parse(&bench.published()[0].payload).unwrap();
    assert!(first.evidence.is_some(), "with its whole evidence");
}

#[test]
fn a_replay_answers_with_the_stored_bytes_and_writes_nothing() {
    let bench = Bench::new();
    let records = [transaction(0, 0, "ana", "t0"), transaction(1, 0, "ana", "t1"), transaction(0, 1, "bob", "t2")];
    bench.deliver(records.clone());
    let (first, asked) = (distinct(&bench.published()), bench.fakes.shared().writes_asked);
    let report = bench.deliver_batch(batch(records));
    assert_eq!((report.replayed, report.duplicates), (3, 0));
    assert_eq!(distinct(&bench.published()), first, "the same bytes, although the model would score differently now");
    assert_eq!(bench.fakes.shared().writes_asked, asked, "a replayed batch costs no write");
}

#[test]
fn a_decision_is_for_the_partition_of_its_transaction_whoever_publishes_it() {
    let bench = Bench::new();
    let for_partitions = || {
        let published = bench.fakes.shared();
        let mut found: Vec<_> =
            published.on_topics.iter().map(|out| (out.transaction_id.as_str().to_owned(), out.partition)).collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    bench.deliver([transaction(3, 0, "ana", "t0"), transaction(1, 0, "bob", "t1")]);
    bench.deliver_batch(batch([transaction(3, 0, "ana", "t0"), transaction(1, 0, "bob", "t1")]));
    // Reported as failed, and then skipped by the mapping.
    bench.fakes.shared().outage = true;
    bench.deliver([transaction(5, 0, "eve", "t2")]);
    bench.fakes.shared().outage = false;
    bench.deliver([transaction(5, 1, "bob", "t3")]);
    let expected = [("t0", 3), ("t1", 1), ("t2", 5), ("t3", 5)].map(|(id, partition)| (id.to_owned(), partition));
    assert_eq!(for_partitions(), expected);
}

#[test]
fn what_is_known_to_be_published_is_not_published_again() {
    let bench = Bench::new();
    bench.deliver([transaction(0, 0, "ana", "t0")]);
    bench.deliver([transaction(0, 1, "ana", "t1")]);
    let before = bench.published().len();
    let report = bench.deliver([transaction(0, 0, "ana", "t0")]);
    assert_eq!(report.replayed, 1);
    assert_eq!(bench.published().len(), before);
}

#[test]
fn what_is_proved_rides_along_in_users_items_to_other_environments() {
    let bench = Bench::new();
    bench.deliver([transaction(0, 0, "ana", "t0")]);
    bench.deliver([transaction(0, 1, "bob", "t1")]);
    let other = bench.fakes.engine();
    let both = [transaction(1, 0, "ana", "t2"), transaction(1, 1, "bob", "t3")];
    run(other.process(batch(both), FOREVER)).expect("the batch is answered");
    assert_eq!(bench.unproved("ana"), 1, "bob's item told that everything below offset 1 of partition 0 is committed");
    assert_eq!(bench.unproved("bob"), 2, "nothing tells that offset 1 itself is");
}

#[test]
fn a_producers_duplicate_within_sixteen_decisions_is_answered_from_the_ring() {
    let bench = Bench::new();
    bench.deliver([transaction(0, 0, "ana", "t0")]);
    for offset in 1..RingSize::DEFAULT.newest as u64 {
        bench.deliver([transaction(0, offset, "ana", &format!("t{offset}"))]);
        bench.pass(40 * 86_400_000);
    }
    let report = bench.deliver([transaction(1, 7, "ana", "t0")]);
    assert_eq!((report.decided, report.replayed, report.duplicates), (0, 1, 1));
    let again = bench.deliver([transaction(1, 7, "ana", "t0")]);
    assert_eq!((again.replayed, again.duplicates), (1, 0), "a redelivery is not the producer's");
    assert_eq!(bench.transactions("ana"), RingSize::DEFAULT.newest as u64);
}

#[test]
fn a_duplicate_leaves_a_trace_that_outlives_the_ring() {
    let bench = Bench::new();
    bench.deliver([transaction(0, 0, "ana", "t0")]);
    bench.fakes.shared().outage = true;
    bench.deliver([transaction(1, 50, "ana", "t0")]);
    bench.fakes.shared().outage = false;
    for offset in 1..60 {
        bench.deliver([transaction(0, offset, "ana", &format!("t{offset}"))]);
    }
    let report = bench.deliver([transaction(1, 50, "ana", "t0")]);
    assert_eq!((report.decided, report.replayed), (0, 1), "the uncommitted duplicate kept its entry");
    assert_eq!(bench.transactions("ana"), 60);
}

#[test]
fn a_record_whose_entry_left_the_ring_is_skipped_as_stale() {
    let bench = Bench::new();
    for offset in 0..60 {
        bench.deliver([transaction(0, offset, "ana", &format!("t{offset}"))]);
    }
    let report = bench.deliver([transaction(0, 2, "ana", "t2")]);
    assert_eq!((report.stale, report.decided, report.replayed), (1, 0, 0));
    assert!(report.response.failures.is_empty());
    assert_eq!(bench.transactions("ana"), 60);
}

#[test]
fn a_record_that_was_never_decided_is_not_stale_because_newer_ones_were() {
    let bench = Bench::new();
    bench.deliver([transaction(0, 5, "ana", "t5")]);
    let report = bench.deliver([transaction(0, 4, "ana", "t4")]);
    assert_eq!(
        (report.decided, report.stale),
        (1, 0),
        "an eviction floor is what left the ring, not the highest offset applied"
    );
}

#[test]
fn a_recreated_topic_is_not_mistaken_for_a_replay() {
    let bench = Bench::new();
    for offset in 0..60 {
        bench.deliver([transaction(0, offset, "ana", &format!("t{offset}"))]);
    }
    let mut record = transaction(0, 2, "ana", "after");
    record.coordinates.timestamp = Millis(EPOCH_MS + 10_000_000);
    let report = bench.deliver([record.clone()]);
    assert_eq!((report.decided, report.stale), (1, 0));
    assert_eq!(bench.mark(0).map(|mark| mark.offset), Some(2), "the clearly later time replaces the mark");
    assert_eq!(bench.unproved("ana"), 2, "offset 59 of the old topic and 2 of the new one: an old mark proves nothing");
}

#[test]
fn a_lost_race_is_merged_with_the_item_that_won() {
    let bench = Bench::new();
    bench.deliver([transaction(0, 0, "ana", "t0")]);
    let other = bench.fakes.engine();
    for steps in 0..40 {
        let mine = transaction(0, 1 + steps, "ana", &format!("mine{steps}"));
        let theirs = transaction(1, steps, "ana", &format!("theirs{steps}"));
        let mut slow = Box::pin(other.process(batch([theirs]), FOREVER));
        let mut ended = None;
        for _ in 0..steps {
            ended = ended.or_else(|| futures_step(&mut slow));
        }
        bench.deliver([mine]);
        let report = ended.unwrap_or_else(|| run(slow)).expect("the batch is answered");
        assert_eq!(report.decided, 1, "after {steps} steps");
    }
    assert_eq!(bench.transactions("ana"), 81);
    assert_eq!(distinct(&bench.published()).len(), 81);
}

fn futures_step<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn a_crash_at_any_await_leaves_a_batch_that_ends_the_same() {
    for steps in 0..80 {
        let bench = Bench::new();
        let records = [transaction(0, 0, "ana", "t0"), transaction(0, 1, "bob", "t1"), transaction(1, 0, "ana", "t2")];
        let crashed = run_and_crash(bench.engine.process(batch(records.clone()), FOREVER), steps).is_none();
        let report = bench.deliver(records);
        assert!(report.response.failures.is_empty());
        assert_eq!((bench.transactions("ana"), bench.transactions("bob")), (2, 1), "crash at await {steps}");
        assert_eq!(distinct(&bench.published()).len(), 3);
        if !crashed {
            assert!(steps > 5, "the crash came before the end in earlier rounds");
            return;
        }
    }
    panic!("80 awaits were not enough to reach the end");
}

#[test]
fn a_lost_reply_is_a_replay_the_next_time() {
    let bench = Bench::new();
    bench.faults(Faults { reply_lost: 1.0, ..Faults::default() });
    let report = bench.deliver_batch_tolerant([transaction(0, 0, "ana", "t0")]);
    assert!(report.is_none_or(|report| report.failed == 1));
    assert!(bench.published().is_empty(), "its outcome is unknown");
    bench.faults(Faults::default());
    assert_eq!(bench.deliver([transaction(0, 0, "ana", "t0")]).replayed, 1);
    assert_eq!((bench.transactions("ana"), bench.published().len()), (1, 1));
}

#[test]
fn two_records_of_one_user_cost_one_write_and_the_second_sees_the_first() {
    let bench = Bench::new();
    bench.deliver([transaction(0, 0, "ana", "t0"), transaction(0, 1, "ana", "t1"), transaction(2, 0, "ana", "t2")]);
    assert_eq!(bench.fakes.shared().user_writes, 1);
    let column = centinela_domain::FeatureVector::NAMES.iter().position(|name| *name == "user_transactions").unwrap();
    let seen: Vec<f32> = bench
        .published()
        .iter()
        .map(|decision| decision_v1::parse(&decision.payload).unwrap().evidence.unwrap().features.values[column])
        .collect();
    assert_eq!(seen, [0.0, 1.0, 2.0]);
}

#[test]
fn a_large_batch_has_few_users_between_their_read_and_their_write() {
    let bench = Bench::new();
    let records = (0..5).map(|number| transaction(0, number, &format!("user-{number}"), &format!("t{number}")));
    let report = bench.deliver(records);
    assert_eq!(report.decided, 5);
    let rounds = [2, 2, 1].map(|users| [UserCall::Read(users), UserCall::Commit(users)]);
    assert_eq!(bench.fakes.shared().user_calls, rounds.as_flattened());
    assert_eq!(bench.published().len(), 5, "and all are published together");

    let bench = Bench::new();
    bench.deliver((0..3).map(|number| transaction(0, number, &format!("user-{number}"), &format!("t{number}"))));
    let at_once = [UserCall::Read(3), UserCall::Commit(3)];
    assert_eq!(bench.fakes.shared().user_calls, at_once, "and a small one is not divided");
}

#[test]
fn a_batch_that_starts_above_an_undecided_record_proves_nothing_and_says_so() {
    let bench = Bench::new();
    bench.faults(Faults { write_refused: 1.0, ..Faults::default() });
    bench.deliver([transaction(0, 0, "ana", "t0")]);
    bench.faults(Faults::default());
    let report = bench.deliver([transaction(0, 1, "ana", "t1")]);
    assert_eq!(report.order_violations, 1);
    assert_eq!(bench.mark(0).map(|mark| mark.offset), Some(0), "the mark stays below the failed record");
    assert_eq!(bench.unproved("ana"), 1);
    let report = bench.deliver([transaction(0, 0, "ana", "t0")]);
    assert_eq!(report.decided, 1);
    let report = bench.deliver([transaction(0, 2, "ana", "t2")]);
    assert_eq!(report.order_violations, 0, "complete, so it is taken off");
    assert_eq!(bench.mark(0).map(|mark| mark.offset), Some(2));
    assert_eq!(bench.unproved("ana"), 1);
}

#[test]
fn a_decided_record_below_a_batch_is_published_by_whoever_starts_above_it() {
    let bench = Bench::new();
    bench.fakes.shared().outage = true;
    bench.deliver([transaction(0, 0, "ana", "t0")]);
    bench.fakes.shared().outage = false;
    let report = bench.deliver([transaction(0, 1, "bob", "t1")]);
    assert_eq!((report.order_violations, report.markers_complete), (0, 1), "ana's ring knows what became of it");
    assert_eq!(distinct(&bench.published()).len(), 2);
    assert_eq!(bench.mark(0).map(|mark| mark.offset), Some(0), "the proof is the next batch's");
    bench.deliver([transaction(0, 2, "bob", "t2")]);
    assert_eq!(bench.mark(0).map(|mark| mark.offset), Some(2));
}

#[test]
fn a_report_that_comes_after_its_batch_was_handled_elsewhere_holds_nothing_up() {
    let bench = Bench::new();
    let zombie = bench.fakes.engine();
    let record = || transaction(0, 0, "ana", "t0");
    bench.deliver([record()]);
    // It could not publish in time, reports, and nobody listens.
    bench.fakes.shared().outage = true;
    let report = run(zombie.process(batch([record()]), FOREVER)).expect("the batch is answered");
    assert_eq!(report.failed, 1);
    bench.fakes.shared().outage = false;
    assert_eq!(bench.pending_failures(0), 1);
    let report = bench.deliver([transaction(0, 1, "ana", "t1")]);
    assert_eq!((report.order_violations, report.markers_complete, bench.pending_failures(0)), (0, 1, 0));
    bench.deliver([transaction(0, 2, "ana", "t2")]);
    assert_eq!(bench.unproved("ana"), 1, "marks rise and rings shrink again");
}

#[test]
fn a_failure_of_what_is_proved_committed_leaves_no_marker() {
    let bench = Bench::new();
    let zombie = bench.fakes.engine();
    bench.deliver([transaction(0, 0, "ana", "t0")]);
    bench.deliver([transaction(0, 1, "bob", "t1")]);
    bench.faults(Faults { user_unread: 1.0, ..Faults::default() });
    let report = run(zombie.process(batch([transaction(0, 0, "ana", "t0")]), FOREVER)).expect("the batch is answered");
    assert_eq!(report.failed, 1, "it is reported, for it could not be answered");
    assert_eq!(bench.pending_failures(0), 0);
}

#[test]
fn a_failed_record_that_cannot_be_marked_fails_the_whole_batch() {
    let bench = Bench::new();
    bench.faults(Faults { user_unread: 1.0, marks_refused: 1.0, ..Faults::default() });
    let answer = bench.deliver_batch_tolerant([transaction(0, 0, "ana", "t0"), transaction(0, 1, "bob", "t1")]);
    assert!(answer.is_none(), "a partial answer without the note could let the mark pass the record");
}

#[test]
fn a_redriven_record_that_was_decided_is_published_from_what_remains_and_says_so() {
    let bench = Bench::new();
    bench.deliver([transaction(0, 0, "ana", "t0")]);
    bench.deliver([transaction(0, 1, "ana", "t1")]);
    let again = redriven(&transaction(0, 0, "ana", "t0"), 2, 9, Millis(EPOCH_MS + 50_000));
    let report = bench.deliver([again]);
    assert_eq!((report.replayed, report.decided), (1, 0));
    let last = decision_v1::parse(&bench.published().last().unwrap().payload).unwrap();
    assert!(last.evidence.is_none(), "the evidence was shrunk");
    assert_eq!(bench.transactions("ana"), 2);
}

#[test]
fn a_redriven_record_that_was_never_decided_is_decided_once() {
    let bench = Bench::new();
    bench.deliver([transaction(0, 7, "ana", "t7")]);
    let again = redriven(&transaction(0, 3, "ana", "t3"), 2, 9, Millis(EPOCH_MS + 50_000));
    assert_eq!(bench.deliver([again.clone()]).decided, 1);
    assert_eq!(bench.deliver([again]).decided, 0);
    assert_eq!(bench.transactions("ana"), 2);
}

#[test]
fn a_redriven_record_below_the_eviction_floor_is_dead_lettered_again_and_never_counts_twice() {
    let bench = Bench::new();
    for offset in 0..60 {
        bench.deliver([transaction(0, offset, "ana", &format!("t{offset}"))]);
    }
    let report = bench.deliver([redriven(&transaction(0, 2, "ana", "t2"), 1, 0, Millis(EPOCH_MS + 900_000))]);
    assert_eq!((report.decided, report.dead_lettered), (0, 1));
    assert_eq!(bench.transactions("ana"), 60);
    assert!(bench.fakes.shared().dead_letters[0].reason.contains("cannot be told"));
}

#[test]
fn a_bad_record_is_dead_lettered_with_a_reason_and_delays_nobody() {
    let bench = Bench::new();
    let poison = builders::record(0, 0, b"{\"no\": 1".to_vec());
    let report = bench.deliver([poison, transaction(0, 1, "ana", "t1")]);
    assert!(report.response.failures.is_empty());
    assert_eq!((report.dead_lettered, report.decided), (1, 1));
    assert!(!bench.fakes.shared().dead_letters[0].reason.is_empty());
}

#[test]
fn a_bad_record_that_cannot_be_dead_lettered_is_delivered_again() {
    let bench = Bench::new();
    bench.faults(Faults { dead_letter_failed: 1.0, ..Faults::default() });
    let report = bench.deliver([builders::record(0, 0, b"nonsense".to_vec()), transaction(0, 1, "ana", "t1")]);
    assert_eq!(report.response.failures, [("transactions-0".to_owned(), 0)]);
    assert_eq!(report.decided, 1);
}

#[test]
fn a_user_stops_at_the_first_record_to_retry_and_other_users_go_on() {
    let bench = Bench::new();
    bench.fakes.shared().faults.user_unread = 1.0;
    let report = bench.deliver([transaction(0, 0, "ana", "t0"), transaction(0, 1, "ana", "t1")]);
    assert_eq!(report.failed, 2, "all of hers: the mapping may resume at the first or redeliver the listed ones");
    bench.faults(Faults::default());
    let report =
        bench.deliver([transaction(0, 0, "ana", "t0"), transaction(0, 1, "ana", "t1"), transaction(0, 2, "bob", "t2")]);
    assert_eq!(report.decided, 3);
}

#[test]
fn a_decision_without_the_devices_item_is_degraded_and_says_what_was_missing() {
    let bench = Bench::new();
    bench.faults(Faults { device_unread: 1.0, ..Faults::default() });
    let report = bench.deliver([transaction(0, 0, "ana", "t0")]);
    assert_eq!((report.decided, report.degraded), (1, 1));
    let decision = decision_v1::parse(&bench.published()[0].payload).unwrap();
    assert!(decision.evidence.unwrap().missing.device);
}

#[test]
fn a_decision_without_a_profile_or_a_risk_that_cannot_be_read_is_degraded_and_says_so() {
    let bench = Bench::new();
    let user = UserId::new("ana").unwrap();
    bench.fakes.shared().background.unreadable_profiles.insert(user.clone());
    bench.fakes.shared().background.unreadable_user_risk.insert(user);
    let report = bench.deliver([transaction(0, 0, "ana", "t0"), transaction(0, 1, "ben", "t1")]);
    assert_eq!((report.decided, report.degraded, report.failed), (2, 1, 0));
    let missing = |place: usize| {
        let decision = decision_v1::parse(&bench.published()[place].payload).unwrap();
        decision.evidence.unwrap().missing
    };
    assert_eq!(missing(0), MissingInputs { profile: true, user_risk: true, ..MissingInputs::default() });
    assert_eq!(missing(1), MissingInputs::default());
}

#[test]
fn a_device_is_written_for_a_new_user_and_not_for_every_transaction() {
    let bench = Bench::new();
    for offset in 0..10 {
        bench.deliver([transaction(0, offset, "ana", &format!("t{offset}"))]);
    }
    let device = DeviceId::new("device-of-ana").unwrap();
    assert_eq!(bench.fakes.shared().devices[&device].version, 1);
}

#[test]
fn an_event_far_behind_the_users_newest_is_decided_and_flagged_late() {
    let bench = Bench::new();
    bench.deliver([transaction(0, 0, "ana", "t0")]);
    let late = transaction_json("ana", "t1", EPOCH_MS - 25 * 3_600_000, "1.00");
    let report = bench.deliver([builders::record(0, 1, late)]);
    assert_eq!((report.decided, report.late), (1, 1));
}

#[test]
fn a_ring_full_of_unpublished_decisions_retries_the_user_instead_of_forgetting() {
    let bench = Bench::new();
    bench.fakes.shared().outage = true;
    let records: Vec<Record> = (0..RingSize::DEFAULT.most as u64 + 5)
        .map(|offset| transaction(0, offset, "ana", &format!("t{offset}")))
        .collect();
    bench.deliver(records.clone());
    assert_eq!(bench.unproved("ana"), RingSize::DEFAULT.most);
    bench.fakes.shared().outage = false;
    let report = bench.deliver(records[..RingSize::DEFAULT.most].to_vec());
    assert_eq!(report.replayed, RingSize::DEFAULT.most);
    let report = bench.deliver(records[RingSize::DEFAULT.most..].to_vec());
    assert_eq!(report.decided, 5, "there is room again");
    assert_eq!(bench.transactions("ana"), RingSize::DEFAULT.most as u64 + 5);
}

#[test]
fn after_the_deadline_nothing_is_written_and_everything_comes_again() {
    let bench = Bench::new();
    let past = Deadline { work: Millis(EPOCH_MS - 1), answer: Millis(EPOCH_MS + 1_000) };
    let report = run(bench.engine.process(batch([transaction(0, 0, "ana", "t0")]), past)).unwrap();
    assert_eq!(report.failed, 1);
    assert_eq!(bench.fakes.shared().user_writes, 0);
}

#[test]
fn committed_marks_are_written_every_five_seconds() {
    let bench = Bench::new();
    for offset in 0..50 {
        bench.pass(500);
        bench.deliver_batch(batch([transaction(0, offset, "ana", &format!("t{offset}"))]));
    }
    let notes = bench.fakes.shared().partitions[&0].version;
    assert!((4..=8).contains(&notes), "{notes} notes in 25 seconds");
}
