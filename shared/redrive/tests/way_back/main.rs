//! The way back of dead letters, rule by rule, over surroundings in memory.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod many;
mod world;

use std::time::Duration;

use centinela_contracts::dead_letter_v1::{self, DeadLetterReason};
use centinela_contracts::keyed::DeploymentKey;
use centinela_domain::{Coordinates, Millis};
use centinela_redrive::{Found, Letter, Message, drop_letters, list};
use futures::executor::block_on;
use serde_json::{Value, json};

use world::{AT_MS, World, decision_id, doing, first, given_up, key, letter, plan, settings, transaction, unreadable};

#[test]
fn a_record_goes_back_to_its_partition_signed_and_verified_and_once() {
    let mut world = World::new(vec![unreadable(0), given_up(1, 41)]);
    let report = world.redrive(&doing(json!({})));
    assert_eq!((report.letters, report.sent, report.verified, report.unfinished), (2, 2, 2, false));
    for (record, at) in world.sent.iter().zip([first(0), Coordinates { timestamp: Millis(AT_MS), ..first(41) }]) {
        assert_eq!((record.topic.as_str(), record.partition), ("transactions", 3));
        let first = dead_letter_v1::signed_first(&record.headers, &record.value, &key()).unwrap().unwrap();
        assert_eq!(first, ("transactions".to_owned(), at));
        let verified = dead_letter_v1::verified(&record.headers, "transactions", at, &record.value, &key());
        assert_eq!(verified, Some(world.marks[&3]));
    }
    assert_eq!(world.sent[0].headers[0], ("trace".to_owned(), b"7".to_vec()), "its own headers stay");
    assert!(world.paused >= Duration::from_secs(7), "the look-up waits for whoever was at work");
    let again = world.redrive(&doing(json!({})));
    assert_eq!((again.letters, world.sent.len()), (0, 2));
}

#[test]
fn a_dry_run_changes_nothing() {
    let mut world = World::new(vec![unreadable(0)]);
    let report = world.redrive(&json!({ "action": "redrive" }));
    assert_eq!((report.dry_run, report.sent, world.sent.len()), (true, 1, 0));
    assert_eq!(world.list(&json!({})), ["0-0"]);
    let report = block_on(drop_letters(&mut world, &settings(), &plan(&json!({"action":"drop","letters":["0-0"]}))));
    assert_eq!((report.unwrap().dropped, world.list(&json!({}))), (1, vec!["0-0".to_owned()]));
}

#[test]
fn what_is_decided_is_done_and_what_was_decided_otherwise_is_left_to_a_person() {
    let mut world = World::new(vec![unreadable(0), unreadable(1), unreadable(2)]);
    let decided = |amount: Option<u64>| Found { amount: amount.map(|amount| (amount, "EUR".to_owned())) };
    for (id, found) in [("t0", decided(Some(1_234))), ("t1", decided(Some(99))), ("t2", decided(None))] {
        world.published.insert(decision_id(&transaction(id)), found);
    }
    let report = world.redrive(&doing(json!({})));
    assert_eq!((report.found, report.cannot, report.sent), (2, 1, 0));
    assert!(report.left[0].why.contains("an id of its own"), "{report:?}");
    assert_eq!(world.list(&json!({})), ["0-1"]);
}

#[test]
fn nothing_is_called_verified_that_could_not_be_looked_for() {
    for change in [|world: &mut World| world.covers = Millis(AT_MS + 1), |world: &mut World| world.marks.clear()] {
        let mut world = World::new(vec![unreadable(0)]);
        change(&mut world);
        assert_eq!(world.redrive(&doing(json!({}))).verified, 0);
        let at = first(0);
        let record = &world.sent[0];
        assert_eq!(dead_letter_v1::verified(&record.headers, "transactions", at, &record.value, &key()), None);
    }
    let mut world = World::new(vec![unreadable(0)]);
    assert_eq!(world.redrive(&doing(json!({ "verify": false }))).verified, 0);
    assert_eq!(world.searches, 0);
}

#[test]
fn what_is_not_acknowledged_stays_open_and_goes_next_time() {
    let mut world = World::new((0..5).map(unreadable).collect());
    world.acknowledges = 3;
    let report = world.redrive(&doing(json!({})));
    assert_eq!((report.sent, report.failed), (3, 2));
    assert_eq!(world.list(&json!({})), ["0-3", "0-4"]);
    world.acknowledges = usize::MAX;
    assert_eq!(world.redrive(&doing(json!({}))).sent, 2);
    assert_eq!(world.sent.len(), 5);
}

#[test]
fn a_bad_record_waits_for_its_repair_and_keeps_its_first_place() {
    let mut world = World::new(vec![letter(0, DeadLetterReason::NotJson, b"{\"half", &key())]);
    let report = world.redrive(&doing(json!({})));
    assert_eq!((report.needs_repair, report.sent), (1, 0));
    let still_bad = world.redrive(&doing(json!({ "repairs": [{ "letter": "0-0", "value": "{}" }] })));
    assert_eq!((still_bad.needs_repair, still_bad.sent), (1, 0), "a repair that is none");
    let value = String::from_utf8(transaction("t0")).unwrap();
    let report = world.redrive(&doing(json!({ "repairs": [{ "letter": "0-0", "value": value }] })));
    assert_eq!((report.sent, report.verified), (1, 1));
    let record = &world.sent[0];
    let signed = dead_letter_v1::signed_first(&record.headers, &record.value, &key()).unwrap().unwrap();
    assert_eq!((signed.1, record.value.as_slice()), (first(0), value.as_bytes()));
}

