//! The entries of a user in the index of decisions by transaction id.
//!
//! The index has no way to be asked by user, and an item may have entries of several users, who chose the same id. So either the whole table
//! is read, or the caller knows the transactions.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use centinela_contracts::stored_decision::{self, IndexedDecision};
use centinela_domain::{TransactionId, UserId};
use futures::future::try_join_all;

use super::tables::{KEY, text};
use crate::dynamodb;
use crate::failure::Failure;

/// The decisions of an item.
const DECISIONS: &str = "d";
/// Parts of the table that are read at a time.
const SEGMENTS: i32 = 8;
/// How often an item is planned again that changed meanwhile.
const ATTEMPTS: usize = 16;
/// The first line of an answer in CSV.
const HEADER: &str = "transaction_id";
/// Longer lists are no list of one user's transactions.
const LIST_BYTES_MAX: u64 = 64 * 1024 * 1024;
const CHANGED: &str = "ConditionalCheckFailedException";

/// The index.
pub(super) struct Index {
    client: Client,
    table: String,
    /// The database in words.
    database: String,
}

/// What it has of a user.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Transactions with an entry of the user.
    pub(super) transactions: BTreeSet<String>,
    /// Items that cannot be read, and may be the user's or not.
    pub(super) unreadable: u64,
}

/// What an item is.
enum Item {
    Nobodys,
    Unreadable,
    Of { bytes: Blob, entries: Vec<IndexedDecision> },
}

impl Index {
    pub(super) fn new(client: &Client, table: &str, database: &str) -> Self {
        Self { client: client.clone(), table: table.to_owned(), database: database.to_owned() }
    }

    /// What there is of a user among these transactions, or in the whole index.
    pub(super) async fn of(&self, user: &UserId, among: Option<&BTreeSet<String>>) -> Result<Found, Failure> {
        let Some(among) = among else {
            let segments = (0..SEGMENTS).map(|segment| self.scan(user, segment));
            let mut all = Found::default();
            for found in Box::pin(try_join_all(segments)).await? {
                all.transactions.extend(found.transactions);
                all.unreadable += found.unreadable;
            }
            return Ok(all);
        };
        let mut found = Found::default();
        for transaction in among {
            found.take(transaction.clone(), self.get(transaction).await?, user);
        }
        Ok(found)
    }

    async fn scan(&self, user: &UserId, segment: i32) -> Result<Found, Failure> {
        let mut found = Found::default();
        let mut next: Option<HashMap<String, AttributeValue>> = None;
        loop {
            let call = self
                .client
                .scan()
                .table_name(&self.table)
                .projection_expression("#k, #d")
                .expression_attribute_names("#k", KEY)
                .expression_attribute_names("#d", DECISIONS)
                .segment(segment)
                .total_segments(SEGMENTS)
                .set_exclusive_start_key(next);
            let page = Box::pin(call.send()).await.map_err(|error| self.failed("scan", error))?;
            for mut item in page.items.unwrap_or_default() {
                if let Some(AttributeValue::S(key)) = item.remove(KEY) {
                    found.take(key, read(item), user);
                }
            }
            match page.last_evaluated_key {
                Some(key) if !key.is_empty() => next = Some(key),
                _ => return Ok(found),
            }
        }
    }

    async fn get(&self, transaction: &str) -> Result<Item, Failure> {
        let call = self.client.get_item().table_name(&self.table).key(KEY, text(transaction)).consistent_read(true);
        let answer = Box::pin(call.send()).await.map_err(|error| self.failed("read", error))?;
        Ok(answer.item.map_or(Item::Nobodys, read))
    }

