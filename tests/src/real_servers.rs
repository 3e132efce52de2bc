//! Apache Kafka and Amazon DynamoDB Local for tests, through `tests/real-servers/run`.
//!
//! They end with the last test that uses them, and when the test process dies in any way: the script stops them when its
//! standard input ends. Nothing is fetched from here; that is `tests/real-servers/run fetch`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;
use tempfile::TempDir;

/// The script's exit code when something that it needs is not installed.
const SKIPPED: i32 = 3;
/// What a shell and `env` answer when there is no Python.
const NO_PYTHON: i32 = 127;

static RUNNING: Mutex<Weak<RealServers>> = Mutex::new(Weak::new());

/// Both servers, running.
#[derive(Debug)]
pub struct RealServers {
    description: Value,
    holder: Child,
    directory: TempDir,
}

impl RealServers {
    /// The servers that every test of this process shares; `None`, after one line on standard error, where Java 17 or the
    /// fetched servers are absent.
    ///
    /// # Panics
    /// When they are there and do not start.
    #[must_use]
    pub fn shared() -> Option<Arc<Self>> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(servers) = running.upgrade() {
            return Some(servers);
        }
        let servers = Arc::new(Self::start()?);
        *running = Arc::downgrade(&servers);
        Some(servers)
    }

    fn start() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory for the servers' data");
        let mut holder = Command::new(script())
            .arg("hold")
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tests/real-servers/run can be executed");
        let mut line = String::new();
        let answers = holder.stdout.take().expect("standard output is a pipe");
        BufReader::new(answers).read_line(&mut line).expect("the script's answer is text");
        if let Ok(description) = serde_json::from_str(&line) {
            return Some(Self { description, holder, directory });
        }
        let mut reason = String::new();
        holder.stderr.take().expect("standard error is a pipe").read_to_string(&mut reason).expect("text");
        match holder.wait().expect("the script ends").code() {
            Some(SKIPPED) => say(reason.trim()),
            Some(NO_PYTHON) => say("skipped: Python 3, Java 17 and Maven are needed to run the real servers"),
            code => panic!("the real servers did not start ({code:?}): {reason}"),
        }
        None
    }

    /// Kafka's bootstrap servers, without TLS and without a name.
    #[must_use]
    pub fn kafka(&self) -> &str {
        self.text("/kafka/bootstrap")
    }

    /// DynamoDB's endpoint URL. It accepts every access key.
    #[must_use]
    pub fn dynamodb(&self) -> &str {
        self.text("/dynamodb/url")
    }

    /// A value of `servers.json`, by its JSON pointer.
    ///
    /// # Panics
    /// When there is no text there.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        self.description.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer}"))
    }

    /// Stops Kafka in order and starts it again with the same data and ports; returns when it serves.
    ///
    /// # Panics
    /// When it does not start again.
    pub fn restart_kafka(&self) {
        self.run("restart-kafka");
    }

    fn run(&self, command: &str) {
        let output = Command::new(script()).arg(command).arg(self.directory.path()).output().expect("the script runs");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for RealServers {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        if let Err(error) = self.holder.wait() {
            say(&format!("the real servers may still run: {error}"));
        }
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("real-servers/run")
}

/// One line that the test harness does not capture.
fn say(line: &str) {
    if let Err(error) = writeln!(std::io::stderr(), "{line}") {
        panic!("standard error is closed ({error}), and this was to be said: {line}");
    }
}
