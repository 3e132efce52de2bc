//! Transactions: every way to say one, and what every other value is told.

use centinela_contracts::transaction_v1::{self, TransactionProblem, TransactionV1, VALUE_BYTES_MAX, parse};
use centinela_domain::identity::hash32;
use centinela_domain::transaction::network_hash;
use centinela_domain::{AmountMinor, Currency, DeviceType, Millis};
use proptest::prelude::*;

use crate::samples::TRANSACTION;

fn with(from: &str, to: &str) -> String {
    assert!(TRANSACTION.contains(from), "{from}");
    TRANSACTION.replacen(from, to, 1)
}

fn problem(text: &str) -> TransactionProblem {
    parse(text.as_bytes()).expect_err(text)
}

#[test]
fn a_transaction_is_read_field_by_field() {
    let transaction = parse(TRANSACTION.as_bytes()).unwrap();
    assert_eq!(transaction.id.as_str(), "0191f3a2-7c4e-7b1d-9a3c-5f2e8d1c0b7a");
    assert_eq!(transaction.user_id.as_str(), "7f9c24e8-3b12-4f0f-8c8a-0f6f4a1b0001");
    assert_eq!(transaction.occurred_at, Millis(1_795_357_920_123));
    assert_eq!(transaction.amount.minor(), 1234);
    assert_eq!(transaction.currency.as_str(), "EUR");
    assert_eq!(transaction.device_type, DeviceType::Mobile);
    assert_eq!(transaction.device_id.as_str(), "device-1");
    assert_eq!(transaction.network, network_hash("198.51.100.7".parse().unwrap()));
    assert_eq!(transaction.agent, hash32(b"Mozilla/5.0"));
    assert_eq!(transaction.merchant_id.unwrap().as_str(), "m-1");
}

#[test]
fn the_same_transaction_may_be_said_in_other_ways() {
    let plain = parse(TRANSACTION.as_bytes()).unwrap();
    for (from, to) in [
        ("\"version\":1,", ""),
        ("1795357920123", "\"2026-11-22T14:32:00.123Z\""),
        ("1795357920123", "1.795357920123e12"),
        ("12.34", "\"12.34\""),
        ("12.34", "1234e-2"),
        ("12.34", "0.1234E+2"),
        ("12.34", "12.340000"),
        ("\"ip\":\"198.51.100.7\"", "\"ip\":\"::ffff:198.51.100.9\""),
        ("\"user_id\"", "\"user\\u005fid\""),
        ("{", "\n {\t\"country\":\"PT\",\"deep\":{\"list\":[1,[2,{}]]},\"country\":null,"),
    ] {
        assert_eq!(parse(with(from, to).as_bytes()).as_ref(), Ok(&plain), "{to}");
    }
    for (from, to) in [(",\"merchant_id\":\"m-1\"", ""), ("\"m-1\"", "null")] {
        assert_eq!(parse(with(from, to).as_bytes()).unwrap().merchant_id, None);
    }
    assert_eq!(parse(with("\"currency\":\"EUR\",", "").as_bytes()).unwrap().currency, Currency::DEFAULT);
    assert_eq!(parse(with("Mozilla/5.0", "").as_bytes()).unwrap().agent, hash32(b""));
    let odd_agent = r#"\r\n\u001b[31m{\"level\":\"error\"} \" ' \\"#;
    assert!(parse(with("Mozilla/5.0", odd_agent).as_bytes()).is_ok(), "only its hash is kept");
}

