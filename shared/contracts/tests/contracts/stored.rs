//! Stored items: lossless, small, and never trusted.

use centinela_contracts::stored_partition::{self, Owner, PENDING_FAILURES_MAX, PendingFailure, StoredPartition};
use centinela_contracts::stored_user::{self, StoredProblem, StoredUser};
use centinela_contracts::{stored_decision, stored_device, stored_label, stored_profile, stored_risk, stored_rollup};
use centinela_domain::device::{DEVICE_USERS_MAX, DeviceUser};
use centinela_domain::ledger::quantized;
use centinela_domain::profile::{Change, Fact, Minute};
use centinela_domain::risk::{Day, Label, Verdict};
use centinela_domain::{
    AmountMinor, ContentDigest, Coordinates, Currency, Decision, DecisionId, DeviceState, Entry, EventId, FEATURES,
    Ledger, Mark, Millis, MissingInputs, ModelStamp, Outcome, Profile, Reason, ReasonCode, RecordedFeatures, Risk,
    TransactionDigest, TransactionId, UserId, UserState,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::samples;

/// A write unit covers an item of this size, with everything that its owners keep in it.
const WRITE_UNIT_BYTES: usize = 1024;
/// Budget of the attributes `p` and `pv`.
const PROFILE_BYTES_MAX: usize = 64;
/// Budget of the attributes `r` and `rv`.
const RISK_BYTES_MAX: usize = 32;

/// The size that DynamoDB counts: names and values in UTF-8, a number as a byte per two digits and one more
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>).
fn item_bytes(key: &str, version: u64, content: &[u8]) -> usize {
    "pk".len() + key.len() + group_bytes("vs", version, content)
}

/// The size of an owner's two attributes, of which `names` are the names.
fn group_bytes(names: &str, version: u64, content: &[u8]) -> usize {
    let digits = version.to_string().trim_end_matches('0').len();
    names.len() + digits.div_ceil(2) + 1 + content.len()
}

fn profile_bytes() -> usize {
    group_bytes("pvp", 1_234, &stored_profile::encode(&samples::ordinary_profile()))
}

fn risk_bytes() -> usize {
    group_bytes("rvr", 123, &stored_risk::encode(&samples::ordinary_risk()))
}

fn user_bytes(full: u64) -> usize {
    item_bytes(samples::user_id().as_str(), 1_234_567, &stored_user::encode(&samples::ordinary_user(full)))
}

#[test]
fn an_ordinary_users_item_takes_one_write_unit_with_all_its_owners() {
    let user = samples::ordinary_user(1);
    assert_eq!(user.ledger.eviction_floors.len(), 10);
    assert_eq!(user.ledger.entries.len(), 16);
    assert_eq!((user.state.recent.len(), user.state.devices.len(), user.state.networks.len()), (16, 8, 4));
    let decisions = user_bytes(1);
    let (profile, risk) = (profile_bytes(), risk_bytes());
    assert!(profile <= PROFILE_BYTES_MAX, "a profile takes {profile} bytes");
    assert!(risk <= RISK_BYTES_MAX, "risk takes {risk} bytes");
    let owners = decisions + PROFILE_BYTES_MAX + RISK_BYTES_MAX;
    assert!(owners <= WRITE_UNIT_BYTES, "decisions take {decisions} bytes, a profile {profile}, risk {risk}");
    let two = user_bytes(2);
    assert!(two <= WRITE_UNIT_BYTES, "with two decisions in full they take {two} bytes");
    let shrunk = item_bytes("", 1, &stored_user::encode(&samples::ordinary_user(0)));
    let without_one = {
        let mut user = samples::ordinary_user(0);
        user.ledger.entries.pop();
        item_bytes("", 1, &stored_user::encode(&user))
    };
    assert!(shrunk - without_one <= 20, "a shrunk decision has {} bytes", shrunk - without_one);
}

