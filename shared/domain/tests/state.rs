//! Properties of what is remembered about users, and of the features computed from it.

#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

use centinela_domain::features::{DeviceInput, Input, Known};
use centinela_domain::profile::{Change, Fact, Minute};
use centinela_domain::risk::{Day, Verdict};
use centinela_domain::transaction::{AHEAD_TOLERANCE_MS, TIME_MAX_MS, TIME_MIN_MS};
use centinela_domain::user::{AGE_GAP_MAX_MS, KNOWN_DEVICES_MAX, RECENT_AMOUNTS};
use centinela_domain::{
    AmountMinor, Currency, DeviceId, DeviceState, DeviceType, EventTime, FEATURES, FeatureVector, Millis, Profile,
    Risk, Transaction, TransactionId, UserId, UserState,
};
use proptest::prelude::*;

const T: i64 = 1_790_000_000_000;

/// The largest amount in dollars.
const AMOUNT_MINOR_MAX: u64 = 1_000_000_000;

fn transaction(at: i64, minor: u64, device: u8) -> Transaction {
    let device_id = DeviceId::new(format!("d{device}")).unwrap();
    Transaction {
        id: TransactionId::new(format!("t-{at}-{minor}")).unwrap(),
        user_id: UserId::new("u").unwrap(),
        occurred_at: Millis(at),
        amount: AmountMinor::new(minor).unwrap(),
        currency: Currency::DEFAULT,
        device_type: DeviceType::Mobile,
        device: device_id.hash32(),
        device_id,
        network: u32::from(device),
        agent: 7,
        merchant_id: None,
    }
}

/// As of the producer's time.
fn compute(transaction: &Transaction, user: Option<&UserState>, device: DeviceInput<'_>) -> FeatureVector {
    known_as(transaction, &Known { user, device, ..Known::NOTHING })
}

fn known_as(transaction: &Transaction, known: &Known<'_>) -> FeatureVector {
    FeatureVector::compute(transaction, transaction.occurred_at, known)
}

fn apply(state: &mut UserState, transaction: &Transaction, late: bool) {
    state.apply(transaction, transaction.occurred_at, late);
}

fn close(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-3 * a.abs().max(b.abs()).max(1.0)
}

fn column(features: &FeatureVector, name: &str) -> f32 {
    features.0[FeatureVector::NAMES.iter().position(|known| *known == name).unwrap()]
}

fn any_transaction() -> impl Strategy<Value = Transaction> {
    (TIME_MIN_MS..=TIME_MAX_MS, prop_oneof![0..=AMOUNT_MINOR_MAX, Just(0), Just(AMOUNT_MINOR_MAX)], any::<u8>())
        .prop_map(|(at, minor, device)| transaction(at, minor, device))
}

