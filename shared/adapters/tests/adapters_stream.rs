//! The index, by either client, and the roll-ups against an embedded DynamoDB that misbehaves on request.

#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

#[macro_use]
mod clients;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use centinela_adapters::aws::{Services, WireClient};
use centinela_adapters::{ConnectError, DynamoLimits, DynamoLookup, DynamoRollups, SystemClock, Tables};
use centinela_contracts::{decision_v1, stored_decision, stored_rollup};
use centinela_delivery::Clock;
use centinela_domain::{
    AmountMinor, Currency, Decision, DecisionId, Millis, MissingInputs, ModelStamp, Outcome, RecordedFeatures, Rollup,
    TransactionId, UserId,
};
use centinela_local::aws::{AttrType, DynamoConfig, DynamoDb, Fault, FaultSource, RequestInfo, TableSpec};
use centinela_lookup::{IndexDecisions, Limits};
use centinela_rollup::ports::{RollupItem, Rollups};
use clients::sdk;

/// A failed one panics.
type TestResult = ();

const DECISIONS: &str = "decisions";
const METRICS: &str = "decision_metrics";

/// Every third call goes wrong, in turns.
#[derive(Default)]
struct Unreliable(AtomicUsize);

impl FaultSource for Unreliable {
    fn decide(&self, _: &RequestInfo<'_>) -> Fault {
        match self.0.fetch_add(1, Ordering::Relaxed) % 9 {
            2 => Fault::Throttle,
            5 => Fault::ReplyLost,
            8 => Fault::Partial { every: 2 },
            _ => Fault::None,
        }
    }
}

async fn service() -> DynamoDb {
    let table = |name: &str, sort_key: Option<&str>| TableSpec {
        name: name.to_owned(),
        partition_key: ("pk".to_owned(), AttrType::S),
        sort_key: sort_key.map(|name| (name.to_owned(), AttrType::S)),
        ttl_attribute: Some("x".to_owned()),
    };
    let tables = vec![table(DECISIONS, None), table(METRICS, Some("sk"))];
    let faults = Arc::new(Unreliable::default());
    DynamoDb::start(DynamoConfig { port: None, tables, faults, latency: None }).await.expect("a database")
}

async fn tables(service: &DynamoDb, by: WireClient) -> Tables {
    Services::new(&sdk(&service.url()).await, by).unwrap().tables().await.unwrap()
}

fn decision(user: &str, transaction: &str, later_ms: i64) -> Decision {
    let (user_id, transaction_id) = (UserId::new(user).unwrap(), TransactionId::new(transaction).unwrap());
    let now = SystemClock.now().0 + later_ms;
    Decision {
        decision_id: DecisionId::derive(&user_id, &transaction_id),
        transaction_id,
        user_id,
        amount: AmountMinor::new(1_234).unwrap(),
        currency: Currency::DEFAULT,
        outcome: Outcome::Blocked,
        score: 0.75,
        reasons: Vec::new(),
        model: ModelStamp { version: "1".into(), digest: [7; 8] },
        features: RecordedFeatures { version: 2, values: Box::new([]) },
        state_version: 1,
        occurred_at: Millis(now - 50),
        ingested_at: Millis(now - 20),
        decided_at: Millis(now),
        late: false,
        ahead: false,
        guarded: false,
        missing: MissingInputs::default(),
    }
}

async fn every_decision_is_in_the_index_once_whatever_the_database_does(by: WireClient) {
    let service = service().await;
    let store = DynamoLookup::connect(tables(&service, by).await, DECISIONS, DynamoLimits::default()).await.unwrap();
    let limits = Limits { attempts: 12, remembered: Duration::from_secs(86_400) };
    let index = IndexDecisions::new(store, SystemClock, limits);
    // Sixty transactions of one user, ten of which another one uses too, and a half of all comes again.
    let first: Vec<Decision> = (0..60).map(|number| decision("ana", &format!("t{number}"), 0)).collect();
    let second: Vec<Decision> = (0..10).map(|number| decision("bea", &format!("t{number}"), 5)).collect();
    for batch in [&first[..40], &first[30..], &second[..], &first[..30]] {
        let values: Vec<Vec<u8>> = batch.iter().map(decision_v1::encode).collect();
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let fold = index.handle(&values, Millis(SystemClock.now().0 + 20_000)).await;
        assert_eq!(fold.first_failed, None, "{:?}", fold.report);
    }
    let items = service.items(DECISIONS).unwrap();
    assert_eq!(items.len(), 60);
    for item in items {
        let entries = stored_decision::decode(item.group("d").unwrap()).unwrap();
        let users: Vec<&str> = entries.iter().map(|entry| entry.user_id.as_str()).collect();
        let number: u32 = item.key[1..].parse().unwrap();
        assert_eq!(users, if number < 10 { vec!["ana", "bea"] } else { vec!["ana"] }, "{}", item.key);
    }
    service.shutdown().await.unwrap();
}

async fn a_missing_table_is_known_at_the_start(by: WireClient) {
    let service = service().await;
    let refused = DynamoLookup::connect(tables(&service, by).await, "nowhere", DynamoLimits::default()).await;
    assert!(matches!(refused, Err(ConnectError::Tables { .. })), "{refused:?}");
    service.shutdown().await.unwrap();
}

by_both_clients! {
    every_decision_is_in_the_index_once_whatever_the_database_does,
    a_missing_table_is_known_at_the_start,
}

#[tokio::test]
async fn a_roll_up_is_one_item_however_often_it_is_put() {
    let service = service().await;
    let store = DynamoRollups::new(&sdk(&service.url()).await, METRICS, DynamoLimits::default());
    let mut rollup = Rollup::default();
    rollup.add(&decision("ana", "t1", 0));
    let item = |part: &str| RollupItem {
        window: "w#10000".to_owned(),
        part: part.to_owned(),
        rollup: rollup.clone(),
        expires_s: SystemClock.now().0 / 1_000 + 60,
    };
    for part in ["shard-0#1", "shard-0#1", "shard-1#2", "shard-0#1", "shard-0#7"] {
        store.put(item(part), Millis(SystemClock.now().0 + 20_000)).await.unwrap();
    }
    let items = service.items(METRICS).unwrap();
    let parts: BTreeMap<&str, Rollup> = items
        .iter()
        .map(|item| (item.text("sk").unwrap(), stored_rollup::decode(item.group("m").unwrap()).unwrap()))
        .collect();
    assert_eq!(parts.keys().copied().collect::<Vec<_>>(), ["shard-0#1", "shard-0#7", "shard-1#2"]);
    assert!(parts.values().all(|kept| *kept == rollup) && items.iter().all(|item| item.key == "w#10000"));
    service.shutdown().await.unwrap();
}
