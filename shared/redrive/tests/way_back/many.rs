//! Many letters, little time, and somebody else at work.

use std::time::Duration;

use centinela_redrive::{Found, Place};
use serde_json::json;

use crate::world::{AT_MS, World, decision_id, doing, first, transaction, unreadable};

#[test]
fn a_rate_is_kept() {
    let mut world = World::new((0..200).map(unreadable).collect());
    world.redrive(&doing(json!({ "rate": 20, "verify": false })));
    assert_eq!((world.sent.len(), world.now - AT_MS), (200, 10_000));
}

#[test]
fn a_rate_is_kept_although_decisions_are_looked_for_and_no_mark_is_old() {
    let mut world = World::new((0..4_000).map(unreadable).collect());
    (world.search_takes_ms, world.marks_move_on) = (120_000, true);
    let report = world.redrive(&doing(json!({ "rate": 20 })));
    assert_eq!((report.sent, report.verified), (4_000, 4_000));
    let took = (world.now - AT_MS) / 1_000;
    assert!((320..345).contains(&took), "two minutes to search, a grace, and 200 seconds to send: {took} s");
    assert!(world.oldest_marks_ms <= 30_000 && world.marks_read.len() > 15, "{} ms", world.oldest_marks_ms);
}

#[test]
fn more_letters_than_memory_holds_are_looked_for_in_one_go() {
    let mut world = World::new((0..12_000).map(unreadable).collect());
    let done = [4_999, 5_000, 11_999];
    for id in done {
        world.published.insert(decision_id(&transaction(&format!("t{id}"))), Found::default());
    }
    let report = world.redrive(&doing(json!({ "rate": 100_000, "limit": 100_000 })));
    assert_eq!((report.letters, report.sent, report.found, report.unfinished), (12_000, 11_997, 3, false));
    assert_eq!(world.begun, [first(0).timestamp], "the topics are read once, from the oldest record on");
    assert!(world.redrive(&doing(json!({}))).letters == 0, "and all are handled");
}

#[test]
fn what_is_read_again_ends_where_it_ended_although_the_last_letter_is_gone() {
    let mut world = World::new((0..5_002).map(unreadable).collect());
    world.gone_when_read_again = Some(Place { partition: 0, offset: 5_000 });
    let report = world.redrive(&doing(json!({ "rate": 100_000, "limit": 5_001 })));
    assert_eq!((report.sent, report.verified), (5_000, 5_000), "{report:?}");
    assert_eq!(world.list(&json!({})), ["0-5001"]);
}

#[test]
fn a_request_ends_in_time_and_says_what_it_did_not_get_to() {
    let one_second = Duration::from_secs(1);
    // The rate alone takes longer than there is.
    let mut world = World::new((0..200).map(unreadable).collect());
    let report = world.redrive_for(&doing(json!({ "rate": 0.5, "verify": false })), one_second);
    assert_eq!((report.sent, report.unfinished, world.now - AT_MS), (1, true, 1_000));
    // The grace does.
    let mut world = World::new(vec![unreadable(0)]);
    let report = world.redrive_for(&doing(json!({})), 5 * one_second);
    assert_eq!((report.sent, report.unfinished, world.now - AT_MS), (0, true, 0));
    assert!(report.stopped.unwrap().contains("no time to look"));
    // The search does.
    let mut world = World::new(vec![unreadable(0)]);
    world.search_takes_ms = 100_000;
    let report = world.redrive_for(&doing(json!({})), 60 * one_second);
    assert_eq!((report.sent, report.unfinished, report.stopped.is_some()), (0, true, true));
}

#[test]
fn what_somebody_drops_while_records_are_sent_is_neither_sent_nor_open_again() {
    let mut world = World::new((0..40).map(unreadable).collect());
    world.dropped_meanwhile = Some(Place { partition: 0, offset: 39 });
    let report = world.redrive(&doing(json!({ "rate": 10, "verify": false })));
    assert_eq!((report.letters, report.sent), (40, 39));
    assert_eq!(world.list(&json!({})), Vec::<String>::new());
}
