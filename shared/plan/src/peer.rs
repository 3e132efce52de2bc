//! The usual stack at AWS's prices, for the same load: Kafka, Spark Structured Streaming with a model in its executors, Redis for state.
//!
//! It is built fairly: the same topics and retention, three zones, nodes for the load with a third of room, no licence, no people. It keeps
//! its state in memory with replicas, answers at least once, and has no cap on what a mistake costs.

use serde::Serialize;

use crate::bill::flows;
use crate::growth::cheapest_brokers;
use crate::{Bill, HOURS_A_MONTH, Measured, PlanError, Prices, SECONDS_A_MONTH, Sizes, Workload};

/// Processor time of a transaction in Spark, in seconds. Measured beside this project: Flink 173 µs live on one machine, and Spark three to
/// five times as much; this is five times.
const SPARK_CPU_S: f64 = 865e-6;
/// Share of a processor that a streaming job is planned for.
const SPARK_BUSY: f64 = 0.6;
const PROCESSORS: f64 = 4.0;
/// At least one executor in each zone, and the driver.
const EXECUTORS_MIN: f64 = 3.0;
/// A third of this is a replica in another zone; a node does so many operations a second with room.
const REDIS_NODES_MIN: f64 = 3.0;
const REDIS_OPERATIONS: f64 = 60_000.0;
/// Read user, read device, write both.
const OPERATIONS: f64 = 4.0;
/// Usable memory of a cache.r7g.large, and bytes of a user with its devices in Redis.
const REDIS_BYTES: f64 = 10e9;
const USER_BYTES: f64 = 2_000.0;
/// Bytes of a transaction on the way to and from Redis.
const REDIS_TRAFFIC: f64 = 3_000.0;
const OTHER_ZONE: f64 = 2.0 / 3.0;
const GB: f64 = 1e9;
/// Logs of a cluster in GB a month, at any rate.
const LOGS_GB: f64 = 100.0;
const ZONES: f64 = 3.0;

/// A part of the usual stack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// What it is.
    pub what: String,
    /// Dollars a month.
    pub usd_month: f64,
    /// Where the number of pieces comes from.
    pub assumption: &'static str,
}

/// The usual stack's bill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Peer {
    /// Dollars a month.
    pub total_usd_month: f64,
    /// Dollars per million decisions.
    pub per_million_usd: f64,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// What the usual stack costs for this load; `ours` gives what both have: the lake, queries, the API.
///
/// # Errors
/// A price, a measured unit or a size is missing.
pub fn usual(
    sizes: &Sizes,
    workload: &Workload,
    measured: &Measured,
    prices: &Prices,
    ours: &Bill,
) -> Result<Peer, PlanError> {
    // With compressed user actions too, so that it is not beaten by a topic's setting.
    let mut plain = sizes.clone();
    plain.topics.iter_mut().for_each(|topic| topic.zstd |= topic.name == "user_actions");
    plain.brokers = cheapest_brokers(&plain, workload, measured, prices, None)?;
    let kafka = Bill::new(&plain, workload, measured, prices)?;
    let per_second = workload.per_second();
    let (executors, redis) = (executors(per_second), redis_nodes(per_second, workload.users));
    let node = prices.usd("emr.m5.xlarge.ec2")? + prices.usd("emr.m5.xlarge.emr")?;
    let traffic = flows(&plain, workload, measured)?.iter().map(crate::bill::Flow::bytes_per_second).sum::<f64>()
        + per_second * REDIS_TRAFFIC;
    let across = traffic * SECONDS_A_MONTH / GB * OTHER_ZONE * 2.0;
    let parts = vec![
        part(
            format!("Kafka: {} {}", plain.brokers.count, plain.brokers.kind),
            kafka.of("MSK"),
            "the same topics; the cheapest brokers that carry them",
        ),
        part(
            format!("Spark on EMR: {:.0} m5.xlarge", executors + 1.0),
            (executors + 1.0) * node * HOURS_A_MONTH,
            "865 µs of processor time a transaction at 60 %, a driver, one in each zone at least",
        ),
        part(
            format!("Redis: {redis:.0} cache.r7g.large"),
            redis * prices.usd("elasticache.r7g.large")? * HOURS_A_MONTH,
            "four operations a transaction, every shard with a replica",
        ),
        part(
            "traffic between zones".to_owned(),
            across * prices.usd("transfer.cross_az")?,
            "what is written to Kafka and asked of Redis, two thirds of it in another zone",
        ),
        part(
            "NAT gateways".to_owned(),
            ZONES * prices.usd("vpc.nat_hour")? * HOURS_A_MONTH,
            "one in each zone, without data",
        ),
        part(
            "lake".to_owned(),
            ours.of("S3")
                - ours.of_lines("objects of the archive")
                - ours.of_lines("reads of the compaction")
                - ours.of_lines("lists of the compaction"),
            "the same files; Spark writes them larger",
        ),
        part("queries and API".to_owned(), ours.of("Athena") + ours.of("API Gateway"), "the same"),
        part(
            "logs, metrics, alarms".to_owned(),
            LOGS_GB * prices.usd("logs.ingest")? + ours.of_lines("alarms") + ours.of_lines("metrics of our own"),
            "100 GB of logs",
        ),
    ];
    let total_usd_month = parts.iter().map(|part| part.usd_month).sum();
    Ok(Peer { total_usd_month, per_million_usd: total_usd_month / (workload.per_month() / 1e6), parts })
}

/// Executors of Spark, without the driver.
fn executors(per_second: f64) -> f64 {
    (per_second * SPARK_CPU_S / SPARK_BUSY / PROCESSORS).ceil().max(EXECUTORS_MIN)
}

/// Nodes of Redis: every shard has a replica.
fn redis_nodes(per_second: f64, users: f64) -> f64 {
    let by_load = (per_second * OPERATIONS / REDIS_OPERATIONS).ceil();
    let by_memory = (users * USER_BYTES / REDIS_BYTES).ceil();
    (2.0 * by_load.max(by_memory)).max(REDIS_NODES_MIN)
}

fn part(what: String, usd_month: f64, assumption: &'static str) -> Part {
    Part { what, usd_month, assumption }
}
