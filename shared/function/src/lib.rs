//! What every Lambda of ours does around its use case: configuration that reports every problem at once, a start-up log, Lambda's
//! deadline, error reports with stable types, one metric line per invocation, and the loop that asks for work.
//!
//! A function's package implements [`Function`] and hands it to [`run()`]. Nothing here knows what a function is for.

mod environment;
mod failure;
mod invocation;
mod run;

pub use environment::{ConfigError, Environment, Keys, configure};
pub use failure::Failure;
pub use invocation::{Answer, Invocation};
pub use lambda_runtime::Error;
pub use run::{Function, run};
