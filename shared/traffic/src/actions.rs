//! What users do besides buying, with the same truth as their transactions: customers log in before they buy and look around in
//! between, thieves log in from elsewhere and change what is in their way, and whole rings register from one device.
//!
//! Actions draw from a stream of their own and change nothing of the world, so the transactions of a seed are the same without them.

mod honest;
mod stolen;

use std::net::IpAddr;
use std::sync::Arc;

use centinela_contracts::payload::PayloadProblem;
pub use centinela_contracts::user_action_v1::ActionKind;
use centinela_contracts::user_action_v1::{self, LoginOutcome, Personal, PersonalText, UserAction};
use centinela_domain::{DeviceId, EventId, Millis, UserId};

use crate::chance::Chance;
use crate::generator::{Generator, PURCHASES_PER_VISIT, TrafficConfig};
use crate::resends::Arrival;
use crate::shape::Shape;
use crate::transaction::Event;
use crate::world::MINUTE_MS;

/// The stream of draws.
const STREAM: u64 = 3;
/// Shares of actions that arrive minutes late, and that their producer sends twice.
const LATE: f64 = 0.02;
const AGAIN: f64 = 0.003;

/// Personal data, as a shop's forms have it. Nobody has these: the domain is reserved and the numbers are fictitious.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Person {
    pub name: Option<Arc<str>>,
    pub email: Option<Arc<str>>,
    pub phone: Option<Arc<str>>,
    pub address: Option<Arc<str>>,
}

impl Person {
    /// What a form asks for that belongs to this action.
    fn for_form(kind: ActionKind, user_id: &str, number: u64) -> Self {
        let registers = kind == ActionKind::Registered;
        let wanted = |form: ActionKind| registers || kind == form;
        let name = wanted(ActionKind::ProfileChanged).then(|| format!("Customer {}", user_id.trim_start_matches("u-")));
        let email = wanted(ActionKind::EmailChanged).then(|| format!("{user_id}.{}@example.com", number % 100));
        let phone = wanted(ActionKind::PhoneChanged).then(|| format!("+1555{:07}", number % 10_000_000));
        let address = wanted(ActionKind::AddressChanged).then(|| format!("{} Example Street", 1 + number % 400));
        let text = |field: Option<String>| field.map(Arc::from);
        Self { name: text(name), email: text(email), phone: text(phone), address: text(address) }
    }
}

/// The fields of an action as a producer would send them.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the payload")]
pub struct ActionFields {
    pub action_id: Arc<str>,
    pub timestamp: Millis,
    pub user_id: Arc<str>,
    pub kind: ActionKind,
    pub device_id: Option<Arc<str>>,
    pub ip: Option<IpAddr>,
    /// Whether a log-in succeeded; none of anything else.
    pub succeeded: Option<bool>,
    pub person: Person,
}

impl ActionFields {
    /// The payload of version 1, as it goes onto the topic.
    pub fn to_json(&self) -> Vec<u8> {
        user_action_v1::encode(&self.to_action().expect("generated actions are valid"))
    }

    /// The action that the payload means, without the way through JSON.
    ///
    /// # Errors
    /// When a field is not what the topic takes, which no generated one is.
    pub fn to_action(&self) -> Result<UserAction, PayloadProblem> {
        let text =
            |name, text: &Option<Arc<str>>| text.as_deref().map(|text| PersonalText::new(name, text)).transpose();
        let Person { name, email, phone, address } = &self.person;
        let outcome = |succeeded| if succeeded { LoginOutcome::Success } else { LoginOutcome::Failure };
        Ok(UserAction {
            action_id: EventId::new("action_id", &*self.action_id)?,
            occurred_at: self.timestamp,
            user_id: UserId::new(&*self.user_id)?,
            kind: self.kind,
            device_id: self.device_id.as_deref().map(DeviceId::new).transpose()?,
            ip: self.ip,
            outcome: self.succeeded.map(outcome),
            personal: Personal {
                name: text("name", name)?,
                email: text("email", email)?,
                phone: text("phone", phone)?,
                address: text("address", address)?,
            },
        })
    }
}

/// An action as it arrives.
#[derive(Clone, Debug, PartialEq)]
pub struct SentAction {
    /// What is sent.
    pub fields: ActionFields,
    /// Simulated time of arrival, never before it happened.
    pub arrived_at: Millis,
    /// The producer sent the same bytes before.
    pub duplicate: bool,
}

/// Something that somebody will do.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    user_id: Arc<str>,
    kind: ActionKind,
    device_id: Option<Arc<str>>,
    ip: Option<IpAddr>,
    succeeded: Option<bool>,
    /// When it happens, if that is before it becomes known.
    happened_at: Option<f64>,
}

impl Deed {
    fn new(user_id: &Arc<str>, kind: ActionKind, device_id: &Arc<str>, ip: IpAddr) -> Self {
        let succeeded = (kind == ActionKind::LoggedIn).then_some(true);
        let (user_id, device_id) = (user_id.clone(), Some(device_id.clone()));
        Self { user_id, kind, device_id, ip: Some(ip), succeeded, happened_at: None }
    }

    fn failed(self) -> Self {
        Self { succeeded: Some(false), ..self }
    }

    fn at(self, happened_at: f64) -> Self {
        Self { happened_at: Some(happened_at), ..self }
    }
}

/// What actions are drawn from, and who is known by now.
#[derive(Clone, Debug)]
pub(crate) struct Doings {
    chance: Chance,
    seed: u64,
    done: u64,
    /// By place in the world: whether the user's registration was told.
    introduced: Vec<bool>,
    /// With what probability a visit begins with a log-in, and how often its user looks around beside it.
    log_in: f64,
    browses: f64,
    on: bool,
}

impl Doings {
    pub(crate) fn new(config: &TrafficConfig, users: usize) -> Self {
        let purchases = if config.shape == Shape::Natural { PURCHASES_PER_VISIT } else { 1.0 };
        let (log_in, browses) = honest::habits(config.actions * purchases);
        Self {
            chance: Chance::new(config.seed, STREAM),
            seed: config.seed,
            done: 0,
            introduced: vec![false; users],
            log_in,
            browses,
            on: config.actions > 0.0,
        }
    }
}

impl Generator {
    /// What was planned happens now.
    pub(crate) fn do_deed(&mut self, deed: Deed, at: f64) {
        let Deed { user_id, kind, device_id, ip, succeeded, happened_at } = deed;
        self.doings.done += 1;
        let action_id = format!("a-{:x}-{:09}", self.doings.seed, self.doings.done).into();
        let person = Person::for_form(kind, &user_id, self.doings.chance.hex());
        let timestamp = Millis(happened_at.unwrap_or(at).min(at) as i64);
        let fields = ActionFields { action_id, timestamp, user_id, kind, device_id, ip, succeeded, person };
        let chance = &mut self.doings.chance;
        let delay = if chance.happens(LATE) { chance.exponential(5.0 * MINUTE_MS) } else { 0.0 };
        let again = chance.happens(AGAIN).then(|| chance.exponential(2.0 * MINUTE_MS));
        let arrives_at = at + delay;
        if let Some(later) = again {
            self.arrive(fields.clone(), arrives_at, false);
            self.arrive(fields, arrives_at + later, true);
        } else {
            self.arrive(fields, arrives_at, false);
        }
    }

    fn arrive(&mut self, fields: ActionFields, at: f64, duplicate: bool) {
        let action = SentAction { fields, arrived_at: Millis(at as i64), duplicate };
        self.deliver(at, Arrival::Only(Event::Action(action)));
    }
}
