//! Rules of the ring and the eviction floors.

#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

use centinela_domain::ledger::{CommittedMarks, EVICTION_FLOOR_SILENCE_MS, RECREATED_AFTER_MS, RingSize, quantized};
use centinela_domain::{
    AmountMinor, ContentDigest, Coordinates, Currency, Decision, DecisionId, Ledger, Mark, Millis, MissingInputs,
    ModelStamp, Outcome, RecordedFeatures, TransactionDigest, TransactionId, UserId,
};
use proptest::prelude::*;

const T: i64 = 1_790_000_000_000;

fn at(partition: u32, offset: u64) -> Coordinates {
    Coordinates { partition, offset, timestamp: Millis(T + offset as i64) }
}

fn mark(offset: u64, after: i64) -> Mark {
    Mark { offset, timestamp: Millis(T + after) }
}

fn committed_up_to(partition: u32, offset: u64) -> CommittedMarks {
    let mut committed = CommittedMarks::default();
    committed.raise(partition, mark(offset, offset as i64));
    committed
}

fn decision(number: u64) -> Decision {
    let user_id = UserId::new("u").unwrap();
    let transaction_id = TransactionId::new(format!("t{number}")).unwrap();
    Decision {
        decision_id: DecisionId::derive(&user_id, &transaction_id),
        transaction_id,
        user_id,
        amount: AmountMinor::new(100).unwrap(),
        currency: Currency::DEFAULT,
        outcome: Outcome::Approved,
        score: 0.123,
        reasons: Vec::new(),
        model: ModelStamp { version: "test".to_owned(), digest: [0; 8] },
        features: RecordedFeatures { version: 1, values: Box::new([0.0; 38]) },
        state_version: 1,
        occurred_at: Millis(T),
        ingested_at: Millis(T),
        decided_at: Millis(T),
        late: false,
        ahead: false,
        guarded: false,
        missing: MissingInputs::default(),
    }
}

fn digest(number: u64) -> TransactionDigest {
    let [.., a, b, c, d, e, f] = number.to_be_bytes();
    TransactionDigest([a, b, c, d, e, f])
}

/// Where nothing is known to be committed yet.
fn remember(ledger: &mut Ledger, digest: TransactionDigest, at: Coordinates, decision: Decision) {
    ledger.record(digest, ContentDigest(7), at, decision, &CommittedMarks::default());
}

fn ledger_of(offsets: std::ops::Range<u64>) -> Ledger {
    let mut ledger = Ledger::default();
    for offset in offsets {
        remember(&mut ledger, digest(offset), at(0, offset), decision(offset));
    }
    ledger
}

#[test]
fn a_decision_that_is_not_proved_published_keeps_its_evidence_however_old_it_is() {
    let mut ledger = ledger_of(0..40);
    ledger.compact(&CommittedMarks::default(), Millis(T + 365 * 86_400_000), RingSize::DEFAULT);
    assert_eq!(ledger.entries.len(), 40);
    assert_eq!(ledger.unproved(), 40);
    assert!(ledger.eviction_floors.is_empty());
}

#[test]
fn published_decisions_shrink_and_the_newest_sixteen_stay() {
    let mut ledger = ledger_of(0..40);
    ledger.compact(&committed_up_to(0, 30), Millis(T), RingSize::DEFAULT);
    assert_eq!(ledger.unproved(), 10, "offsets 30 to 39 may be unpublished");
    assert_eq!(ledger.entries.len(), RingSize::DEFAULT.newest, "24 committed ones left");
    assert!(ledger.find(digest(24)).is_some_and(|entry| entry.decision.is_none()));
    assert_eq!(ledger.eviction_floors[&0].offset, 23);
}

