//! What the lake costs in time, bytes and memory: decisions through the archive, and an hour of them through the compaction.
//!
//! `cargo run --release --example lake_cost -- ROWS` (200,000 if left out). The bucket is this process's memory, so its bytes are
//! part of the peak; they are printed beside it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use centinela_contracts::decision_v1;
use centinela_contracts::kafka_event::{KafkaBatch, PartitionBatch, Record};
use centinela_contracts::keyed::DeploymentKey;
use centinela_domain::{
    AmountMinor, Coordinates, Currency, Decision, DecisionId, FEATURES, Millis, MissingInputs, ModelStamp, Outcome,
    Reason, ReasonCode, RecordedFeatures, TransactionId, UserId,
};
use centinela_lake::archive::archive;
use centinela_lake::compact::{Request, Settings, compact};
use centinela_lake::rows::Reading;
use centinela_lake::store::{Condition, Listed, Object, ObjectStore, Put, StoreError, Tag};
use centinela_lake::table::Table;
use futures::executor::block_on;

const START: i64 = 1_795_356_000_000;
const PARTITIONS: u32 = 10;
/// Decisions in 6 MB of base64, about.
const BATCH: u64 = 4_000;

#[derive(Default)]
struct Bucket(Mutex<BTreeMap<String, Bytes>>);

impl Bucket {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes(&self, prefix: &str) -> (usize, usize) {
        let objects = self.objects();
        let found: Vec<usize> =
            objects.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, body)| body.len()).collect();
        (found.len(), found.iter().sum())
    }
}

impl ObjectStore for Bucket {
    async fn get(&self, key: &str, _: Millis) -> Result<Option<Object>, StoreError> {
        let body = self.objects().get(key).cloned();
        Ok(body.map(|body| Object { tag: Tag(body.len().to_string()), body }))
    }

    async fn put(&self, key: &str, body: Bytes, _: Condition, _: Millis) -> Result<Put, StoreError> {
        self.objects().insert(key.to_owned(), body);
        Ok(Put::Done(Tag::default()))
    }

    async fn list(&self, prefix: &str, _: Millis) -> Result<Vec<Listed>, StoreError> {
        let objects = self.objects();
        let found = objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let listed = found.map(|(key, body)| Listed {
            key: key.clone(),
            tag: Tag(body.len().to_string()),
            bytes: body.len() as u64,
            modified: Millis(START),
        });
        Ok(listed.collect())
    }

    async fn folders(&self, prefix: &str, deadline: Millis) -> Result<Vec<String>, StoreError> {
        let listed = self.list(prefix, deadline).await?;
        let folder = |object: &Listed| {
            let rest = object.key.strip_prefix(prefix)?;
            Some(format!("{prefix}{}", &rest[..=rest.find('/')?]))
        };
        let mut folders: Vec<String> = listed.iter().filter_map(folder).collect();
        folders.dedup();
        Ok(folders)
    }

    async fn delete(&self, _: &[String], _: Millis) -> Result<(), StoreError> {
        Ok(())
    }
}

