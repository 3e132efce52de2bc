//! The command line. It checks form and ranges; what the values mean is the commands' matter.

mod traffic;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use centinela_audit::burst::Course;
use centinela_audit::chaos::{Kind, Kinds};
use clap::{Args, Parser, Subcommand};

use crate::brake;
use crate::dead_letters;
use crate::erase;
use crate::features;
use crate::kafka_args::KafkaSecurity;
use crate::pending_failures;
use crate::plan;
use crate::query;

pub use traffic::{Key, Producer, Traffic};
pub use values::parse_duration;
use values::{parse_burst, parse_latency};

/// Transactions per second when nothing else is asked for.
pub const RATE_DEFAULT: f64 = 200.0;
/// Actions per transaction, and labels as a share of them, when nothing else is asked for.
pub const ACTIONS_DEFAULT: f64 = 2.0;
pub const LABELS_DEFAULT: f64 = 0.01;
/// A run with faults: they are all drawn before it starts.
const CHAOS_HOURS_MAX: u64 = 24;
const KILLS_MAX: i64 = 1_000_000;

/// Real-time fraud decisions on Kafka and AWS Lambda: the whole platform on one machine.
#[derive(Debug, Parser)]
#[command(name = "centinela", version, about, max_term_width = 120)]
#[command(
    after_help = "Without a command it does `up`.\n\nExample:\n  centinela up --rate 500 --for 60s --summary report.json"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the platform, send traffic, and reconcile every transaction.
    Up(Box<Up>),
    /// Send transactions, user actions and labels to any Kafka.
    Send(Box<SendTraffic>),
    /// Compute the rows that a model is trained on, with the code that serves.
    Features(features::Args),
    /// Remove a person from the tables, and from the lake with the next compaction.
    Erase(erase::Args),
    /// List, show, send back and drop dead letters.
    DeadLetters(dead_letters::Args),
    /// Stop side jobs that cost too much or run away, and start them again.
    Brake(brake::Args),
    /// Show and clear the records that were reported as failures and have not come back.
    PendingFailures(pending_failures::Args),
    /// Ask the lake a ready question, or one of your own.
    Query(Box<query::Args>),
    /// Say what the stacks cost and carry at any rate, and how they grow.
    Plan(Box<plan::Args>),
}

/// What happens without a command: `up` as it is without flags.
pub fn up_by_default() -> Command {
    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        up: Up,
    }
    Command::Up(Box::new(Alone::parse_from(["up"]).up))
}

/// `centinela up`.
#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
It starts Kafka, DynamoDB, S3 and Kinesis emulators on 127.0.0.1, runs the real function binaries as the files in infra/ say,
and sends traffic until it is told to stop. Ctrl-C drains and prints the report; a second Ctrl-C stops at once.

With --kafka, --dynamodb or --aws-endpoint it uses servers that are there already, in any mixture with the emulators. Topics,
tables, streams and buckets are created when they are missing and checked when they are there; nothing is altered or deleted.
Records that the consumer group has not committed yet are decided first; the report covers only what comes after. The ids of
generated transactions then end with the time, because the servers may remember those of the last run.
DynamoDB and the others are asked as user `centinela` in us-east-1, unless AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN and AWS_REGION are set.

The exit code is 0 when the report is clean, 1 when a transaction was lost, counted twice or could not be sent, 2 when the
request cannot be carried out.

