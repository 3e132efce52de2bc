//! A world's past against the function's own protocol, and against the same world without one.

use std::collections::HashSet;
use std::sync::Arc;

use centinela_testkit::bench::Bench;
use centinela_testkit::builders::{key, record};
use centinela_traffic::{Event, Generator, LabelledTransaction, Past, PastLimits, Shape, TrafficConfig};

/// A small world: duplicates and late events as live traffic has them, more of the late ones, because so few transactions have few.
fn world(seed: u64) -> TrafficConfig {
    TrafficConfig { users: 250, duplicate_share: 0.02, late_days_share: 0.01, spacing: 10, ..TrafficConfig::live(seed) }
}

fn limits(transactions: u64) -> PastLimits {
    PastLimits { transactions, ..PastLimits::DEFAULT }
}

fn after(generator: &mut Generator, count: usize) -> Vec<LabelledTransaction> {
    std::iter::from_fn(|| generator.next_transaction()).take(count).collect()
}

#[test]
fn a_past_is_what_the_engine_would_have_stored_of_the_same_transactions() {
    for seed in 1..=4 {
        let past = Past::live_through(&mut Generator::new(world(seed)), limits(2_500)).expect("valid transactions");
        let (bench, key) = (Bench::new(), key());
        let (mut unique, mut offset, mut generator) = (HashSet::new(), 0, Generator::new(world(seed)));
        // Duplicates are delivered too: the engine answers them from the ring.
        while (unique.len() as u64) < past.transactions {
            let sent = generator.next_transaction().expect("the world goes on");
            bench.deliver([record(0, offset, sent.fields.to_json())]);
            unique.insert(sent.fields.transaction_id);
            offset += 1;
        }
        assert!(offset > past.transactions, "seed {seed} sent no duplicate");
        let shared = bench.fakes.shared();
        assert_eq!(shared.users.len(), past.users.len(), "users of seed {seed}");
        for (user, state) in &past.users {
            let stored = shared.user(user).unwrap_or_else(|| panic!("{user:?} of seed {seed} is not stored"));
            let mut state = state.clone();
            state.networks.iter_mut().for_each(|hash| *hash = key.hidden_network(*hash));
            state.agents.iter_mut().for_each(|hash| *hash = key.hidden_agent(*hash));
            assert_eq!(stored.item.state, state, "{user:?} of seed {seed}");
        }
        assert!(past.users.values().any(|state| state.late > 0), "nobody of seed {seed} was late");
        assert_eq!(shared.devices.len(), past.devices.len(), "devices of seed {seed}");
        for (device, state) in &past.devices {
            assert_eq!(shared.devices[device].item, *state, "{device:?} of seed {seed}");
        }
        assert!(past.devices.values().any(|state| state.users.len() > 1), "no device of seed {seed} was shared");
    }
}

#[test]
fn a_world_with_a_past_goes_on_as_it_would_have_gone_on_and_repeats_nothing_of_it() {
    for shape in [Shape::Natural, Shape::HOT] {
        let config = TrafficConfig { users: 600, duplicate_share: 0.05, ..TrafficConfig::live(8) }.shaped(shape);
        let (mut with_past, mut without) = (Generator::new(config.clone()), Generator::new(config));
        let past = Past::live_through(&mut with_past, limits(10_000)).expect("valid transactions");
        let mut before: HashSet<Arc<str>> = HashSet::new();
        while (before.len() as u64) < past.transactions {
            before.insert(without.next_transaction().expect("the world goes on").fields.transaction_id);
        }
        let goes_on = after(&mut with_past, 3_000);
        assert!(goes_on.iter().all(|sent| !before.contains(&sent.fields.transaction_id)), "{shape:?} repeats its past");
        assert!(goes_on.iter().any(|sent| sent.duplicate), "{shape:?} has no duplicates any more");
        let new = |sent: Vec<LabelledTransaction>| -> Vec<Vec<u8>> {
            let new = sent.into_iter().filter(|sent| !sent.duplicate).map(|sent| sent.fields.to_json());
            new.take(2_500).collect()
        };
        assert!(new(goes_on) == new(after(&mut without, 3_000)), "{shape:?} goes on as another world");
    }
}

#[test]
fn a_past_ends_with_the_first_limit_that_it_reaches() {
    let past = |limits| Past::live_through(&mut Generator::new(world(1)), limits).expect("valid transactions");
    let days = past(PastLimits { days: 3, ..PastLimits::DEFAULT });
    let day_ms = 24 * 3_600_000;
    assert!((3 * day_ms..4 * day_ms).contains(&days.lasted_ms), "{} ms", days.lasted_ms);
    assert_eq!(past(limits(500)).transactions, 500);
    let states = past(PastLimits { states: 120, ..PastLimits::DEFAULT });
    assert!((120..=121).contains(&(states.users.len() + states.devices.len())));
    assert!(states.transactions < days.transactions);
}

#[test]
fn what_overtakes_the_first_transaction_is_past_and_not_sent_at_once() {
    let mut generator = Generator::new(world(5));
    Past::live_through(&mut generator, limits(2_500)).expect("valid events");
    let is_transaction = |event: &Event| matches!(event, Event::Transaction(_));
    assert!(generator.next().as_ref().is_some_and(is_transaction), "something is sent before the first transaction");
    let fresh: Vec<Event> = Generator::new(world(5)).take(100).collect();
    assert!(
        !is_transaction(&fresh[0]),
        "nothing overtakes the first transaction of this world, so the test says nothing"
    );
}
