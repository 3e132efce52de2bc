//! The table of settled offsets: one item per partition, `pk` (S) its key, `v` (N) its version, `s` (B) its content, as
//! `centinela-adapters` writes them. A write names the version that it replaces.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use centinela_audit::errors::one_line;
use centinela_contracts::stored_partition::{self, StoredPartition};

use super::Place;
use crate::dynamodb;
use crate::failure::Failure;

const KEY: &str = "pk";
const VERSION: &str = "v";
const CONTENT: &str = "s";

type Attributes = HashMap<String, AttributeValue>;

/// The items of one group and topic.
pub(super) struct SettledTable {
    client: Client,
    table: String,
    group: String,
    topic: String,
    /// The database in words.
    database: String,
}

/// A partition's item.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) version: u64,
    pub(super) item: StoredPartition,
}

/// Everything in the table, by partition.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) readable: BTreeMap<u32, Stored>,
    pub(super) unreadable: BTreeMap<u32, String>,
    /// Groups with their topics that were not asked for.
    pub(super) others: BTreeSet<String>,
}

impl Found {
    pub(super) fn partitions(&self) -> impl Iterator<Item = u32> {
        let all: BTreeSet<u32> = self.readable.keys().chain(self.unreadable.keys()).copied().collect();
        all.into_iter()
    }

    /// What to look at when no partition was found.
    pub(super) fn advice(&self) -> String {
        if self.others.is_empty() {
            return "the table is empty, check --table and the region".to_owned();
        }
        let others: Vec<&str> = self.others.iter().map(String::as_str).collect();
        format!("check --group and --topic, the table has {}", others.join(", "))
    }
}

impl SettledTable {
    /// Finds region and credentials; asks for nothing yet.
    pub(super) async fn open(place: &Place) -> Result<Self, Failure> {
        let (client, database) = dynamodb::open(place.dynamodb.as_deref()).await?;
        let Place { table, group, topic, .. } = place;
        Ok(Self { client, table: table.clone(), group: group.clone(), topic: topic.clone(), database })
    }

    /// Every partition's item. The table has one item per partition and group, so all of it is read.
    pub(super) async fn read_all(&self) -> Result<Found, Failure> {
        let mut found = Found::default();
        let mut next: Option<Attributes> = None;
        loop {
            let call = self.client.scan().table_name(&self.table).consistent_read(true).set_exclusive_start_key(next);
            let page = Box::pin(call.send()).await.map_err(|error| self.failed("scan", error))?;
            for attributes in page.items.unwrap_or_default() {
                let Some(Ok(key)) = attributes.get(KEY).map(AttributeValue::as_s) else { continue };
                let Some((group_and_topic, partition)) = parts(key) else { continue };
                if stored_partition::key(&self.group, &self.topic, partition) != *key {
                    found.others.insert(format!("`{group_and_topic}`"));
                    continue;
                }
                match stored(&attributes) {
                    Ok(stored) => drop(found.readable.insert(partition, stored)),
                    Err(problem) => drop(found.unreadable.insert(partition, problem)),
                }
            }
            match page.last_evaluated_key {
                Some(key) if !key.is_empty() => next = Some(key),
                _ => return Ok(found),
            }
        }
    }

    /// One partition's item.
    pub(super) async fn read(&self, partition: u32) -> Result<Option<Stored>, Failure> {
        let call = self.client.get_item().table_name(&self.table).key(KEY, self.key(partition)).consistent_read(true);
        let answer = Box::pin(call.send()).await.map_err(|error| self.failed("read", error))?;
        let read = answer.item.map(|attributes| stored(&attributes)).transpose();
        read.map_err(|problem| {
            Failure::Failed(format!("the item of partition {partition} cannot be read and must be repaired: {problem}"))
        })
    }

    /// Writes a partition's item unless somebody else has written it since; returns whether it did.
    pub(super) async fn replace(&self, partition: u32, version: u64, item: &StoredPartition) -> Result<bool, Failure> {
        let content = stored_partition::encode(item).map_err(|error| Failure::failed(&error))?;
        let call = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(KEY, self.key(partition))
            .update_expression("SET #v = :version, #s = :content")
            .condition_expression("#v = :expected")
            .expression_attribute_names("#v", VERSION)
            .expression_attribute_names("#s", CONTENT)
            .expression_attribute_values(":version", number(version.saturating_add(1)))
            .expression_attribute_values(":content", AttributeValue::B(Blob::new(content)))
            .expression_attribute_values(":expected", number(version));
        match Box::pin(call.send()).await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(self.failed("write", error)),
            },
        }
    }

    fn key(&self, partition: u32) -> AttributeValue {
        AttributeValue::S(stored_partition::key(&self.group, &self.topic, partition))
    }

    fn failed<E>(&self, doing: &str, error: SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        dynamodb::failed(doing, &self.table, &self.database, "name the table of settled offsets with --table", error)
    }
}

/// Group with topic, and partition.
fn parts(key: &str) -> Option<(&str, u32)> {
    let (group_and_topic, partition) = key.rsplit_once('/')?;
    Some((group_and_topic, partition.parse().ok()?))
}

fn stored(attributes: &Attributes) -> Result<Stored, String> {
    let wrong = |name: &str| format!("attribute {name} is missing or has the wrong type");
    let version = attributes.get(VERSION).and_then(|value| value.as_n().ok()?.parse().ok());
    let version = version.ok_or_else(|| wrong(VERSION))?;
    let content = attributes.get(CONTENT).and_then(|value| value.as_b().ok()).ok_or_else(|| wrong(CONTENT))?;
    let item = stored_partition::decode(content.as_ref()).map_err(|problem| one_line(&problem))?;
    Ok(Stored { version, item })
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
