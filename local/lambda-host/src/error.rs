//! Why a function cannot be hosted, and why an invocation has no answer.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::spec::PAYLOAD_BYTES_MAX;

/// Why a function cannot be hosted at all.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum HostError {
    #[error("function `{function}` has no binary at {path}; build it first")]
    BinaryMissing {
        function: String,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("function `{function}` cannot be run: {path} is not an executable file")]
    NotExecutable { function: String, path: PathBuf },
    #[error("function `{function}` has {field} = {value}, but it must be at least {least}")]
    OutOfRange { function: String, field: &'static str, value: u64, least: u64 },
}

/// Why an invocation has no answer.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum InvokeError {
    #[error("the function failed with {error_type}: {message}")]
    Function { error_type: String, message: String },
    /// The function's timeout passed; its environment was killed.
    #[error("the function did not answer within its timeout of {} ms and was killed", after.as_millis())]
    Timeout { after: Duration },
    #[error("the function's process ended during the invocation ({status}); last words: {last_words}")]
    Crashed { status: ExitStatus, last_words: String },
    #[error("the function does not start: {message}")]
    InitFailed {
        /// The function's own report where there is one, else how it ended and its last words.
        message: String,
    },
    #[error("the event has {bytes} bytes, but an invocation carries at most {PAYLOAD_BYTES_MAX}; send fewer records")]
    PayloadTooLarge { bytes: usize },
    #[error("the function answered with more than {PAYLOAD_BYTES_MAX} bytes, which Lambda refuses")]
    ResponseTooLarge,
    /// Concurrency of 0 is reserved for it.
    #[error("the function is throttled: nothing of it may run until its reserved concurrency is above 0")]
    Throttled,
    #[error("the function host is stopped")]
    Stopped,
}
