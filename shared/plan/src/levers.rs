//! What was done to the bill, one step after the other: what each step saves, and what it costs in latency or risk.
//!
//! A lever has two positions. The table begins with all levers as they were and ends with all as they are, so its end is the plan of the
//! stacks exactly when the stacks pull every lever: [`is_pulled`] says so.

use serde::Serialize;

use crate::{Bill, Capacity, Measured, PlanError, Prices, Sizes, Workload};

/// Tables whose load is steady enough to be provisioned.
const STATE: [&str; 2] = ["user_state", "device_state"];
const MARKS: &str = "settled_offsets";
/// Functions whose mappings share a poller unit with the main job: few records each.
const DECIDE: [&str; 3] = ["score-transactions", "track-user-actions", "apply-labels"];
const ARCHIVE: &str = "archive-records";

/// A lever.
pub struct Lever {
    /// What it is called.
    pub name: &'static str,
    /// The parameters or properties that it changes.
    pub changes: &'static str,
    /// What it costs beside money.
    pub costs: &'static str,
    before: fn(&mut Sizes),
    /// With the stacks as they are beside it, for what a lever's former position forgets.
    after: fn(&mut Sizes, &Sizes),
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The lever.
    pub name: &'static str,
    /// What it changes.
    pub changes: &'static str,
    /// Dollars a month that it saves, at its place in the order.
    pub saves_usd_month: f64,
    /// The bill with it and with all above it.
    pub then_usd_month: f64,
    /// What it costs in latency or risk.
    pub costs: &'static str,
}

/// The table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// The bill before all levers.
    pub from_usd_month: f64,
    /// One lever after the other.
    pub rows: Vec<Row>,
    /// The bill after all.
    pub to_usd_month: f64,
}

/// All levers, in the order in which the table pulls them.
#[must_use]
pub fn all() -> &'static [Lever] {
    &LEVERS
}

static LEVERS: [Lever; 10] = [
    Lever {
        name: "tables of users and devices provisioned, 70 % used",
        changes: "TableBillingMode PROVISIONED, User…/Device…Units",
        costs: "a rise faster than the scaling (some four minutes) and beyond five minutes' saved-up units is throttled: decisions are late, none is lost",
        before: |sizes| on_demand(sizes, &STATE),
        after: |sizes, stacks| provisioned(sizes, &STATE, stacks),
    },
    Lever {
        name: "one poller for the transactions instead of two",
        changes: "ScoreTransactionsPollersMin 1 (Max stays 2)",
        costs: "5 slots instead of 10: batches twice as large, p99 some 5 ms later; a second poller comes with a backlog, and moves partitions then",
        before: |sizes| pollers(sizes, DECIDE[0], "transactions", 2),
        after: |sizes, _| pollers(sizes, DECIDE[0], "transactions", 1),
    },
    Lever {
        name: "user actions kept compressed, disks to fit",
        changes: "compression.type zstd on user_actions, BrokerVolumeGiB 3000 to 2000",
        costs: "producers of user actions gather half a second (20 records a batch); who sends single records fills the disks: alarm at 75 %. Uncompressed, 3,000 GiB would not hold 30 days at all",
        before: |sizes| zstd_and_disks(sizes, false, 3_000),
        after: |sizes, _| zstd_and_disks(sizes, true, 2_000),
    },
    Lever {
        name: "poller units shared by the functions of the hot path",
        changes: "PollerGroupName of score-transactions, track-user-actions, apply-labels",
        costs: "together at most 20 MB a second before a second unit comes; at this load they need 1.4",
        before: |sizes| group(sizes, None),
        after: |sizes, _| group(sizes, Some("decide")),
    },
    Lever {
        name: "decisions kept 3 days on their topics, disks to fit",
        changes: "retention.ms of approved and blocked 7 days to 3, BrokerVolumeGiB 2000 to 1500",
        costs: "a consumer that is down for longer reads the rest from the lake",
        before: |sizes| decisions_kept(sizes, 7.0, None),
        after: |sizes, _| decisions_kept(sizes, 3.0, Some(1_500)),
    },
    Lever {
        name: "512 MB for the deciding function instead of 1,769",
        changes: "ScoreTransactionsMemoryMb",
        costs: "29 % of a processor: processor time takes 3.5 times as long (p99 some 6 ms later), a start about a second; 35 MB are used",
        before: |sizes| memory(sizes, DECIDE[0], 1_769.0),
        after: |sizes, _| memory(sizes, DECIDE[0], 512.0),
    },
    Lever {
        name: "reads of the committed marks provisioned",
        changes: "settled_offsets follows TableBillingMode",
        costs: "as for the other tables; a read that is throttled is tried again, and marks may be late",
        before: |sizes| on_demand(sizes, &[MARKS]),
        after: |sizes, stacks| provisioned(sizes, &[MARKS], stacks),
    },
    Lever {
        name: "tables used at 80 % instead of 70",
        changes: "TableTargetPercent",
        costs: "a quarter instead of 43 % of room for what comes before the scaling does, and five minutes of what was not used",
        before: |sizes| target(sizes, 70.0),
        after: |sizes, _| target(sizes, 80.0),
    },
    Lever {
        name: "archive's pollers where the partitions are",
        changes: "ArchiveTransactionsPollers 2, ArchiveUserActionsPollers 3, ArchiveApprovedPollers 2, ArchiveRecordsPollers 1",
        costs: "nothing while they are at most ten, one unit; a batch then holds a third of the partitions, so fewer objects",
        before: |sizes| archive_pollers(sizes, [1, 1, 1]),
        after: |sizes, _| archive_pollers(sizes, [2, 3, 2]),
    },
    Lever {
        name: "labels gather for five seconds",
        changes: "ApplyLabelsWindowSeconds 5",
        costs: "a label, days late anyway, counts five seconds later",
        before: |sizes| window(sizes, DECIDE[2], 0.0),
        after: |sizes, _| window(sizes, DECIDE[2], 5.0),
    },
];

