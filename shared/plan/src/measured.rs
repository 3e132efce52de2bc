//! What one transaction takes, measured by runs of the real functions on one machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::PlanError;

/// Memory with which a function has one processor, in MB: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>.
pub const PROCESSOR_MB: f64 = 1_769.0;

/// Units of a run, and what was by hand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Which figures came from where.
    pub about: String,
    /// The day of the runs.
    pub measured_on: String,
    /// What they ran on.
    pub machine: String,
    /// The command that wrote this.
    pub command: String,
    /// The runs that the invocation's cost was fitted to.
    pub runs: Vec<Run>,
    /// DynamoDB units per transaction, by table; the marks' reads come by batch.
    pub tables: BTreeMap<String, TableUnits>,
    /// Labels per transaction of the run that these are from, above 0: what the labels' table takes goes by the labels.
    pub labels_per_transaction: f64,
    /// Read units for the committed marks of one partition in a batch.
    pub mark_read_units: f64,
    /// An invocation of the function that decides.
    pub invocation: Invocation,
    /// Every other function, per record and invocation.
    pub functions: BTreeMap<String, FunctionUnits>,
    /// Records of each topic.
    pub records: BTreeMap<String, RecordUnits>,
    /// Bytes of a metric line, and of one more record in it.
    pub log_line_bytes: f64,
    /// Bytes that each record adds to the line.
    pub log_record_bytes: f64,
    /// Metrics of our own that are sent while all is well.
    pub custom_metrics: u32,
    /// Files of the lake.
    pub lake: Lake,
}

/// A run that the invocation's cost was fitted to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Transactions a second.
    pub per_second: f64,
    /// Mean records of an invocation.
    pub batch: f64,
    /// Mean duration of an invocation, in milliseconds, the waits of its calls included.
    pub invocation_ms: f64,
    /// Processor time of an invocation, in milliseconds.
    pub cpu_ms: f64,
    /// Median and 99 % quantile of the calls' drawn latency, in milliseconds; 0 without `--latency`.
    pub call_ms: [f64; 2],
    /// Median, 99 % and 99.9 % quantile from the intended send time to the decision at a consumer, in milliseconds.
    pub latency_ms: [f64; 3],
    /// Environments that were there.
    pub slots: u32,
    /// Partitions of the topic.
    pub partitions: u32,
}

/// Units of a table per transaction.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableUnits {
    /// Write request units.
    pub write: f64,
    /// Read request units.
    pub read: f64,
}

/// An invocation of the function that decides, beside the waits for its three calls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invocation {
    /// Milliseconds of an empty batch, with one processor.
    pub base_ms: f64,
    /// Milliseconds of each record, with one processor.
    pub record_ms: f64,
    /// Of an empty batch's, those that are processor time: they stretch with less memory.
    pub cpu_base_ms: f64,
    /// Of each record's, those that are processor time.
    pub cpu_record_ms: f64,
}

impl Invocation {
    /// Milliseconds of an empty batch and of each record with this much memory: processor time stretches, waiting does not.
    #[must_use]
    pub fn with_memory(self, memory_mb: f64) -> (f64, f64) {
        let stretched = (PROCESSOR_MB / memory_mb.max(1.0)).max(1.0) - 1.0;
        (self.base_ms + stretched * self.cpu_base_ms, self.record_ms + stretched * self.cpu_record_ms)
    }
}

/// What a function beside the main job takes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionUnits {
    /// Processor time of an invocation, in milliseconds.
    pub cpu_ms: f64,
    /// Processor time of each record, in microseconds.
    pub record_cpu_us: f64,
    /// Calls of an invocation that wait for each other.
    pub calls: f64,
    /// Records that one more such call is made for; 0 is never.
    pub records_per_call: f64,
}

/// Records of a topic.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordUnits {
    /// Mean bytes of key and value.
    pub bytes: f64,
    /// How much smaller zstd makes batches, by their records.
    pub zstd: Vec<Zstd>,
}

