//! From the first stack to the last, each after a look at what there is.

use std::collections::{BTreeMap, BTreeSet};

use crate::deployment::{Deployment, Function, Stack};
use crate::ports::{Bundle, Cloud, Desk, Stopped};
use crate::release::{Outcome, Watch, release};
use crate::stack_run::{Brought, StackRun};
use crate::status::{Move, next};

/// Output of the stack that has the bucket of the functions' code.
const BUCKET: &str = "ArtefactBucket";
/// Output of the stack that has the cluster.
const CLUSTER: &str = "ClusterArn";

/// How a person wants it done.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Templates, by their stacks' files, that take over what outlived an earlier stack: see [`crate::adopting`].
    pub adopting: BTreeMap<String, String>,
    /// Logical ids of resources whose data may be lost.
    pub may_lose: BTreeSet<String>,
    /// How a new version is tried.
    pub watch: Watch,
}

/// What a deploy did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployed {
    /// Names of the stacks that were made or changed.
    pub changed: Vec<String>,
    /// Names of those that were up to date.
    pub unchanged: Vec<String>,
    /// What became of each function, by name.
    pub functions: Vec<(String, Outcome)>,
}

/// Who takes part in a deploy.
#[derive(Clone, Copy)]
struct Parts<'a> {
    cloud: &'a dyn Cloud,
    desk: &'a dyn Desk,
    deployment: &'a Deployment,
    options: &'a Options,
}

/// Makes and changes whatever is not as the deployment says. `bundle` gives the code of a package; `zones` are for a network that is still
/// to be made.
///
/// # Errors
/// It ended before its end, and everything that was done stands: running it again goes on from there.
pub fn deploy(
    cloud: &dyn Cloud,
    desk: &dyn Desk,
    deployment: &Deployment,
    bundle: &dyn Fn(&str) -> Result<Bundle, String>,
    zones: &[String],
    options: &Options,
) -> Result<Deployed, Stopped> {
    let parts = Parts { cloud, desk, deployment, options };
    let mut deployed = Deployed::default();
    let mut outputs = BTreeMap::new();
    for stack in &deployment.stacks {
        let code = match &stack.function {
            Some(function) => {
                addresses(cloud, desk, deployment, &outputs)?;
                Some((function, parts.uploaded(function, bundle, bucket(&outputs)?)?))
            }
            None => None,
        };
        let run = StackRun { cloud, desk, options, stack, zones };
        let brought = run.bring()?;
        match brought {
            Brought::Changed => deployed.changed.push(stack.name.clone()),
            Brought::Unchanged => {
                desk.say(&format!("{} (up to date)", stack.name));
                deployed.unchanged.push(stack.name.clone());
            }
        }
        if let Some(facts) = cloud.stack(&stack.name)? {
            outputs.extend(facts.outputs);
        }
        if let Some((function, bundle)) = code {
            let is_changed = brought == Brought::Changed;
            let outcome = parts.release(function, &bundle, bucket(&outputs)?, is_changed)?;
            deployed.functions.push((function.name.clone(), outcome));
        }
    }
    Ok(deployed)
}

/// Ships the code of functions whose stacks stand, and touches no stack.
///
/// # Errors
/// As of [`deploy`].
pub fn ship(
    cloud: &dyn Cloud,
    desk: &dyn Desk,
    deployment: &Deployment,
    packages: &[String],
    bundle: &dyn Fn(&str) -> Result<Bundle, String>,
    options: &Options,
) -> Result<Deployed, Stopped> {
    let parts = Parts { cloud, desk, deployment, options };
    let mut outputs = BTreeMap::new();
    for stack in &deployment.stacks {
        if let Some(facts) = cloud.stack(&stack.name)? {
            outputs.extend(facts.outputs);
        }
    }
    let mut deployed = Deployed::default();
    let wanted = |function: &&Function| packages.is_empty() || packages.contains(&function.package);
    for function in deployment.functions().filter(wanted) {
        let bundle = parts.uploaded(function, bundle, bucket(&outputs)?)?;
        let outcome = parts.release(function, &bundle, bucket(&outputs)?, false)?;
        deployed.functions.push((function.name.clone(), outcome));
    }
    Ok(deployed)
}

