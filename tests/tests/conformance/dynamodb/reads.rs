//! Reads: `BatchGetItem` over several tables, with consistent and eventual parts.

use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnConsumedCapacity};

use super::{DEVICES, Dynamo, SETTLED, USERS, code, key, shown, units_text};

fn keys(names: &[&str], consistent: bool) -> KeysAndAttributes {
    let keys = names.iter().map(|name| key(name)).collect();
    KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(consistent).build().unwrap()
}

fn items(answer: &BatchGetItemOutput, table: &str) -> String {
    let found = answer.responses().and_then(|tables| tables.get(table));
    let mut shown: Vec<String> = found.into_iter().flatten().map(shown).collect();
    shown.sort();
    shown.join(" and ")
}

fn unprocessed(answer: &BatchGetItemOutput) -> usize {
    answer.unprocessed_keys().into_iter().flatten().map(|(_, keys)| keys.keys().len()).sum()
}

pub fn three_tables(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        dynamo.put(USERS, "r-u1", 1, 10).await;
        dynamo.put(USERS, "r-u2", 2, 20).await;
        dynamo.put(DEVICES, "r-d1", 3, 30).await;
        dynamo.put(SETTLED, "r-p0", 4, 40).await;
        let answer = dynamo
            .client
            .batch_get_item()
            .request_items(USERS, keys(&["r-u1", "r-u2", "r-nobody"], false))
            .request_items(DEVICES, keys(&["r-d1"], false))
            .request_items(SETTLED, keys(&["r-p0"], true))
            .send()
            .await
            .unwrap();
        let [users, devices, settled] = [USERS, DEVICES, SETTLED].map(|table| items(&answer, table));
        format!("{users}; {devices}; {settled}; {} unprocessed", unprocessed(&answer))
    })
}

fn read_all(dynamo: &Dynamo, table: &str, names: &[String]) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match dynamo.wait(dynamo.client.batch_get_item().request_items(table, keys(&names, true)).send()) {
        Ok(answer) => format!("{} found", answer.responses().map_or(0, |tables| tables[table].len())),
        Err(error) => code(&error),
    }
}

pub fn a_hundred_keys(dynamo: &Dynamo) -> String {
    let names: Vec<String> = (0..101).map(|number| format!("hundred-{number}")).collect();
    dynamo.wait(dynamo.put(USERS, "hundred-7", 1, 1));
    format!("100: {}; 101: {}", read_all(dynamo, USERS, &names[..100]), read_all(dynamo, USERS, &names))
}

pub fn the_same_key_twice(dynamo: &Dynamo) -> String {
    read_all(dynamo, USERS, &["twice".to_owned(), "twice".to_owned()])
}

pub fn an_unknown_table(dynamo: &Dynamo) -> String {
    read_all(dynamo, "nobody-made-this", &["key".to_owned()])
}

pub fn an_empty_key(dynamo: &Dynamo) -> String {
    read_all(dynamo, USERS, &[String::new()])
}

/// Items of 24 MB in all: an answer ends at 16 MB.
pub fn more_than_16_megabytes(dynamo: &Dynamo) -> String {
    const ITEM_BYTES: usize = 390_000;
    const ITEMS: usize = 62;
    let names: Vec<String> = (0..ITEMS).map(|number| format!("big-{number}")).collect();
    dynamo.wait(async {
        for name in &names {
            dynamo.put(DEVICES, name, 1, ITEM_BYTES).await;
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match dynamo.client.batch_get_item().request_items(DEVICES, keys(&names, false)).send().await {
            Ok(answer) => {
                let found = answer.responses().map_or(0, |tables| tables[DEVICES].len());
                let all = found + unprocessed(&answer) == ITEMS;
                let left = if unprocessed(&answer) > 0 { "some keys are left unprocessed" } else { "none is left" };
                format!("{left}, every key is in one of the lists: {all}")
            }
            Err(error) => code(&error),
        }
    })
}

pub fn capacity_of_reads(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        dynamo.put(USERS, "c-small", 1, 10).await;
        dynamo.put(USERS, "c-large", 1, 4_100).await;
        let mut units = Vec::new();
        for (names, consistent) in
            [(["c-small", "c-none"], false), (["c-small", "c-none"], true), (["c-large", "c-none"], false)]
        {
            let call = dynamo.client.batch_get_item().request_items(USERS, keys(&names, consistent));
            let answer = call.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await.unwrap();
            units.push(units_text(answer.consumed_capacity()));
        }
        units.join(", ")
    })
}
