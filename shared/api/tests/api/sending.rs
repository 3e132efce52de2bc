//! Records into Kafka, and who may.

use centinela_api::ports::Target;
use centinela_api::{Operation, Request, Scope};

use crate::world::{TRANSACTION, World, json, problem, request};

const ACTION: &str = r#"{"action_id":"a-1","timestamp":1795357920000,"user_id":"ana","action":"logged_in"}"#;
const LABEL: &str =
    r#"{"event_id":"e-1","timestamp":1795357920000,"user_id":"ana","transaction_id":"tx-1","event":"chargeback"}"#;

fn ask(world: &World, operation: Operation, body: &str) -> centinela_api::Handled {
    world.ask(&request(operation, &[Scope::Ingest, Scope::Label], body))
}

#[test]
fn one_record_or_many_go_to_their_topic_by_their_key() {
    for (operation, record, target, key) in [
        (Operation::SendTransactions, TRANSACTION, Target::Transactions, "tx-1"),
        (Operation::SendUserActions, ACTION, Target::UserActions, "ana"),
        (Operation::SendLabels, LABEL, Target::Events, "ana"),
    ] {
        let world = World::new([]);
        let answer = ask(&world, operation, record);
        assert_eq!((answer.response.status, answer.done.accepted), (202, 1), "{operation:?}");
        let answer = ask(&world, operation, &format!("[{record},\n{record}]"));
        assert_eq!((json(&answer)["accepted"].as_u64(), answer.done.accepted), (Some(2), 2));
        let sent = (target, key.to_owned(), record.as_bytes().to_vec());
        assert_eq!(world.state().sent, [sent.clone(), sent.clone(), sent], "{operation:?}");
    }
}

#[test]
fn transactions_say_where_their_decisions_will_be() {
    let answer = ask(&World::new([]), Operation::SendTransactions, TRANSACTION);
    assert_eq!(json(&answer)["decisions"][0]["location"], "/v1/decisions/tx-1?user_id=ana");
}

#[test]
fn a_wrong_record_keeps_all_from_being_sent_and_each_is_named() {
    let world = World::new([]);
    let wrong = ACTION.replace("logged_in", "danced");
    let answer = ask(&world, Operation::SendUserActions, &format!("[{ACTION},{wrong},{ACTION},7]"));
    assert_eq!(problem(&answer), (422, "invalid-record".to_owned()));
    let errors = json(&answer)["errors"].clone();
    assert_eq!(
        (&errors[0]["index"], &errors[0]["field"], &errors[1]["index"]),
        (&1.into(), &"action".into(), &3.into())
    );
    assert!(world.state().sent.is_empty());
}

#[test]
fn a_label_that_would_count_for_nobody_and_an_event_that_is_none_are_refused() {
    let world = World::new([]);
    for wrong in [LABEL.replace("chargeback", "shipped"), LABEL.replace(r#""user_id":"ana","#, "")] {
        assert_eq!(problem(&ask(&world, Operation::SendLabels, &wrong)).0, 422, "{wrong}");
    }
    assert!(world.state().sent.is_empty());
}

#[test]
fn too_many_records_are_refused_and_what_kafka_did_not_confirm_is_said() {
    let world = World::new([]);
    let many = format!("[{}{ACTION}]", format!("{ACTION},").repeat(500));
    assert_eq!(problem(&ask(&world, Operation::SendUserActions, &many)), (413, "too-many-records".to_owned()));
    world.state().fails_from = Some(2);
    let answer = ask(&world, Operation::SendUserActions, &format!("[{ACTION},{ACTION},{ACTION}]"));
    assert_eq!((problem(&answer).0, &json(&answer)["accepted"]), (503, &2.into()));
}

#[test]
fn nobody_does_what_is_not_theirs() {
    let world = World::new([]);
    for operation in Operation::ALL {
        let Some(needed) = operation.scope() else { continue };
        let others: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| *scope != needed).collect();
        let answer = world.ask(&request(operation, &others, "{}"));
        assert_eq!(problem(&answer), (403, "scope-missing".to_owned()), "{operation:?}");
        assert!(String::from_utf8_lossy(&answer.response.body).contains(needed.as_str()));
        let nobody = Request { scopes: None, ..request(operation, &[], "{}") };
        assert_eq!(problem(&world.ask(&nobody)).0, 401);
    }
}

#[test]
fn another_method_or_path_has_an_answer_too() {
    let asked = |path: &str| Request { route_key: "$default".to_owned(), path: path.to_owned(), ..Request::default() };
    let world = World::new([]);
    let answer = world.ask(&asked("/v1/labels"));
    assert_eq!(problem(&answer), (405, "method-not-allowed".to_owned()));
    assert!(answer.response.headers.contains(&("allow", "POST".to_owned())));
    assert_eq!(problem(&world.ask(&asked("/v2"))), (404, "not-found".to_owned()));
}
