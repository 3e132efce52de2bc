//! `centinela query`: a question to the lake, answered by DuckDB on this machine from the files that are current. It changes nothing, in
//! the lake or elsewhere: DuckDB may read those files and touch nothing else.

pub(crate) mod bucket;
mod duckdb;
mod lake;
pub(crate) mod moment;
mod parameters;
mod questions;
mod tables;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use centinela_local::warden;
use clap::ValueEnum;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::terminal;
use bucket::Bucket;
use duckdb::Format;
use lake::{Budget, Lake};
use moment::Moment;
use questions::Question;
use tables::Table;

/// `centinela query`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a question it lists those that are ready; `docs/analysts.md` describes the tables. A question is plain SQL: a SELECT that begins
with its parameters and their defaults, which --since, --until and --param replace. Only hours that were compacted are in the lake; the
tables that a question does not name are not read, nor hours before --since.

The lake is that of a running `centinela up --endpoints FILE`, whose open hours are compacted first (what arrived in the last minute may
still be on its way), a bucket of AWS (region and credentials from the environment, a profile or the machine's role), or a copy of one in
a directory. DuckDB reads what it is given and can neither write nor load anything.

The exit code is 0 when there is an answer, 1 when the lake or DuckDB gave none, 2 when the request cannot be carried out, 130 after
Ctrl-C.

Examples:
  centinela query
  centinela query block-rate --endpoints endpoints.json
  centinela query latency --since 2h --lake s3://centinela-lake-123456789012-eu-west-1
  centinela query user-story --param user_id=u-000123 --lake ./lake-copy
  centinela query other-threshold --since 2026-11-01 --param currency=EUR --format csv --lake ./lake-copy > thresholds.csv
  centinela query mine.sql --format json --endpoints endpoints.json
  centinela query top-reasons --since 24h --print athena
  centinela query --install-duckdb")]
pub struct Args {
    /// A ready question, or a file with one of your own.
    #[arg(value_name = "NAME|FILE.sql")]
    pub question: Option<String>,
    /// Only what arrived since: a time before now such as 2h, or a moment in UTC such as 2026-11-28 or 2026-11-28T17:30.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    pub since: Option<Moment>,
    /// Only what arrived before.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    pub until: Option<Moment>,
    /// Set a parameter of the question; may be given several times.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_parameter)]
    pub parameters: Vec<(String, String)>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Where the lake is: s3://BUCKET, or a directory with a copy of the bucket.
    #[arg(long, value_name = "s3://BUCKET|DIR")]
    pub lake: Option<String>,
    /// The file that a running `centinela up --endpoints FILE` wrote.
    #[arg(long, value_name = "FILE")]
    pub endpoints: Option<PathBuf>,
    /// Refuse to fetch more than this from a bucket.
    #[arg(long, value_name = "GB", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub fetch_max: u64,
    /// Print the SQL, with its parameters set, instead of asking.
    #[arg(long, value_name = "DIALECT", value_enum)]
    pub print: Option<Dialect>,
    /// Put the pinned DuckDB into your cache.
    #[arg(long)]
    pub install_duckdb: bool,
}

/// Who shall understand the SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// DuckDB.
    Duckdb,
    /// Athena (Trino).
    Athena,
}

/// A parameter without a name or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a parameter is NAME=VALUE, such as users=50")]
pub struct NoParameter;

fn parse_parameter(text: &str) -> Result<(String, String), NoParameter> {
    let (name, value) = text.split_once('=').ok_or(NoParameter)?;
    if name.is_empty() { Err(NoParameter) } else { Ok((name.to_owned(), value.to_owned())) }
}

/// Asks, lists, prints or installs.
///
/// # Errors
/// When there is no such question, lake or DuckDB, or DuckDB refuses.
pub async fn run(arguments: Args, interrupt: Interrupt) -> Result<(), Failure> {
    let interrupted = interrupt.finish;
    if arguments.install_duckdb {
        let program = duckdb::install(&interrupted).await?;
        terminal::note(&format!("DuckDB is in {}", program.display()));
        if arguments.question.is_none() {
            return Ok(());
        }
    }
    let Some(name) = &arguments.question else {
        terminal::print(&questions::listed());
        return Ok(());
    };
    let question = with_parameters(questions::find(name)?, &arguments)?;
    match arguments.print {
        Some(Dialect::Duckdb) => terminal::print(&question.sql),
        Some(Dialect::Athena) => terminal::print(&question.athena),
        None => ask(&question.sql, &arguments, &interrupted).await?,
    }
    Ok(())
}

