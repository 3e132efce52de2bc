//! A backlog: records that wait on the topic before the function starts on them, and how fast they are worked off.
//!
//! The first part is left out of the figures, because processes start and caches fill in it.

use std::time::{Duration, Instant};

use centinela_local::threads::CpuTimes;
use serde::Serialize;

use crate::figures::{ProcessCpu, as_f64, micros_per_tx, rounded};

/// Share of the records that is worked off before the figures begin.
const LEFT_OUT: f64 = 0.3;

/// How a backlog was worked off.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Backlog {
    /// Different transactions that waited when the mapping started.
    pub waiting: u64,
    /// Records a second at which the producer had put them there.
    pub sent_tx_s: f64,
    /// From the start of the mapping to the last decision.
    pub seconds: f64,
    /// What the figures rest on; none when there were too few records to tell, or not all were decided.
    pub steady: Option<Steady>,
}

/// The part from 30 to 100 percent of the records.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Steady {
    /// Decisions in it.
    pub decided: u64,
    /// Decisions a second.
    pub tx_s: f64,
    /// Time of the function's processes per decision.
    pub function_cpu_us_per_tx: f64,
    /// Time of this process per decision.
    pub cpu_us_per_tx: Option<ProcessCpu>,
}

/// A look at a run.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// When the counts were taken.
    pub at: Instant,
    /// Decided so far.
    pub decided: u64,
    /// Time of the function's processes so far.
    pub function_cpu: Duration,
    /// Time of this process so far.
    pub process_cpu: Option<CpuTimes>,
}

/// Watches a backlog get shorter.
#[derive(Debug)]
pub struct Watch {
    waiting: u64,
    started: Instant,
    steady_from: Option<Look>,
}

impl Watch {
    /// The mapping starts now on `waiting` transactions.
    pub fn new(waiting: u64) -> Self {
        Self { waiting, started: Instant::now(), steady_from: None }
    }

    /// Whether a look is wanted after `decided`: the figures begin.
    pub fn wants_a_look(&self, decided: u64) -> bool {
        self.steady_from.is_none() && as_f64(self.waiting) * LEFT_OUT <= as_f64(decided)
    }

    /// The figures begin with this look.
    pub fn begin(&mut self, look: Look) {
        self.steady_from = Some(look);
    }

    /// Everything is decided, or nothing moves any more.
    pub fn finish(self, end: Look, sent_tx_s: f64) -> Backlog {
        let complete = self.waiting <= end.decided;
        let steady = self.steady_from.filter(|from| complete && from.decided < end.decided).map(|from| {
            let decided = end.decided - from.decided;
            let seconds = end.at.saturating_duration_since(from.at).as_secs_f64().max(f64::MIN_POSITIVE);
            let process = end.process_cpu.zip(from.process_cpu).map(|(end, from)| end.since(&from));
            Steady {
                decided,
                tx_s: rounded(as_f64(decided) / seconds),
                function_cpu_us_per_tx: micros_per_tx(end.function_cpu.saturating_sub(from.function_cpu), decided),
                cpu_us_per_tx: process.map(|times| ProcessCpu::new(&times, decided)),
            }
        });
        let seconds = end.at.saturating_duration_since(self.started).as_secs_f64();
        Backlog { waiting: self.waiting, sent_tx_s: rounded(sent_tx_s), seconds: rounded(seconds), steady }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(started: Instant, after_s: u64, decided: u64, cpu_ms: u64) -> Look {
        Look {
            at: started + Duration::from_secs(after_s),
            decided,
            function_cpu: Duration::from_millis(cpu_ms),
            process_cpu: None,
        }
    }

    #[test]
    fn the_first_third_of_a_backlog_does_not_count() {
        let mut watch = Watch::new(1_000);
        assert!(!watch.wants_a_look(299));
        assert!(watch.wants_a_look(300));
        let started = watch.started;
        watch.begin(look(started, 9, 400, 500));
        assert!(!watch.wants_a_look(500));
        let backlog = watch.finish(look(started, 12, 1_000, 800), 50.0);
        let steady = backlog.steady.expect("there were enough");
        assert_eq!((steady.decided, backlog.waiting), (600, 1_000));
        assert!((steady.tx_s - 200.0).abs() < 1e-9 && (steady.function_cpu_us_per_tx - 500.0).abs() < 1e-9);
    }

    #[test]
    fn a_backlog_that_was_not_worked_off_has_no_throughput() {
        let mut watch = Watch::new(1_000);
        let started = watch.started;
        watch.begin(look(started, 1, 400, 0));
        assert_eq!(watch.finish(look(started, 2, 900, 0), 50.0).steady, None);
    }
}
