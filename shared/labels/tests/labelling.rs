//! Each rule of the labels, alone and under random faults: what a user would miss if it were broken.

#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

mod store;

use std::collections::BTreeMap;

use centinela_contracts::dead_letter_v1::DeadLetterReason;
use centinela_contracts::event_v1;
use centinela_contracts::kafka_event::Record;
use centinela_delivery::{Delivery, Outcome, Settings};
use centinela_domain::risk::{Counts, Day, Label, Verdict};
use centinela_domain::{DecisionId, DeviceId, Millis, Risk, TransactionId, UserId};
use centinela_labels::{ApplyLabels, LabelReport, Limits};
use centinela_testkit::bench::FOREVER;
use centinela_testkit::builders::{self, EPOCH_MS, batch, record};
use centinela_testkit::fakes::Fakes;
use centinela_testkit::schedule::{run, run_and_crash, step};
use store::{Store, Tables};

const DAY_MS: i64 = 86_400_000;

struct World {
    store: Store,
    fakes: Fakes,
    labels: ApplyLabels<Store, Fakes>,
    delivery: Delivery<Fakes, Fakes>,
}

impl World {
    fn new() -> Self {
        Self::on(Store::default())
    }

    fn on(store: Store) -> Self {
        let fakes = Fakes::new(1, Millis(EPOCH_MS));
        let labels = ApplyLabels::new(store.clone(), fakes.clone(), Limits::default());
        let delivery = Delivery::new(fakes.clone(), fakes.clone(), Settings::new(builders::key()));
        Self { store, fakes, labels, delivery }
    }

    fn deliver(&self, records: impl IntoIterator<Item = Record>) -> Outcome<LabelReport> {
        run(self.delivery.deliver(&self.labels, batch(records), FOREVER)).unwrap()
    }

    fn user(&self, name: &str) -> Counts {
        self.tables(|tables| {
            tables.user(&UserId::new(name).unwrap()).map_or(Counts::default(), |risk| risk.item.total())
        })
    }

    fn device(&self, name: &str) -> Counts {
        let device = DeviceId::new(name).unwrap();
        self.tables(|tables| tables.device(&device).map_or(Counts::default(), |risk| risk.item.total()))
    }

    fn tables<R>(&self, look: impl FnOnce(&mut Tables) -> R) -> R {
        look(&mut self.store.0.lock().unwrap())
    }
}

