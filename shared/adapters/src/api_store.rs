//! What the HTTP API reads: users' items, the index of decisions, roll-ups.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::AttributeValue;
use centinela_api::ports::{Store, UserItem};
use centinela_contracts::stored_decision::{self, IndexedDecision};
use centinela_contracts::stored_user::StoredProblem;
use centinela_contracts::{stored_profile, stored_risk, stored_rollup, stored_user};
use centinela_delivery::{Causes, StoreError};
use centinela_domain::rollup::Rollup;
use centinela_domain::{Millis, TransactionId, UserId};
use centinela_wire::dynamodb::Stored;
use futures::{StreamExt, TryStreamExt, stream};
use tracing::{error, warn};

use crate::ConnectError;
use crate::attribute_group::{AttributeGroup, Attributes, ItemProblem, key_of};
use crate::budget::{Budget, wall_clock};
use crate::owned_items::{DynamoLimits, NameForLogs};
use crate::service_failure::ServiceFailure;
use crate::tables::attributes_of;

/// The attribute of a look-up item that holds its decisions.
const DECISIONS: &str = "d";
/// The attribute of a metrics item that holds its roll-up.
const ROLLUP: &str = "m";
/// Windows that are asked for at a time.
const QUERIES_IN_FLIGHT: usize = 16;
/// A key that no item has; costs the smallest read.
const WARM_UP_KEY: &str = "warm-up";

/// Where it is.
#[derive(Clone, Debug)]
pub struct ApiTables {
    /// Users' items.
    pub users: String,
    /// The index of decisions; none where the deployment has none.
    pub decisions: Option<String>,
    /// Roll-ups by window.
    pub metrics: Option<String>,
}

/// What the HTTP API reads, on DynamoDB.
pub struct ApiStore {
    client: Client,
    tables: ApiTables,
    name_for_logs: NameForLogs,
    limits: DynamoLimits,
}

impl ApiStore {
    /// Connects and reads one key, which opens the connection and shows a missing table or grant at start. A database that is merely slow
    /// or throttling is no reason not to start.
    pub async fn connect(
        sdk: &SdkConfig,
        tables: ApiTables,
        name_for_logs: NameForLogs,
        limits: DynamoLimits,
    ) -> Result<Self, ConnectError> {
        let store = Self { client: Client::new(sdk), tables, name_for_logs, limits };
        let deadline = Millis(wall_clock().0.saturating_add(limits.single_item.as_millis() as i64));
        let tables = [Some(&store.tables.users), store.tables.decisions.as_ref()];
        for table in tables.into_iter().flatten() {
            match store.item(table, WARM_UP_KEY, false, deadline).await {
                Err(StoreError::Rejected(source)) => {
                    return Err(ConnectError::Tables { tables: vec![table.clone()], source });
                }
                Err(problem) => warn!(error = %Causes(&problem), "dynamodb did not answer the first read"),
                Ok(_) => {}
            }
        }
        Ok(store)
    }

    /// An item; none where there is none.
    async fn item(
        &self,
        table: &str,
        key: &str,
        consistent: bool,
        deadline: Millis,
    ) -> Result<Option<Attributes>, StoreError> {
        let get = || self.client.get_item().table_name(table).set_key(Some(key_of(key))).consistent_read(consistent);
        let output = self.within(deadline, || get().send()).await?;
        Ok(output.item.map(attributes_of))
    }

