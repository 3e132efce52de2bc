//! Features, version 2: what the model sees of a transaction, computed before the transaction changes any state.
//!
//! Training calls this same code over history, so the trained and the served number are the same, bit for bit. What is not
//! known is NaN, which the model's trees treat as missing. Version 1 had no profile and no day buckets of labels.

use crate::decay::{DAY_MS, HOUR_MS, Way};
use crate::decision::ReasonCode;
use crate::device::DeviceState;
use crate::profile::{Change, Profile};
use crate::risk::{Day, Risk};
use crate::transaction::{Millis, Transaction};
use crate::user::{self, SPIKE_HALF_LIVES_MS, UserState, VELOCITY_HALF_LIVES_MS};

/// Version of the list and of every formula in it; a change of either is a new version.
pub const FEATURES_VERSION: u32 = 2;

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

/// Something that may be known when a transaction is scored.
#[derive(Debug)]
pub enum Input<'a, T> {
    /// It is.
    Known(&'a T),
    /// There is nothing to know: no transaction on a device, no label, no action.
    Unseen,
    /// It could not be read: its features are missing.
    Unavailable,
}

impl<T> Clone for Input<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Input<'_, T> {}

impl<'a, T> From<Option<&'a T>> for Input<'a, T> {
    fn from(found: Option<&'a T>) -> Self {
        found.map_or(Self::Unseen, Self::Known)
    }
}

/// What is known of the device.
pub type DeviceInput<'a> = Input<'a, DeviceState>;

/// What is known when a transaction is scored, before it changes any of it.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Aggregates over the user's transactions; none before the first.
    pub user: Option<&'a UserState>,
    /// What the user did besides paying.
    pub profile: Input<'a, Profile>,
    /// Labels of the user's transactions.
    pub user_risk: Input<'a, Risk>,
    /// The device.
    pub device: DeviceInput<'a>,
    /// Labels of the device's transactions. Not looked at where the device is unavailable.
    pub device_risk: Input<'a, Risk>,
}

impl Known<'_> {
    /// Nothing at all: a first transaction on a new device.
    pub const NOTHING: Self = Self {
        user: None,
        profile: Input::Unseen,
        user_risk: Input::Unseen,
        device: Input::Unseen,
        device_risk: Input::Unseen,
    };
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
    user_registered_days => AccountAge,
    user_login_hours => LoginUnusual,
    user_failed_login_hours => LoginUnusual,
    device_logged_in => LoginUnusual,
    device_login_hours => LoginUnusual,
    user_changes_1d => AccountChanged,
    user_change_hours => AccountChanged,
    user_device_change_hours => AccountChanged,
    user_frauds_7d => UserHistory,
    user_frauds_30d => UserHistory,
    user_labels_30d => UserHistory,
    user_fraud_days => UserHistory,
    device_users => DeviceShared,
    device_newcomers_1d => DeviceShared,
    device_newcomers_7d => DeviceShared,
    device_age_days => DeviceShared,
    device_frauds_1d => DeviceHistory,
    device_frauds_7d => DeviceHistory,
    device_frauds_30d => DeviceHistory,
    device_labels_1d => DeviceHistory,
    device_labels_7d => DeviceHistory,
    device_labels_30d => DeviceHistory,
    device_risk_1d => DeviceHistory,
    device_risk_7d => DeviceHistory,
    device_risk_30d => DeviceHistory,
    device_fraud_days => DeviceHistory,
}