proptest! {
    /// Late and shuffled events count in their own windows: velocity does not depend on the order of arrival.
    #[test]
    fn velocity_does_not_depend_on_the_order_of_arrival(
        events in prop::collection::vec((0i64..40 * 86_400_000, 1u64..100_000), 1..30),
        seed in any::<u64>(),
    ) {
        let forward: Vec<Transaction> = events.iter().map(|&(after, minor)| transaction(T + after, minor, 0)).collect();
        let mut shuffled = forward.clone();
        let mut mix = seed;
        for index in (1..shuffled.len()).rev() {
            mix = mix.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(index, (mix >> 33) as usize % (index + 1));
        }
        let fold = |transactions: &[Transaction]| {
            let mut state = UserState::new(transactions[0].occurred_at);
            for transaction in transactions {
                apply(&mut state, transaction, false);
            }
            state
        };
        let (a, b) = (fold(&forward), fold(&shuffled));
        prop_assert_eq!(a.transactions, b.transactions);
        prop_assert_eq!(a.amount_total_minor, b.amount_total_minor);
        prop_assert_eq!(a.newest_at, b.newest_at);
        for index in 0..4 {
            prop_assert!(close(a.counts[index], b.counts[index]), "{:?} {:?}", a.counts, b.counts);
            prop_assert!(close(a.sums[index], b.sums[index]), "{:?} {:?}", a.sums, b.sums);
        }
    }

    #[test]
    fn the_state_stays_small_and_finite_whatever_comes(events in prop::collection::vec(any_transaction(), 1..200)) {
        let mut state = UserState::new(events[0].occurred_at);
        for event in &events {
            let features = compute(event, Some(&state), DeviceInput::Unseen);
            prop_assert!(features.0.iter().all(|value| value.is_nan() || value.is_finite()), "{features:?}");
            let late = state.is_late(event.occurred_at, 86_400_000);
            apply(&mut state, event, late);
        }
        prop_assert!(state.recent.len() <= RECENT_AMOUNTS && state.devices.len() <= KNOWN_DEVICES_MAX);
        prop_assert_eq!(state.transactions, events.len() as u64);
        prop_assert_eq!(state.amount_total_minor, events.iter().map(|event| event.amount.minor()).sum::<u64>());
        prop_assert!(state.counts.iter().chain(&state.sums).all(|value| value.is_finite()));
        prop_assert!(state.mean.is_finite() && state.squares.is_finite());
    }

    #[test]
    fn the_same_history_gives_the_same_features_bit_for_bit(events in prop::collection::vec(any_transaction(), 1..50)) {
        let run = || {
            let mut state = UserState::new(events[0].occurred_at);
            let mut rows = Vec::new();
            for event in &events {
                rows.push(compute(event, Some(&state), DeviceInput::Unavailable));
                apply(&mut state, event, false);
            }
            rows
        };
        prop_assert_eq!(run(), run());
    }
}

#[test]
fn a_transaction_is_not_part_of_its_own_features() {
    let mut state = UserState::new(Millis(T));
    for step in 0..5 {
        apply(&mut state, &transaction(T + step * 1000, 1_000, 0), false);
    }
    let next = transaction(T + 5_000, 100_000, 9);
    let before = compute(&next, Some(&state), DeviceInput::Unseen);
    assert!((column(&before, "user_transactions") - 5.0).abs() < f32::EPSILON);
    assert!((column(&before, "user_new_device") - 1.0).abs() < f32::EPSILON);
    assert!((column(&before, "user_ratio_median") - 100.0).abs() < 1e-3);
    apply(&mut state, &next, false);
    let after = compute(&next, Some(&state), DeviceInput::Unseen);
    assert!((column(&after, "user_transactions") - 6.0).abs() < f32::EPSILON);
    assert!(column(&after, "user_new_device").abs() < f32::EPSILON);
}

#[test]
fn two_transactions_in_the_same_second_see_each_other_in_order() {
    let mut state = UserState::new(Millis(T));
    apply(&mut state, &transaction(T, 500, 0), false);
    let second = compute(&transaction(T, 500, 0), Some(&state), DeviceInput::Unseen);
    assert!((column(&second, "user_count_1h") - 1.0).abs() < f32::EPSILON);
    assert!(column(&second, "user_seconds_since_last").abs() < f32::EPSILON);
}

#[test]
fn late_is_measured_against_the_users_newest_event_and_never_against_a_clock() {
    let day = 86_400_000;
    let mut state = UserState::new(Millis(T));
    assert!(!state.is_late(Millis(T - 400 * day), day), "a user's first event is never late");
    apply(&mut state, &transaction(T, 500, 0), false);
    assert!(!state.is_late(Millis(T - day), day));
    assert!(state.is_late(Millis(T - day - 1), day));
}

#[test]
fn a_device_that_cannot_be_read_is_missing_and_not_new() {
    let unavailable = compute(&transaction(T, 500, 0), None, DeviceInput::Unavailable);
    let unseen = compute(&transaction(T, 500, 0), None, DeviceInput::Unseen);
    assert!(column(&unavailable, "device_users").is_nan());
    assert!(column(&unseen, "device_users").abs() < f32::EPSILON);
}

fn risk(labels: &[(i64, Verdict)]) -> Risk {
    let mut risk = Risk::default();
    for &(at, verdict) in labels {
        risk.add(Day::of(Millis(at)), verdict);
    }
    risk
}

