//! The payload of topic `user_actions`, version 1: what a user did besides paying.
//!
//! The address, and what names a person, is accepted so that the lake can keep keyed hashes of it. Nothing of it is part of a
//! [`Fact`], so none of it can reach a state, and none of it can be printed.

use std::fmt;
use std::net::IpAddr;

use centinela_domain::profile::{Change, Fact, Minute};
use centinela_domain::transaction::EventTime;
use centinela_domain::{DeviceId, EventId, Millis, UserId};

use crate::excerpt::Excerpt;
use crate::json::Object;
use crate::payload::{Fields, PayloadProblem, required};

/// Largest accepted value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Longest accepted name, e-mail address, phone number or postal address, in bytes.
pub const PERSONAL_BYTES_MAX: usize = 512;

const NAMES: &[&str] = &[
    "version",
    "action_id",
    "timestamp",
    "user_id",
    "action",
    "device_id",
    "ip",
    "outcome",
    "name",
    "email",
    "phone",
    "address",
];

/// What a user did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ActionKind {
    Registered,
    LoggedIn,
    PasswordChanged,
    EmailChanged,
    AddressChanged,
    PhoneChanged,
    DeviceAdded,
    DeviceRemoved,
    ProfileChanged,
}

impl ActionKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Registered,
        Self::LoggedIn,
        Self::PasswordChanged,
        Self::EmailChanged,
        Self::AddressChanged,
        Self::PhoneChanged,
        Self::DeviceAdded,
        Self::DeviceRemoved,
        Self::ProfileChanged,
    ];

    /// The name in a payload.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::LoggedIn => "logged_in",
            Self::PasswordChanged => "password_changed",
            Self::EmailChanged => "email_changed",
            Self::AddressChanged => "address_changed",
            Self::PhoneChanged => "phone_changed",
            Self::DeviceAdded => "device_added",
            Self::DeviceRemoved => "device_removed",
            Self::ProfileChanged => "profile_changed",
        }
    }
}

/// How a log-in ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LoginOutcome {
    Success,
    Failure,
}

impl LoginOutcome {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Success, Self::Failure];

    /// The name in a payload.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

/// A text that names a person: at most [`PERSONAL_BYTES_MAX`] bytes. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonalText(Box<str>);

impl PersonalText {
    /// Checks the length; `field` names it in the problem.
    pub fn new(field: &'static str, text: impl Into<String>) -> Result<Self, PayloadProblem> {
        let text = text.into();
        if text.len() > PERSONAL_BYTES_MAX {
            return Err(PayloadProblem::WrongType { field, expected: "a string of at most 512 bytes" });
        }
        Ok(Self(text.into_boxed_str()))
    }

    /// The text as the producer wrote it: for a keyed hash and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PersonalText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PersonalText({} bytes)", self.0.len())
    }
}

/// What a producer may say about the person; never stored in a state and never logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Personal {
    /// The person's name.
    pub name: Option<PersonalText>,
    /// The e-mail address.
    pub email: Option<PersonalText>,
    /// The phone number.
    pub phone: Option<PersonalText>,
    /// The postal address.
    pub address: Option<PersonalText>,
}

/// Something that a user did to the account.
#[derive(Clone, PartialEq)]
pub struct UserAction {
    /// The producer's name for it.
    pub action_id: EventId,
    /// When it happened, as the producer says.
    pub occurred_at: Millis,
    /// The user who did it.
    pub user_id: UserId,
    /// What the user did.
    pub kind: ActionKind,
    /// The device that was used, added or removed, where the producer says so.
    pub device_id: Option<DeviceId>,
    /// The address that it came from, where the producer says so.
    pub ip: Option<IpAddr>,
    /// How a log-in ended; a log-in without it was a success, and no other action has one.
    pub outcome: Option<LoginOutcome>,
    /// About the person.
    pub personal: Personal,
}

impl UserAction {
    /// What it says about the user, in a record of this broker time: an action that is dated ahead of its record counts as of the
    /// broker's time.
    pub fn fact(&self, ingested_at: Millis) -> Fact {
        let at = Minute::of(EventTime::of(self.occurred_at, ingested_at).at);
        let changed = |what| Fact::Changed { what, at };
        match self.kind {
            ActionKind::Registered => Fact::Registered { at },
            ActionKind::LoggedIn if self.outcome == Some(LoginOutcome::Failure) => Fact::LoginFailed { at },
            ActionKind::LoggedIn => {
                Fact::LoggedIn { at, device: self.device_id.as_ref().map_or(0, |device| device.hash32()) }
            }
            ActionKind::PasswordChanged => changed(Change::Password),
            ActionKind::EmailChanged => changed(Change::Email),
            ActionKind::AddressChanged => changed(Change::Address),
            ActionKind::PhoneChanged => changed(Change::Phone),
            ActionKind::DeviceAdded => changed(Change::DeviceAdded),
            ActionKind::DeviceRemoved => changed(Change::DeviceRemoved),
            ActionKind::ProfileChanged => changed(Change::Profile),
        }
    }
}