Examples:
  centinela up
  centinela up --rate 1667 --for 120s --key user_id --summary report.json
  centinela up --input history.parquet --limit 200000
  centinela up --rate 1667 --for 60s --shape hot=0.2
  centinela up --cold
  centinela up --backlog 200000
  centinela up --rate 1667 --for 120s --burst 10x10s@30s
  centinela up --rate 0 --endpoints endpoints.json
  centinela up --kafka 127.0.0.1:9092 --dynamodb http://127.0.0.1:8000 --rate 500 --for 30s
  centinela up --latency 5ms,12ms --rate 1667 --for 60s
  centinela up --rate 500 --for 120s --chaos --seed 7
  centinela up --for 60s --chaos=kill,throttle"
)]
pub struct Up {
    /// What to send.
    #[command(flatten)]
    pub traffic: Traffic,
    /// Draw no table and print no report.
    #[arg(long)]
    pub quiet: bool,
    /// Write the reconciliation report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Write where everything is as JSON to this file once it is ready.
    #[arg(long, value_name = "FILE")]
    pub endpoints: Option<PathBuf>,
    /// Write everything that the functions print to this file.
    #[arg(long, value_name = "FILE")]
    pub logs: Option<PathBuf>,
    /// Write which function called which action of AWS on what, as IAM names them, to this file as JSON: what its role must allow.
    /// Of embedded services only.
    #[arg(long, value_name = "FILE")]
    pub calls: Option<PathBuf>,
    /// Read the stacks from this directory instead of the ones that are built in.
    #[arg(long, value_name = "DIR")]
    pub infra: Option<PathBuf>,
    /// Environments of each function at most [default: what the stacks reserve, and without --latency at most one for two processors; one
    /// more than processors with a backlog, a file that is sent as fast as it goes, or faults].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub environments: Option<u16>,
    /// Decide with the model of this directory (model.onnx and manifest.json, as model/build writes them) in place of the bundled one.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Whether decisions follow the fallback of the model's manifest while the model would block more than its band allows
    /// [default: what the stacks say].
    #[arg(long, value_name = "on|off", value_parser = ["on", "off"])]
    pub guard: Option<String>,
    /// Whether an alarm of cost brakes, or only has the alert topic told what it would do [default: what the stacks say].
    #[arg(long, value_name = "brake|say", value_parser = ["brake", "say"])]
    pub at_alarms: Option<String>,
    /// Begin with empty tables. Otherwise generated traffic begins where its own first weeks have ended: what is known of their users
    /// and devices is put into the embedded DynamoDB, so that what is unusual stands out from the first second.
    #[arg(long)]
    pub cold: bool,
    /// Let faults happen, all or those named, at moments that --seed decides; a table at the end says what they led to. Such a run
    /// takes a --for of 24h at most.
    #[arg(long, value_name = "FAULTS", num_args = 0..=1, require_equals = true, default_missing_value = "all",
        conflicts_with_all = ["kill", "redeliver"], long_help = chaos_help())]
    pub chaos: Option<Kinds>,
    /// A command that restarts the Kafka of --kafka, for the fault broker-restart.
    #[arg(long, value_name = "COMMAND", requires = "chaos")]
    pub kafka_restart: Option<String>,
    /// The process of the Kafka of --kafka on this machine, for the fault broker-frozen.
    #[arg(long, value_name = "PID", requires_all = ["chaos", "kafka"], value_parser = clap::value_parser!(i32).range(2..))]
    pub kafka_pid: Option<i32>,
    /// Deliver every batch once more after it succeeded.
    #[arg(long)]
    pub redeliver: bool,
    /// Kill every function process this many times during the run, evenly spaced (needs --for or --input).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=KILLS_MAX))]
    pub kill: Option<u32>,
    /// Put this many records on the topic first, as fast as it goes, and let the function start on them only then; ends when all
    /// are decided and reports the throughput between 30 and 100 percent of them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(10..),
          conflicts_with_all = ["rate", "duration", "kill", "chaos"])]
    pub backlog: Option<u64>,
    /// Send so many times the rate for a while, from 10 s on or from the time behind the @; the report says how much piled up and when it
    /// was worked off. 61x60s is an hour's traffic in a minute.
    #[arg(long, value_name = "FACTORxTIME[@TIME]", value_parser = parse_burst, conflicts_with_all = ["input", "backlog"])]
    pub burst: Option<Course>,
    /// Let every call to DynamoDB and Kinesis take as long as in AWS: a log-normal distribution with this median and this 99 %
    /// quantile, drawn by --seed. What the server itself needs is part of the time.
    #[arg(long, value_name = "P50,P99", value_parser = parse_latency, allow_hyphen_values = true)]
    pub latency: Option<(Duration, Duration)>,
    /// How long the end of the run waits for servers that do not answer, and for work that does not move; the report is incomplete then.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub drain_timeout: Duration,
    /// Use this Kafka instead of the embedded one.
    #[arg(long, value_name = "HOST:PORT[,...]", conflicts_with = "kafka_port")]
    pub kafka: Option<String>,
    /// How to get into it.
    #[command(flatten)]
    pub kafka_security: KafkaSecurity,
    /// Use this DynamoDB instead of the embedded one, such as Amazon's DynamoDB Local.
    #[arg(long, value_name = "URL")]
    pub dynamodb: Option<String>,
    /// Use this server for DynamoDB, Kinesis and S3; --dynamodb wins over it.
    #[arg(long, value_name = "URL", conflicts_with_all = ["kinesis_port", "s3_port"])]
    pub aws_endpoint: Option<String>,
    /// Port of Kafka [default: a free one].
    #[arg(long, value_name = "PORT")]
    pub kafka_port: Option<u16>,
    /// MB of disk that each topic of the embedded Kafka may take; the oldest records go first, but none of the source topic that the
    /// function has not handled: new ones are refused until it has [default: 1024].
    #[arg(long, value_name = "MB", conflicts_with = "kafka", value_parser = clap::value_parser!(u32).range(64..))]
    pub kafka_disk: Option<u32>,
    /// Port of DynamoDB, or of the proxy before it [default: a free one].
    #[arg(long, value_name = "PORT")]
    pub dynamodb_port: Option<u16>,
    /// Port of S3 [default: a free one].
    #[arg(long, value_name = "PORT")]
    pub s3_port: Option<u16>,
    /// Keep the objects of the embedded S3 as files below this new or empty directory, each bucket in one of its own, so that
    /// `centinela query --lake DIR/BUCKET` asks the lake after the run [default: a temporary one, gone with it].
    #[arg(long, value_name = "DIR", conflicts_with = "aws_endpoint")]
    pub s3_directory: Option<PathBuf>,
    /// Port of Kinesis [default: a free one].
    #[arg(long, value_name = "PORT")]
    pub kinesis_port: Option<u16>,
    /// Port of Lambda, for `aws lambda invoke` [default: a free one].
    #[arg(long, value_name = "PORT")]
    pub lambda_port: Option<u16>,
    /// Port of the HTTP API [default: a free one].
    #[arg(long, value_name = "PORT")]
    pub api_port: Option<u16>,
    /// Port of /metrics, for Prometheus [default: a free one].
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,
}

