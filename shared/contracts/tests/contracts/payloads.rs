//! Decisions, dead letters, actions and events: what was written is what is read.

use centinela_contracts::dead_letter_v1::{
    self, DeadLetter, DeadLetterReason, ORIGINAL_HEADERS_BYTES_MAX, ORIGINAL_KEY_BYTES_MAX, ORIGINAL_VALUE_BYTES_MAX,
};
use centinela_contracts::decision_v1;
use centinela_contracts::event_v1::{self, EventKind};
use centinela_contracts::user_action_v1::{self, ActionKind};
use centinela_domain::profile::{Fact, Minute};
use centinela_domain::{Millis, MissingInputs, Outcome, RecordedFeatures};
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
    decision.ahead = true;
    assert!(decision_v1::parse(&decision_v1::encode(&decision)).unwrap().evidence.unwrap().ahead);
}

#[test]
fn what_a_decision_was_made_without_is_named_and_read_back() {
    let mut decision = samples::rich_decision();
    for (missing, names) in [
        (MissingInputs::default(), "\"degraded\":false,\"missing\":[]"),
        (MissingInputs { profile: true, ..MissingInputs::default() }, "\"degraded\":true,\"missing\":[\"profile\"]"),
        (
            MissingInputs { device: false, profile: true, user_risk: true, device_risk: true },
            "\"degraded\":true,\"missing\":[\"profile\",\"user_risk\",\"device_risk\"]",
        ),
    ] {
        decision.missing = missing;
        let bytes = decision_v1::encode(&decision);
        assert!(String::from_utf8_lossy(&bytes).contains(names));
        assert_eq!(decision_v1::parse(&bytes).unwrap().evidence.unwrap().missing, missing);
    }
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

const ACTION: &str =
    r#"{"action_id":"a-1","timestamp":"2026-11-22T14:32:00Z","user_id":"u-1","action":"logged_in","device_id":null}"#;
const EVENT: &str = r#"{"version":1,"event_id":"e-1","timestamp":1795357920123,"user_id":"u-1","transaction_id":"t-1","event":"chargeback","device_id":"d-1"}"#;

#[test]
fn actions_and_events_are_read_as_they_were_written() {
    let read = user_action_v1::parse(ACTION.as_bytes()).unwrap();
    assert_eq!((read.kind, read.device_id.is_none(), read.outcome), (ActionKind::LoggedIn, true, None));
    assert_eq!(user_action_v1::parse(&user_action_v1::encode(&read)), Ok(read));
    for kind in ActionKind::ALL {
        let text = ACTION.replace("logged_in", kind.as_str());
        assert_eq!(user_action_v1::parse(text.as_bytes()).unwrap().kind, kind);
    }
    let read = event_v1::parse(EVENT.as_bytes()).unwrap();
    assert_eq!((&read.kind, read.transaction_id.as_ref().unwrap().as_str()), (&EventKind::Chargeback, "t-1"));
    assert_eq!(event_v1::parse(&event_v1::encode(&read)), Ok(read));
    for length in 0..EVENT.len() {
        assert!(event_v1::parse(&EVENT.as_bytes()[..length]).is_err(), "{length}");
    }
}

#[test]
fn an_action_that_is_none_is_told_in_words_that_name_nobody() {
    let wrong = |from: &str, to: &str| {
        let problem = user_action_v1::parse(ACTION.replace(from, to).as_bytes()).unwrap_err();
        let text = problem.to_string();
        assert!(!text.contains("ana@") && !format!("{problem:?}").contains("ana@"), "{text}");
        text
    };
    let with = |field: &str| wrong("\"device_id\":null", field);
    assert_eq!(
        wrong("logged_in", "logged_out"),
        "action must be one of registered, logged_in, password_changed, email_changed, address_changed, phone_changed, \
         device_added, device_removed, profile_changed, got `logged_out`"
    );
    assert_eq!(with(r#""outcome":"maybe""#), "outcome must be success or failure, got `maybe`");
    assert_eq!(with(r#""ip":"ana@example.com""#), "ip must be an IPv4 or IPv6 address");
    assert_eq!(with(r#""email":["ana@example.com"]"#), "email must be a string");
    let long = format!(r#""address":"{}""#, "ana@".repeat(129));
    assert_eq!(with(&long), "address must be a string of at most 512 bytes");
    assert_eq!(with(r#""email":"ana@example.com","email":"x""#), "email appears more than once");
    let failed =
        ACTION.replace("logged_in", "password_changed").replace("\"device_id\":null", r#""outcome":"failure""#);
    let problem = user_action_v1::parse(failed.as_bytes()).unwrap_err().to_string();
    assert_eq!(problem, "outcome must be left out: only logged_in has one");
}

#[test]
fn what_an_action_says_of_a_person_is_read_and_never_shown() {
    let text = ACTION.replace("\"device_id\":null", r#""ip":"198.51.100.7","email":"ana@example.com","name":"Ana""#);
    let read = user_action_v1::parse(text.as_bytes()).unwrap();
    assert_eq!(read.personal.email.as_ref().unwrap().expose(), "ana@example.com");
    let shown = format!("{read:?} {:?}", read.personal);
    assert!(!shown.contains("ana@") && !shown.contains("Ana") && !shown.contains("198.51"), "{shown}");
}

#[test]
fn a_fact_is_as_of_the_broker_where_its_action_is_ahead() {
    let action = user_action_v1::parse(ACTION.as_bytes()).unwrap();
    let said = Minute::of(action.occurred_at);
    assert_eq!(action.fact(action.occurred_at), Fact::LoggedIn { at: said, device: 0 });
    let broker = Millis(action.occurred_at.0 - 86_400_000);
    assert_eq!(action.fact(broker), Fact::LoggedIn { at: Minute::of(broker), device: 0 });
    let failed = ACTION.replace("null", r#"null,"outcome":"failure""#);
    let failed = user_action_v1::parse(failed.as_bytes()).unwrap();
    assert_eq!(failed.fact(NOW), Fact::LoginFailed { at: said });
}

#[test]
fn an_event_that_is_no_label_is_none_and_no_problem() {
    for kind in EventKind::LABELS {
        let event = event_v1::parse(EVENT.replace("chargeback", kind.as_str()).as_bytes()).unwrap();
        assert_eq!((event.label(NOW).map(|label| Some(label.verdict)), &event.kind), (Some(kind.verdict()), &kind));
    }
    let other = EVENT.replace("chargeback", "dispute opened");
    let without = other.replace("\"transaction_id\"", "\"x\"").replace("\"user_id\"", "\"y\"");
    for text in [other, without] {
        let event = event_v1::parse(text.as_bytes()).unwrap();
        assert_eq!((event.kind.as_str(), event.label(NOW)), ("dispute opened", None));
    }
    for (from, to, expected) in [
        ("\"transaction_id\"", "\"x\"", "transaction_id is missing or null"),
        ("chargeback", "", "event is empty"),
        ("chargeback", "a\\u0000", "event holds a control character"),
        ("\"e-1\"", "7", "event_id must be a string"),
    ] {
        let problem = event_v1::parse(EVENT.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
        assert_eq!(problem, expected);
    }
    assert!(event_v1::parse(EVENT.replace("\"user_id\"", "\"y\"").as_bytes()).unwrap().user_id.is_none());
}

proptest! {
    #[test]
    fn a_dead_letter_comes_back_as_it_was(
        reason_code in prop::sample::select(DeadLetterReason::ALL.to_vec()), reason in ".{0,80}", partition in any::<u32>(),
        offset in prop::option::of(any::<u64>()), timestamp in prop::option::of(any::<i64>()),
        key in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), value in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
        headers in prop::collection::vec((".{0,10}", prop::collection::vec(any::<u8>(), 0..10)), 0..5),
    ) {
        let letter = DeadLetter { reason_code, reason, partition, offset, timestamp: timestamp.map(Millis), ..letter(value, key, headers) };
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
