//! What to send, and how fast: the arguments that `up` and `send` share.

use std::path::PathBuf;
use std::time::Duration;

use centinela_traffic::Profile;
use clap::{Args, ValueEnum};

use super::values::{NamedShape, parse_actions, parse_duration, parse_rate, parse_shape, parse_share};

/// What to send, and how fast.
#[derive(Clone, Debug, Args)]
pub struct Traffic {
    /// Transactions per second [default: 200; with --input as fast as they are decided]; 0 sends nothing.
    #[arg(long, value_name = "TX_PER_S", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// How long to send, such as 500ms, 60s, 5m or 2h [default: until Ctrl-C, or the end of the file].
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true)]
    pub duration: Option<Duration>,
    /// Send this file: JSON lines or CSV with a header, plain or compressed with gzip or zstd, or Parquet. It is read once before
    /// anything is sent, and refused at the first row that is no transaction. A line of JSON is sent as it stands. In a table the
    /// time is a timestamp (UTC where it has no zone), RFC 3339, or a number of the unit that makes it a date of this century.
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Send the file without checking it first, for the function to judge; a blank line is skipped.
    #[arg(long, requires = "input")]
    pub unchecked: bool,
    /// Send only the first rows of the file.
    #[arg(long, value_name = "N", requires = "input", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Send what a table says in its column `fraud` as labels too, each so long after its transaction by event time, such as 168h.
    #[arg(long, value_name = "TIME", requires = "input", value_parser = parse_duration)]
    pub labels_after: Option<Duration>,
    /// Measure the scores (where the truth is known) only of transactions later than this after the first one, by event time.
    #[arg(long, value_name = "TIME", requires = "input", value_parser = parse_duration)]
    pub measure_after: Option<Duration>,
    /// The field that becomes the record's key, and so chooses its partition.
    #[arg(long, value_enum, default_value_t = Key::TransactionId)]
    pub key: Key,
    /// Seed of the generated traffic: the same seed gives the same users, devices and frauds.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Users of the generated traffic.
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub users: u32,
    /// What users do besides buying (log-ins, changes, registrations), in actions per transaction; 0 sends none [default: 2].
    #[arg(long, value_name = "PER_TX", value_parser = parse_actions, conflicts_with = "input")]
    pub actions: Option<f64>,
    /// Labels that arrive days later (chargebacks, refunds, confirmations), as a share of the transactions; 0 sends none [default: 0.01].
    #[arg(long, value_name = "SHARE", value_parser = parse_share, conflicts_with = "input")]
    pub labels: Option<f64>,
    /// How purchases are spread over the users: natural (own rates and rhythms, one user's transactions apart), uniform, zipf
    /// (exponent 1.2), hot or hot=SHARE (one user makes 0.1 or SHARE of all, the others are uniform).
    #[arg(long, value_name = "SHAPE", default_value = "natural", value_parser = parse_shape, conflicts_with = "input")]
    pub shape: NamedShape,
}

/// Which producer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Producer {
    /// Everything, as it is in the world.
    Mixed,
    /// A shop on the web: browsers, mostly on desks.
    Web,
    /// A shop's app: telephones and tablets, many in carriers' networks.
    Mobile,
    /// A payment gateway: its own machines and agent before every device.
    Gateway,
}

impl From<Producer> for Profile {
    fn from(producer: Producer) -> Self {
        match producer {
            Producer::Mixed => Self::Mixed,
            Producer::Web => Self::Web,
            Producer::Mobile => Self::Mobile,
            Producer::Gateway => Self::Gateway,
        }
    }
}

/// The field that becomes a record's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Key {
    /// Spreads the transactions of a busy user over all partitions.
    #[value(name = "transaction_id")]
    TransactionId,
    /// Keeps the order of each user.
    #[value(name = "user_id")]
    UserId,
}

impl Key {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransactionId => "transaction_id",
            Self::UserId => "user_id",
        }
    }
}
