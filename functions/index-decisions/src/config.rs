//! What the environment tells the function.

use std::time::Duration;

use centinela_adapters::aws::WireClient;
use centinela_function::Environment;

const DAY_S: u64 = 86_400;
/// Longest time that the stack allows.
const DAYS_MAX: u64 = 90;

/// Where the index is, and for how long it remembers.
#[derive(Debug)]
pub struct Config {
    pub table: String,
    pub remembered: Duration,
    /// Which client asks DynamoDB.
    pub client: WireClient,
}

impl Config {
    /// Always: there is nothing without which it could not go on reading.
    pub fn read(environment: &mut Environment<'_>) -> Option<Self> {
        let table = environment.text("DECISION_TABLE");
        let days = |text: &str| text.parse::<u64>().ok().filter(|days| *days <= DAYS_MAX).ok_or(());
        let days = environment.parsed("DECISION_DAYS", 0, format!("a number of days, 0 to {DAYS_MAX}"), days);
        let client = environment.wire_client();
        Some(Self { table, client, remembered: Duration::from_secs(days * DAY_S) })
    }
}
