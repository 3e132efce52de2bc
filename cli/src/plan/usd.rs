//! What a run's own units would cost on AWS: the line at the end of `centinela up`.

use centinela_infra::Sources;
use centinela_plan::report::Origin;
use centinela_plan::{Bill, Measured, PlanError, Prices, Workload};
use serde::Serialize;

use super::{MEASURED, PRICES, stacks};

/// The environment and the rate that the line is for.
const ENVIRONMENT: &str = "prod";
const PER_MINUTE: f64 = 100_000.0;

/// The bill of production at 100,000 transactions a minute with the units of a run, in one line; why there is none otherwise.
pub(crate) fn line(report: &impl Serialize) -> String {
    match bill(report) {
        Ok(bill) => format!(
            "  cost        {:.2} USD per million decisions: {} a month for prod at 100,000 a minute with this run's units (centinela plan)\n",
            bill.per_million_usd,
            centinela_plan::text::grouped(bill.total_usd_month)
        ),
        Err(why) => format!("  cost        unknown: {why}\n"),
    }
}

fn bill(report: &impl Serialize) -> Result<Bill, String> {
    let text = |error: PlanError| error.to_string();
    let report = serde_json::to_value(report).map_err(|error| error.to_string())?;
    let (measured, prices) = (Measured::from_json(MEASURED).map_err(text)?, Prices::from_json(PRICES).map_err(text)?);
    let origin = Origin { measured_on: "", machine: "", command: "" };
    // One run cannot tell an invocation from its records, and without drawn latency its calls take no time; so an invocation stays as it was
    // measured. What the run does tell are units, bytes and processor time.
    let units = measured.with_reports(&[report], origin).map_err(text)?;
    let units = Measured { invocation: measured.invocation, ..units };
    let sources = Sources::bundled(ENVIRONMENT).map_err(|error| error.to_string())?;
    let parameters = stacks::parameters(&sources).map_err(|failure| failure.to_string())?;
    let sizes = stacks::sizes(&sources, &parameters).map_err(|failure| failure.to_string())?;
    Bill::new(&sizes, &Workload::at(PER_MINUTE).map_err(text)?, &units, &prices).map_err(text)
}