/// What zstd makes of batches of one size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zstd {
    /// Records of a batch.
    pub batch: f64,
    /// Bytes before, divided by bytes after.
    pub ratio: f64,
}

/// Files of the lake.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lake {
    /// Bytes of a record in the archive's raw objects.
    pub raw_record_bytes: f64,
    /// Bytes of a record in compacted files.
    pub record_bytes: f64,
    /// Bytes of a compacted file.
    pub file_bytes: f64,
}

/// Bytes that a Kafka batch takes beside its records, and a record beside its key and value:
/// <https://kafka.apache.org/documentation/#recordbatch>.
const BATCH_BYTES: f64 = 61.0;
const RECORD_BYTES: f64 = 10.0;

impl RecordUnits {
    /// Bytes of a record on a broker's disk, in batches of this many records.
    #[must_use]
    pub fn stored_bytes(&self, batch: f64, compressed: bool) -> f64 {
        let batch = batch.max(1.0);
        let ratio = if compressed { self.ratio(batch) } else { 1.0 };
        (self.bytes + RECORD_BYTES) / ratio + BATCH_BYTES / batch
    }

    /// Between two measured batches it grows with the logarithm of the batch; outside of them it stays.
    fn ratio(&self, batch: f64) -> f64 {
        let mut below: Option<Zstd> = None;
        for point in &self.zstd {
            if batch <= point.batch {
                return below.map_or(point.ratio, |below| {
                    let share = (batch / below.batch).ln() / (point.batch / below.batch).ln();
                    below.ratio + share * (point.ratio - below.ratio)
                });
            }
            below = Some(*point);
        }
        below.map_or(1.0, |last| last.ratio)
    }
}

impl Measured {
    /// Reads measured units.
    ///
    /// # Errors
    /// They are not JSON of this form, or a unit is not a number that can be.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let measured: Self = serde_json::from_str(text).map_err(|error| PlanError::Measured(error.to_string()))?;
        measured.check()?;
        Ok(measured)
    }

    /// Refuses units that no run has: what is not finite or negative, batches below 1.
    ///
    /// # Errors
    /// [`PlanError::Unit`] with the field.
    pub fn check(&self) -> Result<(), PlanError> {
        let value = serde_json::to_value(self).map_err(|error| PlanError::Measured(error.to_string()))?;
        non_negative("", &value)?;
        if self.labels_per_transaction <= 0.0 {
            let (field, value) = ("labels_per_transaction".to_owned(), self.labels_per_transaction.to_string());
            return Err(PlanError::Unit {
                field,
                value,
                limit: "above 0: the units of the labels' table are divided by it",
            });
        }
        for (topic, record) in &self.records {
            let mut batch = 0.0;
            for point in &record.zstd {
                if point.batch <= batch || point.ratio < 1.0 {
                    let field = format!("records.{topic}.zstd");
                    let value = format!("{} of {}", point.ratio, point.batch);
                    return Err(PlanError::Unit { field, value, limit: "batches that grow, and ratios of at least 1" });
                }
                batch = point.batch;
            }
        }
        Ok(())
    }

    /// Records of a topic.
    ///
    /// # Errors
    /// It was not measured.
    pub fn record(&self, topic: &str) -> Result<&RecordUnits, PlanError> {
        self.records.get(topic).ok_or_else(|| PlanError::Measured(format!("no records of topic \"{topic}\"")))
    }
}

fn non_negative(path: &str, value: &Value) -> Result<(), PlanError> {
    match value {
        Value::Number(number) if number.as_f64().is_some_and(|number| 0.0 <= number) => Ok(()),
        // What is not finite becomes null on its way to JSON.
        Value::Number(_) | Value::Null => {
            let limit = "a number that is at least 0";
            Err(PlanError::Unit { field: path.to_owned(), value: value.to_string(), limit })
        }
        Value::Array(items) => items.iter().try_for_each(|item| non_negative(path, item)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            non_negative(&path, value)
        }),
        Value::String(_) | Value::Bool(_) => Ok(()),
    }
}
