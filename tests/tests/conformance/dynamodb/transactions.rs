//! Transactions: a label and the risks that it changes, as `apply-labels` writes them.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnConsumedCapacity, TransactWriteItem, Update};
use futures::future::join_all;

use super::{DEVICES, Dynamo, SETTLED, USERS, b, code, key, n, s};

/// A label's item, in a table that stands for the labels'.
fn label(name: &str, replaces: Option<&[u8]>, order: &[u8]) -> TransactWriteItem {
    let bytes = |order: &[u8]| AttributeValue::B(Blob::new(order));
    let put = Put::builder().table_name(SETTLED).item("pk", s(name)).item("o", bytes(order));
    let put = match replaces {
        None => put.condition_expression("attribute_not_exists(#k)").expression_attribute_names("#k", "pk"),
        Some(order) => put
            .condition_expression("#o = :replaced")
            .expression_attribute_names("#o", "o")
            .expression_attribute_values(":replaced", bytes(order)),
    };
    TransactWriteItem::builder().put(put.build().unwrap()).build()
}

fn risk(table: &str, name: &str, expected: Option<u64>, bytes: usize) -> TransactWriteItem {
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(key(name)))
        .update_expression("SET #v = :version, #s = :content")
        .expression_attribute_names("#v", "rv")
        .expression_attribute_values(":version", n(expected.map_or(1, |version| version + 1)))
        .expression_attribute_values(":content", b(bytes));
    let update = match expected {
        Some(version) => {
            update.condition_expression("#v = :expected").expression_attribute_values(":expected", n(version))
        }
        None => update.condition_expression("attribute_not_exists(#v) AND attribute_not_exists(#s)"),
    };
    let update = update.expression_attribute_names("#s", "r").build().unwrap();
    TransactWriteItem::builder().update(update).build()
}

async fn transact(dynamo: &Dynamo, actions: Vec<TransactWriteItem>) -> String {
    let call = dynamo.client.transact_write_items().set_transact_items(Some(actions));
    match call.send().await {
        Ok(_) => "done".to_owned(),
        Err(error) => match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                let reasons = cancelled.cancellation_reasons().iter().map(|reason| reason.code().unwrap_or("no code"));
                reasons.collect::<Vec<_>>().join(", ")
            }
            _ => format!("the call: {}", code(&error)),
        },
    }
}

/// The version of the risk, and the other owner's version.
async fn versions(dynamo: &Dynamo, table: &str, name: &str) -> String {
    let get = dynamo.client.get_item().table_name(table).set_key(Some(key(name))).consistent_read(true);
    let item = get.send().await.unwrap().item.unwrap_or_default();
    let version = |name: &str| match item.get(name) {
        Some(AttributeValue::N(version)) => version.clone(),
        _ => "none".to_owned(),
    };
    format!("rv {}, v {}", version("rv"), version("v"))
}

pub fn a_label(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        dynamo.put(USERS, "t-ana", 5, 10).await;
        let first = [label("t-1", None, &[1]), risk(USERS, "t-ana", None, 3), risk(DEVICES, "t-phone", None, 3)];
        let first = transact(dynamo, first.to_vec()).await;
        let second =
            [label("t-1", Some(&[1]), &[2]), risk(USERS, "t-ana", Some(1), 4), risk(DEVICES, "t-phone", Some(1), 4)];
        let second = transact(dynamo, second.to_vec()).await;
        let (user, device) = (versions(dynamo, USERS, "t-ana").await, versions(dynamo, DEVICES, "t-phone").await);
        format!("{first}; {second}; {user}; {device}")
    })
}

pub fn a_label_again(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        let actions = || vec![label("t-2", None, &[1]), risk(USERS, "t-ben", None, 3)];
        let (first, again) = (transact(dynamo, actions()).await, transact(dynamo, actions()).await);
        let replaced = vec![label("t-2", Some(&[7]), &[8]), risk(USERS, "t-ben", Some(1), 3)];
        let replaced = transact(dynamo, replaced).await;
        let stale = vec![label("t-2", Some(&[1]), &[2]), risk(USERS, "t-ben", Some(3), 3)];
        let stale = transact(dynamo, stale).await;
        format!("{first}; {again}; {replaced}; {stale}; {}", versions(dynamo, USERS, "t-ben").await)
    })
}

pub fn the_same_item_twice(dynamo: &Dynamo) -> String {
    dynamo.wait(transact(dynamo, vec![risk(USERS, "t-twice", None, 1), risk(USERS, "t-twice", None, 2)]))
}

pub fn a_hundred_actions(dynamo: &Dynamo) -> String {
    let of = |count: usize| {
        let actions = (0..count).map(|number| risk(USERS, &format!("t-{count}-{number}"), None, 1)).collect();
        dynamo.wait(transact(dynamo, actions))
    };
    format!("100: {}; 101: {}", of(100), of(101))
}

pub fn an_unknown_table(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        let answer =
            transact(dynamo, vec![risk(USERS, "t-known", None, 1), risk("nobody-made-this", "k", None, 1)]).await;
        format!("{answer}; {}", versions(dynamo, USERS, "t-known").await)
    })
}

pub fn race(dynamo: &Dynamo) -> String {
    const WRITERS: usize = 16;
    dynamo.wait(async {
        let labels = (0..WRITERS).map(|number| {
            transact(dynamo, vec![label(&format!("t-race-{number}"), None, &[1]), risk(DEVICES, "t-raced", None, 1)])
        });
        let answers = join_all(labels).await;
        let won = answers.iter().filter(|answer| *answer == "done").count();
        let lost = answers
            .iter()
            .filter(|answer| ["None, ConditionalCheckFailed", "None, TransactionConflict"].contains(&answer.as_str()));
        format!("{won} won, {} lost; {}", lost.count(), versions(dynamo, DEVICES, "t-raced").await)
    })
}

pub fn capacity(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        let actions =
            vec![label("t-units", None, &[1]), risk(USERS, "t-units", None, 10), risk(DEVICES, "t-units", None, 1_500)];
        let call = dynamo.client.transact_write_items().set_transact_items(Some(actions));
        let answer = call.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await.unwrap();
        let mut units: Vec<String> = answer
            .consumed_capacity()
            .iter()
            .map(|table| format!("{} {}", table.table_name().unwrap_or("?"), table.capacity_units().unwrap_or(-1.0)))
            .collect();
        units.sort();
        units.join(", ")
    })
}
