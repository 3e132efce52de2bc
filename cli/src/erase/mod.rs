//! `centinela erase`: removes a person from hot state, and lists the person for the lake, which the next compaction goes by.
//!
//! The list comes first: whoever is in it drops out of the lake even if this command is cut off afterwards, and erasing once more does the
//! rest. A user is known by the id that producers send; this prints neither the id nor anything that is stored.

mod lake;
mod tables;

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use centinela_domain::{Millis, UserId};

use crate::args;
use crate::failure::Failure;
use crate::terminal;
use tables::{Tables, UserItem};

/// `centinela erase`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What goes: the user's item (decisions, profile, risk), the items of the user's labels, and, with the next compaction, the user's rows in
every table of the lake. What stays: records on Kafka until their topics' retention, the stream for a day, 32 bits of a hash that devices
remember of their users, and the counts that labels left on devices, which name nobody.

Without --yes it only says what there is. A user whose newest decision is younger than --settled is refused: its record may still be
delivered again, and would be decided anew. What the user does afterwards makes a new item, so close the account first.

The labels are found by reading the whole table of labels. The user is listed for the lake first, as erasures/SHA256-OF-THE-ID.json in
its bucket: what can be read there does not name anybody. Region and credentials are as for `pending-failures list`; the role needs
dynamodb:GetItem, DeleteItem and Scan, and s3:PutObject.

The exit code is 0 when nothing of the user is left or without --yes, 1 when something could not be read or deleted, 2 when the request
cannot be carried out.

Examples:
  centinela erase 7f9c24e8-3b12-4f0f-8c8a-0f6f4a1b0001
  centinela erase 7f9c24e8-3b12-4f0f-8c8a-0f6f4a1b0001 --yes --bucket centinela-lake-123456789012-us-east-1
  centinela erase ana --yes --dynamodb http://127.0.0.1:8000 --s3 http://127.0.0.1:9000
  centinela erase ana --yes --dynamodb http://127.0.0.1:8000 --tables-only")]
pub struct Args {
    /// The user, by the id that producers send.
    #[arg(value_name = "USER")]
    pub user: String,
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
    /// How old the user's newest decision must be: longer than the mapping delivers a record.
    #[arg(long, value_name = "TIME", value_parser = args::parse_duration, default_value = "370m")]
    pub settled: Duration,
}

/// Says what there is of a user, or erases it.
///
/// # Errors
/// When the user is none or too busy, or a server cannot be reached or refuses.
pub async fn run(arguments: Args) -> Result<(), Failure> {
    let user = UserId::new(arguments.user.as_str()).map_err(|error| Failure::usage(&error))?;
    if arguments.dynamodb.is_some() && arguments.s3.is_none() && !arguments.tables_only {
        let advice = "name the S3 of the lake with --s3, or leave the lake alone with --tables-only";
        return Err(Failure::Usage(format!("--dynamodb names a server and nothing names the lake's; {advice}")));
    }
    let tables = Tables::open(&arguments).await?;
    let item = tables.user(&user).await?;
    let labels = tables.labels(&user).await?;
    terminal::print(&shown(item.as_ref(), labels.len()));
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
    if item.is_some() {
        tables.delete_user(&user).await?;
    }
    terminal::print("erased from the tables\n");
    Ok(())
}

fn shown(item: Option<&UserItem>, labels: usize) -> String {
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
    let _infallible = writeln!(text, "labels: {labels}");
    text
}

/// Time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn age_of(at: Millis) -> Duration {
    now().saturating_sub(Duration::from_millis(u64::try_from(at.0).unwrap_or_default()))
}
