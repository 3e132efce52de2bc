//! The table: users' states as JSON, and one idempotency record per transaction, put before the work and updated after it.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_runtime::Error;

use crate::Decision;
use crate::features::State;

/// How long a transaction is remembered, as the libraries do by default.
const REMEMBERED_S: u64 = 3_600;

/// A table with the key `pk`.
pub struct Table {
    client: Client,
    name: String,
}

fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn record(transaction: &str) -> AttributeValue {
    text(format!("idempotency#{transaction}"))
}

impl Table {
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Marks a transaction as being worked on; its decision if it was decided before. One that was begun and not completed, by an
    /// invocation that died, is worked on again.
    pub async fn begin(&self, transaction: &str) -> Result<Option<Decision>, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .item("pk", record(transaction))
            .item("status", text("INPROGRESS"))
            .item("expires", AttributeValue::N((now + REMEMBERED_S).to_string()))
            .condition_expression("attribute_not_exists(pk) OR expires < :now")
            .expression_attribute_values(":now", AttributeValue::N(now.to_string()));
        match put.send().await {
            Ok(_) => return Ok(None),
            Err(problem) => match problem.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => {}
                _ => return Err(problem.into()),
            },
        }
        let found = self.client.get_item().table_name(&self.name).key("pk", record(transaction)).consistent_read(true);
        let item = found.send().await?.item.unwrap_or_default();
        match item.get("decision").and_then(|decision| decision.as_s().ok()) {
            Some(decision) => Ok(Some(serde_json::from_str(decision)?)),
            None => Ok(None),
        }
    }

    /// Keeps the decision for whoever sends the transaction again.
    pub async fn complete(&self, decision: &Decision) -> Result<(), Error> {
        let update = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", record(&decision.transaction_id))
            .update_expression("SET #status = :done, decision = :decision")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":done", text("COMPLETE"))
            .expression_attribute_values(":decision", text(serde_json::to_string(decision)?));
        update.send().await?;
        Ok(())
    }

    pub async fn state(&self, user: &str) -> Result<Option<State>, Error> {
        let get = self.client.get_item().table_name(&self.name).key("pk", text(user)).consistent_read(true);
        let item = get.send().await?.item.unwrap_or_default();
        match item.get("state").and_then(|state| state.as_s().ok()) {
            Some(state) => Ok(Some(serde_json::from_str(state)?)),
            None => Ok(None),
        }
    }

    pub async fn put_state(&self, user: &str, state: &State) -> Result<(), Error> {
        let state = serde_json::to_string(state)?;
        let put = self.client.put_item().table_name(&self.name).item("pk", text(user)).item("state", text(state));
        put.send().await?;
        Ok(())
    }
}
