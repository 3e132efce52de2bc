//! The lake's objects in S3.
//!
//! A crate of its own beside `adapters`: who decides transactions links no client of S3. Retries live here and nowhere above or below,
//! as in `adapters`: the SDK's own are off, every pause is a random time, and all of them end with the caller's deadline.

mod failure;
mod patience;
mod s3;

pub use s3::S3Lake;
