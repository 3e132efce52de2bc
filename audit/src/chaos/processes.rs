//! Faults of the functions' processes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use centinela_local::lambda::{EnvironmentInfo, FunctionHost};

use super::kinds::Kind;
use super::surroundings::Surroundings;

/// How long a busy process of a function other than the scoring one is waited for: it may gather records first, or have nothing to do in
/// this run.
const BUSY_LIMIT: Duration = Duration::from_secs(20);
/// An invocation is frozen until its timeout only where that is not longer.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// The processes, and which of them are frozen for good: killing those would spare them their timeout.
pub(super) struct Processes<'a> {
    surroundings: &'a Surroundings<'a>,
    frozen: Mutex<BTreeSet<u32>>,
}

impl<'a> Processes<'a> {
    pub(super) fn new(surroundings: &'a Surroundings<'a>) -> Self {
        Self { surroundings, frozen: Mutex::default() }
    }

    /// The function that a fault meets: the scoring one half of the time, any of the others otherwise.
    fn function(&self, pick: u64, may: impl Fn(&FunctionHost) -> bool) -> Option<&'a Arc<FunctionHost>> {
        let Surroundings { platform, scoring, .. } = self.surroundings;
        let is_other = |host: &&Arc<FunctionHost>| !Arc::ptr_eq(host, scoring) && may(host);
        let others: Vec<_> = platform.functions().map(|(_, host)| host).filter(is_other).collect();
        let place = usize::try_from(pick >> 1).unwrap_or(0).checked_rem(others.len());
        match place.filter(|_| pick % 2 == 1 || !may(scoring)) {
            Some(place) => Some(others[place]),
            None => may(scoring).then_some(scoring),
        }
    }

    /// A process with work in progress: of the function that `pick` says, or of the scoring one if that other has had none for long. None if
    /// the faults had to end before there was one: where no traffic comes, because Kafka is away or a topic is recreated, it takes a while.
    async fn busy(
        &self,
        pick: u64,
        may: impl Fn(&FunctionHost) -> bool,
    ) -> Option<(&'a Arc<FunctionHost>, EnvironmentInfo)> {
        let scoring = self.surroundings.scoring;
        let mut host = self.function(pick, &may)?;
        let until = Instant::now() + BUSY_LIMIT;
        while !self.surroundings.calm.is_cancelled() {
            let busy: Vec<EnvironmentInfo> =
                self.unfrozen(host).into_iter().filter(|environment| environment.busy).collect();
            if let Some(index) = usize::try_from(pick >> 8).unwrap_or(0).checked_rem(busy.len()) {
                return Some((host, busy[index].clone()));
            }
            if until <= Instant::now() && may(scoring) {
                host = scoring;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        None
    }

    fn unfrozen(&self, host: &FunctionHost) -> Vec<EnvironmentInfo> {
        let frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        host.environments().into_iter().filter(|environment| !frozen.contains(&environment.pid)).collect()
    }

    /// Kills a busy process, or with it all of its function that are not frozen.
    pub(super) async fn kill(&self, all: bool, pick: u64) {
        let tally = &self.surroundings.tally;
        let Some((host, victim)) = self.busy(pick, |_| true).await else { return };
        tally.happened_to(Kind::Kill, &host.spec().name);
        let victims = if all { self.unfrozen(host) } else { vec![victim] };
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
        let tally = &self.surroundings.tally;
        let may = |host: &FunctionHost| lasts.is_some() || host.spec().timeout <= TIMEOUT_MAX;
        let Some((host, victim)) = self.busy(pick, may).await else { return };
        if !host.freeze(victim.pid) {
            return;
        }
        match lasts {
            Some(lasts) => {
                tally.happened_to(Kind::Freeze, &host.spec().name);
                tally.led_to(Kind::Freeze, lasts.as_millis() as u64, "ms in all");
                self.surroundings.wait(lasts).await;
                host.thaw(victim.pid);
            }
            None => {
                tally.happened_to(Kind::Timeout, &host.spec().name);
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