#[test]
fn an_entry_of_a_deleted_topic_that_leaves_late_hides_nothing_of_the_new_one() {
    let new = |offset: u64| Coordinates {
        partition: 0,
        offset,
        timestamp: Millis(T + 2 * RECREATED_AFTER_MS + offset as i64),
    };
    let mut ledger = ledger_of(13..14);
    (0..30).for_each(|offset| remember(&mut ledger, digest(100 + offset), new(offset), decision(100 + offset)));
    let mut committed = CommittedMarks::default();
    for offset in 1..30 {
        // The old topic's offset 13 is proved committed only when the new topic has passed it.
        committed.raise(0, new(offset).into());
        ledger.compact(&committed, Millis(T), RingSize::DEFAULT);
    }
    assert_eq!(ledger.entries.len(), RingSize::DEFAULT.newest);
    for offset in 0..14 {
        assert!(ledger.find(digest(100 + offset)).is_none());
        assert!(
            ledger.is_below_eviction_floor(new(offset)),
            "offset {offset} left the ring, so its floor must reach it"
        );
    }
    assert!(!ledger.is_below_eviction_floor(new(14)));
}

/// Found with a port of the rule: a floor took its offset from the deleted topic and its time from the new one, and the record at
/// offset 7 was never decided.
#[test]
fn floors_of_a_deleted_topic_and_of_the_new_one_never_mix() {
    let later = Millis(T + 10 * RECREATED_AFTER_MS);
    let mut ledger = ledger_of(0..0);
    for offset in 900_000..900_004 {
        let old = Coordinates { partition: 0, offset, timestamp: Millis(T) };
        remember(&mut ledger, digest(offset), old, decision(offset));
    }
    (0..16).for_each(|number| remember(&mut ledger, digest(number), at(1, number), decision(number)));
    ledger.eviction_floors.insert(0, Mark { offset: 5, timestamp: later });
    let mut known_to_an_environment = CommittedMarks::default();
    known_to_an_environment.raise(0, Mark { offset: 900_100, timestamp: Millis(T) });
    ledger.compact(&known_to_an_environment, later, RingSize::DEFAULT);
    assert_eq!(ledger.entries.len(), 16, "those of the deleted topic left");
    let undecided = Coordinates { partition: 0, offset: 7, timestamp: later };
    assert!(!ledger.is_below_eviction_floor(undecided));
    assert_eq!(ledger.eviction_floors[&0], Mark { offset: 5, timestamp: later });

    remember(&mut ledger, digest(1), undecided, decision(1));
    ledger.repeat(
        digest(1),
        Coordinates { partition: 0, offset: 900_050, timestamp: Millis(T) },
        &CommittedMarks::default(),
    );
    let entry = ledger.find(digest(1)).unwrap();
    assert_eq!(entry.coordinates, [undecided], "nor do the positions of a duplicate");
}

#[test]
fn a_record_decided_below_its_mark_waits_for_a_later_one() {
    let mut ledger = Ledger::default();
    let committed = committed_up_to(0, 50);
    ledger.record(digest(4), ContentDigest(4), at(0, 4), decision(4), &committed);
    assert!(!ledger.compact(&committed, Millis(T), RingSize::DEFAULT), "what was proved before says nothing of it");
    assert_eq!(ledger.unproved(), 1);
    assert!(ledger.find(digest(4)).is_some_and(|entry| entry.knows(at(0, 4))));
    assert!(ledger.compact(&committed_up_to(0, 51), Millis(T), RingSize::DEFAULT));
    assert_eq!(ledger.unproved(), 0);
}

#[test]
fn a_hot_user_is_remembered_in_each_partition_for_a_minute() {
    let mut ledger = Ledger::default();
    let mut committed = CommittedMarks::default();
    let quiet = |offset| Coordinates { partition: 7, offset, timestamp: Millis(T) };
    (0..10).for_each(|offset| remember(&mut ledger, digest(1000 + offset), quiet(offset), decision(offset)));
    let busy = |offset| Coordinates { partition: 0, offset, timestamp: Millis(T + 59_000 + offset as i64) };
    (0..200).for_each(|offset| remember(&mut ledger, digest(offset), busy(offset), decision(offset)));
    committed.raise(7, mark(10, 0));
    committed.raise(0, mark(200, 60_000));
    ledger.compact(&committed, Millis(T + 60_000), RingSize::DEFAULT);
    let kept = |partition| ledger.entries.iter().filter(|entry| entry.coordinates[0].partition == partition).count();
    assert_eq!((kept(7), kept(0)), (8, 16), "the last 8 of the partition that others ran ahead of, and the newest 16");
    ledger.compact(&committed, Millis(T + 60_300), RingSize::DEFAULT);
    assert_eq!(ledger.entries.len(), 16, "and no longer than that");
}

