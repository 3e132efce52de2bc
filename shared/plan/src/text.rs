//! A plan as a person reads it.

use std::fmt::Write as _;

use crate::growth::{Action, Step};
use crate::levers;
use crate::limits::Limit;
use crate::options::Choice;
use crate::peer::Peer;
use crate::queue::{predict, question_of};
use crate::{Bill, Measured, Prices};

/// Limits and lines that are shown; the JSON has them all.
const LIMITS_SHOWN: usize = 6;
/// The most records of a batch in the stacks.
const BATCH_MAX: u32 = 100;

/// Everything that a plan says of one rate.
pub struct Shown<'a> {
    /// The bill.
    pub bill: &'a Bill,
    /// What breaks first.
    pub limits: &'a [Limit],
    /// The usual stack.
    pub peer: &'a Peer,
    /// Where the measured units come from.
    pub measured: &'a str,
    /// Parameters that differ from the environment's file.
    pub grown: &'a [(String, String, String)],
    /// Budget of the repository for this environment and rate, where there is one.
    pub budget: Option<f64>,
}

/// The whole plan.
#[must_use]
pub fn plan(shown: &Shown<'_>, prices: &Prices) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _infallible = write_plan(&mut out, shown, prices);
    out
}

fn write_head(out: &mut String, shown: &Shown<'_>, prices: &Prices) -> std::fmt::Result {
    let bill = shown.bill;
    writeln!(
        out,
        "{} at {} transactions a minute, {}: USD {} a month, USD {:.2} per million decisions",
        bill.environment,
        grouped(bill.per_minute),
        prices.region,
        grouped(bill.total_usd_month),
        bill.per_million_usd
    )?;
    if let Some(budget) = shown.budget {
        let share = 100.0 * bill.total_usd_month / budget;
        writeln!(out, "  budget        {share:.0} % of the USD {} that infra/budget.json allows", grouped(budget))?;
    }
    let deciding = &bill.deciding;
    writeln!(
        out,
        "  deciding      {} slots {:.0} % busy, {:.1} records a batch, {:.0} invocations a second of {:.0} ms; p50 {:.0}  p99 {:.0}  p99.9 {:.0} ms{}",
        deciding.slots,
        100.0 * deciding.busy,
        deciding.batch,
        deciding.invocations_per_second,
        deciding.invocation_ms,
        deciding.latency_ms_p50,
        deciding.latency_ms_p99,
        deciding.latency_ms_p999,
        if deciding.keeps_up { "" } else { "; IT DOES NOT KEEP UP" }
    )?;
    writeln!(out, "  measured      {}", shown.measured)
}

fn write_plan(out: &mut String, shown: &Shown<'_>, prices: &Prices) -> std::fmt::Result {
    let bill = shown.bill;
    write_head(out, shown, prices)?;
    if !shown.grown.is_empty() {
        writeln!(out, "\nParameters that differ from the environment's file")?;
        for (name, from, to) in shown.grown {
            writeln!(out, "  {name:<42} {from:>18} -> {to}")?;
        }
    }
    writeln!(out, "\nUSD a month by service, and what is behind each line")?;
    for service in &bill.services {
        writeln!(out, "  {:>10}  {}", grouped_cents(service.usd_month), service.service)?;
        for line in service.lines.iter().filter(|line| line.usd_month >= 0.5) {
            writeln!(
                out,
                "  {:>10}    {}: {} {} ({})",
                grouped_cents(line.usd_month),
                line.what,
                grouped(line.quantity),
                line.unit,
                line.assumption
            )?;
        }
    }
    write_limits(out, shown.limits)?;
    write_peer(out, shown.peer, bill)?;
    if !bill.unconfirmed.is_empty() {
        writeln!(
            out,
            "\nPrices that one secondary source alone states, or that follow from another: {}",
            bill.unconfirmed.join(", ")
        )?;
    }
    writeln!(out, "List prices without free tiers, discounts or commitments; support and taxes are not in it.")
}

fn write_limits(out: &mut String, limits: &[Limit]) -> std::fmt::Result {
    writeln!(out, "\nWhat is full first, in transactions a minute")?;
    for limit in limits.iter().take(LIMITS_SHOWN) {
        let at = grouped(limit.full_at_per_minute);
        writeln!(out, "  {at:>12}  {} ({}): {}", limit.what, limit.parameter, limit.then)?;
    }
    Ok(())
}

fn write_peer(out: &mut String, peer: &Peer, bill: &Bill) -> std::fmt::Result {
    writeln!(
        out,
        "\nThe usual stack (Kafka, Spark, Redis) for the same load: USD {} a month, USD {:.2} per million; ours is {:.2} of that",
        grouped(peer.total_usd_month),
        peer.per_million_usd,
        bill.total_usd_month / peer.total_usd_month.max(f64::MIN_POSITIVE)
    )?;
    for part in &peer.parts {
        writeln!(out, "  {:>10}  {} ({})", grouped_cents(part.usd_month), part.what, part.assumption)?;
    }
    writeln!(
        out,
        "              it keeps state in memory, answers at least once, and nothing caps what a mistake costs"
    )
}

