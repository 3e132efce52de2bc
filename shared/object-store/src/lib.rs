//! The lake's objects in S3: five operations over the SDK's own signer, credentials and TLS, of `centinela-signed-http`.
//!
//! A crate of its own beside `adapters`: who decides transactions links no client of S3. Retries live here and nowhere above or below,
//! as in `adapters`: every pause is a random time, and all of them end with the caller's deadline.

mod client;
mod failure;
mod s3;
mod xml;

pub use client::ConnectError;
pub use s3::S3Lake;
