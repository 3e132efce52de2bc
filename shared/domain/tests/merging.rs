//! Profiles and risk do not depend on the order, the repetition or the grouping of what was delivered.

#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

use std::collections::BTreeMap;

use centinela_domain::identity::EventId;
use centinela_domain::profile::{
    Change, FAILED_LOGIN_PERIOD_MINUTES, Fact, LOGIN_DEVICES_MAX, LOGIN_PERIOD_MINUTES, Minute,
};
use centinela_domain::risk::{Counts, Day, Label, RISK_DAYS, Verdict};
use centinela_domain::transaction::{TIME_MAX_MS, TIME_MIN_MS};
use centinela_domain::{Millis, Profile, Risk};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const NOW: Minute = Minute(14_000_000);

fn minute() -> impl Strategy<Value = Minute> {
    prop_oneof![
        (NOW.0..NOW.0 + 3 * LOGIN_PERIOD_MINUTES).prop_map(Minute),
        (TIME_MIN_MS..=TIME_MAX_MS).prop_map(|at| Minute::of(Millis(at))),
    ]
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        minute().prop_map(|at| Fact::Registered { at }),
        (minute(), 0u32..9).prop_map(|(at, n)| Fact::LoggedIn { at, device: n.wrapping_mul(2_654_435_761) }),
        minute().prop_map(|at| Fact::LoginFailed { at }),
        (minute(), prop::sample::select(Change::ALL.to_vec())).prop_map(|(at, what)| Fact::Changed { what, at }),
    ]
}

fn fold(facts: &[Fact]) -> Profile {
    Profile::from_facts(facts.iter().copied())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Shuffled, repeated, and some only delivered when everything else was: the same profile.
    #[test]
    fn a_profile_is_what_its_facts_say_however_they_were_delivered(
        facts in vec(fact(), 1..60), deliveries in vec(any::<Index>(), 0..200), last in any::<u64>()
    ) {
        let expected = fold(&facts);
        let mut order: Vec<usize> = deliveries.iter().map(|index| index.index(facts.len())).collect();
        let mut missing: Vec<usize> = (0..facts.len()).filter(|index| !order.contains(index)).collect();
        let rotated = last as usize % missing.len().max(1);
        missing.rotate_left(rotated);
        order.extend(missing);
        let delivered: Vec<Fact> = order.into_iter().map(|index| facts[index]).collect();
        prop_assert_eq!(fold(&delivered), expected);
    }

    #[test]
    fn merging_profiles_is_applying_their_facts(
        a in vec(fact(), 0..30), b in vec(fact(), 0..30), c in vec(fact(), 0..30)
    ) {
        let all = fold(&[a.clone(), b.clone(), c.clone()].concat());
        let (a, b, c) = (fold(&a), fold(&b), fold(&c));
        let mut left = a.clone();
        left.merge(&b);
        left.merge(&c);
        let mut right = c;
        right.merge(&b);
        right.merge(&a);
        prop_assert_eq!(&left, &all);
        prop_assert_eq!(&right, &all);
        prop_assert!(!left.merge(&all), "what is known already changes nothing");
        prop_assert_eq!(Profile::from_facts(all.facts()), all);
    }

    #[test]
    fn a_write_is_asked_for_exactly_when_the_profile_differs(facts in vec(fact(), 1..60)) {
        let mut profile = Profile::default();
        for fact in facts {
            let before = profile.clone();
            let changed = profile.apply(fact);
            prop_assert_eq!(changed, profile != before);
            prop_assert!(!profile.apply(fact), "a repetition changes nothing");
        }
    }

    /// Labels of a few transactions in any order and repetition: the risk is that of the labels that stand.
    #[test]
    fn risk_is_that_of_the_labels_that_stand_however_they_were_delivered(
        labels in vec((0u8..6, label()), 1..40), deliveries in vec(any::<Index>(), 0..80)
    ) {
        let all = deliveries.iter().map(|index| index.index(labels.len())).chain(0..labels.len());
        let (mut standing, mut risk) = (BTreeMap::<u8, Label>::new(), Risk::default());
        for (transaction, label) in all.map(|index| &labels[index]) {
            let known = standing.get(transaction);
            if known.is_some_and(|known| known >= label) {
                continue;
            }
            if let Some(known) = known {
                prop_assert_eq!(risk.remove(known.day(), known.verdict), known.verdict.is_fraud().is_some());
            }
            risk.add(label.day(), label.verdict);
            standing.insert(*transaction, label.clone());
        }
        let mut expected = Risk::default();
        for label in standing.values().rev() {
            expected.add(label.day(), label.verdict);
        }
        expected.roll_to(risk.newest());
        prop_assert_eq!(&risk, &expected);
        for transaction in 0..6 {
            let greatest = labels.iter().filter(|(of, _)| *of == transaction).map(|(_, label)| label).max();
            prop_assert_eq!(standing.get(&transaction), greatest);
        }
        prop_assert!(risk.days().len() <= RISK_DAYS as usize);
        let parts = Risk::from_parts(risk.newest(), risk.older(), risk.days());
        prop_assert_eq!(parts, risk);
    }
}

