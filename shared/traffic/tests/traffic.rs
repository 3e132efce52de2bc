//! The simulated world as its callers see it.

use std::collections::{HashMap, HashSet};

use centinela_contracts::transaction_v1;
use centinela_domain::Millis;
use centinela_domain::transaction::TIME_MAX_MS;
use centinela_traffic::{
    ActionKind, Event, FeatureFold, Generator, Kind, LabelKind, LabelledTransaction, Labels, Shape, TrafficConfig,
};
use sha2::{Digest, Sha256};

fn transactions(config: TrafficConfig, count: usize) -> Vec<LabelledTransaction> {
    let mut generator = Generator::new(config);
    std::iter::from_fn(|| generator.next_transaction()).take(count).collect()
}

fn digest(config: TrafficConfig, count: usize) -> String {
    let mut hasher = Sha256::new();
    for transaction in transactions(config, count) {
        hasher.update(transaction.fields.to_json());
        hasher.update(transaction.kind.as_str());
        hasher.update(b"\n");
    }
    hasher.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_seed_means_the_same_bytes_on_every_machine() {
    // When this changes, the committed model no longer comes from this world: train it again.
    assert_eq!(digest(TrafficConfig::history(1), 50_000), "742d6355cf43f48e");
    assert_eq!(digest(TrafficConfig::live(1), 50_000), "7d0a19e169b3cd69");
}

#[test]
fn another_seed_is_another_world() {
    let ids = |seed| {
        transactions(TrafficConfig::live(seed), 100).into_iter().map(|t| t.fields.device_id).collect::<HashSet<_>>()
    };
    assert!(ids(1).is_disjoint(&ids(2)));
}

#[test]
fn every_payload_is_the_transaction_that_it_was_made_from() {
    for transaction in transactions(TrafficConfig::live(3), 20_000) {
        let parsed = transaction_v1::parse(&transaction.fields.to_json()).expect("a generated payload is valid");
        assert_eq!(parsed, transaction.fields.to_transaction().expect("generated fields are valid"));
    }
}

#[test]
fn frauds_have_their_share_and_their_mix() {
    let all = transactions(TrafficConfig::history(11), 400_000);
    let mut counts: HashMap<Kind, usize> = HashMap::new();
    for transaction in &all {
        *counts.entry(transaction.kind).or_default() += 1;
    }
    let frauds: usize = Kind::FRAUDS.iter().map(|kind| counts[kind]).sum();
    let share = frauds as f64 / all.len() as f64;
    assert!((0.007..0.011).contains(&share), "share of fraud {share}");
    for (kind, low, high) in [
        (Kind::CardTesting, 0.17, 0.31),
        (Kind::AccountTakeover, 0.19, 0.33),
        (Kind::DeviceRing, 0.13, 0.28),
        (Kind::Drop, 0.03, 0.10),
        (Kind::LeakedCard, 0.17, 0.31),
    ] {
        let share = counts[&kind] as f64 / frauds as f64;
        assert!((low..high).contains(&share), "{} is {share} of the frauds", kind.as_str());
    }
}

#[test]
fn history_arrives_in_order_and_only_the_late_come_after_their_time() {
    let config = TrafficConfig { actions: 0.0, ..TrafficConfig::history(5) };
    let mut newest = Millis(i64::MIN);
    let (mut late, mut days_late) = (0, 0);
    for event in Generator::new(config).take(200_000) {
        assert!(event.arrived_at() >= newest, "arrival went backwards");
        newest = event.arrived_at();
        if let Event::Transaction(transaction) = event {
            let delay_ms = transaction.arrived_at.since(transaction.fields.timestamp);
            assert!(delay_ms >= 0, "arrived before it happened");
            late += u32::from(delay_ms > 0);
            days_late += u32::from(delay_ms > 24 * 3_600_000);
        }
    }
    assert!((2_000..8_000).contains(&late), "{late} late");
    assert!((20..250).contains(&days_late), "{days_late} later than a day");
}

#[test]
fn a_duplicate_is_the_same_bytes_and_its_original_came_before() {
    let mut seen: HashMap<_, Vec<u8>> = HashMap::new();
    let mut duplicates = 0;
    for transaction in transactions(TrafficConfig { duplicate_share: 0.05, ..TrafficConfig::live(9) }, 20_000) {
        let payload = transaction.fields.to_json();
        if transaction.duplicate {
            duplicates += 1;
            assert_eq!(seen.get(&transaction.fields.transaction_id), Some(&payload));
        } else {
            assert!(seen.insert(transaction.fields.transaction_id.clone(), payload).is_none(), "an id was used twice");
        }
    }
    assert!((800..1_200).contains(&duplicates), "{duplicates} duplicates");
}

#[test]
fn changing_the_delivery_leaves_the_world_as_it_was() {
    let sorted = |config| {
        let mut payloads: Vec<_> = transactions(config, 5_000).into_iter().map(|t| t.fields.to_json()).collect();
        payloads.sort();
        payloads
    };
    let prompt = TrafficConfig {
        late_minutes_share: 0.0,
        late_hours_share: 0.0,
        late_days_share: 0.0,
        ..TrafficConfig::history(4)
    };
    let unlabelled = TrafficConfig { labels: Labels::NONE, actions: 0.0, ..prompt.clone() };
    assert_eq!(sorted(prompt), sorted(unlabelled));
}

#[test]
fn labels_follow_their_transaction_by_hours_at_least() {
    let mut happened = HashMap::new();
    let mut labels = 0;
    for event in Generator::new(TrafficConfig::history(6)).take(450_000) {
        match event {
            Event::Transaction(t) => {
                happened.insert(t.fields.transaction_id.clone(), (t.fields.timestamp, t.is_fraud()));
            }
            Event::Label(label) => {
                // Its transaction may itself be on the way for days.
                let Some((at, fraud)) = happened.get(&label.transaction_id) else { continue };
                assert!(label.arrived_at.since(*at) >= 12 * 3_600_000 - 1);
                // Only a chargeback may be wrong, and a refund says nothing.
                assert!(
                    label.kind == LabelKind::Chargeback || label.kind.says_fraud().is_none_or(|said| said == *fraud)
                );
                labels += 1;
            }
            Event::Action(_) => {}
        }
    }
    assert!(labels > 5_000, "{labels} labels");
}

#[test]
fn one_users_live_transactions_are_kept_apart_and_in_their_order() {
    let config = TrafficConfig {
        late_minutes_share: 0.0,
        late_hours_share: 0.0,
        late_days_share: 0.0,
        duplicate_share: 0.0,
        ..TrafficConfig::live(1)
    };
    let spacing = config.spacing;
    let mut last: HashMap<_, (usize, Millis)> = HashMap::new();
    let mut newest = Millis(i64::MIN);
    for (place, transaction) in transactions(config, 200_000).into_iter().enumerate() {
        let at = transaction.fields.timestamp;
        if let Some((before, then)) = last.insert(transaction.fields.user_id.clone(), (place, at)) {
            assert!(place - before > spacing, "only {} places apart", place - before);
            assert!(at >= then, "a user's own time went backwards");
        }
        newest = newest.max(at);
        assert!(newest.since(at) < 7 * 24 * 3_600_000, "somebody's transactions are held back for days");
    }
}

#[test]
fn a_world_of_few_users_goes_on_in_order() {
    for users in [1, 20, 300] {
        let mut newest = Millis(i64::MIN);
        let all = transactions(TrafficConfig { users, ..TrafficConfig::live(1) }, 5_000);
        assert_eq!(all.len(), 5_000, "{users} users");
        for transaction in all {
            newest = newest.max(transaction.arrived_at);
            let held_ms = newest.since(transaction.arrived_at);
            assert!(held_ms < 60 * 24 * 3_600_000, "{users} users: one was held back for {held_ms} ms");
        }
    }
}

#[test]
fn the_end_of_the_world_throws_nothing_away() {
    let start = Millis(TIME_MAX_MS - 10 * 24 * 3_600_000);
    let ids = |spacing: usize, late_days_share: f64| -> HashSet<_> {
        let config = TrafficConfig { start, spacing, late_days_share, users: 400, ..TrafficConfig::live(1) };
        transactions(config, usize::MAX).into_iter().map(|transaction| transaction.fields.transaction_id).collect()
    };
    let (apart, late) = (ids(200, 0.0), ids(0, 0.5));
    assert!(apart.len() > 5_000, "{}", apart.len());
    // The ids are numbered.
    let last = apart.iter().max().unwrap();
    assert!(last.ends_with(&format!("-{:09}", apart.len())), "{last} is the last of {}", apart.len());
    assert_eq!(apart, late);
}

#[test]
fn new_pairs_of_user_and_device_stay_rare() {
    let mut fold = FeatureFold::default();
    let all = transactions(TrafficConfig::live(1), 200_000);
    for transaction in all.iter().filter(|transaction| !transaction.duplicate) {
        fold.transaction(&transaction.fields.to_transaction().expect("generated fields are valid"));
    }
    let share = fold.device_writes() as f64 / all.len() as f64;
    assert!(share < 0.03, "{share} writes of device items per transaction");
}

#[test]
fn actions_and_labels_change_no_transaction_and_not_their_order() {
    for config in [TrafficConfig::live(2), TrafficConfig { users: 300, ..TrafficConfig::live(3) }.shaped(Shape::ZIPF)] {
        let alone = TrafficConfig { actions: 0.0, labels: Labels::NONE, ..config.clone() };
        assert_eq!(transactions(config, 30_000), transactions(alone, 30_000));
    }
}

/// The first events of a world.
fn events(config: TrafficConfig, count: usize) -> Vec<Event> {
    Generator::new(config).take(count).collect()
}

#[test]
fn so_many_actions_come_as_are_asked_for_and_most_are_log_ins_on_a_known_device() {
    for wanted in [0.5, 2.0, 4.0] {
        let all = events(TrafficConfig { actions: wanted, ..TrafficConfig::live(1) }, 300_000);
        let bought = all.iter().filter(|event| matches!(event, Event::Transaction(_))).count() as f64;
        let actions: Vec<_> = all
            .iter()
            .filter_map(|event| if let Event::Action(action) = event { Some(action) } else { None })
            .collect();
        // The registrations of those who were there before come at the beginning.
        let registered = actions.iter().filter(|action| action.fields.kind == ActionKind::Registered).count() as f64;
        let share = (actions.len() as f64 - registered) / bought;
        assert!((wanted * 0.9..wanted * 1.12).contains(&share), "{share} actions per transaction, not {wanted}");
        let log_ins: Vec<_> = actions.iter().filter(|action| action.fields.kind == ActionKind::LoggedIn).collect();
        assert!(log_ins.len() as f64 > 0.9 * (actions.len() as f64 - registered));
        let mut known: HashSet<(&str, &str)> = HashSet::new();
        let new = log_ins.iter().filter(|action| {
            known.insert((&action.fields.user_id, action.fields.device_id.as_deref().expect("a log-in has a device")))
        });
        let new = new.count();
        assert!(new < log_ins.len() / 5, "{new} of {} log-ins were the first on their device", log_ins.len());
    }
}

#[test]
fn customers_log_in_before_they_buy_and_takeovers_come_from_elsewhere() {
    let mut seen: HashMap<_, HashSet<_>> = HashMap::new();
    let (mut bought, mut announced, mut taken, mut entered) = (0, 0, 0, 0);
    for event in events(TrafficConfig::history(2), 200_000) {
        match event {
            Event::Action(action) if action.fields.succeeded == Some(true) => {
                assert!(action.arrived_at >= action.fields.timestamp);
                let device = action.fields.device_id.expect("a log-in has a device");
                seen.entry(action.fields.user_id).or_default().insert(device);
            }
            Event::Transaction(sent) => {
                let known = seen.get(&sent.fields.user_id).is_some_and(|known| known.contains(&sent.fields.device_id));
                match sent.kind {
                    Kind::Genuine => (bought, announced) = (bought + 1, announced + u32::from(known)),
                    Kind::AccountTakeover => (taken, entered) = (taken + 1, entered + u32::from(known)),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    assert!(
        announced * 10 > bought * 9,
        "{announced} of {bought} purchases had a log-in from their device before them"
    );
    assert!(taken > 50 && entered * 10 > taken * 8, "{entered} of {taken}");
}

#[test]
fn a_correction_follows_what_it_corrects_and_agrees_with_the_truth() {
    let mut truth = HashMap::new();
    let mut said: HashMap<_, (LabelKind, Millis)> = HashMap::new();
    let mut corrections = 0;
    for event in events(TrafficConfig::history(6), 600_000) {
        match event {
            Event::Transaction(t) => drop(truth.insert(t.fields.transaction_id.clone(), t.is_fraud())),
            Event::Label(label) => {
                if let Some((first, at)) = said.get(&label.transaction_id) {
                    assert!(*first == LabelKind::Chargeback && *at < label.arrived_at);
                    let fraud = truth.get(&label.transaction_id).copied();
                    assert!(fraud.is_none_or(|fraud| label.kind.says_fraud() == Some(fraud)));
                    corrections += 1;
                }
                said.insert(label.transaction_id, (label.kind, label.arrived_at));
            }
            Event::Action(_) => {}
        }
    }
    assert!(corrections > 50, "{corrections} corrections");
}

#[test]
fn live_labels_are_about_one_in_a_hundred() {
    let all = events(TrafficConfig::live(4), 900_000);
    let count = |is: fn(&Event) -> bool| all.iter().filter(|event| is(event)).count() as f64;
    let share = count(|event| matches!(event, Event::Label(_))) / count(|event| matches!(event, Event::Transaction(_)));
    // Those of the last days are still on their way.
    assert!((0.007..0.014).contains(&share), "{share}");
}
