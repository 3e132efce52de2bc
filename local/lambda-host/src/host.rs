//! The environments of one function: started on demand, kept warm, bounded, replaced when they die.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::accounting::{Accounts, Ending, FunctionStats};
use super::environment::{Environment, Surroundings, function_arn, set_busy};
use super::logs::{LogHub, LogLine};
use super::{FunctionSpec, HostError, InvokeError, PAYLOAD_BYTES_MAX, process};

/// Lambda allows an initialisation 10 s and then runs it once more within the first invocation's timeout.
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// Between SIGTERM and SIGKILL.
const TERMINATION_GRACE: Duration = Duration::from_millis(500);
/// Wait after the first failed start; doubles with each further one.
const START_BACKOFF: Duration = Duration::from_millis(100);
const START_BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Invocations of a function between two looks at an environment's memory.
const MEMORY_LOOK_INVOCATIONS: u64 = 64;

/// One environment, as seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentInfo {
    /// Process id.
    pub pid: u32,
    /// When the process was spawned.
    pub started_at: SystemTime,
    /// Whether it is initialising or handling an invocation.
    pub busy: bool,
}

/// Hosts one function. Dropping it kills its environments at once; [`FunctionHost::stop`] lets them finish.
pub struct FunctionHost {
    shared: Arc<Shared>,
}

struct Shared {
    spec: FunctionSpec,
    surroundings: Arc<Surroundings>,
    permits: Arc<Semaphore>,
    running: watch::Sender<usize>,
    stopping: AtomicBool,
    ids: AtomicU64,
    environments: Mutex<Environments>,
}

