//! The compute path: from an event's bytes to decisions, items and requests, without a network.
//!
//! Every piece is a [`Kernel`] by name, so that the clock of `cargo bench` and the instruction counts of `bench/instructions` measure the
//! same work. All of them come from one small [`World`], made from a seed.

mod calls;
mod kernels;
mod ports;
mod world;

pub use kernels::{Kernel, NAMES, kernel};
pub use world::World;
