//! What comes in, beside how the deployment is built.

use serde::Serialize;

use crate::PlanError;

/// Slowest and fastest rate that a plan is made for, in transactions a minute: below one a deployment is all fixed cost, and no region
/// takes more.
const PER_MINUTE: std::ops::RangeInclusive<f64> = 1.0..=100_000_000.0;

/// What producers, people and time bring.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Workload {
    /// Transactions a minute, day and night: a plan is made for a flat rate.
    pub per_minute: f64,
    /// User actions per transaction.
    pub actions_per_transaction: f64,
    /// Labels per transaction.
    pub labels_per_transaction: f64,
    /// Records of user actions in one Kafka batch of their producers. More compress better and wait longer; see `docs/plan.md`.
    pub action_batch: f64,
    /// Records of transactions in one Kafka batch of their producers.
    pub transaction_batch: f64,
    /// Requests to the HTTP API a month.
    pub api_requests_month: f64,
    /// Terabytes that analysts' queries scan a month.
    pub scanned_tb_month: f64,
    /// Months that the lake has been filled for: it is never emptied.
    pub lake_months: f64,
    /// Users with state.
    pub users: f64,
    /// Median of a call to DynamoDB or Kinesis inside the region, in milliseconds. Assumed until it is measured there.
    pub call_ms_p50: f64,
    /// 99 % quantile of the same.
    pub call_ms_p99: f64,
}

impl Workload {
    /// The assumptions that hold unless others are asked for.
    ///
    /// # Errors
    /// The rate is not between 1 and 100 million transactions a minute.
    pub fn at(per_minute: f64) -> Result<Self, PlanError> {
        if !PER_MINUTE.contains(&per_minute) {
            let limit = "between 1 and 100,000,000 transactions a minute";
            return Err(PlanError::Workload { what: "the rate", value: per_minute, limit });
        }
        Ok(Self {
            per_minute,
            actions_per_transaction: 2.0,
            labels_per_transaction: 0.01,
            action_batch: 20.0,
            transaction_batch: 1.1,
            api_requests_month: 10_000_000.0,
            scanned_tb_month: 9.0,
            lake_months: 12.0,
            users: 5_000_000.0,
            call_ms_p50: 5.0,
            call_ms_p99: 12.0,
        })
    }

    /// Transactions a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.per_minute / 60.0
    }

    /// Transactions a month.
    #[must_use]
    pub fn per_month(&self) -> f64 {
        self.per_second() * crate::SECONDS_A_MONTH
    }
}