impl Up {
    /// Refuses values that are in order each and not together.
    ///
    /// # Errors
    /// [`TooLong`] when the faults of the whole length would not fit into memory.
    pub fn check(&self) -> Result<(), TooLong> {
        let hours_max = Duration::from_secs(CHAOS_HOURS_MAX * 3600);
        match self.traffic.duration {
            Some(length) if self.chaos.is_some() && hours_max < length => Err(TooLong(length)),
            _ => Ok(()),
        }
    }
}

/// A run with faults that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--chaos takes a --for of at most {CHAOS_HOURS_MAX}h, got {}s; shorten it, or run it again with another --seed", .0.as_secs())]
pub struct TooLong(Duration);

/// `centinela send`.
#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Sends generated transactions with what their users do besides and what becomes known later, or the transactions of a file: to Kafka, with
an idempotent producer that waits for all replicas, or to the API, whose answer means the same; what gets no answer is asked again, for
half a minute. At the end it prints how many were acknowledged, the rate that was kept, and how long acknowledgements took, counted from
the time for which each record was meant. The exit code is 0 when every record was acknowledged. The same seed sends the same transaction
ids again: producers beside each other need a --seed each.

Requests to the API are signed with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (without them as user `centinela`, which a running
`centinela up` knows), or carry the token of CENTINELA_API_TOKEN.

Examples:
  centinela send --kafka 127.0.0.1:9092 --rate 100 --for 30s
  centinela send --kafka 127.0.0.1:9092 --profile mobile --rate 500 --for 60s
  centinela send --api http://127.0.0.1:8080 --profile gateway --rate 200 --for 60s
  centinela send --api http://127.0.0.1:8080 --decide --rate 200 --for 60s
  centinela send --kafka 127.0.0.1:9092 --input transactions.jsonl
  CENTINELA_KAFKA_PASSWORD=... centinela send --kafka broker:9096 --kafka-tls --kafka-user producer --rate 100 --for 30s"
)]
pub struct SendTraffic {
    /// The brokers.
    #[arg(long, value_name = "HOST:PORT[,...]", required_unless_present = "api", conflicts_with = "api")]
    pub kafka: Option<String>,
    /// How to get into it.
    #[command(flatten)]
    pub kafka_security: KafkaSecurity,
    /// The API, instead of Kafka.
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// Ask the API for each decision and wait for it, instead of only handing the transactions in.
    #[arg(long, requires = "api")]
    pub decide: bool,
    /// Transactions of one request to the API.
    #[arg(long, value_name = "N", requires = "api", conflicts_with = "decide", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=500))]
    pub batch: u16,
    /// Which producer sends: all of the generated world, or what a web shop, an app or a payment gateway sees of it, with its devices,
    /// agents and networks. A gateway sends no user actions, unless --actions is given.
    #[arg(long, value_enum, default_value_t = Producer::Mixed, conflicts_with = "input")]
    pub profile: Producer,
    /// The topic of the transactions.
    #[arg(long, default_value = "transactions")]
    pub topic: String,
    /// The topic of the user actions; without one on that Kafka none are sent, unless --actions is given.
    #[arg(long, default_value = "user_actions")]
    pub actions_topic: String,
    /// The topic of the labels; without one on that Kafka none are sent, unless --labels is given.
    #[arg(long, default_value = "events")]
    pub events_topic: String,
    /// What to send.
    #[command(flatten)]
    pub traffic: Traffic,
    /// Stop after this many transactions.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Show no progress.
    #[arg(long)]
    pub quiet: bool,
}

