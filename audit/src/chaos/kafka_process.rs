//! The process of Kafka, which is restarted and frozen.

use std::process::Stdio;
use std::time::Duration;

use centinela_local::broker::Broker;
use centinela_local::warden;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio_util::sync::CancellationToken;

use super::surroundings::ChaosError;

/// How long an embedded Kafka that was restarted names no broker in its answers.
const UNREGISTERED: Duration = Duration::from_millis(200);

/// What is known of Kafka's process, and whether a fault has taken it away: one at a time does, and whoever asks something of Kafka waits
/// until it is back. Two restarts at once would stop a Kafka that is only starting, and it would stay away.
#[derive(Debug)]
pub struct KafkaProcess {
    restart: Option<String>,
    /// Locked for writing while Kafka is away.
    id: RwLock<Option<i32>>,
}

impl KafkaProcess {
    /// One that is not embedded: the command that restarts it, and its id on this machine until then. Without them nothing happens to it.
    pub fn new(restart: Option<String>, id: Option<i32>) -> Self {
        Self { restart, id: RwLock::new(id) }
    }

    /// Waits until it may be taken away; None if the faults had to end first.
    pub(super) async fn away(&self, calm: &CancellationToken) -> Option<Away<'_>> {
        tokio::select! {
            biased;
            () = calm.cancelled() => None,
            id = self.id.write() => Some(Away { restart: self.restart.as_deref(), id }),
        }
    }

    /// Waits until it is not away, and keeps it so.
    pub(super) async fn there(&self) -> There<'_> {
        There { _id: self.id.read().await }
    }
}

/// Kafka is nobody else's to take away.
pub(super) struct Away<'a> {
    restart: Option<&'a str>,
    id: RwLockWriteGuard<'a, Option<i32>>,
}

impl Away<'_> {
    /// Restarts it: the embedded one, or as somebody said; false if nobody did.
    pub(super) async fn restart(&mut self, embedded: Option<&Broker>, down: Duration) -> Result<bool, ChaosError> {
        match (embedded, self.restart) {
            (Some(broker), _) => broker.restart_unregistered(down, UNREGISTERED).await?,
            (None, Some(command)) => {
                // Whatever runs under that id afterwards is not the Kafka that was named.
                *self.id = None;
                restart_by(command).await?;
            }
            (None, None) => return Ok(false),
        }
        Ok(true)
    }

    /// Freezes it: the embedded one, or the process that was named; None if nobody named it.
    pub(super) fn freeze<'b>(&self, embedded: Option<&'b Broker>) -> Result<Option<Frozen<'b>>, ChaosError> {
        match (embedded, *self.id) {
            (Some(broker), _) => {
                broker.set_frozen(true);
                Ok(Some(Frozen::Embedded(broker)))
            }
            (None, Some(pid)) => {
                kill(Pid::from_raw(pid), Signal::SIGSTOP).map_err(|reason| ChaosError::Freeze { pid, reason })?;
                Ok(Some(Frozen::External(pid)))
            }
            (None, None) => Ok(None),
        }
    }
}

/// Kafka is there while this is held.
pub(super) struct There<'a> {
    _id: RwLockReadGuard<'a, Option<i32>>,
}

/// A Kafka that answers nothing. It goes on when this is dropped, so that a run that is cut short leaves nobody's Kafka frozen.
pub(super) enum Frozen<'a> {
    Embedded(&'a Broker),
    External(i32),
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        match self {
            Self::Embedded(broker) => broker.set_frozen(false),
            Self::External(pid) => {
                if let Err(reason) = kill(Pid::from_raw(*pid), Signal::SIGCONT) {
                    tracing::warn!(pid, %reason, "kafka could not be continued");
                }
            }
        }
    }
}

