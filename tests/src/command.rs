//! The real command as a person runs it, in a process that never outlives its test.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::binaries;

/// Generous: the first run may have to build the function.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// The files of a run in its directory.
pub(crate) const ENDPOINTS: &str = "endpoints.json";
pub(crate) const SUMMARY: &str = "report.json";
/// What the command reads from its environment, and a test must not inherit.
const VARIABLES: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "CENTINELA_KAFKA_PASSWORD",
];

/// The command of this build, without input and credentials. Cargo builds it for tests of its own package; others ask for it with
/// [`built`](crate::built).
#[must_use]
pub fn centinela(arguments: &[&str]) -> Command {
    let mut command = Command::new(binaries().join("centinela"));
    command.args(arguments).stdin(Stdio::null());
    VARIABLES.iter().for_each(|name| {
        command.env_remove(name);
    });
    command
}

/// Runs a command with `--summary` to its end; returns the report that it wrote, if it wrote one.
///
/// # Panics
/// When it cannot be started, or the report is not JSON.
pub fn reported(command: &mut Command) -> (Output, Option<Value>) {
    let directory = TempDir::new().expect("a directory");
    let summary = directory.path().join(SUMMARY);
    let output = command.arg("--summary").arg(&summary).output().expect("the command can be started");
    (output, report(&summary))
}

pub(crate) fn report(summary: &Path) -> Option<Value> {
    let report = std::fs::read(summary).ok()?;
    Some(serde_json::from_slice(&report).expect("a report is JSON"))
}

/// What it says to a person, without what is shown of a build.
#[must_use]
pub fn lines(output: &Output) -> Vec<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let ours = said.lines().filter(|line| line.starts_with("centinela: ") && !line.contains("building it"));
    ours.map(str::to_owned).collect()
}

/// It says exactly one line, which names all of this, and ends with this exit code.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn assert_one_line(command: &mut Command, exit_code: i32, named: &[&str]) {
    let output = command.output().expect("the command can be started");
    let lines = lines(&output);
    assert_eq!(output.status.code(), Some(exit_code), "{command:?}: {lines:?}");
    let [line] = &lines[..] else { panic!("{command:?}: {lines:?}") };
    for name in named {
        assert!(line.contains(name), "{name} is missing in {line}");
    }
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub struct Process(pub Child);

impl Process {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().expect("the command can be started"))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended and was waited for.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("the process is there");
    }

    /// Waits until it has written a file.
    ///
    /// # Panics
    /// When it ends before, or takes too long.
    pub fn wait_for(&mut self, file: &Path) {
        let until = Instant::now() + PATIENCE;
        while !file.exists() {
            let ended = self.0.try_wait().expect("a child");
            assert!(ended.is_none(), "it ended without {}: {ended:?}", file.display());
            assert!(Instant::now() < until, "it never writes {}", file.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ended_meanwhile = self.0.kill();
            let _reaped = self.0.wait();
        }
    }
}
