//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Work about the repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 120)]
#[command(after_help = "Example:\n  cargo xtask measure --only e2e-1667,backlog --json measured.json")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure the system: latency, stages, price, CPU by part, memory, throughput, starts.
    Measure(Measure),
    /// Write a new function: package, stack, parameters, sample events with their responses.
    NewFunction(NewFunction),
}

/// `cargo xtask new-function`.
#[derive(Debug, Args)]
#[command(after_help = "\
It writes functions/NAME, infra/40-functions/NAME.yaml and events/NAME, and adds the stack's parameters to infra/env/*.json. What it
writes passes every gate and does nothing yet; CONTRIBUTING.md, \"Add a function\", says how it goes on.

The exit code is 2 when the name cannot be taken, 1 when something could not be written.

Example:
  cargo xtask new-function archive-records --source kafka")]
pub struct NewFunction {
    /// A verb and a noun in small letters, joined by `-`.
    pub name: String,
    /// What invokes it.
    #[arg(long, value_enum)]
    pub source: Source,
}

/// What invokes a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// Records of a Kafka topic of its own.
    Kafka,
    /// Records of the stream `decisions`.
    Kinesis,
    /// Requests to an HTTP API of its own.
    Http,
    /// The clock.
    Schedule,
}

impl Source {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [Self; 4] = [Self::Kafka, Self::Kinesis, Self::Http, Self::Schedule];

    /// As it is written on the command line, and the name of its template.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Kinesis => "kinesis",
            Self::Http => "http",
            Self::Schedule => "schedule",
        }
    }
}

/// `cargo xtask measure`.
#[derive(Debug, Args)]
#[command(after_help = "\
It builds once, runs `centinela up` once per row and repetition, and prints Markdown tables; progress goes to standard error.
Latency counts from the intended send time. All of it takes about half an hour on a machine that does nothing else; --list says what
the rows are.

The exit code is 0 when every report was CLEAN, 1 when one was not or a run failed, 2 when the request cannot be carried out.

Examples:
  cargo xtask measure --json measured.json --page docs/benchmarks.md
  cargo xtask measure --quick --only e2e-1667,starts
  cargo xtask measure --only e2e-1667 --repeat 3
  cargo xtask measure --latency-profile --json latency.json
  cargo xtask measure --profile")]
pub struct Measure {
    /// Ten seconds a run and small counts: shows that everything works, not how fast it is.
    #[arg(long)]
    pub quick: bool,
    /// Other rows: calls as slow as in AWS, for ten minutes, with users that are not alike, in a burst, and with an hour's backlog. They take
    /// three quarters of an hour.
    #[arg(long)]
    pub latency_profile: bool,
    /// Only these rows, separated by commas; see --list.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Say what the rows are and run nothing.
    #[arg(long)]
    pub list: bool,
    /// Runs per row; the tables show the median of each figure.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub repeat: u32,
    /// Write the machine, the commit, every command line and every report to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Put the tables into this page, between its two `measured` marks.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// Instead of the table: where the CPU time of the function goes at 1,667 transactions a second, by `perf`.
    #[arg(long, conflicts_with_all = ["latency_profile", "only", "list", "repeat", "json", "page"])]
    pub profile: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_has_an_example() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{}", command.get_name());
        }
    }
}