/// Runs the command that somebody gave for it.
async fn restart_by(command: &str) -> Result<(), ChaosError> {
    let failed = |reason: String| ChaosError::Restart { command: command.to_owned(), reason };
    let mut shell = tokio::process::Command::new("sh");
    // A group of its own: Ctrl-C is for this command, not for a Kafka that this one starts.
    shell.args(["-c", command]).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let shell = shell.spawn().map_err(|error| failed(error.to_string()))?;
    let _ward = shell.id().map(warden::guard_group);
    let output = shell.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{}: {}", output.status, said.lines().last().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::process::{Child, Command};

    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

    use super::*;

    const DOWN: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn a_restart_begins_when_the_one_before_it_is_over() {
        let directory = tempfile::tempdir().unwrap();
        // `mkdir` fails where another restart has Kafka down.
        let restart = format!("cd {} && mkdir down && sleep 0.05 && rmdir down", directory.path().display());
        let process = KafkaProcess::new(Some(restart), None);
        let calm = CancellationToken::new();
        let once = async || process.away(&calm).await.unwrap().restart(None, DOWN).await;
        let outcomes = tokio::join!(once(), once(), once());
        assert!(matches!(outcomes, (Ok(true), Ok(true), Ok(true))), "{outcomes:?}");
    }

    #[tokio::test]
    async fn who_asks_kafka_waits_until_it_is_back() {
        let process = KafkaProcess::new(Some("true".to_owned()), None);
        let calm = CancellationToken::new();
        let order = RefCell::new(Vec::new());
        let restart = async {
            let mut away = process.away(&calm).await.unwrap();
            away.restart(None, DOWN).await.unwrap();
            order.borrow_mut().push("back");
        };
        let ask = async {
            let _there = process.there().await;
            order.borrow_mut().push("asked");
        };
        // Polled in this order, and a command takes more than one poll.
        tokio::join!(biased; restart, ask);
        assert_eq!(order.into_inner(), ["back", "asked"]);
    }

    #[tokio::test]
    async fn what_has_not_begun_when_the_faults_have_to_end_does_not_happen() {
        let process = KafkaProcess::new(Some("true".to_owned()), None);
        let calm = CancellationToken::new();
        let first = process.away(&calm).await.unwrap();
        let second = async { process.away(&calm).await.is_none() };
        let end = async { calm.cancel() };
        assert!(tokio::join!(biased; second, end).0, "it waits for the first, which is not over");
        drop(first);
        assert!(process.away(&calm).await.is_none());
    }

    #[tokio::test]
    async fn the_process_that_was_named_is_frozen_until_it_is_restarted() {
        let named = Named(Command::new("sleep").arg("600").spawn().unwrap());
        let pid = Pid::from_raw(i32::try_from(named.0.id()).unwrap());
        let process = KafkaProcess::new(Some("true".to_owned()), Some(pid.as_raw()));
        let calm = CancellationToken::new();
        let mut away = process.away(&calm).await.unwrap();
        let frozen = away.freeze(None).unwrap().unwrap();
        assert_eq!(waitpid(pid, Some(WaitPidFlag::WUNTRACED)), Ok(WaitStatus::Stopped(pid, Signal::SIGSTOP)));
        drop(frozen);
        assert_eq!(waitpid(pid, Some(WaitPidFlag::WCONTINUED)), Ok(WaitStatus::Continued(pid)));

        assert!(away.restart(None, DOWN).await.unwrap());
        assert!(away.freeze(None).unwrap().is_none(), "another process may have its id by now");
    }

    #[tokio::test]
    async fn nothing_happens_to_a_kafka_of_which_nothing_is_known() {
        let process = KafkaProcess::new(None, None);
        let mut away = process.away(&CancellationToken::new()).await.unwrap();
        assert!(!away.restart(None, DOWN).await.unwrap());
        assert!(away.freeze(None).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_restart_that_fails_says_what_the_command_said_last() {
        let process = KafkaProcess::new(Some("echo begun >&2; echo no such unit >&2; exit 5".to_owned()), None);
        let mut away = process.away(&CancellationToken::new()).await.unwrap();
        let error = away.restart(None, DOWN).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`echo begun >&2; echo no such unit >&2; exit 5` did not restart kafka: exit status: 5: no such unit"
        );
    }

    struct Named(Child);

    impl Drop for Named {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }
}
