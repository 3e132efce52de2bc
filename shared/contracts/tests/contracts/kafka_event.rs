//! Events: what is tolerated, what becomes a bad record, what fails as a whole.

use centinela_contracts::kafka_event::{EnvelopeError, HEADERS_MAX, KafkaBatch, RECORDS_MAX, Record, RecordProblem};
use centinela_domain::Millis;
use proptest::prelude::*;

const GOOD: &str = r#"{"topic":"a-b","partition":3,"offset":7,"timestamp":1795357920123,"timestampType":"LOG_APPEND_TIME","key":"aw==","value":"dg==","headers":[{"h":[1,-1]}]}"#;

fn event(records: &str) -> String {
    format!(
        r#"{{"eventSource":"aws:kafka","eventSourceArn":"arn","bootstrapServers":"b:1","records":{{"a-b-3":[{records}]}}}}"#
    )
}

/// The outcome for one record among two good ones, which must stay good.
fn among_good(record: &str) -> Result<Record, RecordProblem> {
    let before = GOOD.replace("\"offset\":7", "\"offset\":1");
    let after = GOOD.replace("\"offset\":7", "\"offset\":99");
    let batch = KafkaBatch::parse(event(&format!("{before},{record},{after}")).as_bytes()).unwrap();
    let [partition] = &batch.partitions[..] else { panic!("one partition") };
    let good = partition.records.iter().flatten().filter(|record| [1, 99].contains(&record.coordinates.offset));
    assert_eq!(good.count(), 2, "{record}");
    let odd = partition.records.iter().find(|record| match record {
        Ok(record) => ![1, 99].contains(&record.coordinates.offset),
        Err(_) => true,
    });
    odd.unwrap().clone().map_err(|bad| {
        assert_eq!(bad.raw, record.trim().as_bytes());
        bad.problem
    })
}

#[test]
fn what_sources_do_differently_is_the_same_record() {
    let plain = among_good(GOOD).unwrap();
    assert_eq!((plain.coordinates.partition, plain.coordinates.offset), (3, 7));
    assert_eq!(plain.coordinates.timestamp, Millis(1_795_357_920_123));
    assert_eq!((plain.key.as_deref(), plain.value.as_deref()), (Some(&b"k"[..]), Some(&b"v"[..])));
    assert_eq!(plain.headers, [("h".to_owned(), vec![1, 255])]);
    for same in [
        GOOD.replace("-1", "255"),
        GOOD.replace("\"topic\":\"a-b\",\"partition\":3,", ""),
        GOOD.replace("\"topic\":\"a-b\"", "\"topic\":null,\"new\":{\"deep\":[[[{}]]]}"),
        GOOD.replace("\"key\"", "\"k\\u0065y\""),
    ] {
        assert_eq!(among_good(&same).unwrap(), plain, "{same}");
    }
    for none in ["", ",\"headers\":null", ",\"headers\":[]", ",\"headers\":[{}]"] {
        let record = among_good(&GOOD.replace(",\"headers\":[{\"h\":[1,-1]}]", none)).unwrap();
        assert_eq!(record.headers, []);
    }
    assert_eq!(among_good(&GOOD.replace("\"aw==\"", "null")).unwrap().key, None);
    assert_eq!(among_good(&GOOD.replace("\"key\":\"aw==\",", "")).unwrap().key, None);
    assert_eq!(among_good(&GOOD.replace("\"aw==\"", "\"\"")).unwrap().key, Some(Vec::new()));
    assert_eq!(among_good(&GOOD.replace("\"dg==\"", "null")).unwrap().value, None);
    let slash = among_good(&GOOD.replace("\"dg==\"", "\"\\/w==\"")).unwrap();
    assert_eq!(slash.value, Some(vec![255]), "encoders may escape the slash of base64");
}

