//! A model of what AWS accepts of an update, and of what stands in its way. It knows nothing of how a runbook is made.
//!
//! - MSK takes one attribute of a cluster per update: <https://docs.aws.amazon.com/msk/latest/developerguide/before-you-begin.html>, and answers
//!   "You can't update multiple attributes of the cluster in same request" (<https://github.com/aws/aws-cdk/issues/16765>).
//! - Brokers come in multiples of the zones, and only ever more: <https://docs.aws.amazon.com/msk/latest/developerguide/msk-update-broker-count.html>.
//! - Disks only grow, at most once in six hours: <https://docs.aws.amazon.com/msk/latest/developerguide/msk-update-storage.html>.
//! - Nothing leads from ZooKeeper to KRaft: <https://docs.aws.amazon.com/msk/latest/developerguide/version-upgrades.html>. From Standard to Express
//!   leads the in-place upgrade, from Kafka 3.9 with KRaft only: <https://docs.aws.amazon.com/msk/latest/developerguide/msk-upgrade-initiate.html>.
//! - Express refuses properties that it fixes itself: <https://docs.aws.amazon.com/msk/latest/developerguide/msk-configuration-express-read-only.html>.
//! - A stream's shards at most double, ten times a day: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html>.
//! - Partitions only grow; a mapping has at most as many pollers as its topic partitions.
//! - An account has 1,000 concurrent executions, of which 100 cannot be reserved, tables of 40,000 units, and 80,000 for all provisioned ones,
//!   until more is asked for:
//!   <https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>,
//!   <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>.

use std::collections::BTreeSet;

use thiserror::Error;

use super::stacks::{also_in, stack_of};
use super::{Action, Parameters, Step, UNRESERVED, number, provisioned_units, reserved};

/// Attributes of the cluster: one of them per update.
const MSK: [&str; 6] =
    ["KafkaVersion", "BrokerInstanceType", "BrokerCount", "BrokerVolumeGiB", "BrokerMonitoring", "BrokerProperties"];
/// Partitions of topics, and the topics that each parameter is for.
const PARTITIONS: [(&str, f64); 4] = [
    ("TransactionsPartitions", 1.0),
    ("UserActionsPartitions", 1.0),
    ("EventsPartitions", 1.0),
    // Of approved and of blocked.
    ("DecisionPartitions", 2.0),
];
/// Pollers of a mapping, and the partitions of its topic.
const POLLERS: [(&str, &str); 7] = [
    ("ScoreTransactionsPollersMax", "TransactionsPartitions"),
    ("ScoreTransactionsPollersMin", "TransactionsPartitions"),
    ("TrackUserActionsPollers", "UserActionsPartitions"),
    ("ApplyLabelsPollers", "EventsPartitions"),
    ("ArchiveTransactionsPollers", "TransactionsPartitions"),
    ("ArchiveUserActionsPollers", "UserActionsPartitions"),
    ("ArchiveApprovedPollers", "DecisionPartitions"),
];
const ZONES: u32 = 3;
const VOLUME_MAX: u32 = 16_384;
const BROKERS_MAX_ZOOKEEPER: u32 = 30;
const BROKERS_MAX: u32 = 60;
const HOURS_BETWEEN_DISKS: u32 = 6;
const SHARDS_A_DAY: usize = 10;
const CONCURRENCY: u32 = 1_000;
const TABLE_UNITS: u32 = 40_000;
const ACCOUNT_UNITS: u32 = 80_000;
const SHARDS: u32 = 20_000;
const PER_POLLER: u32 = 5;
/// The dead letters' partitions, which no parameter changes.
const OTHER_PARTITIONS: f64 = 3.0;
const COPIES: f64 = 3.0;

