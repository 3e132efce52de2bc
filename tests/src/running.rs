//! The real command, serving what others send.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::built;
use crate::command::{ENDPOINTS, Process, SUMMARY, centinela, report};

/// `centinela up`, ready; it never outlives the test.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub process: Process,
    directory: TempDir,
    /// What it wrote to its endpoints file.
    pub endpoints: Value,
}

impl Running {
    /// Starts it on free ports, without traffic of its own, and waits until it is ready.
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
        let _directory = built(&["centinela", "score-transactions"]);
        Self::start_as(|_| {
            let mut command = centinela(&["up", "--quiet", "--rate", "0"]);
            command.args(arguments);
            command
        })
    }

    /// Starts a command that is `centinela up` in the end; it is made for the directory of the run.
    ///
    /// # Panics
    /// When it is not ready in time.
    #[must_use]
    pub fn start_as(command: impl FnOnce(&Path) -> Command) -> Self {
        let directory = TempDir::new().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let mut command = command(directory.path());
        command.arg("--endpoints").arg(at(ENDPOINTS)).arg("--summary").arg(at(SUMMARY));
        let mut process = Process::spawn(&mut command);
        process.wait_for(&at(ENDPOINTS));
        let endpoints = serde_json::from_slice(&std::fs::read(at(ENDPOINTS)).expect("a file")).expect("JSON");
        Self { process, directory, endpoints }
    }

    /// The file that says where everything is.
    #[must_use]
    pub fn endpoints_file(&self) -> PathBuf {
        self.directory.path().join(ENDPOINTS)
    }

    /// The directory of the run and the test.
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

    /// Where the system shows the processes of the functions.
    ///
    /// # Panics
    /// When the endpoints file does not name them.
    #[must_use]
    pub fn function_processes(&self) -> Vec<PathBuf> {
        let functions = self.endpoints["functions"].as_array().expect("functions");
        let pids = functions.iter().flat_map(|function| function["pids"].as_array().expect("process ids"));
        pids.map(|pid| PathBuf::from(format!("/proc/{pid}"))).collect()
    }

    /// Ctrl-C: it drains, reconciles and ends. Returns the report that it wrote; null when it wrote none.
    ///
    /// # Panics
    /// When the process cannot be signalled or waited for.
    pub fn end(mut self) -> (ExitStatus, Value) {
        self.process.signal(Signal::SIGINT);
        let status = self.process.0.wait().expect("a child");
        (status, self.report())
    }

    /// The report that it wrote; null while there is none.
    #[must_use]
    pub fn report(&self) -> Value {
        report(&self.directory.path().join(SUMMARY)).unwrap_or_default()
    }
}
