//! Each rule of the tracking, alone and under random faults: what a user would miss if it were broken.

#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use centinela_contracts::dead_letter_v1::DeadLetterReason;
use centinela_contracts::kafka_event::Record;
use centinela_contracts::{stored_profile, user_action_v1};
use centinela_delivery::{
    Commit, Deadline, Delivery, Outcome, Rejection, Settings, StoreError, UseCase, Versioned, Write,
};
use centinela_domain::profile::{Change, Fact, Minute};
use centinela_domain::{Coordinates, Millis, Profile, UserId};
use centinela_profile::ports::{ProfileAnswer, Profiles};
use centinela_profile::{Limits, TrackActions, TrackReport};
use centinela_testkit::bench::FOREVER;
use centinela_testkit::builders::{self, EPOCH_MS, batch, record};
use centinela_testkit::fakes::Fakes;
use centinela_testkit::schedule::{run, run_and_crash, yield_once};

/// Profiles in memory, encoded as a table keeps them: all versions of each.
#[derive(Default)]
struct Table {
    users: BTreeMap<UserId, Vec<Vec<u8>>>,
    writes: usize,
    /// Writes that changed nothing: each would be billed.
    idle_writes: usize,
    /// Counts down: the next reads answer with the version before the newest.
    stale_reads: usize,
    /// Counts down: the next writes have their effect, and their reply is lost.
    lost_replies: usize,
    /// Counts down: the next writes are refused before they have an effect.
    refused: usize,
    /// Counts down: the next lost races come back without the item.
    blind: usize,
    /// What another environment writes just before the next write.
    meanwhile: Option<Fact>,
    unreadable: bool,
}

fn count_down(counter: &mut usize) -> bool {
    let was_there = *counter > 0;
    *counter = counter.saturating_sub(1);
    was_there
}

impl Table {
    fn newest(&self, user: &UserId) -> Option<Versioned<Profile>> {
        let versions = self.users.get(user)?;
        Some(Versioned { version: versions.len() as u64, item: stored_profile::decode(versions.last()?).unwrap() })
    }

    /// The one condition that there is: the version that was read is the newest.
    fn write(&mut self, user: &UserId, expected: Option<u64>, profile: &Profile) -> bool {
        let known = self.newest(user);
        if known.as_ref().map(|known| known.version) != expected {
            return false;
        }
        self.idle_writes += usize::from(known.is_some_and(|known| known.item == *profile));
        self.writes += 1;
        self.users.entry(user.clone()).or_default().push(stored_profile::encode(profile));
        true
    }
}

#[derive(Clone, Default)]
struct Store(Arc<Mutex<Table>>);

fn failure() -> StoreError {
    StoreError::Unavailable(Box::new(io::Error::other("fault")))
}

impl Profiles for Store {
    async fn read(&self, users: &[UserId], _deadline: Millis) -> ProfileAnswer {
        yield_once().await;
        let mut table = self.0.lock().unwrap();
        let mut answer = ProfileAnswer::default();
        if table.unreadable {
            answer.unreadable.extend(users.iter().cloned());
            return answer;
        }
        for user in users {
            let back = usize::from(count_down(&mut table.stale_reads));
            let versions = table.users.get(user).map_or(&[][..], Vec::as_slice);
            if let Some(version) = versions.len().checked_sub(back).filter(|version| *version > 0) {
                let item = stored_profile::decode(&versions[version - 1]).unwrap();
                answer.found.insert(user.clone(), Versioned { version: version as u64, item });
            }
        }
        answer
    }

    async fn read_profile(&self, user: &UserId, _: Millis) -> Result<Option<Versioned<Profile>>, StoreError> {
        yield_once().await;
        Ok(self.0.lock().unwrap().newest(user))
    }

