//! Decisions, dead letters, actions and events: what was written is what is read.

use centinela_contracts::dead_letter_v1::{
    self, DeadLetter, DeadLetterReason, ORIGINAL_HEADERS_BYTES_MAX, ORIGINAL_KEY_BYTES_MAX, ORIGINAL_VALUE_BYTES_MAX,
};
use centinela_contracts::decision_v1;
use centinela_contracts::event_v1::{self, EventKind};
use centinela_contracts::user_action_v1::{self, ActionKind};
use centinela_domain::{Outcome, RecordedFeatures};
use proptest::prelude::*;

use crate::samples::{self, NOW};

/// Kafka's default `message.max.bytes`.
const MESSAGE_BYTES_MAX: usize = 1_048_588;

#[test]
fn a_decision_is_read_as_it_was_decided() {
    let decision = samples::rich_decision();
    let bytes = decision_v1::encode(&decision);
    serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
    let read = decision_v1::parse(&bytes).unwrap();
    assert_eq!((read.decision_id, read.transaction_id), (decision.decision_id, decision.transaction_id.clone()));
    assert_eq!((read.user_id, read.outcome), (decision.user_id.clone(), decision.outcome));
    assert_eq!(read.score.to_bits(), decision.score.to_bits());
    assert_eq!(read.evidence, Some(decision));
    for length in 0..bytes.len() {
        assert!(decision_v1::parse(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn an_event_ahead_of_the_broker_is_said_and_nothing_is_said_of_the_others() {
    let mut decision = samples::rich_decision();
    assert!(!String::from_utf8(decision_v1::encode(&decision)).unwrap().contains("ahead"));
    (decision.ahead, decision.guarded) = (true, true);
    let read = decision_v1::parse(&decision_v1::encode(&decision)).unwrap().evidence.unwrap();
    assert!(read.ahead && read.guarded);
}

#[test]
fn a_decision_of_a_longer_list_of_features_is_read_like_one_of_today() {
    let mut decision = samples::rich_decision();
    decision.features = RecordedFeatures { version: 7, values: vec![0.5; 90].into() };
    let read = decision_v1::parse(&decision_v1::encode(&decision)).unwrap().evidence.unwrap();
    assert_eq!(read.features, decision.features);
}

#[test]
fn a_reduced_decision_has_its_answer_and_says_what_it_is() {
    let decision = samples::rich_decision();
    let bytes = decision_v1::encode_reduced(
        decision.decision_id,
        &decision.transaction_id,
        &decision.user_id,
        Outcome::Review,
        0.5,
    );
    let read = decision_v1::parse(&bytes).unwrap();
    assert_eq!((read.decision_id, read.outcome), (decision.decision_id, Outcome::Review));
    assert_eq!(read.evidence, None);
    let not_marked = String::from_utf8(bytes).unwrap().replace(",\"reduced\":true", "");
    assert!(decision_v1::parse(not_marked.as_bytes()).is_err());
}

#[test]
fn the_extremes_of_a_float_are_still_json() {
    let mut decision = samples::rich_decision();
    decision.features.values[..5].copy_from_slice(&[f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::INFINITY, -0.0]);
    let bytes = decision_v1::encode(&decision);
    serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
    let features = decision_v1::parse(&bytes).unwrap().evidence.unwrap().features.values;
    let bits: Vec<u32> = features[..5].iter().map(|feature| feature.to_bits()).collect();
    let expected = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::NAN, -0.0].map(f32::to_bits);
    assert_eq!(bits, expected, "what is no finite number is null");
}

fn letter(value: Option<Vec<u8>>, key: Option<Vec<u8>>, headers: Vec<(String, Vec<u8>)>) -> DeadLetter {
    DeadLetter {
        reason_code: DeadLetterReason::NotJson,
        reason: "the value is not JSON".into(),
        topic: "transactions".into(),
        partition: 3,
        offset: Some(7),
        timestamp: Some(NOW),
        key,
        value,
        headers,
        dead_lettered_at: NOW,
    }
}

#[test]
fn a_dead_letter_that_would_not_fit_is_cut_and_says_by_how_much() {
    let value = vec![0xff; 5_000_000];
    let headers =
        vec![("a".repeat(10), vec![1; 10]), ("\u{1}".repeat(90_000), vec![2; 100]), ("b".into(), vec![3; 70_000])];
    let mut whole = letter(Some(value.clone()), Some(vec![9; 60_000]), headers);
    whole.reason = "é".repeat(100_000);
    let bytes = dead_letter_v1::encode(&whole);
    assert!(bytes.len() < MESSAGE_BYTES_MAX - 20_000, "{}", bytes.len());
    let read = dead_letter_v1::parse(&bytes).unwrap();
    let kept = read.letter.value.unwrap().len()
        + read.letter.key.unwrap().len()
        + read.letter.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    assert_eq!(kept as u64 + read.truncated_bytes, 5_000_000 + 60_000 + 20 + 90_100 + 70_001);
    assert_eq!(read.letter.headers.len(), 2, "headers after one that does not fit are kept");
    assert!(read.letter.reason.len() <= 1024);
}

#[test]
fn the_largest_parts_together_fit_a_message() {
    let headers = vec![("h".repeat(100), vec![7; ORIGINAL_HEADERS_BYTES_MAX / 5]); 3];
    let full = letter(Some(vec![0; ORIGINAL_VALUE_BYTES_MAX]), Some(vec![0; ORIGINAL_KEY_BYTES_MAX]), headers);
    let bytes = dead_letter_v1::encode(&full);
    assert!(bytes.len() < MESSAGE_BYTES_MAX - 20_000, "{}", bytes.len());
    let read = dead_letter_v1::parse(&bytes).unwrap();
    assert!(read.letter == full && read.truncated_bytes == 0);
}

#[test]
fn actions_and_events_are_read_as_they_were_written() {
    let action =
        br#"{"action_id":"a-1","timestamp":"2026-11-22T14:32:00Z","user_id":"u-1","action":"login","device_id":null}"#;
    let read = user_action_v1::parse(action).unwrap();
    assert_eq!((read.kind, read.device_id.is_none()), (ActionKind::Login, true));
    assert_eq!(user_action_v1::parse(&user_action_v1::encode(&read)), Ok(read));
    let event = br#"{"version":1,"event_id":"e-1","timestamp":1795357920123,"user_id":"u-1","transaction_id":"t-1","event":"chargeback","device_id":"d-1"}"#;
    let read = event_v1::parse(event).unwrap();
    assert_eq!((read.kind, read.transaction_id.as_str()), (EventKind::Chargeback, "t-1"));
    assert_eq!(event_v1::parse(&event_v1::encode(&read)), Ok(read));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let unknown = user_action_v1::parse(text(action).replace("login", "logout").as_bytes()).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "action must be one of registration, login, device_change, profile_change, got `logout`"
    );
    let missing = event_v1::parse(text(event).replace("\"transaction_id\"", "\"x\"").as_bytes()).unwrap_err();
    assert_eq!(missing.to_string(), "transaction_id is missing or null");
    for length in 0..event.len() {
        assert!(event_v1::parse(&event[..length]).is_err(), "{length}");
    }
}

proptest! {
    #[test]
    fn a_dead_letter_comes_back_as_it_was(
        reason_code in prop::sample::select(DeadLetterReason::ALL.to_vec()), reason in ".{0,80}", partition in any::<u32>(),
        offset in prop::option::of(any::<u64>()), timestamp in prop::option::of(any::<i64>()),
        key in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), value in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
        headers in prop::collection::vec((".{0,10}", prop::collection::vec(any::<u8>(), 0..10)), 0..5),
    ) {
        let letter = DeadLetter { reason_code, reason, partition, offset, timestamp: timestamp.map(centinela_domain::Millis), ..letter(value, key, headers) };
        let bytes = dead_letter_v1::encode(&letter);
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
        let read = dead_letter_v1::parse(&bytes).unwrap();
        prop_assert_eq!(read.truncated_bytes, 0);
        prop_assert_eq!(read.letter, letter);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decision_v1::parse(&bytes).is_err());
        prop_assert!(dead_letter_v1::parse(&bytes).is_err());
        prop_assert!(event_v1::parse(&bytes).is_err());
        prop_assert!(user_action_v1::parse(&bytes).is_err());
    }

    #[test]
    fn no_damage_to_a_decision_makes_the_reader_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = decision_v1::encode(&samples::rich_decision());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _may_still_be_a_decision = decision_v1::parse(&bytes);
    }
}
