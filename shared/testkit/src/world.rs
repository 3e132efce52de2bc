//! A topic, a mapping and several environments under faults, from one seed; and the account at the end.
//!
//! The mapping is as unkind as the documentation allows: one batch per partition in flight, but crashed, cut and partly failed
//! batches come again in any of three readings of AWS's text, a paused poller wakes up with an old batch, and an invocation may
//! go on while its batch is already delivered elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use centinela_contracts::kafka_event::Record;
use centinela_domain::ledger::RING_MIN;
use centinela_domain::{Coordinates, Millis, TransactionId, UserId};
use centinela_engine::{BatchReport, Crash};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::builders::{self, EPOCH_MS, TOPIC};
use crate::fakes::{FakeEngine, Fakes, Faults};
use crate::schedule::step;

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
}

type Running = Pin<Box<dyn Future<Output = Result<BatchReport, Crash>>>>;

struct Invocation {
    id: usize,
    future: Running,
    delivered: BTreeMap<usize, Vec<usize>>,
    /// Its batch has been, or may be, delivered elsewhere: its answer counts for nothing.
    zombie: bool,
}

/// What a run found. All lists are empty when the protocol holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Transactions without a decision on the topics or on the stream.
    pub lost: Vec<(String, String)>,
    /// Transactions with two different decisions.
    pub doubled: Vec<(String, String)>,
    /// Users whose totals differ from a fold over their unique transactions.
    pub totals: Vec<String>,
    /// Bad records that were not parked.
    pub unparked: usize,
    /// Published without being committed.
    pub uncommitted: usize,
    /// Partitions in which a settled record is still noted as unsettled, so that rings would never shrink again.
    pub held: Vec<usize>,
    /// The mapping could not come to an end.
    pub stuck: bool,
}

