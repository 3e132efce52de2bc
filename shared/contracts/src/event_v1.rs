//! The payload of topic `events`, version 1: what became known about a transaction after it was decided.

use centinela_domain::identity::ID_BYTES_MAX;
use centinela_domain::transaction::InvalidTransaction;
use centinela_domain::{DeviceId, Millis, TransactionId, UserId};

use crate::excerpt::Excerpt;
use crate::json::Object;
use crate::payload::{Fields, PayloadProblem, required};

/// Largest accepted value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

const NAMES: &[&str] = &["version", "event_id", "timestamp", "user_id", "transaction_id", "event", "device_id"];

/// The producer's name for an event or an action: 1 to 128 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Box<str>);

impl EventId {
    /// Checks the length and the characters; `field` names it in the problem.
    pub fn new(field: &'static str, id: &str) -> Result<Self, InvalidTransaction> {
        if id.is_empty() {
            return Err(InvalidTransaction::EmptyId { field });
        }
        if id.len() > ID_BYTES_MAX {
            return Err(InvalidTransaction::IdTooLong { field, bytes: id.len() });
        }
        if id.chars().any(char::is_control) {
            return Err(InvalidTransaction::ControlCharacter { field });
        }
        Ok(Self(id.into()))
    }

    /// The id as the producer wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What became known about a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum EventKind {
    Chargeback,
    Refund,
    ConfirmedFraud,
    ConfirmedGood,
}

impl EventKind {
    /// All of them.
    pub const ALL: [EventKind; 4] = [Self::Chargeback, Self::Refund, Self::ConfirmedFraud, Self::ConfirmedGood];

    /// The name in a payload.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chargeback => "chargeback",
            Self::Refund => "refund",
            Self::ConfirmedFraud => "confirmed_fraud",
            Self::ConfirmedGood => "confirmed_good",
        }
    }
}

/// What became known about a transaction after it was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The producer's name for it.
    pub event_id: EventId,
    /// When it happened.
    pub occurred_at: Millis,
    /// The user who paid.
    pub user_id: UserId,
    /// The transaction that it is about.
    pub transaction_id: TransactionId,
    /// What became known.
    pub kind: EventKind,
    /// The transaction's device.
    pub device_id: Option<DeviceId>,
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
            "event_id" => event_id = Some(EventId::new("event_id", &fields.text(field)?)?),
            "timestamp" => occurred_at = Some(fields.time(field)?),
            "user_id" => user_id = Some(UserId::new(fields.text(field)?)?),
            "transaction_id" => transaction_id = Some(TransactionId::new(fields.text(field)?)?),
            "event" => kind = Some(kind_of(&fields.text(field)?)?),
            _ => device_id = Some(DeviceId::new(fields.text(field)?)?),
        }
    }
    Ok(Event {
        event_id: required(event_id, "event_id")?,
        occurred_at: required(occurred_at, "timestamp")?,
        user_id: required(user_id, "user_id")?,
        transaction_id: required(transaction_id, "transaction_id")?,
        kind: required(kind, "event")?,
        device_id,
    })
}

fn kind_of(name: &str) -> Result<EventKind, PayloadProblem> {
    let expected = "one of chargeback, refund, confirmed_fraud, confirmed_good";
    EventKind::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| PayloadProblem::Unexpected {
        field: "event",
        expected,
        found: Excerpt::of(name.as_bytes()),
    })
}

/// Writes an event.
pub fn encode(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let mut object = Object::begin(&mut bytes);
    object.number("version", 1);
    object.text("event_id", event.event_id.as_str());
    object.number("timestamp", event.occurred_at.0);
    object.text("user_id", event.user_id.as_str());
    object.text("transaction_id", event.transaction_id.as_str());
    object.text("event", event.kind.as_str());
    object.optional_text("device_id", event.device_id.as_ref().map(DeviceId::as_str));
    object.end();
    bytes
}
