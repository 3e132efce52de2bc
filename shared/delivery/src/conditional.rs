//! The words of a store whose items carry a version: nothing is written that somebody else has changed since it was read.

use std::error::Error;

/// An item with the version that a write must name.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned<T> {
    /// Rises by one with every write; the first is 1.
    pub version: u64,
    /// What the version was read with.
    pub item: T,
}

/// Why the store did not do what it was asked. The records concerned are retried in every case.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Throttled, timed out or unreachable; a write may have been applied.
    #[error("the state store is throttling or unreachable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// Refused: a missing grant, a wrong table or a fault of ours. Dead-lettering good transactions would hide it.
    #[error("the state store refused the request")]
    Rejected(#[source] Box<dyn Error + Send + Sync>),
    /// The stored bytes cannot be read by this version.
    #[error("a stored item cannot be read")]
    Corrupt(#[source] Box<dyn Error + Send + Sync>),
    /// No time was left to try.
    #[error("no time was left for the state store")]
    OutOfTime,
}

impl StoreError {
    /// Whether it comes at once and will come again: worth waiting before the next try.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Rejected(_))
    }
}

/// One conditional write.
#[derive(Clone, Debug)]
pub struct Write<K, T> {
    /// The key of the item, in the words of its port.
    pub key: K,
    /// The version that was read; none when there was no item. The write makes it one higher.
    pub expected: Option<u64>,
    /// The new content.
    pub item: T,
}

/// What became of one conditional write. A lost race is a value.
#[derive(Debug)]
pub enum Commit<T> {
    /// Applied.
    Done,
    /// Another writer was first; the item as it is now where the store gave it back.
    Lost(Option<Versioned<T>>),
    /// Not known to be applied.
    Failed(StoreError),
}
