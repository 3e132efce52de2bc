//! End-to-end tests.

pub mod real_servers;
