//! What could be otherwise, each with its price at the same load. Commitments (reserved capacity, savings plans) are options only: a plan
//! that needs three years of faith is no plan.

use serde::Serialize;

use crate::growth::cheapest_brokers;
use crate::{Bill, Capacity, Measured, PlanError, Prices, Sizes, StreamMapping, Workload};

/// Compute Savings Plans take at least this off the duration of Lambda: <https://aws.amazon.com/savingsplans/compute-pricing/>.
const SAVINGS_PLAN: f64 = 0.12;
/// Days that an index would keep.
const INDEX_DAYS: u32 = 30;
/// The function that writes it, and how long its batches gather.
const INDEXES: &str = "index-decisions";
const INDEX_WINDOW_S: f64 = 1.0;
/// Decisions that fit into a record of the stream, when a batch's are joined.
const PUT_UNIT_BYTES: f64 = 25_000.0;

/// An alternative.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// What is otherwise.
    pub name: &'static str,
    /// Dollars a month more (or, below 0, less); none where no price could be found.
    pub usd_month: Option<f64>,
    /// What it gives and takes.
    pub means: &'static str,
    /// Whether parameters alone do it.
    pub by_parameter: bool,
}

type Change = fn(&mut Sizes, &mut Workload);

/// Alternatives that are other sizes: name, what it means, the change.
const SIZED: [(&str, &str, Change); 8] = [
    (
        "index by transaction id, 30 days, on demand",
        "any decision of a month is found by its transaction alone; without it the user's id is needed and the newest 16 are there",
        |sizes, _| index(sizes, false),
    ),
    (
        "the same index, provisioned",
        "as above, with DecisionWriteUnitsMin above 0; nothing while it is off",
        |sizes, _| index(sizes, true),
    ),
    ("tables on demand", "follows any rise at once up to twice the last peak; nothing to size", |sizes, _| {
        for table in &mut sizes.tables {
            table.capacity =
                Capacity::OnDemand { max_read: table.capacity.max_read(), max_write: table.capacity.max_write() };
        }
    }),
    ("two pollers for the transactions", "p99 some 5 ms earlier; twice as fast through a backlog", |sizes, _| {
        if let Some(mapping) = sizes.mappings.iter_mut().find(|mapping| mapping.function == "score-transactions") {
            mapping.pollers_min = 2;
            mapping.pollers_max = mapping.pollers_max.max(2);
        }
    }),
    (
        "1,769 MB for the deciding function",
        "a whole processor: p99 some 6 ms earlier, starts in a third of the time",
        |sizes, _| {
            scoring_mb(sizes, 1_769.0);
        },
    ),
    ("1,024 MB for the deciding function", "58 % of a processor: starts in half the time", |sizes, _| {
        scoring_mb(sizes, 1_024.0)
    }),
    ("one poller group for every mapping", "a backlog of the archive takes throughput from decisions", |sizes, _| {
        for mapping in &mut sizes.mappings {
            mapping.group = Some("all".to_owned());
        }
    }),
    (
        "no metrics of brokers beyond the free level",
        "connections and requests of a single broker are not seen",
        |sizes, _| {
            sizes.brokers.monitoring = "DEFAULT".to_owned();
        },
    ),
];

/// Every alternative that there is at this load: brokers that do not carry it are none.
///
/// # Errors
/// A price, a measured unit or a size is missing.
pub fn all(sizes: &Sizes, workload: &Workload, measured: &Measured, prices: &Prices) -> Result<Vec<Choice>, PlanError> {
    let base = Bill::new(sizes, workload, measured, prices)?;
    let mut choices = Vec::new();
    for (name, means, change) in SIZED {
        let (mut changed, mut load) = (sizes.clone(), *workload);
        change(&mut changed, &mut load);
        let usd = Bill::new(&changed, &load, measured, prices)?.total_usd_month - base.total_usd_month;
        choices.push(Choice { name, usd_month: Some(usd), means, by_parameter: true });
    }
    choices.extend(if_carried(uncompressed(sizes, workload, (measured, prices), &base))?);
    choices.extend(if_carried(brokers(sizes, workload, (measured, prices), &base))?);
    choices.extend(by_code(&base, measured, prices)?);
    let duration: f64 = base.of_lines("duration of ");
    choices.push(Choice {
        name: "a Compute Savings Plan for Lambda",
        usd_month: Some(-duration * SAVINGS_PLAN),
        means: "a commitment of a year; AWS's lowest discount",
        by_parameter: true,
    });
    choices.push(Choice {
        name: "reserved capacity of DynamoDB",
        usd_month: None,
        means: "one or three years, paid whether it is used or not; AWS's percentage for these regions was not found",
        by_parameter: true,
    });
    Ok(choices)
}

