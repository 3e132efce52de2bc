//! The bill as a live metric: three numbers with which an alarm's expression follows what a million decisions cost.
//!
//! `1,000,000 × (fixed / 12 + write unit × units + millisecond × busy) / decided`, over five minutes: `units` are the write units of the
//! users' table (provisioned, on average, or consumed, in sum), `busy` the milliseconds of the deciding function.

use serde::Serialize;

use crate::{Bill, Capacity, HOURS_A_MONTH, PlanError, SECONDS_A_MONTH, Sizes};

const USERS: &str = "user_state";
const PERIODS_AN_HOUR: f64 = 12.0;

/// What the expression is made of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LiveCost {
    /// Dollars an hour that do not move with the load, or little.
    pub fixed_usd_hour: f64,
    /// Dollars for a write unit of the users' table: consumed, or provisioned for five minutes. Reads and the other tables are in it.
    pub usd_per_write_unit: f64,
    /// Dollars for a millisecond of the deciding function, its requests and lines in it.
    pub usd_per_millisecond: f64,
}

impl LiveCost {
    /// From a bill.
    ///
    /// # Errors
    /// The sizes have no table of users.
    pub fn of(bill: &Bill, sizes: &Sizes) -> Result<Self, PlanError> {
        let table =
            sizes.tables.iter().find(|table| table.name == USERS).ok_or(PlanError::NoSize("table user_state"))?;
        let units = bill.services.iter().flat_map(|service| &service.lines);
        let writes = units.filter(|line| line.what == "writes of user_state").map(|line| line.quantity).sum::<f64>();
        let database = bill.of("DynamoDB") - bill.of_lines("storage") - bill.of_lines("continuous backup");
        // Unit-hours, each of twelve periods, or units.
        let periods = match table.capacity {
            Capacity::Provisioned { .. } => writes * PERIODS_AN_HOUR,
            Capacity::OnDemand { .. } => writes,
        };
        let deciding =
            ["duration of score-transactions", "requests of score-transactions", "metric lines of score-transactions"];
        let deciding: f64 = deciding.iter().map(|what| bill.of_lines(what)).sum();
        let busy_ms = bill.deciding.invocations_per_second * bill.deciding.invocation_ms * SECONDS_A_MONTH;
        Ok(Self {
            fixed_usd_hour: (bill.total_usd_month - database - deciding) / HOURS_A_MONTH,
            usd_per_write_unit: database / periods.max(1.0),
            usd_per_millisecond: deciding / busy_ms.max(1.0),
        })
    }

    /// Dollars per million decisions, as the expression gives them.
    #[must_use]
    pub fn per_million(&self, units: f64, busy_ms: f64, decided: f64) -> f64 {
        let usd = self.fixed_usd_hour / PERIODS_AN_HOUR
            + self.usd_per_write_unit * units
            + self.usd_per_millisecond * busy_ms;
        1e6 * usd / decided.max(1.0)
    }
}
