//! What a function's response says about a batch of a stream.
//!
//! Shapes: <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-windows.html>.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::source::Held;

/// What came of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StreamVerdict {
    /// The records before this index were handled, with this state after them; the rest is delivered again.
    HandledTo {
        /// As many as there are when all were.
        index: usize,
        /// JSON of an object; none without windows.
        state: Option<String>,
    },
    /// The function never had it: it is delivered again, and no attempt is counted.
    /// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html> (`MaximumRetryAttempts`).
    Throttled,
    /// The whole batch failed.
    Failed {
        /// What to tell the operator.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    state: Option<&'a RawValue>,
    #[serde(rename = "batchItemFailures", default)]
    failures: Option<Vec<Failure>>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "itemIdentifier", default)]
    identifier: Option<String>,
}

/// Reads a response. A batch is delivered again from the lowest sequence number that it names; one that the batch did not have, and an
/// empty one, fail the whole batch, and so does a response without a state where there are windows.
pub(super) fn read(body: &[u8], records: &[Held], reports_failures: bool, has_windows: bool) -> StreamVerdict {
    let failed = |reason: String| StreamVerdict::Failed { reason };
    let body = body.trim_ascii();
    let nothing = matches!(body, b"" | b"null" | b"{}");
    if nothing && !has_windows {
        return StreamVerdict::HandledTo { index: records.len(), state: None };
    }
    if !reports_failures && !has_windows {
        return StreamVerdict::HandledTo { index: records.len(), state: None };
    }
    let response: Response<'_> = match serde_json::from_slice(body) {
        Ok(response) => response,
        Err(error) => return failed(format!("the response is not a batch response: {error}")),
    };
    let state = response.state.map(RawValue::get).filter(|state| state.starts_with('{'));
    if has_windows && state.is_none() {
        return failed("the response has no `state`, which an invocation of a window must return".to_owned());
    }
    let mut index = records.len();
    for failure in response.failures.filter(|_| reports_failures).unwrap_or_default() {
        let named = failure.identifier.unwrap_or_default();
        let found = records.iter().position(|held| held.record.sequence_number == named);
        let Some(found) = found else {
            return failed(format!("the response names sequence number {named:?}, which the batch did not contain"));
        };
        index = index.min(found);
    }
    StreamVerdict::HandledTo { index, state: state.map(str::to_owned).filter(|_| has_windows) }
}

#[cfg(test)]
mod tests {
    use super::super::source::StreamRecord;
    use super::*;
    use std::time::Instant;

    fn records() -> Vec<Held> {
        let record = |number: u32| StreamRecord {
            sequence_number: number.to_string(),
            partition_key: String::new(),
            data_base64: String::new(),
            arrived_ms: 0,
        };
        (1..4).map(|number| Held { record: record(number), received: Instant::now() }).collect()
    }

    fn handled(index: usize, state: Option<&str>) -> StreamVerdict {
        StreamVerdict::HandledTo { index, state: state.map(str::to_owned) }
    }

    #[test]
    fn the_lowest_named_record_is_where_it_begins_again() {
        let records = records();
        let read = |body: &str| read(body.as_bytes(), &records, true, false);
        for all in ["", "null", "{}", "{\"batchItemFailures\":[]}", "{\"batchItemFailures\":null}"] {
            assert_eq!(read(all), handled(3, None), "{all}");
        }
        let two = "{\"batchItemFailures\":[{\"itemIdentifier\":\"3\"},{\"itemIdentifier\":\"2\"}]}";
        assert_eq!(read(two), handled(1, None));
        for wrong in ["{\"batchItemFailures\":[{\"itemIdentifier\":\"9\"}]}", "{\"batchItemFailures\":[{}]}", "7"] {
            assert!(matches!(read(wrong), StreamVerdict::Failed { .. }), "{wrong}");
        }
    }

    #[test]
    fn a_window_needs_a_state() {
        let records = records();
        let read = |body: &str| read(body.as_bytes(), &records, true, true);
        for without in ["{}", "null", "{\"batchItemFailures\":[]}", "{\"state\":3}", "{\"state\":null}"] {
            assert!(matches!(read(without), StreamVerdict::Failed { .. }), "{without}");
        }
        assert_eq!(read("{\"state\":{\"a\":\"b\"}}"), handled(3, Some("{\"a\":\"b\"}")));
        let part = "{\"state\":{},\"batchItemFailures\":[{\"itemIdentifier\":\"2\"}]}";
        assert_eq!(read(part), handled(1, Some("{}")));
    }
}
