//! `cargo xtask`: work about the repository that is no part of the product. It imports nothing of ours: it runs the commands that
//! users run and reads what they write, and writes new functions from files.

mod args;
mod cases;
mod failure;
mod figures;
mod machine;
mod measure;
mod new_function;
mod page;
mod profile;
mod runner;
mod servers;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Measure(arguments) if arguments.profile => profile::run(&arguments),
        Command::Measure(arguments) => measure::run(&arguments),
        Command::NewFunction(arguments) => new_function::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::note(&failure.to_string());
            failure.exit_code()
        }
    }
}
