//! A host of the fixture function, which notes what is delivered to it and does what records tell it.

use std::sync::Arc;
use std::time::Duration;

use centinela_local::lambda::{FunctionHost, FunctionSpec};
use tempfile::TempDir;

use crate::binaries;

/// A delivered or handled record: partition key, offset, value.
pub type Entry = (String, i64, String);

/// The host, and where its function keeps what it noted.
pub struct Fixture {
    /// The host.
    pub host: Arc<FunctionHost>,
    state: TempDir,
}

impl Fixture {
    /// Starts a host with so many environments at most.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(timeout: Duration, environments: usize) -> Self {
        Self::start_with(timeout, environments, &[]).await
    }

    /// The same with further environment variables.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with(timeout: Duration, environments: usize, variables: &[(&str, &str)]) -> Self {
        let state = TempDir::new().expect("a directory");
        let told = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let state_variable = ("FIXTURE_STATE".to_owned(), state.path().display().to_string());
        let spec = FunctionSpec {
            name: "fixture".to_owned(),
            binary: binaries().join("fixture-function"),
            environment: told.chain([state_variable]).collect(),
            timeout,
            memory_mb: 512,
            concurrency_max: environments,
            nice: 0,
        };
        Self { host: FunctionHost::start(spec).await.expect("a host"), state }
    }

    /// One list per invocation, answered or not.
    ///
    /// # Panics
    /// When the function's notes cannot be read.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Vec<Entry>> {
        self.lines("deliveries")
    }

    /// What was handled, in the order of handling.
    ///
    /// # Panics
    /// When the function's notes cannot be read.
    #[must_use]
    pub fn handled(&self) -> Vec<Entry> {
        self.lines("handled").into_iter().flatten().collect()
    }

    /// The ends of windows: when each began, its shard, whether it ended early, and what was handled in it.
    ///
    /// # Panics
    /// When the function's notes cannot be read.
    #[must_use]
    pub fn windows(&self) -> Vec<(String, String, bool, Option<String>)> {
        let text = std::fs::read_to_string(self.state.path().join("windows")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a window")).collect()
    }

    fn lines(&self, file: &str) -> Vec<Vec<Entry>> {
        let text = std::fs::read_to_string(self.state.path().join(file)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of entries")).collect()
    }
}

/// The offsets of a partition, by its key.
#[must_use]
pub fn offsets_of(entries: &[Entry], partition: &str) -> Vec<i64> {
    entries.iter().filter(|entry| entry.0 == partition).map(|entry| entry.1).collect()
}
