//! The decision protocol over small ports: one decision per transaction, once in effect, at the price of one write per user and
//! batch. `ARCHITECTURE.md` states its rules; each has a test that fails when the rule is broken.
//!
//! Does no I/O of its own, starts no tasks, and reads time only through the [`ports::Clock`].

mod holds;
mod intake;
mod plan;
pub mod ports;
mod process;
mod publish;
mod report;
mod settlement;

pub use process::{Crash, Deadline, Engine, Limits, Settings};
pub use report::{BatchReport, Stages};
