//! Producers: honest ones, those that repeat themselves, and those that forge.

use centinela_contracts::dead_letter_v1;
use centinela_contracts::kafka_event::Record;
use centinela_domain::{Coordinates, Millis};
use rand::RngExt;

use super::state::{AMOUNT, FUTURE_MS, Made, OTHER_AMOUNT, World};
use crate::builders::{self, TOPIC};

impl World {
    pub(super) fn produce(&mut self) {
        let user_number = self.rng.random_range(0..self.users);
        let user = format!("user-{user_number}");
        let pass_ms = self.rng.random_range(0..500);
        let timestamp = self.pass(pass_ms);
        let random_partition = self.rng.random_range(0..self.partitions.len());
        let partition = if self.keyed_by_user { user_number % self.partitions.len() } else { random_partition };
        let newest = self.newest.get(&user).copied();
        match (self.rng.random_range(0..100), newest) {
            (0..3, _) => {
                let value = format!("{{\"no\":\"transaction {}\"", self.bad.len()).into_bytes();
                self.bad.push(value.clone());
                self.append(partition, timestamp, value, Vec::new());
            }
            (3..5, _) => {
                let id = format!("forged-{}", self.bad.len());
                let value = builders::transaction_json(&user, &id, timestamp.0, AMOUNT);
                let never = Coordinates { partition: 0, offset: 9_000_000_000_000_000_000, timestamp };
                let mut headers = dead_letter_v1::first_headers(TOPIC, never, &value, &builders::key());
                headers[4].1 = vec![b'0'; 32];
                self.bad.push(value.clone());
                self.append(partition, timestamp, value, headers);
            }
            (5..17, Some((place, same_partition))) => {
                self.made[place].repeated = true;
                let value = self.made[place].values[0].clone();
                self.append(same_partition, timestamp, value, Vec::new());
            }
            (17..20, Some((place, same_partition))) if self.made[place].values.len() == 1 => {
                let Made { user, transaction, device, .. } = &self.made[place];
                let value = builders::transaction_json_on(device, user, transaction, timestamp.0, OTHER_AMOUNT);
                self.made[place].values.push(value.clone());
                self.append(same_partition, timestamp, value, Vec::new());
            }
            (kind, _) => {
                let at = if kind < 25 { FUTURE_MS } else { timestamp.0 };
                let place = self.append_new(&user, partition, timestamp, at);
                self.newest.insert(user, (place, partition));
                if self.rng.random_bool(0.01) {
                    let log = &mut self.partitions[partition];
                    log.poison.insert(log.log.len() - 1);
                }
            }
        }
    }

    pub(super) fn append_new(&mut self, user: &str, partition: usize, timestamp: Millis, at: i64) -> usize {
        let transaction = format!("tx-{}", self.made.len());
        let own = format!("device-of-{user}");
        let device = if self.rng.random_bool(0.5) { own } else { format!("kiosk-{}", self.rng.random_range(0..2)) };
        let value = builders::transaction_json_on(&device, user, &transaction, at, AMOUNT);
        let values = vec![value.clone()];
        self.made.push(Made { user: user.to_owned(), transaction, device, values, repeated: false });
        self.append(partition, timestamp, value, Vec::new());
        self.made.len() - 1
    }

    pub(super) fn append(
        &mut self,
        partition: usize,
        timestamp: Millis,
        value: Vec<u8>,
        headers: Vec<(String, Vec<u8>)>,
    ) {
        let log = &mut self.partitions[partition];
        let offset = (log.log.len() - log.base) as u64;
        let coordinates = Coordinates { partition: partition as u32, offset, timestamp };
        log.log.push(Record { coordinates, key: None, value: Some(value), headers });
    }

    /// One of everybody.
    pub(super) fn produce_good(&mut self, index: usize) {
        for number in 0..self.users {
            let timestamp = self.pass(2_000);
            self.append_new(&format!("user-{number}"), index, timestamp, timestamp.0);
        }
    }
}
