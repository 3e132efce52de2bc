//! The OpenAPI file says what the code does, and the code nothing else.

use std::collections::BTreeSet;

use centinela_api::{Kind, Operation, RECORDS_MAX, Scope};
use centinela_contracts::event_v1::EventKind;
use centinela_contracts::user_action_v1::{ActionKind, LoginOutcome};
use centinela_domain::{DeviceType, Outcome};
use serde_json::Value;

use crate::openapi::{declared, file, problems, resolved};
use crate::world::TRANSACTION;

fn texts(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn named(names: impl IntoIterator<Item = &'static str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn the_file_has_the_operations_of_the_code_with_their_scopes_and_parameters() {
    let mut in_file = BTreeSet::new();
    for (path, methods) in file()["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            in_file.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let in_code: BTreeSet<String> = Operation::ALL.into_iter().map(Operation::route_key).collect();
    assert_eq!(in_file, in_code);
    for operation in Operation::ALL {
        let declared = declared(operation);
        let scopes = texts(&declared["security"][0]["token"]);
        assert_eq!(scopes, named(operation.scope().map(Scope::as_str)), "{operation:?}");
        let parameters = declared["parameters"].as_array().into_iter().flatten().map(resolved);
        let of = |kind: &str| -> BTreeSet<String> {
            let all = parameters.clone().filter(|one| one["in"] == kind);
            all.filter_map(|one| one["name"].as_str()).map(str::to_owned).collect()
        };
        assert_eq!(of("query"), named(operation.query().iter().copied()), "{operation:?}");
        let in_path: BTreeSet<_> =
            operation.path().split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(of("path"), named(in_path), "{operation:?}");
    }
}

#[test]
fn the_file_has_the_words_of_the_code() {
    let schemas = &file()["components"]["schemas"];
    let scopes = &file()["components"]["securitySchemes"]["token"]["flows"]["clientCredentials"]["scopes"];
    let scopes: BTreeSet<String> = scopes.as_object().unwrap().keys().cloned().collect();
    assert_eq!(scopes, named(Scope::ALL.map(Scope::as_str)));
    let kinds: BTreeSet<String> = Kind::ALL.into_iter().map(Kind::type_uri).collect();
    assert_eq!(texts(&schemas["Problem"]["properties"]["type"]["enum"]), kinds);
    assert_eq!(texts(&schemas["Outcome"]["enum"]), named(Outcome::ALL.map(Outcome::as_str)));
    let of = |schema: &str, field: &str| texts(&schemas[schema]["properties"][field]["enum"]);
    assert_eq!(of("Transaction", "device_type"), named(DeviceType::ALL.map(DeviceType::as_str)));
    assert_eq!(of("UserAction", "action"), named(ActionKind::ALL.map(ActionKind::as_str)));
    assert_eq!(of("UserAction", "outcome"), named(LoginOutcome::ALL.map(LoginOutcome::as_str)));
    let labels = EventKind::LABELS.map(|kind| kind.as_str().to_owned());
    assert_eq!(of("Label", "event"), labels.into_iter().collect());
    for list in ["Transactions", "UserActions", "Labels"] {
        assert_eq!(schemas[list]["anyOf"][1]["maxItems"], RECORDS_MAX, "{list}");
    }
}

#[test]
fn every_problem_of_an_operation_is_promised() {
    for kind in Kind::ALL {
        let status = kind.status().to_string();
        for operation in Operation::ALL.into_iter().filter(|operation| may_end_in(*operation, kind)) {
            assert!(declared(operation)["responses"].get(&status).is_some(), "{operation:?}: {kind:?}");
        }
    }
}

/// Whether an operation may be answered with a problem.
fn may_end_in(operation: Operation, kind: Kind) -> bool {
    use Operation::{Decide, Health, LookUpDecision, LookUpMetrics, LookUpUser, SendTransactions};
    let has_body = operation.route_key().starts_with("POST ");
    match kind {
        // Of no operation.
        Kind::NotFound | Kind::MethodNotAllowed => false,
        Kind::MalformedBody | Kind::BodyTooLarge | Kind::UnsupportedMediaType | Kind::InvalidRecord => has_body,
        Kind::NotAccepted => has_body,
        Kind::TooManyRecords => has_body && operation != Decide,
        Kind::IdempotencyKeyDiffers => matches!(operation, Decide | SendTransactions),
        Kind::TransactionIdReused => operation == Decide,
        Kind::InvalidParameter => matches!(operation, LookUpDecision | LookUpUser | LookUpMetrics),
        Kind::NotAuthenticated | Kind::ScopeMissing => operation.scope().is_some(),
        Kind::DecisionNotFound => operation == LookUpDecision,
        Kind::UserNotFound => operation == LookUpUser,
        Kind::StateUnreadable => matches!(operation, Decide | LookUpDecision | LookUpUser | LookUpMetrics),
        Kind::StateUnavailable => !has_body || operation == Health,
    }
}

#[test]
fn the_validator_finds_what_is_wrong() {
    let schema = &file()["components"]["schemas"]["Transaction"];
    let good: Value = serde_json::from_str(TRANSACTION).unwrap();
    assert_eq!(problems(schema, &good, "it"), Vec::<String>::new());
    for (field, value) in [("device_type", "phone".into()), ("timestamp", true.into()), ("user_id", Value::Null)] {
        let mut wrong = good.clone();
        wrong[field] = value;
        assert_eq!(problems(schema, &wrong, "it").len(), 1, "{field}");
    }
    let mut missing = good;
    missing.as_object_mut().unwrap().remove("amount");
    assert_eq!(problems(schema, &missing, "it"), ["it.amount is missing"]);
}
