//! Frozen bytes. A file under `tests/golden` is never changed, only joined by others: what was written once must be readable
//! for ever. `CENTINELA_WRITE_GOLDEN=1` writes the files that are missing.

use std::path::{Path, PathBuf};

use centinela_contracts::batch_response::KafkaBatchResponse;
use centinela_contracts::dead_letter_v1::{BadFirstCoordinates, DeadLetter, DeadLetterReason};
use centinela_contracts::event_v1::{Event, EventId, EventKind};
use centinela_contracts::kafka_event::KafkaBatch;
use centinela_contracts::keyed::DeploymentKey;
use centinela_contracts::stored_decision::IndexedDecision;
use centinela_contracts::stored_partition::{Owner, PendingFailure, StoredPartition};
use centinela_contracts::stored_user::StoredUser;
use centinela_contracts::transaction_v1::TransactionV1;
use centinela_contracts::user_action_v1::{ActionKind, LoginOutcome, Personal, PersonalText, UserAction};
use centinela_contracts::window_state::{WindowState, seen_id};
use centinela_contracts::{
    dead_letter_v1, decision_v1, event_v1, stored_decision, stored_device, stored_label, stored_partition,
    stored_profile, stored_risk, stored_rollup, stored_user, transaction_v1, user_action_v1,
};
use centinela_domain::risk::{Label, Verdict};
use centinela_domain::{
    AmountMinor, ContentDigest, Coordinates, Currency, DecisionId, DeviceId, DeviceState, DeviceType, Mark, MerchantId,
    Millis, Outcome, RecordedFeatures, Transaction, TransactionDigest, TransactionId,
};

use crate::samples::{self, NOW};

fn golden(name: &str, bytes: &[u8]) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/golden", name].iter().collect();
    if std::env::var_os("CENTINELA_WRITE_GOLDEN").is_some() && !path.exists() {
        std::fs::write(&path, bytes).unwrap();
    }
    let frozen = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        frozen == bytes,
        "{name} is frozen as\n{}\nbut is written as\n{}",
        frozen.escape_ascii(),
        bytes.escape_ascii()
    );
}

#[test]
fn a_transaction_is_written_as_it_always_was() {
    let bytes = transaction_v1::encode(&TransactionV1 {
        transaction_id: "0191f3a2-7c4e-7b1d-9a3c-5f2e8d1c0b7a",
        timestamp: NOW,
        user_id: "7f9c24e8-3b12-4f0f-8c8a-0f6f4a1b0001",
        amount: AmountMinor::new(1234).unwrap(),
        currency: Currency::new("EUR").unwrap(),
        device_type: DeviceType::Mobile,
        device_id: "device-1",
        ip: "198.51.100.7".parse().unwrap(),
        user_agent: "Mozilla/5.0",
        merchant_id: Some("m-1"),
    });
    golden("transaction_v1.json", &bytes);
    assert_eq!(bytes, samples::TRANSACTION.as_bytes());
}

#[test]
fn a_decision_is_published_as_it_always_was() {
    let decision = samples::rich_decision();
    golden("decision_v1.json", &decision_v1::encode(&decision));
    let id = TransactionId::new("tx-1").unwrap();
    let reduced = decision_v1::encode_reduced(decision.decision_id, &id, &decision.user_id, Outcome::Approved, 0.25);
    golden("decision_v1_reduced.json", &reduced);
}

#[test]
fn a_dead_letter_is_written_as_it_always_was() {
    let letter = DeadLetter {
        reason_code: DeadLetterReason::WrongType,
        reason: "amount must be a number".into(),
        topic: "transactions".into(),
        partition: 3,
        offset: Some(100),
        timestamp: Some(NOW),
        key: Some(b"tx-1".to_vec()),
        value: Some(b"{\"amount\":true}".to_vec()),
        headers: vec![("trace".into(), vec![0, 255]), ("trace".into(), Vec::new())],
        dead_lettered_at: Millis(NOW.0 + 5),
    };
    golden("parked_v1.json", &dead_letter_v1::encode(&letter));
}

