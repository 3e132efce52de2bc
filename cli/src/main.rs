//! `centinela`: the platform on one machine, and the tools around it.

mod args;
mod aws_credentials;
mod failure;
mod features;
mod function_build;
mod interrupt;
mod kafka_args;
mod open_files;
mod pending_failures;
mod send;
mod terminal;
mod traffic;
mod up;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};
use failure::Failure;
use interrupt::Interrupt;

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            terminal::print(&error.to_string());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            terminal::note(&args::one_line(&error));
            return ExitCode::from(2);
        }
    };
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("error,rdkafka=off,librdkafka=off,centinela=warn,centinela_local=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal::takes_colours())
        // It would be written with `eprintln!`, which panics where the terminal has gone away.
        .log_internal_errors(false)
        .init();
    match run(command.unwrap_or_else(args::up_by_default)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::note(&failure.to_string());
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let runtime = || tokio::runtime::Runtime::new().map_err(|error| Failure::failed(&error));
    match command {
        // Computes only, so an interrupt may end it as it ends any program.
        Command::Features(arguments) => features::run(&arguments),
        // Reads, or writes once as a whole.
        Command::PendingFailures(arguments) => runtime()?.block_on(Box::pin(pending_failures::run(arguments))),
        Command::Up(arguments) => finish(runtime()?, |interrupt| Box::pin(up::run(*arguments, interrupt))),
        Command::Send(arguments) => finish(runtime()?, |interrupt| send::run(*arguments, interrupt)),
    }
}

fn finish<F>(runtime: Runtime, work: impl FnOnce(Interrupt) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let outcome = runtime.block_on(async {
        let interrupt = Interrupt::listen().map_err(|error| Failure::failed(&error))?;
        work(interrupt).await
    });
    // A thread that waits for a broker that is gone must not hold up the end.
    runtime.shutdown_background();
    outcome
}
