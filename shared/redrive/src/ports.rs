//! What a redrive needs from the outside.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use centinela_domain::{Coordinates, DecisionId, Millis};

use crate::handled::Handled;

/// Where a letter stands on the topic of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
}

/// `3-81724`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.partition, self.offset)
    }
}

/// A message of the topic of dead letters.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Where it stands.
    pub place: Place,
    /// The broker's time.
    pub written_at: Millis,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Vec<u8>,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A record to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Where to.
    pub topic: String,
    /// The partition that it first was in, as long as the topic has it: there its producer's duplicates are, and there its mark holds.
    pub partition: u32,
    /// The record's own key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Vec<u8>,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What a published decision says of its transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What it was for, in minor units of a currency; none where only the answer is left.
    pub amount: Option<(u64, String)>,
}

/// What a search has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// The decisions.
    pub found: BTreeMap<DecisionId, Found>,
    /// Whether everything was looked through that was published when it was asked; not so when the time was over before.
    pub is_all: bool,
}

/// Something outside could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct PortError {
    /// What was tried, such as `reading topic dead-letters`.
    pub doing: String,
    /// Why it did not work.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

impl PortError {
    /// An error with its cause.
    pub fn new(doing: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { doing: doing.into(), source: source.into() }
    }
}

/// The topics, the marks, the published decisions, and the clock.
pub trait Surroundings: Send {
    /// What was handled before. Called first.
    fn handled(&mut self) -> impl Future<Output = Result<Handled, PortError>> + Send;

    /// The next message from the first that is not handled to where the topic ended at the beginning, partition by partition in the order
    /// of offsets; none after the last.
    fn next_message(&mut self) -> impl Future<Output = Result<Option<Message>, PortError>> + Send;

    /// The next message is the one at this place, which was read before, or the first behind it that is still there.
    fn turn_back(&mut self, to: Place) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Keeps what is handled now, with what somebody else has handled meanwhile, which is learned.
    fn note_handled(&mut self, handled: &mut Handled) -> impl Future<Output = Result<(), PortError>> + Send;

    /// The committed marks of the transactions' topic, as they are stored. A partition without one is left out; none at all when nobody
    /// keeps marks here, and then nothing can be verified.
    fn marks(&mut self) -> impl Future<Output = Result<BTreeMap<u32, Coordinates>, PortError>> + Send;

    /// Begins to look for decisions that were published since; returns since when all of them can be found.
    fn begin_search(&mut self, since: Millis) -> impl Future<Output = Result<Millis, PortError>> + Send;

    /// Which of these are published by now. Asked again it goes on where it was, and says only what is new.
    fn search(
        &mut self,
        wanted: &BTreeSet<DecisionId>,
        deadline: Option<Millis>,
    ) -> impl Future<Output = Result<Searched, PortError>> + Send;

    /// Where the partitions of a topic end, in the order of their numbers.
    fn ends(&mut self, topic: &str) -> impl Future<Output = Result<Vec<u64>, PortError>> + Send;

    /// Sends all, acknowledged by every replica; one answer per record in the same order.
    fn send(&mut self, records: Vec<Outgoing>) -> impl Future<Output = Vec<Result<(), PortError>>> + Send;

    /// Wall-clock milliseconds since 1970.
    fn now(&self) -> Millis;

    /// Waits.
    fn pause(&mut self, time: Duration) -> impl Future<Output = ()> + Send;
}
