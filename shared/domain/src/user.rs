//! What is remembered about a user: a state of constant size, whatever the user's history.

use crate::decay::{self, DAY_MS, HOUR_MS, Way};
use crate::transaction::{DeviceType, Millis, Transaction};

/// Half-lives of the decayed counts and sums: an hour, a day, a week, thirty days.
pub const VELOCITY_HALF_LIVES_MS: [i64; 4] = [HOUR_MS, DAY_MS, 7 * DAY_MS, 30 * DAY_MS];
/// Half-lives of the decayed counts of spikes.
pub const SPIKE_HALF_LIVES_MS: [i64; 2] = [3 * DAY_MS, 14 * DAY_MS];
/// Recent amounts kept for the median.
pub const RECENT_AMOUNTS: usize = 16;
/// An amount above this multiple of the recent median is a spike.
pub const SPIKE_RATIO: f32 = 2.5;
/// Amounts needed before anything is called a spike.
pub const SPIKE_HISTORY_MIN: usize = 3;
/// Amounts up to this (dollars, about) count as card-testing size.
pub const SMALL_AMOUNT: f32 = 2.0;
/// Half-life of the count of small amounts: the place in [`VELOCITY_HALF_LIVES_MS`].
pub(crate) const SMALL_HALF_LIFE: usize = 0;
/// An account's age rests on its activity: a gap longer than this begins it anew. Otherwise one event with a date of long ago would
/// make a fresh account look old.
pub const AGE_GAP_MAX_MS: i64 = 90 * DAY_MS;
/// Devices, networks and agents remembered, the last used first.
pub const KNOWN_DEVICES_MAX: usize = 8;
/// See [`KNOWN_DEVICES_MAX`].
pub const KNOWN_NETWORKS_MAX: usize = 4;
/// See [`KNOWN_DEVICES_MAX`].
pub const KNOWN_AGENTS_MAX: usize = 2;

/// Aggregates over a user's unique transactions. Decayed values are as of `newest_at`; single precision, exactly as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct UserState {
    /// Transactions decided, late ones included.
    pub transactions: u64,
    /// Their amounts in minor units, whatever the currency; stops at the largest integer.
    pub amount_total_minor: u64,
    /// Transactions that were late.
    pub late: u64,
    /// Where the account's age begins: the first transaction, or the first after a gap of more than [`AGE_GAP_MAX_MS`].
    pub since: Millis,
    /// The newest event time seen.
    pub newest_at: Millis,
    /// Decayed counts, one per [`VELOCITY_HALF_LIVES_MS`].
    pub counts: [f32; 4],
    /// Decayed sums of amounts (dollars, about; so are all amounts below).
    pub sums: [f32; 4],
    /// Mean amount (Welford).
    pub mean: f64,
    /// Sum of squared differences from the mean (Welford).
    pub squares: f64,
    /// Largest amount.
    pub largest: f32,
    /// The last amounts, oldest first; at most [`RECENT_AMOUNTS`].
    pub recent: Vec<f32>,
    /// Decayed counts of spikes, one per [`SPIKE_HALF_LIVES_MS`].
    pub spikes: [f32; 2],
    /// Time of the newest spike.
    pub spike_at: Option<Millis>,
    /// Decayed count of small amounts.
    pub small: f32,
    /// Hashes of devices, the last used first.
    pub devices: Vec<u32>,
    /// Hashes of networks, the last used first.
    pub networks: Vec<u32>,
    /// Hashes of user agents, the last used first.
    pub agents: Vec<u32>,
    /// One bit per [`DeviceType`] seen.
    pub device_types: u8,
}

impl UserState {
    /// A user of whom nothing is known yet but the time.
    pub fn new(since: Millis) -> Self {
        Self {
            transactions: 0,
            amount_total_minor: 0,
            late: 0,
            since,
            newest_at: since,
            counts: [0.0; 4],
            sums: [0.0; 4],
            mean: 0.0,
            squares: 0.0,
            largest: 0.0,
            recent: Vec::new(),
            spikes: [0.0; 2],
            spike_at: None,
            small: 0.0,
            devices: Vec::new(),
            networks: Vec::new(),
            agents: Vec::new(),
            device_types: 0,
        }
    }

