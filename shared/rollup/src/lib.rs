//! What the decisions of a window add up to: counts, money and latency, kept as one item per window and part of a shard.
//!
//! A window's decisions come in several batches, each with what the ones before have come to. A decision that comes twice within one
//! part counts once; one that is published again in a later window counts there again, because nothing in the message tells the two
//! apart. Reducing is pure; writing is one put of the same item under the same key, however often the end of a window is delivered.

mod part;
pub mod ports;

pub use centinela_domain::Rollup;
pub use part::{FoldReport, RollUp, WindowOf, fold, item_key, partition_key};
