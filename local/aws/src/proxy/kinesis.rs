//! A `PutRecords` of which some records fail.

use bytes::Bytes;
use http::StatusCode;
use serde_json::value::RawValue;

use super::meter::Meter;
use super::object::{Object, put_back, set_aside};
use crate::fault::Fault;

/// A request without the records that a fault leaves undone.
pub(super) struct Exchange<'a> {
    request: Object<'a>,
    undone: Vec<usize>,
    is_empty: bool,
}

impl<'a> Exchange<'a> {
    /// None for a request that passes as it is.
    pub(super) fn new(operation: &str, body: &'a [u8], fault: Fault) -> Option<Self> {
        if operation != "PutRecords" || !matches!(fault, Fault::Partial { .. }) {
            return None;
        }
        let mut request = Object::read(body)?;
        let mut records: Vec<&'a RawValue> = request.get_as_it_came("Records")?;
        let undone = set_aside(&mut records, fault);
        request.set("Records", &records);
        Some(Self { request, is_empty: records.is_empty() && !undone.is_empty(), undone })
    }

    /// What goes on; none when nothing is left.
    pub(super) fn forwarded(&self) -> Option<Bytes> {
        if self.is_empty { None } else { self.request.json() }
    }

    pub(super) fn finish(self, status: StatusCode, answer: Bytes, meter: &mut Meter) -> Bytes {
        let Some(mut json) = Object::read(&answer).filter(|_| status.is_success()) else { return answer };
        meter.throttled(self.undone.len());
        let mut failed = Object::default();
        failed.set("ErrorCode", "ProvisionedThroughputExceededException");
        failed.set("ErrorMessage", "Rate exceeded for the shard.");
        let mut records: Vec<Object<'_>> = json.get_as_it_came("Records").unwrap_or_default();
        put_back(&mut records, &self.undone, &failed);
        json.set("Records", &records);
        json.set("FailedRecordCount", &(json.get::<usize>("FailedRecordCount").unwrap_or(0) + self.undone.len()));
        json.json().unwrap_or_else(|| answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const BODY: &[u8] =
        br#"{"StreamName":"s","Records":[{"PartitionKey":"0"},{"PartitionKey":"1"},{"PartitionKey":"2"}]}"#;

    fn exchange(fault: Fault) -> Exchange<'static> {
        Exchange::new("PutRecords", BODY, fault).expect("some records are left undone")
    }

    fn finished(exchange: Exchange<'_>, answer: &str) -> Value {
        let answer = Bytes::from(answer.to_owned());
        serde_json::from_slice(&exchange.finish(StatusCode::OK, answer, &mut Meter::default())).unwrap()
    }

    #[test]
    fn a_failed_record_stands_at_its_place_in_the_answer() {
        let exchange = exchange(Fault::Partial { every: 2 });
        let forwarded: Value = serde_json::from_slice(&exchange.forwarded().unwrap()).unwrap();
        assert_eq!(forwarded["Records"].as_array().unwrap().len(), 2);
        let answer = json!({ "FailedRecordCount": 0, "Records": [{ "ShardId": "0" }, { "ShardId": "2" }] });
        let answer = finished(exchange, &answer.to_string());
        assert_eq!(answer["FailedRecordCount"], 1);
        assert_eq!(answer["Records"][0]["ShardId"], "0");
        assert_eq!(answer["Records"][1]["ErrorCode"], "ProvisionedThroughputExceededException");
        assert_eq!(answer["Records"][2]["ShardId"], "2");
    }

    #[test]
    fn a_request_of_which_nothing_is_left_is_not_sent() {
        let exchange = exchange(Fault::Partial { every: 1 });
        assert_eq!(exchange.forwarded(), None);
        assert_eq!(finished(exchange, "{}")["FailedRecordCount"], 3);
    }
}
