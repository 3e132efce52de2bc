//! What the index needs from the outside.

use std::collections::{HashMap, HashSet};
use std::future::Future;

use centinela_contracts::stored_decision::{IndexedDecision, StoredProblem};
use centinela_delivery::StoreError;
use centinela_domain::{Millis, TransactionId};

/// An item to write.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexWrite {
    /// The transaction.
    pub transaction: TransactionId,
    /// What the item must hold now; none where it must not be there.
    pub replaces: Option<Vec<IndexedDecision>>,
    /// What it is to hold.
    pub entries: Vec<IndexedDecision>,
    /// When the store may forget it, in seconds since 1970.
    pub expires_s: i64,
}

/// What became of a write.
#[derive(Debug)]
pub enum Written {
    /// It is written.
    Done,
    /// The item is there, or is another one; nothing is written.
    Lost,
    /// Not known to be written.
    Failed(StoreError),
}

/// What was read. A key that is neither found nor unread has no item.
#[derive(Debug, Default)]
pub struct Found {
    /// The items, or why they mean nothing to this release.
    pub items: HashMap<TransactionId, Result<Vec<IndexedDecision>, StoredProblem>>,
    /// What was asked for and not read this time.
    pub unread: HashSet<TransactionId>,
    /// Why something was not read.
    pub problem: Option<StoreError>,
}

/// The table of decisions by transaction.
pub trait Lookup: Send + Sync {
    /// Writes each item on its own, in as few calls as possible; one answer each, in the same order.
    fn write(&self, writes: Vec<IndexWrite>, deadline: Millis) -> impl Future<Output = Vec<Written>> + Send;

    /// Reads what stands now, never an older item.
    fn read(&self, transactions: Vec<TransactionId>, deadline: Millis) -> impl Future<Output = Found> + Send;
}