    /// Whether an event at `at` is further behind the newest one than `allowed_ms`. Never measured against a clock.
    pub fn is_late(&self, at: Millis, allowed_ms: i64) -> bool {
        self.transactions > 0 && self.newest_at.since(at) > allowed_ms
    }

    /// Age of the account at `at`, in milliseconds.
    pub fn age_ms(&self, at: Millis) -> i64 {
        if self.begins_anew(at) { 0 } else { at.since(self.since).max(0) }
    }

    fn begins_anew(&self, at: Millis) -> bool {
        self.transactions > 0 && at.since(self.newest_at) > AGE_GAP_MAX_MS
    }

    /// Counts a transaction that happened at `at` ([`crate::transaction::EventTime`]). Must be called once per unique transaction,
    /// after its features were computed.
    pub fn apply(&mut self, transaction: &Transaction, at: Millis, late: bool) {
        if self.transactions == 0 {
            self.newest_at = at;
            self.since = self.since.min(at);
        } else if self.begins_anew(at) {
            self.since = at;
        }
        let amount = transaction.amount_dollars();
        self.apply_velocity(amount, at);
        self.apply_amount(amount);
        decay::remember(&mut self.devices, transaction.device, KNOWN_DEVICES_MAX);
        decay::remember(&mut self.networks, transaction.network, KNOWN_NETWORKS_MAX);
        decay::remember(&mut self.agents, transaction.agent, KNOWN_AGENTS_MAX);
        self.device_types |= type_bit(transaction.device_type);
        self.amount_total_minor = self.amount_total_minor.saturating_add(transaction.amount.minor());
        self.late += u64::from(late);
        self.newest_at = self.newest_at.max(at);
    }

    fn apply_velocity(&mut self, amount: f32, at: Millis) {
        let way = Way::new(self.newest_at, at);
        let velocity = VELOCITY_HALF_LIVES_MS.map(|half_life_ms| way.between(half_life_ms));
        for (counter, remains) in self.counts.iter_mut().zip(velocity) {
            way.add(counter, remains, 1.0);
        }
        for (counter, remains) in self.sums.iter_mut().zip(velocity) {
            way.add(counter, remains, amount);
        }
        let spike = self.spike_ratio(amount).is_some_and(|ratio| ratio > SPIKE_RATIO);
        let hit = if spike { 1.0 } else { 0.0 };
        for (counter, half_life_ms) in self.spikes.iter_mut().zip(SPIKE_HALF_LIVES_MS) {
            way.add(counter, way.between(half_life_ms), hit);
        }
        if spike {
            self.spike_at = Some(self.spike_at.map_or(at, |known| known.max(at)));
        }
        let tiny = if amount <= SMALL_AMOUNT { 1.0 } else { 0.0 };
        way.add(&mut self.small, velocity[SMALL_HALF_LIFE], tiny);
    }

    fn apply_amount(&mut self, amount: f32) {
        self.transactions += 1;
        let delta = f64::from(amount) - self.mean;
        self.mean += delta / self.transactions as f64;
        self.squares += delta * (f64::from(amount) - self.mean);
        self.largest = self.largest.max(amount);
        if self.recent.len() == RECENT_AMOUNTS {
            self.recent.remove(0);
        }
        self.recent.push(amount);
    }

    /// The amount as a multiple of the recent median; none until there is history enough.
    pub(crate) fn spike_ratio(&self, amount: f32) -> Option<f32> {
        if self.recent.len() < SPIKE_HISTORY_MIN {
            return None;
        }
        let mut sorted = [0f32; RECENT_AMOUNTS];
        let sorted = &mut sorted[..self.recent.len().min(RECENT_AMOUNTS)];
        sorted.copy_from_slice(&self.recent[self.recent.len() - sorted.len()..]);
        sorted.sort_unstable_by(f32::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(amount / median.max(0.01))
    }
}

pub(crate) fn type_bit(kind: DeviceType) -> u8 {
    1 << kind.number()
}
