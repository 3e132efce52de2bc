//! The items of one table, of which one owner reads and writes its own attributes.
//!
//! A write whose reply was lost is tried again: it names the version that it replaces, so it cannot be applied twice. If the first
//! attempt was applied, the second comes back as a lost race with the very state that it wrote.

mod statements;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use centinela_contracts::stored_user::StoredProblem;
use centinela_domain::Millis;
use centinela_scoring::ports::{Commit, StoreError, Versioned, Write};
use centinela_wire::dynamodb::{Update, Updated, Value};

use crate::attribute_group::{AttributeGroup, Attributes, ItemProblem};
use crate::budget::Budget;
use crate::service_failure::ServiceFailure;
use crate::tables::Tables;
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
    client: Tables,
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
    pub fn new(client: impl Into<Tables>, table: OwnedTable) -> Self {
        let statements = Statements::of(table.group, &table.name);
        Self { client: client.into(), table, statements }
    }

    /// The owner's state under a key, strongly consistent; none where there is no item, or only that of other owners.
    pub async fn get(&self, key: &str, deadline: Millis) -> Result<Option<Versioned<Vec<u8>>>, StoreError> {
        let budget = self.single_item_until(deadline);
        for attempt in 1.. {
            let limit = budget.left().ok_or(StoreError::OutOfTime)?.min(self.table.limits.attempt);
            match self.client.get(&self.table.name, key, limit).await {
                Ok(item) => return item.map_or(Ok(None), |item| self.read(key, item)),
                Err(ServiceFailure::Refused(source)) => return Err(StoreError::Rejected(source)),
                Err(ServiceFailure::Transient(source)) => {
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
        let next = expected.map_or(1, |version| version.saturating_add(1));
        let mut values = vec![(":version", Value::Number(next.into())), (":content", Value::Bytes(&content))];
        values.extend(expected.map(|version| (":expected", Value::Number(version.into()))));
        let update = Update {
            table: &self.table.name,
            key,
            expression: "SET #v = :version, #s = :content",
            condition: AttributeGroup::condition(expected),
            names: &self.table.group.names(),
            values,
        };
        for attempt in 1.. {
            let Some(left) = budget.left() else { break };
            match self.client.update(&update, left.min(self.table.limits.attempt)).await {
                Ok(Updated::Done) => return Verdict::Done,
                Ok(Updated::Lost(item)) => return Verdict::Lost(item),
                Err(ServiceFailure::Refused(source)) => return Verdict::Failed(StoreError::Rejected(source)),
                Err(ServiceFailure::Transient(source)) => {
                    if !budget.pause_after(attempt).await {
                        return Verdict::Failed(StoreError::Unavailable(source));
                    }
                }
            }
        }
        Verdict::Failed(StoreError::OutOfTime)
    }
}
