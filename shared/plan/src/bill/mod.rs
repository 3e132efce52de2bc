//! The monthly bill, line by line: a quantity, a price, and the assumption behind the quantity.

mod dynamodb;
mod kafka;
mod lake;
mod lambda;
mod others;
mod watch;

use serde::Serialize;

use crate::queue::{Prediction, Question, predict};
use crate::{HOURS_A_MONTH, Measured, PlanError, Prices, SECONDS_A_MONTH, Sizes, Workload, pieces};

pub use kafka::{Flow, flows};

/// What other modules look up in here.
pub(crate) mod lookups {
    pub(crate) use super::dynamodb::used;
    pub(crate) use super::lake::objects_of;
    pub(crate) use super::lambda::{
        POLLERS_PER_UNIT, compaction, compaction_ms, deciding_bytes, slots_work, slots_work_of,
    };
}

/// A line of the bill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// AWS's service.
    pub service: &'static str,
    /// What is paid for.
    pub what: String,
    /// How much of it a month.
    pub quantity: f64,
    /// In what.
    pub unit: String,
    /// Dollars a month.
    pub usd_month: f64,
    /// Id of the price.
    pub price: String,
    /// Where the quantity comes from.
    pub assumption: String,
}

/// A service's lines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    /// AWS's name.
    pub service: &'static str,
    /// Dollars a month.
    pub usd_month: f64,
    /// What they are for, dearest first.
    pub lines: Vec<Line>,
}

/// A month's bill at a flat rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bill {
    /// Name of the environment whose sizes it is for.
    pub environment: String,
    /// Transactions a minute.
    pub per_minute: f64,
    /// Dollars a month.
    pub total_usd_month: f64,
    /// Dollars per million decisions.
    pub per_million_usd: f64,
    /// By service, dearest first.
    pub services: Vec<Service>,
    /// Prices among them that one secondary source alone states.
    pub unconfirmed: Vec<String>,
    /// What the deciding function's mapping does at this rate.
    pub deciding: Prediction,
    /// What the assumptions were.
    pub workload: Workload,
}

/// Everything that a line is made of.
pub(crate) struct Basis<'a> {
    pub(crate) sizes: &'a Sizes,
    pub(crate) workload: &'a Workload,
    pub(crate) measured: &'a Measured,
    pub(crate) prices: &'a Prices,
    pub(crate) deciding: Prediction,
}

impl Basis<'_> {
    /// A line of `quantity` units at one price.
    pub(crate) fn line(
        &self,
        service: &'static str,
        what: impl Into<String>,
        (quantity, unit): (f64, &str),
        price: &str,
        assumption: impl Into<String>,
    ) -> Result<Line, PlanError> {
        Ok(Line {
            service,
            what: what.into(),
            quantity,
            unit: unit.to_owned(),
            usd_month: quantity * self.prices.usd(price)?,
            price: price.to_owned(),
            assumption: assumption.into(),
        })
    }

    /// Records a second on a topic.
    pub(crate) fn rate_of(&self, topic: &str) -> f64 {
        rate_of(topic, self.workload)
    }
}

/// Records a second on a topic: decisions share two topics, so each is counted where most of them are.
pub(crate) fn rate_of(topic: &str, workload: &Workload) -> f64 {
    let per_second = workload.per_second();
    match topic {
        "transactions" => per_second,
        "approved" => per_second * (1.0 - BLOCKED),
        "blocked" => per_second * BLOCKED,
        "user_actions" => per_second * workload.actions_per_transaction,
        "events" => per_second * workload.labels_per_transaction,
        // Dead letters and what else there may be: nearly nothing.
        _ => 0.0,
    }
}

/// Share of the transactions that is blocked.
const BLOCKED: f64 = 0.01;