/// What happened in a run, to see that the faults were there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Happened {
    /// Batches handled to their end.
    pub answered: usize,
    /// Invocations dropped at an await.
    pub crashed: usize,
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
    /// The same bytes published again.
    pub republished: usize,
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
    made: Vec<(String, String)>,
    bad: usize,
    newest: HashMap<String, (String, usize)>,
    repeated: HashSet<(String, String)>,
    /// Old batches that a paused poller may still deliver.
    paused: Vec<BTreeMap<usize, Vec<usize>>>,
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
            settled_unread: 0.05,
            write_refused: 0.03,
            settled_refused: 0.05,
            reply_lost: 0.05,
            loser_blind: 0.3,
            topic_failed: 0.03,
            stream_failed: 0.03,
            park_failed: 0.2,
        };
        let environments = (0..3).map(|_| Arc::new(fakes.engine())).collect();
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
            bad: 0,
            newest: HashMap::new(),
            repeated: HashSet::new(),
            paused: Vec::new(),
            happened: Happened::default(),
            rng,
        }
    }

    /// Runs `events` random events, then lets everything come to an end without faults, and takes the account.
    pub fn run(mut self, events: usize) -> (Account, Happened) {
        for _ in 0..events {
            self.event();
        }
        self.drain();
        // A healthy mapping goes on, and must find its way out of what the faults left behind.
        for _ in 0..4 {
            (0..self.partitions.len()).for_each(|index| self.produce_good(index));
            self.drain();
        }
        let account = self.account();
        (account, self.happened)
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
            326..336 => self.orphan(),
            336..341 => self.wake_paused_poller(),
            341..344 => self.recreate_partition(),
            344..350 => self.crash(),
            _ => self.step(),
        }
    }

    fn produce(&mut self) {
        let user_number = self.rng.random_range(0..self.users);
        let user = format!("user-{user_number}");
        let pass_ms = self.rng.random_range(0..500);
        let skew_ms = if self.rng.random_bool(0.1) { self.rng.random_range(0..500) } else { 0 };
        let timestamp = {
            let mut shared = self.fakes.shared();
            shared.now = Millis(shared.now.0 + pass_ms);
            Millis(shared.now.0 - skew_ms)
        };
        let random_partition = self.rng.random_range(0..self.partitions.len());
        let mut partition = if self.keyed_by_user { user_number % self.partitions.len() } else { random_partition };
        let value = if self.rng.random_bool(0.03) {
            self.bad += 1;
            format!("{{\"no\":\"transaction {}\"", self.bad).into_bytes()
        } else if let Some((transaction, same_partition)) =
            self.newest.get(&user).cloned().filter(|_| self.rng.random_bool(0.12))
        {
            partition = same_partition;
            self.repeated.insert((user.clone(), transaction.clone()));
            builders::transaction_json(&user, &transaction, timestamp.0, "12.34")
        } else {
            let transaction = format!("tx-{}", self.made.len());
            self.made.push((user.clone(), transaction.clone()));
            self.newest.insert(user.clone(), (transaction.clone(), partition));
            builders::transaction_json(&user, &transaction, timestamp.0, "12.34")
        };
        let log = &mut self.partitions[partition];
        let place = log.log.len();
        let coordinates = Coordinates { partition: partition as u32, offset: (place - log.base) as u64, timestamp };
        log.log.push(Record { coordinates, key: None, value: Some(value), headers: Vec::new() });
    }

    fn produce_good(&mut self, index: usize) {
        let (user, transaction) = (format!("good-{index}"), format!("tx-{}", self.made.len()));
        let timestamp = {
            let mut shared = self.fakes.shared();
            shared.now = Millis(shared.now.0 + 2_000);
            shared.now
        };
        let value = Some(builders::transaction_json(&user, &transaction, timestamp.0, "12.34"));
        self.made.push((user, transaction));
        let partition = &mut self.partitions[index];
        let offset = (partition.log.len() - partition.base) as u64;
        let coordinates = Coordinates { partition: index as u32, offset, timestamp };
        partition.log.push(Record { coordinates, key: None, value, headers: Vec::new() });
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
        let future: Running = Box::pin(async move { engine.process(batch, Millis(i64::MAX)).await });
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

    /// As an operator must do it: the mapping has nothing left to deliver and its invocations have ended.
    fn recreate_partition(&mut self) {
        let index = self.rng.random_range(0..self.partitions.len());
        let touched = self.invocations.iter().any(|invocation| invocation.delivered.contains_key(&index))
            || self.paused.iter().any(|batch| batch.contains_key(&index));
        let partition = &mut self.partitions[index];
        if !touched
            && partition.in_flight.is_none()
            && partition.again.is_empty()
            && partition.committed == partition.log.len()
        {
            partition.base = partition.log.len();
            let mut shared = self.fakes.shared();
            shared.now = Millis(shared.now.0 + 20_000);
        }
    }

    fn finish(&mut self, invocation: &Invocation, report: Option<BatchReport>) {
        if let Some(report) = &report {
            self.happened.answered += 1;
            self.happened.unsettled += report.unsettled;
            self.happened.replayed += report.replayed;
            self.happened.stale += report.stale;
            self.happened.conflicts += report.conflicts;
            self.happened.tripped += report.order_tripwire;
            self.happened.holds_settled += report.holds_settled;
        }
        if invocation.zombie {
            return;
        }
        for (&index, places) in &invocation.delivered {
            let partition = &mut self.partitions[index];
            debug_assert_eq!(partition.in_flight, Some(invocation.id), "one batch per partition");
            partition.in_flight = None;
            let Some(report) = &report else { continue };
            let key = format!("{TOPIC}-{index}");
            let failed: BTreeSet<usize> = report
                .response
                .failures
                .iter()
                .filter(|(failed_key, _)| *failed_key == key)
                .filter_map(|(_, offset)| {
                    places.iter().copied().find(|&place| partition.log[place].coordinates.offset == *offset)
                })
                .collect();
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

    fn drain(&mut self) {
        {
            let mut shared = self.fakes.shared();
            shared.faults = Faults::default();
            shared.outage = false;
        }
        for _ in 0..100_000 {
            if !self.invocations.is_empty() {
                self.step();
            } else if !self.deliver() {
                return;
            }
        }
    }

    fn account(&mut self) -> Account {
        let shared = self.fakes.shared();
        let mut payloads: [HashMap<_, HashSet<&[u8]>>; 2] = [HashMap::new(), HashMap::new()];
        for (place, published) in [&shared.on_topics, &shared.on_stream].into_iter().enumerate() {
            for decision in published {
                if !payloads[place].entry(decision.decision_id).or_default().insert(&decision.payload) {
                    self.happened.republished += usize::from(place == 0);
                }
            }
        }
        let mut account = Account { uncommitted: shared.uncommitted.len(), ..Account::default() };
        let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
        let mut excused: HashSet<&str> = HashSet::new();
        for pair in &self.made {
            let (user, transaction) = pair;
            *expected.entry(user).or_default() += 1;
            let (Ok(user_id), Ok(transaction_id)) =
                (UserId::new(user.as_str()), TransactionId::new(transaction.as_str()))
            else {
                continue;
            };
            let decision_id = centinela_domain::DecisionId::derive(&user_id, &transaction_id);
            let outside =
                self.repeated.contains(pair) && outside_the_window(shared.entered.get(&user_id), decision_id.digest());
            if outside {
                excused.insert(user);
                continue;
            }
            let found: Vec<usize> =
                payloads.iter().map(|place| place.get(&decision_id).map_or(0, HashSet::len)).collect();
            if found.contains(&0) {
                account.lost.push(pair.clone());
            }
            let everywhere: HashSet<&[u8]> =
                payloads.iter().filter_map(|place| place.get(&decision_id)).flatten().copied().collect();
            if everywhere.len() > 1 {
                account.doubled.push(pair.clone());
            }
        }
        for (user, count) in expected {
            let Ok(user_id) = UserId::new(user) else { continue };
            let stored = shared
                .user(&user_id)
                .map_or((0, 0), |stored| (stored.item.state.transactions, stored.item.state.amount_total_minor));
            if !excused.contains(user) && stored != (count, count * 1234) {
                account.totals.push(format!("{user}: {stored:?} instead of {count}"));
            }
        }
        let parked: HashSet<&Option<Vec<u8>>> = shared.parked.iter().map(|parked| &parked.value).collect();
        account.unparked = self.bad - parked.len();
        let is_held = |index: &usize| {
            let item = shared.settled.get(&(*index as u32));
            // What could not be parked has no ring that could be asked: an operator must look.
            item.is_some_and(|item| item.item.holds.iter().any(|hold| hold.owner.is_some()))
        };
        account.held = (0..self.partitions.len()).filter(is_held).collect();
        account.stuck = !self.invocations.is_empty()
            || self
                .partitions
                .iter()
                .any(|partition| partition.committed < partition.log.len() || !partition.again.is_empty());
        account
    }
}

/// Whether a producer's duplicate was seen only after so many newer decisions that the promised window had passed.
fn outside_the_window(
    entered: Option<&Vec<centinela_domain::TransactionDigest>>,
    digest: centinela_domain::TransactionDigest,
) -> bool {
    let places: Vec<usize> = entered
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|(_, known)| **known == digest)
        .map(|(place, _)| place)
        .collect();
    places.windows(2).any(|pair| pair[1] - pair[0] > RING_MIN)
}
