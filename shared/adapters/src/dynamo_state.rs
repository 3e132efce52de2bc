//! The state store on DynamoDB: one item per user, per device and per source partition.
//!
//! An item has the attributes `pk` (S) and those of [`AttributeGroup::DECISIONS`]; what other owners keep beside them is read with it
//! and stays as it is.
//! Reads are `BatchGetItem` of up to 100 keys over all tables at once; writes are those of [`OwnedItems`].

mod background;
mod reading;

use std::fmt;
use std::sync::Arc;

use centinela_contracts::stored_device;
use centinela_contracts::stored_partition::{self, StoredPartition};
use centinela_contracts::stored_user::{self, StoredUser};
use centinela_domain::{DeviceId, DeviceState, Millis, UserId};
use centinela_scoring::ports::{
    Commit, DecisionState, KnownDevices, Marks, ReadAnswer, ReadRequest, StateReader, StoreError, Versioned, Write,
};
use tracing::warn;

use crate::ConnectError;
use crate::attribute_group::AttributeGroup;
use crate::budget::Budget;
use crate::owned_items::{DynamoLimits, NameForLogs, OwnedItems, OwnedTable};
use crate::service_failure::ServiceFailure;
use crate::tables::Tables;
use background::BackgroundReader;
use reading::Key;

/// Which tables, and for whose offsets.
#[derive(Clone)]
pub struct DynamoConfig {
    /// Users' items.
    pub user_table: String,
    /// Devices' items.
    pub device_table: String,
    /// Committed marks and pending-failure markers, by partition.
    pub marks_table: String,
    /// The consumer group of the source mapping.
    pub consumer_group: String,
    /// The source topic.
    pub transactions_topic: String,
    /// Names items that cannot be read.
    pub name_for_logs: NameForLogs,
    /// Time bounds.
    pub limits: DynamoLimits,
}

impl fmt::Debug for DynamoConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoConfig")
            .field("user_table", &self.user_table)
            .field("device_table", &self.device_table)
            .field("marks_table", &self.marks_table)
            .field("consumer_group", &self.consumer_group)
            .field("transactions_topic", &self.transactions_topic)
            .finish_non_exhaustive()
    }
}

/// The state store on DynamoDB.
#[derive(Clone, Debug)]
pub struct DynamoStateStore {
    client: Tables,
    config: Arc<DynamoConfig>,
    users: Arc<OwnedItems>,
    devices: Arc<OwnedItems>,
    partitions: Arc<OwnedItems>,
    background: BackgroundReader,
}

impl DynamoStateStore {
    /// Connects and reads one key of each table, which opens the connection and shows a missing table or grant at start. A database
    /// that is merely slow or throttling is no reason not to start.
    pub async fn connect(client: impl Into<Tables>, config: DynamoConfig) -> Result<Self, ConnectError> {
        let store = Self::new(client, config);
        match store.warm().await {
            Ok(()) => {}
            Err(ServiceFailure::Transient(error)) => {
                warn!(error = &*error as &dyn std::error::Error, "dynamodb did not answer the first read");
            }
            Err(ServiceFailure::Refused(source)) => {
                let DynamoConfig { user_table, device_table, marks_table, .. } = &*store.config;
                let tables = vec![user_table.clone(), device_table.clone(), marks_table.clone()];
                return Err(ConnectError::Tables { tables, source });
            }
        }
        Ok(store)
    }

    /// Uses a client as it is, without a first call.
    pub fn new(client: impl Into<Tables>, config: DynamoConfig) -> Self {
        let client = client.into();
        let items = |name: &str, kind, name_for_logs: NameForLogs| {
            let (name, group, limits) = (name.to_owned(), AttributeGroup::DECISIONS, config.limits);
            Arc::new(OwnedItems::new(client.clone(), OwnedTable { name, group, kind, name_for_logs, limits }))
        };
        let users = items(&config.user_table, "user", Arc::clone(&config.name_for_logs));
        let devices = items(&config.device_table, "device", Arc::clone(&config.name_for_logs));
        let partitions = items(&config.marks_table, "partition", Arc::new(|key: &str| key.to_owned()));
        let background = BackgroundReader::new(Arc::clone(&config.name_for_logs));
        Self { client, config: Arc::new(config), users, devices, partitions, background }
    }

