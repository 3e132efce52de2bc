//! What is remembered about a device across users.
//!
//! Only what the users' own items cannot know, and only changes that may be applied twice: an item is written when a new user
//! appears on the device, not once per transaction. Labels are in its [`crate::Risk`], which has an owner of its own.

use crate::decay::DAY_MS;
use crate::transaction::Millis;

/// Most users remembered on a device; a device with more is simply "many".
pub const DEVICE_USERS_MAX: usize = 16;
/// When all places are taken, a place whose user first appeared longer ago than this may be given to a new user.
pub const DEVICE_USER_STALE_MS: i64 = 7 * DAY_MS;

/// A user on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceUser {
    /// Hash of the user id.
    pub user: u32,
    /// Event time of the first transaction that was noted.
    pub first_seen_at: Millis,
}

/// The state of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceState {
    /// The event time of the first transaction that was noted.
    pub first_seen_at: Millis,
    /// Users on it, in order of arrival; at most [`DEVICE_USERS_MAX`].
    pub users: Vec<DeviceUser>,
}

impl DeviceState {
    /// A device on its first transaction.
    pub fn first_seen(at: Millis) -> Self {
        Self { first_seen_at: at, users: Vec::new() }
    }

    /// Notes that a user was on the device. Returns whether anything changed, which is what decides about a write; applying it
    /// again changes nothing.
    pub fn observe(&mut self, user: u32, at: Millis) -> bool {
        if self.users.iter().any(|known| known.user == user) {
            return false;
        }
        let newcomer = DeviceUser { user, first_seen_at: at };
        if self.users.len() < DEVICE_USERS_MAX {
            self.users.push(newcomer);
            return true;
        }
        let oldest = self.users.iter().enumerate().min_by_key(|(_, known)| known.first_seen_at).map(|(index, _)| index);
        match oldest {
            Some(index) if at.since(self.users[index].first_seen_at) > DEVICE_USER_STALE_MS => {
                self.users.remove(index);
                self.users.push(newcomer);
                true
            }
            _ => false,
        }
    }

    /// Users first seen on it within the window that ends at `at`.
    pub(crate) fn newcomers(&self, at: Millis, window_ms: i64) -> usize {
        self.users.iter().filter(|known| (0..=window_ms).contains(&at.since(known.first_seen_at))).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Millis = Millis(1_700_000_000_000);

    #[test]
    fn a_user_that_is_seen_again_changes_nothing() {
        let mut device = DeviceState::first_seen(T);
        assert!(device.observe(1, T));
        let before = device.clone();
        assert!(!device.observe(1, Millis(T.0 + 5)));
        assert_eq!(device, before);
    }

    #[test]
    fn a_crowded_device_is_not_written_for_every_newcomer() {
        let mut device = DeviceState::first_seen(T);
        for user in 0..DEVICE_USERS_MAX as u32 {
            assert!(device.observe(user, T));
        }
        assert!(!device.observe(999, Millis(T.0 + 1)));
        assert!(device.observe(999, Millis(T.0 + DEVICE_USER_STALE_MS + 1)));
        assert_eq!(device.users.len(), DEVICE_USERS_MAX);
    }
}
