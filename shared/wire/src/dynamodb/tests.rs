//! Our requests beside the SDK's, and answers of every kind.

use std::collections::HashMap;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementRequest, KeysAndAttributes, ReturnValuesOnConditionCheckFailure,
};
use proptest::prelude::*;
use serde_json::json;

use super::captured::{Capture, Request, runtime};
use super::*;

const WANTED: &[&str] = &["pk", "v", "s"];

fn sdk(capture: &Capture) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::from_conf(
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("a", "b", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .interceptor(capture.clone())
            .build(),
    )
}

/// A value that both clients can write.
#[derive(Clone, Debug)]
enum Any {
    Text(String),
    Number(i64),
    Bytes(Vec<u8>),
}

impl Any {
    fn ours(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Number(number) => Value::Number(i128::from(*number)),
            Self::Bytes(bytes) => Value::Bytes(bytes),
        }
    }

    fn theirs(&self) -> AttributeValue {
        match self {
            Self::Text(text) => AttributeValue::S(text.clone()),
            Self::Number(number) => AttributeValue::N(number.to_string()),
            Self::Bytes(bytes) => AttributeValue::B(Blob::new(bytes.clone())),
        }
    }
}

fn any_value() -> impl Strategy<Value = Any> {
    prop_oneof![
        // Control characters have two spellings in JSON.
        "[^\\x00-\\x1f]{0,40}".prop_map(Any::Text),
        any::<i64>().prop_map(Any::Number),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Any::Bytes),
    ]
}

fn key_of(key: &str) -> HashMap<String, AttributeValue> {
    HashMap::from([("pk".to_owned(), AttributeValue::S(key.to_owned()))])
}

