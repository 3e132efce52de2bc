//! DynamoDB, Kinesis and S3 that are external: another emulator, or AWS itself.
//!
//! Tables, streams and buckets are created when they are missing and checked when they are there. Nothing is altered, nothing is
//! deleted, and nothing is written but that.

mod buckets;
pub(crate) mod client;
pub(crate) mod error;
mod streams;
mod tables;

pub use buckets::{prepare_buckets, read_object};
pub use client::{AwsClient, CallError};
pub use error::EndpointError;
pub use streams::prepare_streams;
pub use tables::{prepare_tables, read_items};
