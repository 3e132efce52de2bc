//! What fraudsters do before they buy: register recruits from the ring's device, guess passwords, log in from elsewhere, and change what
//! would warn the victim.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{ActionKind, Deed};
use crate::fraud::{Account, Strike};
use crate::generator::{Action, Generator};
use crate::transaction::Kind;
use crate::world::{HOUR_MS, MINUTE_MS, Origin};

/// Of account takeovers, the share before which passwords were tried, and what a thief changes.
const GUESSED: f64 = 0.4;
const TAKEN: [(ActionKind, f64); 4] = [
    (ActionKind::PasswordChanged, 0.6),
    (ActionKind::EmailChanged, 0.35),
    (ActionKind::PhoneChanged, 0.1),
    (ActionKind::DeviceAdded, 0.2),
];
/// Share of a thief's further purchases before which there is another log-in.
const AGAIN: f64 = 0.6;
/// Share of stolen cards that are used through the account, and not as a guest.
const THROUGH_THE_ACCOUNT: f64 = 0.7;
/// Share of frauds on the victim's own device before which the log-in is seen.
const ON_THE_OWN_DEVICE: f64 = 0.5;

impl Generator {
    /// Plans what goes before a campaign that begins at `at`.
    pub(crate) fn prepare(&mut self, strikes: &[Strike], at: f64) {
        if !self.doings.on {
            return;
        }
        let mut met = BTreeSet::new();
        for strike in strikes {
            let Some(origin) = &strike.origin else { continue };
            let (id, registered_at) = match &strike.account {
                Account::Victim(user) => (self.world.users[*user].id.clone(), None),
                Account::Recruit { id, registered_at, .. } => (id.clone(), Some(registered_at.0 as f64)),
            };
            let is_first = met.insert(id.clone());
            if let Some(registered_at) = registered_at.filter(|_| is_first) {
                self.do_deed(
                    Deed::new(&id, ActionKind::Registered, &origin.device_id, origin.ip).at(registered_at),
                    at,
                );
            }
            match (strike.kind, is_first) {
                (Kind::AccountTakeover, true) => self.take_over(&id, origin, at, strike.at),
                (Kind::AccountTakeover | Kind::DeviceRing, _) => self.log_in_before(&id, origin, at, strike.at, AGAIN),
                (_, true) => self.log_in_before(&id, origin, at, strike.at, THROUGH_THE_ACCOUNT),
                (_, false) => {}
            }
        }
    }

    /// Passwords are tried until one fits; then what would warn the owner is changed, all before the first purchase.
    fn take_over(&mut self, id: &Arc<str>, origin: &Origin, from: f64, first_purchase: f64) {
        let room = first_purchase - from;
        let entered_at = first_purchase - room.min(self.doings.chance.between(0.05, 1.0) * HOUR_MS);
        let log_in = Deed::new(id, ActionKind::LoggedIn, &origin.device_id, origin.ip);
        if self.doings.chance.happens(GUESSED) {
            let mut tried_at = entered_at;
            for _ in 0..self.doings.chance.whole(1, 4) {
                tried_at = (tried_at - self.doings.chance.between(0.1, 2.0) * MINUTE_MS).max(from);
                self.plan(log_in.clone().failed(), tried_at);
            }
        }
        self.plan(log_in, entered_at);
        for (kind, share) in TAKEN {
            if self.doings.chance.happens(share) {
                let at = entered_at + (first_purchase - entered_at) * self.doings.chance.unit();
                self.plan(Deed::new(id, kind, &origin.device_id, origin.ip), at);
            }
        }
    }

    fn log_in_before(&mut self, id: &Arc<str>, origin: &Origin, from: f64, purchase: f64, share: f64) {
        if self.doings.chance.happens(share) {
            let at = (purchase - self.doings.chance.between(0.2, 10.0) * MINUTE_MS).max(from);
            self.plan(Deed::new(id, ActionKind::LoggedIn, &origin.device_id, origin.ip), at);
        }
    }

    /// The thief acts through the victim's own device.
    pub(crate) fn come_in_by_theft(&mut self, user: usize, origin: &Origin, at: f64) {
        if self.doings.on && self.doings.chance.happens(ON_THE_OWN_DEVICE) {
            let id = self.world.users[user].id.clone();
            self.log_in(&id, origin, at);
        }
    }

    fn plan(&mut self, deed: Deed, at: f64) {
        self.push(at, Action::Deed(Box::new(deed)));
    }
}