/// A label known on this day after the first, in a record of that time.
fn label(offset: u64, event: &str, user: &str, transaction: &str, device: &str, day: i64) -> Record {
    let at = EPOCH_MS + day * DAY_MS;
    let named = |name: &str, value: &str| match value {
        "" => String::new(),
        value => format!(r#","{name}":"{value}""#),
    };
    let (user, device) = (named("user_id", user), named("device_id", device));
    let value = format!(
        r#"{{"event_id":"e-{offset}","timestamp":{at},"transaction_id":"{transaction}","event":"{event}"{user}{device}}}"#
    );
    let mut record = record(0, offset, value.into_bytes());
    record.coordinates.timestamp = Millis(at + 1_000);
    record
}

fn counts(fraud: u32, good: u32) -> Counts {
    Counts { fraud, good }
}

#[test]
fn a_label_counts_for_its_user_and_its_device_and_once_however_often_it_comes() {
    let world = World::new();
    let records = [
        label(0, "chargeback", "ana", "t1", "phone", 0),
        label(1, "confirmed_good", "ana", "t2", "phone", 0),
        label(2, "confirmed_fraud", "ben", "t1", "phone", 1),
    ];
    let outcome = world.deliver(records.clone());
    assert_eq!(outcome.report.applied, 3, "ana's t1 is not ben's");
    assert_eq!(
        (world.user("ana"), world.user("ben"), world.device("phone")),
        (counts(1, 1), counts(1, 0), counts(2, 1))
    );
    let transactions = world.tables(|tables| tables.transactions);
    for _ in 0..3 {
        let again = world.deliver(records.clone());
        assert_eq!((again.report.applied, again.report.unchanged), (0, 3));
    }
    assert_eq!(world.tables(|tables| tables.transactions), transactions, "a redelivery costs no write");
    assert_eq!(world.device("phone"), counts(2, 1));
}

#[test]
fn a_later_label_applies_the_difference_and_an_older_one_changes_nothing() {
    let world = World::new();
    world.deliver([label(5, "chargeback", "ana", "t1", "phone", 5)]);
    let outcome = world.deliver([label(6, "confirmed_good", "ana", "t1", "phone", 7)]);
    assert_eq!((outcome.report.applied, outcome.report.corrected), (1, 1));
    assert_eq!((world.user("ana"), world.device("phone")), (counts(0, 1), counts(0, 1)));
    let outcome = world.deliver([label(4, "confirmed_fraud", "ana", "t1", "phone", 6)]);
    assert_eq!((outcome.report.applied, outcome.report.unchanged), (0, 1), "known earlier, delivered later");
    assert_eq!(world.user("ana"), counts(0, 1));
    world.deliver([label(7, "refund", "ana", "t1", "phone", 8)]);
    assert_eq!((world.user("ana"), world.device("phone")), (counts(0, 0), counts(0, 0)), "a refund counts as nothing");
}

#[test]
fn of_contradictory_labels_of_one_time_the_strongest_stands_whatever_their_order() {
    let at_once = |offset, event| label(offset, event, "ana", "t1", "phone", 3);
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let world = World::new();
        for place in order {
            world.deliver([at_once(
                place,
                ["refund", "chargeback", "confirmed_good", "confirmed_fraud"][place as usize],
            )]);
        }
        assert_eq!(world.user("ana"), counts(1, 0), "{order:?}");
        let decision = DecisionId::derive(&UserId::new("ana").unwrap(), &TransactionId::new("t1").unwrap());
        let standing = world.tables(|tables| tables.labels[&decision].standing.label.verdict);
        assert_eq!(standing, Verdict::ConfirmedFraud);
    }
    let world = World::new();
    let all = ["refund", "chargeback", "confirmed_good", "confirmed_fraud"];
    let outcome = world.deliver(all.iter().zip(0..).map(|(event, offset)| at_once(offset, event)));
    assert_eq!((outcome.report.applied, outcome.report.unchanged), (1, 3), "in one batch one is written");
    assert_eq!((world.user("ana"), world.tables(|tables| tables.transactions)), (counts(1, 0), 1));
}

#[test]
fn a_label_without_a_device_takes_it_from_an_earlier_one_or_is_dead_lettered_with_that_reason() {
    let world = World::new();
    world.deliver([label(0, "chargeback", "ana", "t1", "phone", 0)]);
    world.tables(|tables| tables.stale_reads = 1);
    let outcome = world.deliver([label(1, "confirmed_good", "ana", "t1", "", 1)]);
    assert_eq!((outcome.report.corrected, world.device("phone"), world.user("ana")), (1, counts(0, 1), counts(0, 1)));
    let outcome =
        world.deliver([label(2, "chargeback", "ana", "t2", "", 1), label(3, "chargeback", "", "t3", "phone", 1)]);
    assert_eq!((outcome.dead_lettered, outcome.report.applied, outcome.response.failures.len()), (2, 0, 0));
    let reasons: Vec<_> = world.fakes.shared().dead_letters.iter().map(|letter| letter.reason_code).collect();
    assert!(reasons.contains(&DeadLetterReason::LabelWithoutUser));
    assert!(reasons.contains(&DeadLetterReason::LabelWithoutDevice));
    assert_eq!(world.user("ana"), counts(0, 1), "not half applied");
}

#[test]
fn a_corrected_device_gives_the_label_back_and_the_right_one_takes_it() {
    let world = World::new();
    world.deliver([label(0, "chargeback", "ana", "t1", "phone", 0)]);
    world.deliver([label(1, "chargeback", "ana", "t1", "tablet", 1)]);
    assert_eq!(
        (world.device("phone"), world.device("tablet"), world.user("ana")),
        (counts(0, 0), counts(1, 0), counts(1, 0))
    );
}

/// The batch's read did not see the earlier label's counts yet: what is taken back must be there.
#[test]
fn a_correction_on_a_stale_read_takes_back_what_the_read_did_not_see() {
    let world = World::new();
    world.deliver([label(0, "chargeback", "ana", "t1", "phone", 0)]);
    world.tables(|tables| tables.stale_reads = 1);
    // The second one names the device of the first one's label, so that it was asked for, and not seen.
    world.deliver([
        label(1, "confirmed_good", "ana", "t1", "tablet", 1),
        label(2, "confirmed_good", "ana", "t2", "phone", 1),
    ]);
    assert_eq!(
        (world.device("phone"), world.device("tablet"), world.user("ana")),
        (counts(0, 1), counts(0, 1), counts(0, 2))
    );
}

