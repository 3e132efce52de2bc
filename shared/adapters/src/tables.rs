//! The calls to DynamoDB that a batch makes, by the lean client or by the SDK's. What a call means is the same by both, and so is what a
//! failure means; nothing is tried again here.

mod sdk;

use std::future::Future;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use centinela_wire::Client as Lean;
use centinela_wire::dynamodb::{DynamoDb, Found, KeysOf, Refusal, Statement, Update, Updated};

use crate::attribute_group::{ATTRIBUTES, Attributes, KEY};
use crate::service_failure::ServiceFailure;

pub(crate) use sdk::attributes_of;

/// DynamoDB, by one client or the other.
#[derive(Clone, Debug)]
pub struct Tables(By);

#[derive(Clone, Debug)]
enum By {
    Lean(DynamoDb),
    Sdk(Client),
}

impl From<Client> for Tables {
    fn from(client: Client) -> Self {
        Self(By::Sdk(client))
    }
}

impl From<Lean> for Tables {
    fn from(client: Lean) -> Self {
        Self(By::Lean(DynamoDb::new(client, KEY, ATTRIBUTES)))
    }
}

impl Tables {
    /// `BatchGetItem` of at most 100 keys, each named once.
    pub(crate) async fn batch_get(&self, tables: &[KeysOf<'_>], limit: Duration) -> Result<Found, ServiceFailure> {
        match &self.0 {
            By::Lean(dynamodb) => {
                within(limit, async { dynamodb.batch_get(tables).await.map_err(ServiceFailure::from) }).await
            }
            By::Sdk(client) => within(limit, Box::pin(sdk::batch_get(client, tables))).await,
        }
    }

    /// `BatchExecuteStatement` of at most 25 statements; none for each that was carried out.
    pub(crate) async fn execute(
        &self,
        statements: &[Statement<'_>],
        limit: Duration,
    ) -> Result<Vec<Option<Refusal>>, ServiceFailure> {
        match &self.0 {
            By::Lean(dynamodb) => {
                within(limit, async { dynamodb.execute(statements).await.map_err(ServiceFailure::from) }).await
            }
            By::Sdk(client) => within(limit, Box::pin(sdk::execute(client, statements))).await,
        }
    }

    /// `GetItem`, strongly consistent.
    pub(crate) async fn get(
        &self,
        table: &str,
        key: &str,
        limit: Duration,
    ) -> Result<Option<Attributes>, ServiceFailure> {
        match &self.0 {
            By::Lean(dynamodb) => {
                within(limit, async { dynamodb.get(table, key).await.map_err(ServiceFailure::from) }).await
            }
            By::Sdk(client) => within(limit, Box::pin(sdk::get(client, table, key))).await,
        }
    }

    /// `UpdateItem` on a condition.
    pub(crate) async fn update(&self, update: &Update<'_>, limit: Duration) -> Result<Updated, ServiceFailure> {
        match &self.0 {
            By::Lean(dynamodb) => {
                within(limit, async { dynamodb.update(update).await.map_err(ServiceFailure::from) }).await
            }
            By::Sdk(client) => within(limit, Box::pin(sdk::update(client, update))).await,
        }
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, ServiceFailure>>,
) -> Result<T, ServiceFailure> {
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| Err(ServiceFailure::no_answer(limit)))
}
