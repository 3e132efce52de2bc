//! Plans as text, JSON and a picture.

use centinela_plan::limits::Limit;
use centinela_plan::live::LiveCost;
use centinela_plan::options::Choice;
use centinela_plan::peer::Peer;
use centinela_plan::{Bill, Prices, levers, svg, text};
use serde::Serialize;

use crate::failure::Failure;

/// The plan of one rate. As JSON its bill's fields stand at the top.
#[derive(Debug, Serialize)]
pub(super) struct At {
    #[serde(flatten)]
    pub(super) bill: Bill,
    /// What the repository allows.
    #[serde(rename = "budget_usd_month", skip_serializing_if = "Option::is_none")]
    pub(super) budget: Option<f64>,
    /// What is full first.
    pub(super) limits: Vec<Limit>,
    /// Kafka, Spark and Redis.
    #[serde(rename = "usual_stack")]
    pub(super) usual: Peer,
    /// The expression of the alarm on cost.
    #[serde(rename = "live_cost")]
    pub(super) live: LiveCost,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) levers: Option<levers::Table>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) options: Option<Vec<Choice>>,
    /// Parameters that differ from the environment's file: name, there, here.
    #[serde(rename = "parameters_changed", skip_serializing_if = "Vec::is_empty")]
    pub(super) grown: Vec<(String, String, String)>,
    /// Where the measured units come from.
    pub(super) measured: String,
}

/// All plans that were asked for.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) plans: Vec<At>,
}

impl Output {
    /// One object for one rate, an array for several.
    pub(super) fn json(&self) -> Result<String, Failure> {
        let text = match &self.plans[..] {
            [one] => serde_json::to_string_pretty(one),
            several => serde_json::to_string_pretty(several),
        };
        Ok(text.map_err(|error| Failure::failed(&error))? + "\n")
    }

    pub(super) fn text(&self, prices: &Prices) -> String {
        let mut parts = Vec::new();
        for at in &self.plans {
            let shown = text::Shown {
                bill: &at.bill,
                limits: &at.limits,
                peer: &at.usual,
                measured: &at.measured,
                grown: &at.grown,
                budget: at.budget,
            };
            parts.push(text::plan(&shown, prices));
            if let Some(table) = &at.levers {
                parts.push(format!("Levers, one after the other, in USD a month\n\n{}", text::levers(table)));
            }
            if let Some(choices) = &at.options {
                parts.push(format!("What could be otherwise, each alone\n\n{}", text::choices(choices)));
            }
        }
        parts.join("\n")
    }

    /// The first plan as a picture.
    pub(super) fn picture(&self) -> Option<String> {
        self.plans.first().map(|at| svg::plan(&at.bill, &at.usual, at.budget))
    }
}
