//! Transactions and batches in one line.

use std::collections::BTreeMap;

use centinela_contracts::dead_letter_v1;
use centinela_contracts::kafka_event::{KafkaBatch, PartitionBatch, Record};
use centinela_contracts::keyed::DeploymentKey;
use centinela_domain::{Coordinates, Millis};

/// The topic of every batch.
pub const TOPIC: &str = "transactions";
/// The broker's time of offset 0, in milliseconds.
pub const EPOCH_MS: i64 = 1_790_000_000_000;

/// The deployment's key of every test.
pub fn key() -> DeploymentKey {
    match DeploymentKey::new(b"a key for tests only") {
        Ok(key) => key,
        Err(problem) => panic!("{problem}"),
    }
}

/// A transaction's JSON, from the user's own device.
pub fn transaction_json(user: &str, transaction: &str, at: i64, amount: &str) -> Vec<u8> {
    transaction_json_on(&format!("device-of-{user}"), user, transaction, at, amount)
}

/// A transaction's JSON, from any device.
pub fn transaction_json_on(device: &str, user: &str, transaction: &str, at: i64, amount: &str) -> Vec<u8> {
    format!(
        r#"{{"version":1,"transaction_id":"{transaction}","timestamp":{at},"user_id":"{user}","amount":"{amount}","currency":"EUR","device_type":"mobile","device_id":"{device}","ip":"192.0.2.7","user_agent":"shop/1.0"}}"#
    )
    .into_bytes()
}

/// A record on the topic, a broker's second after the one before.
pub fn record(partition: u32, offset: u64, value: Vec<u8>) -> Record {
    let timestamp = Millis(EPOCH_MS + 1_000 * offset as i64);
    Record {
        coordinates: Coordinates { partition, offset, timestamp },
        key: None,
        value: Some(value),
        headers: Vec::new(),
    }
}

/// A record of `user` with transaction `transaction`.
pub fn transaction(partition: u32, offset: u64, user: &str, transaction: &str) -> Record {
    record(partition, offset, transaction_json(user, transaction, EPOCH_MS + 1_000 * offset as i64, "12.34"))
}

/// The same record, driven again to a new place after the mapping gave it up.
pub fn redriven(record: &Record, partition: u32, offset: u64, timestamp: Millis) -> Record {
    let mut again = record.clone();
    again.headers =
        dead_letter_v1::first_headers(TOPIC, record.coordinates, record.value.as_deref().unwrap_or_default(), &key());
    again.coordinates = Coordinates { partition, offset, timestamp };
    again
}

/// A batch of these records.
pub fn batch(records: impl IntoIterator<Item = Record>) -> KafkaBatch {
    let mut partitions: BTreeMap<u32, Vec<Record>> = BTreeMap::new();
    for record in records {
        partitions.entry(record.coordinates.partition).or_default().push(record);
    }
    let partitions = partitions
        .into_iter()
        .map(|(partition, mut records)| {
            records.sort_by_key(|record| record.coordinates.offset);
            PartitionBatch {
                key: format!("{TOPIC}-{partition}"),
                topic: TOPIC.to_owned(),
                partition,
                records: records.into_iter().map(Ok).collect(),
            }
        })
        .collect();
    KafkaBatch { partitions }
}
