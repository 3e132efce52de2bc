//! A transaction that is valid by construction.

use std::net::IpAddr;

use crate::identity::{DecisionId, DeviceId, ID_BYTES_MAX, MerchantId, TransactionId, UserId, hash32};
use crate::money::{AMOUNT_DOLLARS_MAX, AmountMinor, Currency};

/// Earliest accepted event time, 2000-01-01T00:00:00Z; a time in seconds falls before it.
pub const TIME_MIN_MS: i64 = 946_684_800_000;
/// Latest accepted event time, 2100-01-01T00:00:00Z; a time in microseconds falls after it.
pub const TIME_MAX_MS: i64 = 4_102_444_800_000;
/// How far an event may be ahead of the broker's time of its record before its own time is not believed: clocks of shops and
/// phones run a little fast, none runs five minutes fast for a good reason.
pub const AHEAD_TOLERANCE_MS: i64 = 5 * 60_000;
/// Longest accepted user agent, in bytes.
pub const USER_AGENT_BYTES_MAX: usize = 1024;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

impl Millis {
    /// Milliseconds from `earlier` to `self`; negative when `self` is before it.
    pub fn since(self, earlier: Millis) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Why something on the topic is not a transaction. Leads to a dead letter.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidTransaction {
    /// An identifier has no characters.
    #[error("{field} is empty")]
    EmptyId {
        /// The field.
        field: &'static str,
    },
    /// An identifier is too long.
    #[error("{field} has {bytes} bytes, the limit is {ID_BYTES_MAX}")]
    IdTooLong {
        /// The field.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// An identifier holds a control character.
    #[error("{field} holds a control character")]
    ControlCharacter {
        /// The field.
        field: &'static str,
    },
    /// The amount is above the limit.
    #[error("amount must be worth no more than about {AMOUNT_DOLLARS_MAX} dollars, got {0} minor units")]
    AmountOutOfRange(u64),
    /// The time is outside what a transaction can have.
    #[error("timestamp must be milliseconds between {TIME_MIN_MS} (2000) and {TIME_MAX_MS} (2100), got {0}")]
    TimeOutOfRange(i64),
    /// The user agent is too long.
    #[error("user_agent has {0} bytes, the limit is {USER_AGENT_BYTES_MAX}")]
    UserAgentTooLong(usize),
    /// Not three capital letters.
    #[error("currency must be three capital letters of ISO 4217, such as EUR")]
    UnknownCurrency,
    /// Three capital letters that no payment is made in.
    #[error("currency {0:?} is none that payments are made in by ISO 4217; send one that is, such as EUR")]
    NotPaidIn(Currency),
    /// Not one of the device types.
    #[error("device_type must be one of mobile, desktop, tablet, pos, other")]
    UnknownDeviceType,
}

impl InvalidTransaction {
    /// The field that it is about.
    pub fn field(&self) -> &'static str {
        match self {
            Self::EmptyId { field } | Self::IdTooLong { field, .. } | Self::ControlCharacter { field } => field,
            Self::AmountOutOfRange(_) => "amount",
            Self::TimeOutOfRange(_) => "timestamp",
            Self::UserAgentTooLong(_) => "user_agent",
            Self::UnknownCurrency | Self::NotPaidIn(_) => "currency",
            Self::UnknownDeviceType => "device_type",
        }
    }
}

/// What kind of device the customer used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum DeviceType {
    Mobile,
    Desktop,
    Tablet,
    Pos,
    Other,
}

impl DeviceType {
    /// All of them, in the order of their number as a feature.
    pub const ALL: [DeviceType; 5] = [Self::Mobile, Self::Desktop, Self::Tablet, Self::Pos, Self::Other];

    /// The name in a payload.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::Desktop => "desktop",
            Self::Tablet => "tablet",
            Self::Pos => "pos",
            Self::Other => "other",
        }
    }

    /// Reads the name in a payload.
    pub fn parse(name: &str) -> Result<Self, InvalidTransaction> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or(InvalidTransaction::UnknownDeviceType)
    }

    /// Its place in [`DeviceType::ALL`].
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// The event time, checked.
pub fn event_time(milliseconds: i64) -> Result<Millis, InvalidTransaction> {
    if (TIME_MIN_MS..=TIME_MAX_MS).contains(&milliseconds) {
        Ok(Millis(milliseconds))
    } else {
        Err(InvalidTransaction::TimeOutOfRange(milliseconds))
    }
}

/// The time that features and state go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// The producer's time, or the broker's time of the record where the producer's is ahead of it.
    pub at: Millis,
    /// The producer's time is more than [`AHEAD_TOLERANCE_MS`] ahead of the broker's. If it were believed, one forged event would
    /// leave the user without velocity for ever: nothing later would be newer.
    pub ahead: bool,
}

impl EventTime {
    /// The time to go by of what happened at `occurred_at`, as its producer says, in a record of this broker time.
    pub fn of(occurred_at: Millis, ingested_at: Millis) -> Self {
        let ahead = occurred_at.since(ingested_at) > AHEAD_TOLERANCE_MS;
        Self { at: if ahead { ingested_at } else { occurred_at }, ahead }
    }
}

/// A payment to be answered. The address and the user agent are kept only as hashes: nothing downstream needs more.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// The producer's name for it.
    pub id: TransactionId,
    /// The user who pays.
    pub user_id: UserId,
    /// When it happened, as the producer says.
    pub occurred_at: Millis,
    /// In minor units of `currency`.
    pub amount: AmountMinor,
    /// ISO 4217.
    pub currency: Currency,
    /// On what kind of device.
    pub device_type: DeviceType,
    /// The device that was used, opaque.
    pub device_id: DeviceId,
    /// Its [`DeviceId::hash32`].
    pub device: u32,
    /// Hash of the address' network: /24 of IPv4, /48 of IPv6.
    pub network: u32,
    /// Hash of the user agent.
    pub agent: u32,
    /// Who is paid, where the producer says so.
    pub merchant_id: Option<MerchantId>,
}

impl Transaction {
    /// The amount in what is worth about a dollar, so that amounts of any two currencies can be compared.
    pub fn amount_dollars(&self) -> f32 {
        self.currency.in_dollars(self.amount)
    }

    /// The time to go by, bounded by the broker's time of the record and never by a clock: a file from 2018 is decided as of 2018.
    pub fn event_time(&self, ingested_at: Millis) -> EventTime {
        EventTime::of(self.occurred_at, ingested_at)
    }

    /// The id that its decision will have.
    pub fn decision_id(&self) -> DecisionId {
        DecisionId::derive(&self.user_id, &self.id)
    }
}

/// The hash of an address' network. An IPv4 address inside IPv6 (`::ffff:a.b.c.d`) is the same network as the plain one.
pub fn network_hash(address: IpAddr) -> u32 {
    match address.to_canonical() {
        IpAddr::V4(v4) => hash32(&v4.octets()[..3]),
        IpAddr::V6(v6) => hash32(&v6.octets()[..6]),
    }
}