/// Says what a deploy would do, and changes nothing: a change set that is made for it is forgotten again.
///
/// # Errors
/// A stack cannot be asked, or could not be changed.
pub fn plan(cloud: &dyn Cloud, desk: &dyn Desk, deployment: &Deployment, options: &Options) -> Result<(), Stopped> {
    for stack in &deployment.stacks {
        let facts = cloud.stack(&stack.name)?;
        let name = &stack.name;
        match next(facts.as_ref().map(|facts| facts.status()).as_ref()) {
            Move::Update => {
                let run = StackRun { cloud, desk, options, stack, zones: &[] };
                show(desk, stack, &run, facts.as_ref())?;
            }
            // A change set of a stack that is not there would leave its shell, and its imports are not there yet either.
            Move::Create => desk.say(&format!("{name} (to be made): {} resources", stack.resources)),
            other => {
                let word = facts.map(|facts| facts.word).unwrap_or_default();
                let words = match other {
                    Move::Clear => "what is left of it would be deleted, and it would be made anew",
                    Move::Unstick => "its failed rollback would go on first",
                    Move::Wait => "something is at work on it; it would be waited for",
                    _ => "it must be brought to a standing state by hand first",
                };
                desk.say(&format!("{name} is {word}: {words}"));
            }
        }
    }
    Ok(())
}

fn show(
    desk: &dyn Desk,
    stack: &Stack,
    run: &StackRun<'_>,
    facts: Option<&crate::ports::StackFacts>,
) -> Result<(), Stopped> {
    let Some((change_set, changes)) = run.propose(facts, false)? else {
        desk.say(&format!("{} (up to date)", stack.name));
        return Ok(());
    };
    run.drop_proposal(&change_set, false)?;
    desk.say(&format!("{} (to be changed, {} changes)", stack.name, changes.len()));
    for change in changes {
        let loss = if change.loses_data() { "  << would lose data: needs --may-lose" } else { "" };
        desk.say(&format!("    {change}{loss}"));
    }
    Ok(())
}

/// A cluster has no attribute for its brokers' addresses: they are put where the functions' stacks look them up.
///
/// # Errors
/// The cluster or Parameter Store cannot be asked.
pub fn addresses(
    cloud: &dyn Cloud,
    desk: &dyn Desk,
    deployment: &Deployment,
    outputs: &BTreeMap<String, String>,
) -> Result<(), Stopped> {
    let (Some(parameter), Some(cluster)) = (&deployment.brokers_parameter, outputs.get(CLUSTER)) else { return Ok(()) };
    let brokers = cloud.brokers(cluster)?;
    if cloud.parameter(parameter)?.as_deref() != Some(&brokers) {
        cloud.set_parameter(parameter, &brokers)?;
        desk.say(&format!("{parameter} in Parameter Store has the brokers' addresses"));
    }
    Ok(())
}

fn bucket(outputs: &BTreeMap<String, String>) -> Result<&str, Stopped> {
    let bucket = outputs.get(BUCKET).map(String::as_str);
    bucket
        .ok_or_else(|| Stopped::Failed(format!("no stack that stands has an output {BUCKET}: deploy all stacks first")))
}

impl Parts<'_> {
    /// The bundle of a function, when the bucket has it: what a new function starts from, and what an old one is given.
    fn uploaded(
        &self,
        function: &Function,
        bundle: &dyn Fn(&str) -> Result<Bundle, String>,
        bucket: &str,
    ) -> Result<Bundle, Stopped> {
        let bundle = bundle(&function.package).map_err(Stopped::Failed)?;
        if self.cloud.uploaded(bucket, &function.code_key)?.as_ref() != Some(&bundle.sha256) {
            self.cloud.upload(bucket, &function.code_key, &bundle)?;
            self.desk.say(&format!("{bucket}/{} uploaded, {} bytes", function.code_key, bundle.bytes.len()));
        }
        Ok(bundle)
    }

    /// Gives a function its code if it has another one, and brings what it is now to those who invoke it.
    fn release(
        &self,
        function: &Function,
        bundle: &Bundle,
        bucket: &str,
        mut is_changed: bool,
    ) -> Result<Outcome, Stopped> {
        let name = &function.name;
        let facts = self.cloud.function(name)?;
        let facts =
            facts.ok_or_else(|| Stopped::Failed(format!("function {name} is not there: deploy all stacks first")))?;
        if facts.code_sha256 != bundle.sha256 {
            self.cloud.update_code(name, bucket, &function.code_key)?;
            is_changed = true;
        }
        let alarms = format!("{}centinela-", self.deployment.prefix);
        let outcome = release(self.cloud, self.desk, function, &alarms, self.options.watch, is_changed)?;
        self.desk.say(&match &outcome {
            Outcome::Live(version) => format!("{name}: version {version} is live"),
            Outcome::Answers(version) => format!("{name}: version {version} answers"),
            Outcome::Unchanged(version) => format!("{name}: version {version} is live (up to date)"),
        });
        Ok(outcome)
    }
}
