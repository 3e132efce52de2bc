//! `cargo xtask`: work about the repository that is no part of the product. It measures by the commands that users run, writes new
//! functions from files, and deploys: what a deploy does next is `centinela-rollout`'s, and how AWS is asked `centinela-rollout-adapters`'.

mod args;
mod cases;
mod deploy;
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
        Command::Deploy(arguments) => deploy::run(&arguments),
        Command::Destroy(arguments) => deploy::destroy(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::note(&failure.to_string());
            failure.exit_code()
        }
    }
}
