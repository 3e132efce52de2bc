//! The sections about what comes beside transactions: user actions, labels, and the lake that everything ends in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use centinela_contracts::{stored_label, stored_profile, stored_risk};
use centinela_domain::{DecisionId, Profile, Risk};
use centinela_local::aws::{DynamoStats, ObjectStats, StoredItem};
use centinela_verdict::{LabelFold, Parties, differing_profiles, differing_risks};
use serde::Serialize;

use crate::figures::{as_f64, rounded};
use crate::lake::LakeCheck;
use crate::tracker::{Beside, Besides};

/// Groups of an item: what `track-user-actions` and `apply-labels` own.
const PROFILE: &str = "p";
const RISK: &str = "r";
/// Of a label's item.
const ORDER: &str = "o";
const USER: &str = "u";
const DEVICE: &str = "d";

/// What became of user actions.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Actions {
    /// On their topic.
    pub records: u64,
    /// Of these, sent from here and acknowledged.
    pub acknowledged: u64,
    /// Records that can never be handled, kept among the dead letters.
    pub dead_lettered: u64,
    /// Neither handled nor dead-lettered, or acknowledged and not on the topic.
    pub lost: u64,
    /// Users who did something.
    pub users: u64,
    /// Users whose stored profile differs from what their actions come to.
    pub profiles_differing: u64,
    /// Write request units of the function per action.
    pub write_units_per_action: f64,
}

/// What became of labels and other events.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Labels {
    /// On their topic, of any kind.
    pub records: u64,
    /// Of these, labels.
    pub labels: u64,
    /// Of these, sent from here and acknowledged.
    pub acknowledged: u64,
    /// Records that can never be handled, kept among the dead letters.
    pub dead_lettered: u64,
    /// Neither handled nor dead-lettered, or acknowledged and not on the topic.
    pub lost: u64,
    /// Transactions of which a label stands.
    pub transactions: u64,
    /// Users and devices whose stored risk differs from the labels that stand.
    pub risks_differing: u64,
    /// Write request units of the function per label.
    pub write_units_per_label: f64,
}

/// The lake, as far as the run filled it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Archive {
    /// Each archived topic against its rows.
    pub topics: BTreeMap<String, LakeCheck>,
    /// Objects that the archive wrote, and what that is in an hour; none where the object store is external.
    pub raw_puts: Option<u64>,
    /// The same in an hour.
    pub raw_puts_per_hour: Option<f64>,
    /// Requests to the object store by function and operation.
    pub calls: BTreeMap<String, BTreeMap<String, u64>>,
    /// Bytes of all objects that were written, raw and compacted.
    pub put_bytes: Option<u64>,
    /// Compacted files, and their mean size in bytes.
    pub files: u64,
    /// Mean size of the compacted files, in bytes.
    pub file_bytes_mean: f64,
}

/// What an item table held before a run and after it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Items<'a> {
    /// Before; empty where nobody remembered.
    pub before: &'a [StoredItem],
    /// After; none where it could not be read.
    pub after: Option<&'a [StoredItem]>,
}

/// Decodes a group of every item that has it.
fn decoded<T>(items: &[StoredItem], group: &str, decode: impl Fn(&[u8]) -> Option<T>) -> BTreeMap<String, Option<T>> {
    items.iter().filter_map(|item| Some((item.key.clone(), decode(item.group(group)?)))).collect()
}

