//! Faults of the functions' processes.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use centinela_local::lambda::EnvironmentInfo;

use super::kinds::Kind;
use super::surroundings::Surroundings;

/// How long a process is waited for that is busy.
const BUSY_LIMIT: Duration = Duration::from_secs(2);

/// The processes, and which of them are frozen for good: killing those would spare them their timeout.
pub(super) struct Processes<'a> {
    surroundings: &'a Surroundings<'a>,
    frozen: Mutex<BTreeSet<u32>>,
}

impl<'a> Processes<'a> {
    pub(super) fn new(surroundings: &'a Surroundings<'a>) -> Self {
        Self { surroundings, frozen: Mutex::default() }
    }

    /// A process with work in progress. At a low rate it takes a moment until there is one.
    async fn busy(&self, pick: u64) -> Option<EnvironmentInfo> {
        let until = Instant::now() + BUSY_LIMIT;
        loop {
            let busy: Vec<EnvironmentInfo> =
                self.unfrozen().into_iter().filter(|environment| environment.busy).collect();
            if let Some(index) = usize::try_from(pick >> 1).unwrap_or(0).checked_rem(busy.len()) {
                return Some(busy[index].clone());
            }
            if until <= Instant::now() || self.surroundings.calm.is_cancelled() {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn unfrozen(&self) -> Vec<EnvironmentInfo> {
        let frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        let environments = self.surroundings.host.environments();
        environments.into_iter().filter(|environment| !frozen.contains(&environment.pid)).collect()
    }

    /// Kills a busy process, or with it all that are not frozen.
    pub(super) async fn kill(&self, all: bool, pick: u64) {
        let Surroundings { host, tally, .. } = self.surroundings;
        let Some(victim) = self.busy(pick).await else { return };
        tally.happened(Kind::Kill);
        let victims = if all { self.unfrozen() } else { vec![victim] };
        for victim in victims.iter().filter(|victim| host.kill(victim.pid)) {
            tally.led_to(Kind::Kill, 1, "processes ended");
            tally.led_to(Kind::Kill, u64::from(victim.busy), "of them busy");
        }
    }

    /// Kills every process of every function. False when there was none, which is no kill.
    pub(super) fn kill_all(&self) -> bool {
        let Surroundings { platform, tally, .. } = self.surroundings;
        let killed = platform.kill_functions();
        if killed == 0 {
            return false;
        }
        tally.happened(Kind::Kill);
        tracing::info!(killed, "function processes were killed");
        true
    }

    /// Freezes a busy process for a while, or until its function's timeout kills it.
    pub(super) async fn freeze(&self, lasts: Option<Duration>, pick: u64) {
        let Surroundings { host, tally, .. } = self.surroundings;
        let Some(victim) = self.busy(pick).await else { return };
        if !host.freeze(victim.pid) {
            return;
        }
        match lasts {
            Some(lasts) => {
                tally.happened(Kind::Freeze);
                tally.led_to(Kind::Freeze, lasts.as_millis() as u64, "ms in all");
                self.surroundings.wait(lasts).await;
                host.thaw(victim.pid);
            }
            None => {
                tally.happened(Kind::Timeout);
                self.frozen.lock().unwrap_or_else(PoisonError::into_inner).insert(victim.pid);
                let before = host.stats().timeouts;
                self.surroundings.wait(host.spec().timeout + Duration::from_secs(1)).await;
                tally.led_to(Kind::Timeout, host.stats().timeouts - before, "invocations ended at the timeout");
                // It was not busy after all, or the faults end early.
                host.thaw(victim.pid);
                self.frozen.lock().unwrap_or_else(PoisonError::into_inner).remove(&victim.pid);
            }
        }
    }
}