#[test]
fn a_crowded_devices_item_takes_one_write_unit_with_all_its_owners() {
    let mut device = DeviceState::first_seen(samples::NOW);
    for number in 0..DEVICE_USERS_MAX as u32 {
        device.observe(number.wrapping_mul(2_654_435_761), Millis(samples::NOW.0 + i64::from(number) * 86_400_000));
    }
    let size = item_bytes(&"d".repeat(64), 1_234_567, &stored_device::encode(&device));
    assert!(size + RISK_BYTES_MAX <= WRITE_UNIT_BYTES, "decisions take {size} bytes");
}

#[test]
fn a_newer_format_is_named() {
    let problem = stored_user::decode(&[9, 1, 2], &samples::user_id()).unwrap_err();
    assert_eq!(
        problem.to_string(),
        "the stored item has format 9, this release reads format 4: it was written by another release"
    );
}

#[test]
fn an_item_cut_anywhere_is_a_problem() {
    let user = stored_user::encode(&samples::ordinary_user(2));
    for length in 0..user.len() {
        assert!(stored_user::decode(&user[..length], &samples::user_id()).is_err(), "{length}");
    }
    let longer = [user.as_slice(), &[0]].concat();
    assert_eq!(stored_user::decode(&longer, &samples::user_id()), Err(StoredProblem::Trailing { bytes: 1 }));
}

#[test]
fn more_holds_than_an_item_takes_are_refused_with_what_happens_next() {
    let marker = PendingFailure { at: Mark { offset: 1, timestamp: samples::NOW }, owner: None, unreadable: 0 };
    let mut item =
        StoredPartition { pending_failures: vec![marker.clone(); PENDING_FAILURES_MAX], ..StoredPartition::default() };
    let bytes = stored_partition::encode(&item).unwrap();
    assert!(bytes.len() < 100_000, "{}", bytes.len());
    assert_eq!(stored_partition::decode(&bytes).unwrap(), item);
    item.pending_failures.push(marker);
    let problem = stored_partition::encode(&item).unwrap_err().to_string();
    assert!(problem.contains("10001 failed records") && problem.contains("kept as it is"), "{problem}");
}

#[test]
fn owners_that_do_not_fit_leave_their_position_behind() {
    let owner = Owner { user: UserId::new("u".repeat(128)).unwrap(), digest: TransactionDigest([7; 6]), content: None };
    let marker = PendingFailure { at: Mark { offset: 1, timestamp: samples::NOW }, owner: Some(owner), unreadable: 0 };
    let item = StoredPartition { pending_failures: vec![marker; PENDING_FAILURES_MAX], ..StoredPartition::default() };
    let bytes = stored_partition::encode(&item).unwrap();
    assert!(bytes.len() < 350_000, "{} bytes must fit into an item of 400 KB", bytes.len());
    let read = stored_partition::decode(&bytes).unwrap();
    assert_eq!(read.pending_failures.len(), PENDING_FAILURES_MAX);
    assert!(
        read.pending_failures[0].owner.is_some() && read.pending_failures[PENDING_FAILURES_MAX - 1].owner.is_none()
    );
}

fn time() -> impl Strategy<Value = Millis> {
    prop_oneof![any::<i64>(), 1_700_000_000_000i64..1_900_000_000_000].prop_map(Millis)
}

fn mark() -> impl Strategy<Value = Mark> {
    (any::<u64>(), time()).prop_map(|(offset, timestamp)| Mark { offset, timestamp })
}

fn marker() -> impl Strategy<Value = PendingFailure> {
    let owner =
        (identifier(), any::<[u8; 6]>(), prop::option::of(any::<u16>())).prop_map(|(user, digest, content)| Owner {
            user: UserId::new(user).unwrap(),
            digest: TransactionDigest(digest),
            content: content.map(ContentDigest),
        });
    (mark(), prop::option::of(owner), any::<u8>()).prop_map(|(at, owner, unreadable)| PendingFailure {
        at,
        owner,
        unreadable,
    })
}

