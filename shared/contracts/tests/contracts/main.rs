//! The contracts as their readers and writers see them.

#![expect(clippy::unwrap_used, reason = "what prepares a test stops where it cannot go on, as the test does")]

mod failure_record;
mod golden;
mod kafka_event;
mod payloads;
mod samples;
mod stored;
mod transaction;
