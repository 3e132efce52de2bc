//! The steps from one set of parameters to a larger one, in an order in which nothing is throttled on the way: first what takes load, then what
//! brings it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::stacks::{also_in, stack_of};
use super::{Parameters, UNRESERVED, number, provisioned_units, reserved};
use crate::PlanError;

/// Quotas of an account until more is asked for; see [`super::rules`].
const CONCURRENCY: u32 = 1_000;
const TABLE_UNITS: u32 = 40_000;
const ACCOUNT_UNITS: u32 = 80_000;
/// Attributes of MSK in the order in which they are changed.
const MSK: [&str; 5] = ["KafkaVersion", "BrokerMonitoring", "BrokerVolumeGiB", "BrokerInstanceType", "BrokerCount"];

/// What is done beside changing parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum Action {
    /// Nothing: the stack is updated with the new parameters.
    Update,
    /// A quota is asked for.
    Quota {
        /// `concurrency`, `table units`, `units of all tables` or `shards`.
        name: &'static str,
        /// The least that is needed.
        value: u32,
    },
    /// Express brokers are added to the cluster, and topics moved to them.
    InPlaceExpress {
        /// Type of the new brokers.
        kind: String,
        /// How many.
        count: u32,
    },
    /// The Standard brokers go; there is no way back from here. The stack is told.
    CompleteExpress,
}

/// A parameter's change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// What it is.
    pub from: String,
    /// What it becomes.
    pub to: String,
}

/// One step: one stack updated, or one thing asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// In one line.
    pub title: String,
    /// What is done beside the parameters.
    #[serde(flatten)]
    pub action: Action,
    /// The stack that is updated.
    pub stack: &'static str,
    /// Its parameters that change.
    pub changes: Vec<Change>,
    /// What must be true before the next step.
    pub wait_for: &'static str,
    /// Hours that the next step must wait at least, by AWS's rules and whole hours.
    pub wait_hours: u32,
    /// How long it takes, as far as AWS says.
    pub takes: &'static str,
}

/// The steps from `from` to `to`. Parameters that are the same in both, and those that `from` does not have, are left alone.
///
/// # Errors
/// A parameter that only grows would shrink, or is no number.
pub fn runbook(from: &Parameters, to: &Parameters) -> Result<Vec<Step>, PlanError> {
    let mut book = Book { now: from.clone(), to, steps: Vec::new() };
    book.check()?;
    book.quotas();
    book.brake();
    book.shards();
    book.update(
        "tables take more",
        |name| stack_of(name) == "30-data",
        TABLES_WAIT,
        "minutes; a larger table splits its partitions for up to an hour",
    );
    book.brokers();
    book.update("topics get more partitions", |name| name.ends_with("Partitions"), TOPICS_WAIT, "minutes");
    book.functions();
    book.update(
        "alarms as large as what they watch",
        |name| matches!(stack_of(name), "45-brokers" | "50-ops"),
        ALARMS_WAIT,
        "a minute",
    );
    book.told();
    Ok(book.steps)
}

const TABLES_WAIT: &str =
    "the tables are ACTIVE, and ProvisionedWriteCapacityUnits has reached the Min; no WriteThrottleEvents";
const TOPICS_WAIT: &str = "`kafka-topics --describe` shows them, each with a leader; keys move to other partitions, which the protocol does not mind";
const ALARMS_WAIT: &str = "the alarms say OK";
const CLUSTER_WAIT: &str = "the cluster is ACTIVE, UnderReplicatedPartitions is 0, p99 is what it was";

/// Concurrent executions of the account, with the 100 that cannot be reserved, units of the largest table, and those of all provisioned ones.
fn needs(parameters: &Parameters) -> [u32; 3] {
    let units = parameters.keys().filter(|name| name.ends_with("UnitsMax") && !name.starts_with("GuardCosts"));
    let largest = units.filter_map(|name| number(parameters, name)).max().unwrap_or(0);
    [reserved(parameters).saturating_add(UNRESERVED), largest, provisioned_units(parameters)]
}

