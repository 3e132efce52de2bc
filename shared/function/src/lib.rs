//! What every Lambda of ours does around its use case: configuration that reports every problem at once, a start-up log, Lambda's
//! deadline, error reports with stable types, one metric line per invocation, and the loop that asks for work.
//!
//! A function's package implements [`Function`] and hands it to [`run()`]. Nothing here knows what a function is for.
//!
//! # A Kafka Lambda in forty lines
//!
//! It is the binary that `cargo lambda build` packs and a mapping of MSK or of any Kafka invokes, with `ReportBatchItemFailures`. A value
//! that cannot be read is dead-lettered with its reason; what fails is delivered again, and nothing else of the batch is; a batch that
//! meets Lambda's deadline is answered before it; every invocation leaves one metric line. `cargo test --release --test kafka_lambda` runs
//! it behind a real mapping, without an account.
//!
//! ```no_run
#![doc = include_str!("../examples/kafka_lambda.rs")]
//! ```
//!
//! It is told by its environment: `KAFKA_BOOTSTRAP`, `KAFKA_AUTH` (`iam`, `scram`, `tls` or `plaintext`), `DEAD_LETTERS_TOPIC`, and
//! `PSEUDONYM_KEY`, a secret of 32 hexadecimal digits or more. What is missing or wrong is named all at once when it starts.

mod environment;
mod failure;
mod invocation;
mod run;
mod runtime_api;

pub use environment::{ConfigError, Environment, Keys, configure};
pub use failure::Failure;
pub use invocation::{Answer, Invocation};
pub use lambda_runtime::Error;
pub use run::{Function, run};
