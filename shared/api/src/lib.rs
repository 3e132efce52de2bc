//! What the HTTP API does: routes, scopes, limits, problems and answers, over ports.
//!
//! It decides nothing about a transaction. `POST /v1/decisions` hands the transaction to Kafka like any other producer and reads the user's
//! item until the decision stands there, so that the stream and the request cannot disagree. It does no I/O of its own, starts no tasks,
//! and reads time only through its port.

mod body;
mod decide;
mod ingest;
mod look_up;
mod metrics;
pub mod ports;
mod problem;
mod request;
mod response;
mod route;
mod scope;
mod service;
mod shown;

pub use problem::{FieldError, Kind, Problem};
pub use request::{Request, RequestError};
pub use response::Response;
pub use route::{Operation, Wanted};
pub use scope::{Scope, Scopes};
pub use service::{Api, Done, Handled, Settings};

/// Most records of one request.
pub const RECORDS_MAX: usize = 500;
/// Largest body, in bytes; a single record has the limit of its payload, which is lower.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