struct Book<'a> {
    now: Parameters,
    to: &'a Parameters,
    steps: Vec<Step>,
}

impl Book<'_> {
    fn check(&self) -> Result<(), PlanError> {
        let only_grow =
            |name: &str| name.ends_with("Partitions") || matches!(name, "BrokerVolumeGiB" | "DecisionsShards");
        for (name, value) in self.now.iter().filter(|(name, _)| only_grow(name)) {
            let (from, to) = (number(&self.now, name), number(self.to, name));
            let limit = "a whole number that is not smaller in the goal";
            if from.is_none() || to.is_none() || to < from {
                return Err(PlanError::Parameter { name: name.clone(), value: value.clone(), limit });
            }
        }
        Ok(())
    }

    /// What differs among the parameters that `wanted` takes.
    fn changes(&self, wanted: impl Fn(&str) -> bool) -> Vec<Change> {
        let differ = self.now.iter().filter_map(|(name, from)| {
            let to = self.to.get(name).filter(|to| *to != from)?;
            wanted(name).then(|| Change { name: name.clone(), from: from.clone(), to: to.clone() })
        });
        differ.collect()
    }

    fn push(&mut self, step: Step) {
        for change in &step.changes {
            self.now.insert(change.name.clone(), change.to.clone());
        }
        self.steps.push(step);
    }

    /// One step for each stack that has a parameter among the changes.
    fn update(&mut self, title: &str, wanted: impl Fn(&str) -> bool, wait_for: &'static str, takes: &'static str) {
        let changes = self.changes(wanted);
        let stacks: BTreeSet<&'static str> = changes.iter().map(|change| stack_of(&change.name)).collect();
        for stack in stacks {
            let changes: Vec<Change> =
                changes.iter().filter(|change| stack_of(&change.name) == stack).cloned().collect();
            self.push(Step {
                title: title.to_owned(),
                action: Action::Update,
                stack,
                changes,
                wait_for,
                wait_hours: 0,
                takes,
            });
        }
    }

    /// Stacks that declare a changed parameter and had no step of their own after it.
    fn told(&mut self) {
        let mut untold = BTreeSet::<&'static str>::new();
        for step in &self.steps {
            untold.extend(step.changes.iter().flat_map(|change| also_in(&change.name)).copied());
            untold.remove(step.stack);
        }
        for stack in untold {
            self.push(Step {
                title: "another stack goes by the new values".to_owned(),
                action: Action::Update,
                stack,
                changes: Vec::new(),
                wait_for: ALARMS_WAIT,
                wait_hours: 0,
                takes: "a minute",
            });
        }
    }

    /// What the account must grant first; what runs already has been granted.
    fn quotas(&mut self) {
        let (now, then) = (needs(&self.now), needs(self.to));
        let quotas =
            [("concurrency", CONCURRENCY), ("table units", TABLE_UNITS), ("units of all tables", ACCOUNT_UNITS)];
        for ((name, least), (now, value)) in quotas.into_iter().zip(now.into_iter().zip(then)) {
            if value > least.max(now) {
                self.push(Step {
                    title: format!("ask AWS for a quota of {value} ({name})"),
                    action: Action::Quota { name, value },
                    stack: "",
                    changes: Vec::new(),
                    wait_for: "Service Quotas shows the new value",
                    wait_hours: 0,
                    takes: "hours to days; ask first",
                });
            }
        }
    }

    /// It would take growth for a mistake.
    fn brake(&mut self) {
        let wait = "the alarms brake-… say OK";
        let is_limit = |name: &str| name.starts_with("GuardCosts") || stack_of(name) == "80-budget";
        self.update("limits of the brake and the budget are raised", is_limit, wait, "a minute");
    }

    /// A stream at most doubles.
    fn shards(&mut self) {
        let Some(goal) = number(self.to, "DecisionsShards") else { return };
        while let Some(now) = number(&self.now, "DecisionsShards").filter(|now| (1..goal).contains(now)) {
            let next = now.saturating_mul(2).min(goal);
            let changes =
                vec![Change { name: "DecisionsShards".to_owned(), from: now.to_string(), to: next.to_string() }];
            // Ten times a day.
            let resized =
                self.steps.iter().filter(|step| step.changes.iter().any(|change| change.name == "DecisionsShards"));
            let wait_hours = if (resized.count() + 1) % 10 == 0 { 25 } else { 0 };
            self.push(Step {
                title: format!("the stream gets {next} shards"),
                action: Action::Update,
                stack: "20-streaming",
                changes,
                wait_for: "the stream is ACTIVE; the old shards stay readable for a day, and their readers finish them first",
                wait_hours,
                takes: "some minutes",
            });
        }
    }

    fn brokers(&mut self) {
        let kind = |parameters: &Parameters| parameters.get("BrokerInstanceType").cloned().unwrap_or_default();
        let (from, to) = (kind(&self.now), kind(self.to));
        if to.starts_with("express.") && !from.starts_with("express.") {
            self.express(&to);
        }
        let wait = "the scaling target is there";
        self.update("disks may grow by themselves up to", |name| name == "BrokerVolumeGiBMax", wait, "a minute");
        for name in MSK {
            let goes = self.changes(|changed| changed == name);
            if goes.is_empty() || (name == "BrokerVolumeGiB" && to.starts_with("express.")) {
                continue;
            }
            let takes = match name {
                "BrokerVolumeGiB" => {
                    "minutes, then optimising for hours; the next change of disks six hours later at the earliest"
                }
                "BrokerCount" => {
                    "15 minutes and more; then partitions are moved with kafka-reassign-partitions, which Express does itself"
                }
                _ => "10 to 15 minutes a broker, one after the other",
            };
            self.update(&format!("the cluster's {name}"), |changed| changed == name, CLUSTER_WAIT, takes);
        }
    }

    /// Standard brokers become Express ones: added, topics moved, the others taken away.
    fn express(&mut self, kind: &str) {
        self.update(
            "properties that Express fixes itself leave the configuration",
            |name| name == "BrokerProperties",
            CLUSTER_WAIT,
            "a rolling restart, 10 to 15 minutes a broker",
        );
        let count = number(self.to, "BrokerCount").unwrap_or(3);
        let wait_for = "every topic, the internal ones too, is on Express brokers; lag and p99 are what they were. Until the next step all of it can be rolled back";
        self.push(Step {
            title: format!("the in-place upgrade to {count} {kind}: assess, then begin"),
            action: Action::InPlaceExpress { kind: kind.to_owned(), count },
            stack: "",
            changes: Vec::new(),
            wait_for,
            wait_hours: 0,
            takes: "hours, with the data that is moved; both kinds of brokers are paid meanwhile",
        });
        let changes = self.changes(|name| matches!(name, "BrokerInstanceType" | "BrokerCount"));
        let wait_for = "the cluster is ACTIVE with Express brokers alone. The stack is told by an update whose change set must not replace the cluster: how CloudFormation takes it is not proven without an account";
        self.push(Step {
            title: "the upgrade is completed: Standard brokers go, and there is no way back".to_owned(),
            action: Action::CompleteExpress,
            stack: "20-streaming",
            changes,
            wait_for,
            wait_hours: 0,
            takes: "an hour",
        });
    }

    /// Each function's stack once: CloudFormation changes the function before the mapping that refers to it.
    fn functions(&mut self) {
        let wait = "the mapping is Enabled, the lag falls to what it was, Throttles is 0";
        self.update(
            "environments, then pollers",
            |name| stack_of(name).starts_with("40-functions/"),
            wait,
            "two minutes; a mapping restarts for up to 90 s",
        );
    }
}