    /// Takes the user's entries out of an item, and the item away with the last of them.
    pub(super) async fn erase(&self, transaction: &str, user: &UserId) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS {
            let Item::Of { bytes, mut entries } = self.get(transaction).await? else { return Ok(()) };
            let before = entries.len();
            entries.retain(|entry| entry.user_id != *user);
            if entries.len() == before {
                return Ok(());
            }
            if self.replace(transaction, bytes, &entries).await? {
                return Ok(());
            }
        }
        Err(Failure::Failed(format!("an item of table `{}` kept changing; erase once more", self.table)))
    }

    /// False when the item is another one by now.
    async fn replace(&self, transaction: &str, old: Blob, entries: &[IndexedDecision]) -> Result<bool, Failure> {
        let (key, old) = (text(transaction), AttributeValue::B(old));
        let (client, table) = (&self.client, &self.table);
        let error = if entries.is_empty() {
            let call = client
                .delete_item()
                .table_name(table)
                .key(KEY, key)
                .condition_expression("#d = :old")
                .expression_attribute_names("#d", DECISIONS)
                .expression_attribute_values(":old", old);
            match Box::pin(call.send()).await {
                Ok(_) => return Ok(true),
                Err(error) if error.code() == Some(CHANGED) => return Ok(false),
                Err(error) => self.failed("delete from", error),
            }
        } else {
            let new = AttributeValue::B(Blob::new(stored_decision::encode(entries)));
            let call = client
                .update_item()
                .table_name(table)
                .key(KEY, key)
                .update_expression("SET #d = :new")
                .condition_expression("#d = :old")
                .expression_attribute_names("#d", DECISIONS)
                .expression_attribute_values(":old", old)
                .expression_attribute_values(":new", new);
            match Box::pin(call.send()).await {
                Ok(_) => return Ok(true),
                Err(error) if error.code() == Some(CHANGED) => return Ok(false),
                Err(error) => self.failed("update", error),
            }
        };
        Err(error)
    }

    fn failed<E>(&self, doing: &str, error: SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        dynamodb::failed(doing, &self.table, &self.database, "name the index with --decision-table", error)
    }
}

impl Found {
    fn take(&mut self, transaction: String, item: Item, user: &UserId) {
        match item {
            Item::Nobodys => {}
            Item::Unreadable => self.unreadable += 1,
            Item::Of { entries, .. } if entries.iter().any(|entry| entry.user_id == *user) => {
                self.transactions.insert(transaction);
            }
            Item::Of { .. } => {}
        }
    }
}

fn read(mut item: HashMap<String, AttributeValue>) -> Item {
    let Some(AttributeValue::B(bytes)) = item.remove(DECISIONS) else { return Item::Unreadable };
    match stored_decision::decode(bytes.as_ref()) {
        Ok(entries) => Item::Of { bytes, entries },
        Err(_) => Item::Unreadable,
    }
}

/// The ids of a file, one a line, as `centinela query --format csv` prints them too.
pub(super) fn listed(file: &Path) -> Result<BTreeSet<String>, Failure> {
    let refused = |why: String| Failure::Usage(format!("--transactions {}: {why}", file.display()));
    let size = std::fs::metadata(file).map_err(|error| refused(error.to_string()))?.len();
    if size > LIST_BYTES_MAX {
        return Err(refused(format!("it has {size} bytes, more than {LIST_BYTES_MAX}: one user has no such list")));
    }
    let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_path(file);
    let mut ids = BTreeSet::new();
    for (number, row) in reader.map_err(|error| refused(error.to_string()))?.records().enumerate() {
        let row = row.map_err(|error| refused(error.to_string()))?;
        let id = row.get(0).unwrap_or_default();
        if id.is_empty() || (number == 0 && id == HEADER) {
            continue;
        }
        let line = row.position().map_or(0, csv::Position::line);
        let id = TransactionId::new(id).map_err(|error| refused(format!("line {line}: {error}")))?;
        ids.insert(id.as_str().to_owned());
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_one_id_a_line_with_or_without_a_header() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("list.csv");
        std::fs::write(&file, "transaction_id\r\nt-1\n\n\"t,\"\"2\"\"\"\nt-1\n").expect("a file");
        let ids: Vec<String> = listed(&file).expect("a list").into_iter().collect();
        assert_eq!(ids, ["t,\"2\"", "t-1"]);
        std::fs::write(&file, format!("t-1\n{}\n", "x".repeat(10_000))).expect("a file");
        let Err(Failure::Usage(why)) = listed(&file) else { panic!("it is none") };
        assert!(why.contains("line 2"), "{why}");
        assert!(matches!(listed(&directory.path().join("none")), Err(Failure::Usage(_))));
    }
}
