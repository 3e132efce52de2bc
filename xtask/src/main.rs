//! `cargo xtask`: work about the repository that is no part of the product. It imports nothing of ours: it runs the commands that
//! users run and reads what they write.

mod args;
mod cases;
mod failure;
mod figures;
mod machine;
mod measure;
mod page;
mod profile;
mod runner;
mod servers;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};

fn main() -> ExitCode {
    let Command::Measure(arguments) = Cli::parse().command;
    let outcome = if arguments.profile { profile::run(&arguments) } else { measure::run(&arguments) };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::note(&failure.to_string());
            failure.exit_code()
        }
    }
}