fn same(value: f32, expected: f32) -> bool {
    value.to_bits() == expected.to_bits()
}

#[test]
fn labels_count_by_the_day_on_which_they_became_known() {
    let day = 86_400_000;
    // T is in the middle of a day.
    let risk = risk(&[
        (T - 40 * day, Verdict::ConfirmedFraud),
        (T - 20 * day, Verdict::Chargeback),
        (T - 6 * day, Verdict::ConfirmedGood),
        (T - 6 * day, Verdict::Refund),
        (T, Verdict::ConfirmedFraud),
        (T + day, Verdict::ConfirmedFraud),
    ]);
    let known = Known { user_risk: Input::Known(&risk), device_risk: Input::Known(&risk), ..Known::NOTHING };
    let row = known_as(&transaction(T, 500, 0), &known);
    for (name, expected) in [
        ("device_frauds_1d", 1.0),
        ("device_frauds_7d", 1.0),
        ("device_frauds_30d", 2.0),
        ("device_labels_1d", 1.0),
        ("device_labels_7d", 2.0),
        ("device_labels_30d", 3.0),
        ("device_risk_30d", 2.0 / 3.5),
        ("device_fraud_days", 0.0),
        ("user_frauds_7d", 1.0),
        ("user_frauds_30d", 2.0),
        ("user_labels_30d", 3.0),
        ("user_fraud_days", 0.0),
    ] {
        assert!(close(column(&row, name), expected), "{name} is {}", column(&row, name));
    }
    let earlier = known_as(&transaction(T - 2 * day, 500, 0), &known);
    assert!(same(column(&earlier, "device_frauds_7d"), 0.0), "what became known later does not count");
    assert!(same(column(&earlier, "user_fraud_days"), 18.0));
}

#[test]
fn what_cannot_be_read_is_missing_and_what_is_not_there_is_none() {
    let of = |known: &Known<'_>, name| column(&known_as(&transaction(T, 500, 0), known), name);
    assert!(same(of(&Known::NOTHING, "user_frauds_30d"), 0.0) && same(of(&Known::NOTHING, "device_risk_7d"), 0.0));
    assert!(same(of(&Known::NOTHING, "user_changes_1d"), 0.0));
    assert!(of(&Known::NOTHING, "user_registered_days").is_nan() && of(&Known::NOTHING, "device_logged_in").is_nan());
    let unread = Known {
        profile: Input::Unavailable,
        user_risk: Input::Unavailable,
        device_risk: Input::Unavailable,
        ..Known::NOTHING
    };
    for name in ["user_frauds_30d", "device_risk_7d", "user_changes_1d"] {
        assert!(of(&unread, name).is_nan(), "{name}");
    }
    let no_device = Known { device: Input::Unavailable, ..Known::NOTHING };
    assert!(of(&no_device, "device_risk_7d").is_nan(), "the device's labels are in the device's item");
}

#[test]
fn a_profile_tells_who_has_just_come_in_and_what_they_changed() {
    let (hour, day) = (3_600_000, 86_400_000);
    let minute = |at| Minute::of(Millis(at));
    let here = transaction(T, 500, 0).device_id.hash32();
    let profile = Profile::from_facts([
        Fact::Registered { at: minute(T - 100 * day) },
        Fact::LoggedIn { at: minute(T - 30 * day), device: 77 },
        Fact::LoggedIn { at: minute(T - hour), device: here },
        Fact::LoginFailed { at: minute(T - 2 * hour) },
        Fact::Changed { what: Change::Password, at: minute(T - hour / 2) },
        Fact::Changed { what: Change::Email, at: minute(T - 23 * hour) },
        Fact::Changed { what: Change::Phone, at: minute(T - 25 * hour) },
        Fact::Changed { what: Change::Profile, at: minute(T - hour / 2) },
        Fact::Changed { what: Change::Address, at: minute(T + hour) },
        Fact::Changed { what: Change::DeviceAdded, at: minute(T - 3 * hour) },
    ]);
    let known = Known { profile: Input::Known(&profile), ..Known::NOTHING };
    let row = known_as(&transaction(T, 500, 0), &known);
    for (name, expected) in [
        ("user_registered_days", 100.0),
        ("user_login_hours", 1.0),
        ("user_failed_login_hours", 2.0),
        ("device_logged_in", 1.0),
        ("device_login_hours", 1.0),
        ("user_changes_1d", 2.0),
        ("user_change_hours", 0.5),
        ("user_device_change_hours", 3.0),
    ] {
        let value = column(&row, name);
        assert!((value - expected).abs() <= 0.02, "{name} is {value}, to the minute {expected}");
    }
    let elsewhere = known_as(&transaction(T, 500, 1), &known);
    assert!(same(column(&elsewhere, "device_logged_in"), 0.0) && column(&elsewhere, "device_login_hours").is_nan());
}