    fn partition_key(&self, partition: u32) -> String {
        stored_partition::key(&self.config.consumer_group, &self.config.transactions_topic, partition)
    }
}

impl StateReader for DynamoStateStore {
    async fn read(&self, request: ReadRequest, deadline: Millis) -> ReadAnswer {
        let ReadRequest { users, devices, partitions } = request;
        let keys = users.into_iter().map(Key::User);
        let keys = keys.chain(partitions.into_iter().map(Key::Partition));
        let keys = keys.chain(devices.into_iter().map(Key::Device));
        self.read_keys(keys.collect(), Budget::until(deadline)).await
    }
}

impl DecisionState for DynamoStateStore {
    async fn read_user(&self, user: &UserId, deadline: Millis) -> Result<Option<Versioned<StoredUser>>, StoreError> {
        let found = self.users.get(user.as_str(), deadline).await?;
        found.map(|found| self.users.decode(user.as_str(), found, |bytes| stored_user::decode(bytes, user))).transpose()
    }

    async fn commit_users(&self, writes: Vec<Write<UserId, StoredUser>>, deadline: Millis) -> Vec<Commit<StoredUser>> {
        let encoded: Vec<_> = writes
            .iter()
            .map(|write| encoded(write.key.as_str(), write.expected, stored_user::encode(&write.item)))
            .collect();
        let commits = self.users.commit(&encoded, deadline).await;
        let decode = |(commit, key): (_, &UserId)| {
            self.users.decode_winner(key.as_str(), commit, |bytes| stored_user::decode(bytes, key))
        };
        commits.into_iter().zip(writes.iter().map(|write| &write.key)).map(decode).collect()
    }
}

impl KnownDevices for DynamoStateStore {
    async fn commit_devices(
        &self,
        writes: Vec<Write<DeviceId, DeviceState>>,
        deadline: Millis,
    ) -> Vec<Commit<DeviceState>> {
        let encoded: Vec<_> = writes
            .iter()
            .map(|write| encoded(write.key.as_str(), write.expected, stored_device::encode(&write.item)))
            .collect();
        let commits = self.devices.commit(&encoded, deadline).await;
        let decode =
            |(commit, key): (_, &DeviceId)| self.devices.decode_winner(key.as_str(), commit, stored_device::decode);
        commits.into_iter().zip(writes.iter().map(|write| &write.key)).map(decode).collect()
    }
}

impl Marks for DynamoStateStore {
    async fn read_partition(
        &self,
        partition: u32,
        deadline: Millis,
    ) -> Result<Option<Versioned<StoredPartition>>, StoreError> {
        let key = self.partition_key(partition);
        let found = self.partitions.get(&key, deadline).await?;
        found.map(|found| self.partitions.decode(&key, found, stored_partition::decode)).transpose()
    }

    async fn commit_partition(&self, write: Write<u32, StoredPartition>, deadline: Millis) -> Commit<StoredPartition> {
        let content = match stored_partition::encode(&write.item) {
            Ok(content) => content,
            Err(too_many) => return Commit::Failed(StoreError::Rejected(Box::new(too_many))),
        };
        let key = self.partition_key(write.key);
        let commit = self.partitions.commit_alone(encoded(&key, write.expected, content), deadline).await;
        self.partitions.decode_winner(&key, commit, stored_partition::decode)
    }
}

fn encoded(key: &str, expected: Option<u64>, item: Vec<u8>) -> Write<String, Vec<u8>> {
    Write { key: key.to_owned(), expected, item }
}
