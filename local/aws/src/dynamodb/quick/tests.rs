//! The same requests to two databases, one of which knows no short way: every answer and every unit is the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use centinela_serve::BoxError;
use dynoxide::Database;
use futures::future::BoxFuture;
use http::StatusCode;
use http::request::Parts;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::dynamodb::{create_table, engine::Engine};
use crate::fault::NoFaults;
use crate::proxy::{Answer, Charge, DynamoStats, ProxiedService, Proxy, Upstream};
use crate::specs::{AttrType, TableSpec};

/// The engine, with its short way or without it.
struct Asked {
    engine: Engine,
    is_quick: bool,
    /// Calls that took the short way.
    quick: AtomicU64,
}

impl Upstream for Asked {
    fn admit<'a>(&self, head: &'a Parts) -> Result<&'a str, Answer> {
        self.engine.admit(head)
    }

    fn call<'a>(&'a self, target: &'a str, body: Bytes) -> BoxFuture<'a, Result<Answer, BoxError>> {
        self.engine.call(target, body)
    }

    fn at_once(&self, operation: &str, body: &[u8]) -> Option<(Bytes, Vec<Charge>)> {
        let answer = if self.is_quick { self.engine.at_once(operation, body) } else { None };
        self.quick.fetch_add(u64::from(answer.is_some()), Ordering::Relaxed);
        answer
    }

    fn stored(&self, table: &str, item: &dynoxide::Item) -> Option<dynoxide::Item> {
        self.engine.stored(table, item)
    }
}

/// A database with a table that is served quickly and one that is not.
async fn database(is_quick: bool) -> (Arc<Asked>, Proxy) {
    let database = Database::memory().expect("memory");
    let key = |name: &str| (name.to_owned(), AttrType::S);
    for (name, sort_key) in [("tab", None), ("sorted", Some(key("sk")))] {
        let (name, ttl_attribute) = (name.to_owned(), Some("expires".to_owned()));
        let table = TableSpec { name, partition_key: key("pk"), sort_key, ttl_attribute };
        create_table(&database, &table).expect("a table");
    }
    let asked = Arc::new(Asked { engine: Engine::new(database), is_quick, quick: AtomicU64::new(0) });
    let upstream = Arc::clone(&asked);
    let proxy = Proxy::before(upstream, ProxiedService::DynamoDb, None, Arc::new(NoFaults), None).await;
    (asked, proxy.expect("a port"))
}

/// Operations and bodies, asked one after the other; answers that have to be alike, what they cost, and how many took the short way.
async fn answers(is_quick: bool, requests: &[(&str, Value)]) -> (Vec<(StatusCode, Value)>, DynamoStats, u64) {
    let (asked, proxy) = database(is_quick).await;
    let mut answers = Vec::new();
    for (operation, body) in requests {
        if *operation == "expire" {
            asked.engine.expire().expect("swept");
            continue;
        }
        let (status, answer) = proxy.ask(operation, body.to_string().into()).await;
        let mut answer: Value = serde_json::from_slice(&answer).expect("JSON");
        if *operation == "DescribeTable" {
            answer = json!([answer["Table"]["ItemCount"], answer["Table"]["TableSizeBytes"]]);
        }
        answers.push((status, answer));
    }
    (answers, proxy.snapshot(), asked.quick.load(Ordering::Relaxed))
}

fn assert_alike(requests: &[(&str, Value)]) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (expected, expected_units, _) = answers(false, requests).await;
        let (found, units, quick) = answers(true, requests).await;
        for (((found, expected), (operation, body)), index) in found.iter().zip(&expected).zip(requests).zip(0..) {
            assert_eq!(found, expected, "request {index}: {operation} {body}\nof {requests:#?}");
        }
        assert_eq!(units, expected_units, "{requests:#?}");
        quick
    })
}

fn key() -> impl Strategy<Value = Value> {
    let usual = select(vec!["a", "b", "c", "ü\"\\\n"]).prop_map(|key| json!({ "S": key }));
    let odd = select(vec![json!({ "S": "" }), json!({ "N": "1" }), json!({ "S": "x".repeat(2_049) }), json!({})]);
    prop_oneof![20 => usual, 1 => odd]
}

