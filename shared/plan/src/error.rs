//! Why there is no plan. A plan is never made up: what is missing is named, with what to do about it.

use thiserror::Error;

/// The plan cannot be made; nothing was done, so correct the input and ask again.
#[derive(Debug, Clone, PartialEq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum PlanError {
    #[error("the price list is not readable: {0}")]
    Prices(String),
    #[error(
        "price \"{id}\" {problem}; every line of the price list has a source (an https address), the day it was read, and an amount that is at least 0"
    )]
    Price { id: String, problem: &'static str },
    #[error("the price list has no \"{0}\": add it with its source and date")]
    NoPrice(String),
    #[error("the measured units are not readable: {0}")]
    Measured(String),
    #[error("measured units: {field} is {value}, must be {limit}; measure again (docs/plan.md)")]
    Unit { field: String, value: String, limit: &'static str },
    #[error(
        "the report has no {0}: it must be one of `centinela up --summary` with the embedded servers and at least one decision"
    )]
    Report(String),
    #[error("{what} is {value}, must be {limit}")]
    Workload { what: &'static str, value: f64, limit: &'static str },
    #[error("the stacks have no {0}, which a plan needs")]
    NoSize(&'static str),
    #[error("broker type \"{0}\" is unknown: its throughput and price are needed; known are {1}")]
    UnknownBroker(String, String),
    #[error("no deployment of known broker types carries {0:.0} MB a second; split the cluster")]
    NoBrokers(f64),
    #[error(
        "growth goes up: from {from:.0} to {to:.0} transactions a minute is no growth. Partitions and disks never shrink"
    )]
    NoGrowth { from: f64, to: f64 },
    #[error("parameter {name} is \"{value}\", must be {limit}")]
    Parameter { name: String, value: String, limit: &'static str },
}
