//! The API over ports that remember: what it does, what it refuses, and that it is what the OpenAPI file says.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod conformance;
mod deciding;
mod openapi;
mod reading;
mod sending;
mod world;