fn chaos_help() -> String {
    let mut help = "Let faults happen, all or those named, at moments that --seed decides; a table at the end says what they led to. \
        Such a run takes a --for of 24h at most:"
        .to_owned();
    for kind in Kind::ALL {
        help.push_str(&format!("\n  {:<17} {}", kind.name(), kind.what()));
    }
    help
}

/// The one line of a parse error: clap's first paragraph without its heading.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let line = paragraph.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    format!("{line}; see `centinela --help`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_flag_is_one_line() {
        let error = Cli::try_parse_from(["centinela", "send"]).unwrap_err();
        let line = one_line(&error);
        assert!(line.contains("--kafka") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_flag() {
        let cases: &[(&[&str], &str, &str)] = &[
            (&["up", "--for", "4999999999999999h"], "'4999999999999999h' for '--for", "at most 87600h"),
            (&["up", "--for", "-1s"], "'-1s' for '--for", "longer than 0"),
            (&["up", "--rate", "1e-300"], "'1e-300' for '--rate", "between 0.001 and 1000000"),
            (&["up", "--rate", "-1"], "'-1' for '--rate", "between 0.001 and 1000000"),
            (&["up", "--seed", "-1"], "'-1' for '--seed", "invalid"),
            (&["up", "--users", "-1"], "'-1' for '--users", "1..=10000000"),
            (&["up", "--kill", "4294967295"], "'4294967295' for '--kill", "1000000"),
            (&["up", "--latency", "-5ms,12ms"], "'-5ms,12ms' for '--latency", "median"),
            (&["up", "--input", "x", "--limit", "0"], "'0' for '--limit", "1.."),
            (&["send", "--kafka", "x:1", "--count", "0"], "'0' for '--count", "1.."),
            (&["send", "--api", "http://x", "--batch", "501"], "'501' for '--batch", "1..=500"),
            (&["send", "--kafka", "x:1", "--rate", "-0.5"], "'-0.5' for '--rate", "between 0.001 and 1000000"),
            (&["features", "--out", "x", "--seed", "-1"], "'-1' for '--seed", "invalid"),
        ];
        for (arguments, value, limit) in cases {
            let error = Cli::try_parse_from(std::iter::once(&"centinela").chain(*arguments)).unwrap_err();
            let line = one_line(&error);
            assert!(line.contains(value) && line.contains(limit), "{arguments:?}: {line}");
        }
    }

    #[test]
    fn a_run_with_faults_is_at_most_a_day_long() {
        let check = |arguments: &[&str]| {
            let cli = Cli::try_parse_from(["centinela", "up"].iter().chain(arguments)).unwrap();
            let Some(Command::Up(up)) = cli.command else { panic!("no `up`") };
            up.check().map_err(|error| error.to_string())
        };
        let refused = check(&["--chaos", "--for", "100000s"]).unwrap_err();
        assert!(refused.starts_with("--chaos takes a --for of at most 24h, got 100000s"), "{refused}");
        for in_order in [&["--chaos", "--for", "24h"][..], &["--chaos"], &["--for", "100000s"]] {
            assert_eq!(check(in_order), Ok(()), "{in_order:?}");
        }
    }

    #[test]
    fn every_command_has_an_example() {
        use clap::CommandFactory;
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{}", command.get_name());
        }
    }
}