#[test]
fn other_events_pass_without_a_read_or_a_write() {
    let world = World::new();
    let outcome =
        world.deliver([label(0, "dispute_opened", "", "t1", "", 0), label(1, "shipped", "ana", "t2", "d", 0)]);
    assert_eq!((outcome.report.others, outcome.dead_lettered, outcome.response.failures.len()), (2, 0, 0));
    assert_eq!(world.tables(|tables| (tables.reads, tables.transactions)), (0, 0));
}

#[test]
fn ten_thousand_labels_of_one_user_and_device_are_counted_one_by_one() {
    let world = World::new();
    let records = (0..10_000).map(|n| label(n, "chargeback", "ana", &format!("t{n}"), "phone", (n % 40) as i64));
    let outcome = world.deliver(records);
    assert_eq!((outcome.report.applied, outcome.report.lost_races), (10_000, 0), "none in the way of another");
    assert_eq!((world.user("ana"), world.device("phone")), (counts(10_000, 0), counts(10_000, 0)));
    assert_eq!(world.tables(|tables| tables.reads), 1, "what was written is known to the next");
}

#[test]
fn a_label_counts_on_the_day_on_which_it_became_known_and_never_on_one_of_the_future() {
    let world = World::new();
    let mut from_2099 = label(0, "chargeback", "ana", "t1", "phone", 26_000);
    from_2099.coordinates.timestamp = Millis(EPOCH_MS);
    world.deliver([from_2099, label(1, "confirmed_good", "ana", "t2", "phone", -400)]);
    let risk = world.tables(|tables| tables.user(&UserId::new("ana").unwrap()).unwrap().item);
    let today = Day::of(Millis(EPOCH_MS));
    assert_eq!((risk.newest(), risk.older()), (today, counts(0, 1)));
    assert_eq!(risk.days().collect::<Vec<_>>(), [(today, counts(1, 0))]);
}

#[test]
fn what_the_store_does_not_do_is_delivered_again() {
    let world = World::new();
    world.tables(|tables| tables.refused = 1);
    let records = [label(0, "chargeback", "ana", "t1", "phone", 0)];
    assert_eq!(world.deliver(records.clone()).response.failures, [("transactions-0".to_owned(), 0)]);
    world.tables(|tables| tables.lost_replies = 1);
    assert_eq!(world.deliver(records.clone()).response.failures.len(), 1, "written, and nobody knows");
    assert_eq!(world.deliver(records).report.unchanged, 1);
    assert_eq!(world.user("ana"), counts(1, 0));
    world.tables(|tables| tables.unread = 1);
    assert_eq!(world.deliver([label(1, "chargeback", "ben", "t1", "phone", 0)]).report.applied, 1, "asked again");
}

#[test]
fn an_item_that_cannot_be_read_keeps_its_labels_for_the_repair() {
    let world = World::new();
    world.tables(|tables| tables.unreadable_users.insert(UserId::new("ana").unwrap()));
    let records = [label(0, "chargeback", "ana", "t1", "phone", 0), label(1, "chargeback", "ben", "t1", "phone", 0)];
    let outcome = world.deliver(records.clone());
    assert_eq!((outcome.report.applied, outcome.report.unreadable, outcome.response.failures.len()), (1, 1, 1));
    world.fakes.shared().now = Millis(EPOCH_MS + 700_000);
    let outcome = world.deliver(records);
    assert_eq!((outcome.dead_lettered, outcome.response.failures.len()), (1, 0));
    assert_eq!(world.fakes.shared().dead_letters[0].reason_code, DeadLetterReason::StateUnreadable);
}