#[test]
fn nobody_s_word_is_signed_and_no_place_that_never_was() {
    let stranger = DeploymentKey::new(b"somebody else's key").unwrap();
    let forged = letter(0, DeadLetterReason::StateUnreadable, &transaction("t0"), &stranger);
    let mut world = World::new(vec![forged, given_up(1, 1_000)]);
    let report = world.redrive(&doing(json!({})));
    assert_eq!((report.cannot, report.sent), (2, 0), "{report:?}");
    let report = world.redrive(&doing(json!({ "as_new": true })));
    assert_eq!((report.sent, report.verified), (2, 0));
    for record in &world.sent {
        assert!(dead_letter_v1::signed_first(&record.headers, &record.value, &key()).is_none());
    }
}

#[test]
fn letters_are_found_by_reason_time_partition_text_and_place() {
    let not_json = letter(1, DeadLetterReason::NotJson, b"{\"half", &key());
    let nonsense = Message { value: b"hello".to_vec(), headers: Vec::new(), ..unreadable(3) };
    let mut world = World::new(vec![unreadable(0), not_json, given_up(2, 41), nonsense]);
    for (request, expected) in [
        (json!({}), vec!["0-0", "0-1", "0-2", "0-3"]),
        (json!({ "limit": 2 }), vec!["0-0", "0-1"]),
        (json!({ "reasons": ["not_json", "RetriesExhausted"] }), vec!["0-1", "0-2"]),
        (json!({ "reasons": ["unknown"] }), vec!["0-3"]),
        (json!({ "since": AT_MS + 10_001 }), vec!["0-1"]),
        (json!({ "until": AT_MS + 10_001, "topic": "transactions" }), vec!["0-0", "0-2"]),
        (json!({ "partition": 4 }), vec![]),
        (json!({ "text": "half" }), vec!["0-1"]),
        (json!({ "text": "state_unreadable" }), vec!["0-0"]),
        (json!({ "letters": ["0-2", "7-7"] }), vec!["0-2"]),
    ] {
        assert_eq!(world.list(&request), expected, "{request}");
    }
}

/// Two records, of which the second is changed.
fn batch(change: impl FnOnce(&mut Value)) -> Message {
    let mut one = given_up(0, 41);
    let mut document: Value = serde_json::from_slice(&one.value).unwrap();
    let record = document["payload"]["records"]["transactions-3"][0].clone();
    let mut second = record.clone();
    second["offset"] = json!(42);
    second["value"] = json!(base64_simd::STANDARD.encode_to_string(transaction("t42")));
    change(&mut second);
    let event = json!({ "eventSource": "aws:kafka", "records": { "transactions-3": [record, second] } });
    document["payload"] = json!(event.to_string());
    document["requestContext"]["condition"] = json!("RetryAttemptsExhausted");
    document["KafkaBatchInfo"] =
        json!({ "recordsInfo": { "transactions-3": { "firstRecordOffset": "41", "lastRecordOffset": "42" } } });
    one.value = document.to_string().into_bytes();
    one
}

#[test]
fn a_batch_in_a_bucket_is_several_records_of_one_letter() {
    let mut world = World::new(vec![batch(|_| {})]);
    world.acknowledges = 1;
    assert_eq!(world.redrive(&doing(json!({}))).failed, 1);
    assert_eq!(world.list(&json!({})), ["0-0"], "open until all of it is acknowledged");
    world.acknowledges = usize::MAX;
    assert_eq!(world.redrive(&doing(json!({}))).sent, 2);
    assert_eq!(world.list(&json!({})), Vec::<String>::new());
}

#[test]
fn a_batch_with_a_record_that_cannot_be_read_stays_open_when_the_others_are_sent() {
    let mut world = World::new(vec![batch(|record| record["value"] = json!("*"))]);
    let report = world.redrive(&doing(json!({})));
    assert_eq!((report.sent, report.cannot), (1, 1), "{report:?}");
    assert!(report.left[0].why.contains("cannot be read"), "{report:?}");
    assert_eq!(world.list(&json!({})), ["0-0"]);
}

#[test]
fn a_repair_that_fits_no_single_record_is_refused_and_not_ignored() {
    let mut world = World::new(vec![batch(|_| {})]);
    let value = String::from_utf8(transaction("t9")).unwrap();
    let report = world.redrive(&doing(json!({ "repairs": [{ "letter": "0-0", "value": value }] })));
    assert_eq!((report.sent, report.cannot), (0, 1));
    assert!(report.left[0].why.contains("2 records"), "{report:?}");
}

#[test]
fn a_list_ends_where_there_is_no_room_for_more() {
    let mut world = World::new((0..9).map(unreadable).collect());
    let mut left = 3;
    let take = |_: &Letter| {
        left -= 1;
        left >= 0
    };
    let more = block_on(list(&mut world, &settings(), &plan(&json!({})), take)).unwrap();
    assert_eq!((more, world.read), (true, 4), "and nothing behind it is read");
}
