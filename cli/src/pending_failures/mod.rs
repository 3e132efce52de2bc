//! `centinela pending-failures`: the operator's view of records that were reported as failures and have not come back, and the way to
//! say that one of them never will.
//!
//! A partition's item in the table of settled offsets has a marker for each such record (`centinela_contracts::stored_partition`). The function
//! takes markers off by itself when it learns what became of their records; this is for those of which it cannot learn. It decides
//! nothing about a record, publishes nothing, and shows no user.

mod settled_table;
mod shown;

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use centinela_contracts::stored_partition::PendingFailure;
use centinela_domain::{Mark, Millis};
use clap::{ArgGroup, Subcommand};

use crate::args;
use crate::failure::Failure;
use crate::terminal;
use settled_table::{Found, SettledTable};

/// Writes that may lose to somebody else's before the command gives up.
const ATTEMPTS: u32 = 5;
/// Places that an error names of those that could have been meant.
const NAMED_MAX: usize = 10;

/// `centinela pending-failures`.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = false)]
#[command(after_help = "\
A record that the function reports as a failure (batchItemFailures) gets a pending-failure marker in its partition's item of the
table of settled offsets. While the marker stands, a batch that begins above the record proves nothing: no further decision of the
partition is taken for published, and users' items grow. The function takes the marker off when the record comes back or its user's
item tells what became of it, and retires it after the mapping's maximum record age. The alarm `out-of-order` tells of markers that
are in the way.

Examples:
  centinela pending-failures list --dynamodb http://127.0.0.1:8000
  centinela pending-failures list --json
  centinela pending-failures clear --partition 3 --offset 81724
  centinela pending-failures clear --partition 3 --offset 81724 --yes")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with the markers.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show what is settled of each partition, and its pending-failure markers.
    List(List),
    /// Take pending-failure markers off a partition; without --yes say which.
    Clear(Clear),
}

/// Whose markers, and where they are.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// Use this DynamoDB, such as the one that `up` prints, instead of AWS.
    #[arg(long, value_name = "URL")]
    pub dynamodb: Option<String>,
    /// The table of settled offsets, with the prefix of its environment.
    #[arg(long, value_name = "NAME", default_value = "settled_offsets")]
    pub table: String,
    /// The consumer group of the mapping.
    #[arg(long, value_name = "NAME", default_value = "score-transactions")]
    pub group: String,
    /// The topic that the mapping reads.
    #[arg(long, value_name = "NAME", default_value = "transactions")]
    pub topic: String,
}

/// `centinela pending-failures list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
For each partition: its settled mark, which is the first position that is not known to be settled (offset and the broker's time),
when its item was written, and its markers. A marker has the offset and the broker's time of its record, the record's age by this
machine's clock, and, where the user is known, the first half of the decision's decision_id. The user is not shown.

Without --dynamodb it asks AWS, with region and credentials from the environment, a profile's keys, or the role of the container or
instance; for single sign-on: eval \"$(aws configure export-credentials --format env)\". With --dynamodb it asks as user `centinela`
in us-east-1, unless AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION are set.

The exit code is 0 when every item was read, whatever it says, 1 when one was not, 2 when the request cannot be carried out.

Examples:
  centinela pending-failures list
  centinela pending-failures list --table dev-settled_offsets --json
  centinela pending-failures list --dynamodb http://127.0.0.1:8000")]
pub struct List {
    /// Whose markers.
    #[command(flatten)]
    pub place: Place,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `centinela pending-failures clear`.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("which").required(true).args(["offset", "older_than", "all"])))]
#[command(after_help = "\
What clearing means: proof of publication in the partition may then pass the record. A batch that begins above it proves everything
below published, the record included; if it was decided and not published, nobody publishes it any more, and if it is delivered after
all, it may be skipped as stale. So clear a marker only when its record
  - is on topic dead-letters, put there by the function or by the mapping,
  - was given up by the mapping, because it is older than the mapping's maximum record age, or
  - is decided: a decision on topic approved or blocked has a decision_id that begins with the transaction that `list` shows.

Without --yes it only says what it would clear. With --yes it writes the partition's item on the condition that nobody else has
written it meanwhile, and starts again from what they wrote, 5 times at most. Only markers that it named are cleared. Use the release
that the function runs. Region and credentials are as for `list`.

The exit code is 0 when the markers are gone or there were none to choose, 1 when the item could not be read or written, 2 when there
is no such partition, marker or table.

Examples:
  centinela pending-failures clear --partition 3 --offset 81724
  centinela pending-failures clear --partition 3 --offset 81724,81730 --yes
  centinela pending-failures clear --partition 3 --older-than 8h --yes
  centinela pending-failures clear --partition 0 --all --yes --dynamodb http://127.0.0.1:8000")]
