//! What a function says about itself: log lines, metric lines, and names for people that are not their names.
//!
//! A function declares its metrics once, by [`counts!`]; each function's tests hold the alarms against them. Everything goes to
//! standard output, one JSON object a line. Nothing here opens a connection.

pub mod emf;
mod pseudonym;
mod subscriber;

pub use pseudonym::{Pseudonym, PseudonymKey, WeakKey};
pub use subscriber::{SubscriberError, init};
