//! The plan of the real stacks: the budget, the levers, growth, the alarm on cost. What leaves the bounds here is a decision, not a slip.

use centinela_infra::{BudgetRule, Infrastructure, Rule, Sources};
use centinela_plan::growth::rules::Account;
use centinela_plan::growth::{Parameters, also_in, runbook, stack_of};
use centinela_plan::live::LiveCost;
use centinela_plan::{Bill, Sizes, levers};
use serde_json::json;

use super::{Args, BUDGET, Budget, Inputs, inputs, stacks};

fn arguments(flags: &[&str]) -> Args {
    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }
    <Alone as clap::Parser>::try_parse_from(["plan"].iter().chain(flags)).expect("flags").args
}

fn of(environment: &str) -> Inputs {
    inputs(&arguments(&["--env", environment])).unwrap_or_else(|failure| panic!("{environment}: {failure}"))
}

fn sizes(inputs: &Inputs, parameters: &Parameters) -> Sizes {
    stacks::sizes(&inputs.sources, parameters).unwrap_or_else(|failure| panic!("{failure}"))
}

fn bill(inputs: &Inputs, sizes: &Sizes, per_minute: f64) -> Bill {
    let workload = inputs.at(per_minute).expect("a rate");
    Bill::new(sizes, &workload, &inputs.measured, &inputs.prices).unwrap_or_else(|error| panic!("{error}"))
}

/// The gate on the bill.
#[test]
fn no_plan_exceeds_what_the_repository_allows() {
    let budget: Budget = serde_json::from_str(BUDGET).expect("it ships");
    let prod = budget.limits.iter().find(|limit| limit.environment == "prod").expect("prod has a limit");
    assert!((prod.per_minute - 100_000.0).abs() < 0.5, "at 100,000 a minute");
    for limit in &budget.limits {
        let inputs = of(&limit.environment);
        let sizes = sizes(&inputs, &inputs.parameters);
        let bill = bill(&inputs, &sizes, limit.per_minute);
        assert!(
            bill.total_usd_month <= limit.usd_month,
            "{} at {} a minute comes to USD {:.0} a month, {:.0} are allowed (infra/budget.json). `centinela plan --levers` shows where it \
             goes. Levers that the stacks do not pull: {:?}",
            limit.environment,
            limit.per_minute,
            bill.total_usd_month,
            limit.usd_month,
            levers::not_pulled(&sizes)
        );
        assert!(bill.deciding.keeps_up && bill.deciding.latency_ms_p99 < 250.0, "{:?}", bill.deciding);
    }
}

#[test]
fn the_gate_can_fail() {
    let mut inputs = of("prod");
    inputs.parameters.insert("TableBillingMode".to_owned(), "PAY_PER_REQUEST".to_owned());
    let (sizes, allowed) = (sizes(&inputs, &inputs.parameters), super::budget("prod", 100_000.0).expect("readable"));
    let found = bill(&inputs, &sizes, 100_000.0).total_usd_month;
    assert!(found > allowed.expect("a limit"), "{found} with every table on demand");
}

#[test]
fn the_stacks_of_production_pull_every_lever() {
    let inputs = of("prod");
    let sizes = sizes(&inputs, &inputs.parameters);
    assert_eq!(levers::not_pulled(&sizes), Vec::<&str>::new());
    assert!(levers::is_pulled(&sizes), "{:#?}\n{sizes:#?}", levers::pulled(&sizes));
}

#[test]
fn every_environment_has_sizes_and_a_plan() {
    for environment in ["dev", "local", "prod", "stage"] {
        let inputs = of(environment);
        let sizes = sizes(&inputs, &inputs.parameters);
        assert!(sizes.functions.len() >= 10 && sizes.mappings.len() >= 9 && sizes.tables.len() >= 6, "{sizes:#?}");
        for name in ["user_state", "device_state", "settled_offsets", "labels"] {
            assert!(sizes.tables.iter().any(|table| table.name == name), "{environment} has no {name}");
        }
        assert!(sizes.brokers.count == 3 && sizes.watch.alarm_metrics > 50 && sizes.keys >= 1, "{sizes:#?}");
        assert!(
            sizes.lake.intelligent_after_days > 0.0
                && sizes.lake.glacier_after_days > sizes.lake.intelligent_after_days
        );
        assert!(bill(&inputs, &sizes, 10_000.0).total_usd_month > 100.0, "{environment}");
    }
}

