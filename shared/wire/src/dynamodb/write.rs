//! Requests, member by member as the SDK writes them.

use std::io::Write as _;

use centinela_contracts::json::{push_base64, push_text};

use super::{KeysOf, Statement, Update, Value};

/// `BatchGetItem`.
pub(super) fn batch_get(out: &mut Vec<u8>, key: &str, tables: &[KeysOf<'_>]) {
    out.extend_from_slice(b"{\"RequestItems\":{");
    let mut separator = Separator::default();
    for table in tables.iter().filter(|table| !table.keys.is_empty()) {
        separator.push(out);
        push_text(out, table.table);
        out.extend_from_slice(b":{\"Keys\":[");
        let mut separator = Separator::default();
        for value in &table.keys {
            separator.push(out);
            push_key(out, key, value);
        }
        out.extend_from_slice(b"],\"ConsistentRead\":");
        out.extend_from_slice(if table.consistent { b"true" } else { b"false" });
        if let Some(attributes) = table.attributes {
            push_projection(out, attributes);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"}}");
}

/// Every name behind a placeholder: some are words that DynamoDB reserves.
fn push_projection(out: &mut Vec<u8>, attributes: &[&'static str]) {
    out.extend_from_slice(b",\"ProjectionExpression\":\"");
    for index in 0..attributes.len() {
        push(out, format_args!("{}#a{index}", if index == 0 { "" } else { "," }));
    }
    out.extend_from_slice(b"\",\"ExpressionAttributeNames\":{");
    for (index, name) in attributes.iter().enumerate() {
        push(out, format_args!("{}\"#a{index}\":", if index == 0 { "" } else { "," }));
        push_text(out, name);
    }
    out.push(b'}');
}

/// `BatchExecuteStatement`.
pub(super) fn statements(out: &mut Vec<u8>, statements: &[Statement<'_>]) {
    out.extend_from_slice(b"{\"Statements\":[");
    let mut separator = Separator::default();
    for statement in statements {
        separator.push(out);
        out.extend_from_slice(b"{\"Statement\":");
        push_text(out, statement.text);
        out.extend_from_slice(b",\"Parameters\":[");
        let mut separator = Separator::default();
        for value in &statement.parameters {
            separator.push(out);
            push_value(out, *value);
        }
        out.push(b']');
        if statement.returns_item {
            out.extend_from_slice(b",\"ReturnValuesOnConditionCheckFailure\":\"ALL_OLD\"");
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
}

/// `GetItem`, strongly consistent.
pub(super) fn get(out: &mut Vec<u8>, key_name: &str, table: &str, key: &str) {
    out.extend_from_slice(b"{\"TableName\":");
    push_text(out, table);
    out.extend_from_slice(b",\"Key\":");
    push_key(out, key_name, key);
    out.extend_from_slice(b",\"ConsistentRead\":true}");
}

/// `UpdateItem`.
pub(super) fn update(out: &mut Vec<u8>, key_name: &str, update: &Update<'_>) {
    out.extend_from_slice(b"{\"TableName\":");
    push_text(out, update.table);
    out.extend_from_slice(b",\"Key\":");
    push_key(out, key_name, update.key);
    out.extend_from_slice(b",\"UpdateExpression\":");
    push_text(out, update.expression);
    out.extend_from_slice(b",\"ConditionExpression\":");
    push_text(out, update.condition);
    out.extend_from_slice(b",\"ExpressionAttributeNames\":{");
    let mut separator = Separator::default();
    for (placeholder, name) in update.names {
        separator.push(out);
        push_text(out, placeholder);
        out.push(b':');
        push_text(out, name);
    }
    out.extend_from_slice(b"},\"ExpressionAttributeValues\":{");
    let mut separator = Separator::default();
    for (placeholder, value) in &update.values {
        separator.push(out);
        push_text(out, placeholder);
        out.push(b':');
        push_value(out, *value);
    }
    out.extend_from_slice(b"},\"ReturnValuesOnConditionCheckFailure\":\"ALL_OLD\"}");
}

fn push_key(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b'{');
    push_text(out, name);
    out.push(b':');
    push_value(out, Value::Text(value));
    out.push(b'}');
}

fn push_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Text(text) => {
            out.extend_from_slice(b"{\"S\":");
            push_text(out, text);
            out.push(b'}');
        }
        Value::Number(number) => push(out, format_args!("{{\"N\":\"{number}\"}}")),
        Value::Bytes(bytes) => {
            out.extend_from_slice(b"{\"B\":");
            push_base64(out, Some(bytes));
            out.push(b'}');
        }
    }
}

fn push(out: &mut Vec<u8>, piece: std::fmt::Arguments<'_>) {
    // Writing to a vector cannot fail.
    out.write_fmt(piece).unwrap_or_default();
}

/// A comma before every element but the first.
#[derive(Default)]
struct Separator(bool);

impl Separator {
    fn push(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.0, true) {
            out.push(b',');
        }
    }
}
