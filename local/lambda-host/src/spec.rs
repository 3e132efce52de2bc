//! What is hosted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Largest invocation payload and largest response, in bytes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024;

/// What to run and how.
#[derive(Clone, Debug)]
pub struct FunctionSpec {
    /// Function name, as in the ARN and the log group.
    pub name: String,
    /// The executable that Lambda would call `bootstrap`.
    pub binary: PathBuf,
    /// The function's own environment variables. Nothing else is inherited except `PATH` and `HOME`.
    pub environment: BTreeMap<String, String>,
    /// Time an invocation may take before its environment is killed.
    pub timeout: Duration,
    /// Told to the function and shown beside the memory that it really used; not enforced.
    pub memory_mb: u32,
    /// Most environments that may exist at once; at least 1.
    pub concurrency_max: usize,
    /// How far its processes step back when this machine has too few processors for all functions: 0, not at all, to 19.
    pub nice: i32,
}
