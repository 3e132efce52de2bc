//! What profiles need from the outside.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use centinela_delivery::{Commit, StoreError, Versioned, Write};
use centinela_domain::{Millis, Profile, UserId};

/// What was read. A user that is neither found, unread nor unreadable has no profile.
#[derive(Debug, Default)]
pub struct ProfileAnswer {
    /// Found profiles.
    pub found: BTreeMap<UserId, Versioned<Profile>>,
    /// Users whose profile could not be read this time.
    pub unread: BTreeSet<UserId>,
    /// Users whose profile is there and means nothing to this release: another try does not help.
    pub unreadable: BTreeSet<UserId>,
    /// Why something was not read.
    pub problem: Option<StoreError>,
}

/// The profiles of users; the function that tracks actions owns them.
pub trait Profiles: Send + Sync {
    /// Reads profiles in as few calls as possible. Eventually consistent is enough: a profile only ever gains facts, so what an older one
    /// knows the newest one knows, and a write over a newer one loses its race.
    fn read(&self, users: &[UserId], deadline: Millis) -> impl Future<Output = ProfileAnswer> + Send;

    /// Reads one profile, strongly consistent.
    fn read_profile(
        &self,
        user: &UserId,
        deadline: Millis,
    ) -> impl Future<Output = Result<Option<Versioned<Profile>>, StoreError>> + Send;

    /// Writes profiles, one answer per write in the same order; each stands alone.
    fn commit(
        &self,
        writes: Vec<Write<UserId, Profile>>,
        deadline: Millis,
    ) -> impl Future<Output = Vec<Commit<Profile>>> + Send;
}