fn float() -> impl Strategy<Value = f32> {
    prop_oneof![Just(0.0), (0u32..5_000_000).prop_map(|cents| (f64::from(cents) / 100.0) as f32), any::<f32>()]
}

fn feature() -> impl Strategy<Value = f32> {
    prop_oneof![float(), Just(f32::NAN), any::<u32>().prop_map(f32::from_bits)]
}

fn identifier() -> impl Strategy<Value = String> {
    prop_oneof!["[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[a-zé-]{1,60}", Just("x".repeat(128))]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(Outcome::ALL.to_vec())
}

prop_compose! {
    fn state()(
        (transactions, amount_total_minor, late) in (any::<u64>(), any::<u64>(), any::<u64>()),
        (since, newest_at, spike_at) in (time(), time(), prop::option::of(time())),
        (counts, sums, spikes) in ([float(), float(), float(), float()], [float(), float(), float(), float()], [float(), float()]),
        (mean, squares) in (any::<f64>(), any::<f64>()),
        (largest, small) in (float(), float()),
        recent in vec(float(), 0..=16),
        (devices, networks, agents) in (vec(any::<u32>(), 0..=8), vec(any::<u32>(), 0..=4), vec(any::<u32>(), 0..=2)),
        device_types in any::<u8>(),
    ) -> UserState {
        UserState { transactions, amount_total_minor, late, since, newest_at, counts, sums, mean, squares, largest, recent, spikes,
            spike_at, small, devices, networks, agents, device_types }
    }
}

