//! A lean producer for Kafka: what is published with every batch, on the thread that asks for it.
//!
//! A batch leaves as one request to each leader that is concerned, and its answer is read where it was asked for: no thread, no queue, no
//! timer, no wait for more to come. What it does is a small part of what a Kafka client can: records of topics that are known at the start,
//! acknowledged by all replicas, compressed with lz4; TLS, SCRAM and MSK's IAM tokens; repeated until a deadline, and without repetitions
//! on the topic where the brokers are asked to drop them. One send is at work at a time, so a partition has one batch in flight.
//!
//! The messages are those of <https://kafka.apache.org/protocol>, in versions that every broker since 2.1 serves.

mod batch;
mod connection;
mod failure;
mod login;
mod producer;
mod protocol;
mod tls;

pub use failure::{Code, ProduceError, SendError};
pub use producer::{Producer, Record, Settings};
