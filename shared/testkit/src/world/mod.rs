//! A topic, a mapping and several environments under faults, from one seed; and what was wrong at the end.
//!
//! The mapping is as unkind as the documentation allows: one batch per partition in flight, but crashed, cut and partly failed
//! batches come again in any of three readings of AWS's text, a paused poller wakes up with an old batch, an invocation may
//! go on while its batch is already delivered elsewhere, and records are given up and driven again by an operator. Producers send
//! duplicates, other transactions under a used id, forged headers, and times from the future; brokers' clocks step back.

mod findings;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use centinela_contracts::dead_letter_v1::{self, DeadLetterReason, FIRST_TOPIC};
use centinela_contracts::kafka_event::Record;
use centinela_delivery::BatchError;
use centinela_domain::ledger::RingSize;
use centinela_domain::{Coordinates, Millis, UserId};
use centinela_scoring::{BatchReport, ScoringError};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use findings::Findings;

use crate::bench::FOREVER;
use crate::builders::{self, EPOCH_MS, TOPIC};
use crate::fakes::{FakeEngine, Fakes, Faults};
use crate::schedule::step;

/// Small, so that a short run fills rings and leaves windows behind.
const RING: RingSize = RingSize {
    newest: 3,
    newest_in_partition: 2,
    hot_within_ms: 600_000,
    recent_ms: 600_000,
    most: 24,
    ..RingSize::DEFAULT
};
/// Steps for coming to rest before the mapping gives up what is left.
const STEPS_TO_REST: usize = 1_000;
/// Steps after which a world that is not at rest never will be.
const STEPS_MAX: usize = 50_000;
/// What everything was bought for, and what it costs under an id that is used already.
const AMOUNT: &str = "12.34";
const AMOUNT_MINOR: u64 = 1_234;
const OTHER_AMOUNT: &str = "99.99";
/// 2099: a time that nobody has reached.
const FUTURE_MS: i64 = 4_070_908_800_000;

/// How the mapping reads a partial failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// It resumes the partition at the first reported record.
    Resume,
    /// It delivers only the reported records again, before anything newer.
    ListedFirst,
    /// It delivers only the reported records again, whenever it likes.
    ListedAnyTime,
}

#[derive(Debug, Default)]
struct Partition {
    /// A record's place here never restarts; its offset does when the topic is recreated.
    log: Vec<Record>,
    /// Place of offset 0.
    base: usize,
    /// First place that is not acknowledged.
    committed: usize,
    /// The invocation that holds it.
    in_flight: Option<usize>,
    /// Reported records that wait to be delivered again.
    again: Vec<usize>,
    /// Records that take every invocation down, until they are given up.
    poison: HashSet<usize>,
}

impl Partition {
    fn is_at_rest(&self) -> bool {
        self.in_flight.is_none() && self.again.is_empty() && self.committed == self.log.len()
    }
}

type Running = Pin<Box<dyn Future<Output = Result<BatchReport, BatchError<ScoringError>>>>>;

struct Invocation {
    id: usize,
    future: Running,
    delivered: BTreeMap<usize, Vec<usize>>,
    /// Its batch has been, or may be, delivered elsewhere: its answer counts for nothing.
    zombie: bool,
}

/// A transaction, as the world knows it.
#[derive(Clone, Debug, Default)]
struct Made {
    user: String,
    transaction: String,
    device: String,
    /// What was sent under its id: one content, or more.
    values: Vec<Vec<u8>>,
    /// The producer sent one of them twice.
    repeated: bool,
}

