//! Decisions by transaction id on DynamoDB.
//!
//! An item has the attributes `pk` (S, the transaction's id), `d` (B, [`stored_decision`]) and `x` (N, when it may be forgotten, in
//! seconds since 1970). Items are written by PartiQL statements, 25 in a call, each of which costs what a single write costs: an
//! `INSERT` where there must be none, or an `UPDATE` on the condition that the bytes that were read still stand.

use std::sync::Arc;

use centinela_contracts::stored_decision::{self, IndexedDecision, StoredProblem};
use centinela_delivery::{Causes, StoreError};
use centinela_domain::{Millis, TransactionId};
use centinela_lookup::ports::{Found, IndexWrite, Lookup, Written};
use centinela_wire::dynamodb::{Refusal, Statement, Stored, Value};
use futures::{StreamExt, stream};
use tracing::warn;

use crate::ConnectError;
use crate::attribute_group::{Attributes, KEY};
use crate::batch_read::{ReadTable, batch_read};
use crate::budget::{Budget, wall_clock};
use crate::owned_items::DynamoLimits;
use crate::service_failure::ServiceFailure;
use crate::tables::Tables;

const DECISIONS: &str = "d";
const EXPIRES: &str = "x";
/// A key that no item has; costs the smallest read.
const WARM_UP_KEY: &str = "warm-up";
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html>
const STATEMENTS_PER_CALL: usize = 25;

/// The index on DynamoDB.
#[derive(Clone, Debug)]
pub struct DynamoLookup {
    client: Tables,
    table: Arc<[ReadTable; 1]>,
    insert: Arc<str>,
    update: Arc<str>,
    limits: DynamoLimits,
}

/// What DynamoDB says about a statement.
enum Judged {
    Final(Written),
    Transient(Refused),
}

#[derive(Debug, thiserror::Error)]
#[error("a statement was refused with {0}")]
struct Refused(String);

impl DynamoLookup {
    /// Connects and reads one key, which opens the connection and shows a missing table or grant at start.
    ///
    /// # Errors
    /// When DynamoDB refuses; one that is merely slow or throttling is no reason not to start.
    pub async fn connect(client: impl Into<Tables>, table: &str, limits: DynamoLimits) -> Result<Self, ConnectError> {
        let insert = format!(r#"INSERT INTO "{table}" VALUE {{'{KEY}':?,'{DECISIONS}':?,'{EXPIRES}':?}}"#);
        let update = format!(r#"UPDATE "{table}" SET {DECISIONS}=? SET {EXPIRES}=? WHERE {KEY}=? AND {DECISIONS}=?"#);
        let lookup = Self {
            client: client.into(),
            table: Arc::new([ReadTable::new(table, &[DECISIONS])]),
            insert: insert.into(),
            update: update.into(),
            limits,
        };
        let deadline = Millis(wall_clock().0.saturating_add(limits.single_item.as_millis() as i64));
        let keys = vec![(0, WARM_UP_KEY.to_owned())];
        match batch_read(&lookup.client, &*lookup.table, keys, false, Budget::until(deadline), limits).await.problem {
            Some(StoreError::Rejected(source)) => {
                return Err(ConnectError::Tables { tables: vec![table.to_owned()], source });
            }
            Some(problem) => warn!(error = %Causes(&problem), "dynamodb did not answer the first read"),
            None => {}
        }
        Ok(lookup)
    }

    /// The bytes are what is written, and what was read where that is replaced.
    fn statement<'a>(
        &'a self,
        write: &'a IndexWrite,
        (content, replaced): &'a (Vec<u8>, Option<Vec<u8>>),
    ) -> Statement<'a> {
        let (key, expires) = (Value::Text(write.transaction.as_str()), Value::Number(write.expires_s.into()));
        let content = Value::Bytes(content);
        let (text, parameters) = match replaced {
            None => (&self.insert, vec![key, content, expires]),
            Some(replaced) => (&self.update, vec![content, expires, key, Value::Bytes(replaced)]),
        };
        Statement { text, parameters, returns_item: false }
    }

