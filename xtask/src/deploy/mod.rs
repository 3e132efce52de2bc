//! `cargo xtask deploy` and `cargo xtask destroy`: arguments, files and terminal around `centinela-rollout`.

mod bundles;
mod desk;
mod price;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use centinela_infra::Sources;
use centinela_rollout::{
    Deployed, Deployment, Facts, Level, Options, Outcome, Stopped, Watch, adopting, gather, judge, kept, plan,
    sample_names, ship, zones_for,
};
use centinela_rollout_adapters::Aws;

use crate::args::{Deploy, Destroy, Target};
use crate::failure::Failure;
use crate::terminal;
use desk::Terminal;

/// The environment that one machine runs; an account cannot.
const LOCAL: &str = "local";
/// The environment in which a mistake costs most.
const PROD: &str = "prod";

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Interrupted(_) => Self::Interrupted(stopped.to_string()),
            stopped => Self::Failed(stopped.to_string()),
        }
    }
}

/// Carries `deploy` out.
pub fn run(arguments: &Deploy) -> Result<(), Failure> {
    let (root, deployment) = read(&arguments.target)?;
    let aws = connect(&arguments.target)?;
    let desk = Terminal::new(arguments.target.yes)?;
    let facts = look(&aws, &deployment, arguments.target.account.as_deref(), &root, arguments.adopt)?;
    let options = options(arguments, &facts, &deployment);
    if arguments.plan {
        return Ok(plan(&aws, &desk, &deployment, &options)?);
    }
    let packages = packages(&deployment, arguments.code.as_deref())?;
    let directory = match &arguments.bundles {
        Some(directory) => directory.clone(),
        None => bundles::build(&root, &packages)?,
    };
    let bundle = |package: &str| centinela_rollout_adapters::bundle(&directory.join(package).join("bootstrap.zip"));
    // All of them before anything is changed.
    for package in &packages {
        bundle(package).map_err(Failure::Failed)?;
    }
    let done = match &arguments.code {
        Some(_) => ship(&aws, &desk, &deployment, &packages, &bundle, &options)?,
        None => {
            let zones = facts.zones.as_deref().ok().and_then(zones_for).map(Vec::from).unwrap_or_default();
            centinela_rollout::deploy(&aws, &desk, &deployment, &bundle, &zones, &options)?
        }
    };
    terminal::print(&summary(&done));
    Ok(())
}

/// Carries `destroy` out.
pub fn destroy(arguments: &Destroy) -> Result<(), Failure> {
    let (_, deployment) = read(&arguments.target)?;
    let aws = connect(&arguments.target)?;
    let desk = Terminal::new(arguments.target.yes)?;
    let caller = centinela_rollout::Cloud::caller(&aws).map_err(Stopped::from)?;
    if arguments.target.account.as_ref().is_some_and(|account| *account != caller.account) {
        return Err(Failure::Usage(format!("the credentials are of {} ({})", caller.account, caller.arn)));
    }
    let would = kept(&aws, &deployment).map_err(Stopped::from)?;
    if would.deleted.is_empty() {
        terminal::print(&format!("account {} has no stack of {}\n", caller.account, deployment.environment));
        return Ok(());
    }
    terminal::print(&format!("in account {} ({}) would be deleted:\n", caller.account, aws.place().region));
    would.deleted.iter().for_each(|stack| terminal::print(&format!("    {stack}\n")));
    terminal::print("and be kept, and be paid for until somebody deletes it:\n");
    would.kept.iter().for_each(|(kind, name)| terminal::print(&format!("    {kind} {name}\n")));
    if !desk.is_named(&deployment.environment) {
        return Err(Failure::Failed(format!("not agreed to: nothing of {} was deleted", deployment.environment)));
    }
    let watch = Watch { share: 0.0, time: Duration::ZERO };
    let options = Options { adopting: BTreeMap::new(), may_lose: BTreeSet::new(), watch };
    let destroyed = centinela_rollout::destroy(&aws, &desk, &deployment, &options)?;
    terminal::print(&format!("{} stacks deleted, {} resources kept\n", destroyed.deleted.len(), destroyed.kept.len()));
    Ok(())
}

