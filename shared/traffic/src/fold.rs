//! Features over history, by the same code and in the same order as decisions are made: the row first, then the state.

use std::collections::HashMap;

use centinela_contracts::event_v1::{self, Event};
use centinela_contracts::payload::PayloadProblem;
use centinela_contracts::user_action_v1::{self, UserAction};
use centinela_domain::features::Known;
use centinela_domain::risk::Label;
use centinela_domain::{
    DecisionId, DeviceId, DeviceState, FeatureVector, Millis, Profile, Risk, Transaction, UserId, UserState,
};

/// The allowed lateness that the function uses by default.
pub const ALLOWED_LATENESS_MS: i64 = 24 * 3_600_000;

/// Everything that is known of all users and devices while history passes.
#[derive(Debug, Default)]
pub struct FeatureFold {
    states: States,
    device_writes: u64,
}

/// What the functions would have stored.
#[derive(Debug, Default)]
pub struct States {
    /// Everybody who bought.
    pub users: HashMap<UserId, UserState>,
    /// Every device that was used.
    pub devices: HashMap<DeviceId, DeviceState>,
    /// Everybody who did something else.
    pub profiles: HashMap<UserId, Profile>,
    /// Users of whose transactions something became known.
    pub user_risks: HashMap<UserId, Risk>,
    /// Devices alike.
    pub device_risks: HashMap<DeviceId, Risk>,
    /// The label that stands of each labelled transaction, and whose and on which device that was.
    pub labels: HashMap<DecisionId, (Label, UserId, DeviceId)>,
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
    /// Computes the row from what was known before the transaction, then lets it change that. Call once per unique transaction, in order
    /// of arrival.
    pub fn transaction(&mut self, transaction: &Transaction) -> Row {
        let (user, device) = (&transaction.user_id, &transaction.device_id);
        let known = Known {
            user: self.states.users.get(user),
            profile: self.states.profiles.get(user).into(),
            user_risk: self.states.user_risks.get(user).into(),
            device: self.states.devices.get(device).into(),
            device_risk: self.states.device_risks.get(device).into(),
        };
        let features = FeatureVector::compute(transaction, transaction.occurred_at, &known);
        let late = self.pass(transaction);
        Row { features, late }
    }

    /// Lets the transaction change the states, without a row of it. Says whether it was late.
    pub(crate) fn pass(&mut self, transaction: &Transaction) -> bool {
        let at = transaction.occurred_at;
        let States { users, devices, .. } = &mut self.states;
        let user = users.entry(transaction.user_id.clone()).or_insert_with(|| UserState::new(at));
        let late = user.is_late(at, ALLOWED_LATENESS_MS);
        user.apply(transaction, at, late);
        let device = devices.entry(transaction.device_id.clone()).or_insert_with(|| DeviceState::first_seen(at));
        self.device_writes += u64::from(device.observe(transaction.user_id.hash32(), at));
        late
    }

    /// Takes an action, a payload of topic `user_actions`, into its user's profile.
    ///
    /// # Errors
    /// When it is no action.
    pub fn action(&mut self, payload: &[u8], arrived_at: Millis) -> Result<(), PayloadProblem> {
        self.act(user_action_v1::parse(payload)?, arrived_at);
        Ok(())
    }

    /// Takes an action in, without the way through JSON.
    pub(crate) fn act(&mut self, action: UserAction, arrived_at: Millis) {
        let fact = action.fact(arrived_at);
        self.states.profiles.entry(action.user_id).or_default().apply(fact);
    }

    /// Takes a payload of topic `events` in. What is no label, or names no user or device, changes nothing.
    ///
    /// # Errors
    /// When it is no event.
    pub fn label(&mut self, payload: &[u8], arrived_at: Millis) -> Result<(), PayloadProblem> {
        self.hear(event_v1::parse(payload)?, arrived_at);
        Ok(())
    }

    /// Takes an event in, without the way through JSON.
    pub(crate) fn hear(&mut self, event: Event, arrived_at: Millis) {
        let label = event.label(arrived_at);
        if let (Some(label), Some(transaction), Some(user), Some(device)) =
            (label, event.transaction_id, event.user_id, event.device_id)
        {
            self.count(DecisionId::derive(&user, &transaction), &user, &device, label);
        }
    }

    /// Counts what became known of a transaction, from its arrival on. Of a transaction's labels the greatest stands: what was counted of
    /// another is taken back.
    pub fn count(&mut self, transaction: DecisionId, user: &UserId, device: &DeviceId, label: Label) {
        let States { user_risks, device_risks, labels, .. } = &mut self.states;
        let known = labels.get(&transaction).map(|(known, ..)| known);
        if known.is_some_and(|known| *known >= label) {
            return;
        }
        let of_user = user_risks.entry(user.clone()).or_default();
        let of_device = device_risks.entry(device.clone()).or_default();
        for risk in [of_user, of_device] {
            if let Some(known) = known {
                risk.remove(known.day(), known.verdict);
            }
            risk.add(label.day(), label.verdict);
        }
        labels.insert(transaction, (label, user.clone(), device.clone()));
    }

    /// Users who bought, and devices that they used.
    pub(crate) fn states(&self) -> usize {
        self.states.users.len() + self.states.devices.len()
    }

    /// What the functions would have stored by now.
    pub fn into_states(self) -> States {
        self.states
    }

    /// How often a device's item would have been written.
    pub fn device_writes(&self) -> u64 {
        self.device_writes
    }
}
