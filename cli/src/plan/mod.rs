//! `centinela plan`: what the stacks cost and carry at any rate, and how they grow.

mod args;
mod measure;
mod output;
mod stacks;
#[cfg(test)]
mod tests;
pub(crate) mod usd;

use std::fs;
use std::path::Path;

use centinela_infra::Sources;
use centinela_plan::growth::{Goal, Parameters, parameters_for, runbook};
use centinela_plan::{Bill, Measured, PlanError, Prices, Sizes, Workload, levers, limits, options, peer};
use serde::Deserialize;

pub use args::Args;

use crate::failure::Failure;
use crate::outfile;
use crate::terminal;
use output::{At, Output};

/// What comes with the command; files in their place are read with `--prices` and `--measured`.
const PRICES: &str = include_str!("../../../infra/prices.json");
const MEASURED: &str = include_str!("../../../infra/measured.json");
const BUDGET: &str = include_str!("../../../infra/budget.json");
/// Room that the stacks as they are must still have at a rate; with less the plan grows their parameters.
const ROOM: f64 = 1.1;

/// The largest input file, in bytes: a report has some hundred KB.
const FILE_MAX: u64 = 64 * 1024 * 1024;

/// What plans may come to.
#[derive(Debug, Deserialize)]
struct Budget {
    limits: Vec<Ceiling>,
}

/// The most that one environment's plan may come to.
#[derive(Debug, Deserialize)]
struct Ceiling {
    environment: String,
    per_minute: f64,
    usd_month: f64,
}

/// Everything that plans are made from.
struct Inputs {
    sources: Sources,
    parameters: Parameters,
    measured: Measured,
    prices: Prices,
    workload: Workload,
}

/// Runs the command.
///
/// # Errors
/// The request cannot be carried out as given, a file cannot be read or written, or a plan exceeds its budget.
pub fn run(arguments: &Args) -> Result<(), Failure> {
    if let Some(path) = &arguments.svg {
        outfile::check_writable("--svg", path, outfile::Manner::Replaced)?;
    }
    if !arguments.measure.is_empty() {
        return measure::run(arguments, &measured(arguments)?);
    }
    if arguments.model {
        terminal::print(&centinela_plan::text::checked(&measured(arguments)?));
        return Ok(());
    }
    let inputs = inputs(arguments)?;
    if arguments.check {
        return check(&inputs);
    }
    if let (Some(from), Some(to)) = (arguments.from, arguments.to) {
        return grow(arguments, &inputs, from, to);
    }
    let mut output = Output::default();
    for rate in &arguments.rate {
        output.plans.push(plan(arguments, &inputs, *rate)?);
    }
    if let Some(path) = &arguments.svg {
        let picture = output.picture().unwrap_or_default();
        outfile::write(path, picture.as_bytes())
            .map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", path.display())))?;
    }
    terminal::print(&if arguments.json { output.json()? } else { output.text(&inputs.prices) });
    Ok(())
}

fn usage(error: &PlanError) -> Failure {
    Failure::usage(error)
}

fn read(path: &Path) -> Result<String, Failure> {
    let refuse = |why: String| Failure::Usage(format!("{} cannot be read: {why}", path.display()));
    let size = fs::metadata(path).map_err(|error| refuse(error.to_string()))?.len();
    if size > FILE_MAX {
        return Err(refuse(format!("it has {size} bytes, and at most {FILE_MAX} are read; is it the right file?")));
    }
    fs::read_to_string(path).map_err(|error| refuse(error.to_string()))
}

/// The units that a plan rests on.
fn measured(arguments: &Args) -> Result<Measured, Failure> {
    let text = arguments.measured.as_deref().map(read).transpose()?;
    Measured::from_json(text.as_deref().unwrap_or(MEASURED)).map_err(|error| usage(&error))
}

fn inputs(arguments: &Args) -> Result<Inputs, Failure> {
    let sources = match &arguments.infra {
        Some(directory) => Sources::from_directory(directory, &arguments.env),
        None => Sources::bundled(&arguments.env),
    };
    let sources = sources.map_err(|error| Failure::usage(&error))?;
    let mut parameters = stacks::parameters(&sources)?;
    for (name, value) in &arguments.set {
        if !parameters.contains_key(name) {
            let file = &arguments.env;
            return Err(Failure::Usage(format!("--set {name}: infra/env/{file}.json has no such parameter")));
        }
        parameters.insert(name.clone(), value.clone());
    }
    let prices = arguments.prices.as_deref().map(read).transpose()?;
    let prices = Prices::from_json(prices.as_deref().unwrap_or(PRICES)).map_err(|error| usage(&error))?;
    let mut workload = Workload::at(1.0).map_err(|error| usage(&error))?;
    arguments.adjust(&mut workload);
    Ok(Inputs { sources, parameters, measured: measured(arguments)?, prices, workload })
}

impl Inputs {
    fn at(&self, per_minute: f64) -> Result<Workload, Failure> {
        Workload::at(per_minute).map_err(|error| usage(&error))?;
        Ok(Workload { per_minute, ..self.workload })
    }

    /// The parameters for a rate: those of the file where they carry it, grown ones otherwise.
    fn parameters_at(&self, per_minute: f64) -> Result<Parameters, Failure> {
        let sizes = stacks::sizes(&self.sources, &self.parameters)?;
        let workload = self.at(per_minute)?;
        let first = limits::limits(&sizes, &workload, &self.measured, &self.prices).map_err(|error| usage(&error))?;
        if first.first().is_none_or(|limit| per_minute * ROOM <= limit.full_at_per_minute) {
            return Ok(self.parameters.clone());
        }
        self.grown(&self.parameters, &sizes, per_minute)
    }

