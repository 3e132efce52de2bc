//! The payload of topic `user_actions`, version 1: what a user did besides paying.

use centinela_domain::{DeviceId, Millis, UserId};

use crate::event_v1::EventId;
use crate::excerpt::Excerpt;
use crate::json::Object;
use crate::payload::{Fields, PayloadProblem, required};

/// Largest accepted value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

const NAMES: &[&str] = &["version", "action_id", "timestamp", "user_id", "action", "device_id"];

/// What a user did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ActionKind {
    Registration,
    Login,
    DeviceChange,
    ProfileChange,
}

impl ActionKind {
    /// All of them.
    pub const ALL: [ActionKind; 4] = [Self::Registration, Self::Login, Self::DeviceChange, Self::ProfileChange];

    /// The name in a payload.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Login => "login",
            Self::DeviceChange => "device_change",
            Self::ProfileChange => "profile_change",
        }
    }
}

/// Something that a user did to the account.
#[derive(Clone, Debug, PartialEq)]
pub struct UserAction {
    /// The producer's name for it.
    pub action_id: EventId,
    /// When it happened.
    pub occurred_at: Millis,
    /// The user who did it.
    pub user_id: UserId,
    /// What the user did.
    pub kind: ActionKind,
    /// The device that was used, where the producer says so.
    pub device_id: Option<DeviceId>,
}

/// Reads an action.
pub fn parse(value: &[u8]) -> Result<UserAction, PayloadProblem> {
    let mut fields = Fields::begin(value, VALUE_BYTES_MAX, NAMES)?;
    let (mut action_id, mut occurred_at, mut user_id, mut kind, mut device_id) = (None, None, None, None, None);
    while let Some(index) = fields.next()? {
        let field = NAMES[index];
        match field {
            "version" => fields.version()?,
            "action_id" => action_id = Some(EventId::new("action_id", &fields.text(field)?)?),
            "timestamp" => occurred_at = Some(fields.time(field)?),
            "user_id" => user_id = Some(UserId::new(fields.text(field)?)?),
            "action" => kind = Some(kind_of(&fields.text(field)?)?),
            _ => device_id = Some(DeviceId::new(fields.text(field)?)?),
        }
    }
    Ok(UserAction {
        action_id: required(action_id, "action_id")?,
        occurred_at: required(occurred_at, "timestamp")?,
        user_id: required(user_id, "user_id")?,
        kind: required(kind, "action")?,
        device_id,
    })
}

fn kind_of(name: &str) -> Result<ActionKind, PayloadProblem> {
    let expected = "one of registration, login, device_change, profile_change";
    ActionKind::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| PayloadProblem::Unexpected {
        field: "action",
        expected,
        found: Excerpt::of(name.as_bytes()),
    })
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
    object.end();
    bytes
}