    /// Writes some of all, by their places, until each is answered.
    async fn write_chunk(&self, writes: &[IndexWrite], places: Vec<usize>, budget: Budget) -> Vec<(usize, Written)> {
        let mut pending = places;
        let mut answers = Vec::with_capacity(pending.len());
        for attempt in 1.. {
            let why: Box<dyn Fn() -> StoreError + Send> = match self.call(writes, &pending, budget).await {
                Ok(refusals) => {
                    let mut refused = String::new();
                    let mut again = Vec::new();
                    for (index, refusal) in pending.into_iter().zip(refusals) {
                        match judged(refusal) {
                            Judged::Final(written) => answers.push((index, written)),
                            Judged::Transient(refusal) => {
                                refused = refusal.0;
                                again.push(index);
                            }
                        }
                    }
                    pending = again;
                    Box::new(move || StoreError::Unavailable(Box::new(Refused(refused.clone()))))
                }
                Err(None) => Box::new(|| StoreError::OutOfTime),
                Err(Some(ServiceFailure::Transient(source))) => {
                    let text = Causes(&*source).to_string();
                    Box::new(move || StoreError::Unavailable(text.clone().into()))
                }
                Err(Some(ServiceFailure::Refused(source))) => {
                    let text = Causes(&*source).to_string();
                    let refused = |index| (index, Written::Failed(StoreError::Rejected(text.clone().into())));
                    answers.extend(pending.into_iter().map(refused));
                    return answers;
                }
            };
            if pending.is_empty() {
                return answers;
            }
            if !budget.pause_after(attempt).await {
                answers.extend(pending.into_iter().map(|index| (index, Written::Failed(why()))));
                return answers;
            }
        }
        answers
    }

    /// Fails with nothing when no time is left.
    async fn call(
        &self,
        writes: &[IndexWrite],
        pending: &[usize],
        budget: Budget,
    ) -> Result<Vec<Option<Refusal>>, Option<ServiceFailure>> {
        let limit = budget.left().ok_or(None)?.min(self.limits.attempt);
        let encode = |entries: &[IndexedDecision]| stored_decision::encode(entries);
        let encoded: Vec<_> = pending
            .iter()
            .map(|index| &writes[*index])
            .map(|write| (encode(&write.entries), write.replaces.as_deref().map(encode)))
            .collect();
        let statements: Vec<Statement<'_>> =
            pending.iter().zip(&encoded).map(|(index, encoded)| self.statement(&writes[*index], encoded)).collect();
        self.client.execute(&statements, limit).await.map_err(Some)
    }
}

fn judged(refusal: Option<Refusal>) -> Judged {
    let Some(Refusal { code, .. }) = refusal else { return Judged::Final(Written::Done) };
    match code.as_str() {
        "ConditionalCheckFailed" | "DuplicateItem" => Judged::Final(Written::Lost),
        "InternalServerError"
        | "ProvisionedThroughputExceeded"
        | "RequestLimitExceeded"
        | "ThrottlingError"
        | "TransactionConflict" => Judged::Transient(Refused(code)),
        _ => Judged::Final(Written::Failed(StoreError::Rejected(Box::new(Refused(code))))),
    }
}

impl Lookup for DynamoLookup {
    async fn write(&self, writes: Vec<IndexWrite>, deadline: Millis) -> Vec<Written> {
        let budget = Budget::until(deadline);
        let mut written: Vec<Written> = writes.iter().map(|_| Written::Failed(StoreError::OutOfTime)).collect();
        let places: Vec<usize> = (0..writes.len()).collect();
        // One transaction has one write, so no two statements of a call touch the same item, which DynamoDB refuses.
        let chunks: Vec<Vec<usize>> = places.chunks(STATEMENTS_PER_CALL).map(<[usize]>::to_vec).collect();
        let answers: Vec<_> = stream::iter(chunks)
            .map(|chunk| self.write_chunk(&writes, chunk, budget))
            .buffer_unordered(self.limits.calls_in_flight)
            .collect()
            .await;
        for (index, answer) in answers.into_iter().flatten() {
            written[index] = answer;
        }
        written
    }

    async fn read(&self, transactions: Vec<TransactionId>, deadline: Millis) -> Found {
        let keys = transactions.iter().map(|transaction| (0, transaction.as_str().to_owned())).collect();
        let mut read = batch_read(&self.client, &*self.table, keys, true, Budget::until(deadline), self.limits).await;
        let mut found = Found { problem: read.problem.take(), ..Found::default() };
        for transaction in transactions {
            let key = (0, transaction.as_str().to_owned());
            if read.unread.contains(&key) {
                found.unread.insert(transaction);
            } else if let Some(item) = read.found.remove(&key) {
                found.items.insert(transaction, entries(&item));
            }
        }
        found
    }
}

fn entries(item: &Attributes) -> Result<Vec<IndexedDecision>, StoredProblem> {
    match item.get(DECISIONS) {
        Some(Stored::Bytes(content)) => stored_decision::decode(content),
        _ => Err(StoredProblem::Invalid(DECISIONS)),
    }
}
