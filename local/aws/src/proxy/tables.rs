//! Which tables a request to DynamoDB is about, and whether it writes: what CloudWatch counts throttled requests by.

use serde_json::Value;

use super::meter::Direction;

/// The tables that a request names, each once; none of a request that names none.
pub(super) fn tables(body: &[u8]) -> Vec<String> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let mut tables = Vec::new();
    tables.extend(text(&body, "TableName"));
    if let Some(items) = body.get("RequestItems").and_then(Value::as_object) {
        tables.extend(items.keys().cloned());
    }
    tables.extend(text(&body, "Statement").as_deref().and_then(table_of_statement));
    for list in ["Statements", "TransactStatements", "TransactItems"] {
        for entry in body.get(list).and_then(Value::as_array).into_iter().flatten() {
            tables.extend(text(entry, "Statement").as_deref().and_then(table_of_statement));
            let actions = entry.as_object().into_iter().flatten();
            tables.extend(actions.filter_map(|(_, action)| text(action, "TableName")));
        }
    }
    tables.sort_unstable();
    tables.dedup();
    tables
}

/// Whether an operation reads or writes; a batch of statements is taken for one of writes, as ours are.
pub(super) fn direction(operation: &str) -> Direction {
    match operation {
        "BatchGetItem" | "GetItem" | "Query" | "Scan" | "TransactGetItems" => Direction::Read,
        _ => Direction::Write,
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::to_owned)
}

/// The first name in double quotes, without an index.
fn table_of_statement(statement: &str) -> Option<String> {
    statement.split('"').nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_a_request_are_found_wherever_they_stand() {
        for (body, expected) in [
            (r#"{"TableName":"a","Key":{}}"#, vec!["a"]),
            (r#"{"RequestItems":{"b":{},"a":{}}}"#, vec!["a", "b"]),
            (
                r#"{"Statements":[{"Statement":"UPDATE \"a\" SET x=?"},{"Statement":"INSERT INTO \"a\" VALUE {}"}]}"#,
                vec!["a"],
            ),
            (r#"{"TransactItems":[{"Put":{"TableName":"b"}},{"Update":{"TableName":"a"}}]}"#, vec!["a", "b"]),
            (r#"{"Statement":"SELECT * FROM \"c\""}"#, vec!["c"]),
            ("{}", vec![]),
            ("no json", vec![]),
        ] {
            assert_eq!(tables(body.as_bytes()), expected, "{body}");
        }
        assert_eq!((direction("BatchGetItem"), direction("UpdateItem")), (Direction::Read, Direction::Write));
    }
}
