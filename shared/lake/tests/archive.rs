//! A batch into the lake: every record once, a partition's range whole or not at all, whatever the store does.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use centinela_contracts::kafka_event::KafkaBatch;
use centinela_contracts::keyed::DeploymentKey;
use centinela_domain::{Currency, Millis};
use centinela_lake::archive::{ArchiveError, Archived, archive};
use centinela_lake::parquet_read::read_all;
use centinela_lake::row::Place;
use centinela_lake::rows::Reading;
use centinela_lake::store::{Condition, Listed, Object, ObjectStore, Put, StoreError, Tag};
use centinela_lake::table::Table;
use futures::executor::block_on;

/// Takes what is put, unless the key has a text that it refuses or does not answer for.
#[derive(Default)]
struct Bucket {
    objects: Mutex<BTreeMap<String, Bytes>>,
    refuses: Option<&'static str>,
    is_silent_about: Option<&'static str>,
}

impl ObjectStore for Bucket {
    async fn put(&self, key: &str, body: Bytes, _: Condition, _: Millis) -> Result<Put, StoreError> {
        if self.refuses.is_some_and(|text| key.contains(text)) {
            return Err(StoreError::Refused("no".into()));
        }
        self.objects.lock().expect("no panic while locked").insert(key.to_owned(), body);
        if self.is_silent_about.is_some_and(|text| key.contains(text)) {
            return Err(StoreError::Unavailable("it may have happened".into()));
        }
        Ok(Put::Done(Tag::default()))
    }

    async fn get(&self, _: &str, _: Millis) -> Result<Option<Object>, StoreError> {
        Err(StoreError::Refused("the archive never reads".into()))
    }

    async fn list(&self, _: &str, _: Millis) -> Result<Vec<Listed>, StoreError> {
        Err(StoreError::Refused("the archive never lists".into()))
    }

    async fn folders(&self, _: &str, _: Millis) -> Result<Vec<String>, StoreError> {
        Err(StoreError::Refused("the archive never lists".into()))
    }

    async fn delete(&self, _: &[String], _: Millis) -> Result<(), StoreError> {
        Err(StoreError::Refused("the archive never deletes".into()))
    }
}

const HOUR_MS: i64 = 3_600_000;

