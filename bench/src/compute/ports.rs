//! The ports of the protocol in memory, as cheap as they can be: items are kept as the bytes that a table keeps, so that reading and
//! writing them costs what it costs in the function, and everything around them costs nothing.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use centinela_contracts::dead_letter_v1::DeadLetter;
use centinela_contracts::stored_partition::StoredPartition;
use centinela_contracts::stored_user::StoredUser;
use centinela_contracts::{stored_device, stored_profile, stored_risk, stored_user};
use centinela_delivery::{Clock, DeadLetters, PublishError};
use centinela_domain::{DeviceId, DeviceState, Millis, UserId};
use centinela_scoring::ports::{
    Commit, DecisionPublisher, DecisionState, KnownDevices, Marks, Outgoing, ReadAnswer, ReadRequest, StateReader,
    StoreError, Versioned, Write,
};

/// The time that never passes, so that a run does the same work however long it takes.
pub const NOW: Millis = Millis(1_795_867_200_000);

/// An owner's bytes with their version.
pub type Stored = (u64, Vec<u8>);

/// A user's item: the groups of its three owners.
#[derive(Clone, Debug, Default)]
pub struct UserItem {
    /// What the deciding function wrote.
    pub state: Option<Stored>,
    /// What the user did besides paying.
    pub profile: Option<Vec<u8>>,
    /// What labels say about the user.
    pub risk: Option<Vec<u8>>,
}

/// A device's item.
#[derive(Clone, Debug, Default)]
pub struct DeviceItem {
    /// Who was seen on it.
    pub state: Option<Stored>,
    /// What labels say about it.
    pub risk: Option<Vec<u8>>,
}

/// What the tables hold.
#[derive(Debug, Default)]
pub struct Items {
    /// By user.
    pub users: HashMap<UserId, UserItem>,
    /// By device.
    pub devices: HashMap<DeviceId, DeviceItem>,
    /// By partition.
    pub partitions: HashMap<u32, Versioned<StoredPartition>>,
    /// Whether writes are dropped once they are encoded, so that the next run meets the same items.
    pub frozen: bool,
}

/// The tables; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Tables(Arc<Mutex<Items>>);

impl Tables {
    /// Looks at, or changes, what they hold.
    pub fn items(&self) -> MutexGuard<'_, Items> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const READ_BACK: &str = "what this program wrote, it reads";

impl StateReader for Tables {
    async fn read(&self, request: ReadRequest, _deadline: Millis) -> ReadAnswer {
        let items = self.items();
        let mut answer = ReadAnswer::default();
        for user in request.users {
            let Some(item) = items.users.get(&user) else { continue };
            if let Some(profile) = &item.profile {
                answer.background.profiles.insert(user.clone(), stored_profile::decode(profile).expect(READ_BACK));
            }
            if let Some(risk) = &item.risk {
                answer.background.user_risk.insert(user.clone(), stored_risk::decode(risk).expect(READ_BACK));
            }
            if let Some((version, bytes)) = &item.state {
                let item = stored_user::decode(bytes, &user).expect(READ_BACK);
                answer.users.insert(user, Versioned { version: *version, item });
            }
        }
        for device in request.devices {
            let Some(item) = items.devices.get(&device) else { continue };
            if let Some(risk) = &item.risk {
                answer.background.device_risk.insert(device.clone(), stored_risk::decode(risk).expect(READ_BACK));
            }
            if let Some((version, bytes)) = &item.state {
                let item = stored_device::decode(bytes).expect(READ_BACK);
                answer.devices.insert(device, Versioned { version: *version, item });
            }
        }
        for partition in request.partitions {
            if let Some(found) = items.partitions.get(&partition) {
                answer.partitions.insert(partition, found.clone());
            }
        }
        answer
    }
}

impl DecisionState for Tables {
    async fn read_user(&self, user: &UserId, _deadline: Millis) -> Result<Option<Versioned<StoredUser>>, StoreError> {
        let items = self.items();
        let state = items.users.get(user).and_then(|item| item.state.as_ref());
        Ok(state.map(|(version, bytes)| Versioned {
            version: *version,
            item: stored_user::decode(bytes, user).expect(READ_BACK),
        }))
    }

    async fn commit_users(&self, writes: Vec<Write<UserId, StoredUser>>, _deadline: Millis) -> Vec<Commit<StoredUser>> {
        let mut items = self.items();
        let commit = |write: Write<UserId, StoredUser>| {
            let bytes = black_box(stored_user::encode(&write.item));
            if !items.frozen {
                let version = write.expected.map_or(1, |version| version + 1);
                items.users.entry(write.key).or_default().state = Some((version, bytes));
            }
            Commit::Done
        };
        writes.into_iter().map(commit).collect()
    }
}

impl KnownDevices for Tables {
    async fn commit_devices(
        &self,
        writes: Vec<Write<DeviceId, DeviceState>>,
        _deadline: Millis,
    ) -> Vec<Commit<DeviceState>> {
        let mut items = self.items();
        let commit = |write: Write<DeviceId, DeviceState>| {
            let bytes = black_box(stored_device::encode(&write.item));
            if !items.frozen {
                let version = write.expected.map_or(1, |version| version + 1);
                items.devices.entry(write.key).or_default().state = Some((version, bytes));
            }
            Commit::Done
        };
        writes.into_iter().map(commit).collect()
    }
}

impl Marks for Tables {
    async fn read_partition(
        &self,
        partition: u32,
        _deadline: Millis,
    ) -> Result<Option<Versioned<StoredPartition>>, StoreError> {
        Ok(self.items().partitions.get(&partition).cloned())
    }

    async fn commit_partition(&self, write: Write<u32, StoredPartition>, _deadline: Millis) -> Commit<StoredPartition> {
        let mut items = self.items();
        if !items.frozen {
            let version = write.expected.map_or(1, |version| version + 1);
            items.partitions.insert(write.key, Versioned { version, item: write.item });
        }
        Commit::Done
    }
}

/// Topics, stream and dead letters that take everything at once.
#[derive(Clone, Copy, Debug)]
pub struct Accepting;

impl DecisionPublisher for Accepting {
    async fn publish(&self, decisions: &[Outgoing], _deadline: Millis) -> Vec<Result<(), PublishError>> {
        black_box(decisions).iter().map(|_| Ok(())).collect()
    }
}

impl DeadLetters for Accepting {
    async fn send(&self, records: &[DeadLetter], _deadline: Millis) -> Vec<Result<(), PublishError>> {
        records.iter().map(|_| Ok(())).collect()
    }
}

/// [`NOW`], for ever.
#[derive(Clone, Copy, Debug)]
pub struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Millis {
        NOW
    }

    fn monotonic_us(&self) -> u64 {
        0
    }

    async fn pause(&self, _at_most: Duration) {}
}
