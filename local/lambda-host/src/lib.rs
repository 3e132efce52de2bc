//! The Lambda Runtime API on one machine: runs each real function binary as Lambda does.
//!
//! One process is one execution environment and handles one invocation at a time; the number of processes is the concurrency.
//! Environments start on demand, stay warm, are killed when an invocation exceeds the function's timeout and are replaced when
//! they die. Facts: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html> and
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>.
//!
//! It refuses to pretend: memory is reported and not limited, CPU is not scaled to the memory setting, and a local cold start
//! is the real start of the process without the download and sandbox time that AWS adds.

mod accounting;
mod environment;
mod host;
mod logs;
pub mod mapping;
mod process;
mod runtime_api;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

pub use accounting::FunctionStats;
pub use host::{EnvironmentInfo, FunctionHost};
pub use logs::{LogLine, LogStream};

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
}

/// Why a function cannot be hosted at all.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The binary is not there.
    #[error("function `{function}` has no binary at {path}; build it first")]
    BinaryMissing {
        /// Function name.
        function: String,
        /// The path that was looked at.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// The path is not something that can be executed.
    #[error("function `{function}` cannot be run: {path} is not an executable file")]
    NotExecutable {
        /// Function name.
        function: String,
        /// The offending path.
        path: PathBuf,
    },
    /// A value of the specification is outside its limits.
    #[error("function `{function}` has {field} = {value}, but it must be at least {least}")]
    OutOfRange {
        /// Function name.
        function: String,
        /// Field of [`FunctionSpec`].
        field: &'static str,
        /// What was given.
        value: u64,
        /// The least that is allowed.
        least: u64,
    },
}

/// Why an invocation has no answer.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// The function answered with an error.
    #[error("the function failed with {error_type}: {message}")]
    Function {
        /// The function's own classification.
        error_type: String,
        /// The function's own words.
        message: String,
    },
    /// The function's timeout passed; its environment was killed.
    #[error("the function did not answer within its timeout of {} ms and was killed", after.as_millis())]
    Timeout {
        /// The timeout.
        after: Duration,
    },
    /// The process ended during the invocation.
    #[error("the function's process ended during the invocation ({status}); last words: {last_words}")]
    Crashed {
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error.
        last_words: String,
    },
    /// The process did not reach its first request for work.
    #[error("the function does not start: {message}")]
    InitFailed {
        /// The function's own report where there is one, else how it ended and its last words.
        message: String,
    },
    /// The event is larger than Lambda accepts.
    #[error("the event has {bytes} bytes, but an invocation carries at most {PAYLOAD_BYTES_MAX}; send fewer records")]
    PayloadTooLarge {
        /// Size of the event.
        bytes: usize,
    },
    /// The response is larger than Lambda accepts.
    #[error("the function answered with more than {PAYLOAD_BYTES_MAX} bytes, which Lambda refuses")]
    ResponseTooLarge,
    /// The host is stopping or stopped.
    #[error("the function host is stopped")]
    Stopped,
}