#[test]
fn actions_and_events_are_written_as_they_always_were() {
    let device_id = Some(DeviceId::new("device-1").unwrap());
    let personal = |field, text| Some(PersonalText::new(field, text).unwrap());
    let action = UserAction {
        action_id: EventId::new("action_id", "a-1").unwrap(),
        occurred_at: NOW,
        user_id: samples::user_id(),
        kind: ActionKind::LoggedIn,
        device_id: device_id.clone(),
        ip: Some("198.51.100.7".parse().unwrap()),
        outcome: Some(LoginOutcome::Failure),
        personal: Personal {
            name: personal("name", "Ana Example"),
            email: personal("email", "ana@example.com"),
            phone: personal("phone", "+351 555 0100"),
            address: personal("address", "Rua \"1\"\nLisboa"),
        },
    };
    golden("user_action_v1.json", &user_action_v1::encode(&action));
    assert_eq!(user_action_v1::parse(&user_action_v1::encode(&action)), Ok(action.clone()));
    let plain =
        UserAction { kind: ActionKind::DeviceAdded, ip: None, outcome: None, personal: Personal::default(), ..action };
    golden("user_action_v1_plain.json", &user_action_v1::encode(&plain));
    let event = Event {
        event_id: EventId::new("event_id", "e-1").unwrap(),
        occurred_at: NOW,
        user_id: Some(samples::user_id()),
        transaction_id: Some(samples::transaction_id(1)),
        kind: EventKind::ConfirmedFraud,
        device_id,
    };
    golden("event_v1.json", &event_v1::encode(&event));
    let other = EventKind::Other(EventId::new("event", "dispute_opened").unwrap());
    let event = Event { user_id: None, transaction_id: None, device_id: None, kind: other, ..event };
    golden("event_v1_other.json", &event_v1::encode(&event));
    assert_eq!(event_v1::parse(&event_v1::encode(&event)), Ok(event));
}

#[test]
fn profiles_risk_and_labels_are_stored_as_they_always_were() {
    let profile = samples::ordinary_profile();
    golden("stored_profile_1.bin", &stored_profile::encode(&profile));
    assert_eq!(stored_profile::decode(&stored_profile::encode(&profile)).unwrap(), profile);
    let risk = samples::ordinary_risk();
    golden("stored_risk_1.bin", &stored_risk::encode(&risk));
    assert_eq!(stored_risk::decode(&stored_risk::encode(&risk)).unwrap(), risk);
    let label = Label { at: NOW, verdict: Verdict::Chargeback, event_id: EventId::new("event_id", "e-1").unwrap() };
    golden("stored_label_1.bin", &stored_label::encode_order(&label));
    assert_eq!(stored_label::decode_order(&stored_label::encode_order(&label)).unwrap(), label);
    let decision = DecisionId::derive(&samples::user_id(), &samples::transaction_id(1));
    assert_eq!(stored_label::key(decision).len(), 32);
}

#[test]
fn the_response_names_records_as_the_mapping_reads_them() {
    let some = KafkaBatchResponse { failures: vec![("transactions-0".into(), 100), ("a-b-12".into(), 7)] };
    golden("batch_response.json", &some.encode());
    golden("batch_response_empty.json", &KafkaBatchResponse::default().encode());
    assert_eq!(serde_json::to_vec(&some).unwrap(), some.encode());
}

#[test]
fn stored_items_of_every_format_stay_readable() {
    let frozen = include_bytes!("../golden/stored_user_1.bin");
    let mut user = stored_user::decode(frozen, &samples::user_id()).unwrap();
    assert_eq!(user.ledger.proof, None);
    user.ledger.proof = Some((7, Mark { offset: 50_000_006, timestamp: NOW }));
    let with_proof = include_bytes!("../golden/stored_user_2.bin");
    assert_eq!(stored_user::decode(with_proof, &samples::user_id()).unwrap(), user);
    let with_labels = include_bytes!("../golden/stored_user_3.bin");
    assert_eq!(stored_user::decode(with_labels, &samples::user_id()).unwrap(), user);
    golden("stored_user_4.bin", &stored_user::encode(&user));
    assert_eq!((user.state.transactions, user.state.late, user.ledger.eviction_floors.len()), (120, 3, 10));
    assert_eq!((user.ledger.entries.len(), user.ledger.unproved()), (16, 2));
    // Written in 64 bits and the other way round, and still known by what is computed now: else an upgrade forgets every decision.
    for (number, entry) in (104..).zip(&user.ledger.entries) {
        let id = DecisionId::derive(&samples::user_id(), &samples::transaction_id(number));
        assert_eq!(entry.digest, id.digest(), "transaction {number}");
    }
    let last = user.ledger.entries.last().unwrap();
    let decision = last.decision.as_ref().unwrap();
    assert_eq!(decision.transaction_id, samples::transaction_id(119));
    assert_eq!((last.digest, decision.decided_at), (decision.decision_id.digest(), Millis(1_795_351_519_768)));
    let mut device = DeviceState::first_seen(NOW);
    device.observe(7, NOW);
    device.observe(8, Millis(NOW.0 + 60_000));
    assert_eq!(stored_device::decode(include_bytes!("../golden/stored_device_1.bin")).unwrap(), device);
    golden("stored_device_2.bin", &stored_device::encode(&device));
    let mark = |offset, later| Mark { offset, timestamp: Millis(NOW.0 + later) };
    let item = StoredPartition {
        mark: Some(mark(50_000_000, -3)),
        pending_failures: vec![
            PendingFailure { at: mark(50_000_007, 1), owner: None, unreadable: 0 },
            PendingFailure {
                at: mark(50_000_009, 2),
                owner: Some(Owner {
                    user: samples::user_id(),
                    digest: TransactionDigest([0x01, 0x23, 0x45, 0x67, 0x89, 0xab]),
                    content: None,
                }),
                unreadable: 0,
            },
        ],
        noted_at: NOW,
    };
    assert_eq!(stored_partition::decode(include_bytes!("../golden/settled_2.bin")).unwrap(), item);
    let unreadable = StoredPartition {
        pending_failures: item
            .pending_failures
            .iter()
            .cloned()
            .map(|marker| PendingFailure {
                unreadable: 3,
                owner: marker.owner.map(|owner| Owner { content: Some(ContentDigest(0xbeef)), ..owner }),
                ..marker
            })
            .collect(),
        ..item.clone()
    };
    golden("settled_3.bin", &stored_partition::encode(&unreadable).unwrap());
    assert_eq!(stored_partition::decode(&stored_partition::encode(&unreadable).unwrap()).unwrap(), unreadable);
    let without_owners = stored_partition::decode(include_bytes!("../golden/settled_1.bin")).unwrap();
    assert_eq!((without_owners.mark, without_owners.noted_at), (item.mark, NOW));
    let places = |item: &StoredPartition| item.pending_failures.iter().map(|marker| marker.at).collect::<Vec<_>>();
    assert_eq!(places(&without_owners), places(&item));
    assert_eq!(stored_partition::key("score-transactions", "transactions", 7), "score-transactions/transactions/7");
}

