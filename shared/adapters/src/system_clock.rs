//! The clock of deliveries on the system's.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use centinela_api::ports::Timer;
use centinela_delivery::Clock;
use centinela_domain::Millis;

use crate::budget;

static PROCESS_EPOCH: OnceLock<Instant> = OnceLock::new();

/// Wall clock, monotonic clock and real pauses.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        budget::wall_clock()
    }

    fn monotonic_us(&self) -> u64 {
        let since = PROCESS_EPOCH.get_or_init(Instant::now).elapsed();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    async fn pause(&self, at_most: Duration) {
        tokio::time::sleep(budget::random_part(at_most)).await;
    }
}

impl Timer for SystemClock {
    fn now(&self) -> Millis {
        budget::wall_clock()
    }

    async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