#[derive(Default)]
struct Environments {
    /// Warm and free, the latest used last.
    idle: Vec<Arc<Environment>>,
    alive: BTreeMap<u64, Arc<Environment>>,
    failed_starts: u32,
    failure: Option<(Instant, String)>,
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
        let surroundings = Surroundings { accounts: Accounts::default(), logs: Arc::new(LogHub::default()) };
        let shared = Shared {
            permits: Arc::new(Semaphore::new(spec.concurrency_max.min(Semaphore::MAX_PERMITS))),
            spec,
            surroundings: Arc::new(surroundings),
            running: watch::Sender::new(0),
            stopping: AtomicBool::new(false),
            ids: AtomicU64::new(1),
            environments: Mutex::default(),
        };
        Ok(Arc::new(FunctionHost { shared: Arc::new(shared) }))
    }

    /// What is hosted; the binary's path is absolute.
    #[must_use]
    pub fn spec(&self) -> &FunctionSpec {
        &self.shared.spec
    }

    /// The function's ARN on this machine.
    #[must_use]
    pub fn arn(&self) -> String {
        function_arn(&self.shared.spec)
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
        let Ok(permit) = Arc::clone(&self.shared.permits).acquire_owned().await else {
            return Err(InvokeError::Stopped);
        };
        let shared = Arc::clone(&self.shared);
        let run = tokio::spawn(shared.run(payload, permit));
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
        while self.shared.lock().alive.len() < count.min(self.shared.spec.concurrency_max) {
            let Ok(permit) = Arc::clone(&self.shared.permits).acquire_owned().await else {
                return Err(InvokeError::Stopped);
            };
            match self.shared.start_environment().await {
                Ok(environment) => started.push((environment, permit)),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        for (environment, _permit) in started {
            self.shared.release(environment);
        }
        outcome
    }

    /// Everything that the function prints from now on. A listener that is too slow misses lines, which the stats count.
    #[must_use]
    pub fn logs(&self) -> mpsc::Receiver<Arc<LogLine>> {
        self.shared.surroundings.logs.listen()
    }

    /// Accounts so far. Reads a few lines of procfs per living environment.
    #[must_use]
    pub fn stats(&self) -> FunctionStats {
        let accounts = &self.shared.surroundings.accounts;
        let alive: Vec<Arc<Environment>> = self.shared.lock().alive.values().cloned().collect();
        alive
            .iter()
            .filter_map(|environment| process::rss_mb_max(environment.pid))
            .for_each(|mb| accounts.saw_memory(mb));
        let mut stats = accounts.copy();
        stats.cpu_time += alive.iter().filter_map(|environment| process::cpu_time(environment.pid)).sum::<Duration>();
        stats.log_lines_dropped = self.shared.surroundings.logs.dropped();
        stats.environments = alive.len();
        stats.busy = alive.iter().filter(|environment| environment.busy.load(Ordering::Relaxed)).count();
        stats
    }

    /// The environments that are alive, oldest first.
    #[must_use]
    pub fn environments(&self) -> Vec<EnvironmentInfo> {
        let environments = self.shared.lock();
        let info = environments.alive.values().map(|environment| EnvironmentInfo {
            pid: environment.pid,
            started_at: environment.started_at,
            busy: environment.busy.load(Ordering::Relaxed),
        });
        info.collect()
    }

    /// Kills one environment with SIGKILL, busy or not. False when no living environment has this process id.
    pub fn kill(&self, pid: u32) -> bool {
        self.shared.signal(pid, Environment::kill)
    }

    /// Stops one environment where it is, as a host does that has no time for it. It goes on with [`FunctionHost::thaw`]; an
    /// invocation that is frozen for longer than the timeout ends there. False when no living environment has this process id.
    pub fn freeze(&self, pid: u32) -> bool {
        self.shared.signal(pid, Environment::freeze)
    }

    /// Lets a frozen environment go on. False when no living environment has this process id.
    pub fn thaw(&self, pid: u32) -> bool {
        self.shared.signal(pid, Environment::thaw)
    }

    /// Kills every environment with SIGKILL; says how many. The next invocation starts a new one.
    pub fn kill_all(&self) -> usize {
        self.shared.kill_all()
    }

    /// Refuses new invocations, lets those in progress finish for up to `grace`, then ends every process: SIGTERM, and SIGKILL
    /// half a second later. No process is left when this returns.
    pub async fn stop(&self, grace: Duration) {
        let shared = &self.shared;
        shared.stopping.store(true, Ordering::SeqCst);
        shared.permits.close();
        let mut running = shared.running.subscribe();
        if tokio::time::timeout(grace, running.wait_for(|running| *running == 0)).await.is_err() {
            tracing::warn!(function = shared.spec.name, "invocations were still running after the grace period");
        }
        let alive: Vec<Arc<Environment>> = shared.lock().alive.values().cloned().collect();
        alive.iter().for_each(|environment| environment.terminate());
        let all_ended = async {
            for environment in &alive {
                environment.ended().await;
            }
        };
        if tokio::time::timeout(TERMINATION_GRACE, all_ended).await.is_err() {
            shared.kill_all();
        }
        // A start that was under way while stopping began is found by the second look.
        loop {
            let Some(environment) = shared.lock().alive.values().next().cloned() else {
                return;
            };
            environment.kill();
            environment.ended().await;
        }
    }
}

impl Drop for FunctionHost {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.permits.close();
        self.shared.kill_all();
    }
}

/// Counts an invocation as running until dropped.
struct Running(Arc<Shared>);

