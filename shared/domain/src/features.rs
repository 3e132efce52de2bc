//! Features, version 1: what the model sees of a transaction, computed before the transaction changes any state.
//!
//! Training calls this same code over history, so the trained and the served number are the same, bit for bit. What is not
//! known is NaN, which the model's trees treat as missing.

use crate::decay::{self, DAY_MS, HOUR_MS};
use crate::decision::ReasonCode;
use crate::device::{self, DeviceState};
use crate::transaction::{Millis, Transaction};
use crate::user::{self, SPIKE_HALF_LIVES_MS, UserState, VELOCITY_HALF_LIVES_MS};

/// Number of features.
pub const FEATURES: usize = 38;
/// Version of the list and of every formula in it; a change of either is a new version.
pub const FEATURES_VERSION: u32 = 1;

/// One row for the model.
#[derive(Clone, Debug)]
pub struct FeatureVector(pub [f32; FEATURES]);

// Two missing values are the same value here: a stored row must equal itself.
impl PartialEq for FeatureVector {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a.to_bits() == b.to_bits())
    }
}

/// What is known of the device when a transaction is scored.
#[derive(Clone, Copy, Debug)]
pub enum DeviceInput<'a> {
    /// Its state.
    Known(&'a DeviceState),
    /// No transaction has been seen on it.
    Unseen,
    /// It could not be read in time: its features are missing.
    Unavailable,
}

