//! One execution environment: a process of the function's binary, its Runtime API port and its end.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use centinela_serve::BoxError;
use centinela_serve::warden::{self, Ward};
use nix::sys::signal::Signal;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

use crate::accounting::Accounts;
use crate::error::InvokeError;
use crate::logs::{LastWords, LogHub, LogStream, forward};
use crate::process;
use crate::runtime_api::{Delivery, Reply, Session, serve};
use crate::spec::FunctionSpec;

/// How long a dead process's pipes are read for its last words.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(200);
/// Region told to a function that does not bring its own.
const DEFAULT_REGION: &str = "us-east-1";

/// How an environment ended.
#[derive(Clone, Debug)]
pub(super) struct Exit {
    pub(super) status: ExitStatus,
    pub(super) last_words: String,
}

/// A living or dead environment.
pub(super) struct Environment {
    pub(super) id: u64,
    pub(super) pid: u32,
    pub(super) started_at: SystemTime,
    pub(super) started: Instant,
    pub(super) busy: AtomicBool,
    pub(super) answered: AtomicBool,
    session: Arc<Session>,
    deliveries: mpsc::Sender<Delivery>,
    /// False from the moment at which the process may be reaped and its id reused.
    signalable: Mutex<bool>,
    exit: watch::Receiver<Option<Exit>>,
}

/// What outlives an environment.
pub(super) struct Surroundings {
    pub(super) accounts: Accounts,
    pub(super) logs: Arc<LogHub>,
}

impl Environment {
    /// Spawns the process; it is not ready for work until [`Environment::initialised`] says so.
    /// `on_exit` runs after the process has been reaped and counted.
    pub(super) async fn start(
        id: u64,
        spec: &FunctionSpec,
        surroundings: &Arc<Surroundings>,
        on_exit: impl FnOnce() + Send + 'static,
    ) -> Result<Arc<Environment>, BoxError> {
        let (session, deliveries) = Session::new(function_arn(spec));
        let server = serve(Arc::clone(&session)).await?;
        let api = format!("127.0.0.1:{}", server.port());
        let started = Instant::now();
        let mut child = command(id, spec, &api).spawn()?;
        surroundings.accounts.started();
        let pid = child.id().unwrap_or_default();
        process::step_back(pid, spec.nice);
        let ward = warden::guard_group(pid);
        let (exit_sender, exit) = watch::channel(None);
        let environment = Arc::new(Environment {
            id,
            pid,
            started_at: SystemTime::now(),
            started,
            busy: AtomicBool::new(true),
            answered: AtomicBool::new(false),
            session,
            deliveries,
            signalable: Mutex::new(true),
            exit,
        });
        let supervised = Arc::clone(&environment);
        let surroundings = Arc::clone(surroundings);
        tokio::spawn(async move {
            let exit = supervise(&supervised, &mut child, ward, &surroundings).await;
            drop(server);
            on_exit();
            exit_sender.send_replace(exit);
        });
        Ok(environment)
    }

    /// Waits for the first request for work, for at most `limit`.
    pub(super) async fn initialised(&self, limit: Duration) -> Result<Duration, InvokeError> {
        tokio::select! {
            biased;
            () = self.session.ready() => Ok(self.started.elapsed()),
            exit = self.ended() => Err(InvokeError::InitFailed { message: self.init_story(exit) }),
            () = tokio::time::sleep(limit) => {
                self.kill();
                self.ended().await;
                let message = format!("it did not ask for work within {} ms", limit.as_millis());
                Err(InvokeError::InitFailed { message })
            }
        }
    }

    fn init_story(&self, exit: Option<Exit>) -> String {
        let ending = match exit {
            Some(exit) => format!("its process ended ({}); last words: {}", exit.status, exit.last_words),
            None => "its process ended".to_owned(),
        };
        match self.session.init_error() {
            Some(error) => format!("{}: {}; {ending}", error.error_type, error.message),
            None => ending,
        }
    }

    /// Delivers one event and waits for its end. A process that is too slow is dead when this returns.
    pub(super) async fn invoke(&self, payload: Bytes, timeout: Duration) -> Result<Bytes, InvokeError> {
        let (reply, mut answer) = oneshot::channel();
        let delivery = Delivery { payload, timeout, reply };
        if self.deliveries.send(delivery).await.is_err() {
            return Err(crashed(self.ended().await));
        }
        tokio::select! {
            biased;
            Ok(reply) = &mut answer => match reply {
                Reply::Success(body) => Ok(body),
                Reply::Error(error) => Err(InvokeError::Function { error_type: error.error_type, message: error.message }),
                Reply::TooLarge => Err(InvokeError::ResponseTooLarge),
            },
            exit = self.ended() => Err(crashed(exit)),
            () = tokio::time::sleep(timeout) => {
                self.kill();
                self.ended().await;
                Err(InvokeError::Timeout { after: timeout })
            }
        }
    }

