//! Why a function cannot be hosted, and why an invocation has no answer.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::spec::PAYLOAD_BYTES_MAX;

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
        /// Field of [`FunctionSpec`](crate::FunctionSpec).
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
