//! What becomes known of transactions days later, from people who may be wrong at first.

use std::sync::Arc;

use centinela_contracts::event_v1::{self, EventKind};
use centinela_domain::{DeviceId, EventId, InvalidTransaction, Millis, TransactionId, UserId};

use crate::chance::Chance;
use crate::transaction::{Kind, TransactionFields};
use crate::world::DAY_MS;

/// The stream of draws; none of it changes a transaction.
const STREAM: u64 = 4;
/// Of the labelled frauds, the share that is charged back; an analyst confirms the others.
const CHARGED_BACK: f64 = 0.8;
/// Of the chargebacks of frauds, the share that an analyst confirms later.
const CONFIRMED_LATER: f64 = 0.15;
/// Of the labelled genuine purchases, the shares that are given back, and charged back by mistake; the others are confirmed as good.
const REFUNDED: f64 = 0.08;
const DISPUTED: f64 = 0.04;
/// Of the chargebacks by mistake, the share that is found out.
const FOUND_OUT: f64 = 0.8;

/// How much becomes known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Labels {
    /// The share of frauds that somebody notices.
    pub frauds: f64,
    /// The share of genuine purchases of which somebody says something.
    pub genuine: f64,
    /// Whether it is drawn together with how transactions are delivered. So it always was in a history, whose transactions would arrive
    /// at other times without.
    pub with_delivery: bool,
}

impl Labels {
    /// Nobody says anything.
    pub const NONE: Self = Self { frauds: 0.0, genuine: 0.0, with_delivery: false };
    /// Most frauds are charged back, and of the rest a fifth is confirmed.
    pub const HISTORY: Self = Self { frauds: 0.85, genuine: 0.2, with_delivery: true };
    /// Most frauds, and so few of the others that one transaction in a hundred has a label.
    pub const LIVE: Self = Self { frauds: 0.85, genuine: 0.002_5, with_delivery: false };

    /// So that about this share of the transactions has a label, of which `fraud_share` are frauds: those first.
    #[must_use]
    pub fn of_share(share: f64, fraud_share: f64) -> Self {
        let frauds = (share / fraud_share.max(f64::MIN_POSITIVE)).min(Self::HISTORY.frauds);
        let genuine = ((share - frauds * fraud_share) / (1.0 - fraud_share)).clamp(0.0, 1.0);
        Self { frauds, genuine, with_delivery: false }
    }
}

/// What a label says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabelKind {
    /// The bank took the money back.
    Chargeback,
    /// The shop gave it back, for whatever reason.
    Refund,
    /// Somebody looked and found fraud.
    ConfirmedFraud,
    /// Somebody looked and found none.
    ConfirmedGood,
}

impl LabelKind {
    /// What it says of the transaction; none of a refund, which says nothing.
    pub fn says_fraud(self) -> Option<bool> {
        match self {
            Self::Chargeback | Self::ConfirmedFraud => Some(true),
            Self::ConfirmedGood => Some(false),
            Self::Refund => None,
        }
    }
}

/// What becomes known of a transaction. A later one about the same transaction corrects it.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The producer's name for it.
    pub event_id: Arc<str>,
    /// Of which transaction.
    pub transaction_id: Arc<str>,
    /// Whose.
    pub user_id: Arc<str>,
    /// On which device.
    pub device_id: Arc<str>,
    /// What it says, which need not be the truth.
    pub kind: LabelKind,
    /// Simulated time of arrival.
    pub arrived_at: Millis,
}

impl Label {
    /// The payload of version 1, as it goes onto the topic.
    pub fn to_json(&self) -> Vec<u8> {
        event_v1::encode(&self.to_event().expect("generated labels are valid"))
    }

    /// The event that the payload means, without the way through JSON.
    ///
    /// # Errors
    /// When a field is not what the topic takes, which no generated one is.
    pub fn to_event(&self) -> Result<event_v1::Event, InvalidTransaction> {
        Ok(event_v1::Event {
            event_id: EventId::new("event_id", &*self.event_id)?,
            occurred_at: self.arrived_at,
            user_id: Some(UserId::new(&*self.user_id)?),
            transaction_id: Some(TransactionId::new(&*self.transaction_id)?),
            kind: match self.kind {
                LabelKind::Chargeback => EventKind::Chargeback,
                LabelKind::Refund => EventKind::Refund,
                LabelKind::ConfirmedFraud => EventKind::ConfirmedFraud,
                LabelKind::ConfirmedGood => EventKind::ConfirmedGood,
            },
            device_id: Some(DeviceId::new(&*self.device_id)?),
        })
    }
}

/// Where labels come from.
#[derive(Clone, Debug)]
pub(crate) struct Outcomes {
    chance: Chance,
    seed: u64,
    said: u64,
}

impl Outcomes {
    pub(crate) fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed, STREAM), seed, said: 0 }
    }

    /// What will be said of a transaction that happens at `at`, in the order of arrival: nothing, mostly.
    pub(crate) fn labels(
        &mut self,
        fields: &TransactionFields,
        kind: Kind,
        at: f64,
        rates: Labels,
        delivery: &mut Chance,
    ) -> Vec<Label> {
        let fraud = kind.is_fraud();
        let drawn = if rates.with_delivery { delivery } else { &mut self.chance };
        if !drawn.happens(if fraud { rates.frauds } else { rates.genuine }) {
            return Vec::new();
        }
        let days = if fraud { drawn.log_normal(5.0, 0.6).clamp(0.5, 45.0) } else { drawn.between(6.0, 8.0) };
        let chance = &mut self.chance;
        let (first, second) = match (fraud, chance.unit(), chance.unit()) {
            (true, draw, _) if draw >= CHARGED_BACK => (LabelKind::ConfirmedFraud, None),
            (true, _, later) => (LabelKind::Chargeback, (later < CONFIRMED_LATER).then_some(LabelKind::ConfirmedFraud)),
            (false, draw, _) if draw < REFUNDED => (LabelKind::Refund, None),
            (false, draw, later) if draw < REFUNDED + DISPUTED => {
                (LabelKind::Chargeback, (later < FOUND_OUT).then_some(LabelKind::ConfirmedGood))
            }
            (false, ..) => (LabelKind::ConfirmedGood, None),
        };
        let arrives_at = at + days * DAY_MS;
        let corrected_at = arrives_at + chance.between(1.0, 12.0) * DAY_MS;
        let said = [(Some(first), arrives_at), (second, corrected_at)];
        said.into_iter().filter_map(|(kind, at)| Some(self.label(fields, kind?, at))).collect()
    }

    fn label(&mut self, fields: &TransactionFields, kind: LabelKind, arrives_at: f64) -> Label {
        self.said += 1;
        Label {
            event_id: format!("e-{:x}-{:09}", self.seed, self.said).into(),
            transaction_id: fields.transaction_id.clone(),
            user_id: fields.user_id.clone(),
            device_id: fields.device_id.clone(),
            kind,
            arrived_at: Millis(arrives_at as i64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_labels_is_made_of_frauds_first() {
        let live = Labels::of_share(0.01, 0.009);
        assert!((live.frauds - Labels::LIVE.frauds).abs() < 1e-9 && (live.genuine - Labels::LIVE.genuine).abs() < 5e-4);
        let few = Labels::of_share(0.001, 0.009);
        assert!(few.frauds > 0.1 && few.genuine.abs() < 1e-9);
        assert_eq!(Labels::of_share(0.0, 0.009), Labels::NONE);
    }
}
