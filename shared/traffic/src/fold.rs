//! Features over history, by the same code and in the same order as decisions are made: the row first, then the state.

use std::collections::HashMap;

use centinela_domain::features::DeviceInput;
use centinela_domain::{DeviceId, DeviceState, FeatureVector, Millis, Transaction, UserId, UserState};

/// The allowed lateness that the function uses by default.
pub const ALLOWED_LATENESS_MS: i64 = 24 * 3_600_000;

/// The states of all users and devices while history passes.
#[derive(Debug, Default)]
pub struct FeatureFold {
    users: HashMap<UserId, UserState>,
    devices: HashMap<DeviceId, DeviceState>,
    device_writes: u64,
}

/// What a decision would have seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The model's input.
    pub features: FeatureVector,
    /// Further behind the user's newest event than allowed.
    pub late: bool,
}

impl FeatureFold {
    /// Computes the row from the states before the transaction, then lets it change them. Call once per unique transaction, in
    /// order of arrival.
    pub fn transaction(&mut self, transaction: &Transaction) -> Row {
        let user = self.users.get(&transaction.user_id);
        let device = self.devices.get(&transaction.device_id).map_or(DeviceInput::Unseen, DeviceInput::Known);
        let features = FeatureVector::compute(transaction, transaction.occurred_at, user, device);
        let late = self.pass(transaction);
        Row { features, late }
    }

    /// Lets the transaction change the states, without a row of it. Says whether it was late.
    pub(crate) fn pass(&mut self, transaction: &Transaction) -> bool {
        let at = transaction.occurred_at;
        let user = self.users.entry(transaction.user_id.clone()).or_insert_with(|| UserState::new(at));
        let late = user.is_late(at, ALLOWED_LATENESS_MS);
        user.apply(transaction, at, late);
        let device = self.devices.entry(transaction.device_id.clone()).or_insert_with(|| DeviceState::first_seen(at));
        self.device_writes += u64::from(device.observe(transaction.user_id.hash32(), at));
        late
    }

    /// Counts a label for the user and the device, from its arrival on.
    pub fn label(&mut self, user: &UserId, device: &DeviceId, fraud: bool, arrived_at: Millis) {
        if let Some(state) = self.users.get_mut(user) {
            state.label(fraud, arrived_at);
        }
        if let Some(state) = self.devices.get_mut(device) {
            state.label(fraud, arrived_at);
        }
    }

    /// Users and devices of whom something is known.
    pub(crate) fn states(&self) -> usize {
        self.users.len() + self.devices.len()
    }

    pub(crate) fn into_states(self) -> (HashMap<UserId, UserState>, HashMap<DeviceId, DeviceState>) {
        (self.users, self.devices)
    }

    /// How often a device's item would have been written.
    pub fn device_writes(&self) -> u64 {
        self.device_writes
    }
}
