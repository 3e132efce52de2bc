//! What a mapping writes about records that it gave up, in both spellings that AWS documents.

use centinela_contracts::failure_record::{self, FailedRange, FailureRecord};
use centinela_domain::Millis;
use proptest::prelude::*;

const EVENT: &str = r#"{"eventSource":"aws:kafka","bootstrapServers":"b:1","records":{"transactions-3":[{"topic":"transactions","partition":3,"offset":7,"timestamp":1795357920123,"timestampType":"LOG_APPEND_TIME","key":"aw==","value":"dg==","headers":[]}]}}"#;

fn document(condition: &str, info: &str, payload: &str) -> String {
    format!(
        r#"{{"requestContext":{{"requestId":"316aa6d0","functionArn":"arn:aws:lambda:x","condition":"{condition}","approximateInvokeCount":3}},
        "responseContext":{{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"}},"version":"1.0",
        "timestamp":"2026-11-22T14:32:00.500Z",
        "KafkaBatchInfo":{{"batchSize":1,"eventSourceArn":"arn","bootstrapServers":"b","payloadSize":10,{info}}}{payload}}}"#
    )
}

fn read(document: &str) -> FailureRecord {
    failure_record::parse(document.as_bytes()).unwrap_or_else(|problem| panic!("{problem}: {document}"))
}

#[test]
fn a_record_on_a_topic_and_a_batch_in_a_bucket_are_the_same_record() {
    let on_topic = read(&document(
        "RetriesExhausted",
        r#""recordInfo":{"offset":"7","timestamp":"2026-11-22T14:31:00.000Z"}"#,
        &format!(",\"payload\":{EVENT}"),
    ));
    assert_eq!((on_topic.condition.as_str(), on_topic.attempts), ("RetriesExhausted", Some(3)));
    assert_eq!(on_topic.given_up_at, Some(Millis(1_795_357_920_500)));
    assert_eq!(on_topic.ranges, []);
    let in_bucket = read(&document(
        "RetryAttemptsExhausted",
        r#""recordsInfo":{"transactions-3":{"firstRecordOffset":"7","lastRecordOffset":9,"firstRecordTimestamp":"x"}}"#,
        &format!(",\"payload\":{}", serde_json::to_string(EVENT).unwrap()),
    ));
    assert_eq!(in_bucket.condition, "RetryAttemptsExhausted");
    assert_eq!(in_bucket.ranges, [FailedRange { key: "transactions-3".to_owned(), first: 7, last: 9 }]);
    let record = |read: &FailureRecord| read.batch.clone().unwrap().partitions[0].records[0].clone().unwrap();
    assert_eq!(record(&on_topic), record(&in_bucket));
    assert_eq!(record(&on_topic).coordinates.offset, 7);
}

#[test]
fn a_queue_gets_no_records_and_an_oversized_batch_no_response() {
    let info = r#""recordsInfo":{"transactions-3":{"firstRecordOffset":"7","lastRecordOffset":"9"}}"#;
    let queued = read(
        &document("MaximumPayloadSizeExceeded", info, "")
            .replace("{\"statusCode\":200,\"executedVersion\":\"$LATEST\",\"functionError\":\"Unhandled\"}", "null"),
    );
    assert_eq!((queued.batch, queued.ranges.len()), (None, 1));
}

#[test]
fn what_is_no_such_document_is_refused_with_what_is_wrong() {
    let info = r#""recordInfo":{}"#;
    for (document, said) in [
        ("{}".to_owned(), "requestContext is missing"),
        (document("x", r#""other":1"#, ""), "recordsInfo is missing"),
        (document("x", r#""recordsInfo":[]"#, ""), "recordsInfo must be"),
        (
            document("x", r#""recordsInfo":{"a-1":{"firstRecordOffset":"-1"}}"#, ""),
            "firstRecordOffset must be an offset",
        ),
        (document("x", info, ",\"payload\":7"), "payload must be the event"),
        (document("x", info, ",\"payload\":\"{\""), "payload must be the event"),
        (document("x", info, "").replace("\"condition\":\"x\",", ""), "condition is missing"),
    ] {
        let problem = failure_record::parse(document.as_bytes()).unwrap_err().to_string();
        assert!(problem.contains(said), "{problem}: {document}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0_usize..900) {
        let _refused = failure_record::parse(&bytes);
        let whole = document("x", r#""recordInfo":{"offset":"7"}"#, &format!(",\"payload\":{EVENT}"));
        let mut changed = whole.into_bytes();
        changed.truncate(cut);
        let _refused = failure_record::parse(&changed);
    }
}