fn if_carried(choice: Result<Choice, PlanError>) -> Result<Option<Choice>, PlanError> {
    match choice {
        Err(PlanError::NoBrokers(_)) => Ok(None),
        choice => choice.map(Some),
    }
}

fn uncompressed(
    sizes: &Sizes,
    workload: &Workload,
    (measured, prices): (&Measured, &Prices),
    base: &Bill,
) -> Result<Choice, PlanError> {
    let mut changed = sizes.clone();
    changed.topics.iter_mut().filter(|topic| topic.name == "user_actions").for_each(|topic| topic.zstd = false);
    changed.brokers = cheapest_brokers(&changed, workload, measured, prices, Some(sizes.brokers.is_express()))?;
    let usd = Bill::new(&changed, workload, measured, prices)?.total_usd_month - base.total_usd_month;
    let (name, means) = ("user actions not compressed, disks to fit", "producers may send single records");
    Ok(Choice { name, usd_month: Some(usd), means, by_parameter: true })
}

fn brokers(
    sizes: &Sizes,
    workload: &Workload,
    (measured, prices): (&Measured, &Prices),
    base: &Bill,
) -> Result<Choice, PlanError> {
    let express = !sizes.brokers.is_express();
    let mut changed = sizes.clone();
    changed.brokers = cheapest_brokers(sizes, workload, measured, prices, Some(express))?;
    let usd = Bill::new(&changed, workload, measured, prices)?.total_usd_month - base.total_usd_month;
    Ok(if express {
        let means =
            "no disks to fill or to size, faster to grow and to recover; whether storage is paid once is not confirmed";
        Choice { name: "Express brokers", usd_month: Some(usd), means, by_parameter: false }
    } else {
        Choice {
            name: "Standard brokers",
            usd_month: Some(usd),
            means: "disks to size; no way back in place",
            by_parameter: false,
        }
    })
}

/// What would need code.
fn by_code(base: &Bill, measured: &Measured, prices: &Prices) -> Result<Vec<Choice>, PlanError> {
    let lines = base.of_lines("metric lines of score-transactions");
    let invocations = base.deciding.invocations_per_second.max(1.0);
    let kept = (f64::from(base.deciding.slots) / invocations).min(1.0);
    let units = base.of_lines("payload units");
    let bytes = measured.record("approved")?.bytes;
    let joined = (base.deciding.batch * bytes / PUT_UNIT_BYTES).ceil().max(1.0) / base.deciding.batch.max(1.0);
    // Asked for, so that a list without it is refused here too.
    prices.price("kinesis.put_units_million")?;
    Ok(vec![
        Choice {
            name: "metric lines summed up for a second",
            usd_month: Some(-lines * (1.0 - kept)),
            means: "an environment that ends loses its last second's counts; not built",
            by_parameter: false,
        },
        Choice {
            name: "a batch's decisions in one record of the stream",
            usd_month: Some(-units * (1.0 - joined.min(1.0))),
            means: "every reader of the stream has to take it apart; not built",
            by_parameter: false,
        },
    ])
}

fn index(sizes: &mut Sizes, provisioned: bool) {
    sizes.index_days = INDEX_DAYS;
    if !sizes.stream_mappings.iter().any(|mapping| mapping.function == INDEXES) {
        // Switched off it is no mapping of the sizes.
        let (function, batch, window_s) = (INDEXES.to_owned(), 100.0, INDEX_WINDOW_S);
        sizes.stream_mappings.push(StreamMapping { function, batch, window_s });
    }
    // As the tables that are provisioned already.
    let target_percent = sizes.tables.iter().find_map(|table| match table.capacity {
        Capacity::Provisioned { target_percent, .. } => Some(target_percent),
        Capacity::OnDemand { .. } => None,
    });
    let target_percent = target_percent.unwrap_or(70.0);
    for table in sizes.tables.iter_mut().filter(|table| provisioned && table.name == "decisions") {
        let (max_read, max_write) = (table.capacity.max_read(), table.capacity.max_write());
        table.capacity = Capacity::Provisioned { target_percent, min_read: 1.0, max_read, min_write: 1.0, max_write };
    }
}

fn scoring_mb(sizes: &mut Sizes, mb: f64) {
    for function in sizes.functions.iter_mut().filter(|function| function.name == "score-transactions") {
        function.memory_mb = mb;
    }
}
