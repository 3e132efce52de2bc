//! The decision protocol over small ports: one decision per transaction, once in effect, at the price of one write per user and
//! batch. `ARCHITECTURE.md` states its rules; each has a test that fails when the rule is broken.
//!
//! Does no I/O of its own, starts no tasks, and reads time only through the [`centinela_delivery::Clock`].

mod commit;
mod outgoing;
mod pending_failures;
mod plan;
pub mod ports;
mod process;
mod proof;
mod publish;
mod report;
mod work;

pub use process::{Engine, Limits, ScoringError, Settings};
pub use report::{BatchReport, Stages};
