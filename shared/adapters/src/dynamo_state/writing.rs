//! Writes: conditional statements in batches, each with its own verdict.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::builders::BatchStatementRequestBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementError, BatchStatementErrorCodeEnum as Code, BatchStatementRequest,
    BatchStatementResponse, ReturnValuesOnConditionCheckFailure,
};
use centinela_scoring::ports::{Commit, StoreError, Versioned};
use futures::{StreamExt, stream};

use super::DynamoStateStore;
use super::items::{Attributes, CONTENT, ItemProblem, KEY, RawItem, VERSION, key_of};
use super::reading::no_answer;
use crate::budget::Budget;
use crate::service_failure::ServiceFailure;

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html>
const STATEMENTS_PER_CALL: usize = 25;

/// What became of one statement.
pub(super) enum Verdict {
    Done,
    /// Another writer was first, with the item as it is now where DynamoDB gave it back.
    Lost(Option<Attributes>),
    Failed(StoreError),
}

impl Verdict {
    pub(super) fn into_commit<T>(
        self,
        read: impl FnOnce(Result<RawItem, ItemProblem>) -> Result<Versioned<T>, StoreError>,
    ) -> Commit<T> {
        match self {
            Self::Done => Commit::Done,
            Self::Lost(None) => Commit::Lost(None),
            Self::Lost(Some(attributes)) => match read(RawItem::parse(attributes)) {
                Ok(winner) => Commit::Lost(Some(winner)),
                Err(problem) => Commit::Failed(problem),
            },
            Self::Failed(problem) => Commit::Failed(problem),
        }
    }
}

/// A statement on the item of one key.
#[derive(Debug)]
pub(super) struct Conditional {
    key: String,
    request: BatchStatementRequestBuilder,
}

/// The two statements of one table.
#[derive(Debug)]
pub(super) struct Statements {
    insert: String,
    update: String,
}

impl Statements {
    pub(super) fn for_table(table: &str) -> Self {
        Self {
            insert: format!(r#"INSERT INTO "{table}" VALUE {{'{KEY}':?,'{VERSION}':?,'{CONTENT}':?}}"#),
            update: format!(r#"UPDATE "{table}" SET {VERSION}=? SET {CONTENT}=? WHERE {KEY}=? AND {VERSION}=?"#),
        }
    }

    /// A write that is applied only while the item still has the expected version, or does not exist when none is expected.
    pub(super) fn conditional(&self, key: &str, expected: Option<u64>, content: Vec<u8>) -> Conditional {
        let content = AttributeValue::B(Blob::new(content));
        let key_value = AttributeValue::S(key.to_owned());
        let request = BatchStatementRequest::builder();
        let request = match expected {
            None => request.statement(&self.insert).parameters(key_value).parameters(number(1)).parameters(content),
            Some(version) => request
                .statement(&self.update)
                .parameters(number(version.saturating_add(1)))
                .parameters(content)
                .parameters(key_value)
                .parameters(number(version))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld),
        };
        Conditional { key: key.to_owned(), request }
    }
}

/// A statement that is not answered yet, with its place among all.
type Pending = (usize, BatchStatementRequestBuilder);

impl DynamoStateStore {
    /// Executes all statements; one verdict each, in the same order.
    pub(super) async fn execute_all(&self, statements: Vec<Conditional>, budget: Budget) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = statements.iter().map(|_| Verdict::Failed(StoreError::OutOfTime)).collect();
        let answers: Vec<Vec<(usize, Verdict)>> = stream::iter(chunks(statements))
            .map(|chunk| self.execute_chunk(chunk, budget))
            .buffer_unordered(self.config.limits.calls_in_flight)
            .collect()
            .await;
        for (index, verdict) in answers.into_iter().flatten() {
            verdicts[index] = verdict;
        }
        verdicts
    }

    async fn execute_chunk(&self, chunk: Vec<Pending>, budget: Budget) -> Vec<(usize, Verdict)> {
        let mut verdicts = Vec::with_capacity(chunk.len());
        let mut pending = chunk;
        for attempt in 1.. {
            let Some(left) = budget.left() else { break };
            let source = match self.execute(&pending, left.min(self.config.limits.attempt)).await {
                Ok(responses) => {
                    let mut transient = None;
                    let mut again = Vec::new();
                    for ((index, request), response) in pending.into_iter().zip(responses) {
                        match judged(response) {
                            Ok(verdict) => verdicts.push((index, verdict)),
                            Err(refusal) => {
                                again.push((index, request));
                                transient = Some(refusal);
                            }
                        }
                    }
                    pending = again;
                    let Some(refusal) = transient else { break };
                    SharedCause::new(refusal)
                }
                Err(ServiceFailure::Transient(source)) => SharedCause(source.into()),
                Err(ServiceFailure::Refused(source)) => {
                    let source = SharedCause(source.into());
                    fail_all(&mut pending, &mut verdicts, |_| StoreError::Rejected(Box::new(source.clone())));
                    break;
                }
            };
            if !budget.pause_after(attempt).await {
                fail_all(&mut pending, &mut verdicts, |_| StoreError::Unavailable(Box::new(source.clone())));
                break;
            }
        }
        verdicts
    }

