//! `centinela erase`: removes a person from hot state, and lists the person for the lake, which the next compaction goes by.
//!
//! The list comes first: whoever is in it drops out of the lake even if this command is cut off afterwards, and erasing once more does the
//! rest. A user is known by the id that producers send; this prints neither the id nor anything that is stored.

mod index;
mod lake;
mod tables;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use centinela_domain::{Millis, UserId};

use crate::args;
use crate::endpoints_file::EndpointsFile;
use crate::failure::Failure;
use crate::query::bucket::lake_of;
use crate::terminal;
use index::Found;
use tables::{Tables, UserItem};

/// `centinela erase`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What goes: the user's item (decisions, profile, risk), the items of the user's labels, the user's entries in the index of decisions by
transaction id, and, with the next compaction, the user's rows in every table of the lake. What stays: records on Kafka until their topics'
retention, the stream for a day, 32 bits of a hash that devices remember of their users, and the counts that labels left on devices, which
name nobody.

Without --yes it only says what there is. A user whose newest decision is younger than --settled is refused: its record may still be
delivered again, and would be decided anew. What the user does afterwards makes a new item, so close the account first.

The labels are found by reading the whole table of labels, the entries of the index by reading the whole index. Where that takes too long,
name the user's transactions with --transactions, from the lake, before the user is listed there: the others leave the index by themselves,
after as many days as it keeps decisions. The user is listed for the lake first, as erasures/SHA256-OF-THE-ID.json in
its bucket: what can be read there does not name anybody. Region and credentials are as for `pending-failures list`; the role needs
dynamodb:GetItem, DeleteItem, UpdateItem and Scan, and s3:PutObject.

A running `centinela up` (--endpoints) whose traffic the user was part of misses at its end what was erased, and is not clean.

The exit code is 0 when nothing of the user is left or without --yes, 1 when something could not be read or deleted, 2 when the request
cannot be carried out.

Examples:
  centinela erase 7f9c24e8-3b12-4f0f-8c8a-0f6f4a1b0001
  centinela erase 7f9c24e8-3b12-4f0f-8c8a-0f6f4a1b0001 --yes --bucket centinela-lake-123456789012-us-east-1
  centinela erase 7f9c24e8-3b12-4f0f-8c8a-0f6f4a1b0001 --yes --bucket centinela-lake-123456789012-us-east-1 --transactions ids.csv
  centinela erase ana --yes --endpoints endpoints.json
  centinela erase ana --yes --dynamodb http://127.0.0.1:8000 --tables-only")]
pub struct Args {
    /// The user, by the id that producers send.
    #[arg(value_name = "USER")]
    pub user: String,
    /// The file that a running `centinela up --endpoints FILE` wrote.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dynamodb", "s3", "bucket"])]
    pub endpoints: Option<PathBuf>,
    /// Erase what is found.
    #[arg(long)]
    pub yes: bool,
    /// Use this DynamoDB, such as the one that `up` prints, instead of AWS.
    #[arg(long, value_name = "URL")]
    pub dynamodb: Option<String>,
    /// Use this S3 instead of AWS.
    #[arg(long, value_name = "URL", requires = "dynamodb")]
    pub s3: Option<String>,
    /// The lake's bucket.
    #[arg(long, value_name = "NAME", default_value = "lake")]
    pub bucket: String,
    /// Leave the lake alone.
    #[arg(long, conflicts_with_all = ["s3", "bucket"])]
    pub tables_only: bool,
    /// The table of users, with the prefix of its environment.
    #[arg(long, value_name = "NAME", default_value = "user_state")]
    pub user_table: String,
    /// The table of labels, with the prefix of its environment.
    #[arg(long, value_name = "NAME", default_value = "labels")]
    pub label_table: String,
    /// The index of decisions by transaction id, with the prefix of its environment.
    #[arg(long, value_name = "NAME", default_value = "decisions")]
    pub decision_table: String,
    /// Look in the index for these transactions only, one id a line, instead of reading all of it.
    #[arg(long, value_name = "FILE")]
    pub transactions: Option<PathBuf>,
    /// How old the user's newest decision must be: longer than the mapping delivers a record.
    #[arg(long, value_name = "TIME", value_parser = args::parse_duration, default_value = "370m")]
    pub settled: Duration,
}

