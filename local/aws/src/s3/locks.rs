//! One write to an object at a time.
//!
//! The store below looks whether a conditional put may happen, and then writes; and it writes an object before its entity tag. Between
//! the two another request would see, or do, what S3 never shows.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::Method;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Objects that share a lock wait for each other now and then.
const LOCKS: usize = 64;

/// The locks of all objects.
pub(super) struct Locks(Vec<RwLock<()>>);

/// Held while a request is served.
#[expect(dead_code, reason = "it is held, not read")]
pub(super) enum Held<'a> {
    Read(RwLockReadGuard<'a, ()>),
    Write(RwLockWriteGuard<'a, ()>),
}

impl Locks {
    pub(super) fn new() -> Self {
        Self((0..LOCKS).map(|_| RwLock::default()).collect())
    }

    /// Waits for whoever writes the object of this path.
    pub(super) async fn hold(&self, method: &Method, path: &str) -> Held<'_> {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let lock = &self.0[hasher.finish() as usize % LOCKS];
        match *method {
            Method::GET | Method::HEAD => Held::Read(lock.read().await),
            _ => Held::Write(lock.write().await),
        }
    }
}
