//! The limit of open files: raised as far as it goes without asking anybody, and refused when it is too low to run.
//!
//! Connections, pipes and files all count, and whatever fails for want of one fails in the middle of something.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::failure::Failure;

/// Needed by a run with no environment and by each one more, with room for clients of one's own. A run at 800 transactions a second
/// has some 90 files open, and 5 more for each environment; the embedded Kafka's segments are at most 165 once its topics are as large as
/// they may get, where no topic asks for smaller ones.
const NEEDED: u64 = 315;
const NEEDED_PER_ENVIRONMENT: u64 = 8;
/// Never more than this: programs that a command starts may close every number up to the limit one by one.
const WANTED: u64 = 65_536;

/// Raises the limit of this process, and of those that it starts, to the most that it may have.
///
/// # Errors
/// [`Failure::Usage`] when that is too little.
pub fn raise(environments: u64) -> Result<(), Failure> {
    let needed = NEEDED + NEEDED_PER_ENVIRONMENT * environments;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|error| Failure::failed(&error))?;
    let wanted = hard.min(WANTED).max(soft);
    let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
    let limit = if raised.is_ok() { wanted } else { soft };
    if needed <= limit {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "at most {limit} files may be open at a time, and {needed} are needed; raise the limit (`ulimit -n {needed}`), or run fewer \
         --environments"
    )))
}
