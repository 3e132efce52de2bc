//! What must be so in an account before anything is made there: found out first, because a network or a cluster that fails in the middle
//! takes half an hour to do so.

use std::collections::BTreeMap;
use std::fmt;

use crate::deployment::Deployment;
use crate::ports::{Caller, Cloud, CloudError, Concurrency, StackFacts, Zone};
use crate::status::Status;

/// Zones in which MSK makes no brokers.
/// <https://docs.aws.amazon.com/msk/latest/developerguide/msk-create-cluster.html>
const WITHOUT_MSK: [&str; 1] = ["use1-az3"];
/// Lambda leaves so many invocations for functions that have reserved none.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>
const ALWAYS_UNRESERVED: u32 = 100;
/// Zones that the network lies in, and that a cluster of three brokers needs.
const ZONES_NEEDED: usize = 3;
/// Regions that the stacks are made and checked for.
const CHECKED_REGIONS: [&str; 2] = ["us-east-1", "eu-west-1"];

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it must be.
    Fine,
    /// Worth knowing.
    Note,
    /// Nothing must be deployed before it is mended.
    Problem,
}

/// Something that was found before anything was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What it is about, in a word or two.
    pub about: &'static str,
    /// What was found, and what to do about it.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Fine => "fine   ",
            Level::Note => "note   ",
            Level::Problem => "PROBLEM",
        };
        write!(formatter, "{level}  {}: {}", self.about, self.text)
    }
}

/// A name that a stack to be made needs, and that something has already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// File of the stack.
    pub file: String,
    /// CloudFormation type.
    pub kind: String,
    /// The name.
    pub identifier: String,
    /// Whether the stack may take it over: what outlives its stack may.
    pub may_be_adopted: bool,
}

/// What was found out about an account. An `Err` says why something could not be found out.
#[derive(Debug)]
pub struct Facts {
    /// Who asks.
    pub caller: Caller,
    /// The region.
    pub region: String,
    /// Zones that are available to everybody.
    pub zones: Result<Vec<Zone>, String>,
    /// Invocations at once.
    pub concurrency: Result<Concurrency, String>,
    /// What our functions have reserved of them already.
    pub reserved: BTreeMap<String, u32>,
    /// Our stacks that exist, by name.
    pub stacks: BTreeMap<String, StackFacts>,
    /// Names that are taken.
    pub taken: Vec<Taken>,
    /// Types whose names could not be looked for, and why.
    pub not_looked_for: BTreeMap<String, String>,
    /// US dollars a month by the plan, with the words that say of what.
    pub price: Result<String, String>,
}

/// Asks an account.
///
/// # Errors
/// Without an answer to who asks and which stacks there are, nothing can be said; everything else is noted as unknown.
pub fn gather(
    cloud: &dyn Cloud,
    deployment: &Deployment,
    region: &str,
    price: Result<String, String>,
) -> Result<Facts, CloudError> {
    let caller = cloud.caller()?;
    let mut stacks = BTreeMap::new();
    for stack in &deployment.stacks {
        if let Some(facts) = cloud.stack(&stack.name)? {
            stacks.insert(stack.name.clone(), facts);
        }
    }
    let zones = cloud.zones().map_err(|error| error.to_string());
    let mut concurrency = cloud.concurrency().map_err(|error| error.to_string());
    let mut reserved = BTreeMap::new();
    for function in deployment.functions() {
        match cloud.reserved(&function.name) {
            Ok(Some(number)) => {
                reserved.insert(function.name.clone(), number);
            }
            Ok(None) => {}
            Err(error) => concurrency = Err(error.to_string()),
        }
    }
    let (taken, not_looked_for) = taken(cloud, deployment, &stacks, &caller.account, region);
    Ok(Facts { caller, region: region.to_owned(), zones, concurrency, reserved, stacks, taken, not_looked_for, price })
}

/// Names that stacks to be made need and that exist, and the types that cannot be asked for.
fn taken(
    cloud: &dyn Cloud,
    deployment: &Deployment,
    stacks: &BTreeMap<String, StackFacts>,
    account: &str,
    region: &str,
) -> (Vec<Taken>, BTreeMap<String, String>) {
    let (mut taken, mut unknown) = (Vec::new(), BTreeMap::new());
    // The shell of a change set holds nothing yet.
    let is_to_be_made = |facts: Option<&StackFacts>| facts.is_none_or(|facts| facts.status() == Status::Review);
    for stack in deployment.stacks.iter().filter(|stack| is_to_be_made(stacks.get(&stack.name))) {
        for named in &stack.named {
            if unknown.contains_key(&named.kind) {
                continue;
            }
            let identifier = named.identifier(account, region);
            match cloud.exists(&named.kind, &identifier) {
                Ok(false) => {}
                Ok(true) => {
                    let (file, kind) = (stack.file.clone(), named.kind.clone());
                    taken.push(Taken { file, kind, identifier, may_be_adopted: named.is_kept });
                }
                Err(error) => {
                    unknown.insert(named.kind.clone(), error.to_string());
                }
            }
        }
    }
    (taken, unknown)
}