fn label() -> impl Strategy<Value = Label> {
    let at = prop_oneof![9_000i64..9_003, 8_000i64..9_200].prop_map(|day| Millis(TIME_MIN_MS + day * 86_400_000));
    (at, prop::sample::select(Verdict::ALL.to_vec()), "[a-c]").prop_map(|(at, verdict, id)| Label {
        at,
        verdict,
        event_id: EventId::new("event_id", id).unwrap(),
    })
}

#[test]
fn a_log_in_from_a_known_device_changes_the_profile_once_a_week_and_one_from_a_new_device_at_once() {
    let device = 7;
    let begins = Minute(1_500 * LOGIN_PERIOD_MINUTES - device);
    let mut profile = Profile::default();
    let mut log_in = |after: u32, device| profile.apply(Fact::LoggedIn { at: Minute(begins.0 + after), device });
    assert!(log_in(5, device));
    assert!((6..LOGIN_PERIOD_MINUTES).step_by(60).all(|after| !log_in(after, device)), "the rest of the week");
    assert!(log_in(100, 9), "another device");
    assert!(log_in(LOGIN_PERIOD_MINUTES, device), "the next week");
    assert!(!log_in(6, device), "a late one of the week before");
    assert_eq!(profile.logged_in_from_at(9), Some(Minute(begins.0 + 100).millis()));
    assert_eq!(profile.logged_in_from_at(device), Some(Minute(begins.0 + LOGIN_PERIOD_MINUTES).millis()));
    assert_eq!(profile.logged_in_at(), profile.logged_in_from_at(device));
    assert_eq!(profile.logged_in_from_at(8), None);
}

#[test]
fn ever_new_devices_do_not_push_the_owners_device_out_and_cost_no_write_for_each() {
    let mut profile = Profile::default();
    profile.apply(Fact::LoggedIn { at: NOW, device: 0 });
    let mut writes = 0;
    for number in 1..1_000u32 {
        // All of them begin their weeks when the owner's device does.
        let device = number * LOGIN_PERIOD_MINUTES;
        writes += usize::from(profile.apply(Fact::LoggedIn { at: Minute(NOW.0 + number), device }));
    }
    assert_eq!((profile.logins().len(), writes), (LOGIN_DEVICES_MAX, LOGIN_DEVICES_MAX - 1));
    assert_eq!(profile.logged_in_from_at(0), Some(NOW.millis()));
}

#[test]
fn guesses_at_a_password_change_the_profile_once_an_hour() {
    let mut profile = Profile::default();
    let hour = Minute(NOW.0 / FAILED_LOGIN_PERIOD_MINUTES * FAILED_LOGIN_PERIOD_MINUTES);
    let changes = (0..180).filter(|after| profile.apply(Fact::LoginFailed { at: Minute(hour.0 + after) })).count();
    assert_eq!(changes, 3);
    assert_eq!(profile.failed_login_at(), Some(Minute(hour.0 + 120).millis()));
}

