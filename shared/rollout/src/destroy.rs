//! Deletes the stacks of an environment, the last first, and says what is kept.

use std::collections::BTreeSet;

use crate::deploy::Options;
use crate::deployment::{Deployment, Stack};
use crate::ports::{Cloud, CloudError, Desk, StackResource, Stopped};
use crate::stack_run::StackRun;
use crate::status::Status;

/// What a destroy did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destroyed {
    /// Names of the deleted stacks.
    pub deleted: Vec<String>,
    /// What outlives them: type, and name or id.
    pub kept: Vec<(String, String)>,
}

/// What would outlive the stacks that exist.
///
/// # Errors
/// AWS cannot be asked.
pub fn kept(cloud: &dyn Cloud, deployment: &Deployment) -> Result<Destroyed, CloudError> {
    let mut destroyed = Destroyed::default();
    for stack in deployment.stacks.iter().rev() {
        if cloud.stack(&stack.name)?.is_some_and(|facts| facts.status() != Status::Gone) {
            destroyed.kept.extend(kept_of(stack, cloud.resources(&stack.name)?));
            destroyed.deleted.push(stack.name.clone());
        }
    }
    Ok(destroyed)
}

fn kept_of(stack: &Stack, resources: Vec<StackResource>) -> impl Iterator<Item = (String, String)> {
    let outlives = |resource: &StackResource| {
        let is_there = !resource.physical_id.is_empty() && resource.word != "DELETE_COMPLETE";
        is_there && stack.kept.iter().any(|kept| kept.logical_id == resource.logical_id)
    };
    let outlive: Vec<_> = resources.into_iter().filter(outlives).collect();
    outlive.into_iter().map(|resource| (resource.kind, resource.physical_id))
}

/// Deletes every stack, and the parameter with the brokers' addresses.
///
/// # Errors
/// It ended before its end; running it again goes on from there.
pub fn destroy(
    cloud: &dyn Cloud,
    desk: &dyn Desk,
    deployment: &Deployment,
    options: &Options,
) -> Result<Destroyed, Stopped> {
    let mut destroyed = Destroyed::default();
    for stack in deployment.stacks.iter().rev() {
        let name = &stack.name;
        let run = StackRun { cloud, desk, options, stack, zones: &[] };
        // What is at work first, or deleting is refused.
        let Some(facts) = run.wait(&BTreeSet::new())?.filter(|facts| facts.status() != Status::Gone) else { continue };
        destroyed.kept.extend(kept_of(stack, cloud.resources(name)?));
        desk.say(&format!("{name}: deleting"));
        run.delete(&facts)?;
        destroyed.deleted.push(name.clone());
    }
    if let Some(parameter) = &deployment.brokers_parameter {
        cloud.delete_parameter(parameter)?;
    }
    Ok(destroyed)
}