#[test]
fn an_ordinary_user_pays_nothing_for_the_window_of_hot_ones() {
    let mut ledger = Ledger::default();
    let mut committed = CommittedMarks::default();
    // One a second: many for a person, and 16 are enough.
    for number in 0..60_u64 {
        let at =
            Coordinates { partition: number as u32 % 10, offset: number, timestamp: Millis(T + number as i64 * 1_000) };
        remember(&mut ledger, digest(number), at, decision(number));
        committed.raise(at.partition, mark(100, 60_000));
    }
    ledger.compact(&committed, Millis(T + 59_000), RingSize::DEFAULT);
    assert_eq!(ledger.entries.len(), 16);
}

#[test]
fn however_many_partitions_the_window_never_fills_a_ring() {
    let mut ledger = Ledger::default();
    let mut committed = CommittedMarks::default();
    for number in 0..3_000_u64 {
        let at = Coordinates { partition: (number % 1_000) as u32, offset: number / 1_000, timestamp: Millis(T) };
        remember(&mut ledger, digest(number), at, decision(number));
        committed.raise(at.partition, Mark { offset: 100, timestamp: Millis(T) });
    }
    ledger.compact(&committed, Millis(T), RingSize::DEFAULT);
    assert!(!ledger.is_full(RingSize::DEFAULT));
    assert_eq!(ledger.entries.len(), RingSize::DEFAULT.most / 4);
}

#[test]
fn the_record_at_the_committed_mark_itself_is_not_proved() {
    let mut ledger = ledger_of(5..6);
    ledger.compact(&committed_up_to(0, 5), Millis(T), RingSize::DEFAULT);
    assert_eq!(ledger.unproved(), 1);
    ledger.compact(&committed_up_to(0, 6), Millis(T), RingSize::DEFAULT);
    assert_eq!(ledger.unproved(), 0);
}

#[test]
fn a_lower_offset_with_a_later_time_is_not_taken_for_committed() {
    let committed = committed_up_to(0, 1_000);
    let recreated = Coordinates { partition: 0, offset: 3, timestamp: Millis(T + 1_001) };
    assert!(!committed.covers(recreated));
    assert!(committed.covers(Coordinates { timestamp: Millis(T + 1_000), ..recreated }));
}

#[test]
fn a_floor_stops_a_redelivery_and_lets_a_recreated_topic_through() {
    let mut ledger = ledger_of(0..40);
    ledger.compact(&committed_up_to(0, 100), Millis(T), RingSize::DEFAULT);
    assert!(ledger.is_below_eviction_floor(at(0, 7)));
    assert!(!ledger.is_below_eviction_floor(at(0, 24)), "still in the ring");
    assert!(!ledger.is_below_eviction_floor(at(1, 7)), "another partition");
    assert!(!ledger.is_below_eviction_floor(Coordinates {
        partition: 0,
        offset: 7,
        timestamp: Millis(T + RECREATED_AFTER_MS)
    }));
}

#[test]
fn a_floor_that_reaches_a_mark_in_offset_or_time_may_hide_what_was_decided_since() {
    let floor = mark(100, 100);
    let ledger = Ledger { eviction_floors: [(0, floor)].into(), ..Ledger::default() };
    let since = |partition, offset, after| {
        ledger.may_have_evicted_since(Coordinates { partition, offset, timestamp: Millis(T + after) })
    };
    assert!(since(0, 100, 100) && since(0, 99, 100) && since(0, 99, 5_000), "the mark's own record may have left");
    assert!(!since(0, 101, 100) && !since(0, 101, 5_000) && !since(1, 0, 0));
    assert!(since(0, 101, 99), "a broker's clock that is ahead may have hidden it");
    assert!(!since(0, 7, 100 + RECREATED_AFTER_MS + 1), "the floor is of a topic that was deleted");
}

