//! Decisions are found in compacted files and in raw objects, and nowhere where they are not; what cannot be read is never taken for empty.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use centinela_domain::Millis;
use centinela_lake::decided::{Hours, LookError, find};
use centinela_lake::hour::Hour;
use centinela_lake::keys;
use centinela_lake::parquet_write::{Effort, FileWriter};
use centinela_lake::row::{Cell, Place, Row};
use centinela_lake::store::{Condition, Listed, Object, ObjectStore, Put, StoreError, Tag};
use centinela_lake::table::Table;
use futures::executor::block_on;

#[derive(Default)]
struct Bucket(BTreeMap<String, Bytes>);

impl ObjectStore for Bucket {
    async fn get(&self, key: &str, _: Millis) -> Result<Option<Object>, StoreError> {
        Ok(self.0.get(key).map(|body| Object { body: body.clone(), tag: Tag::default() }))
    }

    async fn list(&self, prefix: &str, _: Millis) -> Result<Vec<Listed>, StoreError> {
        let found = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
        let listed = |(key, body): (&String, &Bytes)| Listed {
            key: key.clone(),
            tag: Tag::default(),
            bytes: body.len() as u64,
            modified: Millis(0),
        };
        Ok(found.map(listed).collect())
    }

    async fn put(&self, _: &str, _: Bytes, _: Condition, _: Millis) -> Result<Put, StoreError> {
        Err(StoreError::Refused("nobody puts".into()))
    }

    async fn folders(&self, _: &str, _: Millis) -> Result<Vec<String>, StoreError> {
        Err(StoreError::Refused("nobody asks for folders".into()))
    }

    async fn delete(&self, _: &[String], _: Millis) -> Result<(), StoreError> {
        Err(StoreError::Refused("nobody deletes".into()))
    }
}

const HOUR_MS: i64 = 3_600_000;

/// A file with these decisions, each for 12.34 EUR.
fn file(table: Table, ids: &[&str]) -> Bytes {
    let rows = ids.iter().enumerate().map(|(offset, id)| {
        let mut cells = vec![Cell::Null; table.columns().len()];
        let mut set = |name: &str, cell: Cell| {
            let place = table.columns().iter().position(|column| column.name == name).expect("a column");
            cells[place] = cell;
        };
        set("decision_id", Cell::from(*id));
        set("amount_minor", Cell::Int(1_234));
        set("currency", Cell::from("EUR"));
        Row {
            place: Place { partition: 0, offset: offset as i64 },
            broker_time: 0,
            problem: None,
            value: None,
            cells: cells.into(),
        }
    });
    let mut writer = FileWriter::new(table, Effort::Quick).expect("a schema");
    rows.for_each(|row| writer.push(row).expect("a row"));
    writer.finish().expect("a file")
}

fn hour(number: i64) -> Hour {
    Hour::of(Millis((400_000 + number) * HOUR_MS))
}

fn look(bucket: &Bucket, wanted: &[&str]) -> Result<Vec<String>, LookError> {
    let wanted: BTreeSet<String> = wanted.iter().map(|id| (*id).to_owned()).collect();
    let hours = Hours { from: hour(0), to: hour(3) };
    let found = block_on(find(bucket, "lake", &wanted, hours, Millis(i64::MAX)))?;
    assert!(found.values().all(|amount| *amount == Some((1_234, "EUR".to_owned()))));
    Ok(found.into_keys().collect())
}

#[test]
fn decisions_are_found_in_manifests_and_raw_objects_of_the_hours_asked_for() {
    let mut bucket = Bucket::default();
    let part = "lake/approved/dt=x/hour=y/part.parquet";
    bucket.0.insert(part.to_owned(), file(Table::Approved, &["compacted", "another"]));
    bucket.0.insert(keys::manifest(Table::Approved, hour(1)), format!("s3://lake/{part}\n").into());
    bucket.0.insert(format!("{}a.parquet", keys::raw_folder(Table::Blocked, hour(2))), file(Table::Blocked, &["raw"]));
    bucket
        .0
        .insert(format!("{}b.parquet", keys::raw_folder(Table::Blocked, hour(4))), file(Table::Blocked, &["later"]));
    // A file that no manifest names is none of the lake's.
    bucket.0.insert("lake/approved/dt=x/hour=y/old.parquet".to_owned(), file(Table::Approved, &["superseded"]));
    let found = look(&bucket, &["compacted", "raw", "later", "superseded", "never"]).expect("all can be read");
    assert_eq!(found, ["compacted", "raw"]);
}

#[test]
fn what_cannot_be_read_is_not_taken_for_empty() {
    let broken = format!("{}a.parquet", keys::raw_folder(Table::Approved, hour(0)));
    let objects = |key: String, body: &str| Bucket(BTreeMap::from([(key, Bytes::from(body.to_owned()))]));
    assert!(matches!(look(&objects(broken, "half"), &["x"]), Err(LookError::Unreadable { .. })));
    let manifest = keys::manifest(Table::Blocked, hour(0));
    assert!(matches!(look(&objects(manifest.clone(), "s3://lake/gone\n"), &["x"]), Err(LookError::Gone(_))));
    assert!(matches!(look(&objects(manifest, "s3://other/x\n"), &["x"]), Err(LookError::Manifest { .. })));
}
