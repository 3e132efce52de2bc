//! Roll-ups on DynamoDB: one put per window and part of a shard.
//!
//! An item has the attributes `pk` (S, the window), `sk` (S, the part of a shard), `m` (B, [`stored_rollup`]) and `x` (N, when it may be
//! forgotten, in seconds since 1970). A put is made without a condition: the same part is the same item.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use centinela_contracts::stored_rollup;
use centinela_delivery::StoreError;
use centinela_domain::Millis;
use centinela_rollup::ports::{RollupItem, Rollups};

use crate::attribute_group::KEY;
use crate::budget::Budget;
use crate::owned_items::DynamoLimits;
use crate::service_failure::ServiceFailure;

const PART: &str = "sk";
const ROLLUP: &str = "m";
const EXPIRES: &str = "x";

/// The table of roll-ups on DynamoDB.
#[derive(Clone, Debug)]
pub struct DynamoRollups {
    client: Client,
    table: String,
    limits: DynamoLimits,
}

impl DynamoRollups {
    /// Uses a table. Nothing is asked of it before the first roll-up: the role may put items and nothing else.
    pub fn new(sdk: &SdkConfig, table: &str, limits: DynamoLimits) -> Self {
        Self { client: Client::new(sdk), table: table.to_owned(), limits }
    }
}

impl Rollups for DynamoRollups {
    async fn put(&self, item: RollupItem, deadline: Millis) -> Result<(), StoreError> {
        let budget = Budget::until(deadline);
        let content = AttributeValue::B(Blob::new(stored_rollup::encode(&item.rollup)));
        for attempt in 1.. {
            let Some(left) = budget.left() else { break };
            let limit = left.min(self.limits.attempt);
            let call = self
                .client
                .put_item()
                .table_name(&self.table)
                .item(KEY, AttributeValue::S(item.window.clone()))
                .item(PART, AttributeValue::S(item.part.clone()))
                .item(ROLLUP, content.clone())
                .item(EXPIRES, AttributeValue::N(item.expires_s.to_string()));
            let failure = match tokio::time::timeout(limit, Box::pin(call.send())).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => ServiceFailure::of(error),
                Err(_) => ServiceFailure::no_answer(limit),
            };
            match failure {
                ServiceFailure::Refused(source) => return Err(StoreError::Rejected(source)),
                ServiceFailure::Transient(source) => {
                    if !budget.pause_after(attempt).await {
                        return Err(StoreError::Unavailable(source));
                    }
                }
            }
        }
        Err(StoreError::OutOfTime)
    }
}
