//! Look-ups.

use centinela_api::ports::UserItem;
use centinela_api::{Operation, Request, Scope};
use centinela_contracts::stored_decision::IndexedDecision;
use centinela_domain::profile::{Fact, Minute};
use centinela_domain::risk::{Day, Verdict};
use centinela_domain::rollup::Rollup;
use centinela_domain::{Millis, Profile, Risk};

use crate::world::{
    NOW, TRANSACTION, World, corrupt, decided, decision, json, problem, request, shrunk, transaction, unavailable,
};

fn of_decision(scopes: &[Scope], query: &str) -> Request {
    let mut asked = request(Operation::LookUpDecision, scopes, "");
    asked.path_parameters.insert("transaction_id".to_owned(), "tx-1".to_owned());
    Request { query: query.to_owned(), ..asked }
}

fn of_user(user: &str, scopes: &[Scope]) -> Request {
    let mut asked = request(Operation::LookUpUser, scopes, "");
    asked.path_parameters.insert("user_id".to_owned(), user.to_owned());
    asked
}

#[test]
fn a_decision_is_found_in_the_index_without_what_is_not_the_caller_s() {
    let world = World::new([]);
    world.state().index.push(IndexedDecision::of(&decision(&transaction(TRANSACTION))));
    let found = json(&world.ask(&of_decision(&[Scope::Read], "")))["decisions"][0].clone();
    assert_eq!((&found["outcome"], found.get("score"), found.get("user_id")), (&"BLOCKED".into(), None, None));
    let all = [Scope::Read, Scope::ReadScore, Scope::ReadUser];
    let found = json(&world.ask(&of_decision(&all, "")))["decisions"][0].clone();
    assert_eq!((&found["user_id"], found["score"].as_f64().is_some()), (&"ana".into(), true));
}

#[test]
fn with_its_user_a_decision_is_found_before_the_index_has_it_and_after_it_has_forgotten() {
    let transaction = transaction(TRANSACTION);
    let world = World::new([Ok(decided(&transaction))]);
    let found = json(&world.ask(&of_decision(&[Scope::Read], "user_id=ana")))["decisions"][0].clone();
    assert_eq!((&found["user_id"], &found["amount"]), (&"ana".into(), &"12.34".into()));
    let world = World::new([Ok(shrunk(&transaction))]);
    let found = json(&world.ask(&of_decision(&[Scope::Read], "user_id=ana")))["decisions"][0].clone();
    assert_eq!(found["reduced"], true);
    // Another user's decision on the same id is not this one's.
    let mut other = IndexedDecision::of(&decision(&transaction));
    other.decision_id.0[0] ^= 1;
    let world = World::new([Ok(UserItem::default())]);
    world.state().index.push(other);
    assert_eq!(problem(&world.ask(&of_decision(&[Scope::Read], "user_id=ana"))).1, "decision-not-found");
}

#[test]
fn what_is_not_there_is_told_from_what_could_not_be_read() {
    let read = &[Scope::Read];
    assert_eq!(problem(&World::new([]).ask(&of_decision(read, ""))), (404, "decision-not-found".to_owned()));
    let away = World::new([Err(unavailable as fn() -> _)]);
    assert_eq!(problem(&away.ask(&of_decision(read, "user_id=ana"))), (503, "state-unavailable".to_owned()));
    let torn = World::new([Err(corrupt as fn() -> _)]);
    assert_eq!(problem(&torn.ask(&of_user("ana", &[Scope::ReadUser]))), (500, "state-unreadable".to_owned()));
    let world = World::new([]);
    assert_eq!(problem(&world.ask(&of_user("ana", &[Scope::ReadUser]))), (404, "user-not-found".to_owned()));
    for wrong in ["", "a\u{7}", &"x".repeat(129)] {
        assert_eq!(problem(&world.ask(&of_user(wrong, &[Scope::ReadUser]))).1, "invalid-parameter", "{wrong}");
    }
    assert_eq!(problem(&world.ask(&of_decision(read, "user=ana"))).1, "invalid-parameter");
}

#[test]
fn a_user_is_shown_as_the_owners_of_the_item_know_it() {
    let mut item = decided(&transaction(TRANSACTION));
    item.profile = Some(Profile::from_facts([Fact::Registered { at: Minute::of(NOW) }]));
    let mut risk = Risk::default();
    risk.add(Day::of(NOW), Verdict::Chargeback);
    item.risk = Some(risk);
    let world = World::new([Ok(item)]);
    let shown = json(&world.ask(&of_user("ana", &[Scope::ReadUser])));
    assert_eq!((&shown["activity"]["transactions"], &shown["labels"]["fraud"]), (&1.into(), &1.into()));
    assert_eq!((&shown["decisions"][0]["outcome"], shown["decisions"][0].get("score")), (&"BLOCKED".into(), None));
    assert_eq!(shown["activity"]["device_types"], serde_json::json!(["mobile"]));
    let shown = json(&world.ask(&of_user("ana", &[Scope::ReadUser, Scope::ReadScore])));
    assert!(shown["decisions"][0]["score"].is_number());
    let partly = UserItem { unreadable: vec!["profile"], ..decided(&transaction(TRANSACTION)) };
    let shown = json(&World::new([Ok(partly)]).ask(&of_user("ana", &[Scope::ReadUser])));
    assert_eq!(shown["unreadable"][0], "profile");
}

#[test]
fn metrics_are_the_sum_of_their_windows() {
    let world = World::new([]);
    let mut one = Rollup::default();
    one.add(&decision(&transaction(TRANSACTION)));
    for start in [1_795_357_900_000, 1_795_357_910_000, 1_795_357_920_000] {
        world.state().rollups.insert(start, one.clone());
    }
    let mut asked = request(Operation::LookUpMetrics, &[Scope::Read], "");
    let shown = json(&world.ask(&asked));
    assert_eq!((&shown["total"]["decisions"], &shown["total"]["block_rate"]), (&3.into(), &1.0.into()));
    assert_eq!(shown["total"]["money_minor"]["EUR"]["blocked"], 3 * 1234);
    assert_eq!(shown["windows"].as_array().unwrap().len(), 3);
    asked.query = "from=2026-11-22T14:31:50Z&to=1795357920000".to_owned();
    let shown = json(&world.ask(&asked));
    assert_eq!(Millis(shown["from"].as_i64().unwrap()), Millis(1_795_357_910_000));
    assert_eq!(shown["total"]["decisions"], 1);
}

#[test]
fn health_is_anybody_s() {
    let asked = Request { scopes: None, ..request(Operation::Health, &[], "") };
    assert_eq!(json(&World::new([]).ask(&asked))["status"], "ok");
    assert_eq!(World::new([Err(unavailable as fn() -> _)]).ask(&asked).response.status, 503);
}
