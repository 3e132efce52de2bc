//! A `PutRecords` of which some records fail.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{put_back, set_aside};
use crate::fault::Fault;

/// A request without the records that a fault leaves undone.
pub(super) struct Exchange {
    request: Map<String, Value>,
    undone: Vec<usize>,
}

impl Exchange {
    pub(super) fn new(mut request: Map<String, Value>, fault: Fault) -> Self {
        let undone = match request.get_mut("Records") {
            Some(Value::Array(records)) => set_aside(records, fault),
            _ => Vec::new(),
        };
        Self { request, undone }
    }

    /// What goes on; none when nothing is left.
    pub(super) fn forwarded(&self) -> Option<Bytes> {
        let is_empty = self.request.get("Records").and_then(Value::as_array).is_some_and(Vec::is_empty);
        if is_empty && !self.undone.is_empty() {
            return None;
        }
        serde_json::to_vec(&self.request).ok().map(Bytes::from)
    }

    pub(super) fn settle(self, status: StatusCode, answer: Bytes) -> Bytes {
        let Ok(Value::Object(mut json)) = serde_json::from_slice(&answer) else { return answer };
        if !status.is_success() {
            return answer;
        }
        let failed = json!({
            "ErrorCode": "ProvisionedThroughputExceededException",
            "ErrorMessage": "Rate exceeded for the shard.",
        });
        let mut records = match json.remove("Records") {
            Some(Value::Array(records)) => records,
            _ => Vec::new(),
        };
        put_back(&mut records, &self.undone, &failed);
        let already = json.get("FailedRecordCount").and_then(Value::as_u64).unwrap_or(0);
        json.insert("FailedRecordCount".to_owned(), json!(already + self.undone.len() as u64));
        json.insert("Records".to_owned(), Value::Array(records));
        serde_json::to_vec(&json).map_or(answer, Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Map<String, Value> {
        let records: Vec<Value> =
            (0..3).map(|key| json!({ "Data": "AA==", "PartitionKey": key.to_string() })).collect();
        Map::from_iter([("StreamName".to_owned(), json!("s")), ("Records".to_owned(), Value::Array(records))])
    }

    #[test]
    fn a_failed_record_stands_at_its_place_in_the_answer() {
        let exchange = Exchange::new(request(), Fault::Partial { every: 2 });
        let forwarded: Value = serde_json::from_slice(&exchange.forwarded().unwrap()).unwrap();
        assert_eq!(forwarded["Records"].as_array().unwrap().len(), 2);
        let answer = json!({ "FailedRecordCount": 0, "Records": [{ "ShardId": "0" }, { "ShardId": "2" }] });
        let settled = exchange.settle(StatusCode::OK, answer.to_string().into());
        let settled: Value = serde_json::from_slice(&settled).unwrap();
        assert_eq!(settled["FailedRecordCount"], 1);
        assert_eq!(settled["Records"][0]["ShardId"], "0");
        assert_eq!(settled["Records"][1]["ErrorCode"], "ProvisionedThroughputExceededException");
        assert_eq!(settled["Records"][2]["ShardId"], "2");
    }

    #[test]
    fn a_request_of_which_nothing_is_left_is_not_sent() {
        let exchange = Exchange::new(request(), Fault::Partial { every: 1 });
        assert_eq!(exchange.forwarded(), None);
        let settled: Value =
            serde_json::from_slice(&exchange.settle(StatusCode::OK, Bytes::from_static(b"{}"))).unwrap();
        assert_eq!(settled["FailedRecordCount"], 3);
    }
}
