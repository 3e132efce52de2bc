//! What a set of decisions adds up to: counts, money and latency. A fold, so that a part of it here and a part there are merged to the
//! same as all of it at once.

mod latency;

use std::collections::BTreeMap;

use crate::decision::{Decision, Outcome, ReasonCode};
use crate::money::Currency;
use crate::transaction::DeviceType;

pub use latency::{LATENCY_STEPS, Latency};

/// Upper ends of the amount bands, in what is worth about a dollar; the last band has none.
pub const AMOUNT_BANDS: [f32; 7] = [1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0];
/// Most models that are counted by name; deployments have two at a time.
pub const MODELS_MAX: usize = 16;
/// Longest version by which a model is counted, in bytes; manifests allow 16.
pub const MODEL_VERSION_BYTES_MAX: usize = 64;
/// What stands for the models beyond them.
pub const OTHER_MODELS: &str = "";
/// Where the lists of features that are known have the device's type; a later list that moves it needs a case of its own.
const DEVICE_TYPE_AT: usize = 4;
/// The newest list of features that has it there.
const FEATURES_KNOWN: u32 = 2;

/// Something that a decision is marked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of a decision's fields")]
pub enum Flag {
    Late,
    Ahead,
    Guarded,
    Degraded,
    WithoutDevice,
    WithoutProfile,
    WithoutUserRisk,
    WithoutDeviceRisk,
}

impl Flag {
    /// All of them; the place is the number in a stored roll-up, so new ones go to the end.
    pub const ALL: [Flag; 8] = [
        Self::Late,
        Self::Ahead,
        Self::Guarded,
        Self::Degraded,
        Self::WithoutDevice,
        Self::WithoutProfile,
        Self::WithoutUserRisk,
        Self::WithoutDeviceRisk,
    ];

    /// The name in an answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Ahead => "ahead",
            Self::Guarded => "guarded",
            Self::Degraded => "degraded",
            Self::WithoutDevice => "without_device",
            Self::WithoutProfile => "without_profile",
            Self::WithoutUserRisk => "without_user_risk",
            Self::WithoutDeviceRisk => "without_device_risk",
        }
    }

    fn is_set(self, decision: &Decision) -> bool {
        let missing = decision.missing;
        match self {
            Self::Late => decision.late,
            Self::Ahead => decision.ahead,
            Self::Guarded => decision.guarded,
            Self::Degraded => missing.any(),
            Self::WithoutDevice => missing.device,
            Self::WithoutProfile => missing.profile,
            Self::WithoutUserRisk => missing.user_risk,
            Self::WithoutDeviceRisk => missing.device_risk,
        }
    }
}

/// A part of a decision's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From the event's own time to the broker's.
    Arrival,
    /// From the broker's time to the decision.
    Decision,
    /// From the event's own time to the decision.
    Whole,
}

impl Stage {
    /// All of them; the place is the number in a stored roll-up, so new ones go to the end.
    pub const ALL: [Stage; 3] = [Self::Arrival, Self::Decision, Self::Whole];

    /// The name in an answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arrival => "arrival",
            Self::Decision => "decision",
            Self::Whole => "whole",
        }
    }
}

/// Decisions of a model by their outcome, or money by the outcome of its decisions: as [`Outcome::ALL`].
pub type ByOutcome = [u64; Outcome::ALL.len()];

/// What decisions add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollup {
    /// Decisions by outcome, as [`Outcome::ALL`].
    pub outcomes: ByOutcome,
    /// Decisions that name a reason, as [`ReasonCode::ALL`].
    pub reasons: [u64; ReasonCode::ALL.len()],
    /// Decisions that do not say the type of their device, then those by type, as [`DeviceType::ALL`].
    pub device_types: [u64; DeviceType::ALL.len() + 1],
    /// Decisions by amount, as [`AMOUNT_BANDS`], and what is above them.
    pub amount_bands: [u64; AMOUNT_BANDS.len() + 1],
    /// Decisions that are marked, as [`Flag::ALL`].
    pub flags: [u64; Flag::ALL.len()],
    /// Decisions of each model by outcome.
    pub models: BTreeMap<String, ByOutcome>,
    /// Money of each currency by outcome, in its minor unit.
    pub money: BTreeMap<Currency, ByOutcome>,
    /// How long they took, as [`Stage::ALL`].
    pub latency: [Latency; Stage::ALL.len()],
    /// Messages without evidence, which repeat decisions of long ago: counted here and nowhere else.
    pub reduced: u64,
}