#[test]
fn a_wrong_value_is_told_in_words() {
    for (from, to, expected) in [
        ("12.34", "-0", "amount must not be negative, got `-0`"),
        ("12.34", "-12.34", "amount must not be negative, got `-12.34`"),
        ("12.34", "12.345", "amount `12.345` has more decimals than the 2 of EUR"),
        ("12.34", "1e-400", "more decimals"),
        ("12.34", "1e308", "amount `1e308` is too large, the limit is 10000000 EUR (about 10000000 dollars)"),
        ("12.34", "10000000.01", "is too large"),
        ("12.34", "9007199254740993", "is too large"),
        (
            "12.34",
            "1234567890123456789012345678901234567890",
            "amount `12345678901234567890123456789012...` is too large",
        ),
        ("12.34", "NaN", "JSON has no NaN"),
        ("12.34", "Infinity", "JSON has no NaN and no Infinity"),
        ("12.34", "-Infinity", "expected a digit"),
        ("12.34", "012.34", "no digit after a leading 0"),
        ("12.34", "\"12,34\"", "amount must be a number, or a string"),
        ("12.34", "\" 12.34\"", "amount must be a number, or a string"),
        ("12.34", "\"\"", "amount must be a number, or a string"),
        ("12.34", "true", "amount must be a number, or a string"),
        ("12.34", "[12.34]", "amount must be a number, or a string"),
        ("12.34", "null", "amount is missing or null"),
        ("\"EUR\"", "\"eur\"", "currency must be three capital letters"),
        ("\"EUR\"", "\"XYZ\"", "currency XYZ is none that payments are made in"),
        ("\"EUR\"", "\"XXX\"", "currency XXX is none that payments are made in"),
        ("12.34,\"currency\":\"EUR\"", "160000000001,\"currency\":\"IDR\"", "the limit is 160000000000 IDR"),
        ("\"EUR\"", "\"JPY\"", "amount `12.34` has more decimals than the 0 of JPY"),
        ("\"EUR\"", "978", "currency must be a string"),
        ("1795357920123", "1795357920", "timestamp `1795357920` looks like seconds"),
        ("1795357920123", "1795357920123456", "looks like microseconds"),
        ("1795357920123", "1795357920123456789", "looks like nanoseconds"),
        ("1795357920123", "0", "timestamp must be milliseconds between"),
        ("1795357920123", "-1795357920123", "timestamp must be milliseconds between"),
        ("1795357920123", "253402300799000", "timestamp must be milliseconds between"),
        ("1795357920123", "1795357920123.5", "timestamp must be whole milliseconds"),
        ("1795357920123", "1e400", "timestamp must be whole milliseconds"),
        ("1795357920123", "\"yesterday\"", "RFC 3339 time with zone, got `9 bytes of text`"),
        ("1795357920123", "\"1970-01-01T00:00:00Z\"", "timestamp must be milliseconds between"),
        ("1795357920123", "\"9999-12-31T23:59:59Z\"", "timestamp must be milliseconds between"),
        ("1795357920123", "\"2026-11-22T14:32:00\"", "RFC 3339 time with zone"),
        ("\"version\":1", "\"version\":2", "version is `2`, this release reads version 1"),
        ("\"version\":1", "\"version\":\"1\"", "version is `\"1\"`"),
        ("mobile", "toaster", "device_type must be one of mobile"),
        ("198.51.100.7", "198.51.100.700", "ip must be an IPv4 or IPv6 address"),
        ("198.51.100.7", "", "ip must be an IPv4 or IPv6 address"),
        ("\"device-1\"", "\"\"", "device_id is empty"),
        ("\"m-1\"", "\"\"", "merchant_id is empty"),
        ("device-1", "a\\u0000b", "device_id holds a control character"),
        ("device-1", "\\ud800", "device_id holds half of a Unicode surrogate pair"),
        ("\"device-1\"", "17", "device_id must be a string"),
        ("\"m-1\"", "\"m-1\",\"amount\":1", "amount appears more than once"),
        ("\"m-1\"}", "\"m-1\"}{}", "nothing more after the value"),
        ("\"m-1\"}", "\"m-1\",}", "expected a string"),
    ] {
        let text = problem(&with(from, to)).to_string();
        assert!(text.contains(expected), "{to}: {text}");
    }
}

#[test]
fn every_required_field_is_missed_by_name() {
    let fields = ["transaction_id", "timestamp", "user_id", "amount", "device_type", "device_id", "ip", "user_agent"];
    for field in fields {
        let null = with(&format!("\"{field}\":"), &format!("\"{field}\":null,\"other\":"));
        for text in [with(&format!("\"{field}\""), "\"other\""), null] {
            assert_eq!(problem(&text), TransactionProblem::Missing { field }, "{text}");
        }
        let wrong = with(&format!("\"{field}\":"), &format!("\"{field}\":{{}},\"other\":"));
        assert!(matches!(problem(&wrong), TransactionProblem::WrongType { .. }), "{wrong}");
    }
}