/// What happened in a run, to see that the faults were there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Happened {
    /// Batches handled to their end.
    pub answered: usize,
    /// New decisions, reported as published.
    pub decided: usize,
    /// Invocations dropped at an await.
    pub crashed: usize,
    /// Environments replaced by fresh ones.
    pub restarted: usize,
    /// Records reported as unsettled.
    pub unsettled: usize,
    /// Records answered from the ring.
    pub replayed: usize,
    /// Records below a floor.
    pub stale: usize,
    /// Lost races.
    pub conflicts: usize,
    /// Batches that started above an unsettled record of which nothing was known.
    pub tripped: usize,
    /// Holds that were settled by asking the user's ring.
    pub holds_settled: usize,
    /// Holds of records that the mapping had given up.
    pub holds_retired: usize,
    /// The same bytes published again.
    pub republished: usize,
    /// Records that the mapping gave up.
    pub given_up: usize,
    /// Records driven again.
    pub redriven: usize,
    /// Of these, parked because nobody could tell any more.
    pub undecidable: usize,
    /// Deliveries of a user whose item could not be read.
    pub unreadable: usize,
    /// Records under a used id.
    pub id_conflicts: usize,
    /// Events from the future.
    pub ahead: usize,
    /// Rings that were full.
    pub full_rings: usize,
    /// Partitions that were made again.
    pub recreated: usize,
}

impl Happened {
    /// Every count with its name.
    pub fn counts(&self) -> [(&'static str, usize); 20] {
        [
            ("answered batches", self.answered),
            ("decisions", self.decided),
            ("crashes", self.crashed),
            ("restarts", self.restarted),
            ("unsettled records", self.unsettled),
            ("replays", self.replayed),
            ("stale records", self.stale),
            ("lost races", self.conflicts),
            ("tripwires", self.tripped),
            ("holds settled by asking", self.holds_settled),
            ("holds retired", self.holds_retired),
            ("republications", self.republished),
            ("records given up", self.given_up),
            ("records redriven", self.redriven),
            ("undecidable records", self.undecidable),
            ("unreadable items", self.unreadable),
            ("used ids", self.id_conflicts),
            ("events from the future", self.ahead),
            ("full rings", self.full_rings),
            ("recreated partitions", self.recreated),
        ]
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.decided += other.decided;
        self.crashed += other.crashed;
        self.restarted += other.restarted;
        self.unsettled += other.unsettled;
        self.replayed += other.replayed;
        self.stale += other.stale;
        self.conflicts += other.conflicts;
        self.tripped += other.tripped;
        self.holds_settled += other.holds_settled;
        self.holds_retired += other.holds_retired;
        self.republished += other.republished;
        self.given_up += other.given_up;
        self.redriven += other.redriven;
        self.undecidable += other.undecidable;
        self.unreadable += other.unreadable;
        self.id_conflicts += other.id_conflicts;
        self.ahead += other.ahead;
        self.full_rings += other.full_rings;
        self.recreated += other.recreated;
    }
}

/// The world.
pub struct World {
    fakes: Fakes,
    environments: Vec<Arc<FakeEngine>>,
    partitions: Vec<Partition>,
    invocations: Vec<Invocation>,
    next_id: usize,
    reading: Reading,
    keyed_by_user: bool,
    users: usize,
    made: Vec<Made>,
    /// Values that can never be decided.
    bad: Vec<Vec<u8>>,
    /// Per user the transaction to repeat, and its partition.
    newest: HashMap<String, (usize, usize)>,
    /// What the mapping gave up, and an operator will drive again.
    given_up: Vec<Record>,
    /// How much of the parked records an operator has looked through.
    looked_through: usize,
    /// Old batches that a paused poller may still deliver.
    paused: Vec<BTreeMap<usize, Vec<usize>>>,
    /// The mapping gives records up now and then.
    gives_up: bool,
    /// The latest time that any clock has shown.
    latest: Millis,
    /// What was decided before this has had time to be proved published.
    proved_before: Millis,
    happened: Happened,
    rng: ChaCha8Rng,
}

impl World {
    /// A world from a seed.
    pub fn seeded(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let fakes = Fakes::new(seed ^ 0x5eed, Millis(EPOCH_MS));
        fakes.shared().faults = Faults {
            user_unread: 0.03,
            device_unread: 0.1,
            stale_read: 0.3,
            marks_unread: 0.05,
            write_refused: 0.03,
            marks_refused: 0.05,
            reply_lost: 0.05,
            loser_blind: 0.3,
            topic_failed: 0.03,
            stream_failed: 0.03,
            dead_letter_failed: 0.2,
            refused: 0.01,
        };
        let environments = (0..3).map(|_| Arc::new(fakes.engine_with(RING))).collect();
        let partitions = (0..rng.random_range(1..=3)).map(|_| Partition::default()).collect();
        let reading = [Reading::Resume, Reading::ListedFirst, Reading::ListedAnyTime][rng.random_range(0..3)];
        Self {
            fakes,
            environments,
            partitions,
            invocations: Vec::new(),
            next_id: 0,
            reading,
            keyed_by_user: rng.random_bool(0.3),
            users: [1, 2, 4][rng.random_range(0..3)],
            made: Vec::new(),
            bad: Vec::new(),
            newest: HashMap::new(),
            given_up: Vec::new(),
            looked_through: 0,
            paused: Vec::new(),
            gives_up: true,
            latest: Millis(EPOCH_MS),
            proved_before: Millis(EPOCH_MS),
            happened: Happened::default(),
            rng,
        }
    }

