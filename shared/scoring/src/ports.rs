//! What the protocol needs from the outside. Each port speaks the domain; adapters and fakes implement them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;

use centinela_contracts::stored_partition::StoredPartition;
use centinela_contracts::stored_user::StoredUser;
use centinela_delivery::{Clock, PublishError};
pub use centinela_delivery::{Commit, StoreError, Versioned, Write};
use centinela_domain::features::Input;
use centinela_domain::{
    Band, DecisionId, DeviceId, DeviceState, FEATURES, FeatureVector, Millis, MissingInputs, ModelStamp, Outcome,
    Policy, Profile, Risk, TransactionId, UserId,
};

/// Keys to read in as few calls as possible.
#[derive(Clone, Debug, Default)]
pub struct ReadRequest {
    /// Users; eventually consistent is enough, a stale read costs a retry.
    pub users: Vec<UserId>,
    /// Devices; optional inputs, given up early.
    pub devices: Vec<DeviceId>,
    /// Partitions of the source topic whose item is wanted, strongly consistent.
    pub partitions: Vec<u32>,
}

/// What was read. A key that is neither found nor unread has no item.
#[derive(Debug, Default)]
pub struct ReadAnswer {
    /// Found users.
    pub users: BTreeMap<UserId, Versioned<StoredUser>>,
    /// Users whose item could not be read this time.
    pub unread_users: HashSet<UserId>,
    /// Users whose item is there and means nothing to this release: another try does not help.
    pub unreadable_users: HashSet<UserId>,
    /// Found devices.
    pub devices: HashMap<DeviceId, Versioned<DeviceState>>,
    /// Devices whose item could not be read.
    pub unread_devices: HashSet<DeviceId>,
    /// Found partitions.
    pub partitions: BTreeMap<u32, Versioned<StoredPartition>>,
    /// Partitions whose item could not be read.
    pub unread_partitions: HashSet<u32>,
    /// What other owners of these items say.
    pub background: Background,
    /// Why something was not read.
    pub problem: Option<StoreError>,
}

/// What the other owners of the items say about users and devices: it comes with the same read, and a decision can do without it.
/// What is neither found nor unreadable is not known.
#[derive(Clone, Debug, Default)]
pub struct Background {
    /// What users did besides paying.
    pub profiles: HashMap<UserId, Profile>,
    /// What labels say about users.
    pub user_risk: HashMap<UserId, Risk>,
    /// What labels say about devices.
    pub device_risk: HashMap<DeviceId, Risk>,
    /// Users whose profile is there and means nothing to this release.
    pub unreadable_profiles: HashSet<UserId>,
    /// Users whose risk is there and means nothing to this release.
    pub unreadable_user_risk: HashSet<UserId>,
    /// Devices whose risk is there and means nothing to this release.
    pub unreadable_device_risk: HashSet<DeviceId>,
}

impl Background {
    /// Takes over what another read found.
    pub fn extend(&mut self, other: Self) {
        self.profiles.extend(other.profiles);
        self.user_risk.extend(other.user_risk);
        self.device_risk.extend(other.device_risk);
        self.unreadable_profiles.extend(other.unreadable_profiles);
        self.unreadable_user_risk.extend(other.unreadable_user_risk);
        self.unreadable_device_risk.extend(other.unreadable_device_risk);
    }

    /// The user's profile, as a feature's input.
    pub fn profile(&self, user: &UserId) -> Input<'_, Profile> {
        input(&self.profiles, &self.unreadable_profiles, user)
    }

    /// What labels say about the user, as a feature's input.
    pub fn user_risk(&self, user: &UserId) -> Input<'_, Risk> {
        input(&self.user_risk, &self.unreadable_user_risk, user)
    }

    /// What labels say about the device, as a feature's input.
    pub fn device_risk(&self, device: &DeviceId) -> Input<'_, Risk> {
        input(&self.device_risk, &self.unreadable_device_risk, device)
    }

    /// What a decision about this user on this device has to be made without; whether the device's item was read is the caller's to say.
    pub fn missing(&self, user: &UserId, device: &DeviceId, device_unread: bool) -> MissingInputs {
        MissingInputs {
            device: device_unread,
            profile: self.unreadable_profiles.contains(user),
            user_risk: self.unreadable_user_risk.contains(user),
            device_risk: self.unreadable_device_risk.contains(device),
        }
    }
}

fn input<'a, K: Eq + Hash, T>(found: &'a HashMap<K, T>, unreadable: &HashSet<K>, key: &K) -> Input<'a, T> {
    if unreadable.contains(key) { Input::Unavailable } else { found.get(key).into() }
}

