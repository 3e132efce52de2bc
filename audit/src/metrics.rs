//! The functions' metric lines, summed up for the report.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram;
use serde::Deserialize;

use crate::figures::micros_histogram;

/// What a line begins with that is one of metrics.
const METRICS: &str = "{\"_aws\":";

/// The fields of a metric line that the report uses.
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
    /// Records that were complete long ago.
    pub stale: u64,
    /// Bytes of all metric lines, their line feeds included.
    pub bytes: u64,
    /// Records per invocation.
    pub batch: Histogram<u64>,
    /// Microseconds per stage of an invocation that decided something.
    pub stages_us: BTreeMap<&'static str, Histogram<u64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { replayed: 0, stale: 0, bytes: 0, batch: micros_histogram(), stages_us: BTreeMap::new() }
    }
}

impl Metrics {
    fn add(&mut self, line: &MetricLine) {
        self.replayed += line.replayed;
        self.stale += line.stale;
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
                self.stages_us.entry(name).or_insert_with(micros_histogram).saturating_record(micros.max(1));
            }
        }
    }
}

/// The sums over one function's lines; clones share them.
#[derive(Clone, Default)]
pub struct FunctionMetrics(Arc<Mutex<Metrics>>);

impl FunctionMetrics {
    /// Sums so far.
    pub fn sums(&self) -> Metrics {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in what the function has printed, if it is a metric line.
    pub fn take(&self, line: &str) {
        if !line.starts_with(METRICS) {
            return;
        }
        match serde_json::from_str::<MetricLine>(line) {
            Ok(metrics) => {
                let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                sums.add(&metrics);
                sums.bytes += line.len() as u64 + 1;
            }
            Err(error) => tracing::warn!(%error, "a metric line cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use centinela_telemetry::emf;

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
        let function = FunctionMetrics::default();
        function.take("not a metric line");
        let line = emf::line(&emf::Invocation::default(), &metrics);
        function.take(&line);
        let metrics = function.sums();
        assert_eq!(metrics.bytes, line.len() as u64 + 1);
        assert_eq!((metrics.replayed, metrics.stale, metrics.batch.max()), (2, 1, 6));
        assert_eq!(metrics.stages_us["commit"].max(), 2_000);
    }
}