/// The question that a deployment's mapping of transactions asks the model.
///
/// # Errors
/// The stacks have no such mapping, function or topic.
pub fn question(sizes: &Sizes, workload: &Workload, measured: &Measured) -> Result<Question, PlanError> {
    let mapping = sizes.scoring().ok_or(PlanError::NoSize("mapping of transactions to score-transactions"))?;
    let function = sizes.function(&mapping.function).ok_or(PlanError::NoSize("function score-transactions"))?;
    let topic = sizes.topic(&mapping.topic).ok_or(PlanError::NoSize("topic transactions"))?;
    let (base_ms, record_ms) = measured.invocation.with_memory(function.memory_mb);
    Ok(Question {
        per_second: workload.per_second(),
        partitions: topic.partitions,
        pollers: mapping.pollers_min.max(1),
        concurrency: function.concurrency.unwrap_or(u32::MAX),
        batch_max: pieces(mapping.batch),
        base_ms,
        record_ms,
        call_ms_p50: workload.call_ms_p50,
        call_ms_p99: workload.call_ms_p99,
    })
}

impl Bill {
    /// What a deployment of these sizes costs at this load.
    ///
    /// # Errors
    /// A price, a measured unit or a size is missing.
    pub fn new(sizes: &Sizes, workload: &Workload, measured: &Measured, prices: &Prices) -> Result<Self, PlanError> {
        let deciding = predict(&question(sizes, workload, measured)?);
        let basis = Basis { sizes, workload, measured, prices, deciding };
        let mut lines = dynamodb::lines(&basis)?;
        lines.extend(kafka::lines(&basis)?);
        lines.extend(lambda::lines(&basis)?);
        lines.extend(lake::lines(&basis)?);
        lines.extend(watch::lines(&basis)?);
        lines.extend(others::lines(&basis)?);
        let unconfirmed = unconfirmed(&lines, prices)?;
        let services = by_service(lines);
        let total_usd_month = services.iter().map(|service| service.usd_month).sum();
        Ok(Self {
            environment: sizes.environment.clone(),
            per_minute: workload.per_minute,
            total_usd_month,
            per_million_usd: total_usd_month / (workload.per_month() / 1e6),
            services,
            unconfirmed,
            deciding,
            workload: *workload,
        })
    }

    /// Dollars a month for one service; 0 where it is not used.
    #[must_use]
    pub fn of(&self, service: &str) -> f64 {
        self.services.iter().find(|one| one.service == service).map_or(0.0, |one| one.usd_month)
    }

    /// Dollars a month of all lines whose text begins so.
    #[must_use]
    pub fn of_lines(&self, what: &str) -> f64 {
        let lines = self.services.iter().flat_map(|service| &service.lines);
        lines.filter(|line| line.what.starts_with(what)).map(|line| line.usd_month).sum()
    }
}

fn unconfirmed(lines: &[Line], prices: &Prices) -> Result<Vec<String>, PlanError> {
    let mut ids = Vec::new();
    for line in lines.iter().filter(|line| line.usd_month > 0.0) {
        if !prices.price(&line.price)?.confirmed && !ids.contains(&line.price) {
            ids.push(line.price.clone());
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

fn by_service(lines: Vec<Line>) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    for line in lines.into_iter().filter(|line| line.quantity > 0.0) {
        match services.iter_mut().find(|service| service.service == line.service) {
            Some(service) => {
                service.usd_month += line.usd_month;
                service.lines.push(line);
            }
            None => services.push(Service { service: line.service, usd_month: line.usd_month, lines: vec![line] }),
        }
    }
    for service in &mut services {
        service.lines.sort_by(|one, other| other.usd_month.total_cmp(&one.usd_month));
    }
    services.sort_by(|one, other| other.usd_month.total_cmp(&one.usd_month));
    services
}

/// What a month has of something that happens so often a second.
pub(crate) fn a_month(per_second: f64) -> f64 {
    per_second * SECONDS_A_MONTH
}

/// Hours of a month for so many pieces.
pub(crate) fn hours(pieces: f64) -> f64 {
    pieces * HOURS_A_MONTH
}