impl Running {
    fn new(shared: &Arc<Shared>) -> Running {
        shared.running.send_modify(|running| *running += 1);
        Running(Arc::clone(shared))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Environments> {
        self.environments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, pid: u32, send: impl Fn(&Environment)) -> bool {
        let environments = self.lock();
        let found = environments.alive.values().find(|environment| environment.pid == pid && environment.is_alive());
        found.inspect(|environment| send(environment)).is_some()
    }

    fn kill_all(&self) -> usize {
        let environments = self.lock();
        environments.alive.values().filter(|environment| environment.is_alive()).inspect(|found| found.kill()).count()
    }

    async fn run(self: Arc<Self>, payload: Bytes, _permit: OwnedSemaphorePermit) -> Result<Bytes, InvokeError> {
        let _running = Running::new(&self);
        if self.stopping.load(Ordering::SeqCst) {
            return Err(InvokeError::Stopped);
        }
        let environment = match self.take_idle() {
            Some(environment) => environment,
            None => self.start_environment().await?,
        };
        let delivered = Instant::now();
        let outcome = environment.invoke(payload, self.spec.timeout).await;
        self.account(&environment, &outcome, delivered.elapsed());
        match outcome {
            Ok(_) | Err(InvokeError::Function { .. } | InvokeError::ResponseTooLarge) => self.release(environment),
            Err(_) => {}
        }
        outcome
    }

    fn account(&self, environment: &Environment, outcome: &Result<Bytes, InvokeError>, took: Duration) {
        let accounts = &self.surroundings.accounts;
        let ending = match outcome {
            Ok(_) => Ending::Success,
            Err(InvokeError::Timeout { .. }) => Ending::Timeout,
            Err(InvokeError::Crashed { .. } | InvokeError::Stopped) => Ending::Crash,
            Err(_) => Ending::Error,
        };
        accounts.ended(ending, took);
        if ending == Ending::Success && !environment.answered.swap(true, Ordering::Relaxed) {
            accounts.first_decision(environment.started.elapsed());
        }
        if accounts.invocations().is_multiple_of(MEMORY_LOOK_INVOCATIONS)
            && let Some(rss_mb) = process::rss_mb_max(environment.pid)
        {
            accounts.saw_memory(rss_mb);
        }
    }

    fn take_idle(&self) -> Option<Arc<Environment>> {
        let mut environments = self.lock();
        let environment = std::iter::from_fn(|| environments.idle.pop()).find(|environment| environment.is_alive())?;
        set_busy(&environment, true);
        Some(environment)
    }

    fn release(&self, environment: Arc<Environment>) {
        set_busy(&environment, false);
        let mut environments = self.lock();
        if environments.alive.contains_key(&environment.id) {
            environments.idle.push(environment);
        }
    }

    /// Starts one environment and waits until it asks for work. After a failed start the next one is not tried before a pause
    /// that doubles; until then the last failure is the answer.
    async fn start_environment(self: &Arc<Self>) -> Result<Arc<Environment>, InvokeError> {
        if let Some(message) = self.lock().refusal() {
            return Err(InvokeError::InitFailed { message });
        }
        let outcome = self.try_start().await;
        let accounts = &self.surroundings.accounts;
        let mut environments = self.lock();
        match &outcome {
            Ok((_, after)) => {
                accounts.initialised(*after);
                environments.failed_starts = 0;
                environments.failure = None;
            }
            Err(InvokeError::InitFailed { message }) if !self.stopping.load(Ordering::SeqCst) => {
                accounts.init_failed();
                let pause =
                    START_BACKOFF.saturating_mul(1 << environments.failed_starts.min(10)).min(START_BACKOFF_MAX);
                environments.failed_starts += 1;
                environments.failure = Some((Instant::now() + pause, message.clone()));
                tracing::warn!(
                    function = self.spec.name,
                    message,
                    pause_ms = pause.as_millis(),
                    "a function does not start"
                );
            }
            Err(_) => return Err(InvokeError::Stopped),
        }
        outcome.map(|(environment, _)| environment)
    }

    async fn try_start(self: &Arc<Self>) -> Result<(Arc<Environment>, Duration), InvokeError> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let forget = {
            let shared: Weak<Shared> = Arc::downgrade(self);
            move || {
                if let Some(shared) = shared.upgrade() {
                    let mut environments = shared.lock();
                    environments.alive.remove(&id);
                    environments.idle.retain(|environment| environment.id != id);
                }
            }
        };
        let environment = match Environment::start(id, &self.spec, &self.surroundings, forget).await {
            Ok(environment) => environment,
            Err(error) => {
                let message = format!("{} cannot be started: {error}", self.spec.binary.display());
                return Err(InvokeError::InitFailed { message });
            }
        };
        self.lock().alive.insert(id, Arc::clone(&environment));
        if !environment.is_alive() {
            self.lock().alive.remove(&id);
        }
        if self.stopping.load(Ordering::SeqCst) {
            environment.kill();
        }
        let after = environment.initialised(INIT_LIMIT + self.spec.timeout).await?;
        Ok((environment, after))
    }
}

impl Environments {
    fn refusal(&self) -> Option<String> {
        let (not_before, message) = self.failure.as_ref()?;
        let pause = not_before.checked_duration_since(Instant::now())?;
        let attempts = self.failed_starts;
        Some(format!("{message} (failed {attempts} times in a row, next attempt in {} ms)", pause.as_millis()))
    }
}