prop_compose! {
    fn decision()(
        id in identifier(),
        other_id in prop::option::of(any::<[u8; 16]>()),
        amount in 1u64..=1_000_000_000,
        currency in "USD|EUR|JPY",
        outcome in outcome(),
        score in 0f32..=1.0,
        reasons in vec((prop::sample::select(ReasonCode::ALL.to_vec()), float()), 0..=4),
        model in (prop_oneof!["[a-z0-9.]{0,16}", Just("2026-11-22.1".to_owned())], prop_oneof![any::<[u8; 8]>(), Just([7; 8])]),
        features in (prop_oneof![Just(1u32), any::<u32>()], prop_oneof![vec(feature(), FEATURES), vec(feature(), 0..70)]),
        state_version in any::<u64>(),
        times in (time(), time(), time()),
        (late, ahead, guarded, device) in (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        (profile, user_risk, device_risk) in (any::<bool>(), any::<bool>(), any::<bool>()),
    ) -> Decision {
        let transaction_id = TransactionId::new(id).unwrap();
        let user_id = samples::user_id();
        let derived = DecisionId::derive(&user_id, &transaction_id);
        Decision {
            decision_id: other_id.map_or(derived, DecisionId), transaction_id, user_id, amount: AmountMinor::new(amount).unwrap(),
            currency: Currency::new(&currency).unwrap(), outcome, score,
            reasons: reasons.into_iter().map(|(code, contribution)| Reason { code, contribution }).collect(),
            model: ModelStamp { version: model.0, digest: model.1 }, features: RecordedFeatures { version: features.0, values: features.1.into() },
            state_version, occurred_at: times.0, ingested_at: times.1, decided_at: times.2, late, ahead, guarded,
            missing: MissingInputs { device, profile, user_risk, device_risk },
        }
    }
}

prop_compose! {
    fn entry()(
        decision in prop::option::of(decision()),
        coordinates in vec((any::<u32>(), any::<u64>(), time()), 0..20),
        (digest, content, outcome, score, own) in
            (any::<[u8; 6]>(), prop::option::of(any::<u16>()), outcome(), 0f32..=1.0, any::<bool>()),
    ) -> Entry {
        let coordinates = coordinates.into_iter().map(|(partition, offset, timestamp)| Coordinates { partition, offset, timestamp }).collect();
        let (digest, content) = (TransactionDigest(digest), content.map(ContentDigest));
        match decision {
            Some(decision) if own => Entry {
                digest: decision.decision_id.digest(), content, coordinates, outcome: decision.outcome, score: decision.score,
                decision: Some(Box::new(decision)),
            },
            Some(decision) => Entry { digest, content, coordinates, outcome, score, decision: Some(Box::new(decision)) },
            None => Entry { digest, content, coordinates, outcome, score: if own { quantized(score) } else { score }, decision: None },
        }
    }
}

fn stored() -> impl Strategy<Value = StoredUser> {
    let floors = btree_map(any::<u32>(), mark(), 0..120);
    let proof = prop::option::of((any::<u32>(), mark()));
    (state(), vec(entry(), 0..24), floors, proof).prop_map(|(state, entries, eviction_floors, proof)| StoredUser {
        state,
        ledger: Ledger { entries, eviction_floors, proof },
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_users_item_comes_back_as_it_was(user in stored()) {
        let bytes = stored_user::encode(&user);
        let read = stored_user::decode(&bytes, &samples::user_id()).unwrap();
        prop_assert_eq!(&read, &user);
        prop_assert_eq!(stored_user::encode(&read), bytes);
    }

    #[test]
    fn a_devices_item_comes_back_as_it_was(
        first_seen_at in time(), users in vec((any::<u32>(), time()), 0..=16)
    ) {
        let users = users.into_iter().map(|(user, first_seen_at)| DeviceUser { user, first_seen_at }).collect();
        let device = DeviceState { first_seen_at, users };
        prop_assert_eq!(stored_device::decode(&stored_device::encode(&device)).unwrap(), device);
    }

    #[test]
    fn a_partition_comes_back_as_it_was(mark in prop::option::of(mark()), pending_failures in vec(marker(), 0..50), noted_at in time()) {
        let item = StoredPartition { mark, pending_failures, noted_at };
        prop_assert_eq!(stored_partition::decode(&stored_partition::encode(&item).unwrap()).unwrap(), item);
    }

    #[test]
    fn profiles_risk_and_labels_come_back_as_they_were(
        facts in vec((0..Change::ALL.len() + 3, any::<u32>(), 0u32..9), 0..40),
        labels in vec((0u32..40_000, prop::sample::select(Verdict::ALL.to_vec())), 0..80), times in (0i64..4_000, 0i64..4_000),
        ids in ("[a-c]{1,3}", "[a-c]{1,3}"),
    ) {
        let profile = Profile::from_facts(facts.into_iter().map(|(kind, at, device)| {
            let at = Minute(at);
            match kind {
                0 => Fact::Registered { at },
                1 => Fact::LoginFailed { at },
                2 => Fact::LoggedIn { at, device },
                _ => Fact::Changed { what: Change::ALL[kind - 3], at },
            }
        }));
        let bytes = stored_profile::encode(&profile);
        prop_assert_eq!(stored_profile::decode(&bytes).unwrap(), profile);
        let mut risk = Risk::default();
        for &(day, verdict) in &labels {
            risk.add(Day(day), verdict);
        }
        prop_assert_eq!(stored_risk::decode(&stored_risk::encode(&risk)).unwrap(), risk);
        let label = |at: i64, id: String, verdict| Label { at: Millis(samples::NOW.0 + at), verdict, event_id: EventId::new("id", id).unwrap() };
        let verdicts = [labels.first(), labels.last()].map(|label| label.map_or(Verdict::Refund, |&(_, verdict)| verdict));
        let (a, b) = (label(times.0, ids.0, verdicts[0]), label(times.1, ids.1, verdicts[1]));
        prop_assert_eq!(stored_label::encode_order(&a).cmp(&stored_label::encode_order(&b)), a.cmp(&b));
        prop_assert_eq!(stored_label::decode_order(&stored_label::encode_order(&a)).unwrap(), a);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(mut bytes in vec(any::<u8>(), 0..400)) {
        for format in [1, 2, 3, 4] {
            if let Some(first) = bytes.first_mut() {
                *first = format;
            }
            let _may_be_an_item = stored_user::decode(&bytes, &samples::user_id());
            let _may_be_an_item = stored_device::decode(&bytes);
            let _may_be_an_item = stored_partition::decode(&bytes);
            let _may_be_a_profile = stored_profile::decode(&bytes);
            let _may_be_a_risk = stored_risk::decode(&bytes);
            let _may_be_a_label = stored_label::decode_order(&bytes);
        }
    }

    #[test]
    fn no_damage_to_an_item_makes_the_reader_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = stored_user::encode(&samples::ordinary_user(3));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _may_be_an_item = stored_user::decode(&bytes, &samples::user_id());
    }
}

#[test]
fn decisions_are_read_as_those_of_the_items_user() {
    let other = UserId::new("somebody").unwrap();
    let shrunk = samples::ordinary_user(0);
    assert_eq!(stored_user::decode(&stored_user::encode(&shrunk), &other).unwrap(), shrunk);
    let full = samples::ordinary_user(1);
    let read = stored_user::decode(&stored_user::encode(&full), &samples::user_id()).unwrap();
    assert_eq!(read, full);
}

#[test]
fn a_full_item_of_the_index_with_the_longest_names_takes_one_write_unit() {
    let mut decision = samples::rich_decision();
    decision.transaction_id = TransactionId::new("t".repeat(128)).unwrap();
    decision.user_id = UserId::new("u".repeat(128)).unwrap();
    decision.model.version = "m".repeat(40);
    decision.amount = AmountMinor::new(1_000_000_000_000_000).unwrap();
    let entry = stored_decision::IndexedDecision::of(&decision);
    assert_eq!(entry.model_version.len(), stored_decision::MODEL_VERSION_BYTES_MAX);
    let bytes = stored_decision::encode(&vec![entry.clone(); stored_decision::ENTRIES_MAX + 1]);
    assert_eq!(stored_decision::decode(&bytes).unwrap(), vec![entry; stored_decision::ENTRIES_MAX]);
    // The key, the two attributes' names, and a time of seven bytes.
    let size = "pk".len() + 128 + "d".len() + bytes.len() + "x".len() + 7;
    assert!(size <= WRITE_UNIT_BYTES, "{size} bytes");
    let decision = IndexedOrdinary::bytes();
    assert!(decision <= 200, "an ordinary item takes {decision} bytes");
}

struct IndexedOrdinary;

impl IndexedOrdinary {
    fn bytes() -> usize {
        let user = samples::ordinary_user(1);
        let decision = user.ledger.entries.last().and_then(|entry| entry.decision.as_deref()).unwrap();
        let bytes = stored_decision::encode(&[stored_decision::IndexedDecision::of(decision)]);
        "pk".len() + 36 + "d".len() + bytes.len() + "x".len() + 7
    }
}

#[test]
fn stored_decisions_and_roll_ups_cut_anywhere_are_problems() {
    let decision = samples::rich_decision();
    let mut rollup = centinela_domain::Rollup::default();
    (0..300).for_each(|_| rollup.add(&decision));
    let whole =
        [stored_decision::encode(&[stored_decision::IndexedDecision::of(&decision)]), stored_rollup::encode(&rollup)];
    for length in 0..whole[0].len() {
        assert!(stored_decision::decode(&whole[0][..length]).is_err(), "{length}");
    }
    for length in 0..whole[1].len() {
        assert!(stored_rollup::decode(&whole[1][..length]).is_err(), "{length}");
    }
    assert!(stored_decision::decode(&[&whole[0][..], &[0]].concat()).is_err());
    assert!(stored_rollup::decode(&[&whole[1][..], &[0]].concat()).is_err());
}

proptest! {
    #[test]
    fn what_is_no_stored_decision_or_roll_up_is_a_problem_and_no_panic(bytes in vec(any::<u8>(), 0..300)) {
        for format in [0u8, 1] {
            let bytes = [&[format], &bytes[..]].concat();
            drop(stored_decision::decode(&bytes));
            drop(stored_rollup::decode(&bytes));
        }
    }
}