fn value() -> impl Strategy<Value = Value> {
    let numbers =
        ["0", "1", "2", "-7", "10", "1234567890123456789", "01", "1.0", "1e3", "-0", "", "x", "12345678901234567890"];
    let bytes = ["", "AQID", "AQI=", "AQ==", "AR==", "AQ", "A", "!!!!", "AQID\n"];
    prop_oneof![
        4 => select(vec!["", "x", "\"quoted\" \\ \u{1f980}\u{1}"]).prop_map(|text| json!({ "S": text })),
        8 => select(numbers.to_vec()).prop_map(|number| json!({ "N": number })),
        4 => select(bytes.to_vec()).prop_map(|bytes| json!({ "B": bytes })),
        2 => select(vec![700_usize, 1_000, 1_500, 5_000]).prop_map(|length| json!({ "S": "y".repeat(length) })),
        1 => select(vec![
            json!({ "BOOL": true }), json!({ "NULL": true }), json!({ "L": [] }), json!({ "S": "x", "N": null }), json!({ "S": 7 }), json!({})
        ]),
    ]
}

fn statement() -> impl Strategy<Value = Value> {
    let usual = (key(), value(), value(), value()).prop_flat_map(|(key, new, other, old)| {
        select(vec![
            (r#"INSERT INTO "tab" VALUE {'pk':?,'v':?,'s':?}"#, vec![key.clone(), new.clone(), other.clone()]),
            (r#"INSERT INTO "tab" VALUE {'pk':?,'v':?,'expires':?}"#, vec![key.clone(), new.clone(), other.clone()]),
            (
                r#"UPDATE "tab" SET v=? SET s=? WHERE pk=? AND v=?"#,
                vec![new.clone(), other.clone(), key.clone(), old.clone()],
            ),
            (r#"UPDATE "tab" SET v=? SET s=? WHERE pk=? AND v=?"#, vec![new.clone(), other.clone(), key.clone(), old]),
            (r#"UPDATE "tab" SET p=? WHERE pk=? AND p IS MISSING"#, vec![new.clone(), key.clone()]),
            (r#"UPDATE "tab" SET v=? WHERE pk=?"#, vec![new, key]),
        ])
    });
    let odd = (key(), value()).prop_flat_map(|(key, value)| {
        select(vec![
            (r#"UPDATE "tab" SET pk=? WHERE pk=?"#, vec![value.clone(), key.clone()]),
            (r#"UPDATE "tab" SET name=? WHERE pk=?"#, vec![value.clone(), key.clone()]),
            (r#"UPDATE "tab" SET v=? WHERE v=?"#, vec![value.clone(), value.clone()]),
            (r#"UPDATE "tab" SET v=? WHERE pk=?"#, vec![value.clone()]),
            (r#"UPDATE "tab" SET v=? REMOVE s WHERE pk=?"#, vec![value.clone(), key.clone()]),
            (r#"UPDATE "nobody" SET v=? WHERE pk=?"#, vec![value.clone(), key.clone()]),
            (r#"UPDATE "sorted" SET v=? WHERE pk=? AND sk=?"#, vec![value.clone(), key.clone(), key.clone()]),
            (r#"INSERT INTO "sorted" VALUE {'pk':?,'sk':?}"#, vec![key.clone(), key.clone()]),
            (r#"INSERT INTO "tab" VALUE {'v':?}"#, vec![value.clone()]),
            (r#"DELETE FROM "tab" WHERE pk=?"#, vec![key.clone()]),
            (r#"SELECT * FROM "tab" WHERE pk=?"#, vec![key]),
            ("no statement", vec![value]),
        ])
    });
    let wanted = select(vec![json!(null), json!("NONE"), json!("ALL_OLD")]);
    (prop_oneof![12 => usual, 1 => odd], wanted).prop_map(|((text, parameters), wanted)| {
        let mut statement = json!({ "Statement": text, "Parameters": parameters });
        if !wanted.is_null() {
            statement["ReturnValuesOnConditionCheckFailure"] = wanted;
        }
        statement
    })
}

fn batch_get() -> impl Strategy<Value = Value> {
    let projections = select(vec![
        json!({}),
        json!({}),
        json!({ "ConsistentRead": true }),
        json!({ "ProjectionExpression": "#a0,#a1", "ExpressionAttributeNames": { "#a0": "pk", "#a1": "v" } }),
        json!({ "ProjectionExpression": "#a0 , #a1", "ExpressionAttributeNames": { "#a0": "v", "#a1": "p" } }),
        json!({ "ProjectionExpression": "#a0,#a0", "ExpressionAttributeNames": { "#a0": "v" } }),
        json!({ "ProjectionExpression": "#a0", "ExpressionAttributeNames": { "#a0": "v", "#a1": "s" } }),
        json!({ "ProjectionExpression": "v", "ConsistentRead": true }),
    ]);
    let tables = select(vec!["tab", "tab", "tab", "tab", "nobody", "sorted"]);
    let of_table = (tables, vec(key(), 0..4), projections, any::<bool>());
    (of_table, any::<bool>()).prop_map(|((table, keys, mut wanted, is_sorted), counts)| {
        let key = |key: &Value| {
            if is_sorted && table == "sorted" { json!({ "pk": key, "sk": key }) } else { json!({ "pk": key }) }
        };
        wanted["Keys"] = keys.iter().map(key).collect();
        let mut body = json!({ "RequestItems": { table: wanted } });
        if counts {
            body["ReturnConsumedCapacity"] = json!("TOTAL");
        }
        body
    })
}

/// What goes the engine's way, and leaves something behind or looks at it.
fn other() -> impl Strategy<Value = (&'static str, Value)> {
    (key(), value(), key()).prop_flat_map(|(key, value, other)| {
        let of = |key: &Value| json!({ "TableName": "tab", "Key": { "pk": key } });
        let update = |key: &Value| {
            let mut update = of(key);
            update["UpdateExpression"] = json!("SET v = :v");
            update["ExpressionAttributeValues"] = json!({ ":v": value });
            update
        };
        let put = json!({ "TableName": "tab", "Item": { "pk": key, "v": value, "expires": { "N": "1" } } });
        select(vec![
            ("PutItem", put.clone()),
            ("GetItem", of(&key)),
            ("DeleteItem", of(&key)),
            ("UpdateItem", update(&key)),
            ("TransactWriteItems", json!({ "TransactItems": [{ "Put": put }, { "Delete": of(&other) }] })),
            ("BatchWriteItem", json!({ "RequestItems": { "tab": [{ "DeleteRequest": { "Key": { "pk": key } } }] } })),
            ("Scan", json!({ "TableName": "arn:aws:dynamodb:us-east-1:000000000000:table/tab" })),
            (
                "Query",
                json!({
                    "TableName": "tab", "KeyConditionExpression": "pk = :k", "ExpressionAttributeValues": { ":k": key }
                }),
            ),
            ("DescribeTable", json!({ "TableName": "tab" })),
            ("ExecuteStatement", json!({ "Statement": r#"SELECT * FROM "tab""# })),
            (
                "ExecuteStatement",
                json!({ "Statement": r#"UPDATE "tab" SET v=? WHERE pk=?"#, "Parameters": [value, key] }),
            ),
            (
                "ExecuteTransaction",
                json!({ "TransactStatements": [
                { "Statement": r#"INSERT INTO "tab" VALUE {'pk':?,'v':?}"#, "Parameters": [key, value] }
            ] }),
            ),
            ("expire", json!({})),
        ])
    })
}

fn request() -> impl Strategy<Value = (&'static str, Value)> {
    let statements = vec(statement(), 1..4).prop_map(|statements| json!({ "Statements": statements }));
    prop_oneof![
        6 => statements.prop_map(|body| ("BatchExecuteStatement", body)),
        4 => batch_get().prop_map(|body| ("BatchGetItem", body)),
        2 => other(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn both_ways_have_the_same_answers_and_the_same_costs(requests in vec(request(), 1..40)) {
        assert_alike(&requests);
    }
}

const INSERT: &str = r#"INSERT INTO "tab" VALUE {'pk':?,'v':?,'s':?}"#;
const UPDATE: &str = r#"UPDATE "tab" SET v=? SET s=? WHERE pk=? AND v=?"#;

fn execute(text: &str, parameters: Value) -> (&'static str, Value) {
    ("BatchExecuteStatement", json!({ "Statements": [{ "Statement": text, "Parameters": parameters }] }))
}

#[test]
fn what_functions_ask_takes_the_short_way_from_its_second_time_on() {
    let insert = |key: &str| execute(INSERT, json!([{ "S": key }, { "N": "1" }, { "B": "AQID" }]));
    let update = |key: &str| execute(UPDATE, json!([{ "N": "2" }, { "B": "BAUG" }, { "S": key }, { "N": "1" }]));
    let get = (
        "BatchGetItem",
        json!({ "RequestItems": { "tab": { "Keys": [{ "pk": { "S": "a" } }, { "pk": { "S": "b" } }], "ConsistentRead": true } } }),
    );
    let requests =
        [insert("a"), insert("b"), insert("b"), update("a"), update("a"), update("nobody"), get.clone(), get];
    assert_eq!(assert_alike(&requests), 6, "the first of each statement is the engine's");
}

/// Two batches at two tables: what failed at a table where nothing was done is charged only where nothing was done at all.
#[test]
fn what_failed_is_charged_as_the_engine_reports_it() {
    let at = |table: &str, text: &str, parameters: Value| json!({ "Statement": text.replace("\"tab\"", &format!("{table:?}")), "Parameters": parameters });
    let insert =
        |table: &str, key: &str| at(table, INSERT, json!([{ "S": key }, { "N": "1" }, { "S": "z".repeat(1_500) }]));
    let create = json!({
        "TableName": "tub", "BillingMode": "PAY_PER_REQUEST", "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
        "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
    });
    let batch = |statements: Value| ("BatchExecuteStatement", json!({ "Statements": statements }));
    let requests = [
        ("CreateTable", create),
        batch(json!([insert("tab", "a"), insert("tub", "a")])),
        batch(json!([insert("tab", "a"), insert("tub", "b")])),
        batch(json!([insert("tab", "a"), insert("tub", "b")])),
        batch(json!([insert("tab", "a"), insert("tab", "c"), insert("tub", "c")])),
    ];
    assert_eq!(assert_alike(&requests[1..2]), 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (_, expected, _) = answers(false, &requests).await;
        let (_, units, quick) = answers(true, &requests).await;
        assert_eq!((units, quick), (expected, 3));
    });
}

/// An item that another type of value was put into is the engine's until it is gone, and what the engine lost is not there here.
#[test]
fn an_item_that_cannot_be_held_here_is_left_to_the_engine() {
    let set = |value: Value| {
        (
            "UpdateItem",
            json!({
                "TableName": "tab", "Key": { "pk": { "S": "a" } }, "UpdateExpression": "SET l = :l", "ExpressionAttributeValues": { ":l": value }
            }),
        )
    };
    let insert = || execute(INSERT, json!([{ "S": "a" }, { "N": "1" }, { "B": "AQID" }]));
    let update = || execute(UPDATE, json!([{ "N": "2" }, { "B": "BAUG" }, { "S": "a" }, { "N": "1" }]));
    let get = || ("BatchGetItem", json!({ "RequestItems": { "tab": { "Keys": [{ "pk": { "S": "a" } }] } } }));
    let requests = [
        insert(),
        update(),
        get(),
        set(json!({ "L": [{ "S": "x" }] })),
        get(),
        update(),
        set(json!({ "S": "x" })),
        get(),
        update(),
        ("DeleteItem", json!({ "TableName": "tab", "Key": { "pk": { "S": "a" } } })),
        get(),
        insert(),
        get(),
        ("ExecuteStatement", json!({ "Statement": "DELETE FROM \"tab\" WHERE pk='a'" })),
        get(),
        insert(),
        get(),
    ];
    let quick = assert_alike(&requests);
    assert!((5..12).contains(&quick), "{quick}");
}

#[test]
fn what_has_expired_is_gone_both_ways() {
    let text = r#"INSERT INTO "tab" VALUE {'pk':?,'expires':?}"#;
    let insert = |key: &str, second: &str| execute(text, json!([{ "S": key }, { "N": second }]));
    let requests = [
        insert("a", "99999999999"),
        insert("b", "1"),
        insert("c", "99999999998"),
        ("expire", json!({})),
        ("Scan", json!({ "TableName": "tab" })),
        ("DescribeTable", json!({ "TableName": "tab" })),
        insert("b", "2"),
        ("expire", json!({})),
        (
            "BatchGetItem",
            json!({ "RequestItems": { "tab": { "Keys": [{ "pk": { "S": "a" } }, { "pk": { "S": "b" } }] } } }),
        ),
    ];
    assert_alike(&requests);
}

#[test]
fn a_key_that_no_item_can_have_loses_nothing() {
    let insert = |key: &str| execute(INSERT, json!([{ "S": key }, { "N": "1" }, { "B": "AQID" }]));
    for key in [String::new(), "x".repeat(2_049)] {
        assert_alike(&[insert("a"), insert("b"), insert(&key), insert("b"), insert("c")]);
    }
}
