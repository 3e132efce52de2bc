//! A label as one transaction.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use centinela_contracts::{stored_label, stored_risk};
use centinela_delivery::{StoreError, Write};
use centinela_domain::Risk;
use centinela_labels::ports::{Applied, LabelWrite};

use super::{DEVICE, DynamoLabels, EXPIRES, ORDER, USER};
use crate::attribute_group::{AttributeGroup, KEY, key_of, number};
use crate::budget::Budget;
use crate::service_failure::ServiceFailure;

/// What became of one attempt.
enum Attempt {
    Done,
    Lost,
    Failed(ServiceFailure),
}

/// Why DynamoDB cancelled a transaction.
#[derive(Debug, thiserror::Error)]
#[error("the transaction was cancelled: {}", reasons.join(", "))]
struct Cancelled {
    reasons: Vec<String>,
}

impl DynamoLabels {
    /// Writes all of it or nothing, and tries again what met another write or was throttled.
    ///
    /// An attempt whose reply was lost is tried again as well: if it was applied, the next one finds its own label standing and loses.
    pub(super) async fn transact(&self, write: &LabelWrite, budget: Budget) -> Applied {
        let actions = match self.actions(write) {
            Ok(actions) => actions,
            Err(problem) => return Applied::Failed(StoreError::Rejected(Box::new(problem))),
        };
        for attempt in 1.. {
            let Some(left) = budget.left() else { break };
            let limit = left.min(self.limits.attempt);
            let call = self.client.transact_write_items().set_transact_items(Some(actions.clone()));
            let outcome = match tokio::time::timeout(limit, Box::pin(call.send())).await {
                Ok(Ok(_)) => Attempt::Done,
                Ok(Err(error)) => match error.as_service_error() {
                    Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => judged(cancelled),
                    _ => Attempt::Failed(ServiceFailure::of(error)),
                },
                Err(_) => Attempt::Failed(ServiceFailure::no_answer(limit)),
            };
            match outcome {
                Attempt::Done => return Applied::Done,
                Attempt::Lost => return Applied::Lost,
                Attempt::Failed(ServiceFailure::Refused(source)) => {
                    return Applied::Failed(StoreError::Rejected(source));
                }
                Attempt::Failed(ServiceFailure::Transient(source)) => {
                    if !budget.pause_after(attempt).await {
                        return Applied::Failed(StoreError::Unavailable(source));
                    }
                }
            }
        }
        Applied::Failed(StoreError::OutOfTime)
    }

    fn actions(&self, write: &LabelWrite) -> Result<Vec<TransactWriteItem>, BuildError> {
        let mut actions = vec![TransactWriteItem::builder().put(self.label(write)?).build()];
        let user =
            write.user_risk.as_ref().map(|risk| (&self.names.users, risk.key.as_str(), risk.expected, &risk.item));
        let device = |Write { key, expected, item }| (&self.names.devices, key, expected, item);
        let devices = write
            .device_risks
            .iter()
            .map(|risk| device(Write { key: risk.key.as_str(), expected: risk.expected, item: &risk.item }));
        for (table, key, expected, risk) in user.into_iter().chain(devices) {
            let update = risk_update(table, key, expected, risk)?;
            actions.push(TransactWriteItem::builder().update(update).build());
        }
        Ok(actions)
    }

    fn label(&self, write: &LabelWrite) -> Result<Put, BuildError> {
        let order = |label| AttributeValue::B(Blob::new(stored_label::encode_order(label)));
        let put = Put::builder()
            .table_name(&self.names.labels)
            .set_item(Some(key_of(&stored_label::key(write.decision))))
            .item(ORDER, order(&write.standing.label))
            .item(USER, AttributeValue::S(write.user.as_str().to_owned()))
            .item(DEVICE, AttributeValue::S(write.standing.device.as_str().to_owned()))
            .item(EXPIRES, AttributeValue::N(write.expires_s.to_string()));
        match &write.replaces {
            None => put.condition_expression("attribute_not_exists(#k)").expression_attribute_names("#k", KEY),
            Some(replaced) => put
                .condition_expression("#o = :replaced")
                .expression_attribute_names("#o", ORDER)
                .expression_attribute_values(":replaced", order(replaced)),
        }
        .build()
    }
}

fn risk_update(table: &str, key: &str, expected: Option<u64>, risk: &Risk) -> Result<Update, BuildError> {
    let next = number(expected.map_or(1, |version| version.saturating_add(1)));
    let content = AttributeValue::B(Blob::new(stored_risk::encode(risk)));
    let mut values = HashMap::from([(":version".to_owned(), next), (":content".to_owned(), content)]);
    values.extend(expected.map(|version| (":expected".to_owned(), number(version))));
    let names = AttributeGroup::RISK.names().map(|(name, of)| (name.to_owned(), of.to_owned()));
    Update::builder()
        .table_name(table)
        .set_key(Some(key_of(key)))
        .update_expression("SET #v = :version, #s = :content")
        .condition_expression(AttributeGroup::condition(expected))
        .set_expression_attribute_names(Some(names.into()))
        .set_expression_attribute_values(Some(values))
        .build()
}

/// A condition that did not hold decides: whatever else went wrong, what was read is stale.
fn judged(cancelled: &TransactionCanceledException) -> Attempt {
    let codes = || cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
    if codes().any(|code| code == "ConditionalCheckFailed") {
        return Attempt::Lost;
    }
    let reasons = codes().filter(|code| *code != "None").map(str::to_owned).collect();
    let source = Box::new(Cancelled { reasons });
    // <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
    let is_transient = |code: &str| {
        matches!(code, "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded" | "None")
    };
    if codes().all(is_transient) {
        Attempt::Failed(ServiceFailure::Transient(source))
    } else {
        Attempt::Failed(ServiceFailure::Refused(source))
    }
}
