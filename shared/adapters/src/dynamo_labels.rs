//! Labels on DynamoDB: the table of labels that stand, and the group [`AttributeGroup::RISK`] of the users' and the devices' items.
//!
//! A label's item has the attributes `pk` (S, the decision's id in hex), `o` (B, [`stored_label`]), `u` (S, the user), `d` (S, the device)
//! and `ttl` (N). A label is one `TransactWriteItems`: its item, on the condition that the one that was read still stands, and the risks
//! that change, each on its version.

mod writing;

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use centinela_contracts::{stored_label, stored_risk};
use centinela_delivery::{Causes, StoreError, Versioned};
use centinela_domain::{DeviceId, Millis, Risk};
use centinela_labels::ports::{Applied, Known, LabelRequest, LabelWrite, Labels, Standing};
use centinela_wire::dynamodb::Stored;
use tracing::{error, warn};

use crate::ConnectError;
use crate::attribute_group::{AttributeGroup, Attributes, ItemProblem};
use crate::batch_read::{BatchRead, ReadTable, TableKey, batch_read};
use crate::budget::{Budget, wall_clock};
use crate::owned_items::{DynamoLimits, NameForLogs};
use crate::tables::Tables;

pub(crate) const ORDER: &str = "o";
pub(crate) const USER: &str = "u";
pub(crate) const DEVICE: &str = "d";
pub(crate) const EXPIRES: &str = "ttl";
/// A key that no item has; costs the smallest read.
const WARM_UP_KEY: &str = "warm-up";

const LABELS: usize = 0;
const USERS: usize = 1;
const DEVICES: usize = 2;

/// Which tables.
#[derive(Clone, Debug)]
pub struct LabelTables {
    /// Labels that stand.
    pub labels: String,
    /// Users' items.
    pub users: String,
    /// Devices' items.
    pub devices: String,
}

/// Labels and risk on DynamoDB.
#[derive(Clone)]
pub struct DynamoLabels {
    client: Client,
    /// The same client: labels are rare, and their transactions have no lean form.
    reads: Tables,
    names: LabelTables,
    tables: Arc<[ReadTable; 3]>,
    name_for_logs: NameForLogs,
    limits: DynamoLimits,
}

impl DynamoLabels {
    /// Connects and reads one key of each table, which opens the connection and shows a missing table or grant at start. A database that
    /// is merely slow or throttling is no reason not to start.
    pub async fn connect(
        sdk: &SdkConfig,
        names: LabelTables,
        name_for_logs: NameForLogs,
        limits: DynamoLimits,
    ) -> Result<Self, ConnectError> {
        let labels = Self::new(Client::new(sdk), names, name_for_logs, limits);
        let deadline = Millis(wall_clock().0.saturating_add(limits.single_item.as_millis() as i64));
        let keys = [LABELS, USERS, DEVICES].map(|table| (table, WARM_UP_KEY.to_owned()));
        match labels.batch_read(keys.into(), false, deadline).await.problem {
            Some(StoreError::Rejected(source)) => {
                let LabelTables { labels, users, devices } = labels.names;
                return Err(ConnectError::Tables { tables: vec![labels, users, devices], source });
            }
            Some(problem) => warn!(error = %Causes(&problem), "dynamodb did not answer the first read"),
            None => {}
        }
        Ok(labels)
    }

    /// Uses a client as it is, without a first call.
    pub fn new(client: Client, names: LabelTables, name_for_logs: NameForLogs, limits: DynamoLimits) -> Self {
        let risk = AttributeGroup::RISK.attributes();
        let tables = [
            ReadTable::new(&names.labels, &[ORDER, DEVICE]),
            ReadTable::new(&names.users, &risk),
            ReadTable::new(&names.devices, &risk),
        ];
        let reads = Tables::from(client.clone());
        Self { client, reads, names, tables: Arc::new(tables), name_for_logs, limits }
    }

