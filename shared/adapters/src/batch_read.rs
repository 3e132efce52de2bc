//! `BatchGetItem` over several tables: what is left unprocessed is asked for again within the time.

use std::collections::{HashMap, HashSet};

use centinela_delivery::StoreError;
use centinela_wire::dynamodb::{Found, KeysOf, Stored};
use futures::{StreamExt, stream};

use crate::attribute_group::{ATTRIBUTES, Attributes, KEY};
use crate::budget::Budget;
use crate::owned_items::DynamoLimits;
use crate::service_failure::ServiceFailure;
use crate::tables::Tables;

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const KEYS_PER_CALL: usize = 100;

/// DynamoDB set keys aside instead of reading them, which is how it throttles a batch.
#[derive(Debug, thiserror::Error)]
#[error("{keys} keys were left unprocessed")]
struct Unprocessed {
    keys: usize,
}

/// A table, and which attributes of its items are wanted.
#[derive(Clone, Debug)]
pub(crate) struct ReadTable {
    pub name: String,
    attributes: Vec<&'static str>,
}

impl ReadTable {
    /// These attributes are wanted beside the key.
    pub(crate) fn new(name: &str, attributes: &[&'static str]) -> Self {
        let known = |name: &&str| ATTRIBUTES.contains(name);
        assert!(attributes.iter().all(known), "one of {attributes:?} is passed over in answers: see ATTRIBUTES");
        Self { name: name.to_owned(), attributes: [&[KEY], attributes].concat() }
    }
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
    client: &Tables,
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
    client: &'a Tables,
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
                Ok(found) => {
                    pending = take(found, &mut answer);
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
    async fn call(&self, keys: &[TableKey]) -> Result<Found, Option<ServiceFailure>> {
        let limit = self.budget.left().ok_or(None)?.min(self.limits.attempt);
        let keys_of = self.tables.iter().enumerate().map(|(place, table)| KeysOf {
            table: &table.name,
            keys: keys.iter().filter(|(of, _)| *of == place).map(|(_, key)| key.as_str()).collect(),
            attributes: Some(table.attributes.as_slice()),
            consistent: self.consistent,
        });
        let tables: Vec<KeysOf<'_>> = keys_of.collect();
        self.client.batch_get(&tables, limit).await.map_err(Some)
    }
}

/// Takes over what was read and returns what was left unprocessed.
fn take(found: Found, answer: &mut BatchRead) -> Vec<TableKey> {
    let keyed = found.items.into_iter().filter_map(|(place, item)| match item.get(KEY) {
        Some(Stored::Text(key)) => Some(((place, key.clone()), item)),
        _ => None,
    });
    answer.found.extend(keyed);
    found.unprocessed
}
