//! The calls of a batch, lean: signed HTTP/1.1 to DynamoDB and Kinesis, without the SDK's clients.
//!
//! A call by the SDK's clients costs its caller up to seven times the CPU (`cargo run --release --example call_cost`; why: docs/decisions/0038).
//! Here a request is written once, into the buffer of the connection that sends it, and an answer is read where it arrived. What is asked and
//! what an answer means are the caller's matter: nothing is tried again here, and a call takes as long as it takes; who drops it closes its
//! connection. Credentials and region come from the SDK's provider chain, TLS is rustls with the machine's certificates.
//!
//! [`Plain`] is the same without a signature, for a server on the machine: Lambda's Runtime API. [`Access`], [`TlsSettings`], [`endpoint`]
//! and [`user_agent`] serve `centinela-signed-http` too, which asks other services.
//!
//! What it refuses to do: redirects, proxies, compression, HTTP/2, and of a service's paths all but `/`.

mod address;
mod answer;
mod client;
mod clock;
mod connection;
pub mod dynamodb;
mod failure;
mod identity;
mod json;
pub mod kinesis;
mod plain;
mod request;
mod settings;
mod signature;
mod tls;

pub use address::AddressProblem;
pub use client::{Client, Service};
pub use failure::{CallError, Cause, ConnectError, Malformed, ServiceError};
pub use identity::{Access, Identity};
pub use plain::{Plain, PlainAnswer, PlainRequest};
pub use settings::{WireClient, endpoint, user_agent};
pub use tls::TlsSettings;