    async fn commit(&self, writes: Vec<Write<UserId, Profile>>, _: Millis) -> Vec<Commit<Profile>> {
        let mut commits = Vec::new();
        for Write { key, expected, item } in writes {
            yield_once().await;
            let mut table = self.0.lock().unwrap();
            if let Some(fact) = table.meanwhile.take() {
                let known = table.newest(&key);
                let mut other = known.as_ref().map(|known| known.item.clone()).unwrap_or_default();
                other.apply(fact);
                assert!(table.write(&key, known.map(|known| known.version), &other));
            }
            commits.push(if count_down(&mut table.refused) {
                Commit::Failed(failure())
            } else if !table.write(&key, expected, &item) {
                let winner = table.newest(&key);
                Commit::Lost(if count_down(&mut table.blind) { None } else { winner })
            } else if count_down(&mut table.lost_replies) {
                Commit::Failed(failure())
            } else {
                Commit::Done
            });
        }
        yield_once().await;
        commits
    }
}

struct World {
    store: Store,
    fakes: Fakes,
    actions: TrackActions<Store, Fakes>,
    delivery: Delivery<Fakes, Fakes>,
}

impl World {
    fn new() -> Self {
        let (store, fakes) = (Store::default(), Fakes::new(1, Millis(EPOCH_MS)));
        let actions = TrackActions::new(store.clone(), fakes.clone(), Limits::default());
        let delivery = Delivery::new(fakes.clone(), fakes.clone(), Settings::new(builders::key()));
        Self { store, fakes, actions, delivery }
    }

    fn deliver(&self, records: impl IntoIterator<Item = Record>) -> Outcome<TrackReport> {
        run(self.delivery.deliver(&self.actions, batch(records), FOREVER)).unwrap()
    }

    fn profile(&self, user: &str) -> Option<Profile> {
        self.store.0.lock().unwrap().newest(&UserId::new(user).unwrap()).map(|found| found.item)
    }

    fn table<R>(&self, look: impl FnOnce(&mut Table) -> R) -> R {
        look(&mut self.store.0.lock().unwrap())
    }
}

