//! `BatchGetItem` over several tables: what is left unprocessed is asked for again within the time.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use centinela_delivery::StoreError;
use futures::{StreamExt, stream};

use crate::attribute_group::{Attributes, KEY, key_of};
use crate::budget::Budget;
use crate::owned_items::DynamoLimits;
use crate::service_failure::ServiceFailure;

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const KEYS_PER_CALL: usize = 100;

/// DynamoDB set keys aside instead of reading them, which is how it throttles a batch.
#[derive(Debug, thiserror::Error)]
#[error("{keys} keys were left unprocessed")]
struct Unprocessed {
    keys: usize,
}

/// A table, and which attributes of its items are wanted beside the key.
#[derive(Clone, Debug)]
pub(crate) struct ReadTable {
    pub name: String,
    pub attributes: Vec<&'static str>,
}

/// A key of one of the tables, by the table's place.
pub(crate) type TableKey = (usize, String);

/// What was read. A key that is neither found nor unread has no item.
#[derive(Debug, Default)]
pub(crate) struct BatchRead {
    pub found: HashMap<TableKey, Attributes>,
    pub unread: HashSet<TableKey>,
    pub problem: Option<StoreError>,
}

/// Reads keys, each once.
pub(crate) async fn batch_read(
    client: &Client,
    tables: &[ReadTable],
    keys: Vec<TableKey>,
    consistent: bool,
    budget: Budget,
    limits: DynamoLimits,
) -> BatchRead {
    let mut seen = HashSet::new();
    let keys: Vec<TableKey> = keys.into_iter().filter(|key| seen.insert(key.clone())).collect();
    let reader = Reader { client, tables, consistent, budget, limits };
    let chunks: Vec<Vec<TableKey>> = keys.chunks(KEYS_PER_CALL).map(<[TableKey]>::to_vec).collect();
    let parts = stream::iter(chunks).map(|chunk| reader.read(chunk)).buffer_unordered(limits.calls_in_flight);
    parts
        .fold(BatchRead::default(), |mut all, part| async {
            all.found.extend(part.found);
            all.unread.extend(part.unread);
            all.problem = all.problem.or(part.problem);
            all
        })
        .await
}

struct Reader<'a> {
    client: &'a Client,
    tables: &'a [ReadTable],
    consistent: bool,
    budget: Budget,
    limits: DynamoLimits,
}

impl Reader<'_> {
    async fn read(&self, keys: Vec<TableKey>) -> BatchRead {
        let mut answer = BatchRead::default();
        let mut pending = keys;
        for attempt in 1.. {
            match self.call(&pending).await {
                Ok(output) => {
                    pending = self.take(output, &mut answer);
                    if pending.is_empty() {
                        answer.problem = None;
                        return answer;
                    }
                    answer.problem = Some(StoreError::Unavailable(Box::new(Unprocessed { keys: pending.len() })));
                }
                Err(None) => {
                    answer.problem.get_or_insert(StoreError::OutOfTime);
                    break;
                }
                Err(Some(ServiceFailure::Transient(source))) => {
                    answer.problem = Some(StoreError::Unavailable(source));
                }
                Err(Some(ServiceFailure::Refused(source))) => {
                    answer.problem = Some(StoreError::Rejected(source));
                    break;
                }
            }
            if !self.budget.pause_after(attempt).await {
                break;
            }
        }
        answer.unread.extend(pending);
        answer
    }

    /// The failure is none when no time is left.
    async fn call(&self, keys: &[TableKey]) -> Result<BatchGetItemOutput, Option<ServiceFailure>> {
        let limit = self.budget.left().ok_or(None)?.min(self.limits.attempt);
        let mut call = self.client.batch_get_item();
        for (place, table) in self.tables.iter().enumerate() {
            let keys: Vec<_> = keys.iter().filter(|(of, _)| *of == place).map(|(_, key)| key_of(key)).collect();
            if keys.is_empty() {
                continue;
            }
            // Every name behind a placeholder: some are words that DynamoDB reserves.
            let names = std::iter::once(&KEY).chain(&table.attributes).enumerate();
            let names: HashMap<String, String> =
                names.map(|(number, name)| (format!("#a{number}"), (*name).to_owned())).collect();
            let wanted: Vec<&str> = names.keys().map(String::as_str).collect();
            let keys = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .projection_expression(wanted.join(", "))
                .set_expression_attribute_names(Some(names.clone()))
                .consistent_read(self.consistent)
                .build();
            let keys = keys.map_err(|error| Some(ServiceFailure::Refused(Box::new(error))))?;
            call = call.request_items(&table.name, keys);
        }
        match tokio::time::timeout(limit, Box::pin(call.send())).await {
            Ok(answer) => answer.map_err(|error| Some(ServiceFailure::of(error))),
            Err(_) => Err(Some(ServiceFailure::no_answer(limit))),
        }
    }

    /// Takes over what was read and returns what was left unprocessed.
    fn take(&self, output: BatchGetItemOutput, answer: &mut BatchRead) -> Vec<TableKey> {
        for (table, items) in output.responses.unwrap_or_default() {
            for item in items {
                if let Some(key) = self.key_in(&table, &item) {
                    answer.found.insert(key, item);
                }
            }
        }
        let unprocessed = output.unprocessed_keys.unwrap_or_default();
        unprocessed
            .iter()
            .flat_map(|(table, keys)| keys.keys().iter().filter_map(|key| self.key_in(table, key)))
            .collect()
    }

    fn key_in(&self, table: &str, item: &Attributes) -> Option<TableKey> {
        let place = self.tables.iter().position(|known| known.name == table)?;
        let key = item.get(KEY)?.as_s().ok()?;
        Some((place, key.clone()))
    }
}
