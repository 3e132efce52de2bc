//! What roll-ups need from the outside.

use std::future::Future;

use centinela_delivery::StoreError;
use centinela_domain::{Millis, Rollup};

/// A roll-up to keep.
#[derive(Clone, Debug, PartialEq)]
pub struct RollupItem {
    /// The item's partition key: its window.
    pub window: String,
    /// Its sort key: the part of a shard.
    pub part: String,
    /// What it holds.
    pub rollup: Rollup,
    /// When the store may forget it, in seconds since 1970.
    pub expires_s: i64,
}

/// The table of roll-ups.
pub trait Rollups: Send + Sync {
    /// Puts an item; the same item again changes nothing.
    fn put(&self, item: RollupItem, deadline: Millis) -> impl Future<Output = Result<(), StoreError>> + Send;
}