impl FeatureVector {
    /// Computes the row of a transaction that happened at `at` ([`crate::transaction::EventTime`]) from what was known before it.
    pub fn compute(transaction: &Transaction, at: Millis, known: &Known<'_>) -> Self {
        let mut columns = Columns::MISSING;
        columns.event(transaction, at);
        match known.user.filter(|user| user.transactions > 0) {
            Some(user) => columns.user(transaction, at, user),
            None => columns.first_transaction(at, known.user),
        }
        columns.profile(transaction, at, known.profile);
        columns.user_labels(at, known.user_risk);
        columns.device(at, known);
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
        let way = Way::new(user.newest_at, at);
        let velocity = VELOCITY_HALF_LIVES_MS.map(|half_life_ms| way.until_event(half_life_ms));
        let faded = |values: [f32; 4]| std::array::from_fn(|index| values[index] * velocity[index]);
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
        self.user_spikes_3d = user.spikes[0] * way.until_event(short_ms);
        self.user_spikes_14d = user.spikes[1] * way.until_event(long_ms);
        self.user_days_since_spike = user.spike_at.map_or(f32::NAN, |spike_at| days(at.since(spike_at).max(0)));
        self.user_small_1h = user.small * velocity[user::SMALL_HALF_LIFE];
        self.user_new_device = flag(!user.devices.contains(&transaction.device));
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

    /// What has not happened yet at `at` is as good as unknown: of several times only the latest is kept, and this one is late.
    fn profile(&mut self, transaction: &Transaction, at: Millis, profile: Input<'_, Profile>) {
        let profile = match profile {
            Input::Unavailable => return,
            Input::Unseen => &Profile::default(),
            Input::Known(profile) => profile,
        };
        let since = |time: Option<Millis>| time.map(|time| at.since(time)).filter(|elapsed_ms| *elapsed_ms >= 0);
        let hours_since = |time| hundredths_of(since(time), HOUR_MS);
        let device = profile.logged_in_from_at(transaction.device);
        self.user_registered_days = hundredths_of(since(profile.registered_at()), DAY_MS);
        self.user_login_hours = hours_since(profile.logged_in_at());
        self.user_failed_login_hours = hours_since(profile.failed_login_at());
        self.device_logged_in = if profile.logins().is_empty() { f32::NAN } else { flag(since(device).is_some()) };
        self.device_login_hours = hours_since(device);
        let changes = CREDENTIALS.map(|what| since(profile.changed_at(what)));
        self.user_changes_1d = changes.iter().flatten().filter(|elapsed_ms| **elapsed_ms <= DAY_MS).count() as f32;
        self.user_change_hours = hundredths_of(changes.into_iter().flatten().min(), HOUR_MS);
        let devices = [Change::DeviceAdded, Change::DeviceRemoved].map(|what| since(profile.changed_at(what)));
        self.user_device_change_hours = hundredths_of(devices.into_iter().flatten().min(), HOUR_MS);
    }

    fn user_labels(&mut self, at: Millis, risk: Input<'_, Risk>) {
        let Some(known) = Labels::until(at, risk) else { return };
        self.user_frauds_7d = known.frauds(7);
        self.user_frauds_30d = known.frauds(30);
        self.user_labels_30d = known.labels(30);
        self.user_fraud_days = known.days_since_fraud();
    }

    fn device_labels(&mut self, at: Millis, risk: Input<'_, Risk>) {
        let Some(known) = Labels::until(at, risk) else { return };
        let windows = [1, 7, 30];
        [self.device_frauds_1d, self.device_frauds_7d, self.device_frauds_30d] = windows.map(|days| known.frauds(days));
        [self.device_labels_1d, self.device_labels_7d, self.device_labels_30d] = windows.map(|days| known.labels(days));
        [self.device_risk_1d, self.device_risk_7d, self.device_risk_30d] = windows.map(|days| known.risk(days));
        self.device_fraud_days = known.days_since_fraud();
    }

    fn device(&mut self, at: Millis, known: &Known<'_>) {
        let device_risk = known.device_risk;
        let known = match known.device {
            DeviceInput::Unavailable => return,
            DeviceInput::Unseen => None,
            DeviceInput::Known(device) => Some(device),
        };
        self.device_labels(at, device_risk);
        self.device_users = known.map_or(0.0, |known| known.users.len() as f32);
        self.device_newcomers_1d = known.map_or(0.0, |known| known.newcomers(at, DAY_MS) as f32);
        self.device_newcomers_7d = known.map_or(0.0, |known| known.newcomers(at, 7 * DAY_MS) as f32);
        self.device_age_days = known.map_or(0.0, |known| days(at.since(known.first_seen_at).max(0)));
    }
}

/// What gets whoever changes it into the account, or the goods to another door.
const CREDENTIALS: [Change; 4] = [Change::Password, Change::Email, Change::Address, Change::Phone];

/// A time in hundredths of a unit, rounded down, which a stored decision keeps in few bytes; missing where there is none.
fn hundredths_of(elapsed_ms: Option<i64>, unit_ms: i64) -> f32 {
    elapsed_ms.map_or(f32::NAN, |elapsed_ms| ((elapsed_ms / (unit_ms / 100)) as f64 / 100.0) as f32)
}

/// Labels that were known on a day, by their age in days; 0 is that day itself.
struct Labels<'a> {
    today: Day,
    risk: Option<&'a Risk>,
}

impl<'a> Labels<'a> {
    fn until(at: Millis, risk: Input<'a, Risk>) -> Option<Self> {
        let risk = match risk {
            Input::Unavailable => return None,
            Input::Unseen => None,
            Input::Known(risk) => Some(risk),
        };
        Some(Self { today: Day::of(at), risk })
    }

    /// Frauds, and all labels, of the newest so many days.
    fn counts(&self, days: u32) -> (u64, u64) {
        let newest = self.risk.into_iter().flat_map(Risk::days);
        let within = newest.filter(|(day, _)| self.today.0.checked_sub(day.0).is_some_and(|age| age < days));
        within.fold((0, 0), |(frauds, labels), (_, counts)| {
            let fraud = u64::from(counts.fraud);
            (frauds + fraud, labels + fraud + u64::from(counts.good))
        })
    }

    fn frauds(&self, days: u32) -> f32 {
        self.counts(days).0 as f32
    }

    fn labels(&self, days: u32) -> f32 {
        self.counts(days).1 as f32
    }

    /// The share of fraud, pulled towards 0 while there are few labels.
    fn risk(&self, days: u32) -> f32 {
        let (frauds, labels) = self.counts(days);
        (frauds as f64 / (labels as f64 + 0.5)) as f32
    }

    fn days_since_fraud(&self) -> f32 {
        let newest = self.risk.into_iter().flat_map(Risk::days);
        let ages = newest.filter(|(_, counts)| counts.fraud > 0).filter_map(|(day, _)| self.today.0.checked_sub(day.0));
        ages.min().map_or(f32::NAN, |age| age as f32)
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
