//! The host of one function: its invocations, its accounts and its end.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::accounting::{Durations, FunctionStats};
use crate::environment::{Environment, function_arn};
use crate::error::{HostError, InvokeError};
use crate::logs::LogLine;
use crate::pool::{EnvironmentInfo, Pool};
use crate::spec::{FunctionSpec, PAYLOAD_BYTES_MAX};

/// Between SIGTERM and SIGKILL.
const TERMINATION_GRACE: Duration = Duration::from_millis(500);

/// Hosts one function. Dropping it kills its environments at once; [`FunctionHost::stop`] lets them finish.
pub struct FunctionHost {
    pool: Arc<Pool>,
}

impl FunctionHost {
    /// Checks the specification. Environments start with the first invocation, or with [`FunctionHost::warm`].
    ///
    /// # Errors
    /// When the binary is missing or not executable, or a value is zero.
    pub async fn start(mut spec: FunctionSpec) -> Result<Arc<FunctionHost>, HostError> {
        let millis = u64::try_from(spec.timeout.as_millis()).unwrap_or(u64::MAX);
        let least = [("timeout in ms", millis), ("concurrency_max", spec.concurrency_max as u64)];
        if let Some((field, value)) = least.into_iter().find(|(_, value)| *value == 0) {
            return Err(HostError::OutOfRange { function: spec.name, field, value, least: 1 });
        }
        let looked_at = tokio::fs::canonicalize(&spec.binary).await;
        spec.binary = match looked_at {
            Ok(path) => path,
            Err(source) => {
                return Err(HostError::BinaryMissing { function: spec.name, path: spec.binary, source });
            }
        };
        let executable = tokio::fs::metadata(&spec.binary)
            .await
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0);
        if !executable {
            return Err(HostError::NotExecutable { function: spec.name, path: spec.binary });
        }
        Ok(Arc::new(FunctionHost { pool: Arc::new(Pool::new(spec)) }))
    }

    /// What is hosted; the binary's path is absolute.
    #[must_use]
    pub fn spec(&self) -> &FunctionSpec {
        &self.pool.spec
    }

    /// The function's ARN on this machine.
    #[must_use]
    pub fn arn(&self) -> String {
        function_arn(&self.pool.spec)
    }

    /// Runs one invocation, first come first served when every environment is busy. An invocation that was delivered runs to
    /// its end even when the caller stops waiting for it.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub fn invoke(&self, payload: Bytes) -> BoxFuture<'_, Result<Bytes, InvokeError>> {
        Box::pin(self.deliver(payload))
    }

    async fn deliver(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(InvokeError::PayloadTooLarge { bytes: payload.len() });
        }
        if self.pool.concurrency.is_none_allowed() {
            self.pool.surroundings.accounts.throttled();
            return Err(InvokeError::Throttled);
        }
        let Ok(permit) = self.pool.concurrency.turn().await else {
            return Err(InvokeError::Stopped);
        };
        let pool = Arc::clone(&self.pool);
        let run = tokio::spawn(pool.run(payload, permit));
        run.await.unwrap_or(Err(InvokeError::Stopped))
    }

    /// Starts environments until `count` (at most the concurrency) are warm, so that the first invocations find them.
    ///
    /// # Errors
    /// The first start that fails, in the function's own words.
    pub fn warm(&self, count: usize) -> BoxFuture<'_, Result<(), InvokeError>> {
        Box::pin(self.start_until(count))
    }

    async fn start_until(&self, count: usize) -> Result<(), InvokeError> {
        let mut started = Vec::new();
        let mut outcome = Ok(());
        while self.pool.lock().alive.len() < count.min(self.pool.spec.concurrency_max) {
            let Ok(permit) = self.pool.concurrency.turn().await else {
                return Err(InvokeError::Stopped);
            };
            match self.pool.start_environment().await {
                Ok(environment) => started.push((environment, permit)),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        for (environment, _permit) in started {
            self.pool.release(environment);
        }
        outcome
    }

    /// Lets at most so many invocations run at a time from now on, and never more than it was started with. With 0 every new one is
    /// refused as throttled; what runs runs on.
    pub fn allow(&self, concurrency: usize) {
        self.pool.concurrency.allow(concurrency);
    }

    /// How many invocations may run at a time now.
    #[must_use]
    pub fn allowed(&self) -> usize {
        self.pool.concurrency.allowed()
    }

    /// Everything that the function prints from now on. A listener that is too slow misses lines, which the stats count.
    #[must_use]
    pub fn logs(&self) -> mpsc::Receiver<Arc<LogLine>> {
        self.pool.surroundings.logs.listen()
    }

    /// Accounts so far. Reads a few lines of procfs per living environment.
    #[must_use]
    pub fn stats(&self) -> FunctionStats {
        let accounts = &self.pool.surroundings.accounts;
        let alive: Vec<Arc<Environment>> = self.pool.lock().alive.values().cloned().collect();
        alive
            .iter()
            .filter_map(|environment| centinela_procfs::rss_mb_max(environment.pid))
            .for_each(|mb| accounts.saw_memory(mb));
        let mut stats = accounts.copy();
        stats.cpu_time +=
            alive.iter().filter_map(|environment| centinela_procfs::cpu_time(environment.pid)).sum::<Duration>();
        stats.log_lines_dropped = self.pool.surroundings.logs.dropped();
        stats.environments = alive.len();
        stats.busy = alive.iter().filter(|environment| environment.busy.load(Ordering::Relaxed)).count();
        stats
    }

    /// How long the invocations took that ended since the last call, whoever made it.
    #[must_use]
    pub fn take_durations(&self) -> Durations {
        self.pool.surroundings.accounts.take_durations()
    }

    /// The environments that are alive, oldest first.
    #[must_use]
    pub fn environments(&self) -> Vec<EnvironmentInfo> {
        self.pool.environments()
    }

    /// Kills one environment with SIGKILL, busy or not. False when no living environment has this process id.
    pub fn kill(&self, pid: u32) -> bool {
        self.pool.signal(pid, Environment::kill)
    }

    /// Stops one environment where it is, as a host does that has no time for it. It goes on with [`FunctionHost::thaw`]; an
    /// invocation that is frozen for longer than the timeout ends there. False when no living environment has this process id.
    pub fn freeze(&self, pid: u32) -> bool {
        self.pool.signal(pid, Environment::freeze)
    }

    /// Lets a frozen environment go on. False when no living environment has this process id.
    pub fn thaw(&self, pid: u32) -> bool {
        self.pool.signal(pid, Environment::thaw)
    }

    /// Kills every environment with SIGKILL; says how many. The next invocation starts a new one.
    pub fn kill_all(&self) -> usize {
        self.pool.kill_all()
    }

    /// Refuses new invocations, lets those in progress finish for up to `grace`, then ends every process: SIGTERM, and SIGKILL
    /// half a second later. No process is left when this returns.
    pub async fn stop(&self, grace: Duration) {
        let pool = &self.pool;
        pool.stopping.store(true, Ordering::SeqCst);
        pool.concurrency.close();
        let mut running = pool.running.subscribe();
        if tokio::time::timeout(grace, running.wait_for(|running| *running == 0)).await.is_err() {
            tracing::warn!(function = pool.spec.name, "invocations were still running after the grace period");
        }
        let alive: Vec<Arc<Environment>> = pool.lock().alive.values().cloned().collect();
        alive.iter().for_each(|environment| environment.terminate());
        let all_ended = async {
            for environment in &alive {
                environment.ended().await;
            }
        };
        if tokio::time::timeout(TERMINATION_GRACE, all_ended).await.is_err() {
            pool.kill_all();
        }
        // A start that was under way while stopping began is found by the second look.
        loop {
            let Some(environment) = pool.lock().alive.values().next().cloned() else {
                return;
            };
            environment.kill();
            environment.ended().await;
        }
    }
}

impl Drop for FunctionHost {
    fn drop(&mut self) {
        self.pool.stopping.store(true, Ordering::SeqCst);
        self.pool.concurrency.close();
        self.pool.kill_all();
    }
}
