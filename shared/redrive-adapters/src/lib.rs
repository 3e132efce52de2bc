//! Where a redrive really happens: topics of a Kafka cluster, committed marks in DynamoDB, decisions on their topics and in the lake.
//!
//! What is handled is kept by a consumer group of its own, as offsets with a text; nobody joins that group. Nothing is deleted.

mod client;
mod cluster;
mod found;
mod lake;
mod letters;
mod marks;

pub use cluster::{Cluster, Config};
pub use lake::Lake;
pub use marks::Marks;
