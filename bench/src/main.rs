//! `centinela-bench`: the parts that `bench/run` and `bench/instructions` put together.

use std::error::Error;
use std::process::ExitCode;

use centinela_bench::{count, host, measure};
use clap::{Parser, Subcommand};

/// Gives a contender records and reads its answers, runs a function as a contender, or does a piece of the compute path again and again.
#[derive(Debug, Parser)]
#[command(name = "centinela-bench", version, max_term_width = 120)]
#[command(
    after_help = "`bench/run` uses it; `bench/run --help` says how.\n\nExample:\n  centinela-bench count whole-100 20"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send records at a rate and measure the way to the decision.
    Live(measure::Live),
    /// Let records wait, and measure how fast they are worked off.
    Backlog(measure::Backlog),
    /// Run a function on a Kafka, with an embedded DynamoDB and Kinesis.
    Host(host::Arguments),
    /// Do a piece of the compute path so many times, for callgrind to count.
    Count(Count),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  centinela-bench count whole-100 20")]
struct Count {
    /// Which piece.
    kernel: String,
    /// How often.
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    times: u64,
}

fn main() -> ExitCode {
    let outcome: Result<(), Box<dyn Error>> = match Cli::parse().command {
        Command::Live(arguments) => measure::live(&arguments).map_err(Into::into),
        Command::Backlog(arguments) => measure::backlog(&arguments).map_err(Into::into),
        Command::Host(arguments) => hosted(&arguments),
        Command::Count(Count { kernel, times }) => match count::count(&kernel, times) {
            Ok(transactions) => {
                centinela_bench::print(&transactions.to_string());
                Ok(())
            }
            Err(unknown) => Err(unknown.into()),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes = std::iter::successors(Some(&*error as &dyn Error), |error| (*error).source());
            let words: Vec<String> = causes.map(ToString::to_string).collect();
            centinela_bench::say(&format!("error: {}", words.join(": ")));
            ExitCode::FAILURE
        }
    }
}

fn hosted(arguments: &host::Arguments) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(host::run(arguments));
    // Whoever still reads standard input would be waited for.
    runtime.shutdown_background();
    Ok(outcome?)
}
