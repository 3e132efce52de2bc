//! What a user did besides paying, as facts that merge: any order and any repetition of the same facts gives the same profile.
//!
//! Each part is the greatest (or the least) of what came, in an order of its own, so nothing has to be remembered about which actions
//! were applied. What repeats is coarse, because a changed profile costs a write: a log-in from a device that has already logged in
//! during the same week changes nothing, one from a new device is known to the minute. Personal data has no place here.

use std::cmp::Reverse;

use crate::transaction::{Millis, TIME_MIN_MS};

/// Devices that are remembered by their log-ins: those of the newest weeks, and of one week the first.
///
/// The sixth device of one week is not remembered, so it counts as one that never logged in, which is what an account that is tried
/// from ever new devices deserves; a flood of them does not push the owner's own device out.
pub const LOGIN_DEVICES_MAX: usize = 5;
/// Of a device's log-ins within one such period only the first counts. Where a device's periods begin depends on the device, or all
/// users would be written at one midnight.
pub const LOGIN_PERIOD_MINUTES: u32 = 7 * 24 * 60;
/// Of failed log-ins within an hour only the first counts: a guessing machine must not cost a write for each guess.
pub const FAILED_LOGIN_PERIOD_MINUTES: u32 = 60;

const MINUTE_MS: i64 = 60_000;

/// A time to the minute: minutes since 2000-01-01T00:00:00Z, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(pub u32);

impl Minute {
    /// The minute of a time; times outside what an event can have are moved to the nearest that fits.
    pub fn of(at: Millis) -> Self {
        let minutes = at.0.saturating_sub(TIME_MIN_MS).div_euclid(MINUTE_MS);
        Self(u32::try_from(minutes.max(0)).unwrap_or(u32::MAX))
    }

    /// Its beginning.
    pub fn millis(self) -> Millis {
        Millis(TIME_MIN_MS + i64::from(self.0) * MINUTE_MS)
    }
}

/// What can change about an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Change {
    Password,
    Email,
    Address,
    Phone,
    Profile,
    DeviceAdded,
    DeviceRemoved,
}

impl Change {
    /// All of them; the place is the number in stored profiles.
    pub const ALL: [Self; 7] = [
        Self::Password,
        Self::Email,
        Self::Address,
        Self::Phone,
        Self::Profile,
        Self::DeviceAdded,
        Self::DeviceRemoved,
    ];
}

/// What one action says about a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The account was opened.
    Registered {
        /// When.
        at: Minute,
    },
    /// The user logged in.
    LoggedIn {
        /// When.
        at: Minute,
        /// [`crate::DeviceId::hash32`] of the device; 0 where none is named.
        device: u32,
    },
    /// Somebody tried to, and did not get in.
    LoginFailed {
        /// When.
        at: Minute,
    },
    /// Something about the account was changed.
    Changed {
        /// What.
        what: Change,
        /// When.
        at: Minute,
    },
}

/// The first log-in of a device in its newest period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    /// [`crate::DeviceId::hash32`] of the device; 0 where none was named.
    pub device: u32,
    /// When.
    pub at: Minute,
}

impl Login {
    /// What decides between two log-ins of a device, and which devices are remembered.
    fn rank(self) -> (Period, u32) {
        (Period::of(self.at, LOGIN_PERIOD_MINUTES, self.device), self.device)
    }
}

/// Orders times by their period, and within one puts the earliest last, so that the greatest is the first of the newest period.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Period {
    number: u64,
    first: Reverse<Minute>,
}

impl Period {
    fn of(at: Minute, minutes: u32, begins: u32) -> Self {
        let number = (u64::from(at.0) + u64::from(begins % minutes)) / u64::from(minutes);
        Self { number, first: Reverse(at) }
    }
}

