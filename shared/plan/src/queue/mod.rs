//! How large batches get, and how long a decision takes: a small queueing model of a mapping without a batching window.
//!
//! Records arrive by chance (a Poisson process, keys spread evenly). A free slot takes whatever waits in partitions that have no batch in
//! flight, partition by partition, up to the batch size. An invocation of `n` records takes `base + n × record` and the waits of its calls, one
//! after the other, each drawn from a log-normal distribution. So slots are busy whenever anything waits, and batches are as large as what
//! arrived meanwhile: more slots make smaller batches, not less work.
//!
//! One poller with its share of partitions and records is simulated and stands for all of them. What is not in the model: retries, hot keys
//! (a user of hundreds a second), rebalances, cold starts, and that environments share a machine.

mod fit;
mod random;
mod simulation;

use serde::Serialize;

pub use fit::{calls_mean_ms, fit, question_of};
pub use simulation::Prediction;

/// Invocations that one poller keeps going: <https://docs.aws.amazon.com/lambda/latest/dg/kafka-scaling-modes.html>.
pub const INVOCATIONS_PER_POLLER: u32 = 5;
/// Calls of an invocation that wait for each other: read, commit, publish.
pub const CALLS: u32 = 3;

/// A mapping and its load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Question {
    /// Records a second.
    pub per_second: f64,
    /// Partitions of the topic.
    pub partitions: u32,
    /// Pollers that share them.
    pub pollers: u32,
    /// Invocations at once, over all pollers, that the function's concurrency allows.
    pub concurrency: u32,
    /// The most records of a batch.
    pub batch_max: u32,
    /// Milliseconds of an empty batch, without its calls' waits.
    pub base_ms: f64,
    /// Milliseconds of each record.
    pub record_ms: f64,
    /// Median of a call, in milliseconds; 0 is no wait.
    pub call_ms_p50: f64,
    /// 99 % quantile of a call.
    pub call_ms_p99: f64,
}

impl Question {
    /// Invocations at once: as many as partitions, pollers and concurrency allow.
    #[must_use]
    pub fn slots(&self) -> u32 {
        let pollers = self.pollers.clamp(1, self.partitions.max(1));
        self.partitions.min(pollers.saturating_mul(INVOCATIONS_PER_POLLER)).min(self.concurrency).max(1)
    }

    /// Records a second that it never exceeds: every slot busy with full batches.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        let full = f64::from(self.batch_max.max(1));
        f64::from(self.slots()) * full * 1_000.0 / self.mean_ms(full).max(f64::MIN_POSITIVE)
    }

    /// Mean milliseconds of an invocation of `records`.
    #[must_use]
    pub fn mean_ms(&self, records: f64) -> f64 {
        self.base_ms + records * self.record_ms + calls_mean_ms(self.call_ms_p50, self.call_ms_p99)
    }
}

/// What is to be expected of a mapping. A load above [`Question::capacity`] has no steady state: its latency is that of the simulated time,
/// and [`Prediction::keeps_up`] says so.
#[must_use]
pub fn predict(question: &Question) -> Prediction {
    simulation::run(question)
}