    async fn execute(
        &self,
        pending: &[Pending],
        limit: std::time::Duration,
    ) -> Result<Vec<BatchStatementResponse>, ServiceFailure> {
        let statements: Result<Vec<BatchStatementRequest>, BuildError> =
            pending.iter().map(|(_, request)| request.clone().build()).collect();
        let statements = statements.map_err(|error| ServiceFailure::Refused(Box::new(error)))?;
        let call = self.client.batch_execute_statement().set_statements(Some(statements));
        let responses = match tokio::time::timeout(limit, Box::pin(call.send())).await {
            Ok(answer) => answer.map_err(ServiceFailure::of)?.responses.unwrap_or_default(),
            Err(_) => return Err(no_answer(limit)),
        };
        if responses.len() == pending.len() {
            Ok(responses)
        } else {
            let mismatch = AnswersMissing { statements: pending.len(), answers: responses.len() };
            Err(ServiceFailure::Transient(Box::new(mismatch)))
        }
    }

    /// One conditional write outside a batch.
    pub(super) async fn update_item(
        &self,
        table: &str,
        key: &str,
        expected: Option<u64>,
        content: Vec<u8>,
        budget: Budget,
    ) -> Verdict {
        let budget = Budget::of(self.config.limits.single_item).and(budget);
        let condition = match expected {
            Some(_) => "#v = :expected",
            None => "attribute_not_exists(#k)",
        };
        let call = self
            .client
            .update_item()
            .table_name(table)
            .set_key(Some(key_of(key)))
            .update_expression("SET #v = :version, #s = :content")
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names(expected.is_none())))
            .expression_attribute_values(":version", number(expected.map_or(1, |version| version.saturating_add(1))))
            .expression_attribute_values(":content", AttributeValue::B(Blob::new(content)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let call = match expected {
            Some(version) => call.expression_attribute_values(":expected", number(version)),
            None => call,
        };
        for attempt in 1.. {
            let Some(left) = budget.left() else { break };
            let limit = left.min(self.config.limits.attempt);
            let failure = match tokio::time::timeout(limit, Box::pin(call.clone().send())).await {
                Ok(Ok(_)) => return Verdict::Done,
                Ok(Err(error)) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(lost)) => {
                        return Verdict::Lost(lost.item().cloned());
                    }
                    _ => ServiceFailure::of(error),
                },
                Err(_) => no_answer(limit),
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

/// Calls' worth of statements; no two of a call touch the same item, which DynamoDB refuses.
fn chunks(statements: Vec<Conditional>) -> Vec<Vec<Pending>> {
    let mut chunks: Vec<(HashSet<String>, Vec<Pending>)> = Vec::new();
    for (index, Conditional { key, request }) in statements.into_iter().enumerate() {
        let fits =
            |(keys, chunk): &(HashSet<String>, Vec<Pending>)| chunk.len() < STATEMENTS_PER_CALL && !keys.contains(&key);
        match chunks.iter().rposition(fits) {
            Some(place) => {
                chunks[place].0.insert(key);
                chunks[place].1.push((index, request));
            }
            None => chunks.push((HashSet::from([key]), vec![(index, request)])),
        }
    }
    chunks.into_iter().map(|(_, chunk)| chunk).collect()
}

fn fail_all(pending: &mut Vec<Pending>, verdicts: &mut Vec<(usize, Verdict)>, problem: impl Fn(usize) -> StoreError) {
    verdicts.extend(pending.drain(..).map(|(index, _)| (index, Verdict::Failed(problem(index)))));
}

/// The verdict on one statement; an error when it is worth another attempt.
fn judged(response: BatchStatementResponse) -> Result<Verdict, StatementRefused> {
    let Some(BatchStatementError { code, message, item, .. }) = response.error else { return Ok(Verdict::Done) };
    let refusal = StatementRefused {
        code: code.as_ref().map_or("no code", Code::as_str).to_owned(),
        message: message.unwrap_or_default(),
    };
    match code {
        Some(Code::ConditionalCheckFailed) => Ok(Verdict::Lost(item)),
        // DynamoDB does not give back the item that was there first.
        Some(Code::DuplicateItem) => Ok(Verdict::Lost(None)),
        Some(
            Code::InternalServerError
            | Code::ProvisionedThroughputExceeded
            | Code::RequestLimitExceeded
            | Code::ThrottlingError
            | Code::TransactionConflict,
        ) => Err(refusal),
        _ => Ok(Verdict::Failed(StoreError::Rejected(Box::new(refusal)))),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a statement was refused with {code}: {message}")]
struct StatementRefused {
    code: String,
    message: String,
}

#[derive(Debug, thiserror::Error)]
#[error("{statements} statements got {answers} answers")]
struct AnswersMissing {
    statements: usize,
    answers: usize,
}

/// One cause for several statements.
#[derive(Clone, Debug)]
struct SharedCause(Arc<dyn Error + Send + Sync>);

impl SharedCause {
    fn new(cause: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(cause))
    }
}

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

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Names behind the placeholders: DynamoDB refuses one that no expression uses.
fn names(key_too: bool) -> std::collections::HashMap<String, String> {
    let key = key_too.then_some(("#k", KEY));
    let used = [("#v", VERSION), ("#s", CONTENT)].into_iter().chain(key);
    used.map(|(placeholder, name)| (placeholder.to_owned(), name.to_owned())).collect()
}