/// The levers' table as Markdown.
#[must_use]
pub fn levers(table: &levers::Table) -> String {
    let mut out = format!(
        "| lever | saves | then | changes | costs |\n| --- | ---: | ---: | --- | --- |\n| as the stacks were | | {} | | |\n",
        grouped(table.from_usd_month)
    );
    for row in &table.rows {
        let _infallible = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            row.name,
            grouped(row.saves_usd_month),
            grouped(row.then_usd_month),
            row.changes,
            row.costs
        );
    }
    out
}

/// The alternatives as Markdown.
#[must_use]
pub fn choices(choices: &[Choice]) -> String {
    let mut out = "| otherwise | USD a month | means | by parameters |\n| --- | ---: | --- | --- |\n".to_owned();
    for choice in choices {
        let usd = choice.usd_month.map_or_else(|| "no price found".to_owned(), signed);
        let by = if choice.by_parameter { "yes" } else { "no" };
        let _infallible = writeln!(out, "| {} | {usd} | {} | {by} |", choice.name, choice.means);
    }
    out
}

/// A runbook.
#[must_use]
pub fn runbook(steps: &[Step], environment: &str, prefix: &str) -> String {
    let mut out = String::new();
    for (number, step) in (1..).zip(steps) {
        let _infallible = write_step(&mut out, number, step, environment, prefix);
    }
    if steps.is_empty() {
        out.push_str("Nothing to change: the parameters carry both rates.\n");
    }
    out
}

fn write_step(out: &mut String, number: u32, step: &Step, environment: &str, prefix: &str) -> std::fmt::Result {
    writeln!(out, "{number}. {}", step.title)?;
    for change in &step.changes {
        writeln!(out, "   {} {} -> {}   (infra/env/{environment}.json)", change.name, change.from, change.to)?;
    }
    match &step.action {
        Action::InPlaceExpress { kind, .. } => {
            writeln!(
                out,
                "   aws kafka create-assessment --assessment-type UPDATE_BROKER_TYPE … ; MSK console, in-place upgrade to {kind}, controlled mode"
            )?;
        }
        Action::CompleteExpress => {
            writeln!(
                out,
                "   MSK console, complete the upgrade; then a change set of {prefix}centinela-20-streaming, read before it is executed"
            )?;
        }
        Action::Quota { .. } => writeln!(out, "   aws service-quotas request-service-quota-increase …")?,
        Action::Update => {
            let name = step.stack.rsplit('/').next().unwrap_or(step.stack);
            let number = step.stack.split('-').next().unwrap_or_default();
            let stack = if step.stack.contains('/') { format!("{number}-{name}") } else { name.to_owned() };
            writeln!(out, "   deploy {prefix}centinela-{stack} (infra/{}.yaml)", step.stack)?;
        }
    }
    writeln!(out, "   wait: {}", step.wait_for)?;
    if step.wait_hours > 0 {
        writeln!(out, "   at least {} hours", step.wait_hours)?;
    }
    writeln!(out, "   takes: {}", step.takes)
}

/// A number with its thousands apart, without decimals.
#[must_use]
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if value < -0.5 { format!("-{out}") } else { out }
}

fn grouped_cents(value: f64) -> String {
    let cents = format!("{value:.2}");
    let (whole, rest) = cents.split_once('.').unwrap_or((&cents, "00"));
    format!("{}.{rest}", grouped(whole.parse().unwrap_or(0.0)))
}

fn signed(value: f64) -> String {
    let text = grouped(value);
    if value > 0.5 { format!("+{text}") } else { text }
}

/// The queueing model against the runs that it was fitted to.
#[must_use]
pub fn checked(measured: &Measured) -> String {
    let mut out =
        "Measured and predicted: transactions a second; records a batch; invocations a second; p50 and p99 in ms\n"
            .to_owned();
    for run in &measured.runs {
        let predicted = predict(&question_of(run, measured.invocation, BATCH_MAX));
        let _infallible = writeln!(
            out,
            "  {:>7.0}  batch {:>6.1} {:>6.1}  invocations {:>7.0} {:>7.0}  p50 {:>6.1} {:>6.1}  p99 {:>7.1} {:>7.1}",
            run.per_second,
            run.batch,
            predicted.batch,
            run.per_second / run.batch.max(1.0),
            predicted.invocations_per_second,
            run.latency_ms[0],
            predicted.latency_ms_p50,
            run.latency_ms[1],
            predicted.latency_ms_p99
        );
    }
    let invocation = measured.invocation;
    let _infallible = writeln!(
        out,
        "an invocation takes {:.2} ms and {:.3} ms a record, beside its calls",
        invocation.base_ms, invocation.record_ms
    );
    out
}