#[test]
fn other_formats_are_recognised() {
    for (bytes, expected) in [
        (&b""[..], "empty"),
        (b" \n", "empty"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"\xff\xfe{\0}\0", "UTF-16"),
        (b"Obj\x01\x04", "Avro"),
        (b"\0\0\0\0\x07\x02", "Avro or Protobuf"),
        (b"eyJ0cmFuc2FjdGlvbl9pZCI6IjEifQ==", "base64 of JSON"),
        (b"[]", "no object"),
        (b"7", "no object"),
        (b"\"text\"", "no object"),
        (b"not json", "expected true, false or null"),
        (b"{\"user_id\":\"\xff\"}", "user_id is not UTF-8 text"),
    ] {
        let text = parse(bytes).unwrap_err().to_string();
        assert!(text.contains(expected), "{}: {text}", bytes.escape_ascii());
    }
}

#[test]
fn no_problem_tells_who_it_is_about() {
    for (from, to) in [
        ("7f9c24e8-3b12-4f0f-8c8a-0f6f4a1b0001\"", "jane.doe@example.com\\u0000\""),
        ("198.51.100.7", "198.51.100.777"),
        ("7f9c24e8-3b12-4f0f-8c8a-0f6f4a1b0001", &"jane.doe@example.com".repeat(20)),
        ("12.34", "[\"jane.doe@example.com\"]"),
        ("1795357920123", "\"jane.doe@example.com\""),
        ("\"version\":1", "\"version\":\"jane.doe@example.com\""),
        ("Mozilla/5.0", &"jane.doe@example.com 198.51.100.7".repeat(90)),
    ] {
        let text = format!("{0} {0:?}", problem(&with(from, to)));
        assert!(!text.contains("jane") && !text.contains("198.51"), "{text}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let large = with("m-1", &"x".repeat(VALUE_BYTES_MAX));
    assert!(matches!(problem(&large), TransactionProblem::TooLarge { .. }));
    assert!(problem(&large).to_string().contains("the limit is 65536"));
    let deep = with("{", &format!("{{\"deep\":{}{},", "[".repeat(10_000), "]".repeat(10_000)));
    assert!(parse(deep.as_bytes()).is_ok());
    assert!(parse("[".repeat(60_000).as_bytes()).is_err());
    let keys: String = (0..4_000).map(|n| format!("\"k{n}\":0,")).collect();
    assert!(parse(with("{", &format!("{{{keys}")).as_bytes()).is_ok());
}

fn is_no_json(problem: &TransactionProblem) -> bool {
    matches!(problem, TransactionProblem::Empty | TransactionProblem::Syntax(_))
}

#[test]
fn a_value_cut_anywhere_is_no_json_whatever_is_wrong_before_the_cut() {
    for length in 0..TRANSACTION.len() {
        let problem = parse(&TRANSACTION.as_bytes()[..length]).unwrap_err();
        assert!(is_no_json(&problem), "{length}: {problem}");
    }
    assert!(is_no_json(&problem("{\"amount\":-1,\"amount\":2")));
}

proptest! {
    #[test]
    fn what_a_producer_writes_is_what_is_read(
        id in "[ -~é]{1,60}", user in "[ -~é]{1,60}", agent in ".{0,100}", minor in 1u64..=1_000_000_000,
        currency in "EUR|JPY|KWD|CLF|USD", at in 946_684_800_000i64..=4_102_444_800_000, address in any::<[u8; 16]>(),
        kind in prop::sample::select(DeviceType::ALL.to_vec()), merchant in prop::option::of("[a-z]{1,9}"),
    ) {
        let ip = std::net::IpAddr::from(address);
        let written = transaction_v1::encode(&TransactionV1 {
            transaction_id: &id, timestamp: Millis(at), user_id: &user, amount: AmountMinor::new(minor).unwrap(),
            currency: Currency::new(&currency).unwrap(), device_type: kind, device_id: &id, ip, user_agent: &agent,
            merchant_id: merchant.as_deref(),
        });
        let read = parse(&written).unwrap();
        prop_assert_eq!((read.id.as_str(), read.user_id.as_str(), read.device_id.as_str()), (&*id, &*user, &*id));
        prop_assert_eq!((read.amount.minor(), read.occurred_at, read.device_type), (minor, Millis(at), kind));
        prop_assert_eq!((read.network, read.agent), (network_hash(ip), hash32(agent.as_bytes())));
        prop_assert_eq!(read.merchant_id.as_ref().map(|id| id.as_str()), merchant.as_deref());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(parse(&bytes).is_err());
    }

    #[test]
    fn no_damage_makes_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), length in 0usize..20) {
        let mut bytes = TRANSACTION.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _may_still_be_a_transaction = parse(&bytes);
        bytes.drain(at..(at + length).min(bytes.len()));
        let _may_still_be_a_transaction = parse(&bytes);
    }
}
