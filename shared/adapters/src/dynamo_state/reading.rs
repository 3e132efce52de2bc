//! Reads: many keys at once, what is left unprocessed asked for again, devices given up first.

use std::collections::HashSet;

use centinela_contracts::{stored_device, stored_partition, stored_user};
use centinela_delivery::Causes;
use centinela_domain::{DeviceId, UserId};
use centinela_scoring::ports::{ReadAnswer, StoreError};
use centinela_wire::dynamodb::{Found, KeysOf, Stored};
use futures::{StreamExt, stream};
use tracing::error;

use super::{DynamoConfig, DynamoStateStore};
use crate::attribute_group::{Attributes, KEY};
use crate::budget::Budget;
use crate::service_failure::ServiceFailure;

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const KEYS_PER_CALL: usize = 100;
/// A key that no item has; costs the smallest read.
const WARM_UP_KEY: &str = "warm-up";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    User(UserId),
    Partition(u32),
    Device(DeviceId),
}

/// DynamoDB set keys aside instead of reading them, which is how it throttles a batch.
#[derive(Debug, thiserror::Error)]
#[error("{keys} keys were left unprocessed")]
struct Unprocessed {
    keys: usize,
}

enum CallFailure {
    Service(ServiceFailure),
    OutOfTime,
}

impl DynamoStateStore {
    pub(super) async fn warm(&self) -> Result<(), ServiceFailure> {
        let DynamoConfig { user_table, device_table, marks_table, limits, .. } = &*self.config;
        let warm = |table, consistent| keys_of(table, vec![WARM_UP_KEY], consistent);
        let tables = [warm(user_table, false), warm(device_table, false), warm(marks_table, true)];
        self.client.batch_get(&tables, limits.single_item).await.map(drop)
    }

    /// Reads all keys; what could not be read in time is named as unread.
    pub(super) async fn read_keys(&self, keys: Vec<Key>, budget: Budget) -> ReadAnswer {
        let mut seen = HashSet::new();
        let keys: Vec<Key> = keys.into_iter().filter(|key| seen.insert(key.clone())).collect();
        let patience = Budget::of(self.config.limits.device_patience).and(budget);
        if keys.len() <= KEYS_PER_CALL {
            return self.read_chunk(keys, budget, patience).await;
        }
        let chunks: Vec<Vec<Key>> = keys.chunks(KEYS_PER_CALL).map(<[Key]>::to_vec).collect();
        let answers = stream::iter(chunks)
            .map(|chunk| self.read_chunk(chunk, budget, patience))
            .buffer_unordered(self.config.limits.calls_in_flight);
        answers.fold(ReadAnswer::default(), |all, part| async { merged(all, part) }).await
    }

    async fn read_chunk(&self, keys: Vec<Key>, budget: Budget, patience: Budget) -> ReadAnswer {
        let mut answer = ReadAnswer::default();
        let mut pending = keys;
        let mut problem = None;
        for attempt in 1.. {
            if attempt > 1 && patience.left().is_none() {
                give_up_devices(&mut pending, &mut answer);
            }
            if pending.is_empty() {
                break;
            }
            match self.batch_get(&pending, budget).await {
                Ok(found) => {
                    pending = self.take(found, &mut answer);
                    if pending.is_empty() {
                        break;
                    }
                    problem = Some(StoreError::Unavailable(Box::new(Unprocessed { keys: pending.len() })));
                }
                Err(CallFailure::Service(ServiceFailure::Transient(source))) => {
                    problem = Some(StoreError::Unavailable(source));
                }
                Err(CallFailure::Service(ServiceFailure::Refused(source))) => {
                    problem = Some(StoreError::Rejected(source));
                    // The devices' table may be the one that refuses, and a decision can do without it.
                    if !give_up_devices(&mut pending, &mut answer) {
                        break;
                    }
                    continue;
                }
                Err(CallFailure::OutOfTime) => {
                    problem.get_or_insert(StoreError::OutOfTime);
                    break;
                }
            }
            let only_devices = pending.iter().all(|key| matches!(key, Key::Device(_)));
            if !(if only_devices { patience } else { budget }).pause_after(attempt).await {
                break;
            }
        }
        pending.into_iter().for_each(|key| mark_unread(key, &mut answer));
        if answer.problem.is_none() && something_is_unread(&answer) {
            answer.problem = problem;
        }
        answer
    }

