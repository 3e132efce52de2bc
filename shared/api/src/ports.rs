//! What the API needs from the outside.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use centinela_contracts::stored_decision::IndexedDecision;
use centinela_contracts::stored_user::StoredUser;
use centinela_delivery::{PublishError, StoreError};
use centinela_domain::rollup::Rollup;
use centinela_domain::{Millis, Profile, Risk, TransactionId, UserId};

/// Where a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Target {
    Transactions,
    UserActions,
    Events,
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where to.
    pub target: Target,
    /// What chooses the partition.
    pub key: String,
    /// The payload, as it came.
    pub value: &'a [u8],
}

/// Writes records, each once, and knows of each whether every replica has it.
pub trait Ingest: Send + Sync {
    /// One answer per record, in the same order.
    fn send(
        &self,
        records: &[Record<'_>],
        deadline: Millis,
    ) -> impl Future<Output = Vec<Result<(), PublishError>>> + Send;
}

/// What is stored about a user, by the owners of its parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserItem {
    /// Aggregates and remembered decisions.
    pub decisions: Option<StoredUser>,
    /// What the user did besides paying.
    pub profile: Option<Profile>,
    /// What labels say.
    pub risk: Option<Risk>,
    /// Parts that are there and cannot be read; never the first, which is an error.
    pub unreadable: Vec<&'static str>,
}

/// Reads what other functions have stored.
pub trait Store: Send + Sync {
    /// A user's item. A stale answer is enough unless it is the last word.
    fn user(
        &self,
        user: &UserId,
        consistent: bool,
        deadline: Millis,
    ) -> impl Future<Output = Result<UserItem, StoreError>> + Send;

    /// The decisions on transactions of this id, the newest last: two users may use one id.
    fn decisions(
        &self,
        transaction: &TransactionId,
        deadline: Millis,
    ) -> impl Future<Output = Result<Vec<IndexedDecision>, StoreError>> + Send;

    /// What the decisions of each window add up to, by the window's start in milliseconds since 1970; windows without decisions are
    /// left out.
    fn rollups(
        &self,
        windows: &[i64],
        deadline: Millis,
    ) -> impl Future<Output = Result<BTreeMap<i64, Rollup>, StoreError>> + Send;
}

/// Time.
pub trait Timer: Send + Sync {
    /// Milliseconds since 1970.
    fn now(&self) -> Millis;

    /// Waits this long.
    fn wait(&self, time: Duration) -> impl Future<Output = ()> + Send;
}
