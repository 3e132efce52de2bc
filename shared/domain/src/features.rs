//! Features, version 1: what the model sees of a transaction, computed before the transaction changes any state.
//!
//! Training calls this same code over history, so the trained and the served number are the same, bit for bit. What is not
//! known is NaN, which the model's trees treat as missing.

use crate::decay::{self, DAY_MS, HOUR_MS};
use crate::decision::ReasonCode;
use crate::device::{self, DeviceState};
use crate::transaction::{Millis, Transaction};
use crate::user::{self, SPIKE_HALF_LIVES_MS, UserState, VELOCITY_HALF_LIVES_MS};

/// Version of the list and of every formula in it; a change of either is a new version.
pub const FEATURES_VERSION: u32 = 1;

/// One row for the model.
#[derive(Clone, Debug)]
pub struct FeatureVector(pub [f32; FEATURES]);

// Two missing values are the same value here: a stored row must equal itself.
impl PartialEq for FeatureVector {
    fn eq(&self, other: &Self) -> bool {
        same_bits(&self.0, &other.0)
    }
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
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

/// Declares the columns: their names, their order in the model, and the reason that each stands for.
macro_rules! columns {
    ($($name:ident => $reason:ident,)*) => {
        /// A row by name; what is not set is missing.
        #[derive(Clone, Copy)]
        struct Columns {
            $($name: f32,)*
        }

        impl Columns {
            const MISSING: Self = Self { $($name: f32::NAN,)* };

            fn row(self) -> FeatureVector {
                FeatureVector([$(self.$name),*])
            }
        }

        /// Number of features.
        pub const FEATURES: usize = [$(stringify!($name)),*].len();

        impl FeatureVector {
            /// Names in the order of the model's columns.
            pub const NAMES: [&'static str; FEATURES] = [$(stringify!($name)),*];
            /// The reason that each column stands for.
            pub const REASONS: [ReasonCode; FEATURES] = [$(ReasonCode::$reason),*];
        }
    };
}

columns! {
    amount => AmountUnusual,
    hour => TimeOfDay,
    weekday => TimeOfDay,
    night => TimeOfDay,
    device_type => NewDevice,
    user_count_1h => UserVelocity,
    user_count_1d => UserVelocity,
    user_count_7d => UserVelocity,
    user_count_30d => UserVelocity,
    user_sum_1h => UserVelocity,
    user_sum_1d => UserVelocity,
    user_sum_7d => UserVelocity,
    user_sum_30d => UserVelocity,
    user_seconds_since_last => UserVelocity,
    user_transactions => AccountAge,
    user_mean => AmountUnusual,
    user_z => AmountUnusual,
    user_ratio_mean => AmountUnusual,
    user_ratio_largest => AmountUnusual,
    user_ratio_median => AmountUnusual,
    user_spikes_3d => RecentSpikes,
    user_spikes_14d => RecentSpikes,
    user_days_since_spike => RecentSpikes,
    user_small_1h => SmallAmounts,
    user_new_device => NewDevice,
    user_devices => NewDevice,
    user_new_device_type => NewDevice,
    user_new_network => NewNetwork,
    user_new_agent => NewNetwork,
    user_age_days => AccountAge,
    user_known_frauds => UserHistory,
    device_users => DeviceShared,
    device_newcomers_1d => DeviceShared,
    device_newcomers_7d => DeviceShared,
    device_age_days => DeviceShared,
    device_known_frauds => DeviceHistory,
    device_labels => DeviceHistory,
    device_risk => DeviceHistory,
}

impl FeatureVector {
    /// Computes the row of a transaction that happened at `at` ([`crate::transaction::EventTime`]) from the state before it.
    pub fn compute(transaction: &Transaction, at: Millis, user: Option<&UserState>, device: DeviceInput<'_>) -> Self {
        let mut columns = Columns::MISSING;
        columns.event(transaction, at);
        match user.filter(|user| user.transactions > 0) {
            Some(user) => columns.user(transaction, at, user),
            None => columns.first_transaction(at, user),
        }
        columns.user_known_frauds =
            user.map_or(0.0, |user| decay::read(user.known_frauds, user.labels_at, at, user::LABEL_HALF_LIFE_MS));
        columns.device(at, device);
        columns.row()
    }

    /// The row as a decision keeps it.
    pub fn recorded(&self) -> RecordedFeatures {
        RecordedFeatures { version: FEATURES_VERSION, values: self.0.into() }
    }
}

/// What the model saw of a decided transaction, in the list of features of its time: a later release, with a longer list, still
/// publishes the same bytes.
#[derive(Clone, Debug)]
pub struct RecordedFeatures {
    /// Version of the list.
    pub version: u32,
    /// One value per feature of that list.
    pub values: Box<[f32]>,
}

impl PartialEq for RecordedFeatures {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && same_bits(&self.values, &other.values)
    }
}

fn flag(value: bool) -> f32 {
    if value { 1.0 } else { 0.0 }
}

fn days(milliseconds: i64) -> f32 {
    (milliseconds as f64 / DAY_MS as f64) as f32
}

impl Columns {
    fn event(&mut self, transaction: &Transaction, at: Millis) {
        let hour = at.0.rem_euclid(DAY_MS) / HOUR_MS;
        self.amount = transaction.amount_dollars();
        self.hour = hour as f32;
        // 1970-01-01 was a Thursday; Monday is 0.
        self.weekday = (at.0.div_euclid(DAY_MS) + 3).rem_euclid(7) as f32;
        self.night = flag(hour < 6);
        self.device_type = f32::from(transaction.device_type.number());
    }