    /// Tries until it is answered or the time is up.
    async fn within<T, E, F>(&self, deadline: Millis, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        E: aws_sdk_dynamodb::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, aws_sdk_dynamodb::config::http::HttpResponse>>>,
    {
        let budget = Budget::until(deadline).and(Budget::of(self.limits.single_item));
        for attempt in 1.. {
            let limit = budget.left().ok_or(StoreError::OutOfTime)?.min(self.limits.attempt);
            let failure = match tokio::time::timeout(limit, Box::pin(call())).await {
                Ok(Ok(output)) => return Ok(output),
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

    /// A part of a user's item that the answer can do without.
    fn part<T>(
        &self,
        user: &UserId,
        (name, group): (&'static str, AttributeGroup),
        item: &mut Attributes,
        unreadable: &mut Vec<&'static str>,
        decode: impl FnOnce(&[u8]) -> Result<T, StoredProblem>,
    ) -> Option<T> {
        match decoded(group, item, decode) {
            Ok(part) => part,
            Err(problem) => {
                self.report(name, user.as_str(), &problem);
                unreadable.push(name);
                None
            }
        }
    }

    fn report(&self, what: &str, key: &str, problem: &ItemProblem) {
        let name = (self.name_for_logs)(key);
        error!(what, name, error = %Causes(problem), "a person has to repair an item");
    }

    async fn rollup(&self, table: &str, window: i64, deadline: Millis) -> Result<(i64, Option<Rollup>), StoreError> {
        let query = || {
            let call = self.client.query().table_name(table).key_condition_expression("pk = :window");
            call.expression_attribute_values(":window", AttributeValue::S(format!("w#{window}"))).send()
        };
        let output = self.within(deadline, query).await?;
        let mut merged: Option<Rollup> = None;
        for item in output.items() {
            let rollup = match item.get(ROLLUP) {
                Some(AttributeValue::B(content)) => stored_rollup::decode(content.as_ref()).map_err(ItemProblem::from),
                _ => Err(ItemProblem::Attribute(ROLLUP)),
            };
            let rollup = rollup.map_err(|problem| StoreError::Corrupt(Box::new(problem)))?;
            merged.get_or_insert_default().merge(&rollup);
        }
        Ok((window, merged))
    }
}

impl std::fmt::Debug for ApiStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiStore").field("tables", &self.tables).finish_non_exhaustive()
    }
}

impl Store for ApiStore {
    async fn user(&self, user: &UserId, consistent: bool, deadline: Millis) -> Result<UserItem, StoreError> {
        let item = self.item(&self.tables.users, user.as_str(), consistent, deadline).await?;
        let Some(mut item) = item else { return Ok(UserItem::default()) };
        let decisions = decoded(AttributeGroup::DECISIONS, &mut item, |bytes| stored_user::decode(bytes, user));
        let decisions = decisions.map_err(|problem| {
            self.report("decisions", user.as_str(), &problem);
            StoreError::Corrupt(Box::new(problem))
        })?;
        let mut unreadable = Vec::new();
        let profile =
            self.part(user, ("profile", AttributeGroup::PROFILE), &mut item, &mut unreadable, stored_profile::decode);
        let risk = self.part(user, ("labels", AttributeGroup::RISK), &mut item, &mut unreadable, stored_risk::decode);
        Ok(UserItem { decisions, profile, risk, unreadable })
    }

    async fn decisions(
        &self,
        transaction: &TransactionId,
        deadline: Millis,
    ) -> Result<Vec<IndexedDecision>, StoreError> {
        let Some(table) = &self.tables.decisions else { return Ok(Vec::new()) };
        let Some(item) = self.item(table, transaction.as_str(), false, deadline).await? else { return Ok(Vec::new()) };
        let decisions = match item.get(DECISIONS) {
            Some(Stored::Bytes(content)) => stored_decision::decode(content).map_err(ItemProblem::from),
            _ => Err(ItemProblem::Attribute(DECISIONS)),
        };
        decisions.map_err(|problem| {
            self.report("indexed decisions", transaction.as_str(), &problem);
            StoreError::Corrupt(Box::new(problem))
        })
    }

    async fn rollups(&self, windows: &[i64], deadline: Millis) -> Result<BTreeMap<i64, Rollup>, StoreError> {
        let Some(table) = &self.tables.metrics else { return Ok(BTreeMap::new()) };
        let queries = windows.iter().map(|window| self.rollup(table, *window, deadline));
        let queries: Vec<_> = queries.collect();
        let found: Vec<_> = stream::iter(queries).buffer_unordered(QUERIES_IN_FLIGHT).try_collect().await?;
        Ok(found.into_iter().filter_map(|(window, rollup)| Some((window, rollup?))).collect())
    }
}

fn decoded<T>(
    group: AttributeGroup,
    item: &mut Attributes,
    decode: impl FnOnce(&[u8]) -> Result<T, StoredProblem>,
) -> Result<Option<T>, ItemProblem> {
    let found = group.read(item)?;
    Ok(found.map(|found| decode(&found.item)).transpose()?)
}
