//! Reads: many keys at once, what is left unprocessed asked for again, devices given up first.

use std::collections::HashSet;

use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use centinela_contracts::{stored_device, stored_partition, stored_user};
use centinela_delivery::Causes;
use centinela_domain::{DeviceId, UserId};
use centinela_scoring::ports::{ReadAnswer, StoreError};
use futures::{StreamExt, stream};
use tracing::error;

use super::DynamoStateStore;
use crate::attribute_group::{Attributes, KEY, key_of};
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
        let config = &self.config;
        let keys = [(&config.user_table, false), (&config.device_table, false), (&config.marks_table, true)];
        let mut call = self.client.batch_get_item();
        for (table, consistent) in keys {
            let keys = KeysAndAttributes::builder().keys(key_of(WARM_UP_KEY)).consistent_read(consistent).build();
            call = call.request_items(table, keys.map_err(|error| ServiceFailure::Refused(Box::new(error)))?);
        }
        match tokio::time::timeout(config.limits.single_item, Box::pin(call.send())).await {
            Ok(answer) => answer.map(drop).map_err(ServiceFailure::of),
            Err(_) => Err(ServiceFailure::no_answer(config.limits.single_item)),
        }
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
                Ok(output) => {
                    pending = self.take(output, &mut answer);
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

    async fn batch_get(&self, keys: &[Key], budget: Budget) -> Result<BatchGetItemOutput, CallFailure> {
        let limit = budget.left().ok_or(CallFailure::OutOfTime)?.min(self.config.limits.attempt);
        let (mut users, mut devices, mut partitions) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            match key {
                Key::User(user) => users.push(key_of(user.as_str())),
                Key::Device(device) => devices.push(key_of(device.as_str())),
                Key::Partition(partition) => partitions.push(key_of(&self.partition_key(*partition))),
            }
        }
        let config = &self.config;
        let tables = [
            (&config.user_table, users, false),
            (&config.device_table, devices, false),
            (&config.marks_table, partitions, true),
        ];
        let mut call = self.client.batch_get_item();
        for (table, keys, consistent) in tables {
            if !keys.is_empty() {
                let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(consistent).build();
                let refused = |error| CallFailure::Service(ServiceFailure::Refused(Box::new(error)));
                call = call.request_items(table, keys.map_err(refused)?);
            }
        }
        match tokio::time::timeout(limit, Box::pin(call.send())).await {
            Ok(answer) => answer.map_err(|error| CallFailure::Service(ServiceFailure::of(error))),
            Err(_) => Err(CallFailure::Service(ServiceFailure::no_answer(limit))),
        }
    }

    /// Takes over what was read and returns what was left unprocessed.
    fn take(&self, output: BatchGetItemOutput, answer: &mut ReadAnswer) -> Vec<Key> {
        for (table, items) in output.responses.unwrap_or_default() {
            for attributes in items {
                let key = attributes.get(KEY).and_then(|key| self.key_in(&table, key));
                let Some(key) = key else { continue };
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
        }
        let unprocessed = output.unprocessed_keys.unwrap_or_default();
        unprocessed
            .iter()
            .flat_map(|(table, keys)| keys.keys().iter().filter_map(|key| self.key_in(table, key.get(KEY)?)))
            .collect()
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

    /// Which of our keys this is; none for one that we never asked for.
    fn key_in(&self, table: &str, value: &AttributeValue) -> Option<Key> {
        let key = value.as_s().ok()?;
        if table == self.config.user_table {
            UserId::new(key.as_str()).ok().map(Key::User)
        } else if table == self.config.device_table {
            DeviceId::new(key.as_str()).ok().map(Key::Device)
        } else {
            let (_, partition) = key.rsplit_once('/')?;
            partition.parse().ok().map(Key::Partition)
        }
    }
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