fn same_envelope(theirs: &Request, target: &str) {
    let seen = [&theirs.method, &theirs.path, &theirs.target, &theirs.content_type];
    assert_eq!(seen, ["POST", "/", target, SERVICE.content_type]);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn statements_are_the_sdks_byte_for_byte(
        statements in prop::collection::vec(
            ("[^\\x00-\\x1f]{1,60}", prop::collection::vec(any_value(), 1..5), any::<bool>()), 1..26,
        ),
    ) {
        let plain: Vec<Statement<'_>> = statements
            .iter()
            .map(|(text, parameters, returns_item)| Statement {
                text, parameters: parameters.iter().map(Any::ours).collect(), returns_item: *returns_item,
            })
            .collect();
        let mut ours = Vec::new();
        write::statements(&mut ours, &plain);
        let theirs = statements.iter().map(|(text, parameters, returns_item)| {
            let all_old = returns_item.then_some(ReturnValuesOnConditionCheckFailure::AllOld);
            BatchStatementRequest::builder()
                .statement(text)
                .set_parameters(Some(parameters.iter().map(Any::theirs).collect()))
                .set_return_values_on_condition_check_failure(all_old)
                .build()
                .unwrap()
        });
        let capture = Capture::default();
        let call = sdk(&capture).batch_execute_statement().set_statements(Some(theirs.collect()));
        assert!(runtime().block_on(call.send()).is_err(), "it is captured and goes nowhere");
        let theirs = capture.taken();
        same_envelope(&theirs, BATCH_EXECUTE_STATEMENT);
        prop_assert_eq!(text(&ours), text(&theirs.body));
    }

    #[test]
    fn keys_of_one_table_are_the_sdks_byte_for_byte(
        table in "[a-zA-Z0-9_.-]{3,60}",
        keys in prop::collection::vec("[^\\x00-\\x1f]{1,60}", 1..100),
        consistent: bool,
    ) {
        let mut ours = Vec::new();
        let keys_of =
            KeysOf { table: &table, keys: keys.iter().map(String::as_str).collect(), attributes: None, consistent };
        write::batch_get(&mut ours, "pk", &[keys_of]);
        let theirs = KeysAndAttributes::builder()
            .set_keys(Some(keys.iter().map(|key| key_of(key)).collect()))
            .consistent_read(consistent)
            .build()
            .unwrap();
        let capture = Capture::default();
        let call = sdk(&capture).batch_get_item().request_items(&table, theirs);
        assert!(runtime().block_on(call.send()).is_err(), "it is captured and goes nowhere");
        let theirs = capture.taken();
        same_envelope(&theirs, BATCH_GET_ITEM);
        prop_assert_eq!(text(&ours), text(&theirs.body));
    }

    #[test]
    fn keys_of_several_tables_are_the_sdks_in_another_order(
        tables in prop::collection::btree_map("[a-z]{3,20}", prop::collection::vec(any::<String>(), 1..9), 1..4),
        consistent: bool,
    ) {
        const ATTRIBUTES: &[&str] = &["pk", "v", "s"];
        let plain: Vec<KeysOf<'_>> = tables
            .iter()
            .map(|(table, keys)| KeysOf {
                table, keys: keys.iter().map(String::as_str).collect(), attributes: Some(ATTRIBUTES), consistent,
            })
            .chain([KeysOf { table: "without-keys", keys: Vec::new(), attributes: Some(ATTRIBUTES), consistent }])
            .collect();
        let mut ours = Vec::new();
        write::batch_get(&mut ours, "pk", &plain);
        let names = ATTRIBUTES.iter().enumerate().map(|(number, name)| (format!("#a{number}"), (*name).to_owned()));
        let names: HashMap<String, String> = names.collect();
        let theirs = tables.iter().map(|(table, keys)| {
            let keys = KeysAndAttributes::builder()
                .set_keys(Some(keys.iter().map(|key| key_of(key)).collect()))
                .projection_expression("#a0,#a1,#a2")
                .set_expression_attribute_names(Some(names.clone()))
                .consistent_read(consistent);
            (table.clone(), keys.build().unwrap())
        });
        let capture = Capture::default();
        let call = sdk(&capture).batch_get_item().set_request_items(Some(theirs.collect()));
        assert!(runtime().block_on(call.send()).is_err(), "it is captured and goes nowhere");
        let theirs: serde_json::Value = serde_json::from_slice(&capture.taken().body).unwrap();
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&ours).unwrap(), theirs);
    }

    #[test]
    fn a_single_write_and_a_single_read_are_the_sdks(key: String, value in any_value(), expected: Option<u32>) {
        let names = [("#v", "v"), ("#s", "s")];
        let (expression, condition) = ("SET #v = :version, #s = :content", "#v = :expected");
        let mut values = vec![(":version", Value::Number(7)), (":content", value.ours())];
        values.extend(expected.map(|version| (":expected", Value::Number(i128::from(version)))));
        let mut ours = Vec::new();
        let update = Update { table: "marks", key: &key, expression, condition, names: &names, values };
        write::update(&mut ours, "pk", &update);
        let capture = Capture::default();
        let client = sdk(&capture);
        let mut call = client
            .update_item()
            .table_name("marks")
            .set_key(Some(key_of(&key)))
            .update_expression(expression)
            .condition_expression(condition)
            .expression_attribute_names("#v", "v")
            .expression_attribute_names("#s", "s")
            .expression_attribute_values(":version", AttributeValue::N("7".to_owned()))
            .expression_attribute_values(":content", value.theirs())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(version) = expected {
            call = call.expression_attribute_values(":expected", AttributeValue::N(version.to_string()));
        }
        assert!(runtime().block_on(call.send()).is_err(), "it is captured and goes nowhere");
        let theirs = capture.taken();
        same_envelope(&theirs, UPDATE_ITEM);
        let parsed = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        prop_assert_eq!(parsed(&ours), parsed(&theirs.body));

        let mut ours = Vec::new();
        write::get(&mut ours, "pk", "marks", &key);
        let call = client.get_item().table_name("marks").set_key(Some(key_of(&key))).consistent_read(true);
        assert!(runtime().block_on(call.send()).is_err(), "it is captured and goes nowhere");
        let theirs = capture.taken();
        same_envelope(&theirs, GET_ITEM);
        prop_assert_eq!(parsed(&ours), parsed(&theirs.body));
    }

    #[test]
    fn no_bytes_harm_the_readers(mut answer in "[\\[\\]{}:,\"SNBpkResponsesItemError0-9 ]{0,80}", cut in 0_usize..80) {
        let tables = [KeysOf { table: "t", keys: vec!["a"], attributes: None, consistent: false }];
        let sound = r#"{"Responses":{"t":[{"pk":{"S":"a"},"s":{"B":"AA=="}}]},"UnprocessedKeys":{}}"#;
        for text in [answer.clone(), sound[..cut.min(sound.len())].to_owned()] {
            // An answer or an error, and no panic.
            drop(read::found(text.as_bytes(), "pk", WANTED, &tables));
            drop(read::refusals(text.as_bytes(), WANTED, 1));
            drop(read::item_of(text.as_bytes(), WANTED));
        }
        answer.push('{');
        prop_assert!(read::nothing(answer.as_bytes()).is_err());
    }
}

