//! `PutRecords` by the lean client or by the SDK's.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use centinela_delivery::Causes;
use centinela_domain::DecisionId;
use centinela_wire::kinesis::{Entry, put_records};
use centinela_wire::{CallError, Client as Lean};

use crate::service_failure::ServiceFailure;

/// Kinesis, by one client or the other.
#[derive(Clone, Debug)]
pub struct Streams(By);

#[derive(Clone, Debug)]
enum By {
    Lean(Lean),
    Sdk(Client),
}

#[derive(Debug, thiserror::Error)]
#[error("{records} records got {answers} answers")]
struct AnswersMissing {
    records: usize,
    answers: usize,
}

impl From<Client> for Streams {
    fn from(client: Client) -> Self {
        Self(By::Sdk(client))
    }
}

impl From<Lean> for Streams {
    fn from(client: Lean) -> Self {
        Self(By::Lean(client))
    }
}

impl Streams {
    /// Opens a connection by a call that has no effect: without records, which the service refuses. Returns why it did not answer at all.
    pub(crate) async fn warm(&self, stream: &str, limit: Duration) -> Result<(), String> {
        let asked = async {
            match &self.0 {
                By::Lean(client) => match put_records::<DecisionId>(client, stream, &[]).await {
                    Ok(_) | Err(CallError::Service(_)) => Ok(()),
                    Err(error) => Err(Causes(&error).to_string()),
                },
                By::Sdk(client) => {
                    let call = client.put_records().stream_name(stream).set_records(Some(Vec::new()));
                    match Box::pin(call.send()).await {
                        Err(error) if error.as_service_error().is_none() => Err(Causes(&error).to_string()),
                        _ => Ok(()),
                    }
                }
            }
        };
        tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
    }

    /// Puts records; for each the code with which it was refused, none of one that was taken.
    pub(crate) async fn put(
        &self,
        stream: &str,
        entries: &[Entry<'_, DecisionId>],
        limit: Duration,
    ) -> Result<Vec<Option<String>>, ServiceFailure> {
        let asked = async {
            match &self.0 {
                By::Lean(client) => put_records(client, stream, entries).await.map_err(ServiceFailure::from),
                By::Sdk(client) => Box::pin(put_by_sdk(client, stream, entries)).await,
            }
        };
        tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(ServiceFailure::no_answer(limit)))
    }
}

async fn put_by_sdk(
    client: &Client,
    stream: &str,
    entries: &[Entry<'_, DecisionId>],
) -> Result<Vec<Option<String>>, ServiceFailure> {
    let records: Result<Vec<_>, _> = entries
        .iter()
        .map(|entry| {
            let record = PutRecordsRequestEntry::builder().partition_key(entry.partition_key.to_string());
            record.data(Blob::new(entry.data)).build()
        })
        .collect();
    let records = records.map_err(|error| ServiceFailure::Refused(Box::new(error)))?;
    let call = client.put_records().stream_name(stream).set_records(Some(records));
    let results = call.send().await.map_err(ServiceFailure::of)?.records;
    if results.len() != entries.len() {
        let mismatch = AnswersMissing { records: entries.len(), answers: results.len() };
        return Err(ServiceFailure::Transient(Box::new(mismatch)));
    }
    Ok(results.into_iter().map(|result| result.error_code).collect())
}
