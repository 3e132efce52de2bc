//! The two batch operations: they can leave entries undone, and AWS charges more than it reports for lost statements.

use bytes::Bytes;
use dynoxide::actions::batch_execute_statement::{
    BatchExecuteStatementRequest, BatchExecuteStatementResponse, BatchStatementError, BatchStatementResponse,
};
use dynoxide::actions::batch_get_item::{BatchGetItemRequest, BatchGetItemResponse};
use dynoxide::{Database, DynoxideError};
use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::front::Shared;
use super::operations::{
    Outcome, ask_for_capacity, ask_for_item, charge, charge_lost, decode, direction, encode, engine, lost_insert_units,
};
use super::statement::{self, Kind};
use super::units::{Direction, lost_condition_units};

pub(super) async fn get_items(shared: &Shared, body: &[u8], fault: Fault) -> Outcome<Bytes> {
    let mut request = decode::<BatchGetItemRequest>(body)?;
    let asked = ask_for_capacity(&mut request);
    let undone = set_aside_keys(&mut request, fault)?;
    let mut response = if request.request_items.is_empty() && !undone.is_empty() {
        BatchGetItemResponse::default()
    } else {
        engine(shared, request, Database::batch_get_item).await?
    };
    charge(shared, Direction::Read, &mut response, asked);
    let mut throttled = 0;
    for (table, keys) in undone {
        throttled += keys.get("Keys").and_then(Value::as_array).map_or(0, Vec::len);
        response.unprocessed_keys.insert(table, Value::Object(keys));
    }
    shared.meter().throttled(throttled);
    encode(&response)
}

/// Takes the keys out of the request that the fault leaves undone, in the form that `UnprocessedKeys` gives them back.
fn set_aside_keys(request: &mut BatchGetItemRequest, fault: Fault) -> Outcome<Vec<(String, Map<String, Value>)>> {
    let mut aside = Vec::new();
    if !matches!(fault, Fault::Partial { .. }) {
        return Ok(aside);
    }
    let mut index = 0;
    for (table, wanted) in &mut request.request_items {
        let (mut kept, mut undone) = (Vec::new(), Vec::new());
        for key in wanted.keys.drain(..) {
            if fault.leaves_undone(index) {
                undone.push(json_of(&key)?);
            } else {
                kept.push(key);
            }
            index += 1;
        }
        wanted.keys = kept;
        if undone.is_empty() {
            continue;
        }
        let optional = [
            ("ConsistentRead", json!(wanted.consistent_read)),
            ("ProjectionExpression", json!(wanted.projection_expression)),
            ("ExpressionAttributeNames", json!(wanted.expression_attribute_names)),
            ("AttributesToGet", json!(wanted.attributes_to_get)),
        ];
        let mut entry: Map<String, Value> =
            optional.into_iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.to_owned(), v)).collect();
        entry.insert("Keys".to_owned(), Value::Array(undone));
        aside.push((table.clone(), entry));
    }
    request.request_items.retain(|_, wanted| !wanted.keys.is_empty());
    Ok(aside)
}

fn json_of(value: &impl serde::Serialize) -> Outcome<Value> {
    serde_json::to_value(value).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

pub(super) async fn statements(shared: &Shared, body: &[u8], fault: Fault) -> Outcome<Bytes> {
    let mut request = decode::<BatchExecuteStatementRequest>(body)?;
    let asked = ask_for_capacity(&mut request);
    let direction = request.statements.first().map_or(Direction::Write, |first| direction(&first.statement));
    let undone = set_aside_statements(&mut request, fault);
    let wants_item: Vec<bool> = request
        .statements
        .iter_mut()
        .map(|entry| {
            statement::kind(&entry.statement) != Kind::Conditional
                || ask_for_item(&mut entry.return_values_on_condition_check_failure)
        })
        .collect();
    let mut response = if request.statements.is_empty() && !undone.is_empty() {
        BatchExecuteStatementResponse::default()
    } else {
        engine(shared, request, Database::batch_execute_statement).await?
    };
    charge_failures(shared, body, &undone, &response)?;
    charge(shared, direction, &mut response, asked);
    for (answer, wanted) in response.responses.iter_mut().zip(wants_item) {
        if let Some(error) = answer.error.as_mut().filter(|_| !wanted) {
            error.item = None;
        }
    }
    shared.meter().throttled(undone.len());
    for index in undone {
        response.responses.insert(index.min(response.responses.len()), throttled_statement());
    }
    encode(&response)
}

/// The indices, ascending, of the statements that the fault leaves undone; they are taken out of the request.
fn set_aside_statements(request: &mut BatchExecuteStatementRequest, fault: Fault) -> Vec<usize> {
    if !matches!(fault, Fault::Partial { .. }) {
        return Vec::new();
    }
    let undone: Vec<usize> = (0..request.statements.len()).filter(|index| fault.leaves_undone(*index)).collect();
    let mut index = 0;
    request.statements.retain(|_| {
        index += 1;
        !fault.leaves_undone(index - 1)
    });
    undone
}

fn throttled_statement() -> BatchStatementResponse {
    let mut answer = BatchStatementResponse::default();
    answer.error = Some(BatchStatementError {
        code: "ProvisionedThroughputExceeded".to_owned(),
        message: "The level of configured provisioned throughput for the table was exceeded.".to_owned(),
        item: None,
    });
    answer
}

/// Counts lost statements. Their units are part of what the engine reports as soon as one statement of the batch
/// succeeded; when none did, AWS and the engine report nothing and the units are added here.
fn charge_failures(
    shared: &Shared,
    body: &[u8],
    undone: &[usize],
    response: &BatchExecuteStatementResponse,
) -> Outcome<()> {
    let reported = response.consumed_capacity.is_some();
    let mut statements = None;
    for (index, answer) in response.responses.iter().enumerate() {
        let (Some(error), Some(table)) = (&answer.error, &answer.table_name) else {
            continue;
        };
        let is_insert = error.code == "DuplicateItem";
        if !is_insert && error.code != "ConditionalCheckFailed" {
            continue;
        }
        if reported {
            shared.meter().condition_failed(table);
        } else if is_insert {
            let entries = match &mut statements {
                Some(entries) => entries,
                empty => empty.insert(statements_that_ran(body, undone)?),
            };
            let entry: Option<&super::operations::Statement> = entries.get(index);
            charge_lost(shared, table, entry.map_or(1.0, |entry| lost_insert_units(shared, table, entry)));
        } else {
            charge_lost(shared, table, lost_condition_units(error.item.as_ref()));
        }
    }
    Ok(())
}

fn statements_that_ran(body: &[u8], undone: &[usize]) -> Outcome<Vec<super::operations::Statement>> {
    let request = decode::<BatchExecuteStatementRequest>(body)?;
    let ran = request.statements.into_iter().enumerate().filter(|(index, _)| !undone.contains(index));
    Ok(ran.map(|(_, entry)| (entry.statement, entry.parameters.unwrap_or_default())).collect())
}