    /// Waits until the process is gone and counted.
    pub(super) async fn ended(&self) -> Option<Exit> {
        let mut exit = self.exit.clone();
        exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone())
    }

    pub(super) fn is_alive(&self) -> bool {
        *self.signalable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    pub(super) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    pub(super) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(super) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let signalable = self.signalable.lock().unwrap_or_else(PoisonError::into_inner);
        if *signalable {
            process::signal_group(self.pid, signal);
        }
    }
}

fn crashed(exit: Option<Exit>) -> InvokeError {
    match exit {
        Some(exit) => InvokeError::Crashed { status: exit.status, last_words: exit.last_words },
        None => InvokeError::Stopped,
    }
}

/// Follows the process to its end: forwards what it prints, counts what it cost, reaps it.
async fn supervise(
    environment: &Environment,
    child: &mut Child,
    ward: Ward,
    surroundings: &Surroundings,
) -> Option<Exit> {
    let pid = environment.pid;
    let last_words = Arc::new(LastWords::default());
    let (hub, words) = (&surroundings.logs, &last_words);
    let stdout = child
        .stdout
        .take()
        .map(|pipe| tokio::spawn(forward(pipe, pid, LogStream::Stdout, Arc::clone(hub), Arc::clone(words))));
    let stderr = child
        .stderr
        .take()
        .map(|pipe| tokio::spawn(forward(pipe, pid, LogStream::Stderr, Arc::clone(hub), Arc::clone(words))));
    process::ended(pid).await;
    // What the process may have started in its group ends with it, as a Lambda sandbox does.
    environment.kill();
    *environment.signalable.lock().unwrap_or_else(PoisonError::into_inner) = false;
    drop(ward);
    surroundings.accounts.died(centinela_procfs::cpu_time(pid).unwrap_or_default());
    let status = process::reap(child, pid).await;
    let drained = tokio::time::timeout(LAST_WORDS_WAIT, async {
        for reader in [stdout, stderr].into_iter().flatten() {
            if let Err(error) = reader.await {
                tracing::warn!(pid, %error, "the reader of an environment's output failed");
            }
        }
    });
    if drained.await.is_err() {
        tracing::warn!(pid, "something still holds the output of an environment that has ended");
    }
    status.map(|status| Exit { status, last_words: last_words.text() })
}

fn command(id: u64, spec: &FunctionSpec, api: &str) -> Command {
    let task_root = spec.binary.parent().unwrap_or(Path::new("/"));
    let mut command = Command::new(&spec.binary);
    command
        .env_clear()
        .envs(inherited())
        .envs(lambda_environment(id, spec, api))
        .env("LAMBDA_TASK_ROOT", task_root)
        .current_dir(task_root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: Ctrl-C in the terminal stops the platform, and the platform stops the functions.
        .process_group(0)
        .kill_on_drop(true);
    command
}

fn inherited() -> impl Iterator<Item = (&'static str, std::ffi::OsString)> {
    ["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
fn lambda_environment(id: u64, spec: &FunctionSpec, api: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let region = region(spec).to_owned();
    let reserved = [
        ("AWS_DEFAULT_REGION", region.clone()),
        ("AWS_REGION", region),
        ("TZ", ":UTC".to_owned()),
        ("LANG", "en_US.UTF-8".to_owned()),
    ];
    variables.extend(reserved.map(|(name, value)| (name.to_owned(), value)));
    variables.extend(spec.environment.clone());
    let fixed = [
        ("AWS_LAMBDA_FUNCTION_NAME", spec.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", spec.memory_mb.to_string()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", spec.name)),
        ("AWS_LAMBDA_LOG_STREAM_NAME", format!("[$LATEST]{id:032x}")),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_RUNTIME_API", api.to_owned()),
        ("_HANDLER", "bootstrap".to_owned()),
    ];
    variables.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
    variables
}

fn region(spec: &FunctionSpec) -> &str {
    spec.environment.get("AWS_REGION").map_or(DEFAULT_REGION, String::as_str)
}

/// The ARN under which the function is known on this machine.
pub(super) fn function_arn(spec: &FunctionSpec) -> String {
    format!("arn:aws:lambda:{}:000000000000:function:{}", region(spec), spec.name)
}

/// Marks an environment as free or taken, for those who only look.
pub(super) fn set_busy(environment: &Environment, busy: bool) {
    environment.busy.store(busy, Ordering::Relaxed);
}
