//! The items of one table, of which one owner reads and writes its own attributes.
//!
//! A write whose reply was lost is tried again: it names the version that it replaces, so it cannot be applied twice. If the first
//! attempt was applied, the second comes back as a lost race with the very state that it wrote.

mod statements;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use centinela_contracts::stored_user::StoredProblem;
use centinela_domain::Millis;
use centinela_scoring::ports::{Commit, StoreError, Versioned, Write};

use crate::attribute_group::{AttributeGroup, Attributes, ItemProblem, key_of, number};
use crate::budget::Budget;
use crate::service_failure::ServiceFailure;
use statements::Statements;

/// Turns an identifier into what may stand for it in a log line.
pub type NameForLogs = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Bounds on calls.
#[derive(Clone, Copy, Debug)]
pub struct DynamoLimits {
    /// One attempt waits this long for its answer. DynamoDB answers in milliseconds: what takes longer hangs.
    pub attempt: Duration,
    /// From the start of a read, devices are asked for again only within this time: a decision can do without them.
    pub device_patience: Duration,
    /// All attempts at a single item, within the deadline.
    pub single_item: Duration,
    /// Calls in flight for one batch.
    pub calls_in_flight: usize,
}

impl Default for DynamoLimits {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(1),
            device_patience: Duration::from_millis(40),
            single_item: Duration::from_secs(2),
            calls_in_flight: 4,
        }
    }
}

/// Which table, for which owner.
#[derive(Clone)]
pub struct OwnedTable {
    /// The table.
    pub name: String,
    /// The owner's attributes.
    pub group: AttributeGroup,
    /// What an item is about, for messages: `user`, `device`.
    pub kind: &'static str,
    /// Names items that cannot be read.
    pub name_for_logs: NameForLogs,
    /// Time bounds.
    pub limits: DynamoLimits,
}

impl fmt::Debug for OwnedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedTable").field("name", &self.name).field("group", &self.group).finish_non_exhaustive()
    }
}

/// Reads and conditional writes of one owner's attributes.
#[derive(Debug)]
pub struct OwnedItems {
    client: Client,
    table: OwnedTable,
    statements: Statements,
}

/// An item that nobody but a person can repair.
#[derive(Debug, thiserror::Error)]
#[error("the stored item of {kind} {name} cannot be read")]
struct CorruptItem {
    kind: &'static str,
    name: String,
    #[source]
    problem: ItemProblem,
}

/// What became of one write, whose bytes nobody has read yet.
enum Verdict {
    Done,
    /// The condition did not hold, with the item as it is now where DynamoDB gave it back.
    Lost(Option<Attributes>),
    Failed(StoreError),
}

impl OwnedItems {
    /// Uses a client as it is, without a first call.
    pub fn new(client: Client, table: OwnedTable) -> Self {
        let statements = Statements::of(table.group, &table.name);
        Self { client, table, statements }
    }