impl Rollup {
    /// Counts a decision.
    pub fn add(&mut self, decision: &Decision) {
        let outcome = decision.outcome as usize;
        self.outcomes[outcome] += 1;
        for (index, code) in ReasonCode::ALL.into_iter().enumerate() {
            self.reasons[index] += u64::from(decision.reasons.iter().any(|reason| reason.code == code));
        }
        self.device_types[device_type(decision)] += 1;
        let dollars = decision.currency.in_dollars(decision.amount);
        let band = AMOUNT_BANDS.iter().position(|end| dollars < *end).unwrap_or(AMOUNT_BANDS.len());
        self.amount_bands[band] += 1;
        for (index, flag) in Flag::ALL.into_iter().enumerate() {
            self.flags[index] += u64::from(flag.is_set(decision));
        }
        let mut one = ByOutcome::default();
        one[outcome] = 1;
        self.add_model(&decision.model.version, one);
        let money = self.money.entry(decision.currency).or_default();
        money[outcome] = money[outcome].saturating_add(decision.amount.minor());
        let took = [
            decision.ingested_at.0.saturating_sub(decision.occurred_at.0),
            decision.decided_at.0.saturating_sub(decision.ingested_at.0),
            decision.decided_at.0.saturating_sub(decision.occurred_at.0),
        ];
        self.latency.iter_mut().zip(took).for_each(|(latency, took)| latency.add(took));
    }

    /// Counts a message without evidence.
    pub fn add_reduced(&mut self) {
        self.reduced += 1;
    }

    /// Counts decisions of a model; beyond [`MODELS_MAX`] of them, and with a version of unreasonable length, under [`OTHER_MODELS`].
    pub fn add_model(&mut self, version: &str, decisions: ByOutcome) {
        let is_known = self.models.contains_key(version);
        let has_room = self.models.len() < MODELS_MAX && version.len() <= MODEL_VERSION_BYTES_MAX;
        let version = if is_known || has_room { version } else { OTHER_MODELS };
        add_all(self.models.entry(version.to_owned()).or_default(), &decisions);
    }

    /// Adds what another set of decisions adds up to.
    pub fn merge(&mut self, other: &Self) {
        add_all(&mut self.outcomes, &other.outcomes);
        add_all(&mut self.reasons, &other.reasons);
        add_all(&mut self.device_types, &other.device_types);
        add_all(&mut self.amount_bands, &other.amount_bands);
        add_all(&mut self.flags, &other.flags);
        for (version, decisions) in &other.models {
            self.add_model(version, *decisions);
        }
        for (currency, money) in &other.money {
            add_all(self.money.entry(*currency).or_default(), money);
        }
        self.latency.iter_mut().zip(&other.latency).for_each(|(latency, other)| latency.merge(other));
        self.reduced = self.reduced.saturating_add(other.reduced);
    }

    /// How many decisions.
    pub fn decisions(&self) -> u64 {
        self.outcomes.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The share of decisions that is BLOCKED; none without decisions.
    pub fn block_rate(&self) -> Option<f64> {
        let decisions = self.decisions();
        (decisions > 0).then(|| self.outcomes[Outcome::Blocked as usize] as f64 / decisions as f64)
    }
}

fn add_all(sums: &mut [u64], others: &[u64]) {
    sums.iter_mut().zip(others).for_each(|(sum, other)| *sum = sum.saturating_add(*other));
}

/// The place in [`Rollup::device_types`]. A decision says it among its features only.
fn device_type(decision: &Decision) -> usize {
    if decision.features.version > FEATURES_KNOWN {
        return 0;
    }
    let number = decision.features.values.get(DEVICE_TYPE_AT).copied().unwrap_or(f32::NAN);
    DeviceType::ALL
        .iter()
        .position(|kind| (number - f32::from(kind.number())).abs() < 0.25)
        .map_or(0, |place| place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{FEATURES_VERSION, FeatureVector};

    #[test]
    fn the_type_of_the_device_is_where_the_list_of_features_has_it() {
        assert_eq!(FEATURES_VERSION, FEATURES_KNOWN, "a new list: say where it has `device_type`");
        assert_eq!(FeatureVector::NAMES[DEVICE_TYPE_AT], "device_type");
    }
}
