//! The same calls by the SDK's client.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementError, BatchStatementErrorCodeEnum as Code, BatchStatementRequest, KeysAndAttributes,
    ReturnValuesOnConditionCheckFailure,
};
use centinela_wire::dynamodb::{Found, Item, KeysOf, Refusal, Statement, Stored, Update, Updated, Value};

use crate::attribute_group::{ATTRIBUTES, Attributes, KEY, key_of};
use crate::service_failure::ServiceFailure;

#[derive(Debug, thiserror::Error)]
#[error("{statements} statements got {answers} answers")]
struct AnswersMissing {
    statements: usize,
    answers: usize,
}

pub(super) async fn batch_get(client: &Client, tables: &[KeysOf<'_>]) -> Result<Found, ServiceFailure> {
    let mut call = client.batch_get_item();
    for table in tables.iter().filter(|table| !table.keys.is_empty()) {
        let keys = table.keys.iter().map(|key| key_of(key)).collect();
        let mut wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(table.consistent);
        if let Some(attributes) = table.attributes {
            // Every name behind a placeholder: some are words that DynamoDB reserves.
            let placeholders: Vec<String> = (0..attributes.len()).map(|number| format!("#a{number}")).collect();
            wanted = wanted.projection_expression(placeholders.join(","));
            let names = placeholders.into_iter().zip(attributes.iter().map(|name| (*name).to_owned()));
            wanted = wanted.set_expression_attribute_names(Some(names.collect()));
        }
        let wanted = wanted.build().map_err(|error| ServiceFailure::Refused(Box::new(error)))?;
        call = call.request_items(table.table, wanted);
    }
    let output = call.send().await.map_err(ServiceFailure::of)?;
    let place_of = |name: &str| tables.iter().position(|known| known.table == name);
    let mut found = Found::default();
    for (table, items) in output.responses.unwrap_or_default() {
        let Some(place) = place_of(&table) else { continue };
        found.items.extend(items.into_iter().map(|item| (place, attributes_of(item))));
    }
    for (table, left) in output.unprocessed_keys.unwrap_or_default() {
        let Some(place) = place_of(&table) else { continue };
        let keys = left.keys.into_iter().filter_map(|mut key| match key.remove(KEY) {
            Some(AttributeValue::S(key)) => Some((place, key)),
            _ => None,
        });
        found.unprocessed.extend(keys);
    }
    Ok(found)
}

pub(super) async fn execute(
    client: &Client,
    statements: &[Statement<'_>],
) -> Result<Vec<Option<Refusal>>, ServiceFailure> {
    let requests: Result<Vec<BatchStatementRequest>, _> = statements
        .iter()
        .map(|statement| {
            let all_old = statement.returns_item.then_some(ReturnValuesOnConditionCheckFailure::AllOld);
            BatchStatementRequest::builder()
                .statement(statement.text)
                .set_parameters(Some(statement.parameters.iter().map(|value| value_of(*value)).collect()))
                .set_return_values_on_condition_check_failure(all_old)
                .build()
        })
        .collect();
    let requests = requests.map_err(|error| ServiceFailure::Refused(Box::new(error)))?;
    let call = client.batch_execute_statement().set_statements(Some(requests));
    let responses = call.send().await.map_err(ServiceFailure::of)?.responses.unwrap_or_default();
    if responses.len() != statements.len() {
        let mismatch = AnswersMissing { statements: statements.len(), answers: responses.len() };
        return Err(ServiceFailure::Transient(Box::new(mismatch)));
    }
    Ok(responses.into_iter().map(|response| response.error.map(refusal)).collect())
}

pub(super) async fn get(client: &Client, table: &str, key: &str) -> Result<Option<Attributes>, ServiceFailure> {
    let call = client.get_item().table_name(table).set_key(Some(key_of(key))).consistent_read(true);
    Ok(call.send().await.map_err(ServiceFailure::of)?.item.map(attributes_of))
}

pub(super) async fn update(client: &Client, update: &Update<'_>) -> Result<Updated, ServiceFailure> {
    let names = update.names.iter().map(|(placeholder, name)| ((*placeholder).to_owned(), (*name).to_owned()));
    let values = update.values.iter().map(|(placeholder, value)| ((*placeholder).to_owned(), value_of(*value)));
    let call = client
        .update_item()
        .table_name(update.table)
        .set_key(Some(key_of(update.key)))
        .update_expression(update.expression)
        .condition_expression(update.condition)
        .set_expression_attribute_names(Some(names.collect()))
        .set_expression_attribute_values(Some(values.collect()))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    match call.send().await {
        Ok(_) => Ok(Updated::Done),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(lost)) => {
                Ok(Updated::Lost(lost.item().cloned().map(attributes_of)))
            }
            _ => Err(ServiceFailure::of(error)),
        },
    }
}

/// What anybody reads of an item.
pub(crate) fn attributes_of(mut item: HashMap<String, AttributeValue>) -> Attributes {
    let taken = ATTRIBUTES.iter().filter_map(|name| Some((*name, stored(item.remove(*name)?))));
    Item(taken.collect())
}

fn stored(value: AttributeValue) -> Stored {
    match value {
        AttributeValue::S(text) => Stored::Text(text),
        AttributeValue::N(number) => Stored::Number(number),
        AttributeValue::B(bytes) => Stored::Bytes(bytes.into_inner()),
        _ => Stored::Other,
    }
}

fn value_of(value: Value<'_>) -> AttributeValue {
    match value {
        Value::Text(text) => AttributeValue::S(text.to_owned()),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::Bytes(bytes) => AttributeValue::B(Blob::new(bytes)),
    }
}

fn refusal(error: BatchStatementError) -> Refusal {
    Refusal {
        code: error.code.as_ref().map(Code::as_str).unwrap_or_default().to_owned(),
        message: error.message.unwrap_or_default(),
        item: error.item.map(attributes_of),
    }
}
