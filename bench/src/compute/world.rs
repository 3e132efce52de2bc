//! A small world with a past: users and devices with history, rings with decisions in them, and the events that come next.

use std::collections::BTreeMap;

use centinela_contracts::keyed::DeploymentKey;
use centinela_contracts::stored_user::StoredUser;
use centinela_contracts::{kafka_event::KafkaBatch, stored_device, stored_profile, stored_risk, stored_user};
use centinela_delivery::Deadline;
use centinela_domain::{Currency, Ledger, Millis, UserId};
use centinela_inference::ModelScorer;
use centinela_scoring::{BatchReport, Engine, Limits, Settings};
use centinela_traffic::{Generator, Past, PastLimits, TrafficConfig};
use futures::executor::block_on;
use serde_json::json;

use super::ports::{Accepting, NOW, Stopped, Tables};

/// The topic that the events come from.
pub const TOPIC: &str = "transactions";
/// Partitions that they come from, in turn.
const PARTITIONS: u64 = 10;
/// The seed of everything.
const SEED: u64 = 15;
const USERS: usize = 1_000;
/// Transactions before the first event: nobody is new to the model then.
const PAST: u64 = 12_000;
/// Transactions that are decided before anything is measured: rings have decisions in them then.
const DECIDED_BEFORE: usize = 3_000;
const BATCH: usize = 100;
/// Transactions that the kernels work on.
pub const EVENTS: usize = 1_000;

/// No deadline.
const FOREVER: Deadline = Deadline { work: Millis(i64::MAX), answer: Millis(i64::MAX) };

type Ports = (Tables, Accepting, Accepting, ModelScorer, Stopped);

/// The world, stopped at one moment.
pub struct World {
    /// What the tables hold.
    pub tables: Tables,
    /// The payloads that come next, in their order.
    pub payloads: Vec<Vec<u8>>,
    engine: Engine<Ports, Accepting>,
    /// Transactions decided before these.
    before: usize,
}

impl World {
    /// Makes it: takes some tenths of a second.
    ///
    /// # Panics
    /// When the generator's transactions are not what the function takes, which is a fault of this repository.
    #[must_use]
    pub fn new() -> Self {
        let mut generator =
            Generator::new(TrafficConfig { users: USERS, duplicate_share: 0.0, ..TrafficConfig::live(SEED) });
        let limits = PastLimits { transactions: PAST, ..PastLimits::DEFAULT };
        let past = Past::live_through(&mut generator, limits).expect("the generator makes transactions");
        let tables = Tables::default();
        fill(&tables, &past);
        let settings = Settings {
            key: DeploymentKey::new(b"a key for measurements only, of 32 bytes").expect("HMAC takes any key"),
            default_currency: Currency::DEFAULT,
            block_rate_guard: Some(centinela_domain::guard::FALSE_ALARM_ONE_IN),
            limits: Limits::default(),
        };
        let scorer = ModelScorer::bundled().expect("the bundled model is sound");
        let engine = Engine::new(tables.clone(), Accepting, Accepting, Accepting, scorer, Stopped, settings);
        let mut payloads = || {
            let sent = generator.next_transaction().expect("the world does not end so soon");
            sent.fields.to_json()
        };
        let decided: Vec<Vec<u8>> = (0..DECIDED_BEFORE).map(|_| payloads()).collect();
        let payloads: Vec<Vec<u8>> = (0..EVENTS).map(|_| payloads()).collect();
        let world = Self { tables, payloads, engine, before: DECIDED_BEFORE };
        for (place, batch) in decided.chunks(BATCH).enumerate() {
            let report = world.handle(&event(batch, place * BATCH));
            assert_eq!((report.decided, report.failed), (batch.len(), 0), "the past is decided");
        }
        world.tables.items().frozen = true;
        world
    }

    /// The event with the first `records` of the payloads.
    #[must_use]
    pub fn event(&self, records: usize) -> Vec<u8> {
        event(&self.payloads[..records], self.before)
    }

    /// The whole compute path of an invocation: the event's bytes in, the answer's bytes out.
    #[must_use]
    pub fn handle(&self, event: &[u8]) -> BatchReport {
        let batch = KafkaBatch::parse(event).and_then(|batch| batch.of_topic(TOPIC)).expect("the event is one");
        block_on(self.engine.process(batch, FOREVER)).expect("nothing fails here")
    }

    /// Users' items as they are stored, of the users of the first `records` payloads, each once.
    ///
    /// # Panics
    /// When a payload is no transaction.
    #[must_use]
    pub fn users(&self, records: usize) -> Vec<(UserId, StoredUser)> {
        let items = self.tables.items();
        let users = self.payloads[..records]
            .iter()
            .map(|payload| centinela_contracts::transaction_v1::parse(payload).expect("it was decided as one").user_id);
        let users: std::collections::BTreeSet<UserId> = users.collect();
        let stored = users.into_iter().filter_map(|user| {
            let (_, bytes) = items.users.get(&user)?.state.clone()?;
            let stored = stored_user::decode(&bytes, &user).expect("what was written can be read");
            Some((user, stored))
        });
        stored.collect()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

fn fill(tables: &Tables, past: &Past) {
    let mut items = tables.items();
    for (user, state) in &past.users {
        let bytes = stored_user::encode(&StoredUser { state: state.clone(), ledger: Ledger::default() });
        items.users.entry(user.clone()).or_default().state = Some((1, bytes));
    }
    for (user, profile) in &past.profiles {
        items.users.entry(user.clone()).or_default().profile = Some(stored_profile::encode(profile));
    }
    for (user, risk) in &past.user_risks {
        items.users.entry(user.clone()).or_default().risk = Some(stored_risk::encode(risk));
    }
    for (device, state) in &past.devices {
        items.devices.entry(device.clone()).or_default().state = Some((1, stored_device::encode(state)));
    }
    for (device, risk) in &past.device_risks {
        items.devices.entry(device.clone()).or_default().risk = Some(stored_risk::encode(risk));
    }
}

/// An event as the mapping makes it. `before` records came earlier, so offsets go on where they ended.
fn event(payloads: &[Vec<u8>], before: usize) -> Vec<u8> {
    let mut partitions: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
    for (place, payload) in (before as u64..).zip(payloads) {
        let (partition, offset) = (place % PARTITIONS, place / PARTITIONS);
        partitions.entry(format!("{TOPIC}-{partition}")).or_default().push(json!({
            "topic": TOPIC,
            "partition": partition,
            "offset": offset,
            "timestamp": NOW.0 - 10_000 + place as i64,
            "timestampType": "LOG_APPEND_TIME",
            "key": base64_simd::STANDARD.encode_to_string(format!("t-f-{place:09}")),
            "value": base64_simd::STANDARD.encode_to_string(payload),
            "headers": [],
        }));
    }
    let event = json!({ "eventSource": "SelfManagedKafka", "bootstrapServers": "b-1:9092", "records": partitions });
    event.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_of_a_batch_decides_the_same_and_all_of_it() {
        let world = World::new();
        for records in [1, 10, 100, EVENTS] {
            let event = world.event(records);
            let (first, again) = (world.handle(&event), world.handle(&event));
            assert_eq!((first.decided, first.failed, first.guarded), (records, 0, 0));
            assert_eq!((first.blocked, first.replayed), (again.blocked, again.replayed));
        }
        let rings = world.users(EVENTS);
        let remembered: usize = rings.iter().map(|(_, stored)| stored.ledger.entries.len()).sum();
        assert!(rings.len() > 300 && remembered > rings.len(), "{} users remember {remembered}", rings.len());
    }
}