/// What a replay publishes years later: the evidence as it was, in the list of features of its time, whatever the list is now and
/// whatever stands beside it in the ring.
#[test]
fn a_decision_of_an_earlier_release_is_published_again_with_the_same_bytes() {
    let mut user = stored_user::decode(include_bytes!("../golden/stored_user_2.bin"), &samples::user_id()).unwrap();
    let place = user.ledger.entries.iter().position(|entry| entry.decision.is_some()).unwrap();
    let bytes = |user: &StoredUser| decision_v1::encode(user.ledger.entries[place].decision.as_ref().unwrap());
    golden("decision_v1_of_stored_user_2.json", &bytes(&user));

    let mut newer = user.ledger.entries[place].clone();
    let decision = newer.decision.as_mut().unwrap();
    let longer: Vec<f32> = decision.features.values.iter().copied().chain([0.25]).collect();
    decision.features = RecordedFeatures { version: 2, values: longer.into() };
    user.ledger.entries.insert(place + 1, newer);
    let read = stored_user::decode(&stored_user::encode(&user), &samples::user_id()).unwrap();
    assert_eq!(read, user);
    golden("decision_v1_of_stored_user_2.json", &bytes(&read));
    let newer = read.ledger.entries[place + 1].decision.as_ref().unwrap();
    assert_eq!((newer.features.version, newer.features.values.len()), (2, 39));
}

#[test]
fn the_sample_events_are_events_of_valid_transactions() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/score-transactions");
    // Name, partitions, records, transactions.
    for (name, partitions, records, transactions) in [
        ("single", 1, 1, 1),
        ("two-partitions", 2, 4, 4),
        ("duplicate", 1, 3, 3),
        ("poison", 1, 6, 2),
        ("tombstone", 1, 2, 1),
        ("odd-headers", 1, 4, 4),
        ("empty", 0, 0, 0),
    ] {
        let event = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        let batch = KafkaBatch::parse(&event).unwrap();
        let all: Vec<_> = batch.partitions.iter().flat_map(|partition| &partition.records).collect();
        let values = all.iter().filter_map(|record| record.as_ref().ok()?.value.as_deref());
        let parsed = values.filter(|value| transaction_v1::parse(value).is_ok()).count();
        assert_eq!((batch.partitions.len(), all.len(), parsed), (partitions, records, transactions), "{name}");
        let response = std::fs::read_to_string(folder.join(format!("{name}.response.json"))).unwrap();
        assert_eq!(response.trim_end().as_bytes(), KafkaBatchResponse::default().encode(), "{name}");
    }
}

