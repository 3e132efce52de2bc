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
    /// Make or change an environment in an AWS account, from the stacks in infra/.
    Deploy(Deploy),
    /// Delete an environment's stacks, the last first, and say what is kept.
    Destroy(Destroy),
}

/// Which environment, and where.
#[derive(Debug, Args)]
pub struct Target {
    /// An environment of infra/env, such as dev.
    #[arg(long, value_name = "NAME")]
    pub env: String,
    /// The account that is meant; where the credentials are of another one, nothing is done. Prod cannot do without.
    #[arg(long, value_name = "TWELVE DIGITS")]
    pub account: Option<String>,
    /// Ask nothing: agree to everything that would be asked.
    #[arg(long)]
    pub yes: bool,
    /// Take infra/ and events/ from this directory.
    #[arg(long, value_name = "DIR")]
    pub checkout: Option<PathBuf>,
}

/// `cargo xtask deploy`.
#[derive(Debug, Args)]
#[command(after_help = "\
Region and credentials are those of the environment, as for any AWS client (AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID, ...); with a profile
of IAM Identity Center: eval \"$(aws configure export-credentials --format env)\".

It looks at the account first and does nothing where something is missing. Then it brings the stacks up to date, one after the other, by
change sets that it shows and asks about; builds and uploads the functions; and lets each new version answer an event that changes nothing,
gives it a share of the invocations, and takes it back when it fails. It remembers nothing: after a failure or Ctrl-C run it again.
docs/deploy.md has the first deploy, step by step.

The exit code is 0 when everything is up to date, 1 when a step failed, was not agreed to or was taken back, 2 when the request cannot be
carried out, 130 after Ctrl-C.

Examples:
  cargo xtask deploy --env dev --plan
  cargo xtask deploy --env dev
  cargo xtask deploy --env dev --code score-transactions
  cargo xtask deploy --env prod --account 123456789012 --share 5 --watch 600")]
pub struct Deploy {
    /// Which environment.
    #[command(flatten)]
    pub target: Target,
    /// Say what the account lacks and what would change, and change nothing.
    #[arg(long, conflicts_with_all = ["code", "yes"])]
    pub plan: bool,
    /// Ship code alone, and touch no stack: of these functions, separated by commas, or of all.
    #[arg(long, value_name = "FUNCTIONS", value_delimiter = ',', num_args = 0..)]
    pub code: Option<Vec<String>>,
    /// Deploy DIR/FUNCTION/bootstrap.zip, as infra/bundle writes them, instead of building.
    #[arg(long, value_name = "DIR")]
    pub bundles: Option<PathBuf>,
    /// Let a stack that is made take over what outlived an earlier one: tables, buckets, a stream.
    #[arg(long)]
    pub adopt: bool,
    /// Logical ids, separated by commas, of resources that may be removed or made anew though they hold data.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub may_lose: Vec<String>,
    /// Per cent of the invocations that a new version gets at first; 0: all at once.
    #[arg(long, value_name = "PER CENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=90))]
    pub share: u8,
    /// Seconds in which a new version with a share must do well.
    #[arg(long, value_name = "SECONDS", default_value_t = 180, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub watch: u64,
}

/// `cargo xtask destroy`.
#[derive(Debug, Args)]
#[command(after_help = "\
It names first what it would delete and what would be kept (whatever holds data), and asks for the environment's name. What is kept costs
money until somebody deletes it; a later deploy takes most of it over with --adopt. Interrupted or failed: run it again.

The exit code is 0 when the stacks are gone, 1 when a step failed or was not agreed to, 2 when the request cannot be carried out, 130 after
Ctrl-C.

Example:
  cargo xtask destroy --env dev")]
pub struct Destroy {
    /// Which environment.
    #[command(flatten)]
    pub target: Target,
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
  cargo xtask measure --latency-profile --json latency.json --page docs/benchmarks.md
  cargo xtask measure --profile")]
pub struct Measure {
    /// Ten seconds a run and small counts: shows that everything works, not how fast it is.
    #[arg(long)]
    pub quick: bool,
    /// Other rows: calls as slow as in AWS, for ten minutes, with users that are not alike, in a burst, and with an hour's backlog. They take
    /// most of an hour, and the last one takes 20 GB of memory.
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
    /// Put the tables into this page, between the two marks of these rows, in place of the tables there: so of all rows, not of some.
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
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

    #[test]
    fn some_rows_do_not_replace_the_tables_of_all() {
        let of = |more: &[&str]| Cli::try_parse_from([&["xtask", "measure", "--page", "page.md"], more].concat());
        assert!(of(&[]).is_ok());
        assert!(of(&["--only", "starts"]).is_err_and(|error| error.to_string().contains("--only")));
    }
}