/// Reads everything of one batch in as few calls as possible: users, their devices, and the source's marks.
pub trait StateReader: Send + Sync {
    /// Reads the keys; none of them is required to be there.
    fn read(&self, request: ReadRequest, deadline: Millis) -> impl Future<Output = ReadAnswer> + Send;
}

/// What is decided about users; the scoring function owns it.
pub trait DecisionState: Send + Sync {
    /// Reads one user, strongly consistent.
    fn read_user(
        &self,
        user: &UserId,
        deadline: Millis,
    ) -> impl Future<Output = Result<Option<Versioned<StoredUser>>, StoreError>> + Send;

    /// Writes users, one answer per write in the same order; each stands alone.
    fn commit_users(
        &self,
        writes: Vec<Write<UserId, StoredUser>>,
        deadline: Millis,
    ) -> impl Future<Output = Vec<Commit<StoredUser>>> + Send;
}

/// Who was seen on which device.
pub trait KnownDevices: Send + Sync {
    /// Writes devices, one answer per write in the same order; each stands alone.
    fn commit_devices(
        &self,
        writes: Vec<Write<DeviceId, DeviceState>>,
        deadline: Millis,
    ) -> impl Future<Output = Vec<Commit<DeviceState>>> + Send;
}

/// What the mapping has committed, partition by partition, and the records that were reported below that.
pub trait Marks: Send + Sync {
    /// Reads one partition's item, strongly consistent.
    fn read_partition(
        &self,
        partition: u32,
        deadline: Millis,
    ) -> impl Future<Output = Result<Option<Versioned<StoredPartition>>, StoreError>> + Send;

    /// Writes one partition's item.
    fn commit_partition(
        &self,
        write: Write<u32, StoredPartition>,
        deadline: Millis,
    ) -> impl Future<Output = Commit<StoredPartition>> + Send;
}

/// All the state of a decision.
pub trait State: StateReader + DecisionState + KnownDevices + Marks {}

impl<S: StateReader + DecisionState + KnownDevices + Marks> State for S {}

/// A decision on its way out: the same bytes whenever it is published again.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Chooses the topic.
    pub outcome: Outcome,
    /// The record's key.
    pub transaction_id: TransactionId,
    /// The partition of the source topic in which the transaction stands: its decision goes to the same of a topic.
    pub partition: u32,
    /// What consumers drop repeats by.
    pub decision_id: DecisionId,
    /// The encoded decision.
    pub payload: Vec<u8>,
}

/// A place where decisions are published.
pub trait DecisionPublisher: Send + Sync {
    /// Publishes all; one answer per decision in the same order. Returns only what is acknowledged as done.
    fn publish(
        &self,
        decisions: &[Outgoing],
        deadline: Millis,
    ) -> impl Future<Output = Vec<Result<(), PublishError>>> + Send;
}

/// A row's score and what each feature contributed to it, in log-odds.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Calibrated probability of fraud.
    pub score: f32,
    /// Per feature; with the model's bias they sum to the score's log-odds.
    pub contributions: [f32; FEATURES],
}

/// The model failed on a row that it must accept: a fault of ours.
#[derive(Debug, thiserror::Error)]
#[error("the model failed to score")]
pub struct ScoreError(#[source] pub Box<dyn Error + Send + Sync>);

/// The model.
pub trait Scorer: Send + Sync {
    /// Scores all rows as one matrix, one answer per row.
    fn score(&self, rows: &[FeatureVector]) -> Result<Vec<Scored>, ScoreError>;

    /// Which model it is.
    fn stamp(&self) -> &ModelStamp;

    /// Its thresholds.
    fn policy(&self) -> Policy;

    /// How much it may want to block before decisions follow its fallback; none when it has no such bound.
    fn band(&self) -> Option<Band>;
}

/// Everything that the protocol works on, apart from dead letters.
pub trait Ports: Send + Sync {
    /// Users, devices, marks.
    type Store: State + Debug;
    /// The decision topics.
    type Topics: DecisionPublisher + Debug;
    /// The decision stream.
    type Stream: DecisionPublisher + Debug;
    /// The model.
    type Scorer: Scorer + Debug;
    /// Time.
    type Clock: Clock + Debug;
}

impl<S, T, K, M, C> Ports for (S, T, K, M, C)
where
    S: State + Debug,
    T: DecisionPublisher + Debug,
    K: DecisionPublisher + Debug,
    M: Scorer + Debug,
    C: Clock + Debug,
{
    type Store = S;
    type Topics = T;
    type Stream = K;
    type Scorer = M;
    type Clock = C;
}