/// Partition, offset and time of each record.
fn batch(records: &[(u32, u64, i64)]) -> KafkaBatch {
    let mut lists = BTreeMap::<u32, Vec<String>>::new();
    for (partition, offset, time) in records {
        let record = format!(
            r#"{{"topic":"events","partition":{partition},"offset":{offset},"timestamp":{time},"value":"bm9uc2Vuc2U=","headers":[]}}"#
        );
        lists.entry(*partition).or_default().push(record);
    }
    let lists: Vec<String> = lists
        .into_iter()
        .map(|(partition, records)| format!(r#""events-{partition}":[{}]"#, records.join(",")))
        .collect();
    let event = format!(r#"{{"eventSource":"aws:kafka","records":{{{}}}}}"#, lists.join(","));
    KafkaBatch::parse(event.as_bytes()).expect("an event")
}

fn run(bucket: &Bucket, batch: &KafkaBatch) -> Result<Archived, ArchiveError> {
    let key = DeploymentKey::new(b"0123456789abcdef").expect("a key");
    let reading = Reading { key, default_currency: Currency::DEFAULT };
    block_on(archive(bucket, &reading, Table::Events, batch, Millis(i64::MAX)))
}

/// The rows of every object, with the key of each object.
fn rows(bucket: &Bucket) -> BTreeMap<String, Vec<Place>> {
    let objects = bucket.objects.lock().expect("no panic while locked");
    let rows = |body: &Bytes| {
        let rows = read_all(Table::Events, body.clone()).expect("a readable object");
        rows.into_iter().map(|row| row.place).collect()
    };
    objects.iter().map(|(key, body)| (key.clone(), rows(body))).collect()
}

#[test]
fn an_object_holds_rows_of_one_partition_and_one_hour() {
    let bucket = Bucket::default();
    let archived =
        run(&bucket, &batch(&[(0, 5, 10), (0, 6, HOUR_MS - 1), (0, 7, HOUR_MS), (3, 5, 10), (0, 6, 9)])).unwrap();
    assert_eq!((archived.records, archived.rows, archived.objects, archived.unreadable), (5, 4, 3, 4));
    assert!(archived.response.failures.is_empty());
    let rows = rows(&bucket);
    let names: Vec<_> = rows.keys().map(|key| key.rsplit_once('-').expect("a digest").0).collect();
    let folder = "raw/events/dt=1970-01-01/hour=";
    assert_eq!(
        names,
        [0, 0, 1]
            .into_iter()
            .zip(["0-5-6", "3-5-5", "0-7-7"])
            .map(|(hour, name)| format!("{folder}0{hour}/events-{name}"))
            .collect::<Vec<_>>()
    );
    let places: Vec<_> = rows.values().flatten().map(|place| (place.partition, place.offset)).collect();
    assert_eq!(places, [(0, 5), (0, 6), (3, 5), (0, 7)]);
}

#[test]
fn the_same_records_are_the_same_objects_and_other_cuts_are_other_objects() {
    let bucket = Bucket::default();
    let long = batch(&[(0, 5, 10), (0, 6, 11), (0, 7, 12)]);
    run(&bucket, &long).unwrap();
    let before = bucket.objects.lock().unwrap().clone();
    run(&bucket, &long).unwrap();
    assert_eq!(*bucket.objects.lock().unwrap(), before);
    // A duplicate delivery that is cut shorter must not replace what was acknowledged.
    run(&bucket, &batch(&[(0, 5, 10), (0, 6, 11)])).unwrap();
    assert_eq!(rows(&bucket).into_values().map(|rows| rows.len()).collect::<Vec<_>>(), [2, 3]);
    // Nor must one of a topic that was recreated.
    run(&bucket, &batch(&[(0, 5, 20), (0, 6, 21)])).unwrap();
    assert_eq!(bucket.objects.lock().unwrap().len(), 3);
}

#[test]
fn a_partition_of_which_something_was_not_taken_comes_again_as_a_whole() {
    let records = [(0, 5, 10), (0, 6, HOUR_MS), (1, 9, 10)];
    for (bucket, is_refusal) in [
        (Bucket { refuses: Some("hour=01"), ..Bucket::default() }, true),
        (Bucket { is_silent_about: Some("hour=01"), ..Bucket::default() }, false),
    ] {
        let archived = run(&bucket, &batch(&records)).unwrap();
        let expected = [("events-0".to_owned(), 5), ("events-0".to_owned(), 6)];
        assert_eq!((archived.response.failures.as_slice(), archived.refused), (&expected[..], is_refusal));
        assert!(matches!(archived.failed, Some((1, _))), "{:?}", archived.failed);
        assert_eq!(archived.rows, 2);
    }
}

#[test]
fn a_record_without_an_offset_is_kept_or_the_batch_comes_again() {
    let event = br#"{"eventSource":"aws:kafka","records":{"events-0":[{"topic":"events","partition":0,"timestamp":5,"value":"e30="},
        {"topic":"events","partition":0,"offset":4,"timestamp":5,"value":"e30="}]}}"#;
    let unplaced = KafkaBatch::parse(event).expect("an event");
    let bucket = Bucket::default();
    let archived = run(&bucket, &unplaced).unwrap();
    assert_eq!((archived.records, archived.rows, archived.unplaced), (2, 1, 1));
    let objects = bucket.objects.lock().unwrap();
    assert!(objects.iter().any(|(key, body)| key.starts_with("unplaced/events/") && body.starts_with(b"{\"topic\"")));
    let refusing = Bucket { refuses: Some("unplaced/"), ..Bucket::default() };
    assert!(matches!(run(&refusing, &unplaced), Err(ArchiveError::Unreportable(_))));
}

/// Goal: the largest batch that Lambda delivers is taken, with a bound on memory that is stated.
/// Method: 10,000 records of hostile bytes in one batch of nearly 6 MB; every record is a row.
#[test]
fn the_largest_batch_is_taken_as_a_whole() {
    let records: Vec<(u32, u64, i64)> = (0..10_000).map(|index| ((index % 20) as u32, index as u64, index)).collect();
    let bucket = Bucket::default();
    let archived = run(&bucket, &batch(&records)).unwrap();
    assert_eq!((archived.records, archived.rows, archived.objects), (10_000, 10_000, 20));
    let all: usize = rows(&bucket).values().map(Vec::len).sum();
    assert_eq!(all, 10_000);
}
