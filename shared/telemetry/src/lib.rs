//! What a function says about itself: log lines, metric lines, and names for people that are not their names.
//!
//! Metric names are declared here once; alarms and dashboards are checked against them. Everything goes to standard output,
//! one JSON object a line. Nothing here opens a connection.

pub mod emf;
mod pseudonym;
mod subscriber;

pub use emf::{BatchMetrics, Counts, StageMicros};
pub use pseudonym::{Pseudonym, PseudonymKey, WeakKey};
pub use subscriber::{SubscriberError, init};
