//! The events that a function receives from Kinesis, without and with tumbling windows.
//!
//! Shapes: <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-windows.html>.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::Value;

use super::source::{Held, StreamRecord};
use super::window::Window;
use crate::mapping::destination::iso_8601;

const REGION: &str = "us-east-1";
const ACCOUNT: &str = "000000000000";
/// Bytes of a record's text beyond what it carries, its comma and escaped letters of its key included.
const RECORD_BYTES: usize = 640;

/// What an invocation is about beside its records.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfWindow<'a> {
    pub(super) window: Window,
    /// JSON of an object.
    pub(super) state: &'a str,
    pub(super) is_final: bool,
    pub(super) is_terminated_early: bool,
}

/// ARN of a stream on this machine.
#[must_use]
pub fn stream_arn(stream: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{stream}")
}

/// At most so many bytes of an event are a record's.
pub(super) fn bytes(record: &StreamRecord) -> usize {
    RECORD_BYTES + record.data_base64.len() + 2 * record.partition_key.len() + record.sequence_number.len() * 2
}

/// The event with these records.
pub(super) fn event(stream: &str, function: &str, shard: &str, records: &[Held], of: Option<OfWindow<'_>>) -> Bytes {
    let arn = stream_arn(stream);
    let size: usize = records.iter().map(|held| bytes(&held.record)).sum();
    let mut json = String::with_capacity(size + 512 + of.map_or(0, |of| of.state.len()));
    json.push_str("{\"Records\":[");
    for (index, held) in records.iter().enumerate() {
        json.push_str(if index == 0 { "{\"kinesis\":{" } else { ",{\"kinesis\":{" });
        put_record(&mut json, &held.record);
        // Writing to a text cannot fail.
        write!(
            json,
            "}},\"eventSource\":\"aws:kinesis\",\"eventVersion\":\"1.0\",\"eventID\":\"{shard}:{}\",\
             \"eventName\":\"aws:kinesis:record\",\"invokeIdentityArn\":\"arn:aws:iam::{ACCOUNT}:role/{function}\",\
             \"awsRegion\":\"{REGION}\",\"eventSourceARN\":\"{arn}\"}}",
            held.record.sequence_number
        )
        .unwrap_or_default();
    }
    json.push(']');
    if let Some(OfWindow { window, state, is_final, is_terminated_early }) = of {
        let (start, end) = (time(window.start_ms), time(window.end_ms));
        write!(
            json,
            ",\"window\":{{\"start\":\"{start}\",\"end\":\"{end}\"}},\"state\":{state},\"shardId\":\"{shard}\",\
             \"eventSourceARN\":\"{arn}\",\"isFinalInvokeForWindow\":{is_final},\
             \"isWindowTerminatedEarly\":{is_terminated_early}"
        )
        .unwrap_or_default();
    }
    json.push('}');
    Bytes::from(json)
}

fn put_record(json: &mut String, record: &StreamRecord) {
    let key = Value::from(record.partition_key.as_str());
    let (seconds, millis) = (record.arrived_ms / 1_000, record.arrived_ms % 1_000);
    write!(
        json,
        "\"kinesisSchemaVersion\":\"1.0\",\"partitionKey\":{key},\"sequenceNumber\":\"{}\",\"data\":\"{}\",\
         \"approximateArrivalTimestamp\":{seconds}.{millis:03}",
        record.sequence_number, record.data_base64
    )
    .unwrap_or_default();
}

/// Windows begin and end with a second.
fn time(ms: u64) -> String {
    iso_8601(i64::try_from(ms).unwrap_or(i64::MAX)).replace(".000Z", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn an_event_is_what_kinesis_delivers() {
        let record = StreamRecord {
            sequence_number: "495".to_owned(),
            partition_key: "a \"quoted\" key".to_owned(),
            data_base64: "SGVsbG8=".to_owned(),
            arrived_ms: 1_607_497_475_042,
        };
        let held = [Held { record, received: Instant::now() }];
        let window = Window { start_ms: 1_607_497_440_000, end_ms: 1_607_497_560_000 };
        let of = OfWindow { window, state: "{\"1\":\"282\"}", is_final: false, is_terminated_early: false };
        let event: Value = serde_json::from_slice(&event("s", "f", "shardId-1", &held, Some(of))).expect("it is JSON");
        assert_eq!(event["Records"][0]["kinesis"]["partitionKey"], "a \"quoted\" key");
        assert_eq!(event["Records"][0]["kinesis"]["approximateArrivalTimestamp"], 1_607_497_475.042);
        assert_eq!(event["Records"][0]["eventID"], "shardId-1:495");
        assert_eq!(event["window"]["start"], "2020-12-09T07:04:00Z");
        assert_eq!(event["window"]["end"], "2020-12-09T07:06:00Z");
        assert_eq!((&event["state"]["1"], &event["isFinalInvokeForWindow"]), (&"282".into(), &false.into()));
    }
}