#[test]
fn a_bad_record_is_told_apart_and_never_fails_the_batch() {
    let with = |from: &str, to: &str| among_good(&GOOD.replace(from, to)).unwrap_err().to_string();
    for (from, to, expected) in [
        ("\"dg==\"", "\"%%\"", "value is not base64"),
        ("\"dg==\"", "\"dg\"", "value is not base64"),
        ("\"dg==\"", "\"_w==\"", "value is not base64"),
        ("\"dg==\"", "\"d g==\"", "value is not base64"),
        ("\"dg==\"", "{\"json\":1}", "value must be a base64 string or null"),
        (",\"value\":\"dg==\"", "", "value is missing"),
        ("\"aw==\"", "\"\\u00e9\"", "key is not base64"),
        ("\"aw==\"", "7", "key must be a base64 string or null"),
        ("1795357920123", "\"soon\"", "timestamp must be whole milliseconds"),
        ("1795357920123", "-1", "timestamp must be whole milliseconds"),
        ("1795357920123", "1e300", "timestamp must be whole milliseconds"),
        ("\"timestamp\":1795357920123,", "", "timestamp is missing"),
        ("\"offset\":7", "\"offset\":-7", "offset must be a whole number"),
        ("\"offset\":7", "\"offset\":\"7\"", "offset must be a whole number"),
        ("\"offset\":7", "\"offset\":7.5", "offset must be a whole number"),
        ("\"offset\":7", "\"offset\":1e30", "offset must be a whole number"),
        ("\"offset\":7,", "", "offset is missing"),
        ("\"offset\":7", "\"offset\":7,\"offset\":8", "offset appears more than once"),
        ("\"a-b\"", "\"other\"", "not that of the list"),
        ("\"partition\":3", "\"partition\":4", "not that of the list"),
        ("\"partition\":3", "\"partition\":4294967296", "partition must be a partition number"),
        ("\"a-b\"", "\"\\ud800\"", "topic holds half of a Unicode surrogate pair"),
        ("[1,-1]", "[256]", "headers must be lists of byte numbers"),
        ("[1,-1]", "[\"x\"]", "headers must be lists of byte numbers"),
        ("[1,-1]", "\"AQ==\"", "headers must be a list of objects"),
        ("[{\"h\":[1,-1]}]", "{\"h\":[1]}", "headers must be a list of objects"),
        ("[{\"h\":[1,-1]}]", "[[1]]", "headers must be a list of objects"),
    ] {
        let problem = with(from, to);
        assert!(problem.contains(expected), "{to}: {problem}");
    }
    for no_object in ["null", "7", "\"text\"", "[]"] {
        assert_eq!(among_good(no_object).unwrap_err(), RecordProblem::NotAnObject);
    }
    let many = format!("\"headers\":[{}]", vec!["{\"h\":[]}"; HEADERS_MAX + 1].join(","));
    assert_eq!(
        among_good(&GOOD.replace("\"headers\":[{\"h\":[1,-1]}]", &many)).unwrap_err(),
        RecordProblem::TooManyHeaders
    );
}