pub struct Clear {
    /// Whose markers.
    #[command(flatten)]
    pub place: Place,
    /// The partition.
    #[arg(long, value_name = "P")]
    pub partition: u32,
    /// The marker at this offset; several with commas.
    #[arg(long, value_name = "O", value_delimiter = ',')]
    pub offset: Vec<u64>,
    /// Markers of records that the broker got longer ago than this, such as 8h.
    #[arg(long, value_name = "TIME", value_parser = args::parse_duration)]
    pub older_than: Option<Duration>,
    /// Every marker of the partition.
    #[arg(long)]
    pub all: bool,
    /// Clear them.
    #[arg(long)]
    pub yes: bool,
}

/// Shows or clears markers.
///
/// # Errors
/// When the request names what is not there, or the database cannot be reached or refuses.
pub async fn run(arguments: Args) -> Result<(), Failure> {
    match arguments.action {
        Action::List(arguments) => list(&arguments).await,
        Action::Clear(arguments) => clear(&arguments).await,
    }
}

async fn list(arguments: &List) -> Result<(), Failure> {
    let table = SettledTable::open(&arguments.place).await?;
    let found = table.read_all().await?;
    let text = if arguments.json {
        shown::json(&arguments.place, &found, now())
    } else {
        shown::text(&arguments.place, &found, now())
    };
    terminal::print(&text);
    match found.unreadable.len() {
        0 => Ok(()),
        1 => Err(Failure::Failed("the item of 1 partition cannot be read; it must be repaired".to_owned())),
        several => Err(Failure::Failed(format!("the items of {several} partitions cannot be read; repair them"))),
    }
}

async fn clear(arguments: &Clear) -> Result<(), Failure> {
    let partition = arguments.partition;
    let table = SettledTable::open(&arguments.place).await?;
    let Some(mut stored) = table.read(partition).await? else {
        return Err(no_such_partition(arguments, &table.read_all().await?));
    };
    let chosen = choose(arguments, &stored.item.pending_failures, now())?;
    let (markers, cleared) = (stored.item.pending_failures.len(), chosen.len());
    if chosen.is_empty() {
        let held = shown::counted(markers);
        terminal::print(&format!("partition {partition} has {held}, nothing to clear\n"));
        return Ok(());
    }
    let mut text = format!("partition {partition}: {cleared} of {}\n", shown::counted(markers));
    for hold in stored.item.pending_failures.iter().filter(|hold| chosen.contains(&hold.at)) {
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "  {}", shown::marker(hold, now()));
    }
    if !arguments.yes {
        text.push_str("nothing was changed; --yes clears what stands here\n");
    }
    terminal::print(&text);
    if !arguments.yes {
        return Ok(());
    }
    for _ in 0..ATTEMPTS {
        let mut item = stored.item.clone();
        item.pending_failures.retain(|hold| !chosen.contains(&hold.at));
        let left = shown::counted(item.pending_failures.len());
        if item.pending_failures.len() == stored.item.pending_failures.len() {
            terminal::print(&format!("gone already, {left} left\n"));
            return Ok(());
        }
        if table.replace(partition, stored.version, &item).await? {
            terminal::print(&format!("cleared, {left} left\n"));
            return Ok(());
        }
        stored = table.read(partition).await?.ok_or_else(|| {
            Failure::Failed(format!("the item of partition {partition} was deleted meanwhile; nothing was cleared"))
        })?;
    }
    Err(Failure::Failed(format!(
        "the item of partition {partition} was written by others at each of {ATTEMPTS} attempts; nothing was cleared, try again"
    )))
}

/// The markers that are meant.
fn choose(arguments: &Clear, holds: &[PendingFailure], now: Millis) -> Result<Vec<Mark>, Failure> {
    let partition = arguments.partition;
    if let Some(missing) = arguments.offset.iter().find(|offset| holds.iter().all(|hold| hold.at.offset != **offset)) {
        let has = match holds {
            [] => "it has none".to_owned(),
            _ => format!("it has them at {}", named(holds.iter().map(|hold| hold.at.offset))),
        };
        let line = format!("partition {partition} has no pending-failure marker at offset {missing}; {has}");
        return Err(Failure::Usage(line));
    }
    let is_meant = |hold: &&PendingFailure| match arguments.older_than {
        Some(limit) => now.since(hold.at.timestamp) > i64::try_from(limit.as_millis()).unwrap_or(i64::MAX),
        None => arguments.all || arguments.offset.contains(&hold.at.offset),
    };
    Ok(holds.iter().filter(is_meant).map(|hold| hold.at).collect())
}

fn no_such_partition(arguments: &Clear, found: &Found) -> Failure {
    let Clear { place: Place { table, group, topic, .. }, partition, .. } = arguments;
    let there: Vec<u64> = found.partitions().map(u64::from).collect();
    let advice = match there.as_slice() {
        [] => found.advice(),
        there => format!("those that have one are {}", named(there.iter().copied())),
    };
    Failure::Usage(format!(
        "partition {partition} of topic `{topic}` has no item of group `{group}` in table `{table}`; {advice}"
    ))
}

/// Some numbers, the smallest first.
fn named(numbers: impl Iterator<Item = u64>) -> String {
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    let first: Vec<String> = numbers.iter().take(NAMED_MAX).map(u64::to_string).collect();
    match numbers.len().saturating_sub(NAMED_MAX) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
