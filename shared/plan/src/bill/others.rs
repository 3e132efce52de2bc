//! What is left: the stream, the network, the API, analysts' queries, keys and secrets.

use super::{Basis, Line, a_month, hours};
use crate::PlanError;

const GB: f64 = 1e9;
/// A PUT payload unit of Kinesis.
const PUT_UNIT_BYTES: f64 = 25_000.0;
const DECISIONS: &str = "approved";
/// A record is sent as base64 with its partition key, and answered with its shard and number. The endpoint is paid for both ways.
const BASE64: f64 = 4.0 / 3.0;
const ENTRY_BYTES: f64 = 60.0;
const ENTRY_ANSWER_BYTES: f64 = 120.0;
/// An answer of the HTTP API with its headers. Assumed.
const API_ANSWER_BYTES: f64 = 2_000.0;
/// Flow records: environments at work beside the deciding ones, connections of each, a record for each direction at either end, once a minute
/// on the machines of today whatever is asked for (<https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs.html>). Assumed but the last.
const ENVIRONMENTS_BESIDE: f64 = 20.0;
const CONNECTIONS: f64 = 15.0;
const RECORDS_A_MINUTE: f64 = 4.0;
const FLOW_BYTES: f64 = 120.0;
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
    lines.push(basis.line(
        "Data transfer",
        "answers of the API",
        (basis.workload.api_requests_month * API_ANSWER_BYTES / GB, "GB"),
        "transfer.out",
        format!("assumed: {API_ANSWER_BYTES} bytes each, to the internet"),
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
        let sent = decision_bytes * BASE64 + ENTRY_BYTES + ENTRY_ANSWER_BYTES;
        let gb = a_month(basis.workload.per_second() * sent) / GB;
        lines.push(basis.line(
            "VPC",
            "data through endpoints",
            (gb, "GB"),
            "vpc.endpoint.data",
            format!("decisions to Kinesis, {sent:.0} bytes each with base64 and answer; DynamoDB and S3 go through free gateways"),
        )?);
    }
    if network.flow_logs {
        let environments = f64::from(basis.deciding.slots) + ENVIRONMENTS_BESIDE;
        let records = environments * CONNECTIONS * RECORDS_A_MINUTE / 60.0;
        lines.push(basis.line(
            "VPC",
            "flow logs",
            (a_month(records * FLOW_BYTES) / GB, "GB"),
            "logs.vended_s3",
            format!("assumed: {environments:.0} environments of {CONNECTIONS} connections"),
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
