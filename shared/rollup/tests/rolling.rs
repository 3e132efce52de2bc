//! A window's roll-up is the fold of its decisions, however its records are cut into batches, and however often its end is delivered.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use centinela_contracts::decision_v1;
use centinela_contracts::window_state::WindowState;
use centinela_delivery::StoreError;
use centinela_domain::rollup::{Flag, Stage};
use centinela_domain::{
    AmountMinor, Currency, Decision, DecisionId, Millis, MissingInputs, ModelStamp, Outcome, Reason, ReasonCode,
    RecordedFeatures, TransactionId, UserId,
};
use centinela_rollup::ports::{RollupItem, Rollups};
use centinela_rollup::{RollUp, Rollup, WindowOf, fold};

const START: Millis = Millis(1_795_357_920_000);

fn decision(number: u32) -> Decision {
    let user_id = UserId::new(format!("user-{}", number % 7)).unwrap();
    let transaction_id = TransactionId::new(format!("t-{number}")).unwrap();
    let blocked = number.is_multiple_of(5);
    let mut features = [0.0f32; 5];
    features[4] = (number % 5) as f32;
    let at = START.0 + i64::from(number);
    Decision {
        decision_id: DecisionId::derive(&user_id, &transaction_id),
        transaction_id,
        user_id,
        amount: AmountMinor::new(u64::from(number) * 100).unwrap(),
        currency: Currency::new(if number.is_multiple_of(2) { "EUR" } else { "USD" }).unwrap(),
        outcome: if blocked { Outcome::Blocked } else { Outcome::Approved },
        score: 0.5,
        reasons: vec![Reason { code: ReasonCode::ALL[number as usize % 13], contribution: 1.0 }],
        model: ModelStamp { version: format!("m{}", number % 2), digest: [0; 8] },
        features: RecordedFeatures { version: 2, values: Box::new(features) },
        state_version: 1,
        occurred_at: Millis(at - 100),
        ingested_at: Millis(at - 40),
        decided_at: Millis(at),
        late: number.is_multiple_of(3),
        ahead: false,
        guarded: false,
        missing: MissingInputs { device: number.is_multiple_of(4), ..MissingInputs::default() },
    }
}

fn records(numbers: impl Iterator<Item = u32>) -> Vec<(String, Vec<u8>)> {
    numbers.enumerate().map(|(at, number)| (format!("{at:04}"), decision_v1::encode(&decision(number)))).collect()
}

fn folded(records: &[(String, Vec<u8>)], batch: usize) -> WindowState {
    let mut state = None;
    for part in records.chunks(batch) {
        // As it travels from one invocation to the next.
        let travelled = state.map(|state: WindowState| WindowState::decode(&state.encode()).unwrap().unwrap());
        state = fold(travelled, part.iter().map(|(number, value)| (number.as_str(), value.as_slice()))).0;
    }
    state.unwrap()
}

#[test]
fn batches_of_any_size_come_to_the_same_and_a_repeated_decision_counts_once() {
    let records = records((0..60).chain(20..30).chain([59, 0]));
    let whole = folded(&records, 1_000);
    for batch in [1, 2, 7, 59] {
        assert_eq!(folded(&records, batch), whole, "{batch}");
    }
    let mut expected = Rollup::default();
    (0..60).for_each(|number| expected.add(&decision(number)));
    assert_eq!(whole.rollup, expected);
    assert_eq!((whole.first.as_str(), whole.rollup.decisions(), whole.seen.len()), ("0000", 60, 60));
}

#[test]
fn parts_merge_to_the_whole() {
    let (mut left, mut right, mut whole) = (Rollup::default(), Rollup::default(), Rollup::default());
    (0..40).for_each(|number| left.add(&decision(number)));
    (40..100).for_each(|number| right.add(&decision(number)));
    (0..100).for_each(|number| whole.add(&decision(number)));
    left.merge(&right);
    assert_eq!(left, whole);
    assert_eq!(whole.outcomes, [80, 0, 20]);
    assert_eq!(whole.device_types, [0, 20, 20, 20, 20, 20]);
    assert_eq!(whole.amount_bands.iter().sum::<u64>(), 100);
    assert_eq!((whole.flags[Flag::Late as usize], whole.flags[Flag::WithoutDevice as usize]), (34, 25));
    assert_eq!(
        whole.money[&Currency::new("EUR").unwrap()][Outcome::Blocked as usize],
        [0u64, 10, 20, 30, 40, 50, 60, 70, 80, 90].iter().sum::<u64>() * 100
    );
    assert_eq!(whole.latency[Stage::Whole as usize].quantile(0.5), Some(111));
    assert_eq!(whole.block_rate(), Some(0.2));
}

#[test]
fn what_is_no_decision_is_passed_over() {
    let (state, report) = fold(None, [("1", &b"nonsense"[..]), ("2", b"")].into_iter());
    assert_eq!((report.records, report.unreadable), (2, 2));
    assert_eq!(state.map(|state| state.rollup), Some(Rollup::default()));
}

#[derive(Default)]
struct Table(Mutex<BTreeMap<(String, String), RollupItem>>);

impl Rollups for &Table {
    async fn put(&self, item: RollupItem, _: Millis) -> Result<(), StoreError> {
        self.0.lock().unwrap().insert((item.window.clone(), item.part.clone()), item);
        Ok(())
    }
}

#[tokio::test]
async fn the_end_of_a_window_is_one_item_however_often_it_comes_and_each_part_has_its_own() {
    let table = Table::default();
    let rolling = RollUp::new(&table, Duration::from_secs(60));
    let window = WindowOf { start: START, shard: "shardId-000000000000" };
    let state = folded(&records(0..10), 4);
    for _ in 0..3 {
        assert!(rolling.end(window, Some(state.clone()), START).await.unwrap());
    }
    assert!(!rolling.end(window, None, START).await.unwrap(), "nothing is kept of a window without records");
    assert_eq!(table.0.lock().unwrap().len(), 1);
    let later = WindowState { first: "0100".into(), ..state };
    rolling.end(window, Some(later), START).await.unwrap();
    let items = table.0.lock().unwrap();
    let keys: Vec<_> = items.keys().map(|(window, part)| (window.as_str(), part.as_str())).collect();
    let window = format!("w#{}", START.0);
    assert_eq!(keys, [(window.as_str(), "shardId-000000000000#0000"), (window.as_str(), "shardId-000000000000#0100")]);
}