/// The checkout and the environment in it.
fn read(target: &Target) -> Result<(PathBuf, Deployment), Failure> {
    let Target { env, account, checkout, .. } = target;
    if env == LOCAL {
        return Err(Failure::Usage("`local` is for one machine: `centinela up` runs it; take dev".to_owned()));
    }
    if env == PROD && account.is_none() {
        return Err(Failure::Usage("prod needs --account, so that no other account is changed by mistake".to_owned()));
    }
    if account.as_ref().is_some_and(|account| account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err(Failure::Usage("--account takes the twelve digits of an account".to_owned()));
    }
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = checkout.clone().unwrap_or_else(own);
    let sources = Sources::from_directory(&root.join("infra"), env);
    let sources = sources.map_err(|error| Failure::Usage(error.to_string()))?;
    let smoke = |package: &str| {
        let file = |name: &&str| std::fs::read_to_string(root.join("events").join(package).join(name)).ok();
        sample_names().iter().find_map(file)
    };
    let deployment = Deployment::of(&sources, &smoke).map_err(|error| Failure::Usage(error.to_string()))?;
    Ok((root, deployment))
}

fn connect(target: &Target) -> Result<Aws, Failure> {
    let aws = Aws::connect().map_err(|error| Failure::Usage(error.to_string()))?;
    let place = aws.place();
    let of = place.endpoint.map(|endpoint| format!(" at {endpoint}, which is not AWS")).unwrap_or_default();
    terminal::print(&format!("{} in {}{of}\n", target.env, place.region));
    Ok(aws)
}

/// Looks at the account, and says what it found. A problem ends it.
fn look(
    aws: &Aws,
    deployment: &Deployment,
    account: Option<&str>,
    root: &Path,
    adopts: bool,
) -> Result<Facts, Failure> {
    let price = price::of(root, &deployment.environment);
    let facts = gather(aws, deployment, &aws.place().region, price).map_err(Stopped::from)?;
    let findings = judge(&facts, deployment, account, adopts);
    findings.iter().for_each(|finding| terminal::print(&format!("{finding}\n")));
    match findings.iter().filter(|finding| finding.level == Level::Problem).count() {
        0 => Ok(facts),
        problems => {
            Err(Failure::Failed(format!("{problems} problems, nothing was changed: mend them and run it again")))
        }
    }
}

fn options(arguments: &Deploy, facts: &Facts, deployment: &Deployment) -> Options {
    let watch = Watch { share: f64::from(arguments.share) / 100.0, time: Duration::from_secs(arguments.watch) };
    let adopting = if arguments.adopt { adopting(facts, deployment) } else { BTreeMap::new() };
    Options { adopting, may_lose: arguments.may_lose.iter().cloned().collect(), watch }
}

/// The packages whose code is needed: those that were named, or all.
fn packages(deployment: &Deployment, named: Option<&[String]>) -> Result<Vec<String>, Failure> {
    let all: Vec<_> = deployment.functions().map(|function| function.package.clone()).collect();
    let named: Vec<_> = named.unwrap_or_default().iter().filter(|name| !name.is_empty()).cloned().collect();
    if let Some(unknown) = named.iter().find(|name| !all.contains(name)) {
        return Err(Failure::Usage(format!("there is no function {unknown}; there are {}", all.join(", "))));
    }
    Ok(if named.is_empty() { all } else { named })
}

fn summary(done: &Deployed) -> String {
    let live = done.functions.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Live(_))).count();
    format!(
        "done: {} stacks made or changed, {} up to date; {live} of {} functions have a new version\n",
        done.changed.len(),
        done.unchanged.len(),
        done.functions.len()
    )
}