/// The question with everything set that was asked for.
fn with_parameters(question: Question, arguments: &Args) -> Result<Question, Failure> {
    let has = |name: &str| parameters::of(&question.sql).iter().any(|parameter| parameter.name == name);
    let mut values = Vec::new();
    for (name, moment) in [("since", arguments.since), ("until", arguments.until)] {
        // A question without it is limited by the hours that it is given; there is no such limit to the future.
        match moment {
            Some(moment) if has(name) => values.push((name.to_owned(), moment.calendar())),
            Some(_) if name == "until" => {
                return Err(Failure::Usage("--until needs a question with a parameter `until`".to_owned()));
            }
            _ => {}
        }
    }
    values.extend(arguments.parameters.iter().cloned());
    let set = |sql: &str| parameters::set(sql, &values).map_err(|error| Failure::usage(&error));
    Ok(Question { sql: set(&question.sql)?, athena: set(&question.athena)? })
}

async fn ask(sql: &str, arguments: &Args, interrupted: &CancellationToken) -> Result<(), Failure> {
    let lake = open(arguments).await?;
    let program = duckdb::find()?;
    // Everything of it is gone with this process, however it ends: it holds data of people.
    let directory = TempDir::new().map_err(|error| Failure::failed(&error))?;
    warden::guard_directory(directory.path());
    let gathered = Box::pin(gather(&lake, sql, arguments, &directory));
    let tables = tokio::select! {
        tables = gathered => tables?,
        () = interrupted.cancelled() => return Err(Failure::Interrupted),
    };
    let script = directory.path().join("question.sql");
    let text = format!("{}{sql}\n;\n", tables::prelude(&tables));
    std::fs::write(&script, text).map_err(|error| Failure::failed(&error))?;
    duckdb::answer(&program, &script, arguments.format, interrupted).await
}

async fn open(arguments: &Args) -> Result<Lake, Failure> {
    let bucket =
        arguments.lake.as_deref().and_then(|lake| lake.strip_prefix("s3://")).map(|name| name.trim_end_matches('/'));
    if bucket.is_some_and(|name| name.is_empty() || name.contains('/')) {
        return Err(Failure::Usage("--lake takes a whole bucket, such as s3://centinela-lake".to_owned()));
    }
    match (&arguments.lake, bucket, &arguments.endpoints) {
        (None, _, Some(file)) => Ok(Lake::Bucket(Bucket::of_endpoints(file, None).await?)),
        (Some(_), Some(name), Some(file)) => Ok(Lake::Bucket(Bucket::of_endpoints(file, Some(name)).await?)),
        (Some(_), Some(name), None) => Ok(Lake::Bucket(Box::pin(Bucket::of_aws(name)).await?)),
        (Some(_), None, Some(_)) => Err(Failure::Usage("--endpoints goes with a bucket, --lake s3://BUCKET, or alone".to_owned())),
        (Some(directory), None, None) => {
            let directory = std::path::absolute(directory).map_err(|error| Failure::usage(&error))?;
            if !directory.join("manifests").is_dir() {
                let shown = directory.display();
                return Err(Failure::Usage(format!("--lake {shown} has no directory `manifests`; it is no copy of a lake's bucket")));
            }
            Ok(Lake::Directory(directory))
        }
        (None, _, None) => Err(Failure::Usage(
            "say where the lake is: --endpoints FILE of a running `centinela up --endpoints FILE`, --lake s3://BUCKET, or --lake DIR".to_owned(),
        )),
    }
}

/// The tables of the question with their files.
async fn gather(
    lake: &Lake,
    sql: &str,
    arguments: &Args,
    into: &TempDir,
) -> Result<Vec<(Table, Vec<PathBuf>)>, Failure> {
    let read = tables::read_by(sql);
    if let Lake::Bucket(bucket) = lake {
        let topics: Vec<&str> = read.iter().map(|table| table.topic()).collect();
        if !topics.is_empty()
            && let Err(why) = bucket.freshen(&topics).await
        {
            terminal::note(&why);
        }
    }
    let budget = Arc::new(Budget { gigabytes: arguments.fetch_max, spent: AtomicU64::new(0) });
    let mut tables = Vec::new();
    for table in read {
        let files = lake.files(&table, arguments.since, into.path(), &budget).await;
        let files = files.map_err(|error| Failure::failed(&error))?;
        tables.push((table, files));
    }
    if !tables.is_empty() && tables.iter().all(|(_, files)| files.is_empty()) {
        let names: Vec<&str> = tables.iter().map(|(table, _)| table.name.as_str()).collect();
        terminal::note(&format!(
            "the lake has no compacted hour of {} yet, so the answer is that of empty tables",
            names.join(", ")
        ));
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_has_a_name() {
        assert_eq!(parse_parameter("user_id=a=b"), Ok(("user_id".to_owned(), "a=b".to_owned())));
        assert_eq!(parse_parameter("user_id="), Ok(("user_id".to_owned(), String::new())));
        for wrong in ["user_id", "=x", ""] {
            assert_eq!(parse_parameter(wrong), Err(NoParameter), "{wrong}");
        }
    }
}