/// Says what the facts mean for a deployment. `account` is the one that it is meant for; `adopts`: what outlived an earlier stack shall
/// be taken over.
#[must_use]
pub fn judge(facts: &Facts, deployment: &Deployment, account: Option<&str>, adopts: bool) -> Vec<Finding> {
    let mut findings = vec![of_account(facts, account), of_region(facts), of_zones(facts, deployment)];
    findings.push(of_concurrency(facts, deployment));
    findings.extend(of_what_a_person_decides(facts, deployment));
    findings.extend(of_names(facts, adopts));
    findings
        .extend(deployment.above_default_quotas.iter().map(|text| note("quotas", format!("{text}: raise it first"))));
    findings.push(of_alerts(deployment));
    findings.push(match &facts.price {
        Ok(price) => fine("price", price.clone()),
        Err(why) => note("price", format!("not known: {why}")),
    });
    findings
}

fn fine(about: &'static str, text: String) -> Finding {
    Finding { level: Level::Fine, about, text }
}

fn note(about: &'static str, text: String) -> Finding {
    Finding { level: Level::Note, about, text }
}

fn problem(about: &'static str, text: String) -> Finding {
    Finding { level: Level::Problem, about, text }
}

fn of_account(facts: &Facts, wanted: Option<&str>) -> Finding {
    let Caller { account, arn } = &facts.caller;
    match wanted {
        Some(wanted) if wanted != account => {
            problem("account", format!("the credentials are of {account} ({arn}), and --account says {wanted}"))
        }
        _ => fine("account", format!("{account}, as {arn}")),
    }
}

fn of_region(facts: &Facts) -> Finding {
    let region = &facts.region;
    if CHECKED_REGIONS.contains(&region.as_str()) {
        fine("region", region.clone())
    } else {
        let known = CHECKED_REGIONS.join(" and ");
        problem(
            "region",
            format!(
                "the stacks are for {known} so far: add {region} to infra/check and to PrefixLists in infra/10-foundation.yaml"
            ),
        )
    }
}

/// Three zones for a network that is still to be made, by their ids; those of a network that is there stay.
#[must_use]
pub fn zones_for(zones: &[Zone]) -> Option<[String; ZONES_NEEDED]> {
    let mut ids: Vec<_> = zones.iter().map(|zone| &zone.id).filter(|id| !WITHOUT_MSK.contains(&id.as_str())).collect();
    ids.sort();
    match ids[..] {
        [first, second, third, ..] => Some([first.clone(), second.clone(), third.clone()]),
        _ => None,
    }
}

fn of_zones(facts: &Facts, deployment: &Deployment) -> Finding {
    let zones = match &facts.zones {
        Ok(zones) => zones,
        Err(why) => return note("zones", format!("not known: {why}")),
    };
    let has_network = |file: &str| file.starts_with("10-");
    let network = deployment.stacks.iter().find(|stack| has_network(&stack.file));
    if network.is_some_and(|network| facts.stacks.contains_key(&network.name)) {
        return fine("zones", "the network is there".to_owned());
    }
    let Some(chosen) = zones_for(zones) else {
        let text = format!("{} of {} can have brokers, and {ZONES_NEEDED} are needed", usable(zones), zones.len());
        return problem("zones", format!("{text}: take another region"));
    };
    if network.is_some_and(|network| !network.open_zones.is_empty()) {
        return fine("zones", format!("{}, which MSK takes", chosen.join(", ")));
    }
    // Without parameters the stack takes the first three by name.
    let mut by_name: Vec<_> = zones.iter().collect();
    by_name.sort_by(|one, other| one.name.cmp(&other.name));
    let refused = by_name.iter().take(ZONES_NEEDED).find(|zone| WITHOUT_MSK.contains(&zone.id.as_str()));
    match refused {
        Some(zone) => {
            problem("zones", format!("{} is {}, where MSK makes no brokers: name the zones", zone.name, zone.id))
        }
        None => fine("zones", "as the parameters say, or the first three of the region".to_owned()),
    }
}

