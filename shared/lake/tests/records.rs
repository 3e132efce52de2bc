//! Every record becomes a row: typed where it can be read, as it came where it cannot.

use centinela_contracts::kafka_event::{KafkaBatch, Record};
use centinela_contracts::keyed::DeploymentKey;
use centinela_domain::{Coordinates, Currency, Millis};
use centinela_lake::row::{Cell, Row};
use centinela_lake::rows::Reading;
use centinela_lake::table::Table;
use proptest::prelude::*;

fn reading() -> Reading {
    let key = DeploymentKey::new(b"0123456789abcdef").expect("a key");
    Reading { key, default_currency: Currency::DEFAULT }
}

fn record(value: Option<&[u8]>) -> Record {
    Record {
        coordinates: Coordinates { partition: 3, offset: 42, timestamp: Millis(1_795_357_920_100) },
        key: None,
        value: value.map(<[u8]>::to_vec),
        headers: Vec::new(),
    }
}

fn row(table: Table, value: &str) -> Row {
    reading().row(table, &record(Some(value.as_bytes())))
}

fn shown(row: &Row, table: Table, column: &str) -> String {
    match row.cell(table, column) {
        Some(Cell::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Some(Cell::Int(number)) => number.to_string(),
        Some(Cell::Double(number)) => number.to_string(),
        Some(Cell::Bool(value)) => value.to_string(),
        other => format!("{other:?}"),
    }
}

const TRANSACTION: &str = r#"{"version":1,"transaction_id":"t-1","timestamp":1795357920000,"user_id":"ana","amount":"12.34",
    "currency":"EUR","device_type":"mobile","device_id":"d-1","ip":"203.0.113.7","user_agent":"a shop","merchant_id":"m"}"#;

#[test]
fn a_transaction_has_typed_columns_and_no_address() {
    let row = row(Table::Transactions, TRANSACTION);
    let shown = |column| shown(&row, Table::Transactions, column);
    assert_eq!((row.problem.as_deref(), row.value.as_ref(), row.broker_time), (None, None, 1_795_357_920_100));
    for (column, expected) in [
        ("transaction_id", "t-1"),
        ("user_id", "ana"),
        ("event_time", "1795357920000"),
        ("amount_minor", "1234"),
        ("currency", "EUR"),
        ("device_type", "mobile"),
        ("merchant_id", "m"),
    ] {
        assert_eq!(shown(column), expected, "{column}");
    }
    let (network, agent) = (shown("network"), shown("agent"));
    assert!(network.len() == 16 && agent.len() == 16 && network != agent, "{network} {agent}");
    let other = Reading { key: DeploymentKey::new(b"another key 1234").unwrap(), ..reading() };
    assert_ne!(other.row(Table::Transactions, &record(Some(TRANSACTION.as_bytes()))).cells, row.cells);
}

#[test]
fn a_person_s_data_is_hashed_and_the_name_is_not_kept() {
    let action = |email: &str| {
        let value = format!(
            r#"{{"version":1,"action_id":"a","timestamp":1795357920000,"user_id":"ana","action":"registered","ip":"203.0.113.7",
            "name":"Ana Pérez","email":"{email}","phone":"+34 600","address":"Calle 1"}}"#
        );
        row(Table::UserActions, &value)
    };
    let row = action("ana@example.com");
    assert_eq!(row.problem, None);
    let columns =
        ["email_hash", "phone_hash", "address_hash", "network"].map(|name| shown(&row, Table::UserActions, name));
    assert!(columns.iter().all(|hash| hash.len() == 16), "{columns:?}");
    assert_eq!(shown(&action(" Ana@Example.com"), Table::UserActions, "email_hash"), columns[0]);
    assert_ne!(shown(&action("ben@example.com"), Table::UserActions, "email_hash"), columns[0]);
    let everything = format!("{row:?}");
    assert!(!everything.contains("example.com") && !everything.contains("Pérez") && !everything.contains("Calle"));
    // The same network looks the same in both tables, so that an analyst can join by it.
    assert_eq!(columns[3], shown(&crate::row(Table::Transactions, TRANSACTION), Table::Transactions, "network"));
}

