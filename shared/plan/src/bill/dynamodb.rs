//! DynamoDB: units by table, storage and its continuous backup.

use super::{Basis, Line, a_month, hours};
use crate::{Capacity, PlanError, Table, TableUnits};

const SERVICE: &str = "DynamoDB";
const INDEX: &str = "decisions";
const MARKS: &str = "settled_offsets";
const LABELS: &str = "labels";
const ROLLUPS: &str = "decision_metrics";
/// Seconds of a roll-up.
const ROLLUP_WINDOW_S: f64 = 10.0;
const USERS: &str = "user_state";
const DEVICES: &str = "device_state";
/// Bytes of stored items, with their keys and DynamoDB's own 100 for each. A user's is kept below 1 KB by a test; a device is small.
const USER_BYTES: f64 = 1_000.0;
const DEVICE_BYTES: f64 = 250.0;
const LABEL_BYTES: f64 = 250.0;
const INDEX_BYTES: f64 = 450.0;
/// A roll-up is one write unit.
const ROLLUP_BYTES: f64 = 1_000.0;
/// Days that one is kept.
const ROLLUP_DAYS: f64 = 90.0;
/// Devices per user in the simulated world.
const DEVICES_PER_USER: f64 = 1.6;
/// Days that a label is remembered.
const LABEL_DAYS: f64 = 400.0;
/// DynamoDB is billed by binary or decimal gigabytes alike in its examples; decimal is the dearer reading.
const GB: f64 = 1e9;
const SECONDS_A_DAY: f64 = 86_400.0;

pub(super) fn lines(basis: &Basis<'_>) -> Result<Vec<Line>, PlanError> {
    let mut lines = Vec::new();
    for table in &basis.sizes.tables {
        let used = used(basis, &table.name);
        units(basis, table, used, &mut lines)?;
    }
    let bytes = stored_bytes(basis);
    let assumption = format!(
        "{:.0} million users of {USER_BYTES} bytes, {DEVICES_PER_USER} devices each, labels of {LABEL_DAYS} days",
        basis.workload.users / 1e6
    );
    lines.push(basis.line(SERVICE, "storage", (bytes / GB, "GB"), "dynamodb.storage", assumption)?);
    lines.push(basis.line(SERVICE, "continuous backup", (bytes / GB, "GB"), "dynamodb.pitr", "every table has it")?);
    Ok(lines)
}

/// Units a second that a table is asked for.
pub(crate) fn used(basis: &Basis<'_>, table: &str) -> TableUnits {
    let per_second = basis.workload.per_second();
    let measured = basis.measured.tables.get(table).copied().unwrap_or_default();
    let mut used = TableUnits { write: measured.write * per_second, read: measured.read * per_second };
    match table {
        // Every batch reads the marks of its partitions.
        MARKS => {
            let deciding = &basis.deciding;
            used.read +=
                deciding.invocations_per_second * deciding.partitions_per_batch * basis.measured.mark_read_units;
        }
        // One item for each shard and window, whatever the rate.
        ROLLUPS => used.write = f64::from(basis.sizes.shards) / ROLLUP_WINDOW_S,
        INDEX if basis.sizes.index_days > 0 => used.write += per_second,
        LABELS => {
            let more = basis.workload.labels_per_transaction / basis.measured.labels_per_transaction;
            used = TableUnits { write: used.write * more, read: used.read * more };
        }
        _ => {}
    }
    used
}

fn units(basis: &Basis<'_>, table: &Table, used: TableUnits, lines: &mut Vec<Line>) -> Result<(), PlanError> {
    let name = &table.name;
    let million = |per_second: f64| (a_month(per_second), "units");
    match table.capacity {
        Capacity::OnDemand { .. } => {
            let why = |kind: &str, units: f64| format!("{units:.0} {kind} units a second, by request");
            lines.push(basis.line(
                SERVICE,
                format!("writes of {name}"),
                million(used.write),
                "dynamodb.write_on_demand",
                why("write", used.write),
            )?);
            lines.push(basis.line(
                SERVICE,
                format!("reads of {name}"),
                million(used.read),
                "dynamodb.read_on_demand",
                why("read", used.read),
            )?);
        }
        Capacity::Provisioned { target_percent, min_read, min_write, .. } => {
            let provisioned = |units: f64, min: f64| (units / (target_percent / 100.0)).max(min);
            let (write, read) = (provisioned(used.write, min_write), provisioned(used.read, min_read));
            let why = |kind: &str, used: f64, min: f64| {
                format!("{used:.0} {kind} units a second at {target_percent:.0} % use, at least {min:.0} provisioned")
            };
            lines.push(basis.line(
                SERVICE,
                format!("writes of {name}"),
                (hours(write), "unit-hours"),
                "dynamodb.write_provisioned_hour",
                why("write", used.write, min_write),
            )?);
            lines.push(basis.line(
                SERVICE,
                format!("reads of {name}"),
                (hours(read), "unit-hours"),
                "dynamodb.read_provisioned_hour",
                why("read", used.read, min_read),
            )?);
        }
    }
    Ok(())
}

fn stored_bytes(basis: &Basis<'_>) -> f64 {
    let days = |per_second: f64, days: f64| per_second * SECONDS_A_DAY * days;
    let workload = basis.workload;
    let (users, per_second) = (workload.users, workload.per_second());
    let of = |table: &str| match table {
        USERS => users * USER_BYTES,
        DEVICES => users * DEVICES_PER_USER * DEVICE_BYTES,
        LABELS => days(per_second * workload.labels_per_transaction, LABEL_DAYS) * LABEL_BYTES,
        INDEX => days(per_second, f64::from(basis.sizes.index_days)) * INDEX_BYTES,
        ROLLUPS => days(f64::from(basis.sizes.shards) / ROLLUP_WINDOW_S, ROLLUP_DAYS) * ROLLUP_BYTES,
        _ => 0.0,
    };
    basis.sizes.tables.iter().map(|table| of(&table.name)).sum()
}