#[test]
fn headers_of_a_first_delivery_come_back() {
    let key = DeploymentKey::new(b"a key for tests only").unwrap();
    let first = Coordinates { partition: 3, offset: 50_000_000, timestamp: NOW };
    let delivered = Coordinates { partition: 4, offset: 1, timestamp: Millis(NOW.0 + 5) };
    let value = b"{\"amount\":1}";
    let read = |headers: &[(String, Vec<u8>)]| dead_letter_v1::first_coordinates(headers, value, delivered, &key);
    let mut headers = vec![("other".to_owned(), b"x".to_vec())];
    assert_eq!(read(&headers), None);
    headers.extend(dead_letter_v1::first_headers("transactions", first, value, &key));
    assert_eq!(read(&headers), Some(Ok(("transactions".to_owned(), first))));
    assert_eq!(headers[5].1, b"00755369634a1154b2707975a77d1e26", "frozen: records wait on dead-letters for weeks");
    for broken in 1..6 {
        let mut missing = headers.clone();
        missing.remove(broken);
        assert!(read(&missing).unwrap().is_err());
        headers[broken].1.push(0xff);
        assert!(read(&headers).unwrap().is_err());
        headers[broken].1.pop();
    }
}

#[test]
fn headers_of_a_first_delivery_that_somebody_else_wrote_are_not_believed() {
    let key = DeploymentKey::new(b"a key for tests only").unwrap();
    let other = DeploymentKey::new(b"another key for tests").unwrap();
    let at = |partition, offset, after| Coordinates { partition, offset, timestamp: Millis(NOW.0 + after) };
    let (first, delivered) = (at(7, 9_000, 0), at(2, 5, 1_000));
    let signed = dead_letter_v1::first_headers("transactions", first, b"one", &key);
    let read = |headers: &[(String, Vec<u8>)], value: &[u8], delivered, key: &DeploymentKey| {
        dead_letter_v1::first_coordinates(headers, value, delivered, key).unwrap()
    };
    assert_eq!(read(&signed, b"one", delivered, &other), Err(BadFirstCoordinates::NotSigned));
    assert_eq!(read(&signed, b"two", delivered, &key), Err(BadFirstCoordinates::NotSigned), "of another record");
    for (place, forged) in [(0, "events"), (1, "8"), (2, "9000000000000000000"), (3, "1")] {
        let mut headers = signed.clone();
        headers[place].1 = forged.into();
        assert_eq!(read(&headers, b"one", delivered, &key), Err(BadFirstCoordinates::NotSigned), "{forged}");
    }
    for impossible in [at(7, 8_999, 1_000), at(2, 5, -60_000)] {
        let problem = Err(BadFirstCoordinates::NotBefore { first, delivered: impossible });
        assert_eq!(read(&signed, b"one", impossible, &key), problem);
    }
    assert!(read(&signed, b"one", at(7, 9_001, 0), &key).is_ok());
    assert!(read(&signed, b"one", at(7, 3, 60_000), &key).is_ok(), "the topic was made anew");
}

#[test]
fn the_content_of_a_transaction_is_what_is_bought_and_not_how_the_request_came() {
    let key = DeploymentKey::new(b"a key for tests only").unwrap();
    let transaction = samples::transaction(1, NOW);
    let digest = key.content_digest(&transaction);
    assert_eq!(digest, ContentDigest(0x26f9), "frozen: it is stored");
    let again = Transaction { occurred_at: Millis(NOW.0 + 900), network: 1, agent: 2, ..transaction.clone() };
    assert_eq!(key.content_digest(&again), digest);
    for other in [
        Transaction { amount: AmountMinor::new(999_999_999).unwrap(), ..transaction.clone() },
        Transaction { currency: Currency::new("JPY").unwrap(), ..transaction.clone() },
        Transaction { device_id: DeviceId::new("another").unwrap(), ..transaction.clone() },
        Transaction { device_type: DeviceType::Pos, ..transaction.clone() },
        Transaction { merchant_id: Some(MerchantId::new("m").unwrap()), ..transaction.clone() },
    ] {
        assert_ne!(key.content_digest(&other), digest);
    }
}

#[test]
fn the_index_and_roll_ups_are_stored_as_they_always_were() {
    let decision = samples::rich_decision();
    let mut other = IndexedDecision::of(&decision);
    other.currency = Currency::DEFAULT;
    other.model_version = "2026-11-22.1".into();
    let entries = vec![IndexedDecision::of(&decision), other];
    let bytes = stored_decision::encode(&entries);
    golden("stored_decision_1.bin", &bytes);
    assert_eq!(stored_decision::decode(&bytes), Ok(entries));
    let mut state = WindowState::begin("49590338271490256608692578538361571095921575989136588898");
    state.rollup.add(&decision);
    state.rollup.add_reduced();
    state.seen.insert(seen_id(decision.decision_id));
    let bytes = stored_rollup::encode(&state.rollup);
    golden("stored_rollup_1.bin", &bytes);
    assert_eq!(stored_rollup::decode(&bytes), Ok(state.rollup.clone()));
    let encoded = state.encode();
    let texts: std::collections::BTreeMap<_, _> = encoded.iter().collect();
    golden("window_state_1.json", serde_json::to_string(&texts).unwrap().as_bytes());
    assert_eq!(WindowState::decode(&encoded), Ok(Some(state)));
}
