//! The cheapest brokers that carry a load.

use crate::bill::{Flow, flows};
use crate::limits::{broker_bytes, broker_types};
use crate::{Brokers, HOURS_A_MONTH, Measured, PlanError, Prices, SECONDS_A_MONTH, Sizes, Workload, pieces};

/// Room above the mean rate.
const HEADROOM: f64 = 1.5;
/// Disks are planned to be so full when retention is.
const FULL: f64 = 0.7;
/// Largest disk of a broker, in GiB: <https://docs.aws.amazon.com/msk/latest/developerguide/limits.html>.
const VOLUME_MAX: f64 = 16_384.0;
/// Disks are sized in steps of this many GiB.
const VOLUME_STEP: f64 = 500.0;
/// The stacks' alarms watch so many brokers. MSK takes 60 without ZooKeeper.
const BROKERS_MAX: u32 = 9;
/// Copies of partitions that every broker type here takes, by AWS's recommendation.
const PARTITIONS_PER_BROKER: f64 = 1_000.0;
const GB: f64 = 1e9;
const GIB: f64 = 1_073_741_824.0;

/// The cheapest brokers, in three zones, that carry all topics with half as much again in room and disks at most 70 % full; of Express or
/// Standard only where `express` says so. Burstable ones are left out: their processor time runs out.
///
/// # Errors
/// No known type carries the load, or a price is missing.
pub fn cheapest_brokers(
    sizes: &Sizes,
    workload: &Workload,
    measured: &Measured,
    prices: &Prices,
    express: Option<bool>,
) -> Result<Brokers, PlanError> {
    let flows = flows(sizes, workload, measured)?;
    let written: f64 = flows.iter().map(Flow::bytes_per_second).sum();
    let kept: f64 = flows.iter().map(|flow| flow.kept_bytes).sum();
    let copies: f64 = sizes.topics.iter().map(|topic| f64::from(topic.partitions) * f64::from(topic.replication)).sum();
    let mut best: Option<(f64, Brokers)> = None;
    for (kind, takes) in broker_types().iter().filter(|(kind, _)| !kind.contains(".t3.")) {
        let is_express = kind.starts_with("express.");
        if express.is_some_and(|wanted| wanted != is_express) {
            continue;
        }
        // Nobody grows into smaller brokers.
        if is_express == sizes.brokers.is_express() && *takes < broker_bytes(&sizes.brokers.kind)? {
            continue;
        }
        let by_load = written * HEADROOM / takes;
        let by_disk = if is_express { 0.0 } else { 3.0 * kept / GIB / FULL / VOLUME_MAX };
        let count =
            pieces(by_load.max(by_disk).max(copies / PARTITIONS_PER_BROKER)).max(1).div_ceil(3).saturating_mul(3);
        if count > BROKERS_MAX {
            continue;
        }
        let (volume_gib, storage) = storage(is_express, kept, written, count, prices)?;
        let usd = f64::from(count) * prices.usd(&format!("msk.broker.{kind}"))? * HOURS_A_MONTH + storage;
        if best.as_ref().is_none_or(|(least, _)| usd < *least) {
            let kept = &sizes.brokers;
            let (kafka, monitoring) = (kept.kafka.clone(), kept.monitoring.clone());
            best = Some((usd, Brokers { kind: (*kind).to_owned(), count, volume_gib, kafka, monitoring }));
        }
    }
    best.map(|(_, brokers)| brokers).ok_or(PlanError::NoBrokers(written / 1e6))
}

/// Disk of each broker in GiB, and dollars a month for keeping and writing.
fn storage(is_express: bool, kept: f64, written: f64, count: u32, prices: &Prices) -> Result<(u32, f64), PlanError> {
    if is_express {
        let a_month = written * SECONDS_A_MONTH / GB;
        let usd = kept / GB * prices.usd("msk.express.storage")? + a_month * prices.usd("msk.express.written")?;
        return Ok((0, usd));
    }
    let each = 3.0 * kept / GIB / FULL / f64::from(count.max(1));
    let volume_gib = (each / VOLUME_STEP).ceil().max(1.0) * VOLUME_STEP;
    let volume_gib = volume_gib.min(VOLUME_MAX);
    Ok((pieces(volume_gib), volume_gib * f64::from(count) * prices.usd("msk.storage")?))
}
