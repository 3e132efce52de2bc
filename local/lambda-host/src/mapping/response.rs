//! What a function's response says about a batch.
//!
//! Shape: <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html#kafka-partial-batch-response>.

use serde::Deserialize;

use super::event::Record;

/// What a partial batch response means for records that it does not name. AWS words it as a retry of "just those specific
/// items" and does not say what happens to the records behind them, so a function has to be right under both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartialReading {
    /// Each named partition is delivered again from its first named offset.
    #[default]
    ResumeAtFirst,
    /// Only the named records are delivered again.
    RedeliverListed,
}

/// The outcome of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every record was handled.
    AllHandled,
    /// These records, as indices into the batch, ascending, were not.
    SomeFailed(Vec<usize>),
    /// The whole batch failed.
    AllFailed {
        /// What to tell the operator.
        reason: String,
    },
}

#[derive(Deserialize)]
struct BatchResponse {
    #[serde(rename = "batchItemFailures")]
    batch_item_failures: Option<Vec<ItemFailure>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemFailure {
    item_identifier: ItemIdentifier,
}

#[derive(Deserialize)]
struct ItemIdentifier {
    partition: String,
    offset: i64,
}

/// Reads the response to a batch that is sorted by partition and offset.
///
/// Nothing, `null`, `{}` and an empty or absent list of failures are full success. What has another shape, or names a record
/// that was not in the batch, fails the whole batch; so does an object with other fields only, because a misspelt list of
/// failures must not pass as success.
#[must_use]
pub fn read(body: &[u8], topic: &str, records: &[Record]) -> Verdict {
    let body = body.trim_ascii();
    if matches!(body, b"" | b"null" | b"{}") {
        return Verdict::AllHandled;
    }
    let failures = match parse(body) {
        Ok(failures) => failures,
        Err(reason) => return Verdict::AllFailed { reason },
    };
    let mut indices = Vec::with_capacity(failures.len());
    for ItemFailure { item_identifier: ItemIdentifier { partition, offset } } in failures {
        let number =
            partition.rsplit_once('-').filter(|(name, _)| *name == topic).and_then(|(_, number)| number.parse().ok());
        let found =
            number.and_then(|number: i32| records.binary_search_by_key(&(number, offset), Record::coordinates).ok());
        match found {
            Some(index) => indices.push(index),
            None => {
                let reason = format!("the response names {partition} offset {offset}, which the batch did not contain");
                return Verdict::AllFailed { reason };
            }
        }
    }
    indices.sort_unstable();
    indices.dedup();
    if indices.is_empty() { Verdict::AllHandled } else { Verdict::SomeFailed(indices) }
}

fn parse(body: &[u8]) -> Result<Vec<ItemFailure>, String> {
    let unreadable = |error: serde_json::Error| format!("the response is not a batch response: {error}");
    let response: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).map_err(unreadable)?;
    if !response.is_empty() && !response.contains_key("batchItemFailures") {
        return Err("the response has fields, but no `batchItemFailures`".to_owned());
    }
    let response = BatchResponse::deserialize(serde_json::Value::Object(response)).map_err(unreadable)?;
    Ok(response.batch_item_failures.unwrap_or_default())
}