    /// Runs `events` random events, then lets everything come to an end without faults, and says what is wrong.
    pub fn run(mut self, events: usize) -> (Findings, Happened) {
        for _ in 0..events {
            self.event();
        }
        self.end_of_faults();
        self.rest(STEPS_TO_REST);
        self.everything_gets_too_old();
        self.rest(STEPS_MAX);
        // A healthy mapping goes on, and must find its way out of what the faults left behind.
        for round in 0..5 {
            if round == 3 {
                self.proved_before = self.fakes.shared().now;
            }
            (0..self.partitions.len()).for_each(|index| self.produce_good(index));
            self.rest(STEPS_MAX);
        }
        let findings = self.findings();
        (findings, self.happened)
    }

    fn event(&mut self) {
        match self.rng.random_range(0..1000) {
            0..180 => self.produce(),
            180..320 => {
                self.deliver();
            }
            320..326 => {
                let mut shared = self.fakes.shared();
                shared.outage = !shared.outage;
            }
            326..334 => self.orphan(),
            334..339 => self.wake_paused_poller(),
            339..341 => self.recreate_partition(),
            341..347 => self.crash(),
            347..350 => self.restart_environment(),
            350..356 => self.redrive(),
            356..359 => self.break_or_repair_an_item(),
            359..361 => self.step_back(),
            _ => self.step(),
        }
    }

    fn end_of_faults(&mut self) {
        let mut shared = self.fakes.shared();
        shared.faults = Faults::default();
        shared.outage = false;
        shared.unreadable.clear();
    }

    /// Time passes; a broker's clock may be a little behind.
    fn pass(&mut self, milliseconds: i64) -> Millis {
        let skew_ms = if self.rng.random_bool(0.1) { self.rng.random_range(0..3_000) } else { 0 };
        let mut shared = self.fakes.shared();
        shared.now = Millis(shared.now.0 + milliseconds);
        self.latest = self.latest.max(shared.now);
        Millis(shared.now.0 - skew_ms)
    }

    /// All clocks step back a little.
    fn step_back(&mut self) {
        let mut shared = self.fakes.shared();
        shared.now = Millis(shared.now.0.min(self.latest.0 - 2_000));
    }

    fn produce(&mut self) {
        let user_number = self.rng.random_range(0..self.users);
        let user = format!("user-{user_number}");
        let pass_ms = self.rng.random_range(0..500);
        let timestamp = self.pass(pass_ms);
        let random_partition = self.rng.random_range(0..self.partitions.len());
        let partition = if self.keyed_by_user { user_number % self.partitions.len() } else { random_partition };
        let newest = self.newest.get(&user).copied();
        match (self.rng.random_range(0..100), newest) {
            (0..3, _) => {
                let value = format!("{{\"no\":\"transaction {}\"", self.bad.len()).into_bytes();
                self.bad.push(value.clone());
                self.append(partition, timestamp, value, Vec::new());
            }
            (3..5, _) => {
                let id = format!("forged-{}", self.bad.len());
                let value = builders::transaction_json(&user, &id, timestamp.0, AMOUNT);
                let never = Coordinates { partition: 0, offset: 9_000_000_000_000_000_000, timestamp };
                let mut headers = dead_letter_v1::first_headers(TOPIC, never, &value, &builders::key());
                headers[4].1 = vec![b'0'; 32];
                self.bad.push(value.clone());
                self.append(partition, timestamp, value, headers);
            }
            (5..17, Some((place, same_partition))) => {
                self.made[place].repeated = true;
                let value = self.made[place].values[0].clone();
                self.append(same_partition, timestamp, value, Vec::new());
            }
            (17..20, Some((place, same_partition))) if self.made[place].values.len() == 1 => {
                let Made { user, transaction, device, .. } = &self.made[place];
                let value = builders::transaction_json_on(device, user, transaction, timestamp.0, OTHER_AMOUNT);
                self.made[place].values.push(value.clone());
                self.append(same_partition, timestamp, value, Vec::new());
            }
            (kind, _) => {
                let at = if kind < 25 { FUTURE_MS } else { timestamp.0 };
                let place = self.append_new(&user, partition, timestamp, at);
                self.newest.insert(user, (place, partition));
                if self.rng.random_bool(0.01) {
                    let log = &mut self.partitions[partition];
                    log.poison.insert(log.log.len() - 1);
                }
            }
        }
    }