#[test]
fn offsets_of_another_topic_are_never_mixed_in() {
    let batch = |key: &str| {
        KafkaBatch::parse(format!(r#"{{"records":{{"a-b-3":[{{}}],"{key}":[{{}}]}}}}"#).as_bytes()).unwrap()
    };
    assert!(batch("a-b-4").of_topic("a-b").is_ok());
    let problem = batch("a-c-3").of_topic("a-b").unwrap_err().to_string();
    assert_eq!(
        problem,
        "the event has records of topic `a-c`; this function reads \"a-b\" only: check the mapping's topic"
    );
}

#[test]
fn a_bad_record_keeps_its_offset_where_it_can_be_read() {
    let bad = GOOD.replace("\"dg==\"", "\"%%\"");
    let batch = KafkaBatch::parse(event(&bad).as_bytes()).unwrap();
    let bad = batch.partitions[0].records[0].as_ref().unwrap_err();
    assert_eq!((bad.offset, bad.timestamp), (Some(7), Some(Millis(1_795_357_920_123))));
}

#[test]
fn records_come_in_order_of_partition_and_offset() {
    let at = |offset: u64| {
        GOOD.replace("\"offset\":7", &format!("\"offset\":{offset}"))
            .replace("\"partition\":3,", "")
            .replace("\"topic\":\"a-b\",", "")
    };
    let text = format!(
        r#"{{"records":{{"t-10":[{}],"t-2":[{},{{}},{}],"s-t-2":[{}],"t-3":[],"t-4":null}}}}"#,
        at(1),
        at(9),
        at(4),
        at(5)
    );
    let batch = KafkaBatch::parse(text.as_bytes()).unwrap();
    let keys: Vec<_> =
        batch.partitions.iter().map(|part| (part.key.as_str(), part.topic.as_str(), part.partition)).collect();
    assert_eq!(keys, [("s-t-2", "s-t", 2), ("t-2", "t", 2), ("t-10", "t", 10)]);
    let offsets: Vec<_> = batch.partitions[1]
        .records
        .iter()
        .map(|record| record.as_ref().ok().map(|good| good.coordinates.offset))
        .collect();
    assert_eq!(offsets, [Some(4), Some(9), None]);
}

#[test]
fn a_key_without_a_partition_is_replaced_by_what_the_records_say() {
    let batch = KafkaBatch::parse(event(GOOD).replace("a-b-3\":", "odd\":").as_bytes()).unwrap();
    let partition = &batch.partitions[0];
    assert_eq!((partition.key.as_str(), partition.topic.as_str(), partition.partition), ("odd", "a-b", 3));
    let silent = GOOD.replace("\"partition\":3,", "");
    let error = KafkaBatch::parse(event(&silent).replace("a-b-3\":", "odd\":").as_bytes()).unwrap_err();
    assert!(matches!(error, EnvelopeError::PartitionKey(_)), "{error}");
}

#[test]
fn what_is_no_kafka_event_says_so() {
    for (text, expected) in [
        ("", "expected a value at byte 0"),
        ("[]", "not a JSON object"),
        ("{}", "no object `records`"),
        (r#"{"records":null}"#, "no object `records`"),
        (r#"{"Records":[]}"#, "no object `records`"),
        (r#"{"eventSource":"aws:sqs","records":{}}"#, "comes from `aws:sqs`"),
        (r#"{"records":{"t-0":7}}"#, "records of `t-0` are no list"),
        (r#"{"records":{}} {}"#, "nothing more after the value"),
        (r#"{"records":{},}"#, "a string"),
    ] {
        let error = KafkaBatch::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert_eq!(KafkaBatch::parse(br#"{"eventSource":"SelfManagedKafka","records":{}}"#).unwrap().partitions, []);
}

#[test]
fn an_event_cut_anywhere_is_an_error_and_never_a_smaller_batch() {
    let whole = event(&format!("{GOOD},{GOOD}"));
    for length in 0..whole.len() {
        assert!(KafkaBatch::parse(&whole.as_bytes()[..length]).is_err(), "{length}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let deep = format!("{}{}", "[".repeat(2_000_000), "]".repeat(2_000_000));
    let record = GOOD.replace("\"LOG_APPEND_TIME\"", &deep);
    assert_eq!(KafkaBatch::parse(event(&record).as_bytes()).unwrap().partitions[0].records.len(), 1);
    assert!(KafkaBatch::parse(&deep.as_bytes()[..2_000_000]).is_err());
    let text = "x".repeat(5_000_001);
    assert!(among_good(&GOOD.replace("dg==", &text)).is_err());
    let many = vec!["{}"; RECORDS_MAX + 1].join(",");
    assert_eq!(KafkaBatch::parse(event(&many).as_bytes()), Err(EnvelopeError::TooManyRecords));
    assert!(matches!(KafkaBatch::parse(&vec![b' '; 9_000_000]), Err(EnvelopeError::TooLarge(9_000_000))));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(KafkaBatch::parse(&bytes).is_err());
    }

    #[test]
    fn no_damage_to_an_event_makes_it_panic(at in 0usize..600, byte in any::<u8>(), length in 0usize..20) {
        let mut bytes = event(&format!("{GOOD},{GOOD}")).into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _may_still_be_an_event = KafkaBatch::parse(&bytes);
        bytes.drain(at..(at + length).min(bytes.len()));
        let _may_still_be_an_event = KafkaBatch::parse(&bytes);
    }
}
