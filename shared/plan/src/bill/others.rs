//! What is left: the stream, the network, the API, analysts' queries, keys and secrets.

use super::{Basis, Line, a_month, hours};
use crate::PlanError;

const GB: f64 = 1e9;
/// A PUT payload unit of Kinesis.
const PUT_UNIT_BYTES: f64 = 25_000.0;
const DECISIONS: &str = "approved";
/// Kinesis asks KMS about every five minutes for each shard and client; DynamoDB for each table and connection; logs and queues rarely.
/// <https://docs.aws.amazon.com/streams/latest/dev/costs-performance.html>
const KEY_ASKED_EVERY_S: f64 = 300.0;
/// Clients that ask: environments of functions at work, and one for each table and topic.
const KEY_CLIENTS_BESIDE: f64 = 40.0;
const REQUESTS_A_PRICE: f64 = 10_000.0;

pub(super) fn lines(basis: &Basis<'_>) -> Result<Vec<Line>, PlanError> {
    let sizes = basis.sizes;
    let per_second = basis.workload.per_second();
    let bytes = basis.measured.record(DECISIONS)?.bytes;
    let mut lines = Vec::new();
    let shards = f64::from(sizes.shards);
    lines.push(basis.line(
        "Kinesis",
        format!("{shards:.0} shards"),
        (hours(shards), "shard-hours"),
        "kinesis.shard_hour",
        "provisioned, so that there is an upper limit",
    )?);
    let units = a_month(per_second * (bytes / PUT_UNIT_BYTES).ceil().max(1.0)) / 1e6;
    lines.push(basis.line(
        "Kinesis",
        "payload units",
        (units, "million"),
        "kinesis.put_units_million",
        "one record of up to 25 KB for each decision",
    )?);
    network(basis, bytes, &mut lines)?;
    let requests = basis.workload.api_requests_month / 1e6;
    lines.push(basis.line(
        "API Gateway",
        "requests",
        (requests, "million"),
        "api.million",
        "assumed: transactions come through Kafka, the API is for look-ups and a few decisions",
    )?);
    let scanned = basis.workload.scanned_tb_month;
    lines.push(basis.line(
        "Athena",
        "scanned",
        (scanned, "TB"),
        "athena.terabyte",
        "assumed: ten analysts, 20 questions a working day, 2 GB each",
    )?);
    keys(basis, &mut lines)?;
    Ok(lines)
}

fn keys(basis: &Basis<'_>, lines: &mut Vec<Line>) -> Result<(), PlanError> {
    let sizes = basis.sizes;
    let shards = f64::from(sizes.shards);
    lines.push(basis.line(
        "KMS",
        "keys",
        (f64::from(sizes.keys), "keys"),
        "kms.key",
        "as in the stacks, before yearly rotations",
    )?);
    let clients = f64::from(basis.deciding.slots)
        * (shards + f64::from(u32::try_from(sizes.tables.len()).unwrap_or(u32::MAX)))
        + KEY_CLIENTS_BESIDE;
    let asked = a_month(clients / KEY_ASKED_EVERY_S) / REQUESTS_A_PRICE;
    lines.push(basis.line(
        "KMS",
        "requests",
        (asked, "ten thousand"),
        "kms.requests_ten_thousand",
        "services keep a data key for five minutes, by client, shard and table",
    )?);
    lines.push(basis.line(
        "Secrets Manager",
        "secrets",
        (f64::from(sizes.secrets), "secrets"),
        "secrets.secret",
        "as in the stacks",
    )?);
    Ok(())
}

fn network(basis: &Basis<'_>, decision_bytes: f64, lines: &mut Vec<Line>) -> Result<(), PlanError> {
    let network = basis.sizes.network;
    let zones = f64::from(network.endpoint_zones);
    lines.push(basis.line(
        "VPC",
        "interface endpoints",
        (hours(zones), "zone-hours"),
        "vpc.endpoint_hour",
        format!("{zones:.0} zones of endpoints"),
    )?);
    if network.endpoint_zones > 0 {
        let gb = a_month(basis.workload.per_second() * decision_bytes) / GB;
        lines.push(basis.line(
            "VPC",
            "data through endpoints",
            (gb, "GB"),
            "vpc.endpoint.data",
            "decisions to Kinesis; DynamoDB and S3 go through free gateways",
        )?);
    }
    let gateways = f64::from(network.nat_gateways);
    lines.push(basis.line(
        "VPC",
        "NAT gateways",
        (hours(gateways), "gateway-hours"),
        "vpc.nat_hour",
        "as in the stacks",
    )?);
    Ok(())
}
