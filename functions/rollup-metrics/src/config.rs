//! What the environment tells the function.

use std::time::Duration;

use centinela_function::Environment;

/// Where roll-ups are kept, and for how long.
#[derive(Debug)]
pub struct Config {
    pub table: String,
    pub remembered: Duration,
}

impl Config {
    /// Always: there is nothing without which it could not go on reading.
    pub fn read(environment: &mut Environment<'_>) -> Option<Self> {
        Some(Self { table: environment.text("METRIC_TABLE"), remembered: environment.seconds("METRIC_SECONDS") })
    }
}