fn stored(name: &'static str, value: Stored) -> (&'static str, Stored) {
    (name, value)
}

#[test]
fn items_and_keys_that_were_left_are_found_by_their_tables() {
    let answer = json!({
        "ConsumedCapacity": [{ "TableName": "users", "CapacityUnits": 0.5 }],
        "Responses": {
            "devices": [],
            "users": [
                { "s": { "B": "AP8=" }, "x": { "L": [{ "S": "a" }] }, "v": { "N": "12" }, "pk": { "S": "a\"b" } },
                { "pk": { "NULL": true } },
            ],
            "nobody asked": [{ "pk": { "S": "a" } }],
        },
        "UnprocessedKeys": {
            "devices": { "ConsistentRead": false, "Keys": [{ "pk": { "S": "phone" } }, { "pk": { "N": "1" } }, {}] },
            "nobody asked": { "Keys": [{ "pk": { "S": "a" } }] },
        },
    });
    let keys = |table| KeysOf { table, keys: vec![], attributes: None, consistent: false };
    let tables = [keys("users"), keys("devices")];
    let found = read::found(answer.to_string().as_bytes(), "pk", WANTED, &tables).unwrap();
    assert_eq!(found.unprocessed, [(1, "phone".to_owned())]);
    let mut items = found.items.into_iter();
    let (place, mut first) = items.next().unwrap();
    assert_eq!((place, first.get("v")), (0, Some(&Stored::Number("12".to_owned()))));
    assert_eq!(first.take("pk"), Some(Stored::Text("a\"b".to_owned())));
    assert_eq!((first.take("pk"), first.get("x")), (None, None));
    assert_eq!(first.get("s"), Some(&Stored::Bytes(vec![0, 255])));
    assert_eq!(items.next(), Some((0, Item(vec![stored("pk", Stored::Other)]))));
    assert_eq!(items.next(), None);
    for empty in ["{}", r#"{"Responses":null,"UnprocessedKeys":null}"#, r#"{"Responses":{"users":null}}"#] {
        assert_eq!(read::found(empty.as_bytes(), "pk", WANTED, &tables).unwrap(), Found::default(), "{empty}");
    }
}

#[test]
fn a_lost_statement_brings_the_item_that_won() {
    let answer = r#"{"Responses":[{"TableName":"t"},{"Error":{"Message":"no","Item":{"v":{"N":"5"}},
        "Code":"ConditionalCheckFailed"},"TableName":"t"},{"Error":{"Code":"DuplicateItem"}},{"Error":null},{"Error":{}}]}"#;
    let refusal =
        |code: &str, message: &str, item| Some(Refusal { code: code.to_owned(), message: message.to_owned(), item });
    let winner = Item(vec![stored("v", Stored::Number("5".to_owned()))]);
    let wanted = [
        None,
        refusal("ConditionalCheckFailed", "no", Some(winner.clone())),
        refusal("DuplicateItem", "", None),
        None,
        refusal("", "", None),
    ];
    assert_eq!(read::refusals(answer.as_bytes(), WANTED, 5).unwrap(), wanted);
    assert!(read::refusals(answer.as_bytes(), WANTED, 4).is_err());
    assert!(read::refusals(answer.as_bytes(), WANTED, 6).is_err());
    let error = r#"{"__type":"x#ConditionalCheckFailedException","Item":{"v":{"N":"5"}},"message":"no"}"#;
    assert_eq!(read::item_of(error.as_bytes(), WANTED).unwrap(), Some(winner));
    assert_eq!(read::item_of(b"{}", WANTED).unwrap(), None);
}

#[test]
fn a_value_that_is_none_makes_an_answer_unusable() {
    for value in
        ["{}", r#"{"S":"a","N":"1"}"#, r#"{"S":7}"#, r#"{"B":"AP8"}"#, r#"{"B":"?"}"#, "7", r#"{"S":"\ud800"}"#]
    {
        let answer = format!(r#"{{"Item":{{"s":{value}}}}}"#);
        assert!(read::item_of(answer.as_bytes(), WANTED).is_err(), "{value}");
    }
    let escaped = read::item_of(br#"{"Item":{"s":{"B":"\/\/8="}}}"#, WANTED).unwrap().unwrap();
    assert_eq!(escaped.get("s"), Some(&Stored::Bytes(vec![255, 255])));
}