// The address may name a person.
impl fmt::Debug for UserAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAction")
            .field("action_id", &self.action_id)
            .field("occurred_at", &self.occurred_at)
            .field("user_id", &self.user_id)
            .field("kind", &self.kind)
            .field("device_id", &self.device_id)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// Reads an action.
pub fn parse(value: &[u8]) -> Result<UserAction, PayloadProblem> {
    let mut fields = Fields::begin(value, VALUE_BYTES_MAX, NAMES)?;
    let (mut action_id, mut occurred_at, mut user_id, mut kind) = (None, None, None, None);
    let (mut device_id, mut ip, mut outcome, mut personal) = (None, None, None, Personal::default());
    while let Some(index) = fields.next()? {
        let field = NAMES[index];
        match field {
            "version" => fields.version()?,
            "action_id" => action_id = Some(EventId::new(field, fields.text(field)?)?),
            "timestamp" => occurred_at = Some(fields.time(field)?),
            "user_id" => user_id = Some(UserId::new(fields.text(field)?)?),
            "action" => kind = Some(kind_of(&fields.text(field)?)?),
            "device_id" => device_id = Some(DeviceId::new(fields.text(field)?)?),
            "ip" => ip = Some(address_of(&fields.text(field)?)?),
            "outcome" => outcome = Some(outcome_of(&fields.text(field)?)?),
            "name" => personal.name = Some(PersonalText::new(field, fields.text(field)?)?),
            "email" => personal.email = Some(PersonalText::new(field, fields.text(field)?)?),
            "phone" => personal.phone = Some(PersonalText::new(field, fields.text(field)?)?),
            _ => personal.address = Some(PersonalText::new("address", fields.text(field)?)?),
        }
    }
    let kind = required(kind, "action")?;
    if outcome.is_some() && kind != ActionKind::LoggedIn {
        let expected = "left out: only logged_in has one";
        return Err(PayloadProblem::WrongType { field: "outcome", expected });
    }
    Ok(UserAction {
        action_id: required(action_id, "action_id")?,
        occurred_at: required(occurred_at, "timestamp")?,
        user_id: required(user_id, "user_id")?,
        kind,
        device_id,
        ip,
        outcome,
        personal,
    })
}

fn kind_of(name: &str) -> Result<ActionKind, PayloadProblem> {
    let expected = "one of registered, logged_in, password_changed, email_changed, address_changed, phone_changed, device_added, \
                    device_removed, profile_changed";
    ActionKind::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| PayloadProblem::Unexpected {
        field: "action",
        expected,
        found: Excerpt::of(name.as_bytes()),
    })
}

fn outcome_of(name: &str) -> Result<LoginOutcome, PayloadProblem> {
    let found = || Excerpt::of(name.as_bytes());
    LoginOutcome::ALL.into_iter().find(|outcome| outcome.as_str() == name).ok_or_else(|| PayloadProblem::Unexpected {
        field: "outcome",
        expected: "success or failure",
        found: found(),
    })
}

fn address_of(text: &str) -> Result<IpAddr, PayloadProblem> {
    text.parse().map_err(|_| PayloadProblem::WrongType { field: "ip", expected: "an IPv4 or IPv6 address" })
}

/// Writes an action.
pub fn encode(action: &UserAction) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let mut object = Object::begin(&mut bytes);
    object.number("version", 1);
    object.text("action_id", action.action_id.as_str());
    object.number("timestamp", action.occurred_at.0);
    object.text("user_id", action.user_id.as_str());
    object.text("action", action.kind.as_str());
    object.optional_text("device_id", action.device_id.as_ref().map(DeviceId::as_str));
    object.optional_text("ip", action.ip.map(|ip| ip.to_string()).as_deref());
    object.optional_text("outcome", action.outcome.map(LoginOutcome::as_str));
    let Personal { name, email, phone, address } = &action.personal;
    for (field, text) in [("name", name), ("email", email), ("phone", phone), ("address", address)] {
        object.optional_text(field, text.as_ref().map(PersonalText::expose));
    }
    object.end();
    bytes
}
