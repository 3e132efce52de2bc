//! The event and the answer, as AWS documents them.

use centinela_local::mapping::event::{Envelope, RawRecord, Record, TimestampType};
use centinela_local::mapping::response::{Verdict, read};
use serde_json::{Value, json};

use crate::world::TOPIC;

fn record(partition: i32, offset: i64) -> Record {
    Record::encode(&RawRecord {
        topic: TOPIC,
        partition,
        offset,
        timestamp_ms: 1_700_000_000_000,
        timestamp_type: TimestampType::CreateTime,
        key: None,
        value: Some(b"v"),
        headers: &[],
    })
}

#[test]
fn an_event_has_the_shape_that_msk_delivers() {
    let rich = Record::encode(&RawRecord {
        topic: TOPIC,
        partition: 11,
        offset: 7,
        timestamp_ms: 1_700_000_000_001,
        timestamp_type: TimestampType::LogAppendTime,
        key: Some(b"k"),
        value: None,
        headers: &[("a \"name\"", Some(&[0, 127, 128, 255])), ("empty", None)],
    });
    let envelope = Envelope::new(TOPIC, "127.0.0.1:9092,127.0.0.1:9093");
    let event: Value = serde_json::from_slice(&envelope.event(&[record(2, 5), record(2, 6), rich])).expect("JSON");
    let expected = json!({
        "eventSource": "aws:kafka",
        "eventSourceArn": centinela_local::mapping::event::CLUSTER_ARN,
        "bootstrapServers": "127.0.0.1:9092,127.0.0.1:9093",
        "records": {
            "orders-2": [
                { "topic": "orders", "partition": 2, "offset": 5, "timestamp": 1_700_000_000_000_i64,
                  "timestampType": "CREATE_TIME", "key": null, "value": "dg==", "headers": [] },
                { "topic": "orders", "partition": 2, "offset": 6, "timestamp": 1_700_000_000_000_i64,
                  "timestampType": "CREATE_TIME", "key": null, "value": "dg==", "headers": [] },
            ],
            "orders-11": [
                { "topic": "orders", "partition": 11, "offset": 7, "timestamp": 1_700_000_000_001_i64,
                  "timestampType": "LOG_APPEND_TIME", "key": "aw==", "value": null,
                  "headers": [{ "a \"name\"": [0, 127, -128, -1] }, { "empty": [] }] },
            ],
        },
    });
    assert_eq!(event, expected);
}

#[test]
fn a_response_means_what_aws_documents() {
    let records = [record(0, 5), record(0, 6), record(3, 1)];
    for success in ["", " null ", "{}", r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":null}"#] {
        assert_eq!(read(success.as_bytes(), TOPIC, &records), Verdict::AllHandled, "{success}");
    }
    let failure =
        |partition: &str, offset: i64| json!({ "itemIdentifier": { "partition": partition, "offset": offset } });
    let listed =
        json!({ "batchItemFailures": [failure("orders-3", 1), failure("orders-0", 6), failure("orders-3", 1)] });
    assert_eq!(read(listed.to_string().as_bytes(), TOPIC, &records), Verdict::SomeFailed(vec![1, 2]));
    let whole_batch = [
        json!({ "batchItemFailures": [{ "itemIdentifier": "orders-3" }] }),
        json!({ "batchItemFailures": [failure("orders-3", 2)] }),
        json!({ "batchItemFailures": [failure("others-3", 1)] }),
        json!({ "batchItemFailures": [failure("orders-3", 1), {}] }),
        json!({ "batchItemFailure": [] }),
        json!([]),
        json!("fine"),
    ];
    for response in whole_batch {
        let verdict = read(response.to_string().as_bytes(), TOPIC, &records);
        assert!(matches!(verdict, Verdict::AllFailed { .. }), "{response}: {verdict:?}");
    }
    assert!(matches!(read(b"{", TOPIC, &records), Verdict::AllFailed { .. }));
}