fn readable<T>(items: BTreeMap<String, Option<T>>) -> BTreeMap<String, T> {
    items.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn profile(bytes: &[u8]) -> Option<Profile> {
    let read = stored_profile::decode(bytes);
    read.inspect_err(|error| tracing::error!(%error, "a stored profile cannot be read")).ok()
}

fn risk(bytes: &[u8]) -> Option<Risk> {
    let read = stored_risk::decode(bytes);
    read.inspect_err(|error| tracing::error!(%error, "a stored risk cannot be read")).ok()
}

/// Users whose profile differs, where the table could be read.
pub(super) fn profiles_differing(besides: &Besides, users: Items<'_>) -> u64 {
    let Some(after) = users.after else { return 0 };
    let before = readable(decoded(users.before, PROFILE, profile));
    let differing = differing_profiles(&besides.profiles, &decoded(after, PROFILE, profile), &before);
    differing.iter().take(3).for_each(|_| tracing::warn!("a user's profile differs from the user's actions"));
    differing.len() as u64
}

/// Users and devices whose risk differs, where the tables could be read.
pub(super) fn risks_differing(besides: &Besides, users: Items<'_>, devices: Items<'_>, labels: &[StoredItem]) -> u64 {
    let earlier = standing(labels);
    let (users_added, devices_added) = besides.labels.counts_above(&earlier);
    let (users_replaced, devices_replaced) = besides.labels.replaced(&earlier);
    let mut differing = 0;
    let (disputed_users, disputed_devices) = (BTreeSet::new(), &besides.disputed_devices);
    for (items, added, replaced, disputed) in [
        (users, &users_added, &users_replaced, &disputed_users),
        (devices, &devices_added, &devices_replaced, disputed_devices),
    ] {
        let Some(after) = items.after else { continue };
        let before = readable(decoded(items.before, RISK, risk));
        let names = differing_risks(added, replaced, &decoded(after, RISK, risk), &before);
        differing += names.iter().filter(|name| !disputed.contains(*name)).count() as u64;
    }
    differing
}

/// The labels that stood before a run, as their items say. An item that says less than this needs counts as none.
fn standing(items: &[StoredItem]) -> LabelFold<DecisionId> {
    let mut labels = LabelFold::new();
    for item in items {
        let said = (|| {
            let label = stored_label::decode_order(item.group(ORDER)?).ok()?;
            let parties = Parties { user: item.text(USER)?.to_owned(), device: item.text(DEVICE).map(str::to_owned) };
            Some((decision_of(&item.key)?, label, parties))
        })();
        if let Some((decision, label, parties)) = said {
            labels.take(decision, label, parties);
        }
    }
    labels
}

/// A decision's id from hex.
fn decision_of(key: &str) -> Option<DecisionId> {
    let mut id = [0; 16];
    if key.len() != 32 || !key.is_ascii() {
        return None;
    }
    for (index, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&key[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(DecisionId(id))
}

/// Write units of a function.
fn write_units_of(dynamodb: &DynamoStats, function: Option<&str>) -> f64 {
    let tables = function.and_then(|function| dynamodb.callers.get(function));
    tables.into_iter().flat_map(BTreeMap::values).fold(0.0, |sum, units| sum + units.write_units)
}

fn per(amount: f64, count: u64) -> f64 {
    rounded(amount / as_f64(count.max(1)))
}

impl Actions {
    pub(super) fn of(
        besides: &Besides,
        acknowledged: u64,
        profiles_differing: u64,
        units: (&DynamoStats, Option<&str>),
    ) -> Self {
        let seen = besides.seen;
        let topic = Beside::Actions as usize;
        Self {
            records: seen.actions,
            acknowledged,
            dead_lettered: seen.dead_lettered[topic],
            lost: acknowledged.saturating_sub(seen.actions + seen.missed[topic]),
            users: besides.profiles.len() as u64,
            profiles_differing,
            write_units_per_action: per(write_units_of(units.0, units.1), seen.actions),
        }
    }
}

impl Labels {
    pub(super) fn of(
        besides: &Besides,
        acknowledged: u64,
        risks_differing: u64,
        units: (&DynamoStats, Option<&str>),
    ) -> Self {
        let seen = besides.seen;
        let topic = Beside::Events as usize;
        Self {
            records: seen.events,
            labels: seen.labels,
            acknowledged,
            dead_lettered: seen.dead_lettered[topic],
            // What nobody can handle is one of either topic; it is said here.
            lost: acknowledged.saturating_sub(seen.events + seen.missed[topic]) + besides.lost,
            transactions: besides.labels.len() as u64,
            risks_differing,
            write_units_per_label: per(write_units_of(units.0, units.1), seen.labels),
        }
    }
}

impl Archive {
    pub(super) fn of(
        topics: BTreeMap<String, LakeCheck>,
        objects: Option<&ObjectStats>,
        archive: &str,
        lasted: Duration,
    ) -> Self {
        let puts = |calls: &BTreeMap<String, u64>| calls.get("PutObject").copied().unwrap_or(0);
        let raw_puts = objects.map(|objects| objects.callers.get(archive).map_or(0, puts));
        let hours = lasted.as_secs_f64() / 3_600.0;
        let files = topics.values().map(|check| check.files).sum();
        let bytes: u64 = topics.values().map(|check| check.bytes).sum();
        Self {
            raw_puts,
            raw_puts_per_hour: raw_puts.filter(|_| hours > 0.0).map(|puts| rounded(as_f64(puts) / hours)),
            calls: objects.map(|objects| objects.callers.clone()).unwrap_or_default(),
            put_bytes: objects.map(|objects| objects.put_bytes),
            files,
            file_bytes_mean: per(as_f64(bytes), files),
            topics,
        }
    }
}
