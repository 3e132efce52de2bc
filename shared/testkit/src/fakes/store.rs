//! State in memory. Like a table it has several owners; these fakes are the one that decides, so another owner's item is none here.

use std::collections::HashSet;

use centinela_contracts::stored_partition::StoredPartition;
use centinela_contracts::stored_user::{self, StoredUser};
use centinela_domain::{DeviceId, DeviceState, Entry, Millis, TransactionDigest, UserId};
use centinela_scoring::ports::{
    Commit, DecisionState, KnownDevices, Marks, ReadAnswer, ReadRequest, StateReader, StoreError, Versioned, Write,
};
use rand::RngExt;

use super::{Entered, Fakes, UserCall, decoded, failure};
use crate::schedule::yield_once;

impl StateReader for Fakes {
    async fn read(&self, request: ReadRequest, _deadline: Millis) -> ReadAnswer {
        yield_once().await;
        let mut answer = ReadAnswer::default();
        {
            let mut shared = self.shared();
            let faults = shared.faults;
            shared.user_calls.push(UserCall::Read(request.users.len()));
            if shared.chance(faults.refused) {
                answer.unread_users.extend(request.users);
                answer.unread_devices.extend(request.devices);
                answer.unread_partitions.extend(request.partitions);
                answer.problem = Some(StoreError::Rejected(failure()));
                return answer;
            }
            answer.background = shared.background.clone();
            for user in request.users {
                if shared.unreadable.contains(&user) {
                    answer.unreadable_users.insert(user);
                    continue;
                }
                if shared.chance(faults.user_unread) {
                    answer.unread_users.insert(user);
                    continue;
                }
                let versions = shared.users.get(&user).map_or(0, Vec::len);
                let stale = versions > 0 && shared.chance(faults.stale_read);
                let back = if stale { shared.rng.random_range(0..=versions.min(3)) } else { 0 };
                if let Some(index) = versions.checked_sub(1 + back) {
                    let (version, bytes) = shared.users[&user][index].clone();
                    let item = decoded(&bytes, &user);
                    answer.users.insert(user, Versioned { version, item });
                }
            }
            for device in request.devices {
                if shared.chance(faults.device_unread) {
                    answer.unread_devices.insert(device);
                } else if let Some(found) = shared.devices.get(&device).cloned() {
                    answer.devices.insert(device, found);
                }
            }
            for partition in request.partitions {
                if shared.chance(faults.marks_unread) {
                    answer.unread_partitions.insert(partition);
                } else if let Some(found) = shared.partitions.get(&partition).cloned() {
                    answer.partitions.insert(partition, found);
                }
            }
        }
        yield_once().await;
        answer
    }
}

impl DecisionState for Fakes {
    async fn read_user(&self, user: &UserId, _deadline: Millis) -> Result<Option<Versioned<StoredUser>>, StoreError> {
        yield_once().await;
        let mut shared = self.shared();
        let faults = shared.faults;
        if shared.unreadable.contains(user) {
            return Err(StoreError::Corrupt(failure()));
        }
        if shared.chance(faults.user_unread) { Err(StoreError::Unavailable(failure())) } else { Ok(shared.user(user)) }
    }

    async fn commit_users(&self, writes: Vec<Write<UserId, StoredUser>>, _deadline: Millis) -> Vec<Commit<StoredUser>> {
        let keys: HashSet<&UserId> = writes.iter().map(|write| &write.key).collect();
        assert_eq!(keys.len(), writes.len(), "one write per user and batch");
        self.shared().user_calls.push(UserCall::Commit(writes.len()));
        let mut outcomes = Vec::new();
        for write in writes {
            yield_once().await;
            outcomes.push(self.commit_user(write));
        }
        yield_once().await;
        outcomes
    }
}

impl KnownDevices for Fakes {
    async fn commit_devices(
        &self,
        writes: Vec<Write<DeviceId, DeviceState>>,
        _deadline: Millis,
    ) -> Vec<Commit<DeviceState>> {
        let mut outcomes = Vec::new();
        for write in writes {
            yield_once().await;
            let mut shared = self.shared();
            let faults = shared.faults;
            shared.writes_asked += 1;
            if shared.chance(faults.write_refused) {
                outcomes.push(Commit::Failed(StoreError::Unavailable(failure())));
                continue;
            }
            let current = shared.devices.get(&write.key).cloned();
            outcomes.push(if current.as_ref().map(|current| current.version) == write.expected {
                shared
                    .devices
                    .insert(write.key, Versioned { version: write.expected.unwrap_or(0) + 1, item: write.item });
                Commit::Done
            } else {
                Commit::Lost(current)
            });
        }
        yield_once().await;
        outcomes
    }
}