macro_rules! features {
    ($($name:literal => $reason:ident,)*) => {
        impl FeatureVector {
            /// Names in the order of the model's columns.
            pub const NAMES: [&'static str; FEATURES] = [$($name),*];
            /// The reason that each column stands for.
            pub const REASONS: [ReasonCode; FEATURES] = [$(ReasonCode::$reason),*];
        }
    };
}

features! {
    "amount" => AmountUnusual,
    "hour" => TimeOfDay,
    "weekday" => TimeOfDay,
    "night" => TimeOfDay,
    "device_type" => NewDevice,
    "user_count_1h" => UserVelocity,
    "user_count_1d" => UserVelocity,
    "user_count_7d" => UserVelocity,
    "user_count_30d" => UserVelocity,
    "user_sum_1h" => UserVelocity,
    "user_sum_1d" => UserVelocity,
    "user_sum_7d" => UserVelocity,
    "user_sum_30d" => UserVelocity,
    "user_seconds_since_last" => UserVelocity,
    "user_transactions" => AccountAge,
    "user_mean" => AmountUnusual,
    "user_z" => AmountUnusual,
    "user_ratio_mean" => AmountUnusual,
    "user_ratio_largest" => AmountUnusual,
    "user_ratio_median" => AmountUnusual,
    "user_spikes_3d" => RecentSpikes,
    "user_spikes_14d" => RecentSpikes,
    "user_days_since_spike" => RecentSpikes,
    "user_small_1h" => SmallAmounts,
    "user_new_device" => NewDevice,
    "user_devices" => NewDevice,
    "user_new_device_type" => NewDevice,
    "user_new_network" => NewNetwork,
    "user_new_agent" => NewNetwork,
    "user_age_days" => AccountAge,
    "user_known_frauds" => UserHistory,
    "device_users" => DeviceShared,
    "device_newcomers_1d" => DeviceShared,
    "device_newcomers_7d" => DeviceShared,
    "device_age_days" => DeviceShared,
    "device_known_frauds" => DeviceHistory,
    "device_labels" => DeviceHistory,
    "device_risk" => DeviceHistory,
}

impl FeatureVector {
    /// Computes the row from the state before the transaction.
    pub fn compute(transaction: &Transaction, user: Option<&UserState>, device: DeviceInput<'_>) -> Self {
        let mut row = Row { values: [f32::NAN; FEATURES], next: 0 };
        event_features(&mut row, transaction);
        match user.filter(|user| user.transactions > 0) {
            Some(user) => user_features(&mut row, transaction, user),
            None => first_transaction_features(&mut row, transaction, user),
        }
        row.push(user.map_or(0.0, |user| {
            decay::read(user.known_frauds, user.labels_at, transaction.occurred_at, user::LABEL_HALF_LIFE_MS)
        }));
        device_features(&mut row, transaction.occurred_at, device);
        debug_assert_eq!(row.next, FEATURES, "every feature is computed");
        Self(row.values)
    }
}

struct Row {
    values: [f32; FEATURES],
    next: usize,
}

impl Row {
    fn push(&mut self, value: f32) {
        self.values[self.next] = value;
        self.next += 1;
    }

    fn missing(&mut self, columns: usize) {
        self.next += columns;
    }
}

fn flag(value: bool) -> f32 {
    if value { 1.0 } else { 0.0 }
}

fn days(milliseconds: i64) -> f32 {
    (milliseconds as f64 / DAY_MS as f64) as f32
}

fn event_features(row: &mut Row, transaction: &Transaction) {
    let at = transaction.occurred_at.0;
    let hour = at.rem_euclid(DAY_MS) / HOUR_MS;
    // 1970-01-01 was a Thursday; Monday is 0.
    let weekday = (at.div_euclid(DAY_MS) + 3).rem_euclid(7);
    row.push(transaction.amount_major());
    row.push(hour as f32);
    row.push(weekday as f32);
    row.push(flag(hour < 6));
    row.push(f32::from(transaction.device_type.number()));
}

fn user_features(row: &mut Row, transaction: &Transaction, user: &UserState) {
    let at = transaction.occurred_at;
    let amount = transaction.amount_major();
    for (count, half_life_ms) in user.counts.into_iter().zip(VELOCITY_HALF_LIVES_MS) {
        row.push(decay::read(count, user.newest_at, at, half_life_ms));
    }
    for (sum, half_life_ms) in user.sums.into_iter().zip(VELOCITY_HALF_LIVES_MS) {
        row.push(decay::read(sum, user.newest_at, at, half_life_ms));
    }
    row.push((at.since(user.newest_at).max(0) as f64 / 1000.0) as f32);
    row.push(user.transactions as f32);
    row.push(user.mean as f32);
    row.push(shrunk_z(amount, user));
    row.push((f64::from(amount) / user.mean.max(0.01)) as f32);
    row.push(amount / user.largest.max(0.01));
    row.push(user.spike_ratio(amount).unwrap_or(f32::NAN));
    for (spikes, half_life_ms) in user.spikes.into_iter().zip(SPIKE_HALF_LIVES_MS) {
        row.push(decay::read(spikes, user.newest_at, at, half_life_ms));
    }
    row.push(user.spike_at.map_or(f32::NAN, |spike_at| days(at.since(spike_at).max(0))));
    row.push(decay::read(user.small, user.newest_at, at, user::SMALL_HALF_LIFE_MS));
    row.push(flag(!user.devices.contains(&transaction.device_id.hash32())));
    row.push(user.devices.len() as f32);
    row.push(flag(user.device_types & user::type_bit(transaction.device_type) == 0));
    row.push(flag(!user.networks.contains(&transaction.network)));
    row.push(flag(!user.agents.contains(&transaction.agent)));
    row.push(days(at.since(user.since).max(0)));
}

/// What a user without history has: counts of 0, and nothing to compare with.
fn first_transaction_features(row: &mut Row, transaction: &Transaction, user: Option<&UserState>) {
    for _ in 0..8 {
        row.push(0.0);
    }
    row.missing(1);
    row.push(0.0);
    row.missing(5);
    row.push(0.0);
    row.push(0.0);
    row.missing(1);
    row.push(0.0);
    row.missing(1);
    row.push(0.0);
    row.missing(3);
    row.push(user.map_or(0.0, |user| days(transaction.occurred_at.since(user.since).max(0))));
}

/// Distance from the mean in standard deviations, the deviation pulled towards half the mean while history is short: three
/// imagined observations at that distance.
fn shrunk_z(amount: f32, user: &UserState) -> f32 {
    let n = user.transactions as f64;
    let half_mean = 0.5 * user.mean;
    let deviation = ((user.squares.max(0.0) + 3.0 * half_mean * half_mean) / (n + 3.0)).sqrt();
    ((f64::from(amount) - user.mean) / deviation.max(0.01)) as f32
}

fn device_features(row: &mut Row, at: Millis, device: DeviceInput<'_>) {
    match device {
        DeviceInput::Unavailable => row.missing(7),
        DeviceInput::Unseen => {
            for _ in 0..7 {
                row.push(0.0);
            }
        }
        DeviceInput::Known(device) => {
            let frauds = decay::read(device.known_frauds, device.labels_at, at, device::LABEL_HALF_LIFE_MS);
            let labels = decay::read(device.labels, device.labels_at, at, device::LABEL_HALF_LIFE_MS);
            row.push(device.users.len() as f32);
            row.push(device.newcomers(at, DAY_MS) as f32);
            row.push(device.newcomers(at, 7 * DAY_MS) as f32);
            row.push(days(at.since(device.first_seen_at).max(0)));
            row.push(frauds);
            row.push(labels);
            row.push(frauds / (labels + 0.5));
        }
    }
}
