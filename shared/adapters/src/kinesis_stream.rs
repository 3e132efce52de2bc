//! Decisions to a Kinesis stream.
//!
//! `PutRecords` answers for each record on its own and calls itself a success even when it took none: every entry is looked at, and
//! only those that failed are sent again. A call whose reply was lost is sent again as a whole; consumers drop the repetition by
//! the decision's id.

use std::time::Duration;

use centinela_delivery::PublishError;
use centinela_domain::{DecisionId, Millis};
use centinela_scoring::ports::{DecisionPublisher, Outgoing};
use centinela_wire::kinesis::Entry;
use futures::{StreamExt, stream};
use tracing::warn;

use crate::ConnectError;
use crate::budget::Budget;
use crate::service_failure::{NoAnswer, ServiceFailure};
use crate::streams::Streams;

/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>; half of the byte limit, because the wire form
/// is base64.
const RECORDS_PER_CALL: usize = 500;
const BYTES_PER_CALL: usize = 5_000_000;
/// A partition key is a decision's id in hexadecimal digits.
const KEY_BYTES: usize = 32;
/// The largest record that every stream takes, less its partition key.
const RECORD_BYTES_MAX: usize = 1_048_576 - 256;

/// Which stream.
#[derive(Clone, Debug)]
pub struct KinesisConfig {
    /// Its name.
    pub stream: String,
    /// One attempt waits this long for its answer.
    pub attempt: Duration,
    /// Calls in flight for one batch.
    pub calls_in_flight: usize,
}

impl KinesisConfig {
    /// The stream with default bounds.
    pub fn new(stream: impl Into<String>) -> Self {
        Self { stream: stream.into(), attempt: Duration::from_secs(1), calls_in_flight: 4 }
    }
}

/// A stream of decisions.
#[derive(Clone, Debug)]
pub struct KinesisStream {
    client: Streams,
    config: KinesisConfig,
}

/// An entry that is not taken yet, with its place among all.
type Pending<'a> = (usize, Entry<'a, DecisionId>);
type Verdict = (usize, Result<(), PublishError>);

#[derive(Debug, thiserror::Error)]
#[error("kinesis did not take the record: {code}")]
struct EntryRefused {
    code: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the decision has {bytes} bytes, a record takes {RECORD_BYTES_MAX}")]
struct TooLarge {
    bytes: usize,
}

#[derive(Clone, Debug, thiserror::Error)]
#[error("the call failed: {0}")]
struct CallFailed(String);

impl KinesisStream {
    /// Connects. No call of a producer's grant is free of effect, so the connection is opened by a call without records, which
    /// the service refuses.
    pub async fn connect(client: impl Into<Streams>, config: KinesisConfig) -> Result<Self, ConnectError> {
        let stream = Self::new(client, config);
        if let Err(why) = stream.client.warm(&stream.config.stream, stream.config.attempt).await {
            warn!(error = why, "kinesis did not answer the first call");
        }
        Ok(stream)
    }

    /// Uses a client as it is, without a first call.
    pub fn new(client: impl Into<Streams>, config: KinesisConfig) -> Self {
        Self { client: client.into(), config }
    }

    async fn put_chunk(&self, chunk: Vec<Pending<'_>>, budget: Budget) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(chunk.len());
        let mut pending = chunk;
        for attempt in 1.. {
            let Some(left) = budget.left() else { break };
            let cause = match self.put(&pending, left.min(self.config.attempt)).await {
                Ok(codes) => {
                    let mut code = None;
                    let mut again = Vec::new();
                    for ((index, entry), refusal) in pending.into_iter().zip(codes) {
                        match refusal {
                            None => verdicts.push((index, Ok(()))),
                            Some(refused) => {
                                again.push((index, entry));
                                code = Some(refused);
                            }
                        }
                    }
                    pending = again;
                    let Some(code) = code else { break };
                    EntryRefused { code }.to_string()
                }
                Err(ServiceFailure::Transient(error)) => described(&*error),
                Err(ServiceFailure::Refused(error)) => {
                    let cause = CallFailed(described(&*error));
                    let refused = pending.drain(..);
                    verdicts
                        .extend(refused.map(|(index, _)| (index, Err(PublishError::Refused(Box::new(cause.clone()))))));
                    break;
                }
            };
            if !budget.pause_after(attempt).await {
                let cause = CallFailed(cause);
                let left = pending.drain(..);
                verdicts
                    .extend(left.map(|(index, _)| (index, Err(PublishError::Unacknowledged(Box::new(cause.clone()))))));
                break;
            }
        }
        verdicts
    }

    async fn put(&self, pending: &[Pending<'_>], limit: Duration) -> Result<Vec<Option<String>>, ServiceFailure> {
        let entries: Vec<_> = pending.iter().map(|(_, entry)| *entry).collect();
        self.client.put(&self.config.stream, &entries, limit).await
    }
}

impl DecisionPublisher for KinesisStream {
    async fn publish(&self, decisions: &[Outgoing], deadline: Millis) -> Vec<Result<(), PublishError>> {
        let budget = Budget::until(deadline);
        let mut results: Vec<Result<(), PublishError>> =
            decisions.iter().map(|_| Err(PublishError::Unacknowledged(Box::new(NoAnswer { waited_ms: 0 })))).collect();
        let mut entries = Vec::with_capacity(decisions.len());
        for (index, decision) in decisions.iter().enumerate() {
            match entry(decision) {
                Ok(entry) => entries.push((index, entry)),
                Err(refused) => results[index] = Err(refused),
            }
        }
        let puts: Vec<_> = chunks(entries).into_iter().map(|chunk| self.put_chunk(chunk, budget)).collect();
        let answers: Vec<Vec<Verdict>> =
            stream::iter(puts).buffer_unordered(self.config.calls_in_flight).collect().await;
        for (index, verdict) in answers.into_iter().flatten() {
            results[index] = verdict;
        }
        results
    }
}

fn entry(decision: &Outgoing) -> Result<Entry<'_, DecisionId>, PublishError> {
    let bytes = decision.payload.len();
    if bytes > RECORD_BYTES_MAX {
        return Err(PublishError::Refused(Box::new(TooLarge { bytes })));
    }
    Ok(Entry { partition_key: decision.decision_id, data: &decision.payload })
}

fn chunks(entries: Vec<Pending<'_>>) -> Vec<Vec<Pending<'_>>> {
    let mut chunks: Vec<Vec<Pending<'_>>> = Vec::new();
    let mut bytes = 0;
    for (index, entry) in entries {
        let size = entry.data.len() + KEY_BYTES;
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < RECORDS_PER_CALL && bytes + size <= BYTES_PER_CALL => {
                chunk.push((index, entry));
                bytes += size;
            }
            _ => {
                chunks.push(vec![(index, entry)]);
                bytes = size;
            }
        }
    }
    chunks
}

/// An error with its causes, for several entries at once.
fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