    async fn batch_read(&self, keys: Vec<TableKey>, consistent: bool, deadline: Millis) -> BatchRead {
        batch_read(&self.reads, &*self.tables, keys, consistent, Budget::until(deadline), self.limits).await
    }

    fn report(&self, what: &str, key: &str, problem: &ItemProblem) {
        let name = (self.name_for_logs)(key);
        error!(what, name, error = %Causes(problem), "a person has to repair an item");
    }
}

impl std::fmt::Debug for DynamoLabels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamoLabels").field("tables", &self.names).finish_non_exhaustive()
    }
}

impl Labels for DynamoLabels {
    async fn read(&self, request: LabelRequest, deadline: Millis) -> (Known, Option<StoreError>) {
        let LabelRequest { decisions, users, devices, consistent } = request;
        let decision_keys = decisions.iter().map(|decision| (LABELS, stored_label::key(*decision)));
        let keys = decision_keys.chain(users.iter().map(|user| (USERS, user.as_str().to_owned())));
        let keys: Vec<TableKey> =
            keys.chain(devices.iter().map(|device| (DEVICES, device.as_str().to_owned()))).collect();
        let mut read = self.batch_read(keys, consistent, deadline).await;
        let mut known = Known::default();
        for decision in decisions {
            let key = (LABELS, stored_label::key(decision));
            known.unread.decisions.extend(read.unread.contains(&key).then_some(decision));
            match read.found.remove(&key).map(|item| standing(&item)) {
                Some(Ok(standing)) => drop(known.labels.insert(decision, standing)),
                Some(Err(problem)) => {
                    self.report("label", &key.1, &problem);
                    known.unreadable.decisions.insert(decision);
                }
                None => {}
            }
        }
        let Known { users: user_risk, devices: device_risk, unread, unreadable, .. } = &mut known;
        for user in users {
            match risk_in(&mut read, (USERS, user.as_str().to_owned()), &user, &mut unread.users) {
                Ok(risk) => user_risk.extend(risk.map(|risk| (user, risk))),
                Err(problem) => {
                    self.report("risk of user", user.as_str(), &problem);
                    unreadable.users.insert(user);
                }
            }
        }
        for device in devices {
            match risk_in(&mut read, (DEVICES, device.as_str().to_owned()), &device, &mut unread.devices) {
                Ok(risk) => device_risk.extend(risk.map(|risk| (device, risk))),
                Err(problem) => {
                    self.report("risk of device", device.as_str(), &problem);
                    unreadable.devices.insert(device);
                }
            }
        }
        (known, read.problem)
    }

    async fn apply(&self, write: LabelWrite, deadline: Millis) -> Applied {
        self.transact(&write, Budget::of(self.limits.single_item).and(Budget::until(deadline))).await
    }
}

/// The label in an item of the labels' table.
fn standing(item: &Attributes) -> Result<Standing, ItemProblem> {
    let Some(Stored::Bytes(order)) = item.get(ORDER) else { return Err(ItemProblem::Attribute(ORDER)) };
    let device = match item.get(DEVICE) {
        Some(Stored::Text(device)) => DeviceId::new(device.as_str()).ok(),
        _ => None,
    };
    let device = device.ok_or(ItemProblem::Attribute(DEVICE))?;
    Ok(Standing { label: stored_label::decode_order(order)?, device })
}

/// The risk of a user or a device; `unread` takes its owner where it was not read.
fn risk_in<K: Clone + Eq + Hash>(
    read: &mut BatchRead,
    key: TableKey,
    of: &K,
    unread: &mut HashSet<K>,
) -> Result<Option<Versioned<Risk>>, ItemProblem> {
    if read.unread.contains(&key) {
        unread.insert(of.clone());
    }
    let Some(mut item) = read.found.remove(&key) else { return Ok(None) };
    let Some(Versioned { version, item }) = AttributeGroup::RISK.read(&mut item)? else { return Ok(None) };
    Ok(Some(Versioned { version, item: stored_risk::decode(&item)? }))
}