/// Says what there is of a user, or erases it.
///
/// # Errors
/// When the user is none or too busy, or a server cannot be reached or refuses.
pub async fn run(mut arguments: Args) -> Result<(), Failure> {
    let user = UserId::new(arguments.user.as_str()).map_err(|error| Failure::usage(&error))?;
    if let Some(file) = &arguments.endpoints {
        let endpoints = EndpointsFile::read(file)?;
        arguments.dynamodb = Some(endpoints.needed("dynamodb")?.to_owned());
        if !arguments.tables_only {
            arguments.s3 = Some(endpoints.needed("s3")?.to_owned());
            let bucket = lake_of(endpoints.content());
            arguments.bucket = bucket.ok_or_else(|| endpoints.refused("it names no bucket of a lake"))?;
        }
    }
    let among = arguments.transactions.as_deref().map(index::listed).transpose()?;
    if arguments.dynamodb.is_some() && arguments.s3.is_none() && !arguments.tables_only {
        let advice = "name the S3 of the lake with --s3, or leave the lake alone with --tables-only";
        return Err(Failure::Usage(format!("--dynamodb names a server and nothing names the lake's; {advice}")));
    }
    let tables = Tables::open(&arguments).await?;
    let item = tables.user(&user).await?;
    let labels = tables.labels(&user).await?;
    let index = tables.index(&arguments.decision_table);
    let indexed = index.of(&user, among.as_ref()).await?;
    terminal::print(&shown(item.as_ref(), labels.len(), &indexed));
    if !arguments.yes {
        terminal::print("nothing was changed; --yes erases what stands here\n");
        return Ok(());
    }
    if let Some(age) = item.as_ref().and_then(|item| item.newest_record_at).map(age_of)
        && age < arguments.settled
    {
        return Err(Failure::Usage(format!(
            "the user's newest decision is {}s old and its record may still be delivered again; nothing was changed, erase when it is \
             older than {}s, or lower --settled",
            age.as_secs(),
            arguments.settled.as_secs()
        )));
    }
    if !arguments.tables_only {
        lake::list(&user, &arguments).await?;
        terminal::print("listed for the lake; the next compaction leaves the user's rows out\n");
    }
    for label in &labels {
        tables.delete_label(label, &user).await?;
    }
    for transaction in &indexed.transactions {
        index.erase(transaction, &user).await?;
    }
    // Last, for it says until when nothing may be erased.
    if item.is_some() {
        tables.delete_user(&user).await?;
    }
    terminal::print("erased from the tables\n");
    if indexed.unreadable > 0 {
        let (items, table) = (indexed.unreadable, &arguments.decision_table);
        let line = format!(
            "{items} items of table `{table}` cannot be read, and may be the user's; they leave with their time to live"
        );
        return Err(Failure::Failed(line));
    }
    Ok(())
}

fn shown(item: Option<&UserItem>, labels: usize, indexed: &Found) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _infallible = match item {
        None => writeln!(text, "user's item: none"),
        Some(item) => {
            let parts = [(item.has_decisions, "decisions"), (item.has_profile, "profile"), (item.has_risk, "risk")];
            let parts: Vec<&str> = parts.into_iter().filter_map(|(has, name)| has.then_some(name)).collect();
            writeln!(text, "user's item: {}", if parts.is_empty() { "empty".to_owned() } else { parts.join(", ") })
        }
    };
    let _infallible = writeln!(text, "labels: {labels}\nentries of the index: {}", indexed.transactions.len());
    text
}

/// Time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn age_of(at: Millis) -> Duration {
    now().saturating_sub(Duration::from_millis(u64::try_from(at.0).unwrap_or_default()))
}
