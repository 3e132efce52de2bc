//! What the broker keeps: topics with their settings, and their partitions' records.

pub(crate) mod batch;
mod compression;
pub(crate) mod log;
mod retention;
mod segment;
pub(crate) mod settings;
#[cfg(test)]
mod tests;
pub(crate) mod topics;
pub(crate) mod waiting;
