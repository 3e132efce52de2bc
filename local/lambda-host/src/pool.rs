//! The environments of one function: started on demand, kept warm, bounded, replaced when they die.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::accounting::{Accounts, Ending};
use crate::concurrency::Concurrency;
use crate::environment::{Environment, Surroundings, set_busy};
use crate::error::InvokeError;
use crate::logs::LogHub;
use crate::spec::FunctionSpec;

/// Lambda allows an initialisation 10 s and then runs it once more within the first invocation's timeout.
const INIT_LIMIT: Duration = Duration::from_secs(10);
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

pub(super) struct Pool {
    pub(super) spec: FunctionSpec,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) concurrency: Arc<Concurrency>,
    pub(super) running: watch::Sender<usize>,
    pub(super) stopping: AtomicBool,
    ids: AtomicU64,
    environments: Mutex<Environments>,
}

#[derive(Default)]
pub(super) struct Environments {
    /// Warm and free, the latest used last.
    idle: Vec<Arc<Environment>>,
    pub(super) alive: BTreeMap<u64, Arc<Environment>>,
    failed_starts: u32,
    failure: Option<(Instant, String)>,
}

/// Counts an invocation as running until dropped.
struct Running(Arc<Pool>);

impl Running {
    fn new(pool: &Arc<Pool>) -> Running {
        pool.running.send_modify(|running| *running += 1);
        Running(Arc::clone(pool))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

impl Pool {
    pub(super) fn new(spec: FunctionSpec) -> Pool {
        let surroundings = Surroundings { accounts: Accounts::default(), logs: Arc::new(LogHub::default()) };
        Pool {
            concurrency: Arc::new(Concurrency::new(spec.concurrency_max)),
            spec,
            surroundings: Arc::new(surroundings),
            running: watch::Sender::new(0),
            stopping: AtomicBool::new(false),
            ids: AtomicU64::new(1),
            environments: Mutex::default(),
        }
    }

    /// Those that are alive, oldest first.
    pub(super) fn environments(&self) -> Vec<EnvironmentInfo> {
        let environments = self.lock();
        let info = environments.alive.values().map(|environment| EnvironmentInfo {
            pid: environment.pid,
            started_at: environment.started_at,
            busy: environment.busy.load(Ordering::Relaxed),
        });
        info.collect()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Environments> {
        self.environments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn signal(&self, pid: u32, send: impl Fn(&Environment)) -> bool {
        let environments = self.lock();
        let found = environments.alive.values().find(|environment| environment.pid == pid && environment.is_alive());
        found.inspect(|environment| send(environment)).is_some()
    }

    pub(super) fn kill_all(&self) -> usize {
        let environments = self.lock();
        environments.alive.values().filter(|environment| environment.is_alive()).inspect(|found| found.kill()).count()
    }

    pub(super) async fn run(
        self: Arc<Self>,
        payload: Bytes,
        _permit: OwnedSemaphorePermit,
    ) -> Result<Bytes, InvokeError> {
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
            && let Some(rss_mb) = centinela_procfs::rss_mb_max(environment.pid)
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

    pub(super) fn release(&self, environment: Arc<Environment>) {
        set_busy(&environment, false);
        let mut environments = self.lock();
        if environments.alive.contains_key(&environment.id) {
            environments.idle.push(environment);
        }
    }

    /// Starts one environment and waits until it asks for work. After a failed start the next one is not tried before a pause
    /// that doubles; until then the last failure is the answer.
    pub(super) async fn start_environment(self: &Arc<Self>) -> Result<Arc<Environment>, InvokeError> {
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
            let pool: Weak<Pool> = Arc::downgrade(self);
            move || {
                if let Some(pool) = pool.upgrade() {
                    let mut environments = pool.lock();
                    environments.alive.remove(&id);
                    environments.idle.retain(|environment| environment.id != id);
                }
            }
        };
        let environment = match Environment::start(id, &self.spec, &self.surroundings, forget).await {
            Ok(environment) => environment,
            Err(error) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                let message = format!("{} cannot be started: {error}{cause}", self.spec.binary.display());
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
