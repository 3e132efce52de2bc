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
mod api;
mod asynchronous;
mod concurrency;
mod environment;
mod error;
mod host;
mod logs;
pub mod mapping;
mod pool;
mod process;
mod runtime_api;
mod sns_api;
mod spec;

pub use accounting::{Durations, FunctionStats};
pub use api::{HeldMappings, LambdaApi, Mappings, Served, SwitchedMapping};
pub use asynchronous::invoke_asynchronously;
pub use error::{HostError, InvokeError};
pub use host::FunctionHost;
pub use logs::{LogLine, LogStream};
pub use pool::EnvironmentInfo;
pub use sns_api::{SnsApi, SnsTopic};
pub use spec::{FunctionSpec, PAYLOAD_BYTES_MAX};