#[test]
fn a_duplicate_keeps_its_decision_until_the_duplicate_is_committed_too() {
    let mut ledger = ledger_of(0..1);
    let committed = committed_up_to(0, 10);
    ledger.compact(&committed, Millis(T), RingSize::DEFAULT);
    assert_eq!(ledger.unproved(), 0);
    assert!(ledger.repeat(digest(0), at(0, 50), &committed), "the duplicate is noted");
    assert!(!ledger.repeat(digest(0), at(0, 50), &committed), "its redelivery is not");
    assert!(!ledger.repeat(digest(0), at(0, 0), &committed), "nor the first record's");
    for offset in 51..91 {
        remember(&mut ledger, digest(offset), at(0, offset), decision(offset));
    }
    ledger.compact(&committed_up_to(0, 50), Millis(T), RingSize::DEFAULT);
    assert!(ledger.find(digest(0)).is_some(), "the duplicate at 50 is not committed yet");
    ledger.compact(&committed_up_to(0, 91), Millis(T), RingSize::DEFAULT);
    assert!(ledger.find(digest(0)).is_none());
    assert!(ledger.is_below_eviction_floor(at(0, 50)));
}

#[test]
fn a_shrunk_score_is_the_same_after_it_was_stored() {
    for step in 0..=1000u16 {
        let score = quantized(f32::from(step) / 1000.0);
        assert_eq!(quantized(score).to_bits(), score.to_bits());
    }
}

#[test]
fn a_floor_of_a_silent_partition_goes_and_no_other() {
    let mut ledger = Ledger::default();
    ledger.eviction_floors.insert(0, mark(5, 0));
    ledger.eviction_floors.insert(1, mark(5, 1));
    ledger.compact(&CommittedMarks::default(), Millis(T + EVICTION_FLOOR_SILENCE_MS + 1), RingSize::DEFAULT);
    assert_eq!(ledger.eviction_floors.keys().copied().collect::<Vec<_>>(), [1]);
}

proptest! {
    /// Marks never move back in offset, but for a topic that was clearly recreated; and a leader whose clock is behind does not
    /// delay them.
    #[test]
    fn a_mark_never_moves_back(steps in prop::collection::vec((0u64..1_000, -5_000i64..5_000), 1..50)) {
        let mut current: Option<Mark> = None;
        for (offset, skew) in steps {
            let to = mark(offset, offset as i64 + skew);
            let raised = Mark::raised(current, to);
            if let Some(current) = current {
                prop_assert!(raised.offset >= current.offset && raised.timestamp >= current.timestamp);
            }
            prop_assert!(raised.offset >= offset);
            current = Some(raised);
        }
    }

    #[test]
    fn a_recreated_topic_replaces_the_mark(offset in 1u64..1_000_000, lower in 0u64..1_000_000) {
        prop_assume!(lower < offset);
        let current = mark(offset, 0);
        let within = mark(lower, RECREATED_AFTER_MS);
        let after = mark(lower, RECREATED_AFTER_MS + 1);
        prop_assert_eq!(Mark::raised(Some(current), within), current);
        prop_assert_eq!(Mark::raised(Some(current), after), after);
    }

    /// Whatever is committed in whatever order: no unproved decision ever leaves or shrinks, and each record is known to the ring or
    /// at or below an eviction floor.
    #[test]
    fn nothing_unproved_is_forgotten(
        records in prop::collection::vec((0u32..3, any::<bool>()), 1..120),
        commits in prop::collection::vec((0u32..3, 0u64..60), 0..20),
    ) {
        let mut ledger = Ledger::default();
        let mut committed = CommittedMarks::default();
        let mut next = [0u64; 3];
        let mut all = Vec::new();
        let mut commits = commits.into_iter();
        for (number, (partition, compact)) in records.into_iter().enumerate() {
            let coordinates = at(partition, next[partition as usize]);
            next[partition as usize] += 1;
            remember(&mut ledger, digest(number as u64), coordinates, decision(number as u64));
            all.push((digest(number as u64), coordinates));
            if compact {
                if let Some((partition, offset)) = commits.next() {
                    committed.raise(partition, mark(offset, offset as i64));
                }
                ledger.compact(&committed, coordinates.timestamp, RingSize::DEFAULT);
            }
            for &(digest, coordinates) in &all {
                match ledger.find(digest) {
                    Some(entry) => prop_assert!(entry.decision.is_some() || committed.covers(coordinates)),
                    None => prop_assert!(committed.covers(coordinates) && ledger.is_below_eviction_floor(coordinates)),
                }
            }
            prop_assert!(ledger.entries.len() >= RingSize::DEFAULT.newest.min(all.len()));
        }
    }
}