    fn user(&mut self, transaction: &Transaction, at: Millis, user: &UserState) {
        let amount = transaction.amount_dollars();
        let faded = |values: [f32; 4]| {
            let mut values = values.into_iter().zip(VELOCITY_HALF_LIVES_MS);
            std::array::from_fn(|_| {
                values
                    .next()
                    .map_or(f32::NAN, |(value, half_life_ms)| decay::read(value, user.newest_at, at, half_life_ms))
            })
        };
        [self.user_count_1h, self.user_count_1d, self.user_count_7d, self.user_count_30d] = faded(user.counts);
        [self.user_sum_1h, self.user_sum_1d, self.user_sum_7d, self.user_sum_30d] = faded(user.sums);
        self.user_seconds_since_last = (at.since(user.newest_at).max(0) as f64 / 1000.0) as f32;
        self.user_transactions = user.transactions as f32;
        self.user_mean = user.mean as f32;
        self.user_z = shrunk_z(amount, user);
        self.user_ratio_mean = (f64::from(amount) / user.mean.max(0.01)) as f32;
        self.user_ratio_largest = amount / user.largest.max(0.01);
        self.user_ratio_median = user.spike_ratio(amount).unwrap_or(f32::NAN);
        let [short_ms, long_ms] = SPIKE_HALF_LIVES_MS;
        self.user_spikes_3d = decay::read(user.spikes[0], user.newest_at, at, short_ms);
        self.user_spikes_14d = decay::read(user.spikes[1], user.newest_at, at, long_ms);
        self.user_days_since_spike = user.spike_at.map_or(f32::NAN, |spike_at| days(at.since(spike_at).max(0)));
        self.user_small_1h = decay::read(user.small, user.newest_at, at, user::SMALL_HALF_LIFE_MS);
        self.user_new_device = flag(!user.devices.contains(&transaction.device_id.hash32()));
        self.user_devices = user.devices.len() as f32;
        self.user_new_device_type = flag(user.device_types & user::type_bit(transaction.device_type) == 0);
        self.user_new_network = flag(!user.networks.contains(&transaction.network));
        self.user_new_agent = flag(!user.agents.contains(&transaction.agent));
        self.user_age_days = days(user.age_ms(at));
    }

    /// What a user without history has: counts of 0, and nothing to compare with.
    fn first_transaction(&mut self, at: Millis, user: Option<&UserState>) {
        [self.user_count_1h, self.user_count_1d, self.user_count_7d, self.user_count_30d] = [0.0; 4];
        [self.user_sum_1h, self.user_sum_1d, self.user_sum_7d, self.user_sum_30d] = [0.0; 4];
        self.user_transactions = 0.0;
        [self.user_spikes_3d, self.user_spikes_14d] = [0.0; 2];
        self.user_small_1h = 0.0;
        self.user_devices = 0.0;
        self.user_age_days = user.map_or(0.0, |user| days(user.age_ms(at)));
    }

    fn device(&mut self, at: Millis, device: DeviceInput<'_>) {
        let known = match device {
            DeviceInput::Unavailable => return,
            DeviceInput::Unseen => None,
            DeviceInput::Known(device) => Some(device),
        };
        let fading = |read: fn(&DeviceState) -> f32| {
            known.map_or(0.0, |known| decay::read(read(known), known.labels_at, at, device::LABEL_HALF_LIFE_MS))
        };
        let (frauds, labels) = (fading(|known| known.known_frauds), fading(|known| known.labels));
        self.device_users = known.map_or(0.0, |known| known.users.len() as f32);
        self.device_newcomers_1d = known.map_or(0.0, |known| known.newcomers(at, DAY_MS) as f32);
        self.device_newcomers_7d = known.map_or(0.0, |known| known.newcomers(at, 7 * DAY_MS) as f32);
        self.device_age_days = known.map_or(0.0, |known| days(at.since(known.first_seen_at).max(0)));
        self.device_known_frauds = frauds;
        self.device_labels = labels;
        self.device_risk = frauds / (labels + 0.5);
    }
}

/// Distance from the mean in standard deviations, the deviation pulled towards half the mean while history is short: three
/// imagined observations at that distance.
fn shrunk_z(amount: f32, user: &UserState) -> f32 {
    let n = user.transactions as f64;
    let half_mean = 0.5 * user.mean;
    let deviation = ((user.squares.max(0.0) + 3.0 * half_mean * half_mean) / (n + 3.0)).sqrt();
    ((f64::from(amount) - user.mean) / deviation.max(0.01)) as f32
}