/// Two environments with batches that share devices, polled in turns: none loses what the other writes.
#[test]
fn environments_side_by_side_count_every_label_once() {
    let store = Store::default();
    // The scheduler takes futures that borrow nothing of the test's.
    let worlds: &'static [World; 2] = Box::leak(Box::new([World::on(store.clone()), World::on(store)]));
    let records: Vec<Record> =
        (0..60).map(|n| label(n, "chargeback", &format!("user-{}", n % 7), &format!("t{n}"), "phone", 0)).collect();
    let (left, right) = (batch(records[..40].to_vec()), batch(records[20..].to_vec()));
    let [one, two] = worlds;
    let mut futures: [std::pin::Pin<Box<dyn Future<Output = _>>>; 2] = [
        Box::pin(one.delivery.deliver(&one.labels, left, FOREVER)),
        Box::pin(two.delivery.deliver(&two.labels, right, FOREVER)),
    ];
    let mut done = [false; 2];
    while done != [true; 2] {
        for (future, done) in futures.iter_mut().zip(&mut done).filter(|(_, done)| !**done) {
            *done = step(future).is_some();
        }
    }
    drop(futures);
    assert_eq!(worlds[0].deliver(records.clone()).response.failures.len(), 0);
    assert_eq!(worlds[0].device("phone"), counts(60, 0));
    let users: u32 = (0..7).map(|n| worlds[0].user(&format!("user-{n}")).fraud).sum();
    assert_eq!(users, 60);
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// What the labels that stand say, and of whom.
fn folded(records: &[Record]) -> (BTreeMap<UserId, Risk>, BTreeMap<DeviceId, Risk>) {
    let mut standing: BTreeMap<DecisionId, (Label, UserId, DeviceId)> = BTreeMap::new();
    for record in records {
        let event = event_v1::parse(record.value.as_deref().unwrap()).unwrap();
        let label = event.label(record.coordinates.timestamp).unwrap();
        let (user, device) = (event.user_id.clone().unwrap(), event.device_id.clone().unwrap());
        let decision = DecisionId::derive(&user, event.transaction_id.as_ref().unwrap());
        if standing.get(&decision).is_none_or(|(known, ..)| *known < label) {
            standing.insert(decision, (label, user, device));
        }
    }
    let (mut users, mut devices) = (BTreeMap::<UserId, Risk>::new(), BTreeMap::<DeviceId, Risk>::new());
    for (label, user, device) in standing.into_values() {
        users.entry(user).or_default().add(label.day(), label.verdict);
        devices.entry(device).or_default().add(label.day(), label.verdict);
    }
    (users, devices)
}

/// Batches cut anywhere, delivered in any order and again, by environments that crash, with every fault of the store.
#[test]
fn under_any_faults_risk_is_the_fold_of_the_labels_that_stand() {
    const EVENTS: [&str; 4] = ["chargeback", "refund", "confirmed_good", "confirmed_fraud"];
    for seed in 0..200 {
        let (world, mut dice) = (World::new(), Dice(seed));
        let records: Vec<Record> = (0..40)
            .map(|offset| {
                let (user, transaction) = (["ana", "ben"][dice.roll(2)], format!("t{}", dice.roll(6)));
                let device = format!("d{}", dice.roll(3));
                label(offset, EVENTS[dice.roll(4)], user, &transaction, &device, dice.roll(50) as i64)
            })
            .collect();
        for _ in 0..25 {
            world.tables(|tables| {
                tables.stale_reads = dice.roll(3);
                tables.refused = dice.roll(2);
                tables.lost_replies = dice.roll(2);
                tables.unread = dice.roll(2);
            });
            let (first, length) = (dice.roll(records.len()), 1 + dice.roll(12));
            let part = records.iter().cycle().skip(first).take(length).cloned();
            let steps = if dice.roll(4) == 0 { dice.roll(20) } else { 10_000 };
            run_and_crash(world.delivery.deliver(&world.labels, batch(part), FOREVER), steps);
        }
        world.tables(|tables| (tables.refused, tables.lost_replies, tables.unread) = (0, 0, 0));
        assert_eq!(world.deliver(records.clone()).response.failures.len(), 0, "seed {seed}");
        let (users, devices) = folded(&records);
        for (user, mut expected) in users {
            let found = world.tables(|tables| tables.user(&user)).map(|risk| risk.item).unwrap_or_default();
            expected.roll_to(found.newest());
            assert_eq!(found, expected, "seed {seed}: {user:?}");
        }
        for device in (0..3).map(|n| DeviceId::new(format!("d{n}")).unwrap()) {
            let mut expected = devices.get(&device).cloned().unwrap_or_default();
            let found = world.tables(|tables| tables.device(&device)).map(|risk| risk.item).unwrap_or_default();
            expected.roll_to(found.newest());
            assert_eq!(found, expected, "seed {seed}: {device:?}");
        }
    }
}
