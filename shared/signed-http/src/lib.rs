//! Signed requests to a service of AWS: the SDK's own signer, `centinela-wire`'s credentials and TLS, and nothing of the SDK's clients.
//!
//! For a function that asks a few things of a service whose whole client would be larger than the function (docs/decisions/0027). What an
//! answer means is its caller's matter; so is when to try again, for which [`Patience`] keeps the time.

mod client;
mod patience;

pub use centinela_wire::{Cause, ConnectError, endpoint};
pub use client::{Answer, Asked, Client, NoAnswer, Service, Unanswered, encoded, settings};
pub use patience::Patience;
