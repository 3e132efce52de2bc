//! Many writes at once: conditional PartiQL statements, 25 in a `BatchExecuteStatement`, each of which is answered on its own and costs
//! what a single update costs. It is not a transaction and does not have to be one.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use centinela_scoring::ports::{StoreError, Write};
use centinela_wire::dynamodb::{Refusal, Statement, Value};
use futures::{StreamExt, stream};

use super::{OwnedItems, Verdict};
use crate::attribute_group::AttributeGroup;
use crate::budget::Budget;
use crate::service_failure::ServiceFailure;

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html>
const STATEMENTS_PER_CALL: usize = 25;

/// The statements of one owner and table.
#[derive(Debug)]
pub(super) struct Statements {
    insert: String,
    take_over: String,
    update: String,
}

impl Statements {
    pub(super) fn of(group: AttributeGroup, table: &str) -> Self {
        Self { insert: group.insert(table), take_over: group.take_over(table), update: group.update(table) }
    }

    /// The first try at a write. A key without state of this owner has no item as a rule.
    fn first<'a>(&'a self, write: &'a Write<String, Vec<u8>>) -> Statement<'a> {
        let (key, content) = (Value::Text(&write.key), Value::Bytes(&write.item));
        let Some(version) = write.expected else {
            let parameters = vec![key, Value::Number(1), content];
            return Statement { text: &self.insert, parameters, returns_item: false };
        };
        let next = Value::Number(version.saturating_add(1).into());
        let parameters = vec![next, content, key, Value::Number(version.into())];
        Statement { text: &self.update, parameters, returns_item: true }
    }

    /// The second try at a first write, after another owner's item was found there.
    fn second<'a>(&'a self, write: &'a Write<String, Vec<u8>>) -> Statement<'a> {
        let parameters = vec![Value::Number(1), Value::Bytes(&write.item), Value::Text(&write.key)];
        Statement { text: &self.take_over, parameters, returns_item: true }
    }
}

/// A write that is not answered yet.
#[derive(Clone, Copy)]
struct Pending {
    /// Its place among all.
    index: usize,
    /// There is an item already, so an INSERT cannot be applied.
    is_duplicate: bool,
}

impl OwnedItems {
    /// Executes all writes; one verdict each, in the same order.
    pub(super) async fn execute_all(&self, writes: &[Write<String, Vec<u8>>], budget: Budget) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = writes.iter().map(|_| Verdict::Failed(StoreError::OutOfTime)).collect();
        let answers: Vec<Vec<(usize, Verdict)>> = stream::iter(chunks(writes))
            .map(|chunk| self.execute_chunk(writes, chunk, budget))
            .buffer_unordered(self.table.limits.calls_in_flight)
            .collect()
            .await;
        for (index, verdict) in answers.into_iter().flatten() {
            verdicts[index] = verdict;
        }
        verdicts
    }

    async fn execute_chunk(
        &self,
        writes: &[Write<String, Vec<u8>>],
        chunk: Vec<Pending>,
        budget: Budget,
    ) -> Vec<(usize, Verdict)> {
        let mut verdicts = Vec::with_capacity(chunk.len());
        let mut pending = chunk;
        let mut attempt = 0;
        while let Some(left) = budget.left() {
            let source = match self.execute(writes, &pending, left.min(self.table.limits.attempt)).await {
                Ok(refusals) => {
                    let mut transient = None;
                    let mut again = Vec::new();
                    for (asked, refusal) in pending.into_iter().zip(refusals) {
                        match judged(refusal) {
                            Judged::Final(verdict) => verdicts.push((asked.index, verdict)),
                            // What is no INSERT any more cannot be refused for that; a server that does so anyway is not asked for ever.
                            Judged::Duplicate if asked.is_duplicate => {
                                verdicts.push((asked.index, Verdict::Lost(None)))
                            }
                            Judged::Duplicate => again.push(Pending { is_duplicate: true, ..asked }),
                            Judged::Transient(refusal) => {
                                again.push(asked);
                                transient = Some(refusal);
                            }
                        }
                    }
                    pending = again;
                    match transient {
                        None if pending.is_empty() => break,
                        None => continue,
                        Some(refusal) => SharedCause(Arc::new(refusal)),
                    }
                }
                Err(ServiceFailure::Transient(source)) => SharedCause(source.into()),
                Err(ServiceFailure::Refused(source)) => {
                    let source = SharedCause(source.into());
                    fail_all(&pending, &mut verdicts, || StoreError::Rejected(Box::new(source.clone())));
                    break;
                }
            };
            attempt += 1;
            if !budget.pause_after(attempt).await {
                fail_all(&pending, &mut verdicts, || StoreError::Unavailable(Box::new(source.clone())));
                break;
            }
        }
        verdicts
    }

    async fn execute(
        &self,
        writes: &[Write<String, Vec<u8>>],
        pending: &[Pending],
        limit: Duration,
    ) -> Result<Vec<Option<Refusal>>, ServiceFailure> {
        let of = &self.statements;
        let statements: Vec<Statement<'_>> = pending
            .iter()
            .map(|asked| (asked, &writes[asked.index]))
            .map(|(asked, write)| if asked.is_duplicate { of.second(write) } else { of.first(write) })
            .collect();
        self.client.execute(&statements, limit).await
    }
}

/// Calls' worth of writes; no two of a call touch the same item, which DynamoDB refuses.
fn chunks(writes: &[Write<String, Vec<u8>>]) -> Vec<Vec<Pending>> {
    let mut chunks: Vec<(HashSet<&str>, Vec<Pending>)> = Vec::new();
    for (index, write) in writes.iter().enumerate() {
        let key = write.key.as_str();
        let asked = Pending { index, is_duplicate: false };
        let fits = |(keys, chunk): &(HashSet<&str>, Vec<_>)| chunk.len() < STATEMENTS_PER_CALL && !keys.contains(key);
        match chunks.iter().rposition(fits) {
            Some(place) => {
                chunks[place].0.insert(key);
                chunks[place].1.push(asked);
            }
            None => chunks.push((HashSet::from([key]), vec![asked])),
        }
    }
    chunks.into_iter().map(|(_, chunk)| chunk).collect()
}

fn fail_all(pending: &[Pending], verdicts: &mut Vec<(usize, Verdict)>, problem: impl Fn() -> StoreError) {
    verdicts.extend(pending.iter().map(|asked| (asked.index, Verdict::Failed(problem()))));
}

enum Judged {
    Final(Verdict),
    /// An INSERT met an item, which DynamoDB does not show: another owner's, or the winner of the race.
    Duplicate,
    /// Worth another attempt.
    Transient(StatementRefused),
}

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html>
fn judged(refusal: Option<Refusal>) -> Judged {
    let Some(Refusal { code, message, item }) = refusal else { return Judged::Final(Verdict::Done) };
    match code.as_str() {
        "ConditionalCheckFailed" => Judged::Final(Verdict::Lost(item)),
        "DuplicateItem" => Judged::Duplicate,
        "InternalServerError"
        | "ProvisionedThroughputExceeded"
        | "RequestLimitExceeded"
        | "ThrottlingError"
        // Another owner's transaction holds the item just now.
        | "TransactionConflict" => Judged::Transient(StatementRefused { code, message }),
        _ => Judged::Final(Verdict::Failed(StoreError::Rejected(Box::new(StatementRefused { code, message })))),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a statement was refused with `{code}`: {message}")]
struct StatementRefused {
    code: String,
    message: String,
}

/// One cause for several statements.
#[derive(Clone, Debug)]
struct SharedCause(Arc<dyn Error + Send + Sync>);

impl fmt::Display for SharedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for SharedCause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
