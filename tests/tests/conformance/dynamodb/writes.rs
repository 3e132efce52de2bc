//! Writes: conditional statements in batches, single conditional updates.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementRequest, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
};

use super::{DEVICES, Dynamo, SETTLED, USERS, b, code, insert, key, n, s, shown, take_over, units_text, update};

pub fn update_wins(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        dynamo.put(USERS, "w-wins", 4, 10).await;
        let answer = dynamo.execute(vec![update(USERS, "w-wins", 4, 20)]).await;
        format!("{answer}; {}", dynamo.stored(USERS, "w-wins").await)
    })
}

pub fn update_loses(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        dynamo.put(USERS, "w-loses", 5, 10).await;
        let answer = dynamo.execute(vec![update(USERS, "w-loses", 4, 20)]).await;
        format!("{answer}; {}", dynamo.stored(USERS, "w-loses").await)
    })
}

pub fn update_of_nothing(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        let answer = dynamo.execute(vec![update(USERS, "w-nothing", 4, 20)]).await;
        format!("{answer}; {}", dynamo.stored(USERS, "w-nothing").await)
    })
}

pub fn insert_wins(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        let answer = dynamo.execute(vec![insert(USERS, "w-new", 10)]).await;
        format!("{answer}; {}", dynamo.stored(USERS, "w-new").await)
    })
}

pub fn insert_loses(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        dynamo.put(USERS, "w-taken", 5, 10).await;
        let answer = dynamo.execute(vec![insert(USERS, "w-taken", 20)]).await;
        format!("{answer}; {}", dynamo.stored(USERS, "w-taken").await)
    })
}

pub fn take_over_of_another_owners(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        let put = dynamo.client.put_item().table_name(USERS).item("pk", s("w-owned"));
        put.item("pv", n(3)).item("p", b(7)).send().await.unwrap();
        let first = dynamo.execute(vec![insert(USERS, "w-owned", 20)]).await;
        let second = dynamo.execute(vec![take_over(USERS, "w-owned", 20)]).await;
        let get = dynamo.client.get_item().table_name(USERS).set_key(Some(key("w-owned"))).consistent_read(true);
        let item = get.send().await.unwrap().item.unwrap_or_default();
        let is_kept = item.get("pv") == Some(&n(3)) && item.get("p") == Some(&b(7));
        format!("{first}; {second}; {}; the other owner's are kept: {is_kept}", shown(&item))
    })
}

pub fn take_over_loses(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        dynamo.put(USERS, "w-had", 5, 10).await;
        let statements = [take_over(USERS, "w-had", 20), take_over(USERS, "w-never", 20)];
        let answer = dynamo.execute(statements.to_vec()).await;
        format!("{answer}; {}; {}", dynamo.stored(USERS, "w-had").await, dynamo.stored(USERS, "w-never").await)
    })
}

pub fn answered_alone(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        dynamo.put(USERS, "w-a", 1, 10).await;
        dynamo.put(USERS, "w-b", 9, 10).await;
        let statements = [
            update(USERS, "w-a", 1, 11),
            update(USERS, "w-b", 1, 12),
            insert(DEVICES, "w-c", 13),
            insert(USERS, "w-b", 14),
        ];
        // The last one names the key of the second: a call of its own.
        let (first, last) = (statements[..3].to_vec(), statements[3..].to_vec());
        format!("{} / {}", dynamo.execute(first).await, dynamo.execute(last).await)
    })
}

pub fn batch_sizes(dynamo: &Dynamo) -> String {
    let of = |count: usize| {
        let statements = (0..count).map(|number| insert(USERS, &format!("w-{count}-{number}"), 1)).collect();
        let answer = dynamo.wait(dynamo.execute(statements));
        if answer == vec!["done"; count].join("; ") { "all done".to_owned() } else { answer }
    };
    format!("25: {}; 26: {}", of(25), of(26))
}

pub fn same_key_twice(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        dynamo.put(USERS, "w-twice", 1, 10).await;
        dynamo.execute(vec![update(USERS, "w-twice", 1, 11), update(USERS, "w-twice", 2, 12)]).await
    })
}

