//! What the functions print: their metric lines, summed up for the account, and every line into a file on request.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use centinela_local::lambda::LogLine;
use centinela_telemetry::emf;
use hdrhistogram::Histogram;
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::sync::mpsc;

/// Longest stage that is told apart, in microseconds.
const STAGE_US_MAX: u64 = 3_600_000_000;

/// The fields of a metric line that the account uses.
#[derive(Debug, Deserialize)]
struct MetricLine {
    #[serde(rename = "Decided", default)]
    decided: u64,
    #[serde(rename = "BatchRecords", default)]
    records: u64,
    #[serde(rename = "Replayed", default)]
    replayed: u64,
    #[serde(rename = "Stale", default)]
    stale: u64,
    #[serde(rename = "Unsettled", default)]
    unsettled: u64,
    #[serde(rename = "Conflicts", default)]
    conflicts: u64,
    #[serde(default)]
    decode_us: Option<u64>,
    #[serde(default)]
    read_us: Option<u64>,
    #[serde(default)]
    decide_us: Option<u64>,
    #[serde(default)]
    commit_us: Option<u64>,
    #[serde(default)]
    publish_us: Option<u64>,
    #[serde(default)]
    total_us: Option<u64>,
}

/// Sums over all metric lines.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Records answered from the users' remembered decisions.
    pub replayed: u64,
    /// Records settled long ago.
    pub stale: u64,
    /// Records that were to be delivered again.
    pub unsettled: u64,
    /// Lost races.
    pub conflicts: u64,
    /// Records per invocation.
    pub batch: Histogram<u64>,
    /// Microseconds per stage of an invocation that decided something.
    pub stages_us: BTreeMap<&'static str, Histogram<u64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { replayed: 0, stale: 0, unsettled: 0, conflicts: 0, batch: histogram(), stages_us: BTreeMap::new() }
    }
}

impl Metrics {
    fn add(&mut self, line: &MetricLine) {
        self.replayed += line.replayed;
        self.stale += line.stale;
        self.unsettled += line.unsettled;
        self.conflicts += line.conflicts;
        self.batch.saturating_record(line.records.max(1));
        if line.decided == 0 {
            return;
        }
        let stages = [
            ("decode", line.decode_us),
            ("read", line.read_us),
            ("decide", line.decide_us),
            ("commit", line.commit_us),
            ("publish", line.publish_us),
            ("invocation", line.total_us),
        ];
        for (name, micros) in stages {
            if let Some(micros) = micros {
                self.stages_us.entry(name).or_insert_with(histogram).saturating_record(micros.max(1));
            }
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, STAGE_US_MAX, 3).expect("1 to 3,600,000,000 with 3 digits are valid bounds")
}

/// Collects the lines of one function.
#[derive(Clone, Default)]
pub struct FunctionLogs(Arc<Mutex<Metrics>>);

impl FunctionLogs {
    /// Sums so far.
    pub fn metrics(&self) -> Metrics {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads lines until the function host ends, and writes each into `file`.
    pub async fn collect(self, mut lines: mpsc::Receiver<Arc<LogLine>>, file: Option<SharedFile>) {
        let metric_start = "{\"_aws\":";
        while let Some(line) = lines.recv().await {
            if line.text.starts_with(metric_start) {
                match serde_json::from_str::<MetricLine>(&line.text) {
                    Ok(metrics) => self.0.lock().unwrap_or_else(PoisonError::into_inner).add(&metrics),
                    Err(error) => tracing::warn!(%error, namespace = emf::NAMESPACE, "a metric line cannot be read"),
                }
            }
            if let Some(file) = &file {
                file.write(&line.text).await;
            }
        }
    }
}

/// A file that several functions' lines go into.
#[derive(Clone)]
pub struct SharedFile(Arc<tokio::sync::Mutex<OpenFile>>);

struct OpenFile {
    path: PathBuf,
    file: BufWriter<File>,
    /// Why nothing more is written.
    failure: Option<String>,
}

impl OpenFile {
    fn note(&mut self, outcome: std::io::Result<()>) {
        if let Err(error) = outcome {
            self.failure = Some(format!("the logs cannot be written to {}: {error}", self.path.display()));
        }
    }
}

impl SharedFile {
    /// Creates the file.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn create(path: &Path) -> std::io::Result<Self> {
        let file = BufWriter::new(File::create(path).await?);
        Ok(Self(Arc::new(tokio::sync::Mutex::new(OpenFile { path: path.to_owned(), file, failure: None }))))
    }

    async fn write(&self, line: &str) {
        let mut open = self.0.lock().await;
        if open.failure.is_some() {
            return;
        }
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        let outcome = open.file.write_all(&bytes).await;
        open.note(outcome);
    }

    /// Writes what is still in memory; says why not everything could be written.
    pub async fn finish(&self) -> Option<String> {
        let mut open = self.0.lock().await;
        if open.failure.is_none() {
            let outcome = open.file.flush().await;
            open.note(outcome);
        }
        open.failure.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    centinela_telemetry::counts! {
        struct Counts {
            decided: always "Decided",
            replayed: "Replayed",
            stale: "Stale",
            batch_records: always "BatchRecords",
        }
    }

    #[test]
    fn a_metric_line_of_the_functions_is_understood() {
        let counts = Counts { decided: 3, replayed: 2, stale: 1, batch_records: 6 };
        let metrics = emf::Metrics { counts, processing_ms: Vec::new(), stages: vec![("commit_us", 2_000)] };
        let line = emf::line(&emf::Invocation::default(), &metrics);
        assert!(line.starts_with("{\"_aws\":"));
        let mut metrics = Metrics::default();
        metrics.add(&serde_json::from_str(&line).unwrap());
        assert_eq!((metrics.replayed, metrics.stale, metrics.batch.max()), (2, 1, 6));
        assert_eq!(metrics.stages_us["commit"].max(), 2_000);
    }
}