#[test]
fn a_decision_keeps_its_numbers_as_they_are_written_and_says_what_is_missing() {
    let value = r#"{"version":1,"decision_id":"000102030405060708090a0b0c0d0e0f","transaction_id":"t","user_id":"ana",
        "outcome":"BLOCKED","score":0.81,"amount":"5.00","currency":"EUR","reasons":[{"code":"NEW_DEVICE","contribution":0.7}],
        "model":{"version":"v1","digest":"0011223344556677"},"features_version":1,"features":[0.1,null],"state_version":9,
        "occurred_at":1,"ingested_at":2,"decided_at":3,"late":false,"degraded":true,"missing":["device"]}"#;
    let row = row(Table::Blocked, value);
    let cell = |column| row.cell(Table::Blocked, column).cloned().expect("a column");
    assert_eq!(row.problem, None);
    assert_eq!(cell("score"), Cell::Double(0.81));
    assert_eq!(cell("features"), Cell::Doubles([Some(0.1), None].into()));
    assert_eq!(cell("reasons"), Cell::Reasons([("NEW_DEVICE".into(), 0.7)].into()));
    assert_eq!(cell("missing"), Cell::Texts(["device".into()].into()));
    for (column, expected) in
        [("degraded", true), ("late", false), ("ahead", false), ("reduced", false), ("guarded", false)]
    {
        assert_eq!(cell(column), Cell::Bool(expected), "{column}");
    }
    let reduced = r#"{"version":1,"decision_id":"000102030405060708090a0b0c0d0e0f","transaction_id":"t","user_id":"ana",
        "outcome":"APPROVED","score":0.1,"reduced":true}"#;
    let row = crate::row(Table::Approved, reduced);
    assert_eq!(row.cell(Table::Approved, "reduced"), Some(&Cell::Bool(true)));
    assert_eq!(row.cell(Table::Approved, "features"), Some(&Cell::Null));
}

#[test]
fn what_cannot_be_read_is_kept_as_it_came_with_the_reason() {
    let hostile: [&[u8]; 7] =
        [b"", b"\0", b"not JSON", b"{\"user_id\":\"a\0b\"}", &[0xff; 65_536], b"[]", b"{\"version\":2}"];
    for table in Table::ALL {
        for value in hostile {
            let row = reading().row(table, &record(Some(value)));
            assert!(row.problem.as_ref().is_some_and(|problem| !problem.is_empty()), "{table:?}");
            assert_eq!(row.value.as_deref(), Some(value), "{table:?}");
            assert!(row.cells.iter().all(|cell| *cell == Cell::Null));
        }
        let tombstone = reading().row(table, &record(None));
        assert_eq!((tombstone.problem.is_some(), tombstone.value), (true, None));
    }
}

#[test]
fn a_record_that_the_mapping_describes_wrongly_is_a_row_at_its_offset() {
    let event = br#"{"eventSource":"aws:kafka","records":{"events-1":[{"topic":"events","partition":1,"offset":7,"timestamp":5,"value":3}]}}"#;
    let batch = KafkaBatch::parse(event).expect("an envelope");
    let bad = batch.partitions[0].records[0].as_ref().expect_err("a value that is a number");
    let row = reading().row_of_bad(Table::Events, 1, bad).expect("it has an offset");
    assert_eq!((row.place.partition, row.place.offset, row.broker_time), (1, 7, 5));
    assert!(row.value.is_some_and(|value| value.starts_with(b"{\"topic\"")));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_row(table in prop::sample::select(Table::ALL.to_vec()), value in prop::collection::vec(any::<u8>(), 0..200)) {
        let row = reading().row(table, &record(Some(&value)));
        prop_assert_eq!(row.cells.len(), table.columns().len());
        prop_assert_eq!(row.problem.is_some(), row.value.is_some());
    }
}
