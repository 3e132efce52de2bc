//! A user's profile: what is stored against what the user's actions come to.
//!
//! Written apart from the code that applies actions, and by another way: here everything that was seen is kept and what should stand is
//! picked at the end.

use std::collections::{BTreeMap, BTreeSet};

use centinela_domain::Profile;
use centinela_domain::profile::{
    Change, FAILED_LOGIN_PERIOD_MINUTES, Fact, LOGIN_DEVICES_MAX, LOGIN_PERIOD_MINUTES, Minute,
};

/// What a user's actions say. Any order and any repetition gives the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileFold {
    registered: Option<u32>,
    /// By hour: the first minute.
    failures: Option<(u64, u32)>,
    changes: [Option<u32>; Change::ALL.len()],
    /// By device: its newest week, and the first minute in it.
    devices: BTreeMap<u32, (u64, u32)>,
}

impl ProfileFold {
    /// Takes in what one action says.
    pub fn take(&mut self, fact: Fact) {
        match fact {
            Fact::Registered { at: Minute(at) } => {
                self.registered = Some(self.registered.map_or(at, |known| known.min(at)));
            }
            Fact::LoggedIn { at: Minute(at), device } => {
                let shift = device % LOGIN_PERIOD_MINUTES;
                let seen = (u64::from(at) + u64::from(shift)) / u64::from(LOGIN_PERIOD_MINUTES);
                let known = self.devices.entry(device).or_insert((seen, at));
                *known = newest_and_first(*known, (seen, at));
            }
            Fact::LoginFailed { at: Minute(at) } => {
                let seen = (u64::from(at / FAILED_LOGIN_PERIOD_MINUTES), at);
                self.failures = Some(self.failures.map_or(seen, |known| newest_and_first(known, seen)));
            }
            Fact::Changed { what, at: Minute(at) } => {
                let known = &mut self.changes[what as usize];
                *known = Some(known.map_or(at, |known| known.max(at)));
            }
        }
    }

    /// Whether nothing was taken in.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The devices that should be remembered, with the minute of their log-in.
    fn remembered(&self) -> BTreeSet<(u32, u32)> {
        let mut devices: Vec<_> = self.devices.iter().map(|(&device, &(week, first))| (week, first, device)).collect();
        // The newest week first, in it the earliest, then the greatest device.
        devices.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)).then(b.2.cmp(&a.2)));
        devices.into_iter().take(LOGIN_DEVICES_MAX).map(|(_, first, device)| (device, first)).collect()
    }

    /// Whether this is what is stored.
    pub fn is(&self, stored: &Profile) -> bool {
        let millis = |minute: Option<u32>| minute.map(|minute| Minute(minute).millis());
        let logins: BTreeSet<_> = stored.logins().iter().map(|login| (login.device, login.at.0)).collect();
        stored.registered_at() == millis(self.registered)
            && stored.failed_login_at() == millis(self.failures.map(|(_, first)| first))
            && Change::ALL.into_iter().all(|what| stored.changed_at(what) == millis(self.changes[what as usize]))
            && logins == self.remembered()
    }
}

/// Of two periods the newer, of one the earlier minute.
fn newest_and_first(a: (u64, u32), b: (u64, u32)) -> (u64, u32) {
    match a.0.cmp(&b.0) {
        std::cmp::Ordering::Less => b,
        std::cmp::Ordering::Greater => a,
        std::cmp::Ordering::Equal => (a.0, a.1.min(b.1)),
    }
}

/// Users whose stored profile is not what their actions come to, unreadable ones included; whoever did nothing must be as `before`.
pub fn differing_profiles(
    acted: &BTreeMap<String, ProfileFold>,
    stored: &BTreeMap<String, Option<Profile>>,
    before: &BTreeMap<String, Profile>,
) -> Vec<String> {
    let users: BTreeSet<&String> = acted.keys().chain(stored.keys()).chain(before.keys()).collect();
    let differs = |user: &&&String| {
        let mut wanted = acted.get(**user).cloned().unwrap_or_default();
        before.get(**user).into_iter().flat_map(Profile::facts).for_each(|fact| wanted.take(fact));
        match stored.get(**user) {
            Some(Some(found)) => !wanted.is(found),
            Some(None) => true,
            None => !wanted.is_empty(),
        }
    };
    users.iter().filter(differs).map(|user| (*user).clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts from a number, so that many are tried without a generator.
    fn fact(number: u64) -> Fact {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 17;
        let at = Minute(10_000_000 + (mixed % 90_000) as u32);
        match mixed % 7 {
            0 => Fact::Registered { at },
            1 => Fact::LoginFailed { at },
            2 => Fact::Changed { what: Change::ALL[(mixed / 7 % 7) as usize], at },
            _ => Fact::LoggedIn { at, device: (mixed / 49 % 9) as u32 * 1_000_003 },
        }
    }

    #[test]
    fn what_is_applied_one_by_one_is_what_is_picked_at_the_end() {
        for user in 0..200_u64 {
            let facts: Vec<Fact> = (0..40).map(|number| fact(user * 1_000 + number)).collect();
            let mut fold = ProfileFold::default();
            let mut profile = Profile::default();
            facts.iter().for_each(|fact| fold.take(*fact));
            facts.iter().rev().chain(&facts).for_each(|fact| {
                profile.apply(*fact);
            });
            assert!(fold.is(&profile), "user {user}: {fold:?} {profile:?}");
        }
    }

    #[test]
    fn a_profile_that_lacks_an_action_or_has_one_too_many_differs() {
        let applied = |numbers: std::ops::Range<u64>| Profile::from_facts(numbers.map(fact));
        let mut fold = ProfileFold::default();
        (0..20).for_each(|number| fold.take(fact(number)));
        let acted = BTreeMap::from([("u".to_owned(), fold)]);
        let differing = |stored: Option<Profile>, before: &[(String, Profile)]| {
            let stored = BTreeMap::from([("u".to_owned(), stored)]);
            differing_profiles(&acted, &stored, &before.iter().cloned().collect()).len()
        };
        assert_eq!(differing(Some(applied(0..20)), &[]), 0);
        assert_eq!(differing(Some(applied(0..13)), &[]), 1);
        assert_eq!(differing(Some(applied(0..60)), &[]), 1);
        assert_eq!(differing(None, &[]), 1);
        assert_eq!(differing(Some(applied(0..60)), &[("u".to_owned(), applied(20..60))]), 0);
        let silent = BTreeMap::from([("v".to_owned(), applied(0..3))]);
        assert_eq!(differing_profiles(&acted, &BTreeMap::new(), &silent), ["u", "v"]);
    }
}