/// Why AWS, or common sense, refuses a step. The step did nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum Refusal {
    #[error("MSK takes one attribute per update, not {0:?}")]
    SeveralMskAttributes(Vec<String>),
    #[error("the step changes {name} from {from}, but it is {found}")]
    NotWhatItIs { name: String, from: String, found: String },
    #[error("{name} cannot go from {from} to {to}: it only grows")]
    Shrinks { name: String, from: u32, to: u32 },
    #[error("{0} brokers cannot be spread over {ZONES} zones")]
    Uneven(u32),
    #[error("{count} brokers are more than the {max} of a cluster")]
    TooManyBrokers { count: u32, max: u32 },
    #[error("a disk of {0} GiB is more than a broker takes")]
    DiskTooLarge(u32),
    #[error("disks were changed {hours} h ago: once in {HOURS_BETWEEN_DISKS} h")]
    DisksTooSoon { hours: u32 },
    #[error("no update leads from {from} to {to}")]
    NoWay { from: String, to: String },
    #[error("the in-place upgrade to Express needs {0}")]
    NotReadyForExpress(&'static str),
    #[error("{copies} copies of partitions are more than {max} a broker on {brokers} brokers")]
    TooManyPartitions { copies: String, max: String, brokers: u32 },
    #[error("a stream goes from {from} shards to at most double, not to {to}")]
    MoreThanDouble { from: u32, to: u32 },
    #[error("the stream was resized {SHARDS_A_DAY} times in 24 h")]
    ShardsTooOften,
    #[error("{name} of {value} exceeds the account's {quota}; ask for more first")]
    OverQuota { name: String, value: u32, quota: u32 },
    #[error("{name} of {pollers} is more than the {partitions} partitions of its topic")]
    MorePollersThanPartitions { name: String, pollers: u32, partitions: u32 },
    #[error("{min} is more than {max} of {name}")]
    OutOfOrder { name: String, min: u32, max: u32 },
    #[error(
        "{concurrency} environments are fewer than the {wanted} invocations that the pollers keep going: throttled"
    )]
    Throttled { concurrency: u32, wanted: u32 },
    #[error("a step changes one stack, not {0} as well")]
    SeveralStacks(String),
}

/// A deployment and its account, as far as updates are concerned.
#[derive(Debug, Clone)]
pub struct Account {
    parameters: Parameters,
    /// Hours since the beginning.
    now_h: u32,
    disks_at_h: Option<u32>,
    resized_at_h: Vec<u32>,
    concurrency: u32,
    table_units: u32,
    account_units: u32,
    shards: u32,
    in_place: bool,
    /// Stacks that still go by the former value of a parameter.
    untold: BTreeSet<&'static str>,
}

impl Account {
    /// A deployment that runs with these parameters, in an account with the default quotas.
    #[must_use]
    pub fn new(parameters: Parameters) -> Self {
        Self {
            parameters,
            now_h: 0,
            disks_at_h: None,
            resized_at_h: Vec::new(),
            concurrency: CONCURRENCY,
            table_units: TABLE_UNITS,
            account_units: ACCOUNT_UNITS,
            shards: SHARDS,
            in_place: false,
            untold: BTreeSet::new(),
        }
    }

