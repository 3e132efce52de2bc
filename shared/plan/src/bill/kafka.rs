//! MSK: brokers, disks, and what functions send across zones.

use serde::Serialize;

use super::{Basis, Line, a_month, hours, rate_of};
use crate::{Measured, PlanError, Sizes, Workload};

const SERVICE: &str = "MSK";
const GB: f64 = 1e9;
const GIB: f64 = 1_073_741_824.0;
const SECONDS_AN_HOUR: f64 = 3_600.0;
/// Decisions of one invocation go to as many partitions as they have keys, so most Kafka batches are small.
const DECISIONS_PER_KAFKA_BATCH: f64 = 1.3;
/// Two zones of three are others.
const OTHER_ZONE: f64 = 2.0 / 3.0;

/// What flows through a topic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flow {
    /// The topic.
    pub topic: String,
    /// Records a second.
    pub per_second: f64,
    /// Bytes of a record on one broker's disk.
    pub record_bytes: f64,
    /// Bytes that one copy of the topic holds when its retention is full.
    pub kept_bytes: f64,
}

impl Flow {
    /// Bytes a second that producers write.
    #[must_use]
    pub fn bytes_per_second(&self) -> f64 {
        self.per_second * self.record_bytes
    }
}

/// What flows through every topic.
///
/// # Errors
/// The records of a topic were not measured.
pub fn flows(sizes: &Sizes, workload: &Workload, measured: &Measured) -> Result<Vec<Flow>, PlanError> {
    let mut flows = Vec::new();
    for topic in &sizes.topics {
        let per_second = rate_of(&topic.name, workload);
        if per_second <= 0.0 {
            continue;
        }
        // Decisions come compressed from the function.
        let (batch, compressed) = match topic.name.as_str() {
            "approved" | "blocked" => (DECISIONS_PER_KAFKA_BATCH, true),
            "user_actions" => (workload.action_batch, topic.zstd),
            _ => (workload.transaction_batch, topic.zstd),
        };
        let record_bytes = measured.record(&topic.name)?.stored_bytes(batch, compressed);
        let kept_bytes = per_second * record_bytes * topic.retention_hours * SECONDS_AN_HOUR;
        flows.push(Flow { topic: topic.name.clone(), per_second, record_bytes, kept_bytes });
    }
    Ok(flows)
}

pub(super) fn lines(basis: &Basis<'_>) -> Result<Vec<Line>, PlanError> {
    let flows = flows(basis.sizes, basis.workload, basis.measured)?;
    let brokers = &basis.sizes.brokers;
    let count = f64::from(brokers.count);
    let mut lines = vec![basis.line(
        SERVICE,
        format!("{} brokers {}", brokers.count, brokers.kind),
        (hours(count), "broker-hours"),
        &format!("msk.broker.{}", brokers.kind),
        "day and night; a cluster cannot be paused",
    )?];
    let kept: f64 = flows.iter().map(|flow| flow.kept_bytes).sum();
    let written: f64 = flows.iter().map(Flow::bytes_per_second).sum();
    if brokers.is_express() {
        let held = format!("{:.0} GB when retention is full, paid once", kept / GB);
        lines.push(basis.line(SERVICE, "storage", (kept / GB, "GB"), "msk.express.storage", held)?);
        let in_a_second = format!("{:.1} MB a second", written / 1e6);
        lines.push(basis.line(
            SERVICE,
            "data written",
            (a_month(written) / GB, "GB"),
            "msk.express.written",
            in_a_second,
        )?);
    } else {
        let provisioned = f64::from(brokers.volume_gib) * count;
        let copies = 3.0 * kept / GIB;
        let full = 100.0 * copies / provisioned.max(1.0);
        let assumption = format!(
            "{} GiB each, {full:.0} % full when retention is ({copies:.0} GiB in three copies)",
            brokers.volume_gib
        );
        lines.push(basis.line(SERVICE, "disks", (provisioned, "GB"), "msk.storage", assumption)?);
    }
    // Of the functions; what the shop's own producers send is on the shop's bill, and whether a mapping's reads are billed is not known.
    let decisions = flows.iter().filter(|flow| matches!(flow.topic.as_str(), "approved" | "blocked"));
    let sent: f64 = decisions.map(Flow::bytes_per_second).sum();
    let across = a_month(sent) / GB * OTHER_ZONE * 2.0;
    lines.push(basis.line(
        "Data transfer",
        "decisions to brokers in other zones",
        (across, "GB"),
        "transfer.cross_az",
        "two thirds of what the function writes, paid on both sides; replication is free",
    )?);
    Ok(lines)
}
