//! `POST /v1/decisions`.

use centinela_api::ports::{Target, UserItem};
use centinela_api::{Operation, Scope};
use centinela_contracts::decision_v1;
use centinela_contracts::stored_decision::IndexedDecision;

use crate::world::{
    TRANSACTION, World, corrupt, decided, decision, json, problem, request, shrunk, transaction, unavailable,
};

const DECIDE: &[Scope] = &[Scope::Decide];
const SEES_ALL: &[Scope] = &[Scope::Decide, Scope::ReadScore];

fn nothing() -> UserItem {
    UserItem::default()
}

#[test]
fn the_transaction_is_sent_as_it_came_and_answered_with_the_published_bytes() {
    let transaction = transaction(TRANSACTION);
    let world = World::new([Ok(nothing()), Ok(nothing()), Ok(decided(&transaction))]);
    let answer = world.ask(&request(Operation::Decide, SEES_ALL, TRANSACTION));
    assert_eq!((answer.response.status, answer.done.decided), (200, 1));
    assert_eq!(answer.response.body, decision_v1::encode(&decision(&transaction)));
    let state = world.state();
    assert_eq!(state.sent, [(Target::Transactions, "tx-1".to_owned(), TRANSACTION.as_bytes().to_vec())]);
    assert_eq!(state.reads, [false, false, false], "none of these reads was the last word");
}

#[test]
fn without_the_scope_there_is_no_score_nor_what_would_tell_it() {
    let world = World::new([Ok(nothing()), Ok(decided(&transaction(TRANSACTION)))]);
    let answer = json(&world.ask(&request(Operation::Decide, DECIDE, TRANSACTION)));
    assert_eq!((&answer["outcome"], &answer["amount"]), (&"BLOCKED".into(), &"12.34".into()));
    assert_eq!(answer["reasons"][0], serde_json::json!({ "code": "NEW_DEVICE" }));
    for hidden in ["score", "features", "features_version"] {
        assert!(answer.get(hidden).is_none(), "{hidden} in {answer}");
    }
}

#[test]
fn a_decision_that_does_not_come_in_time_is_pending_and_the_last_look_is_consistent() {
    let world = World::new([Ok(nothing())]);
    let answer = world.ask(&request(Operation::Decide, DECIDE, TRANSACTION));
    assert_eq!((answer.response.status, answer.done.pending), (202, 1));
    let location = "/v1/decisions/tx-1?user_id=ana";
    assert_eq!(json(&answer)["location"], location);
    assert!(answer.response.headers.contains(&("location", location.to_owned())));
    let state = world.state();
    let (last, earlier) = state.reads.split_last().unwrap();
    assert!(*last && earlier.iter().all(|consistent| !consistent), "{:?}", state.reads);
    assert!((8..20).contains(&state.reads.len()), "{} reads", state.reads.len());
}

#[test]
fn a_repetition_is_answered_and_not_sent_again() {
    let transaction = transaction(TRANSACTION);
    let world = World::new([Ok(decided(&transaction))]);
    let answer = world.ask(&request(Operation::Decide, SEES_ALL, TRANSACTION));
    assert_eq!(answer.response.body, decision_v1::encode(&decision(&transaction)));
    assert!(world.state().sent.is_empty());

    let world = World::new([Ok(shrunk(&transaction))]);
    let answer = json(&world.ask(&request(Operation::Decide, SEES_ALL, TRANSACTION)));
    assert_eq!((&answer["reduced"], &answer["outcome"]), (&true.into(), &"BLOCKED".into()));

    // The index knows more than an entry without evidence.
    world.state().index.push(IndexedDecision::of(&decision(&transaction)));
    let answer = json(&world.ask(&request(Operation::Decide, SEES_ALL, TRANSACTION)));
    assert_eq!((answer.get("reduced"), &answer["amount"]), (None, &"12.34".into()));
    assert!(world.state().sent.is_empty());
}

#[test]
fn the_same_id_with_another_content_is_refused_whoever_knows_it() {
    let other = TRANSACTION.replace("12.34", "99.99");
    let first = transaction(TRANSACTION);
    let reused = (409, "transaction-id-reused".to_owned());
    let known = World::new([Ok(decided(&first))]);
    assert_eq!(problem(&known.ask(&request(Operation::Decide, DECIDE, &other))), reused);
    assert!(known.state().sent.is_empty());
    // Two at a time: both are sent, the other one is decided.
    let racing = World::new([Ok(nothing()), Ok(decided(&first))]);
    assert_eq!(problem(&racing.ask(&request(Operation::Decide, DECIDE, &other))), reused);
    let indexed = World::new([Ok(nothing())]);
    indexed.state().index.push(IndexedDecision::of(&decision(&first)));
    assert_eq!(problem(&indexed.ask(&request(Operation::Decide, DECIDE, &other))), reused);
}

#[test]
fn the_idempotency_key_is_the_transaction_id() {
    let world = World::new([Ok(decided(&transaction(TRANSACTION)))]);
    let mut asked = request(Operation::Decide, DECIDE, TRANSACTION);
    asked.idempotency_key = Some("tx-1".to_owned());
    assert_eq!(world.ask(&asked).response.status, 200);
    asked.idempotency_key = Some("tx-2".to_owned());
    assert_eq!(problem(&world.ask(&asked)), (400, "idempotency-key-differs".to_owned()));
}

#[test]
fn what_does_not_work_is_said_and_nothing_is_lost_by_it() {
    let transaction = transaction(TRANSACTION);
    let asked = request(Operation::Decide, DECIDE, TRANSACTION);
    // A first look that fails keeps nothing from being sent.
    let world = World::new([Err(unavailable as fn() -> _), Ok(decided(&transaction))]);
    assert_eq!(world.ask(&asked).response.status, 200);
    assert_eq!(world.state().sent.len(), 1);
    let world = World::new([Err(unavailable as fn() -> _)]);
    assert_eq!(world.ask(&asked).response.status, 202);
    let world = World::new([Err(corrupt as fn() -> _)]);
    assert_eq!(problem(&world.ask(&asked)), (500, "state-unreadable".to_owned()));
    let world = World::new([Ok(nothing())]);
    world.state().fails_from = Some(0);
    let answer = world.ask(&asked);
    assert_eq!(problem(&answer), (503, "not-accepted".to_owned()));
    assert!(answer.response.headers.contains(&("retry-after", "1".to_owned())));
}

#[test]
fn a_body_that_is_no_transaction_is_refused_with_the_field() {
    let world = World::new([Ok(nothing())]);
    for (body, wanted) in [
        ("{", (400, "malformed-body")),
        ("", (415, "unsupported-media-type")),
        ("[1]", (422, "invalid-record")),
        (TRANSACTION.replace("12.34", "12.345").as_str(), (422, "invalid-record")),
        (TRANSACTION.replace("\"ana\"", "null").as_str(), (422, "invalid-record")),
        (format!("{{\"a\":\"{}\"}}", "x".repeat(70_000)).as_str(), (413, "body-too-large")),
    ] {
        let answer = world.ask(&request(Operation::Decide, DECIDE, body));
        assert_eq!(problem(&answer), (wanted.0, wanted.1.to_owned()), "{}", &body[..body.len().min(100)]);
    }
    let answer = world.ask(&request(Operation::Decide, DECIDE, &TRANSACTION.replace("12.34", "-1")));
    assert_eq!(json(&answer)["errors"][0]["field"], "amount");
    assert!(world.state().sent.is_empty());
}