    fn append_new(&mut self, user: &str, partition: usize, timestamp: Millis, at: i64) -> usize {
        let transaction = format!("tx-{}", self.made.len());
        let own = format!("device-of-{user}");
        let device = if self.rng.random_bool(0.5) { own } else { format!("kiosk-{}", self.rng.random_range(0..2)) };
        let value = builders::transaction_json_on(&device, user, &transaction, at, AMOUNT);
        let values = vec![value.clone()];
        self.made.push(Made { user: user.to_owned(), transaction, device, values, repeated: false });
        self.append(partition, timestamp, value, Vec::new());
        self.made.len() - 1
    }

    fn append(&mut self, partition: usize, timestamp: Millis, value: Vec<u8>, headers: Vec<(String, Vec<u8>)>) {
        let log = &mut self.partitions[partition];
        let offset = (log.log.len() - log.base) as u64;
        let coordinates = Coordinates { partition: partition as u32, offset, timestamp };
        log.log.push(Record { coordinates, key: None, value: Some(value), headers });
    }

    /// One of everybody.
    fn produce_good(&mut self, index: usize) {
        for number in 0..self.users {
            let timestamp = self.pass(2_000);
            self.append_new(&format!("user-{number}"), index, timestamp, timestamp.0);
        }
    }

    /// Starts an invocation with what some idle partitions have. Returns whether there was anything.
    fn deliver(&mut self) -> bool {
        let mut order: Vec<usize> = (0..self.partitions.len()).collect();
        order.shuffle(&mut self.rng);
        let mut batch = BTreeMap::new();
        for index in order {
            let at_most = self.rng.random_range(1..=4);
            let listed_now = self.rng.random_bool(0.5);
            let partition = &self.partitions[index];
            if partition.in_flight.is_some() {
                continue;
            }
            let end = partition.log.len().min(partition.committed + at_most);
            let fresh: Vec<usize> = (partition.committed..end).collect();
            let listed_first = self.reading != Reading::ListedAnyTime || listed_now || fresh.is_empty();
            let places = if !partition.again.is_empty() && listed_first { partition.again.clone() } else { fresh };
            if places.is_empty() {
                continue;
            }
            batch.insert(index, places);
            if self.rng.random_bool(0.5) {
                break;
            }
        }
        if batch.is_empty() {
            return false;
        }
        if self.rng.random_bool(0.1) {
            self.paused.push(batch.clone());
        }
        let id = self.invoke(batch.clone(), false);
        for index in batch.into_keys() {
            self.partitions[index].in_flight = Some(id);
        }
        true
    }

    fn invoke(&mut self, delivered: BTreeMap<usize, Vec<usize>>, zombie: bool) -> usize {
        let records = delivered.iter().flat_map(|(&index, places)| {
            let log = &self.partitions[index].log;
            places.iter().map(move |&place| log[place].clone())
        });
        let batch = builders::batch(records.collect::<Vec<_>>());
        let engine = Arc::clone(&self.environments[self.rng.random_range(0..self.environments.len())]);
        let future: Running = Box::pin(async move { engine.process(batch, FOREVER).await });
        self.next_id += 1;
        self.invocations.push(Invocation { id: self.next_id, future, delivered, zombie });
        self.next_id
    }