/// The runbook of the real parameters, against the model of AWS's rules, and its ends against the stacks.
#[test]
fn production_grows_to_ten_million_a_minute() {
    let inputs = of("prod");
    let mut before = inputs.parameters.clone();
    let mut account = Account::new(before.clone());
    for rate in [1_000_000.0, 10_000_000.0] {
        let after = inputs.grown(&before, &sizes(&inputs, &before), rate).unwrap_or_else(|failure| panic!("{failure}"));
        let steps = runbook(&before, &after).unwrap_or_else(|error| panic!("{error}"));
        assert!(steps.len() >= 10, "{rate}: {steps:#?}");
        for step in &steps {
            account.apply(step).unwrap_or_else(|refusal| panic!("{rate}: {}: {refusal}", step.title));
        }
        assert_eq!(account.parameters(), &after);
        assert!(account.untold().is_empty(), "{rate}: {:?}", account.untold());
        let grown = sizes(&inputs, &after);
        let bill = bill(&inputs, &grown, rate);
        assert!(bill.deciding.keeps_up && bill.deciding.latency_ms_p99 < 250.0, "{rate}: {:?}", bill.deciding);
        let number = |name: &str| after[name].parse::<f64>().expect("a number");
        let share = 100.0 * bill.total_usd_month / number("MonthlyBudgetUsd");
        assert!(share <= number("BudgetPlannedPerCent"), "{rate}: {share} % of the budget");
        let live = LiveCost::of(&bill, &grown).expect("there are users");
        for (name, planned) in [
            ("CostFixedUsdPerHour", live.fixed_usd_hour),
            ("CostUsdPerWriteUnit", live.usd_per_write_unit),
            ("CostUsdPerMillisecond", live.usd_per_millisecond),
        ] {
            assert!((number(name) / planned - 1.0).abs() < 0.05, "{rate}: {name} is {}", after[name]);
        }
        let workload = inputs.at(rate).expect("a rate");
        let limits =
            centinela_plan::limits::limits(&grown, &workload, &inputs.measured, &inputs.prices).expect("limits");
        assert!(limits[0].full_at_per_minute >= rate, "{rate}: {:?}", limits[0]);
        before = after;
    }
}

/// A stack that declares a changed parameter and is not updated goes on by its former value.
#[test]
fn every_stack_that_declares_a_grown_parameter_has_a_step() {
    let inputs = of("prod");
    let after = inputs.grown(&inputs.parameters, &sizes(&inputs, &inputs.parameters), 10_000_000.0);
    let after = after.unwrap_or_else(|failure| panic!("{failure}"));
    let declares = |text: &str, name: &str| {
        let parameters = text.lines().skip_while(|line| *line != "Parameters:").skip(1);
        let mut parameters = parameters.take_while(|line| line.is_empty() || line.starts_with(' '));
        parameters.any(|line| line == format!("  {name}:"))
    };
    let grown: Vec<_> = inputs.differing(&after).into_iter().map(|(name, _, _)| name).collect();
    assert!(grown.len() > 30, "{grown:?}");
    for name in grown {
        let mut told: Vec<_> = also_in(&name).iter().copied().chain([stack_of(&name)]).collect();
        told.sort_unstable();
        let stacks = inputs.sources.stacks.iter().filter(|(_, text)| declares(text, &name));
        let declared: Vec<_> = stacks.filter_map(|(file, _)| file.strip_suffix(".yaml")).collect();
        assert_eq!(told, declared, "{name}");
    }
}

#[test]
fn grown_parameters_break_no_rule_of_the_stacks() {
    let inputs = of("prod");
    let after = inputs.grown(&inputs.parameters, &sizes(&inputs, &inputs.parameters), 1_000_000.0);
    let parameters = json!({ "Parameters": after.unwrap_or_else(|failure| panic!("{failure}")) }).to_string();
    let sources = Sources { parameters, ..inputs.sources };
    let mut findings = Infrastructure::from_sources(&sources).unwrap_or_else(|error| panic!("{error}")).findings();
    // What a month may cost is the customer's to raise.
    findings.retain(|finding| !matches!(finding.rule, Rule::Budget(BudgetRule::LimitTooHigh(_))));
    assert!(findings.is_empty(), "{findings:#?}");
}

/// The alarm on cost follows three parameters; they must say what the plan says.
#[test]
fn the_alarm_on_cost_goes_by_the_plan() {
    let inputs = of("prod");
    let sizes = sizes(&inputs, &inputs.parameters);
    let bill = bill(&inputs, &sizes, 100_000.0);
    let live = LiveCost::of(&bill, &sizes).expect("there are users");
    let close = |name: &str, planned: f64| {
        let written: f64 = inputs.parameters[name].parse().expect("a number");
        let apart = (written / planned - 1.0).abs();
        assert!(
            apart < 0.15,
            "{name} is {written} in infra/env/prod.json, the plan says {planned:.3e} (`centinela plan --json`, live_cost)"
        );
    };
    close("CostFixedUsdPerHour", live.fixed_usd_hour);
    close("CostUsdPerWriteUnit", live.usd_per_write_unit);
    close("CostUsdPerMillisecond", live.usd_per_millisecond);
    let most: f64 = inputs.parameters["CostUsdPerMillionMax"].parse().expect("a number");
    assert!(bill.per_million_usd < most, "the alarm would always speak: {} of {most}", bill.per_million_usd);
}
