//! The index is the fold of the decisions, whatever was delivered, in which order, how often, and what the store did to it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use centinela_contracts::decision_v1;
use centinela_contracts::stored_decision::{ENTRIES_MAX, IndexedDecision};
use centinela_delivery::{Clock, StoreError};
use centinela_domain::{
    AmountMinor, Currency, Decision, DecisionId, Millis, MissingInputs, ModelStamp, Outcome, RecordedFeatures,
    TransactionId, UserId,
};
use centinela_lookup::ports::{Found, IndexWrite, Lookup, Written};
use centinela_lookup::{IndexDecisions, Limits};

const NOW: Millis = Millis(1_795_357_920_123);
const DAY_MS: i64 = 86_400_000;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Millis {
        NOW
    }

    fn monotonic_us(&self) -> u64 {
        0
    }

    async fn pause(&self, _: Duration) {}
}

type Items = HashMap<TransactionId, Vec<IndexedDecision>>;

/// A table that fails every so many writes, before or after it has carried them out.
#[derive(Default)]
struct Table {
    items: Mutex<Items>,
    fails_every: usize,
    writes: Mutex<usize>,
    reads: Mutex<usize>,
}

impl Lookup for &Table {
    async fn write(&self, writes: Vec<IndexWrite>, _: Millis) -> Vec<Written> {
        let mut items = self.items.lock().unwrap();
        let write = |write: IndexWrite| {
            let mut count = self.writes.lock().unwrap();
            *count += 1;
            let fails = self.fails_every > 0 && count.is_multiple_of(self.fails_every);
            if fails && count.is_multiple_of(2) {
                return Written::Failed(StoreError::OutOfTime);
            }
            if items.get(&write.transaction) != write.replaces.as_ref() {
                return Written::Lost;
            }
            items.insert(write.transaction, write.entries);
            if fails { Written::Failed(StoreError::OutOfTime) } else { Written::Done }
        };
        writes.into_iter().map(write).collect()
    }

    async fn read(&self, transactions: Vec<TransactionId>, _: Millis) -> Found {
        *self.reads.lock().unwrap() += 1;
        let items = self.items.lock().unwrap();
        let found = transactions.into_iter().filter_map(|key| Some((key.clone(), Ok(items.get(&key)?.clone()))));
        Found { items: found.collect(), ..Found::default() }
    }
}

fn decision(user: &str, transaction: &str, decided_at: i64) -> Decision {
    let (user_id, transaction_id) = (UserId::new(user).unwrap(), TransactionId::new(transaction).unwrap());
    Decision {
        decision_id: DecisionId::derive(&user_id, &transaction_id),
        transaction_id,
        user_id,
        amount: AmountMinor::new(1_234).unwrap(),
        currency: Currency::DEFAULT,
        outcome: Outcome::Approved,
        score: 0.25,
        reasons: Vec::new(),
        model: ModelStamp { version: "1".into(), digest: [7; 8] },
        features: RecordedFeatures { version: 2, values: Box::new([]) },
        state_version: 1,
        occurred_at: Millis(decided_at - 50),
        ingested_at: Millis(decided_at - 20),
        decided_at: Millis(decided_at),
        late: false,
        ahead: false,
        guarded: false,
        missing: MissingInputs::default(),
    }
}

fn index<'a>(table: &'a Table) -> IndexDecisions<&'a Table, Noon> {
    IndexDecisions::new(table, Noon, Limits { attempts: 12, remembered: Duration::from_secs(30 * 86_400) })
}

fn bytes(decisions: &[Decision]) -> Vec<Vec<u8>> {
    decisions.iter().map(decision_v1::encode).collect()
}

fn refs(values: &[Vec<u8>]) -> Vec<&[u8]> {
    values.iter().map(Vec::as_slice).collect()
}

#[tokio::test]
async fn a_new_decision_costs_one_write_and_no_read_and_a_repeated_one_changes_nothing() {
    let table = Table::default();
    let values = bytes(&[decision("ana", "t1", NOW.0), decision("ana", "t2", NOW.0)]);
    let fold = index(&table).handle(&refs(&values), Millis(NOW.0 + 1)).await;
    assert_eq!((fold.report.indexed, fold.first_failed), (2, None));
    assert_eq!((*table.writes.lock().unwrap(), *table.reads.lock().unwrap()), (2, 0));
    let before = table.items.lock().unwrap().clone();
    let fold = index(&table).handle(&refs(&values), Millis(NOW.0 + 1)).await;
    assert_eq!((fold.report.indexed, fold.report.unchanged, fold.first_failed), (0, 2, None));
    assert_eq!(*table.items.lock().unwrap(), before);
}

#[tokio::test]
async fn users_who_share_an_id_stand_side_by_side_in_any_order() {
    let users: Vec<Decision> =
        (0..6).map(|user| decision(&format!("user-{user}"), "shared", NOW.0 + i64::from(user % 3))).collect();
    let mut folds = Vec::new();
    for turn in 0..users.len() {
        let table = Table { fails_every: 3, ..Table::default() };
        let mut turned = users.clone();
        turned.rotate_left(turn);
        for part in bytes(&turned).chunks(2) {
            let fold = index(&table).handle(&refs(part), Millis(NOW.0 + 1)).await;
            assert_eq!(fold.first_failed, None);
        }
        folds.push(table.items.into_inner().unwrap());
    }
    let entries = &folds[0][&TransactionId::new("shared").unwrap()];
    assert_eq!(entries.len(), ENTRIES_MAX);
    assert!(entries.is_sorted_by_key(|entry| entry.decided_at));
    assert!(folds.iter().all(|fold| *fold == folds[0]));
}

#[tokio::test]
async fn what_is_no_decision_or_too_old_or_reduced_is_passed_over_and_counted() {
    let table = Table::default();
    let old = decision("ana", "old", NOW.0 - 31 * DAY_MS);
    let one = decision("ana", "t1", NOW.0);
    let mut values = bytes(&[old, one.clone()]);
    values.push(b"nonsense".to_vec());
    values.push(decision_v1::encode_reduced(one.decision_id, &one.transaction_id, &one.user_id, one.outcome, 0.5));
    let report = index(&table).handle(&refs(&values), Millis(NOW.0 + 1)).await.report;
    assert_eq!((report.indexed, report.expired, report.unreadable, report.reduced), (1, 1, 1, 1));
}

#[tokio::test]
async fn what_cannot_be_written_is_delivered_again_from_the_first_such_record() {
    let table = Table::default();
    let values = bytes(&[decision("ana", "t1", NOW.0), decision("ana", "t2", NOW.0)]);
    let fold = index(&table).handle(&refs(&values), NOW).await;
    assert_eq!(fold.first_failed, Some(0), "no time was left");
    assert!(table.items.lock().unwrap().is_empty());
}
