//! The state store on DynamoDB: one item per user, per device and per source partition.
//!
//! An item has the attributes `pk` (S), `v` (N, the version) and `s` (B, the content). Reads are `BatchGetItem` of up to 100 keys
//! over all tables at once; writes are conditional PartiQL statements, 25 in a `BatchExecuteStatement`, each of which is answered
//! on its own and costs what a single update costs. It is not a transaction and does not have to be one.
//!
//! A write whose reply was lost is tried again: it names the version that it replaces, so it cannot be applied twice. If the first
//! attempt was applied, the second comes back as a lost race with the very item that it wrote, in which the engine finds its own
//! decisions.

mod items;
mod reading;
mod writing;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use centinela_contracts::stored_device;
use centinela_contracts::stored_partition::{self, StoredPartition};
use centinela_contracts::stored_user::{self, StoredUser};
use centinela_domain::{DeviceId, DeviceState, Millis, UserId};
use centinela_scoring::ports::{
    Commit, DecisionState, KnownDevices, Marks, ReadAnswer, ReadRequest, StateReader, StoreError, Versioned, Write,
};
use tracing::warn;

use crate::ConnectError;
use crate::budget::Budget;
use crate::service_failure::ServiceFailure;
use items::{CorruptItem, RawItem};
use reading::Key;
use writing::Statements;

/// Turns an identifier into what may stand for it in a log line.
pub type NameForLogs = Arc<dyn Fn(&str) -> String + Send + Sync>;

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

/// Bounds on calls.
#[derive(Clone, Copy, Debug)]
pub struct DynamoLimits {
    /// One attempt waits this long for its answer. DynamoDB answers in milliseconds: what takes longer hangs.
    pub attempt: Duration,
    /// From the start of a read, devices are asked for again only within this time: a decision can do without them.
    pub device_patience: Duration,
    /// All attempts at a single item, within the deadline.
    pub single_item: Duration,
    /// Calls in flight for one batch.
    pub calls_in_flight: usize,
}

impl Default for DynamoLimits {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(1),
            device_patience: Duration::from_millis(40),
            single_item: Duration::from_secs(2),
            calls_in_flight: 4,
        }
    }
}

/// The state store on DynamoDB.
#[derive(Clone, Debug)]
pub struct DynamoStateStore {
    client: Client,
    config: Arc<DynamoConfig>,
    users: Arc<Statements>,
    devices: Arc<Statements>,
}

impl DynamoStateStore {
    /// Connects and reads one key of each table, which opens the connection and shows a missing table or grant at start. A database
    /// that is merely slow or throttling is no reason not to start.
    pub async fn connect(sdk: &SdkConfig, config: DynamoConfig) -> Result<Self, ConnectError> {
        let store = Self::new(Client::new(sdk), config);
        match store.warm().await {
            Ok(()) => {}
            Err(ServiceFailure::Transient(error)) => {
                warn!(error = &*error as &dyn std::error::Error, "dynamodb did not answer the first read");
            }
            Err(ServiceFailure::Refused(source)) => {
                let DynamoConfig { user_table, device_table, marks_table, .. } = &*store.config;
                let tables = [user_table.clone(), device_table.clone(), marks_table.clone()];
                return Err(ConnectError::Tables { tables, source });
            }
        }
        Ok(store)
    }

    /// Uses a client as it is, without a first call.
    pub fn new(client: Client, config: DynamoConfig) -> Self {
        let users = Arc::new(Statements::for_table(&config.user_table));
        let devices = Arc::new(Statements::for_table(&config.device_table));
        Self { client, config: Arc::new(config), users, devices }
    }

    fn partition_key(&self, partition: u32) -> String {
        stored_partition::key(&self.config.consumer_group, &self.config.transactions_topic, partition)
    }

    fn user_from(&self, item: &RawItem, user: &UserId) -> Result<Versioned<StoredUser>, StoreError> {
        let content = stored_user::decode(&item.content, user);
        content
            .map(|content| Versioned { version: item.version, item: content })
            .map_err(|problem| self.corrupt("user", user.as_str(), problem))
    }