/// The table for a deployment and a load. The index is off in all of it: it is an option with a price of its own.
///
/// # Errors
/// A price, a measured unit or a size is missing.
pub fn table(stacks: &Sizes, workload: &Workload, measured: &Measured, prices: &Prices) -> Result<Table, PlanError> {
    let levers = all();
    let mut sizes = Sizes { index_days: 0, ..stacks.clone() };
    // The last first, so that what two levers change begins where the first one begins.
    for lever in levers.iter().rev() {
        (lever.before)(&mut sizes);
    }
    let usd = |sizes: &Sizes| Ok::<f64, PlanError>(Bill::new(sizes, workload, measured, prices)?.total_usd_month);
    let from_usd_month = usd(&sizes)?;
    let mut last = from_usd_month;
    let mut rows = Vec::new();
    for lever in levers {
        (lever.after)(&mut sizes, stacks);
        let then_usd_month = usd(&sizes)?;
        rows.push(Row {
            name: lever.name,
            changes: lever.changes,
            saves_usd_month: last - then_usd_month,
            then_usd_month,
            costs: lever.costs,
        });
        last = then_usd_month;
    }
    Ok(Table { from_usd_month, rows, to_usd_month: last })
}

/// The sizes with every lever pulled.
#[must_use]
pub fn pulled(stacks: &Sizes) -> Sizes {
    let mut sizes = Sizes { index_days: 0, ..stacks.clone() };
    for lever in all() {
        (lever.after)(&mut sizes, stacks);
    }
    sizes
}

/// Names of the levers that these sizes do not pull.
#[must_use]
pub fn not_pulled(sizes: &Sizes) -> Vec<&'static str> {
    let all_pulled = pulled(sizes);
    if is_pulled(sizes) {
        return Vec::new();
    }
    let moves = |lever: &Lever| {
        let mut moved = sizes.clone();
        (lever.after)(&mut moved, sizes);
        moved != *sizes && moved_towards(&moved, sizes, &all_pulled)
    };
    all().iter().filter(|lever| moves(lever)).map(|lever| lever.name).collect()
}

/// Whether pulling every lever changes nothing.
#[must_use]
pub fn is_pulled(sizes: &Sizes) -> bool {
    pulled(sizes) == Sizes { index_days: 0, ..sizes.clone() }
}

