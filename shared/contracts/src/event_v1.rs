//! The payload of topic `events`, version 1: what became known about a transaction after it was decided, and whatever else producers
//! tell about a payment.
//!
//! Four events are labels. Any other name is an event that nothing is derived from: the lake keeps it.

pub use centinela_domain::EventId;
use centinela_domain::risk::{Label, Verdict};
use centinela_domain::{DeviceId, Millis, TransactionId, UserId};

use crate::json::Object;
use crate::payload::{Fields, PayloadProblem, required};

/// Largest accepted value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

const NAMES: &[&str] = &["version", "event_id", "timestamp", "user_id", "transaction_id", "event", "device_id"];

/// What became known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The customer's bank took the money back.
    Chargeback,
    /// The money was given back.
    Refund,
    /// Somebody looked into it: fraud.
    ConfirmedFraud,
    /// Somebody looked into it: the customer had paid.
    ConfirmedGood,
    /// Something that is not a label, by the producer's name for it.
    Other(EventId),
}

impl EventKind {
    /// The labels.
    pub const LABELS: [Self; 4] = [Self::Chargeback, Self::Refund, Self::ConfirmedFraud, Self::ConfirmedGood];

    /// The name in a payload.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Chargeback => "chargeback",
            Self::Refund => "refund",
            Self::ConfirmedFraud => "confirmed_fraud",
            Self::ConfirmedGood => "confirmed_good",
            Self::Other(name) => name.as_str(),
        }
    }

    /// What it says as a label; none of an event that is not one.
    pub fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Chargeback => Some(Verdict::Chargeback),
            Self::Refund => Some(Verdict::Refund),
            Self::ConfirmedFraud => Some(Verdict::ConfirmedFraud),
            Self::ConfirmedGood => Some(Verdict::ConfirmedGood),
            Self::Other(_) => None,
        }
    }

    fn parse(name: &str) -> Result<Self, PayloadProblem> {
        match Self::LABELS.into_iter().find(|kind| kind.as_str() == name) {
            Some(label) => Ok(label),
            None => Ok(Self::Other(EventId::new("event", name)?)),
        }
    }
}

/// What became known about a transaction after it was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The producer's name for it.
    pub event_id: EventId,
    /// When it became known, as the producer says.
    pub occurred_at: Millis,
    /// The user who paid, where the producer says so.
    pub user_id: Option<UserId>,
    /// The transaction that it is about; every label has one.
    pub transaction_id: Option<TransactionId>,
    /// What became known.
    pub kind: EventKind,
    /// The transaction's device, where the producer says so.
    pub device_id: Option<DeviceId>,
}

impl Event {
    /// The label that it is, in a record of this broker time; none of an event that is not one. A label that is dated ahead of its
    /// record counts as of the broker's time.
    pub fn label(&self, ingested_at: Millis) -> Option<Label> {
        let verdict = self.kind.verdict()?;
        Some(Label::new(verdict, self.occurred_at, ingested_at, self.event_id.clone()))
    }
}

/// Reads an event.
pub fn parse(value: &[u8]) -> Result<Event, PayloadProblem> {
    let mut fields = Fields::begin(value, VALUE_BYTES_MAX, NAMES)?;
    let (mut event_id, mut occurred_at, mut user_id) = (None, None, None);
    let (mut transaction_id, mut kind, mut device_id) = (None, None, None);
    while let Some(index) = fields.next()? {
        let field = NAMES[index];
        match field {
            "version" => fields.version()?,
            "event_id" => event_id = Some(EventId::new(field, fields.text(field)?)?),
            "timestamp" => occurred_at = Some(fields.time(field)?),
            "user_id" => user_id = Some(UserId::new(fields.text(field)?)?),
            "transaction_id" => transaction_id = Some(TransactionId::new(fields.text(field)?)?),
            "event" => kind = Some(EventKind::parse(&fields.text(field)?)?),
            _ => device_id = Some(DeviceId::new(fields.text(field)?)?),
        }
    }
    let kind = required(kind, "event")?;
    if kind.verdict().is_some() && transaction_id.is_none() {
        return Err(PayloadProblem::Missing { field: "transaction_id" });
    }
    Ok(Event {
        event_id: required(event_id, "event_id")?,
        occurred_at: required(occurred_at, "timestamp")?,
        user_id,
        transaction_id,
        kind,
        device_id,
    })
}

/// Writes an event.
pub fn encode(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let mut object = Object::begin(&mut bytes);
    object.number("version", 1);
    object.text("event_id", event.event_id.as_str());
    object.number("timestamp", event.occurred_at.0);
    object.optional_text("user_id", event.user_id.as_ref().map(UserId::as_str));
    object.optional_text("transaction_id", event.transaction_id.as_ref().map(TransactionId::as_str));
    object.text("event", event.kind.as_str());
    object.optional_text("device_id", event.device_id.as_ref().map(DeviceId::as_str));
    object.end();
    bytes
}
