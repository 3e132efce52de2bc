//! What a delivery needs from the outside.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use centinela_contracts::dead_letter_v1::DeadLetter;
use centinela_domain::Millis;

/// Where a delivery reads time from, and waits.
pub trait Clock: Send + Sync {
    /// Wall-clock milliseconds since 1970.
    fn now(&self) -> Millis;

    /// Microseconds that only ever go forward, for measuring stages.
    fn monotonic_us(&self) -> u64;

    /// Waits up to `at_most`, a random part of it: the jitter between attempts.
    fn pause(&self, at_most: Duration) -> impl Future<Output = ()> + Send;
}

/// Why something was not published. The record concerned is delivered again.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Not acknowledged in time; it may have been written.
    #[error("the publication was not acknowledged")]
    Unacknowledged(#[source] Box<dyn Error + Send + Sync>),
    /// Refused for good: a missing grant, a missing topic, a record too large.
    #[error("the publication was refused")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
}

impl PublishError {
    /// Whether it comes at once and will come again: worth waiting before the next try.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// Where records go that can never be handled.
pub trait DeadLetters: Send + Sync {
    /// Keeps all durably; one answer per record in the same order.
    fn send(
        &self,
        records: &[DeadLetter],
        deadline: Millis,
    ) -> impl Future<Output = Vec<Result<(), PublishError>>> + Send;
}
