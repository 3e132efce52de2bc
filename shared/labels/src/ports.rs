//! What labels need from the outside.

use std::collections::{HashMap, HashSet};
use std::future::Future;

use centinela_delivery::{StoreError, Versioned, Write};
use centinela_domain::risk::Label;
use centinela_domain::{DecisionId, DeviceId, Millis, Risk, UserId};

/// A label that stands of a transaction, with the device that it counts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The label.
    pub label: Label,
    /// The device whose risk it is part of.
    pub device: DeviceId,
}

/// What to read.
#[derive(Clone, Debug, Default)]
pub struct LabelRequest {
    /// Decisions whose label is wanted.
    pub decisions: Vec<DecisionId>,
    /// Users whose risk is wanted.
    pub users: Vec<UserId>,
    /// Devices whose risk is wanted.
    pub devices: Vec<DeviceId>,
    /// Whether a stale answer is of no use: after a lost race.
    pub consistent: bool,
}

/// What was read. A key that is neither found, unread nor unreadable has nothing.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Labels that stand.
    pub labels: HashMap<DecisionId, Standing>,
    /// Users' risk.
    pub users: HashMap<UserId, Versioned<Risk>>,
    /// Devices' risk.
    pub devices: HashMap<DeviceId, Versioned<Risk>>,
    /// What was asked for and not read this time.
    pub unread: Keys,
    /// What is there and means nothing to this release: another try does not help.
    pub unreadable: Keys,
}

/// Keys of items.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// Of labels.
    pub decisions: HashSet<DecisionId>,
    /// Of users.
    pub users: HashSet<UserId>,
    /// Of devices.
    pub devices: HashSet<DeviceId>,
}

impl Keys {
    /// Whether any of the three is among them.
    pub fn concern(&self, decision: DecisionId, user: &UserId, devices: &[&DeviceId]) -> bool {
        self.decisions.contains(&decision)
            || self.users.contains(user)
            || devices.iter().any(|device| self.devices.contains(*device))
    }
}

/// A label to write, together with everything that it changes.
#[derive(Clone, Debug)]
pub struct LabelWrite {
    /// The decision that it is about.
    pub decision: DecisionId,
    /// Whose transaction it was.
    pub user: UserId,
    /// The label that must stand now, which this one replaces; none where none may stand.
    pub replaces: Option<Label>,
    /// The label that is to stand.
    pub standing: Standing,
    /// When the store may forget it, in seconds since 1970.
    pub expires_s: i64,
    /// The user's risk, if it changes.
    pub user_risk: Option<Write<UserId, Risk>>,
    /// The risk of devices that changes: two where the label's device is corrected.
    pub device_risks: Vec<Write<DeviceId, Risk>>,
}

/// What became of a label.
#[derive(Debug)]
pub enum Applied {
    /// All of it is written.
    Done,
    /// Somebody else has written something of it first; nothing is written.
    Lost,
    /// Not known to be written.
    Failed(StoreError),
}

/// Labels and the risk that follows from them; the function that applies labels owns both.
pub trait Labels: Send + Sync {
    /// Reads in as few calls as possible, and says why something was not read.
    fn read(&self, request: LabelRequest, deadline: Millis)
    -> impl Future<Output = (Known, Option<StoreError>)> + Send;

    /// Writes all of it or nothing. Conflicts with other writes of the same items are tried again within the deadline.
    fn apply(&self, write: LabelWrite, deadline: Millis) -> impl Future<Output = Applied> + Send;
}