    /// The parameters as they are.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Stacks that declare a parameter which another stack was updated with: their alarms and brakes still go by its former value.
    #[must_use]
    pub fn untold(&self) -> &BTreeSet<&'static str> {
        &self.untold
    }

    /// Carries out a step and waits until it is done.
    ///
    /// # Errors
    /// It is refused, and nothing has changed.
    pub fn apply(&mut self, step: &Step) -> Result<(), Refusal> {
        let mut after = self.clone();
        after.now_h = after.now_h.saturating_add(step.wait_hours);
        match &step.action {
            // Granted whatever else is so.
            Action::Quota { name, value } => {
                after.raise(name, *value);
                *self = after;
                return Ok(());
            }
            Action::InPlaceExpress { .. } => {
                self.ready_for_express()?;
                after.in_place = true;
            }
            Action::CompleteExpress => {
                if !self.in_place {
                    return Err(Refusal::NotReadyForExpress(
                        "to be begun, and every topic moved, before it is completed",
                    ));
                }
                after.in_place = false;
            }
            Action::Update => {}
        }
        let mut msk = Vec::new();
        for change in &step.changes {
            let found = self.parameters.get(&change.name).cloned().unwrap_or_default();
            if found != change.from {
                let (name, from) = (change.name.clone(), change.from.clone());
                return Err(Refusal::NotWhatItIs { name, from, found });
            }
            if stack_of(&change.name) != step.stack {
                return Err(Refusal::SeveralStacks(stack_of(&change.name).to_owned()));
            }
            // Express ignores the size of disks.
            if MSK.contains(&change.name.as_str()) && !(change.name == "BrokerVolumeGiB" && self.is_express()) {
                msk.push(change.name.clone());
            }
            after.parameters.insert(change.name.clone(), change.to.clone());
            after.untold.extend(also_in(&change.name).iter().copied());
        }
        after.untold.remove(step.stack);
        // The in-place upgrade has changed type and number already; the stack is only told.
        if msk.len() > 1 && !(self.in_place && step.action == Action::CompleteExpress) {
            return Err(Refusal::SeveralMskAttributes(msk));
        }
        self.cluster(&mut after, step)?;
        self.stream(&mut after)?;
        after.topics(&self.parameters)?;
        after.tables()?;
        after.functions()?;
        *self = after;
        Ok(())
    }

    fn raise(&mut self, name: &str, value: u32) {
        let quota = match name {
            "concurrency" => &mut self.concurrency,
            "table units" => &mut self.table_units,
            "units of all tables" => &mut self.account_units,
            _ => &mut self.shards,
        };
        *quota = (*quota).max(value);
    }

    fn is_express(&self) -> bool {
        self.text("BrokerInstanceType").starts_with("express.")
    }

    fn text(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u32 {
        number(&self.parameters, name).unwrap_or(0)
    }

    fn ready_for_express(&self) -> Result<(), Refusal> {
        let version = self.text("KafkaVersion");
        let needs = if self.is_express() {
            "Standard brokers"
        } else if !(version.starts_with("3.9.") && version.ends_with(".kraft")) {
            "Kafka 3.9 with KRaft"
        } else if self.text("BrokerInstanceType").contains(".t3.") {
            "M5 or M7g brokers"
        } else if self.parameters.contains_key("BrokerProperties") && self.text("BrokerProperties") != "express" {
            "a configuration without the properties that Express fixes"
        } else {
            return Ok(());
        };
        Err(Refusal::NotReadyForExpress(needs))
    }

    fn cluster(&self, after: &mut Self, step: &Step) -> Result<(), Refusal> {
        let change = |name: &str| (self.text(name).to_owned(), after.text(name).to_owned());
        let (from, to) = change("KafkaVersion");
        if from != to && (to.ends_with(".kraft") != from.ends_with(".kraft") || to < from) {
            return Err(Refusal::NoWay { from, to });
        }
        let (from, to) = change("BrokerInstanceType");
        let family = |kind: &str| kind.starts_with("express.");
        let told = self.in_place && step.action == Action::CompleteExpress;
        if from != to && (family(&from) != family(&to) && !told || to.contains(".t3.")) {
            return Err(Refusal::NoWay { from, to });
        }
        let (count, volume) = (self.number("BrokerCount"), self.number("BrokerVolumeGiB"));
        let (counts, volumes) = (after.number("BrokerCount"), after.number("BrokerVolumeGiB"));
        if counts < count && !told {
            return Err(Refusal::Shrinks { name: "BrokerCount".to_owned(), from: count, to: counts });
        }
        if counts % ZONES != 0 {
            return Err(Refusal::Uneven(counts));
        }
        let max = if after.text("KafkaVersion").ends_with(".kraft") { BROKERS_MAX } else { BROKERS_MAX_ZOOKEEPER };
        if counts > max {
            return Err(Refusal::TooManyBrokers { count: counts, max });
        }
        if volumes == volume || after.is_express() {
            return Ok(());
        }
        if volumes < volume {
            return Err(Refusal::Shrinks { name: "BrokerVolumeGiB".to_owned(), from: volume, to: volumes });
        }
        if volumes > VOLUME_MAX {
            return Err(Refusal::DiskTooLarge(volumes));
        }
        if let Some(hours) = self.disks_at_h.map(|at| self.now_h - at).filter(|hours| *hours < HOURS_BETWEEN_DISKS) {
            return Err(Refusal::DisksTooSoon { hours });
        }
        after.disks_at_h = Some(self.now_h);
        Ok(())
    }

    fn stream(&self, after: &mut Self) -> Result<(), Refusal> {
        let (from, to) = (self.number("DecisionsShards"), after.number("DecisionsShards"));
        if from == to {
            return Ok(());
        }
        if to > from.saturating_mul(2) || to < from.div_ceil(2) {
            return Err(Refusal::MoreThanDouble { from, to });
        }
        if to > self.shards {
            return Err(Refusal::OverQuota { name: "DecisionsShards".to_owned(), value: to, quota: self.shards });
        }
        after.resized_at_h.retain(|at| self.now_h < at + 24);
        if after.resized_at_h.len() >= SHARDS_A_DAY {
            return Err(Refusal::ShardsTooOften);
        }
        after.resized_at_h.push(self.now_h);
        Ok(())
    }

    fn topics(&self, before: &Parameters) -> Result<(), Refusal> {
        let mut partitions = OTHER_PARTITIONS;
        let mut changes = false;
        for (name, topics) in PARTITIONS {
            let (from, to) = (number(before, name).unwrap_or(0), self.number(name));
            if to < from {
                return Err(Refusal::Shrinks { name: name.to_owned(), from, to });
            }
            changes |= to != from;
            partitions += f64::from(to) * topics;
        }
        let (brokers, kind) = (self.number("BrokerCount"), self.text("BrokerInstanceType"));
        let max = most_partitions(kind);
        if changes && partitions * COPIES > max * f64::from(brokers) {
            let (copies, max) = (format!("{:.0}", partitions * COPIES), format!("{max:.0}"));
            return Err(Refusal::TooManyPartitions { copies, max, brokers });
        }
        Ok(())
    }

    fn tables(&self) -> Result<(), Refusal> {
        for (name, value) in &self.parameters {
            let Some(kind) = name.strip_suffix("UnitsMax").filter(|_| !name.starts_with("GuardCosts")) else {
                continue;
            };
            let max: u32 = value.parse().unwrap_or(0);
            if max > self.table_units {
                return Err(Refusal::OverQuota { name: name.clone(), value: max, quota: self.table_units });
            }
            let min = self.number(&format!("{kind}UnitsMin"));
            if min > max {
                return Err(Refusal::OutOfOrder { name: name.clone(), min, max });
            }
        }
        let value = provisioned_units(&self.parameters);
        if value > self.account_units {
            let (name, quota) = ("units of all tables".to_owned(), self.account_units);
            return Err(Refusal::OverQuota { name, value, quota });
        }
        Ok(())
    }

    fn functions(&self) -> Result<(), Refusal> {
        for (name, topic) in POLLERS {
            let (pollers, partitions) = (self.number(name), self.number(topic));
            if pollers > partitions && self.parameters.contains_key(topic) {
                return Err(Refusal::MorePollersThanPartitions { name: name.to_owned(), pollers, partitions });
            }
        }
        let (min, max) = (self.number("ScoreTransactionsPollersMin"), self.number("ScoreTransactionsPollersMax"));
        if min > max {
            return Err(Refusal::OutOfOrder { name: "ScoreTransactionsPollersMax".to_owned(), min, max });
        }
        let concurrency = self.number("ScoreTransactionsConcurrency");
        let wanted = self.number("TransactionsPartitions").min(max.saturating_mul(PER_POLLER));
        if concurrency < wanted {
            return Err(Refusal::Throttled { concurrency, wanted });
        }
        let value = reserved(&self.parameters);
        let quota = self.concurrency.saturating_sub(UNRESERVED);
        if value > quota {
            return Err(Refusal::OverQuota { name: "reserved concurrency".to_owned(), value, quota });
        }
        Ok(())
    }
}

/// Copies of partitions that a broker takes while updates work:
/// <https://docs.aws.amazon.com/msk/latest/developerguide/bestpractices.html> and `bestpractices-express.html` there.
fn most_partitions(kind: &str) -> f64 {
    let express = kind.starts_with("express.");
    match kind.rsplit('.').next().unwrap_or_default() {
        "small" => 300.0,
        "large" => 1_500.0,
        "xlarge" if express => 2_000.0,
        "xlarge" => 1_500.0,
        "2xlarge" if express => 4_000.0,
        "2xlarge" => 3_000.0,
        "4xlarge" if express => 8_000.0,
        _ if express => 16_000.0,
        _ => 6_000.0,
    }
}