#[test]
fn every_feature_has_its_own_name() {
    let names: std::collections::BTreeSet<_> = FeatureVector::NAMES.into_iter().collect();
    assert_eq!(names.len(), FEATURES);
}

#[test]
fn a_file_from_the_past_is_decided_as_of_its_own_time_and_an_event_from_the_future_as_of_the_brokers() {
    let ingested_at = Millis(T);
    let of = |at: i64| transaction(at, 500, 0).event_time(ingested_at);
    assert_eq!(of(T - 8 * 365 * 86_400_000), EventTime { at: Millis(T - 8 * 365 * 86_400_000), ahead: false });
    assert_eq!(of(T + AHEAD_TOLERANCE_MS), EventTime { at: Millis(T + AHEAD_TOLERANCE_MS), ahead: false });
    assert_eq!(of(T + AHEAD_TOLERANCE_MS + 1), EventTime { at: ingested_at, ahead: true });
}

#[test]
fn one_event_dated_long_ago_does_not_make_an_account_look_old() {
    let mut state = UserState::new(Millis(TIME_MIN_MS));
    apply(&mut state, &transaction(TIME_MIN_MS, 500, 0), false);
    let age = |state: &UserState, at: i64| {
        column(&compute(&transaction(at, 500, 0), Some(state), DeviceInput::Unseen), "user_age_days")
    };
    assert!(age(&state, T).abs() < f32::EPSILON, "the transaction after the gap");
    apply(&mut state, &transaction(T, 500, 0), false);
    assert!((age(&state, T + 86_400_000) - 1.0).abs() < f32::EPSILON, "and those that follow");
    assert!((age(&state, T + AGE_GAP_MAX_MS) - 90.0).abs() < f32::EPSILON, "a pause is not a gap");
}

/// A feature that nobody computes would be missing for everyone, and the model would be served something else than it learnt.
#[test]
fn a_user_and_a_device_with_a_past_miss_no_feature() {
    let mut state = UserState::new(Millis(T));
    for step in 0..4 {
        apply(&mut state, &transaction(T + step * 1000, 1_000, 0), false);
    }
    apply(&mut state, &transaction(T + 5_000, 90_000, 0), false);
    let mut device = DeviceState::first_seen(Millis(T));
    device.observe(1, Millis(T));
    let at = Minute::of(Millis(T));
    let next = transaction(T + 6_000, 1_000, 0);
    let profile = Profile::from_facts([
        Fact::Registered { at },
        Fact::LoggedIn { at, device: next.device_id.hash32() },
        Fact::LoginFailed { at },
        Fact::Changed { what: Change::Password, at },
        Fact::Changed { what: Change::DeviceAdded, at },
    ]);
    let risk = risk(&[(T, Verdict::Chargeback)]);
    let known = Known {
        user: Some(&state),
        profile: Input::Known(&profile),
        user_risk: Input::Known(&risk),
        device: Input::Known(&device),
        device_risk: Input::Known(&risk),
    };
    let row = known_as(&next, &known);
    for (name, value) in FeatureVector::NAMES.iter().zip(row.0) {
        assert!(value.is_finite(), "{name} is {value}");
    }
}