fn usable(zones: &[Zone]) -> usize {
    zones.iter().filter(|zone| !WITHOUT_MSK.contains(&zone.id.as_str())).count()
}

fn of_concurrency(facts: &Facts, deployment: &Deployment) -> Finding {
    let Concurrency { limit, unreserved } = match &facts.concurrency {
        Ok(concurrency) => *concurrency,
        Err(why) => return note("concurrency", format!("not known: {why}")),
    };
    let more = |name: &str, wanted: u32| wanted.saturating_sub(facts.reserved.get(name).copied().unwrap_or_default());
    let needed: u32 = deployment.functions().map(|function| more(&function.name, function.reserved.unwrap_or(0))).sum();
    let after = i64::from(unreserved) - i64::from(needed);
    if needed > 0 && after < i64::from(ALWAYS_UNRESERVED) {
        let wanted = i64::from(limit) + i64::from(ALWAYS_UNRESERVED) - after;
        return problem(
            "concurrency",
            format!(
                "{needed} more are reserved by the stacks, {unreserved} of {limit} are free, and {ALWAYS_UNRESERVED} must stay free: \
                 ask for a quota \"Concurrent executions\" of Lambda of at least {wanted}, lower the parameters …Concurrency, \
                 or set ReserveConcurrency to false"
            ),
        );
    }
    fine("concurrency", format!("{needed} more are reserved, {unreserved} of {limit} are free"))
}

/// Parameters that say what the account has, and are not filled by themselves; and one that leaves to a person what would happen by itself.
fn of_what_a_person_decides(facts: &Facts, deployment: &Deployment) -> Vec<Finding> {
    let mut findings = Vec::new();
    let said = deployment.parameter("AccountConcurrency").and_then(|said| said.parse::<u32>().ok());
    if let (Some(said), Ok(Concurrency { limit, .. })) = (said, &facts.concurrency)
        && said != *limit
    {
        let text = format!("AccountConcurrency is {said} and the account has {limit}: an alarm is measured by it");
        findings.push(note("concurrency", text));
    }
    if deployment.parameter("AnomalyMonitorArn") == Some("") {
        let text = "AnomalyMonitorArn is empty, and an account may have only one monitor of services, most from the beginning: ask \
                    `aws ce get-anomaly-monitors` before the last stack";
        findings.push(note("anomalies", text.to_owned()));
    }
    if deployment.parameter("BudgetAction") == Some("MANUAL") {
        let text = "BudgetAction is MANUAL: when MonthlyBudgetUsd is used up nothing stops by itself, only when a person approves it";
        findings.push(note("budget", text.to_owned()));
    }
    findings
}

fn of_names(facts: &Facts, adopts: bool) -> Vec<Finding> {
    let unknown = facts.not_looked_for.iter();
    let mut findings: Vec<_> =
        unknown.map(|(kind, why)| note("names", format!("{kind} is not looked for: {why}"))).collect();
    if facts.taken.is_empty() {
        findings.push(fine("names", "none that was looked for is taken".to_owned()));
    }
    findings.extend(facts.taken.iter().map(|taken| {
        let Taken { file, kind, identifier, may_be_adopted } = taken;
        let text = format!("{kind} {identifier} exists and is of no stack of ours, and {file} makes it");
        match (may_be_adopted, adopts) {
            (true, true) => note("names", format!("{text}: it is taken over, with the key that it is encrypted with")),
            (true, false) => problem("names", format!("{text}: take it over with --adopt, or delete it with its data")),
            (false, _) => problem("names", format!("{text}: delete it, or choose another NamePrefix")),
        }
    }));
    findings
}

fn of_alerts(deployment: &Deployment) -> Finding {
    let is_watched = matches!(deployment.environment.as_str(), "prod" | "stage");
    let address = deployment.alert_address.as_str();
    // Mail to this domain goes nowhere, by RFC 2606.
    let is_nobody = address.is_empty() || address.ends_with("@example.com");
    match (is_nobody, is_watched) {
        (true, true) => {
            let environment = &deployment.environment;
            problem("alerts", format!("AlertEmail names nobody: no person would get an alarm of {environment}"))
        }
        (true, false) => note("alerts", "AlertEmail names nobody: no person gets the alarms".to_owned()),
        (false, _) => fine("alerts", "AlertEmail is set; its owner must confirm the subscription".to_owned()),
    }
}
