//! Decisions under their transactions' ids, for whoever asks about one.
//!
//! An item holds what was decided about one transaction id: several entries where several users have used it. It is the fold of the
//! decisions that came, whatever their order and number, so a redelivered record changes nothing. Its first write costs one write and
//! no read; only an item that is there already is read before it is changed.

mod index;
pub mod ports;

pub use index::{Fold, IndexDecisions, IndexReport, Limits, merge};