pub fn reads_and_writes(dynamo: &Dynamo) -> String {
    let read = BatchStatementRequest::builder()
        .statement(format!(r#"SELECT * FROM "{USERS}" WHERE pk=?"#))
        .parameters(s("w-read"))
        .build()
        .unwrap();
    dynamo.wait(dynamo.execute(vec![read, insert(USERS, "w-mixed", 1)]))
}

pub fn too_large(dynamo: &Dynamo) -> String {
    const OVER_400_KB: usize = 410_000;
    dynamo.wait(async {
        dynamo.put(USERS, "w-grows", 1, 10).await;
        let statements = vec![
            insert(USERS, "w-huge", OVER_400_KB),
            update(USERS, "w-grows", 1, OVER_400_KB),
            insert(USERS, "w-fits", 1),
        ];
        dynamo.execute(statements).await
    })
}

pub fn unknown_table(dynamo: &Dynamo) -> String {
    dynamo.wait(dynamo.execute(vec![insert("nobody-made-this", "x", 1), insert(USERS, "w-beside", 1)]))
}

pub fn not_a_statement(dynamo: &Dynamo) -> String {
    let nonsense = BatchStatementRequest::builder().statement("UPSERT everything").build().unwrap();
    dynamo.wait(dynamo.execute(vec![nonsense, insert(USERS, "w-beside-nonsense", 1)]))
}

pub fn empty_key(dynamo: &Dynamo) -> String {
    dynamo.wait(dynamo.execute(vec![insert(USERS, "", 1)]))
}

/// Writers that read the same version: one of them may win.
pub fn race(dynamo: &Dynamo) -> String {
    const WRITERS: usize = 16;
    dynamo.wait(async {
        dynamo.put(USERS, "w-race", 1, 10).await;
        let calls = (1..=WRITERS).map(|bytes| dynamo.execute(vec![update(USERS, "w-race", 1, bytes)]));
        let answers = futures::future::join_all(calls).await;
        let wins = answers.iter().filter(|answer| *answer == "done").count();
        let losses = answers.iter().filter(|answer| answer.starts_with("ConditionalCheckFailed, v 2 with ")).count();
        format!("{wins} won, {losses} lost and saw the winner")
    })
}

pub fn capacity_of_writes(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        let call = dynamo.client.batch_execute_statement().statements(insert(USERS, "w-capacity", 1_500));
        let answer = call.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await.unwrap();
        units_text(answer.consumed_capacity())
    })
}

/// A single conditional write, as the committed marks are kept.
async fn write_mark(dynamo: &Dynamo, name: &str, expected: Option<u64>) -> String {
    let condition = if expected.is_some() { "#v = :expected" } else { "attribute_not_exists(#v)" };
    let call = dynamo
        .client
        .update_item()
        .table_name(SETTLED)
        .set_key(Some(key(name)))
        .update_expression("SET #v = :version, #s = :content")
        .condition_expression(condition)
        .expression_attribute_names("#v", "v")
        .expression_attribute_names("#s", "s")
        .expression_attribute_values(":version", n(expected.map_or(1, |version| version + 1)))
        .expression_attribute_values(":content", b(9))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let call = match expected {
        Some(version) => call.expression_attribute_values(":expected", n(version)),
        None => call,
    };
    match call.send().await {
        Ok(_) => "done".to_owned(),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(lost)) => {
                format!("lost to {}", lost.item().map_or_else(|| "no item".to_owned(), shown))
            }
            _ => code(&error),
        },
    }
}

pub fn single_update(dynamo: &Dynamo) -> String {
    dynamo.wait(async {
        let mut answers = Vec::new();
        for expected in [None, None, Some(1), Some(1)] {
            answers.push(write_mark(dynamo, "w-mark", expected).await);
        }
        answers.push(write_mark(dynamo, "w-no-mark", Some(1)).await);
        answers.join("; ")
    })
}

pub fn exact_values(dynamo: &Dynamo) -> String {
    let bytes: Vec<u8> = (0..=255).collect();
    let number = "9007199254740993";
    let statement = BatchStatementRequest::builder()
        .statement(format!(r#"INSERT INTO "{USERS}" VALUE {{'pk':?,'v':?,'s':?,'e':?}}"#))
        .set_parameters(Some(vec![
            s("w-exact \u{1F600} 'quoted'"),
            AttributeValue::N(number.to_owned()),
            AttributeValue::B(bytes.clone().into()),
            b(0),
        ]))
        .build()
        .unwrap();
    dynamo.wait(async {
        let answer = dynamo.execute(vec![statement]).await;
        let get = dynamo.client.get_item().table_name(USERS).set_key(Some(key("w-exact \u{1F600} 'quoted'")));
        let item = get.send().await.unwrap().item.unwrap_or_default();
        let same = item.get("v") == Some(&AttributeValue::N(number.to_owned()))
            && item.get("s") == Some(&AttributeValue::B(bytes.into()))
            && item.get("e") == Some(&b(0));
        format!("{answer}; read back exactly: {same}")
    })
}