#[test]
fn a_registration_is_the_earliest_and_a_change_the_latest() {
    let at = |minute: u32, what| Fact::Changed { what, at: Minute(minute) };
    let profile = Profile::from_facts([
        Fact::Registered { at: Minute(9) },
        Fact::Registered { at: Minute(3) },
        at(5, Change::Email),
        at(4, Change::Email),
        at(6, Change::DeviceRemoved),
    ]);
    assert_eq!(profile.registered_at(), Some(Millis(TIME_MIN_MS + 3 * 60_000)));
    assert_eq!(profile.changed_at(Change::Email), Some(Minute(5).millis()));
    assert_eq!(profile.changed_at(Change::DeviceRemoved), Some(Minute(6).millis()));
    assert_eq!(profile.changed_at(Change::Password), None);
}

#[test]
fn of_labels_of_one_time_the_strongest_stands_and_a_later_one_beats_them_all() {
    let label = |at, verdict, id: &str| Label { at: Millis(at), verdict, event_id: EventId::new("id", id).unwrap() };
    let ordered = [
        label(1, Verdict::ConfirmedFraud, "z"),
        label(2, Verdict::Refund, "z"),
        label(2, Verdict::Chargeback, "b"),
        label(2, Verdict::ConfirmedGood, "a"),
        label(2, Verdict::ConfirmedFraud, "a"),
        label(2, Verdict::ConfirmedFraud, "b"),
        label(3, Verdict::Refund, "a"),
    ];
    assert!(ordered.is_sorted());
}

#[test]
fn a_refund_counts_as_nothing_and_old_days_are_summed() {
    let mut risk = Risk::default();
    assert!(!risk.add(Day(100), Verdict::Refund) && risk == Risk::default());
    risk.add(Day(100), Verdict::Chargeback);
    risk.add(Day(131), Verdict::ConfirmedGood);
    assert_eq!((risk.days().len(), risk.older()), (2, Counts::default()));
    risk.add(Day(132), Verdict::ConfirmedFraud);
    assert_eq!((risk.days().len(), risk.older()), (2, Counts { fraud: 1, good: 0 }));
    assert!(risk.remove(Day(100), Verdict::Chargeback), "an old one can still be taken back");
    assert_eq!(risk.total(), Counts { fraud: 1, good: 1 });
    assert!(!risk.remove(Day(100), Verdict::Chargeback), "and not twice");
    assert_eq!(risk.days().map(|(day, _)| day).collect::<Vec<_>>(), [Day(131), Day(132)]);
}

#[test]
fn a_label_from_the_future_counts_on_the_brokers_day() {
    let broker = Millis(1_790_000_000_000);
    let future = Label::new(Verdict::Chargeback, Millis(TIME_MAX_MS), broker, EventId::new("id", "e").unwrap());
    assert_eq!((future.at, future.day()), (broker, Day::of(broker)));
    assert!(Day::of(broker).millis() <= broker);
}

/// What a month costs, if no two actions of a user ever share a batch: six log-ins a day, one in ten from a second device, one in a
/// hundred failed, and one change in two hundred.
#[test]
fn a_month_of_a_busy_user_costs_a_write_for_every_fifteenth_action() {
    let (mut writes, mut actions, mut dice) = (0u32, 0u32, 7u64);
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    for user in 0..200u32 {
        let device = |number: u32| (user * 2 + number).wrapping_mul(2_654_435_761);
        // What was before the month.
        let mut profile = Profile::from_facts([0, 1].map(|number| Fact::LoggedIn { at: NOW, device: device(number) }));
        for minute in (NOW.0..NOW.0 + 30 * 1_440).step_by(240) {
            let at = Minute(minute + roll(240) as u32);
            let fact = match roll(200) {
                0 => Fact::Changed { what: Change::ALL[roll(7) as usize], at },
                1..=2 => Fact::LoginFailed { at },
                other => Fact::LoggedIn { at, device: device(u32::from(other < 23)) },
            };
            actions += 1;
            writes += u32::from(profile.apply(fact));
        }
    }
    let per_action = f64::from(writes) / f64::from(actions);
    assert!((0.03..0.07).contains(&per_action), "{per_action}");
}
