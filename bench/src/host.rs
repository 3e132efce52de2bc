//! One function on a Kafka that is there: our own mapping, our own DynamoDB and Kinesis, and any program that speaks Lambda's Runtime API.
//!
//! So every contender that is a Lambda function is invoked alike, and only what it does differs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use centinela_infra::{InfraError, Infrastructure};
use centinela_local::kafka::KafkaAccess;
use centinela_local::platform::{Platform, PlatformConfig, PlatformError, Servers};
use clap::Args;
use tokio::io::AsyncReadExt as _;

/// The function whose place a contender takes: its topic, tables, stream and variables.
pub const FUNCTION: &str = "score-transactions";
/// The environment whose parameters one machine runs with.
pub const ENVIRONMENT: &str = "local";
/// How long work in progress may run on.
const GRACE: Duration = Duration::from_secs(5);

/// `centinela-bench host`.
#[derive(Debug, Args)]
#[command(after_help = "\
It prints `ready` once the function has asked for work, and ends when standard input does. Records that wait on the topic are decided \
first.

Example:
  centinela-bench host --kafka 127.0.0.1:9092 --program bench/peers/python/bootstrap")]
pub struct Arguments {
    /// The brokers.
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: String,
    /// The program to run in place of the function [default: the function, beside this program].
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// Records wait on the topic: work them off with as many environments as `centinela up --backlog`.
    #[arg(long)]
    pub backlog: bool,
    /// Begin every batch as soon as the one before is done, instead of 4 ms after one of more than two records.
    #[arg(long, conflicts_with = "backlog")]
    pub unpaced: bool,
}

/// Why there is nothing to measure.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The stacks cannot be read.
    #[error("the stacks cannot be read")]
    Stacks(#[from] InfraError),
    /// The stacks have another function now.
    #[error("the stacks have no function {FUNCTION}, whose place a contender takes")]
    NoFunction,
    /// It does not start or does not end in order.
    #[error("the platform")]
    Platform(#[from] PlatformError),
    /// The program cannot be found.
    #[error("{path} cannot be found")]
    Program {
        /// As it was given.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The operating system refuses.
    #[error("standard input and output")]
    Terminal(#[from] std::io::Error),
}

/// The stacks, with that function only.
///
/// # Errors
/// When they cannot be read or have no such function.
pub fn only_function() -> Result<Infrastructure, HostError> {
    let mut stacks = Infrastructure::bundled(ENVIRONMENT)?;
    stacks.functions.retain(|function| function.binary == FUNCTION);
    let function = stacks.functions.first().ok_or(HostError::NoFunction)?.name.clone();
    stacks.mappings.retain(|mapping| mapping.function == function);
    stacks.stream_mappings.clear();
    stacks.triggers.clear();
    Ok(stacks)
}

/// Runs it until standard input ends.
///
/// # Errors
/// See [`HostError`].
pub async fn run(arguments: &Arguments) -> Result<(), HostError> {
    let mut stacks = only_function()?;
    let beside = std::env::current_exe()?.parent().map_or_else(PathBuf::new, Path::to_owned);
    if let Some(program) = &arguments.program {
        let found = |source| HostError::Program { path: program.clone(), source };
        let place = std::fs::canonicalize(program).map_err(found)?;
        for function in &mut stacks.functions {
            function.binary = place.display().to_string();
        }
    }
    let mut config = PlatformConfig::new(stacks, &beside);
    config.servers = Servers { kafka: Some(KafkaAccess::plaintext(&arguments.kafka)), ..Servers::default() };
    config.overlapping = arguments.backlog;
    config.unpaced = arguments.unpaced;
    config.say = Arc::new(crate::say);
    let platform = Platform::start(config).await?;
    crate::print("ready");
    let (mut input, mut until_its_end) = (tokio::io::stdin(), Vec::new());
    let ended = tokio::select! {
        read = input.read_to_end(&mut until_its_end) => read.map(|_| ()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    };
    platform.stop(GRACE).await?;
    Ok(ended?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contender_finds_the_topic_the_tables_and_the_stream_of_the_function_whose_place_it_takes() {
        let stacks = only_function().expect("the stacks have the function");
        assert_eq!((stacks.functions.len(), stacks.mappings.len()), (1, 1));
        for variable in ["USER_TABLE", "APPROVED_TOPIC", "BLOCKED_TOPIC", "DECISIONS_STREAM"] {
            assert!(stacks.functions[0].environment.contains_key(variable), "{variable}");
        }
        assert!(stacks.mappings[0].window.is_zero(), "it is invoked at once");
    }
}
