//! The real command, serving what others send.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::built;

const PATIENCE: Duration = Duration::from_secs(120);
/// The file in its directory with the account.
const ACCOUNT: &str = "account.json";

/// `centinela up --rate 0`; it never outlives the test.
#[derive(Debug)]
pub struct Running {
    child: Child,
    directory: TempDir,
    /// What it wrote to its endpoints file.
    pub endpoints: Value,
}

impl Running {
    /// Starts it on free ports and waits until it is ready.
    ///
    /// # Panics
    /// When it is not ready in time.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further arguments.
    ///
    /// # Panics
    /// When it is not ready in time.
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Self {
        let binaries = built(&["centinela", "score-transactions"]);
        let directory = TempDir::new().expect("a directory");
        let file = directory.path().join("endpoints.json");
        let mut child = Command::new(binaries.join("centinela"))
            .args(["up", "--quiet", "--rate", "0", "--endpoints"])
            .arg(&file)
            .arg("--summary")
            .arg(directory.path().join(ACCOUNT))
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
            .expect("the command can be started");
        let until = Instant::now() + PATIENCE;
        while !file.exists() {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "`centinela up` ended before it was ready: {ended:?}");
            assert!(Instant::now() < until, "`centinela up` is never ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        let endpoints = serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("JSON");
        Self { child, directory, endpoints }
    }

    /// The file that says where everything is.
    #[must_use]
    pub fn endpoints_file(&self) -> PathBuf {
        self.directory.path().join("endpoints.json")
    }

    /// A directory of the test's own.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A text of the endpoints file.
    ///
    /// # Panics
    /// When the file has no such text.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> String {
        self.endpoints[name].as_str().unwrap_or_else(|| panic!("no text `{name}` in {}", self.endpoints)).to_owned()
    }

    /// Ctrl-C: it drains, accounts and ends.
    ///
    /// # Panics
    /// When the process cannot be signalled or waited for.
    pub fn end(self) -> ExitStatus {
        self.end_with_account().0
    }

    /// The same, and the account that it wrote; null when it wrote none.
    ///
    /// # Panics
    /// When the process cannot be signalled or waited for.
    pub fn end_with_account(mut self) -> (ExitStatus, Value) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("the command runs");
        let status = self.child.wait().expect("a child");
        let account = std::fs::read(self.directory.path().join(ACCOUNT)).unwrap_or_default();
        (status, serde_json::from_slice(&account).unwrap_or_default())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ended_meanwhile = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}
