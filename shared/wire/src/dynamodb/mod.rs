//! The calls of DynamoDB that a batch makes. <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/Welcome.html>
//!
//! The same words serve whoever speaks to DynamoDB by another client: what is asked, and what came back.

#[cfg(test)]
pub(crate) mod captured;
mod read;
#[cfg(test)]
mod tests;
mod write;

use crate::client::{Client, Service};
use crate::failure::{CallError, ServiceError};

/// The service, for [`Client::new`]. An answer has at most 16 MB of items, and bytes are a third longer in JSON.
pub const SERVICE: Service =
    Service { name: "dynamodb", content_type: "application/x-amz-json-1.0", answer_bytes_max: 32 << 20 };

const BATCH_GET_ITEM: &str = "DynamoDB_20120810.BatchGetItem";
const BATCH_EXECUTE_STATEMENT: &str = "DynamoDB_20120810.BatchExecuteStatement";
const GET_ITEM: &str = "DynamoDB_20120810.GetItem";
const UPDATE_ITEM: &str = "DynamoDB_20120810.UpdateItem";

/// A single write whose condition did not hold.
const CONDITION_FAILED: &str = "ConditionalCheckFailedException";

/// A value in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `S`.
    Text(&'a str),
    /// `N`, of the whole ones.
    Number(i128),
    /// `B`.
    Bytes(&'a [u8]),
}

/// A value in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// `S`.
    Text(String),
    /// `N`, as it is written.
    Number(String),
    /// `B`.
    Bytes(Vec<u8>),
    /// Any other type.
    Other,
}

/// What an answer holds of an item: the attributes that were wanted and are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item(pub Vec<(&'static str, Stored)>);

impl Item {
    /// An attribute.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Stored> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// An attribute, which the item then lacks.
    pub fn take(&mut self, name: &str) -> Option<Stored> {
        let place = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.swap_remove(place).1)
    }
}

/// Keys of one table.
#[derive(Clone, Debug)]
pub struct KeysOf<'a> {
    /// The table.
    pub table: &'a str,
    /// The values of its partition key, which is text. DynamoDB refuses a table without any, so such a one is not asked.
    pub keys: Vec<&'a str>,
    /// Which attributes are wanted, the key among them; none for all of them.
    pub attributes: Option<&'a [&'static str]>,
    /// Strongly consistent.
    pub consistent: bool,
}

/// What was read of several tables, which are named by their places in the request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Items, in no order.
    pub items: Vec<(usize, Item)>,
    /// Keys that were set aside.
    pub unprocessed: Vec<(usize, String)>,
}

/// A PartiQL statement.
#[derive(Clone, Debug)]
pub struct Statement<'a> {
    /// Its text.
    pub text: &'a str,
    /// What stands for its question marks.
    pub parameters: Vec<Value<'a>>,
    /// Whether a condition that does not hold gives the item back.
    pub returns_item: bool,
}

/// Why a statement of several was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Such as `ConditionalCheckFailed`; empty where none was given.
    pub code: String,
    /// What a person may read.
    pub message: String,
    /// The item that did not meet the condition, where it was asked for.
    pub item: Option<Item>,
}

/// A conditional write of one item, which gives the item back when the condition does not hold.
#[derive(Clone, Debug)]
pub struct Update<'a> {
    /// The table.
    pub table: &'a str,
    /// The item's key.
    pub key: &'a str,
    /// What is set.
    pub expression: &'a str,
    /// On what condition.
    pub condition: &'a str,
    /// What stands for names, with their `#`.
    pub names: &'a [(&'a str, &'a str)],
    /// What stands for values, with their `:`.
    pub values: Vec<(&'a str, Value<'a>)>,
}

/// What became of a conditional write.
#[derive(Debug, PartialEq, Eq)]
pub enum Updated {
    /// It was applied.
    Done,
    /// The condition did not hold; the item as it is, if there is one.
    Lost(Option<Item>),
}

/// DynamoDB by the lean client, for tables with a partition key of one name.
#[derive(Clone, Debug)]
pub struct DynamoDb {
    client: Client,
    /// The name of every table's partition key.
    key: &'static str,
    /// Attributes that anybody reads; the others of an item are passed over.
    wanted: &'static [&'static str],
}

impl DynamoDb {
    /// Uses a client of [`SERVICE`].
    #[must_use]
    pub fn new(client: Client, key: &'static str, wanted: &'static [&'static str]) -> Self {
        Self { client, key, wanted }
    }

    /// `BatchGetItem` of at most 100 keys, each named once.
    ///
    /// # Errors
    /// When the call as a whole has no answer.
    pub async fn batch_get(&self, tables: &[KeysOf<'_>]) -> Result<Found, CallError> {
        let write = |out: &mut Vec<u8>| write::batch_get(out, self.key, tables);
        self.client.call(BATCH_GET_ITEM, write, |answer| read::found(answer, self.key, self.wanted, tables)).await
    }

    /// `BatchExecuteStatement` of at most 25 statements; one answer each, in their order: none for what was carried out.
    ///
    /// # Errors
    /// When the call as a whole has no answer, or another number of them.
    pub async fn execute(&self, statements: &[Statement<'_>]) -> Result<Vec<Option<Refusal>>, CallError> {
        let write = |out: &mut Vec<u8>| write::statements(out, statements);
        let read = |answer: &[u8]| read::refusals(answer, self.wanted, statements.len());
        self.client.call(BATCH_EXECUTE_STATEMENT, write, read).await
    }

    /// `GetItem`, strongly consistent.
    ///
    /// # Errors
    /// When the call has no answer.
    pub async fn get(&self, table: &str, key: &str) -> Result<Option<Item>, CallError> {
        let write = |out: &mut Vec<u8>| write::get(out, self.key, table, key);
        self.client.call(GET_ITEM, write, |answer| read::item_of(answer, self.wanted)).await
    }

    /// `UpdateItem` on a condition.
    ///
    /// # Errors
    /// When the call has no answer but that of its condition.
    pub async fn update(&self, update: &Update<'_>) -> Result<Updated, CallError> {
        let write = |out: &mut Vec<u8>| write::update(out, self.key, update);
        let read = |answer: &[u8]| read::nothing(answer).map(|()| Updated::Done);
        match self.client.call(UPDATE_ITEM, write, read).await {
            Err(CallError::Service(error)) if error.code == CONDITION_FAILED => {
                let ServiceError { body, .. } = &*error;
                Ok(Updated::Lost(read::item_of(body, self.wanted)?))
            }
            answer => answer,
        }
    }
}
