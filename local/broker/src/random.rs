//! Ids that nobody else has.

use std::hash::{BuildHasher, Hasher, RandomState};

use uuid::Uuid;

/// A random id: the standard library seeds its hash tables from the operating system and counts on from there.
pub(crate) fn id() -> Uuid {
    let half = || RandomState::new().build_hasher().finish();
    let bits = (u128::from(half()) << 64) | u128::from(half());
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}