    /// The owner's state under a key, strongly consistent; none where there is no item, or only that of other owners.
    pub async fn get(&self, key: &str, deadline: Millis) -> Result<Option<Versioned<Vec<u8>>>, StoreError> {
        let budget = self.single_item_until(deadline);
        for attempt in 1.. {
            let limit = budget.left().ok_or(StoreError::OutOfTime)?.min(self.table.limits.attempt);
            let call = self.client.get_item().table_name(&self.table.name).set_key(Some(key_of(key)));
            let failure = match tokio::time::timeout(limit, Box::pin(call.consistent_read(true).send())).await {
                Ok(Ok(output)) => return output.item.map_or(Ok(None), |item| self.read(key, item)),
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

    /// Writes the owner's attributes of many items, 25 in a call; one answer per write in the same order, each stands alone.
    pub async fn commit(&self, writes: &[Write<String, Vec<u8>>], deadline: Millis) -> Vec<Commit<Vec<u8>>> {
        let verdicts = self.execute_all(writes, Budget::until(deadline)).await;
        verdicts.into_iter().zip(writes).map(|(verdict, write)| self.outcome(&write.key, verdict)).collect()
    }

    /// Writes the owner's attributes of one item, in a call of its own.
    pub async fn commit_alone(&self, write: Write<String, Vec<u8>>, deadline: Millis) -> Commit<Vec<u8>> {
        let Write { key, expected, item } = write;
        let verdict = self.update_item(&key, expected, item, self.single_item_until(deadline)).await;
        self.outcome(&key, verdict)
    }

    /// The owner's state in an item that was read.
    pub(crate) fn read(&self, key: &str, mut item: Attributes) -> Result<Option<Versioned<Vec<u8>>>, StoreError> {
        self.table.group.read(&mut item).map_err(|problem| self.corrupt(key, problem))
    }

    /// Makes something of stored bytes.
    pub(crate) fn decode<T>(
        &self,
        key: &str,
        stored: Versioned<Vec<u8>>,
        decode: impl FnOnce(&[u8]) -> Result<T, StoredProblem>,
    ) -> Result<Versioned<T>, StoreError> {
        let Versioned { version, item } = stored;
        decode(&item).map(|item| Versioned { version, item }).map_err(|problem| self.corrupt(key, problem.into()))
    }

    /// The same for the winner of a lost race.
    pub(crate) fn decode_winner<T>(
        &self,
        key: &str,
        commit: Commit<Vec<u8>>,
        decode: impl FnOnce(&[u8]) -> Result<T, StoredProblem>,
    ) -> Commit<T> {
        match commit {
            Commit::Done => Commit::Done,
            Commit::Lost(None) => Commit::Lost(None),
            Commit::Lost(Some(winner)) => match self.decode(key, winner, decode) {
                Ok(winner) => Commit::Lost(Some(winner)),
                Err(problem) => Commit::Failed(problem),
            },
            Commit::Failed(problem) => Commit::Failed(problem),
        }
    }

    fn outcome(&self, key: &str, verdict: Verdict) -> Commit<Vec<u8>> {
        match verdict {
            Verdict::Done => Commit::Done,
            Verdict::Lost(None) => Commit::Lost(None),
            Verdict::Lost(Some(item)) => self.read(key, item).map_or_else(Commit::Failed, Commit::Lost),
            Verdict::Failed(problem) => Commit::Failed(problem),
        }
    }

    fn corrupt(&self, key: &str, problem: ItemProblem) -> StoreError {
        let name = (self.table.name_for_logs)(key);
        StoreError::Corrupt(Box::new(CorruptItem { kind: self.table.kind, name, problem }))
    }

    fn single_item_until(&self, deadline: Millis) -> Budget {
        Budget::of(self.table.limits.single_item).and(Budget::until(deadline))
    }

    async fn update_item(&self, key: &str, expected: Option<u64>, content: Vec<u8>, budget: Budget) -> Verdict {
        let call = self
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(key_of(key)))
            .update_expression("SET #v = :version, #s = :content")
            .condition_expression(AttributeGroup::condition(expected))
            .set_expression_attribute_names(Some(self.table.group.names()))
            .expression_attribute_values(":version", number(expected.map_or(1, |version| version.saturating_add(1))))
            .expression_attribute_values(":content", AttributeValue::B(Blob::new(content)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let call = match expected {
            Some(version) => call.expression_attribute_values(":expected", number(version)),
            None => call,
        };
        for attempt in 1.. {
            let Some(left) = budget.left() else { break };
            let limit = left.min(self.table.limits.attempt);
            let failure = match tokio::time::timeout(limit, Box::pin(call.clone().send())).await {
                Ok(Ok(_)) => return Verdict::Done,
                Ok(Err(error)) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(lost)) => {
                        return Verdict::Lost(lost.item().cloned());
                    }
                    _ => ServiceFailure::of(error),
                },
                Err(_) => ServiceFailure::no_answer(limit),
            };
            match failure {
                ServiceFailure::Refused(source) => return Verdict::Failed(StoreError::Rejected(source)),
                ServiceFailure::Transient(source) => {
                    if !budget.pause_after(attempt).await {
                        return Verdict::Failed(StoreError::Unavailable(source));
                    }
                }
            }
        }
        Verdict::Failed(StoreError::OutOfTime)
    }
}