/// A lever that only undoes a later one (70 % where 75 % stand) does not count.
fn moved_towards(moved: &Sizes, sizes: &Sizes, goal: &Sizes) -> bool {
    let apart = |one: &Sizes| {
        let tables = one.tables.iter().zip(&goal.tables).filter(|(one, goal)| one != goal).count();
        let mappings = one.mappings.iter().zip(&goal.mappings).filter(|(one, goal)| one != goal).count();
        let topics = one.topics.iter().zip(&goal.topics).filter(|(one, goal)| one != goal).count();
        let functions = one.functions.iter().zip(&goal.functions).filter(|(one, goal)| one != goal).count();
        tables + mappings + topics + functions + usize::from(one.brokers != goal.brokers)
    };
    apart(moved) < apart(sizes)
}

fn on_demand(sizes: &mut Sizes, names: &[&str]) {
    for table in sizes.tables.iter_mut().filter(|table| names.contains(&table.name.as_str())) {
        table.capacity =
            Capacity::OnDemand { max_read: table.capacity.max_read(), max_write: table.capacity.max_write() };
    }
}

/// At 70 % use; with the bounds that the stacks have, where they have some.
fn provisioned(sizes: &mut Sizes, names: &[&str], stacks: &Sizes) {
    for table in sizes.tables.iter_mut().filter(|table| names.contains(&table.name.as_str())) {
        let there = stacks.tables.iter().find(|there| there.name == table.name).map(|there| there.capacity);
        let (mut min_read, mut min_write) = (1.0, 1.0);
        if let Some(Capacity::Provisioned { min_read: reads, min_write: writes, .. }) = there {
            (min_read, min_write) = (reads, writes);
        }
        let (max_read, max_write) = (table.capacity.max_read(), table.capacity.max_write());
        table.capacity = Capacity::Provisioned { target_percent: 70.0, min_read, max_read, min_write, max_write };
    }
}

fn target(sizes: &mut Sizes, percent: f64) {
    for table in &mut sizes.tables {
        if let Capacity::Provisioned { target_percent, .. } = &mut table.capacity {
            *target_percent = percent;
        }
    }
}

fn pollers(sizes: &mut Sizes, function: &str, topic: &str, min: u32) {
    for mapping in &mut sizes.mappings {
        if mapping.function == function && mapping.topic == topic {
            mapping.pollers_min = min;
            mapping.pollers_max = mapping.pollers_max.max(min);
        }
    }
}

fn group(sizes: &mut Sizes, name: Option<&str>) {
    for mapping in sizes.mappings.iter_mut().filter(|mapping| DECIDE.contains(&mapping.function.as_str())) {
        match name {
            // Under whatever name the stacks have it.
            Some(name) => {
                mapping.group.get_or_insert_with(|| name.to_owned());
            }
            None => mapping.group = None,
        }
    }
}

fn zstd_and_disks(sizes: &mut Sizes, zstd: bool, gib: u32) {
    for topic in sizes.topics.iter_mut().filter(|topic| topic.name == "user_actions") {
        topic.zstd = zstd;
    }
    disks(sizes, gib);
}

fn decisions_kept(sizes: &mut Sizes, days: f64, gib: Option<u32>) {
    for topic in sizes.topics.iter_mut().filter(|topic| matches!(topic.name.as_str(), "approved" | "blocked")) {
        topic.retention_hours = days * 24.0;
    }
    if let Some(gib) = gib {
        disks(sizes, gib);
    }
}

fn disks(sizes: &mut Sizes, gib: u32) {
    if !sizes.brokers.is_express() {
        sizes.brokers.volume_gib = gib;
    }
}

fn memory(sizes: &mut Sizes, function: &str, mb: f64) {
    for function in sizes.functions.iter_mut().filter(|one| one.name == function) {
        function.memory_mb = mb;
    }
}

fn archive_pollers(sizes: &mut Sizes, [transactions, actions, approved]: [u32; 3]) {
    pollers(sizes, ARCHIVE, "transactions", transactions);
    pollers(sizes, ARCHIVE, "user_actions", actions);
    pollers(sizes, ARCHIVE, "approved", approved);
}

fn window(sizes: &mut Sizes, function: &str, seconds: f64) {
    for mapping in sizes.mappings.iter_mut().filter(|mapping| mapping.function == function) {
        mapping.window_s = seconds;
    }
}
