//! Records on their way in.
//!
//! Limits: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html> (500 records, 10 MiB a request, 1 MiB a record).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::error::{ApiError, Outcome, StreamRef, encode};
use super::log::{self, NewRecord};
use super::state::Shared;

const MAX_RECORDS: usize = 500;
const MAX_REQUEST_BYTES: usize = 10 * 1024 * 1024;
const MAX_RECORD_BYTES: usize = 1024 * 1024;
const MAX_PARTITION_KEY_CHARS: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    partition_key: Cow<'a, str>,
    #[serde(default)]
    explicit_hash_key: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PutRecords<'a> {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(borrow, rename = "Records")]
    records: Vec<Entry<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecord {
    #[serde(flatten)]
    stream: StreamRef,
    data: String,
    partition_key: String,
    #[serde(default)]
    explicit_hash_key: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutResult {
    sequence_number: String,
    shard_id: String,
}

impl From<(String, String)> for PutResult {
    fn from((sequence_number, shard_id): (String, String)) -> Self {
        Self { sequence_number, shard_id }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutResults {
    failed_record_count: usize,
    records: Vec<PutResult>,
}

pub(super) fn put_records(shared: &Shared, request: PutRecords<'_>) -> Outcome {
    let count = request.records.len();
    if !(1..=MAX_RECORDS).contains(&count) {
        let bound = if count == 0 { "greater than or equal to 1" } else { "less than or equal to 500" };
        return Err(ApiError::new(
            "ValidationException",
            format!(
                "1 validation error detected: Value at 'records' failed to satisfy constraint: \
                 Member must have length {bound}"
            ),
        ));
    }
    let records = request.records.into_iter().map(Entry::check).collect::<Result<Vec<_>, _>>()?;
    if records.iter().map(|record| record.bytes).sum::<usize>() > MAX_REQUEST_BYTES {
        return Err(ApiError::new("InvalidArgumentException", "Records size exceeds 10 MB limit"));
    }
    let name = request.stream.name()?;
    let mut state = shared.state();
    let records =
        records.into_iter().map(|record| Ok(state.append(name, record)?.into())).collect::<Result<Vec<_>, _>>()?;
    drop(state);
    shared.written.send_modify(|version| *version += 1);
    encode(&PutResults { failed_record_count: 0, records })
}

pub(super) fn put_record(shared: &Shared, request: PutRecord) -> Outcome {
    let entry = Entry {
        data: request.data.into(),
        partition_key: request.partition_key.into(),
        explicit_hash_key: request.explicit_hash_key,
    };
    let result: PutResult = shared.state().append(request.stream.name()?, entry.check()?)?.into();
    shared.written.send_modify(|version| *version += 1);
    encode(&result)
}

impl Entry<'_> {
    fn check(self) -> Result<NewRecord, ApiError> {
        let key = self.partition_key.into_owned();
        if key.is_empty() || key.chars().count() > MAX_PARTITION_KEY_CHARS {
            return Err(ApiError::new(
                "ValidationException",
                "1 validation error detected: a partition key must have 1 to 256 characters",
            ));
        }
        let hash_key = match &self.explicit_hash_key {
            None => log::hash_key(&key),
            Some(text) => text.parse().map_err(|_| {
                ApiError::new(
                    "InvalidArgumentException",
                    format!("Invalid ExplicitHashKey {text:?}: not a 128-bit number"),
                )
            })?,
        };
        let bytes = decoded_len(&self.data) + key.len();
        if bytes > MAX_RECORD_BYTES {
            return Err(ApiError::new(
                "ValidationException",
                format!(
                    "1 validation error detected: a record of {bytes} bytes failed to satisfy constraint: \
                     Member must have length less than or equal to {MAX_RECORD_BYTES}"
                ),
            ));
        }
        Ok(NewRecord { partition_key: key, data_base64: self.data.into_owned(), bytes, hash_key })
    }
}

/// The length of base64 text when it is decoded.
fn decoded_len(base64: &str) -> usize {
    let padding = base64.bytes().rev().take_while(|byte| *byte == b'=').count();
    (base64.len() / 4 * 3).saturating_sub(padding)
}