    fn any_invocation(&mut self) -> Option<usize> {
        let running = self.invocations.len();
        (running > 0).then(|| self.rng.random_range(0..running))
    }

    fn step(&mut self) {
        let Some(index) = self.any_invocation() else { return };
        if let Some(outcome) = step(&mut self.invocations[index].future) {
            let invocation = self.invocations.swap_remove(index);
            self.finish(&invocation, outcome.ok());
        }
    }

    fn crash(&mut self) {
        let Some(index) = self.any_invocation() else { return };
        let invocation = self.invocations.swap_remove(index);
        self.happened.crashed += 1;
        self.finish(&invocation, None);
    }

    /// A fresh process knows nothing.
    fn restart_environment(&mut self) {
        let index = self.rng.random_range(0..self.environments.len());
        self.environments[index] = Arc::new(self.fakes.engine_with(RING));
        self.happened.restarted += 1;
    }

    /// A rebalance: the invocation goes on, its batch is delivered again elsewhere.
    fn orphan(&mut self) {
        let Some(index) = self.any_invocation() else { return };
        let invocation = &mut self.invocations[index];
        if !invocation.zombie {
            invocation.zombie = true;
            for partition in invocation.delivered.keys() {
                self.partitions[*partition].in_flight = None;
            }
        }
    }

    fn wake_paused_poller(&mut self) {
        if self.paused.is_empty() {
            return;
        }
        let batch = self.paused.swap_remove(self.rng.random_range(0..self.paused.len()));
        self.invoke(batch, true);
    }

    /// As an operator must do it: everything is delivered, the mapping is off and its invocations have ended.
    fn recreate_partition(&mut self) {
        let index = self.rng.random_range(0..self.partitions.len());
        self.fakes.shared().outage = false;
        self.paused.retain(|batch| !batch.contains_key(&index));
        for _ in 0..STEPS_TO_REST {
            let touched = self.invocations.iter().any(|invocation| invocation.delivered.contains_key(&index));
            if !touched && self.partitions[index].is_at_rest() {
                break;
            }
            if self.invocations.is_empty() && self.deliver() {
                self.paused.retain(|batch| !batch.contains_key(&index));
            } else {
                self.step();
            }
        }
        let touched = self.invocations.iter().any(|invocation| invocation.delivered.contains_key(&index));
        if touched || !self.partitions[index].is_at_rest() {
            return;
        }
        let partition = &mut self.partitions[index];
        self.happened.recreated += usize::from(partition.base < partition.log.len());
        partition.base = partition.log.len();
        self.latest = Millis(self.latest.0 + 20_000);
        self.fakes.shared().now = self.latest;
    }

    /// Somebody's item cannot be read for a while.
    fn break_or_repair_an_item(&mut self) {
        let user = UserId::new(format!("user-{}", self.rng.random_range(0..self.users)));
        let Ok(user) = user else { return };
        let mut shared = self.fakes.shared();
        if !shared.unreadable.remove(&user) {
            shared.unreadable.insert(user);
        }
    }

    /// An operator drives a record again that the mapping gave up, or that was parked because of a broken item.
    fn redrive(&mut self) {
        self.look_through_parked();
        if self.given_up.is_empty() {
            return;
        }
        let record = self.given_up.swap_remove(self.rng.random_range(0..self.given_up.len()));
        let partition = self.rng.random_range(0..self.partitions.len());
        let timestamp = self.pass(0);
        let value = record.value.unwrap_or_default();
        let is_redriven = record.headers.iter().any(|(name, _)| name == FIRST_TOPIC);
        let headers = if is_redriven {
            record.headers
        } else {
            dead_letter_v1::first_headers(TOPIC, record.coordinates, &value, &builders::key())
        };
        self.happened.redriven += 1;
        // The place after the one it was given up at.
        let timestamp = timestamp.max(Millis(record.coordinates.timestamp.0 + 1));
        self.append(partition, timestamp, value, headers);
    }