    fn device_from(&self, item: &RawItem, device: &DeviceId) -> Result<Versioned<DeviceState>, StoreError> {
        let content = stored_device::decode(&item.content);
        content
            .map(|content| Versioned { version: item.version, item: content })
            .map_err(|problem| self.corrupt("device", device.as_str(), problem))
    }

    fn partition_from(&self, item: &RawItem) -> Result<Versioned<StoredPartition>, StoreError> {
        let content = stored_partition::decode(&item.content);
        content.map(|content| Versioned { version: item.version, item: content }).map_err(|problem| {
            let item = CorruptItem { kind: "partition", name: item.key.clone(), problem: problem.into() };
            StoreError::Corrupt(Box::new(item))
        })
    }

    fn corrupt(&self, kind: &'static str, identifier: &str, problem: impl Into<items::ItemProblem>) -> StoreError {
        let name = (self.config.name_for_logs)(identifier);
        StoreError::Corrupt(Box::new(CorruptItem { kind, name, problem: problem.into() }))
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
        let item = self.get_item(&self.config.user_table, user.as_str(), Budget::until(deadline)).await?;
        item.map(|item| self.user_from(&item, user)).transpose()
    }

    async fn commit_users(&self, writes: Vec<Write<UserId, StoredUser>>, deadline: Millis) -> Vec<Commit<StoredUser>> {
        let statements = writes
            .iter()
            .map(|write| self.users.conditional(write.key.as_str(), write.expected, stored_user::encode(&write.item)));
        let verdicts = self.execute_all(statements.collect(), Budget::until(deadline)).await;
        let commits = verdicts.into_iter().zip(&writes);
        commits
            .map(|(verdict, write)| {
                verdict.into_commit(|item| {
                    let item = item.map_err(|problem| self.corrupt("user", write.key.as_str(), problem))?;
                    self.user_from(&item, &write.key)
                })
            })
            .collect()
    }
}

impl KnownDevices for DynamoStateStore {
    async fn commit_devices(
        &self,
        writes: Vec<Write<DeviceId, DeviceState>>,
        deadline: Millis,
    ) -> Vec<Commit<DeviceState>> {
        let statements = writes.iter().map(|write| {
            self.devices.conditional(write.key.as_str(), write.expected, stored_device::encode(&write.item))
        });
        let verdicts = self.execute_all(statements.collect(), Budget::until(deadline)).await;
        let commits = verdicts.into_iter().zip(&writes);
        commits
            .map(|(verdict, write)| {
                verdict.into_commit(|item| {
                    let item = item.map_err(|problem| self.corrupt("device", write.key.as_str(), problem))?;
                    self.device_from(&item, &write.key)
                })
            })
            .collect()
    }
}

impl Marks for DynamoStateStore {
    async fn read_partition(
        &self,
        partition: u32,
        deadline: Millis,
    ) -> Result<Option<Versioned<StoredPartition>>, StoreError> {
        let key = self.partition_key(partition);
        let item = self.get_item(&self.config.marks_table, &key, Budget::until(deadline)).await?;
        item.map(|item| self.partition_from(&item)).transpose()
    }

    async fn commit_partition(&self, write: Write<u32, StoredPartition>, deadline: Millis) -> Commit<StoredPartition> {
        let content = match stored_partition::encode(&write.item) {
            Ok(content) => content,
            Err(too_many) => return Commit::Failed(StoreError::Rejected(Box::new(too_many))),
        };
        let key = self.partition_key(write.key);
        let budget = Budget::until(deadline);
        let verdict = self.update_item(&self.config.marks_table, &key, write.expected, content, budget).await;
        verdict.into_commit(|item| {
            let corrupt = |problem| CorruptItem { kind: "partition", name: key.clone(), problem };
            let item = item.map_err(|problem| StoreError::Corrupt(Box::new(corrupt(problem))))?;
            self.partition_from(&item)
        })
    }
}
