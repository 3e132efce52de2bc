//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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
}

/// `cargo xtask measure`.
#[derive(Debug, Args)]
#[command(after_help = "\
It builds once, runs `centinela up` once per row and repetition, and prints Markdown tables; progress goes to standard error.
Latency counts from the intended send time. All of it takes about half an hour on a machine that does nothing else; --list says what
the rows are.

The exit code is 0 when every account was clean, 1 when one was not or a run failed, 2 when the request cannot be carried out.

Examples:
  cargo xtask measure --json measured.json --page docs/benchmarks.md
  cargo xtask measure --quick --only e2e-1667,starts
  cargo xtask measure --only e2e-1667 --repeat 3
  cargo xtask measure --profile")]
pub struct Measure {
    /// Ten seconds a run and small counts: shows that everything works, not how fast it is.
    #[arg(long)]
    pub quick: bool,
    /// Only these rows, separated by commas; see --list.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Say what the rows are and run nothing.
    #[arg(long)]
    pub list: bool,
    /// Runs per row; the tables show the median of each figure.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub repeat: u32,
    /// Write the machine, the commit, every command line and every account to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Put the tables into this page, between its two `measured` marks.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// Instead of the table: where the CPU time of the function goes at 1,667 transactions a second, by `perf`.
    #[arg(long, conflicts_with_all = ["only", "list", "repeat", "json", "page"])]
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