    fn look_through_parked(&mut self) {
        let shared = self.fakes.shared();
        for parked in &shared.dead_letters[self.looked_through..] {
            if let (DeadLetterReason::StateUnreadable, Some(offset), Some(timestamp)) =
                (parked.reason_code, parked.offset, parked.timestamp)
            {
                let coordinates = Coordinates { partition: parked.partition, offset, timestamp };
                let (value, headers) = (parked.value.clone(), parked.headers.clone());
                self.given_up.push(Record { coordinates, key: None, value, headers });
            }
        }
        self.looked_through = shared.dead_letters.len();
    }

    fn finish(&mut self, invocation: &Invocation, report: Option<BatchReport>) {
        let is_poisoned = invocation.delivered.iter().any(|(&index, places)| {
            let poison = &self.partitions[index].poison;
            places.iter().any(|place| poison.contains(place))
        });
        let report = report.filter(|_| !is_poisoned);
        if let Some(report) = &report {
            self.happened.answered += 1;
            self.happened.decided += report.decided;
            self.happened.unsettled += report.failed;
            self.happened.replayed += report.replayed;
            self.happened.stale += report.stale;
            self.happened.conflicts += report.conflicts;
            self.happened.tripped += report.order_violations;
            self.happened.holds_settled += report.markers_complete;
            self.happened.holds_retired += report.markers_retired;
            self.happened.unreadable += report.state_unreadable;
            self.happened.id_conflicts += report.id_conflicts;
            self.happened.ahead += report.ahead;
            self.happened.full_rings += report.full_rings;
        }
        if invocation.zombie {
            return;
        }
        for (&index, places) in &invocation.delivered {
            let gives_up = self.gives_up && self.rng.random_bool(if is_poisoned { 0.5 } else { 0.04 });
            let partition = &mut self.partitions[index];
            assert_eq!(partition.in_flight, Some(invocation.id), "one batch per partition");
            partition.in_flight = None;
            let key = format!("{TOPIC}-{index}");
            let failed: BTreeSet<usize> = match &report {
                Some(report) => {
                    let offsets = report.response.failures.iter().filter(|(failed_key, _)| *failed_key == key);
                    let place_of = |offset: u64| {
                        places.iter().copied().find(|&place| partition.log[place].coordinates.offset == offset)
                    };
                    offsets.filter_map(|(_, offset)| place_of(*offset)).collect()
                }
                None => places.iter().copied().collect(),
            };
            if gives_up {
                self.happened.given_up += failed.len();
                self.given_up.extend(failed.iter().map(|&place| partition.log[place].clone()));
                failed.iter().for_each(|place| {
                    partition.poison.remove(place);
                });
            }
            if report.is_none() && !gives_up {
                continue;
            }
            let failed = if gives_up { BTreeSet::new() } else { failed };
            let after = places.iter().max().map_or(0, |last| last + 1);
            if self.reading == Reading::Resume {
                partition.committed = match failed.first() {
                    Some(&first) => first,
                    None => partition.committed.max(after),
                };
            } else {
                partition.again.retain(|place| !places.contains(place));
                partition.again.extend(failed);
                partition.again.sort_unstable();
                partition.committed = partition.committed.max(after);
            }
        }
    }

    /// Delivers until nothing is left, for so many steps.
    fn rest(&mut self, steps: usize) {
        for _ in 0..steps {
            if !self.invocations.is_empty() {
                self.step();
            } else if !self.deliver() {
                self.look_through_parked();
                if self.given_up.is_empty() {
                    return;
                }
                self.redrive();
            }
        }
    }

    /// Whatever is still open is older than the mapping delivers: its invocations have timed out, its records are given up.
    fn everything_gets_too_old(&mut self) {
        self.gives_up = false;
        self.invocations.clear();
        self.paused.clear();
        for partition in &mut self.partitions {
            let open = partition.again.drain(..).chain(partition.committed..partition.log.len());
            let open: Vec<Record> = open.map(|place| partition.log[place].clone()).collect();
            self.happened.given_up += open.len();
            self.given_up.extend(open);
            partition.committed = partition.log.len();
            partition.in_flight = None;
            partition.poison.clear();
        }
        self.latest = Millis(self.latest.0 + RING.delivered_within_ms + 1);
        self.fakes.shared().now = self.latest;
    }
}
