//! In-memory ports with faults, and a world that delivers records as a mapping may: at least once, cut, repeated, too late.
//!
//! Everything runs on one thread from one seed. A fake call yields before and after its effect, so whoever polls an invocation
//! can interleave it with others, or drop it at any await, which is a crash.

pub mod bench;
pub mod builders;
pub mod fakes;
pub mod schedule;
pub mod world;