impl Marks for Fakes {
    async fn read_partition(
        &self,
        partition: u32,
        _deadline: Millis,
    ) -> Result<Option<Versioned<StoredPartition>>, StoreError> {
        yield_once().await;
        let mut shared = self.shared();
        let faults = shared.faults;
        if shared.chance(faults.marks_unread) {
            return Err(StoreError::Unavailable(failure()));
        }
        Ok(shared.partitions.get(&partition).cloned())
    }

    async fn commit_partition(&self, write: Write<u32, StoredPartition>, _deadline: Millis) -> Commit<StoredPartition> {
        yield_once().await;
        let outcome = {
            let mut shared = self.shared();
            let faults = shared.faults;
            shared.writes_asked += 1;
            let current = shared.partitions.get(&write.key).cloned();
            if shared.chance(faults.marks_refused) {
                Commit::Failed(StoreError::Unavailable(failure()))
            } else if current.as_ref().map(|current| current.version) == write.expected {
                shared
                    .partitions
                    .insert(write.key, Versioned { version: write.expected.unwrap_or(0) + 1, item: write.item });
                if shared.chance(faults.reply_lost) {
                    Commit::Failed(StoreError::Unavailable(failure()))
                } else {
                    Commit::Done
                }
            } else {
                Commit::Lost(current)
            }
        };
        yield_once().await;
        outcome
    }
}

impl Fakes {
    fn commit_user(&self, write: Write<UserId, StoredUser>) -> Commit<StoredUser> {
        let mut shared = self.shared();
        let faults = shared.faults;
        shared.writes_asked += 1;
        if shared.chance(faults.write_refused) {
            return Commit::Failed(StoreError::Unavailable(failure()));
        }
        if shared.version_of(&write.key) != write.expected {
            let blind = shared.chance(faults.loser_blind);
            return Commit::Lost(if blind { None } else { shared.user(&write.key) });
        }
        let current = shared.user(&write.key).map(|user| user.item);
        shared.idle_writes += usize::from(current.as_ref() == Some(&write.item));
        let entries = current.into_iter().flat_map(|user| user.ledger.entries);
        let known: HashSet<TransactionDigest> = entries.map(|entry| entry.digest).collect();
        // One that left the ring and is decided again in the same write is new, too.
        let version = write.expected.unwrap_or(0) + 1;
        let is_decided_here =
            |entry: &&Entry| entry.decision.as_ref().is_some_and(|decision| decision.state_version == version);
        let is_new = |entry: &&Entry| !known.contains(&entry.digest) || is_decided_here(entry);
        let new = write.item.ledger.entries.iter().filter(is_new);
        let at = shared.now;
        let entered = shared.entered.entry(write.key.clone()).or_default();
        let before = entered.len();
        let partitions =
            |entry: &Entry| entry.coordinates.iter().map(|known| (known.partition, before)).collect::<Vec<_>>();
        for entry in &write.item.ledger.entries {
            if let Some(known) = entered.iter_mut().rev().find(|known| known.digest == entry.digest) {
                let is_new = |(one, _): &(u32, usize)| known.partitions.iter().all(|(other, _)| other != one);
                let more: Vec<_> = partitions(entry).into_iter().filter(is_new).collect();
                known.partitions.extend(more);
            }
        }
        entered.extend(new.map(|entry| Entered { digest: entry.digest, partitions: partitions(entry), at }));
        let bytes = stored_user::encode(&write.item);
        assert_eq!(decoded(&bytes, &write.key), write.item, "a stored item is read back as it was written");
        shared.users.entry(write.key).or_default().push((write.expected.unwrap_or(0) + 1, bytes));
        shared.user_writes += 1;
        if shared.chance(faults.reply_lost) { Commit::Failed(StoreError::Unavailable(failure())) } else { Commit::Done }
    }
}
