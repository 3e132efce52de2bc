//! What customers do: they register, log in before they buy, look around, and now and then change something.

use std::sync::Arc;

use super::{ActionKind, Deed};
use crate::generator::{Action, Generator};
use crate::world::{DAY_MS, HOUR_MS, MINUTE_MS, Origin, RHYTHM_MAX};

/// Between a log-in and the purchase, at most.
const BEFORE_BUYING: f64 = 10.0 * MINUTE_MS;
/// Draws of a time until it fits into the day.
const TRIES: u32 = 12;
/// Share of log-ins before which the password was typed wrong.
const MISTYPED: f64 = 0.015;
/// What a visit changes, and how often.
const CHANGES: [(ActionKind, f64); 5] = [
    (ActionKind::PasswordChanged, 0.004),
    (ActionKind::EmailChanged, 0.001),
    (ActionKind::AddressChanged, 0.003),
    (ActionKind::PhoneChanged, 0.001),
    (ActionKind::ProfileChanged, 0.004),
];
/// Share of lost devices that their owner takes off the account.
const TAKEN_OFF: f64 = 0.3;
/// Who has a new device sometimes forgets the password.
const FORGOTTEN: f64 = 0.05;

/// What a user looked like before time passed.
pub(crate) struct Appearance {
    id: Arc<str>,
    device: Arc<str>,
}

/// The probability of a log-in per visit, and log-ins without a purchase per visit, so that so many actions come per visit.
pub(super) fn habits(actions_per_visit: f64) -> (f64, f64) {
    let changes: f64 = CHANGES.iter().map(|(_, share)| share).sum();
    let with_log_in = 1.0 + MISTYPED + changes;
    let log_in = (actions_per_visit / with_log_in).min(1.0);
    let browses = (actions_per_visit - with_log_in).max(0.0) / (1.0 + MISTYPED);
    (log_in, browses)
}

impl Generator {
    /// What a user looks like now; none where nobody asks.
    pub(crate) fn appearance(&self, user: usize) -> Option<Appearance> {
        let known = &self.world.users[user];
        self.doings.on.then(|| Appearance { id: known.id.clone(), device: known.devices[0].id.clone() })
    }

    /// Somebody else may have registered in the place, or there is a new device.
    pub(crate) fn tell_of_changes(&mut self, user: usize, before: &Appearance, at: f64) {
        let now = &self.world.users[user];
        let (id, registered_at) = (now.id.clone(), now.registered_at.0 as f64);
        let device = now.devices[0].id.clone();
        let is_new_user = id != before.id;
        let is_new_device = !is_new_user && device != before.device;
        if !is_new_user && !is_new_device && self.doings.introduced[user] {
            return;
        }
        let (_, ip) = self.world.whereabouts(user, &mut self.doings.chance, at);
        if is_new_user || !self.doings.introduced[user] {
            // Whoever was there before the world began is told of at the first visit.
            self.doings.introduced[user] = true;
            let registered_with = if is_new_user { &device } else { &before.device };
            self.do_deed(Deed::new(&id, ActionKind::Registered, registered_with, ip).at(registered_at), at);
        }
        if is_new_device {
            self.do_deed(Deed::new(&id, ActionKind::DeviceAdded, &device, ip), at);
            if self.doings.chance.happens(FORGOTTEN) {
                self.do_deed(Deed::new(&id, ActionKind::PasswordChanged, &device, ip), at);
            }
            if self.doings.chance.happens(TAKEN_OFF) {
                self.do_deed(Deed::new(&id, ActionKind::DeviceRemoved, &before.device, ip), at);
            }
        }
    }

    /// A customer comes to buy, and comes back to look around.
    pub(crate) fn come_in(&mut self, user: usize, origin: &Origin, at: f64) {
        if !self.doings.on {
            return;
        }
        if self.doings.chance.happens(self.doings.log_in) {
            let id = self.world.users[user].id.clone();
            self.log_in(&id, origin, at);
            for (kind, share) in CHANGES {
                if self.doings.chance.happens(share) {
                    self.do_deed(Deed::new(&id, kind, &origin.device_id, origin.ip), at);
                }
            }
        }
        let browses = self.doings.browses;
        let more = browses.floor() + f64::from(u8::from(self.doings.chance.happens(browses.fract())));
        for _ in 0..more as usize {
            let id = self.world.users[user].id.clone();
            let later = self.later(user, at);
            self.push(later, Action::Browse { user, id });
        }
    }

    /// When somebody comes back, mostly within a day, at the hours at which that one buys.
    fn later(&mut self, user: usize, at: f64) -> f64 {
        let mut later = at;
        for _ in 0..TRIES {
            later = at + self.doings.chance.exponential(12.0 * HOUR_MS).min(20.0 * DAY_MS);
            if self.doings.chance.unit() * RHYTHM_MAX < self.world.rhythm(user, later) {
                break;
            }
        }
        later
    }

    /// A log-in from where the purchase is made, a while before it; it is known by then.
    pub(super) fn log_in(&mut self, id: &Arc<str>, origin: &Origin, at: f64) {
        let happened_at = at - self.doings.chance.between(10_000.0, BEFORE_BUYING);
        let log_in = Deed::new(id, ActionKind::LoggedIn, &origin.device_id, origin.ip);
        if self.doings.chance.happens(MISTYPED) {
            self.do_deed(log_in.clone().failed().at(happened_at - 8_000.0), at);
        }
        self.do_deed(log_in.at(happened_at), at);
    }

    /// Somebody looks around without buying, unless they have left meanwhile.
    pub(crate) fn browse(&mut self, user: usize, id: &Arc<str>, at: f64) {
        if self.world.users[user].id != *id {
            return;
        }
        let (device_id, ip) = self.world.whereabouts(user, &mut self.doings.chance, at);
        let log_in = Deed::new(id, ActionKind::LoggedIn, &device_id, ip);
        if self.doings.chance.happens(MISTYPED) {
            self.do_deed(log_in.clone().failed(), at);
        }
        self.do_deed(log_in, at);
    }
}