    fn grown(&self, base: &Parameters, sizes: &Sizes, per_minute: f64) -> Result<Parameters, Failure> {
        let Self { workload, measured, prices, .. } = self;
        let goal = Goal { per_minute, base, sizes, workload, measured, prices };
        parameters_for(&goal).map_err(|error| usage(&error))
    }

    fn differing(&self, parameters: &Parameters) -> Vec<(String, String, String)> {
        let differ = |(name, from): (&String, &String)| {
            let to = parameters.get(name).filter(|to| *to != from)?;
            Some((name.clone(), from.clone(), to.clone()))
        };
        self.parameters.iter().filter_map(differ).collect()
    }
}

/// What a plan of the environment at a rate may come to, where the repository says.
fn budget(environment: &str, per_minute: f64) -> Result<Option<f64>, Failure> {
    let budget: Budget = serde_json::from_str(BUDGET).map_err(|error| Failure::failed(&error))?;
    let mut limits = budget.limits.iter().filter(|limit| limit.environment == environment);
    Ok(limits.find(|limit| (limit.per_minute - per_minute).abs() < 0.5).map(|limit| limit.usd_month))
}

fn plan(arguments: &Args, inputs: &Inputs, per_minute: f64) -> Result<At, Failure> {
    let (measured, prices) = (&inputs.measured, &inputs.prices);
    let parameters = if arguments.as_is { inputs.parameters.clone() } else { inputs.parameters_at(per_minute)? };
    let (workload, sizes) = (inputs.at(per_minute)?, stacks::sizes(&inputs.sources, &parameters)?);
    let make = || -> Result<At, PlanError> {
        let bill = Bill::new(&sizes, &workload, measured, prices)?;
        Ok(At {
            limits: limits::limits(&sizes, &workload, measured, prices)?,
            usual: peer::usual(&sizes, &workload, measured, prices, &bill)?,
            live: centinela_plan::live::LiveCost::of(&bill, &sizes)?,
            levers: arguments.levers.then(|| levers::table(&sizes, &workload, measured, prices)).transpose()?,
            options: arguments.options.then(|| options::all(&sizes, &workload, measured, prices)).transpose()?,
            grown: inputs.differing(&parameters),
            budget: None,
            measured: format!("{}, {}", measured.measured_on, measured.machine),
            bill,
        })
    };
    let mut at = make().map_err(|error| usage(&error))?;
    at.budget = budget(&arguments.env, per_minute)?;
    Ok(at)
}

/// Fails when the plan of an environment exceeds what the repository allows.
fn check(inputs: &Inputs) -> Result<(), Failure> {
    let budget: Budget = serde_json::from_str(BUDGET).map_err(|error| Failure::failed(&error))?;
    let mut exceeded = Vec::new();
    let environment = &inputs.sources.environment;
    for limit in budget.limits.iter().filter(|limit| limit.environment == *environment) {
        let (workload, sizes) = (inputs.at(limit.per_minute)?, stacks::sizes(&inputs.sources, &inputs.parameters)?);
        let bill = Bill::new(&sizes, &workload, &inputs.measured, &inputs.prices).map_err(|error| usage(&error))?;
        let grouped = centinela_plan::text::grouped;
        let line = format!(
            "{environment} at {} a minute: USD {} a month of {}",
            grouped(limit.per_minute),
            grouped(bill.total_usd_month),
            grouped(limit.usd_month)
        );
        if bill.total_usd_month > limit.usd_month {
            exceeded.push(line.clone());
        }
        terminal::print(&format!("{line}\n"));
    }
    if exceeded.is_empty() {
        return Ok(());
    }
    let lines = exceeded.join("; ");
    Err(Failure::Failed(format!(
        "over the budget: {lines}. `centinela plan --levers` shows what can be done, infra/budget.json the limit"
    )))
}

/// Prints the steps from one rate to another.
fn grow(arguments: &Args, inputs: &Inputs, from: f64, to: f64) -> Result<(), Failure> {
    if to <= from {
        return Err(usage(&PlanError::NoGrowth { from, to }));
    }
    let before = inputs.parameters_at(from)?;
    let sizes = stacks::sizes(&inputs.sources, &before)?;
    let after = inputs.grown(&before, &sizes, to)?;
    // What AWS would refuse, and what the reader would, is said before anybody begins.
    stacks::sizes(&inputs.sources, &after)?;
    let steps = runbook(&before, &after).map_err(|error| usage(&error))?;
    if arguments.json {
        let text = serde_json::to_string_pretty(&steps).map_err(|error| Failure::failed(&error))?;
        terminal::print(&format!("{text}\n"));
        return Ok(());
    }
    let prefix = inputs.parameters.get("NamePrefix").map_or("", String::as_str);
    let grouped = centinela_plan::text::grouped;
    terminal::print(&format!(
        "{}: from {} to {} transactions a minute, {} steps, in this order\n\n",
        arguments.env,
        grouped(from),
        grouped(to),
        steps.len()
    ));
    terminal::print(&centinela_plan::text::runbook(&steps, &arguments.env, prefix));
    Ok(())
}
