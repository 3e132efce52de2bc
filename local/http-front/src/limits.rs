//! Bounds on what clients can take.

use std::time::Duration;

/// What one client may take, and all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more are told so and closed.
    pub connections: usize,
    /// Request line and headers, in bytes. API Gateway's own.
    pub header_bytes: usize,
    /// From the first byte on, and how long a connection may be idle.
    pub header_time: Duration,
    /// One body. Lambda takes 6 MB of event, which has the body as a JSON string or in base64.
    pub body_bytes: usize,
    /// How long a body may take to come.
    pub body_time: Duration,
    /// All bodies in memory.
    pub bodies_bytes: usize,
    /// How long an answer may take. API Gateway's own.
    pub integration: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2_048,
            header_bytes: 10_240,
            header_time: Duration::from_secs(10),
            body_bytes: 4 * 1024 * 1024,
            body_time: Duration::from_secs(20),
            bodies_bytes: 64 * 1024 * 1024,
            integration: Duration::from_secs(30),
        }
    }
}
