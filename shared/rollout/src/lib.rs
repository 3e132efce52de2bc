//! What a deploy does next, given the stacks of an environment and what an account holds of them.
//!
//! Nothing is remembered between two runs: every step begins with a look at what there is, so a deploy that ended in the middle, by a
//! failure, by Ctrl-C or with its machine, is taken up by running it again. [`Cloud`] is what it asks and changes, [`Desk`] the person
//! in front of it; nothing here knows AWS's wire formats, reads a clock or sleeps.
//!
//! It refuses to lose data: a change that removes or replaces what holds some is not carried out until its resource is named.

mod adopt;
mod change;
mod deploy;
mod deployment;
mod destroy;
mod ports;
mod preflight;
mod release;
mod smoke;
mod stack_run;
mod status;
mod template;

pub use adopt::adopting;
pub use change::{Action, Change, Replacement};
pub use deploy::{Deployed, Options, addresses, deploy, plan, ship};
pub use deployment::{Deployment, DeploymentError, Function, Kept, Named, Stack};
pub use destroy::{Destroyed, destroy, kept};
pub use ports::{
    Bundle, Caller, ChangeRequest, ChangeSet, ChangeSetState, Cloud, CloudError, Concurrency, Desk, Event,
    FunctionFacts, Invoked, Live, StackFacts, StackResource, Stopped, Zone,
};
pub use preflight::{Facts, Finding, Level, Taken, gather, judge, zones_for};
pub use release::{Outcome, Watch, release};
pub use smoke::{answered_well, sample_names};
pub use status::{Move, Status, next};