fn json(user: &str, action: &str, at: i64, more: &str) -> Vec<u8> {
    format!(r#"{{"version":1,"action_id":"a-{at}","timestamp":{at},"user_id":"{user}","action":"{action}"{more}}}"#)
        .into_bytes()
}

/// An action of a minute of its own, which the broker received then.
fn action(offset: u64, user: &str, action: &str, more: &str) -> Record {
    let at = EPOCH_MS + 60_000 * offset as i64;
    let mut record = record(0, offset, json(user, action, at - 30_000, more));
    record.coordinates.timestamp = Millis(at);
    record
}

fn fold(records: &[Record], user: &str) -> Profile {
    let facts = records.iter().filter_map(|record| {
        let action = user_action_v1::parse(record.value.as_deref()?).unwrap();
        (action.user_id.as_str() == user).then(|| action.fact(record.coordinates.timestamp))
    });
    Profile::from_facts(facts)
}

#[test]
fn a_batch_is_one_write_per_user_and_none_where_nothing_is_new() {
    let world = World::new();
    let records = [
        action(0, "ana", "registered", ""),
        action(1, "ana", "logged_in", r#","device_id":"phone""#),
        action(2, "ben", "logged_in", r#","device_id":"tablet","outcome":"failure""#),
        action(3, "ana", "password_changed", ""),
    ];
    let outcome = world.deliver(records.clone());
    assert_eq!(outcome.report, TrackReport { actions: 4, written: 2, ..TrackReport::default() });
    assert_eq!(world.profile("ana"), Some(fold(&records, "ana")));
    assert_eq!(world.profile("ben"), Some(fold(&records, "ben")));
    let again = world.deliver(records);
    assert_eq!(again.report, TrackReport { actions: 4, unchanged: 2, ..TrackReport::default() });
    assert_eq!((again.response.failures.len(), world.table(|table| table.writes)), (0, 2));
    let later = world.deliver([action(4, "ana", "logged_in", r#","device_id":"phone""#)]);
    assert_eq!((later.report.written, later.report.unchanged), (0, 1), "the same device again in the same week");
}

#[test]
fn a_profile_that_somebody_else_wrote_meanwhile_loses_nothing() {
    for (stale_reads, blind) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let world = World::new();
        world.deliver([action(0, "ana", "registered", "")]);
        let other = Fact::Changed { what: Change::Phone, at: Minute(9_000_000) };
        world.table(|table| {
            (table.stale_reads, table.blind, table.meanwhile) = (stale_reads, blind, Some(other));
        });
        let outcome = world.deliver([action(1, "ana", "email_changed", "")]);
        assert_eq!((outcome.report.written, outcome.report.lost_races, outcome.response.failures.len()), (1, 1, 0));
        let profile = world.profile("ana").unwrap();
        assert_eq!(profile.changed_at(Change::Phone), Some(Minute(9_000_000).millis()));
        assert!(profile.changed_at(Change::Email).is_some() && profile.registered_at().is_some());
    }
}

#[test]
fn a_record_is_acknowledged_when_its_fact_is_written_and_not_before() {
    let world = World::new();
    world.table(|table| table.refused = 1);
    let outcome = world.deliver([action(0, "ana", "registered", "")]);
    assert_eq!(outcome.response.failures, [("transactions-0".to_owned(), 0)]);
    assert_eq!((world.profile("ana"), outcome.report.actions), (None, 0));
    let deadline = Deadline { work: Millis(0), answer: Millis(0) };
    let late = run(world.delivery.deliver(&world.actions, batch([action(0, "ana", "registered", "")]), deadline));
    assert_eq!(late.unwrap().response.failures.len(), 1, "no time was left");
}

#[test]
fn a_write_whose_reply_was_lost_is_found_again() {
    let world = World::new();
    world.table(|table| table.lost_replies = 1);
    let records = [action(0, "ana", "registered", "")];
    assert_eq!(world.deliver(records.clone()).response.failures.len(), 1);
    assert_eq!(world.deliver(records).report.unchanged, 1);
    assert_eq!(world.table(|table| table.writes), 1);
}

#[test]
fn a_crash_anywhere_is_made_good_by_the_redelivery() {
    let records: Vec<_> =
        (0..6).map(|offset| action(offset, ["ana", "ben"][offset as usize % 2], "logged_in", "")).collect();
    for steps in 0..20 {
        let world = World::new();
        if run_and_crash(world.delivery.deliver(&world.actions, batch(records.clone()), FOREVER), steps).is_some() {
            break;
        }
        assert_eq!(world.deliver(records.clone()).response.failures.len(), 0);
        for user in ["ana", "ben"] {
            assert_eq!(world.profile(user), Some(fold(&records, user)), "a crash after {steps} steps");
        }
    }
}

#[test]
fn what_is_no_action_is_dead_lettered_with_its_reason_and_the_others_go_on() {
    let world = World::new();
    let outcome = world.deliver([
        action(0, "ana", "registered", ""),
        action(1, "ana", "moved_to_mars", ""),
        record(0, 2, b"nonsense".to_vec()),
        action(3, "ana", "email_changed", r#","email":7"#),
        action(4, "ana", "phone_changed", ""),
    ]);
    assert_eq!((outcome.dead_lettered, outcome.report.actions, outcome.response.failures.len()), (3, 2, 0));
    let reasons: Vec<_> = world.fakes.shared().dead_letters.iter().map(|letter| letter.reason_code).collect();
    use DeadLetterReason::{InvalidValue, NotJson, WrongType};
    assert_eq!(reasons, [InvalidValue, NotJson, WrongType]);
}

#[test]
fn a_profile_that_cannot_be_read_keeps_its_users_records_for_the_repair() {
    let world = World::new();
    world.table(|table| table.unreadable = true);
    let records = [action(0, "ana", "registered", "")];
    let outcome = world.deliver(records.clone());
    assert_eq!((outcome.report.unreadable, outcome.response.failures.len(), outcome.dead_lettered), (1, 1, 0));
    world.fakes.shared().now = Millis(EPOCH_MS + 601_000);
    let outcome = world.deliver(records.clone());
    assert_eq!((outcome.response.failures.len(), outcome.dead_lettered), (0, 1), "after ten minutes");
    assert_eq!(world.fakes.shared().dead_letters[0].reason_code, DeadLetterReason::StateUnreadable);
    world.table(|table| table.unreadable = false);
    let again = builders::redriven(&records[0], 2, 9, Millis(EPOCH_MS + 900_000));
    assert_eq!(world.deliver([again]).report.written, 1, "and is redriven after the repair");
    assert_eq!(world.profile("ana"), Some(fold(&records, "ana")));
}

/// Everything that a producer may say of a person.
#[test]
fn no_personal_data_reaches_a_state_a_log_or_a_dead_letters_reason() {
    let personal = r#","name":"Jane Doe","email":"jane.doe@example.com","phone":"+1 555 0100","address":"1 Main St","ip":"203.0.113.9""#;
    let world = World::new();
    world.deliver([action(0, "ana", "email_changed", personal), action(1, "ana", "logged_in", personal)]);
    let source = Coordinates { partition: 0, offset: 0, timestamp: Millis(EPOCH_MS) };
    let decode = |value: &[u8]| world.actions.decode(value, source);
    let content = decode(&json("ana", "email_changed", EPOCH_MS, personal)).unwrap();
    let mut seen = vec![format!("{content:?}").into_bytes()];
    seen.extend(world.table(|table| table.users.values().flatten().cloned().collect::<Vec<_>>()));
    for broken in [
        personal.replace("Jane Doe", &"jane.doe@example.com".repeat(40)),
        personal.replace("203.0.113.9", "203.0.113.999"),
    ] {
        let Rejection { reason, .. } = decode(&json("ana", "email_changed", EPOCH_MS, &broken)).unwrap_err();
        seen.push(reason.into_bytes());
    }
    assert_eq!(seen.len(), 4, "one state of one batch, the content, and two reasons");
    for secret in ["Jane", "jane.doe", "example.com", "555", "Main", "203.0.113"] {
        for bytes in &seen {
            assert!(
                !bytes.windows(secret.len()).any(|part| part == secret.as_bytes()),
                "{secret}: {}",
                bytes.escape_ascii()
            );
        }
    }
    let bare = World::new();
    bare.deliver([action(0, "ana", "email_changed", ""), action(1, "ana", "logged_in", "")]);
    assert_eq!(bare.profile("ana"), world.profile("ana"), "not even a trace of it");
}

/// A small random number generator, from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// Batches cut anywhere, delivered in any order and again, by environments that crash, with every fault of the store.
#[test]
fn under_any_faults_a_profile_is_the_fold_of_its_unique_actions() {
    const ACTIONS: [&str; 6] = ["registered", "logged_in", "logged_in", "email_changed", "device_added", "logged_in"];
    for seed in 0..300 {
        let (world, mut dice) = (World::new(), Dice(seed));
        let users = ["ana", "ben", "cleo"];
        let records: Vec<Record> = (0..40)
            .map(|offset| {
                let device = format!(r#","device_id":"d{}""#, dice.roll(7));
                action(offset * 997, users[dice.roll(3)], ACTIONS[dice.roll(6)], &device)
            })
            .collect();
        for _ in 0..30 {
            world.table(|table| {
                table.stale_reads = dice.roll(3);
                table.refused = dice.roll(2);
                table.lost_replies = dice.roll(2);
                table.blind = dice.roll(2);
            });
            let (first, length) = (dice.roll(records.len()), 1 + dice.roll(12));
            let part = records.iter().cycle().skip(first).take(length).cloned();
            let steps = if dice.roll(4) == 0 { dice.roll(12) } else { 1_000 };
            run_and_crash(world.delivery.deliver(&world.actions, batch(part), FOREVER), steps);
        }
        world.table(|table| (table.stale_reads, table.refused, table.lost_replies) = (0, 0, 0));
        assert_eq!(world.deliver(records.clone()).response.failures.len(), 0, "seed {seed}");
        for user in users {
            assert_eq!(world.profile(user).unwrap_or_default(), fold(&records, user), "seed {seed}");
        }
        assert_eq!(world.table(|table| table.idle_writes), 0, "seed {seed}");
    }
}