/// As various as real ones are: half of the features are small counts, the others fractions.
fn decision(index: u64) -> Vec<u8> {
    let mixed = |place: u64| {
        let value = (index * 61 + place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (value ^ (value >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40
    };
    let feature = |place: u64| match place % 2 {
        0 => (mixed(place) % 12) as f32,
        _ => mixed(place) as f32 / 1_677_721.6,
    };
    let user = UserId::new(format!("user-{}", mixed(1) % 100_000)).expect("an id");
    let transaction = TransactionId::new(format!("transaction-{index}")).expect("an id");
    decision_v1::encode(&Decision {
        decision_id: DecisionId::derive(&user, &transaction),
        transaction_id: transaction,
        user_id: user,
        amount: AmountMinor::new(mixed(2) % 100_000).expect("an amount"),
        currency: Currency::DEFAULT,
        outcome: Outcome::Approved,
        score: mixed(3) as f32 / 16_777_216.0,
        reasons: vec![Reason { code: ReasonCode::NewDevice, contribution: mixed(4) as f32 / 1e7 }],
        model: ModelStamp { version: "2026-11-1".to_owned(), digest: [7; 8] },
        features: RecordedFeatures { version: 2, values: (0..FEATURES as u64).map(feature).collect() },
        state_version: mixed(5) % 1_000,
        occurred_at: Millis(START + index as i64 / 2),
        ingested_at: Millis(START + index as i64 / 2),
        decided_at: Millis(START + index as i64 / 2 + 40),
        late: false,
        guarded: false,
        ahead: false,
        missing: MissingInputs::default(),
    })
}

fn batch(from: u64) -> (KafkaBatch, usize) {
    let mut bytes = 0;
    let partitions = (0..PARTITIONS).map(|partition| {
        let offsets = (from..from + BATCH).filter(|index| index % u64::from(PARTITIONS) == u64::from(partition));
        let records = offsets.map(|index| {
            let value = decision(index);
            bytes += value.len();
            let coordinates = Coordinates { partition, offset: index, timestamp: Millis(START + 1) };
            Ok(Record { coordinates, key: None, value: Some(value), headers: Vec::new() })
        });
        let records = records.collect();
        PartitionBatch { key: format!("approved-{partition}"), topic: "approved".to_owned(), partition, records }
    });
    (KafkaBatch { partitions: partitions.collect() }, bytes)
}

/// Peak memory of this process in MB.
fn peak_mb() -> u32 {
    centinela_procfs::rss_mb_max(std::process::id()).unwrap_or(0)
}

#[expect(clippy::print_stdout, reason = "it prints figures")]
fn main() {
    let rows: u64 = std::env::args().nth(1).and_then(|rows| rows.parse().ok()).unwrap_or(200_000);
    let (bucket, far) = (Bucket::default(), Millis(i64::MAX));
    let reading =
        Reading { key: DeploymentKey::new(b"0123456789abcdef").expect("a key"), default_currency: Currency::DEFAULT };
    let (mut took, mut payload) = (Duration::ZERO, 0);
    for from in (0..rows).step_by(BATCH as usize) {
        let (batch, bytes) = batch(from);
        payload += bytes;
        let began = Instant::now();
        let archived = block_on(archive(&bucket, &reading, Table::Approved, &batch, far)).expect("it is taken");
        took += began.elapsed();
        assert_eq!((archived.unreadable, archived.response.failures.len()), (0, 0));
    }
    let (objects, raw) = bucket.bytes("raw/");
    let rows = rows.div_ceil(BATCH) * BATCH;
    println!("{rows} decisions of {} bytes on average, {FEATURES} features", payload as u64 / rows);
    println!(
        "archive: {:.1} us a row, {objects} objects, {} bytes a row",
        took.as_secs_f64() * 1e6 / rows as f64,
        raw as u64 / rows
    );
    println!("peak memory so far: {} MB, of these {} MB of objects", peak_mb(), raw / 1_000_000);
    let hour = Duration::from_secs(3_600);
    let settings = Settings {
        bucket: "lake".into(),
        slices: 1,
        shares: 1,
        close_after: hour,
        grace: hour,
        file_bytes_max: 64 * 1024 * 1024,
    };
    let began = Instant::now();
    let now = || Millis(START + 7_300_000);
    let report = block_on(compact(&bucket, &settings, &Request::default(), "run", &now, far)).expect("it is listed");
    let took = began.elapsed();
    assert_eq!((report.rows, report.published), (rows, 1), "{report:?}");
    let (files, compacted) = bucket.bytes("lake/");
    println!(
        "compaction: {:.1} us a row, {files} files, {} bytes a row",
        took.as_secs_f64() * 1e6 / rows as f64,
        compacted as u64 / rows
    );
    println!("peak memory: {} MB, of these {} MB of objects", peak_mb(), (raw + compacted) / 1_000_000);
}