/// The profile of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The earliest registration.
    registered_at: Option<Minute>,
    /// The first failed log-in of the newest hour that has one.
    failed_login_at: Option<Minute>,
    /// The latest change of each kind, in the order of [`Change::ALL`].
    changed_at: [Option<Minute>; Change::ALL.len()],
    /// One per device, the highest rank first; at most [`LOGIN_DEVICES_MAX`].
    logins: Vec<Login>,
}

impl Profile {
    /// Puts a profile together from its parts, whatever they are.
    pub fn from_facts(facts: impl IntoIterator<Item = Fact>) -> Self {
        let mut profile = Self::default();
        for fact in facts {
            profile.apply(fact);
        }
        profile
    }

    /// Takes a fact in. Returns whether anything changed, which is what decides about a write.
    pub fn apply(&mut self, fact: Fact) -> bool {
        match fact {
            Fact::Registered { at } => replace_if(&mut self.registered_at, at, |known| at < known),
            Fact::LoggedIn { at, device } => self.log_in(Login { device, at }),
            Fact::LoginFailed { at } => {
                let period = |at| Period::of(at, FAILED_LOGIN_PERIOD_MINUTES, 0);
                replace_if(&mut self.failed_login_at, at, |known| period(at) > period(known))
            }
            Fact::Changed { what, at } => replace_if(&mut self.changed_at[what as usize], at, |known| at > known),
        }
    }

    /// Takes all the facts of another profile of this user in. Returns whether anything changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        other.facts().filter(|fact| self.apply(*fact)).count() > 0
    }

    /// The facts that it consists of.
    pub fn facts(&self) -> impl Iterator<Item = Fact> {
        let registered = self.registered_at.map(|at| Fact::Registered { at });
        let failed = self.failed_login_at.map(|at| Fact::LoginFailed { at });
        let changed = Change::ALL.into_iter().zip(self.changed_at);
        let changed = changed.filter_map(|(what, at)| at.map(|at| Fact::Changed { what, at }));
        let logins = self.logins.iter().map(|&Login { device, at }| Fact::LoggedIn { at, device });
        registered.into_iter().chain(failed).chain(changed).chain(logins)
    }

    /// When the account was opened: the earliest registration.
    pub fn registered_at(&self) -> Option<Millis> {
        self.registered_at.map(Minute::millis)
    }

    /// The first failed log-in of the newest hour that has one.
    pub fn failed_login_at(&self) -> Option<Millis> {
        self.failed_login_at.map(Minute::millis)
    }

    /// The latest change of this kind.
    pub fn changed_at(&self, what: Change) -> Option<Millis> {
        self.changed_at[what as usize].map(Minute::millis)
    }

    /// The newest log-in that is remembered, of any device: exact for a device's first in its week, up to a week older for the rest.
    pub fn logged_in_at(&self) -> Option<Millis> {
        self.logins.iter().map(|login| login.at).max().map(Minute::millis)
    }

    /// The newest log-in that is remembered of this device ([`crate::DeviceId::hash32`]), exact for its first in its week.
    pub fn logged_in_from_at(&self, device: u32) -> Option<Millis> {
        self.logins.iter().find(|login| login.device == device).map(|login| login.at.millis())
    }

    /// Devices with their log-ins, the newest week first.
    pub fn logins(&self) -> &[Login] {
        &self.logins
    }

    fn log_in(&mut self, login: Login) -> bool {
        let known = self.logins.iter().position(|known| known.device == login.device);
        match known {
            Some(index) if self.logins[index].rank() >= login.rank() => return false,
            Some(index) => {
                self.logins.remove(index);
            }
            None => {}
        }
        let place = self.logins.partition_point(|other| other.rank() > login.rank());
        if place == LOGIN_DEVICES_MAX {
            return false;
        }
        self.logins.insert(place, login);
        self.logins.truncate(LOGIN_DEVICES_MAX);
        true
    }
}

fn replace_if(known: &mut Option<Minute>, at: Minute, beats: impl FnOnce(Minute) -> bool) -> bool {
    let replace = known.is_none_or(beats);
    if replace {
        *known = Some(at);
    }
    replace
}
