//! What a function cost: starts, invocations, failures, time and memory.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Starts whose times are kept; later ones replace the oldest.
const STARTS_KEPT_MAX: usize = 4096;
/// Durations that are kept for whoever takes them; later ones are only added up.
const DURATIONS_KEPT_MAX: usize = 16 * 1024;

/// How long invocations took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durations {
    /// Each, in milliseconds.
    pub each_ms: Vec<f64>,
    /// How many more there were, and how long they took together.
    pub more: u64,
    /// Milliseconds of those.
    pub more_ms: f64,
}

/// Accounts of one function since its host was started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FunctionStats {
    /// Environments that were started.
    pub cold_starts: u64,
    /// Invocations that were delivered to an environment.
    pub invocations: u64,
    /// Invocations that the function itself reported as failed.
    pub errors: u64,
    /// Invocations that were killed at the timeout.
    pub timeouts: u64,
    /// Invocations whose process ended before it answered.
    pub crashes: u64,
    /// Invocations that were refused because none were allowed.
    pub throttles: u64,
    /// Environments that never asked for work.
    pub init_failures: u64,
    /// User and system time of all environments, dead ones included. Resolution 10 ms per environment.
    pub cpu_time: Duration,
    /// Highest resident memory of any environment, in MB; a process that dies between two looks may have had more.
    pub rss_mb_max: u32,
    /// Milliseconds from spawn to the first request for work, per environment.
    pub init_ms: Vec<f64>,
    /// Milliseconds from spawn to the first successful response, per environment.
    pub first_decision_ms: Vec<f64>,
    /// Duration of all invocations, each rounded up to 1 ms as the bill does; initialisation not included.
    pub billed_ms: u64,
    /// Log lines that a listener missed because it was too far behind.
    pub log_lines_dropped: u64,
    /// Environments alive now.
    pub environments: usize,
    /// Environments that are handling an invocation now.
    pub busy: usize,
}

/// How an invocation ended, for the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Success,
    Error,
    Timeout,
    Crash,
}

/// The part of [`FunctionStats`] that does not need a look at living processes.
#[derive(Default)]
pub(super) struct Accounts {
    stats: Mutex<FunctionStats>,
    durations: Mutex<Durations>,
}

impl Accounts {
    fn lock(&self) -> MutexGuard<'_, FunctionStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the invocations took that ended since the last call.
    pub(super) fn take_durations(&self) -> Durations {
        std::mem::take(&mut *self.durations.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep_duration(&self, took: Duration) {
        let (mut durations, ms) =
            (self.durations.lock().unwrap_or_else(PoisonError::into_inner), took.as_secs_f64() * 1_000.0);
        if durations.each_ms.len() < DURATIONS_KEPT_MAX {
            durations.each_ms.push(ms);
        } else {
            durations.more += 1;
            durations.more_ms += ms;
        }
    }

    pub(super) fn throttled(&self) {
        self.lock().throttles += 1;
    }

    pub(super) fn started(&self) {
        self.lock().cold_starts += 1;
    }

    pub(super) fn initialised(&self, after: Duration) {
        keep(&mut self.lock().init_ms, after);
    }

    pub(super) fn init_failed(&self) {
        self.lock().init_failures += 1;
    }

    pub(super) fn first_decision(&self, after: Duration) {
        keep(&mut self.lock().first_decision_ms, after);
    }

    pub(super) fn ended(&self, ending: Ending, took: Duration) {
        self.keep_duration(took);
        let mut stats = self.lock();
        stats.invocations += 1;
        stats.billed_ms += u64::try_from(took.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        match ending {
            Ending::Success => {}
            Ending::Error => stats.errors += 1,
            Ending::Timeout => stats.timeouts += 1,
            Ending::Crash => stats.crashes += 1,
        }
    }

    pub(super) fn saw_memory(&self, rss_mb: u32) {
        let mut stats = self.lock();
        stats.rss_mb_max = stats.rss_mb_max.max(rss_mb);
    }

    pub(super) fn died(&self, cpu_time: Duration) {
        self.lock().cpu_time += cpu_time;
    }

    pub(super) fn invocations(&self) -> u64 {
        self.lock().invocations
    }

    pub(super) fn copy(&self) -> FunctionStats {
        self.lock().clone()
    }
}

fn keep(times: &mut Vec<f64>, time: Duration) {
    if times.len() == STARTS_KEPT_MAX {
        times.remove(0);
    }
    times.push(time.as_secs_f64() * 1_000.0);
}