    /// Asks once. The answer names its items by their places in [`Kind::ALL`].
    async fn batch_get(&self, keys: &[Key], budget: Budget) -> Result<Found, CallFailure> {
        let limit = budget.left().ok_or(CallFailure::OutOfTime)?.min(self.config.limits.attempt);
        let (mut users, mut devices, mut partitions) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            match key {
                Key::User(user) => users.push(user.as_str()),
                Key::Device(device) => devices.push(device.as_str()),
                Key::Partition(partition) => partitions.push(self.partition_key(*partition)),
            }
        }
        let partitions = partitions.iter().map(String::as_str).collect();
        let config = &self.config;
        let tables = [
            keys_of(&config.user_table, users, false),
            keys_of(&config.device_table, devices, false),
            keys_of(&config.marks_table, partitions, true),
        ];
        self.client.batch_get(&tables, limit).await.map_err(CallFailure::Service)
    }

    /// Takes over what was read and returns what was left unprocessed.
    fn take(&self, found: Found, answer: &mut ReadAnswer) -> Vec<Key> {
        for (table, attributes) in found.items {
            let Some(Stored::Text(key)) = attributes.get(KEY) else { continue };
            let Some(key) = Kind::ALL[table].key(key) else { continue };
            if let Err(problem) = self.take_item(&key, attributes, answer) {
                error!(error = %Causes(&problem), "a person has to repair an item");
                answer.problem = Some(problem);
                match key {
                    Key::User(user) => {
                        answer.unreadable_users.insert(user);
                    }
                    key => mark_unread(key, answer),
                }
            }
        }
        found.unprocessed.iter().filter_map(|(table, key)| Kind::ALL[*table].key(key)).collect()
    }

    /// Takes what of the item is ours, which may be nothing, and what its other owners say, which may be unreadable.
    fn take_item(&self, key: &Key, mut item: Attributes, answer: &mut ReadAnswer) -> Result<(), StoreError> {
        match key {
            Key::User(user) => {
                self.background.take_user(user, &mut item, &mut answer.background);
                if let Some(found) = self.users.read(user.as_str(), item)? {
                    let found = self.users.decode(user.as_str(), found, |bytes| stored_user::decode(bytes, user))?;
                    answer.users.insert(user.clone(), found);
                }
            }
            Key::Device(device) => {
                self.background.take_device(device, &mut item, &mut answer.background);
                if let Some(found) = self.devices.read(device.as_str(), item)? {
                    let found = self.devices.decode(device.as_str(), found, stored_device::decode)?;
                    answer.devices.insert(device.clone(), found);
                }
            }
            Key::Partition(partition) => {
                let key = self.partition_key(*partition);
                if let Some(found) = self.partitions.read(&key, item)? {
                    let found = self.partitions.decode(&key, found, stored_partition::decode)?;
                    answer.partitions.insert(*partition, found);
                }
            }
        }
        Ok(())
    }
}

/// Whose table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    User,
    Device,
    Partition,
}

impl Kind {
    /// In the order in which their tables are asked.
    const ALL: [Self; 3] = [Self::User, Self::Device, Self::Partition];

    /// Which of our keys this is; none for one that we never asked for.
    fn key(self, key: &str) -> Option<Key> {
        match self {
            Self::User => UserId::new(key).ok().map(Key::User),
            Self::Device => DeviceId::new(key).ok().map(Key::Device),
            Self::Partition => key.rsplit_once('/')?.1.parse().ok().map(Key::Partition),
        }
    }
}

/// All attributes of items: what the other owners say comes with the same read.
fn keys_of<'a>(table: &'a str, keys: Vec<&'a str>, consistent: bool) -> KeysOf<'a> {
    KeysOf { table, keys, attributes: None, consistent }
}

/// Returns whether anything else is left to ask for.
fn give_up_devices(pending: &mut Vec<Key>, answer: &mut ReadAnswer) -> bool {
    let before = pending.len();
    pending.retain(|key| match key {
        Key::Device(device) => {
            answer.unread_devices.insert(device.clone());
            false
        }
        _ => true,
    });
    pending.len() < before && !pending.is_empty()
}

fn mark_unread(key: Key, answer: &mut ReadAnswer) {
    match key {
        Key::User(user) => answer.unread_users.insert(user),
        Key::Device(device) => answer.unread_devices.insert(device),
        Key::Partition(partition) => answer.unread_partitions.insert(partition),
    };
}

fn something_is_unread(answer: &ReadAnswer) -> bool {
    !(answer.unread_users.is_empty() && answer.unread_devices.is_empty() && answer.unread_partitions.is_empty())
}

fn merged(mut all: ReadAnswer, part: ReadAnswer) -> ReadAnswer {
    all.users.extend(part.users);
    all.unread_users.extend(part.unread_users);
    all.unreadable_users.extend(part.unreadable_users);
    all.devices.extend(part.devices);
    all.unread_devices.extend(part.unread_devices);
    all.partitions.extend(part.partitions);
    all.unread_partitions.extend(part.unread_partitions);
    all.background.extend(part.background);
    all.problem = all.problem.or(part.problem);
    all
}
