//! The mapping of a stream with a real function: what is delivered, in which order, and how windows end.

mod delivery;
mod windows;
mod world;
