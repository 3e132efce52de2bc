//! `centinela dead-letters`: what could not be handled, and the way back.

mod shown;
mod surroundings;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use centinela_redrive::{Action as Asked, Letter, Plan, Report, Request, Settings};
use clap::Subcommand;
use serde_json::json;

use crate::args;
use crate::failure::Failure;
use crate::pending_failures;
use crate::query::moment::{self, Moment};
use crate::terminal;
use surroundings::{Beside, Where};

/// A file of repairs is not larger.
const REPAIRS_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// `centinela dead-letters`.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = false)]
#[command(after_help = "\
A record that can never be handled is on topic dead-letters, put there by a function with a reason code, or by a mapping that gave it up.
A letter is open until it was sent back or dropped; what is handled is kept by the consumer group redrive-dead-letters, whose offsets
say it. Nothing is deleted from the topic.

Examples:
  centinela dead-letters list --kafka 127.0.0.1:9092
  centinela dead-letters show 0-17 --endpoints endpoints.json
  centinela dead-letters redrive --endpoints endpoints.json --reason state_unreadable --yes
  centinela dead-letters drop 0-17 0-18 --kafka 127.0.0.1:9092 --yes
  centinela dead-letters markers list")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Say which letters are open.
    List(Looking),
    /// Show letters with the bytes of their records.
    Show(Looking),
    /// Send letters back to where their records came from; without --yes say which.
    Redrive(Box<Redrive>),
    /// Handle letters without sending them; without --yes say how many.
    Drop(Dropping),
    /// Show and clear the markers that hold a partition's proof back.
    Markers(pending_failures::Args),
}

/// Which letters.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Letters by their places, such as 0-17.
    #[arg(value_name = "LETTER")]
    pub letters: Vec<String>,
    /// Reason codes of the functions, or conditions of the mapping; several with commas.
    #[arg(long, value_name = "REASON", value_delimiter = ',')]
    pub reason: Vec<String>,
    /// Dead-lettered since: a time before now such as 2h, or a moment in UTC such as 2026-11-28T17:30.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    pub since: Option<Moment>,
    /// Dead-lettered before.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    pub until: Option<Moment>,
    /// From this topic.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// From this partition of it.
    #[arg(long, value_name = "P")]
    pub partition: Option<u32>,
    /// With this text in the reason or in the record.
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// Letters at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
}

/// `centinela dead-letters list` and `show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Of each letter: its place, when and why, where its record was first, the id of its decision where it is a transaction, and whether it
can go back as it is. `show` prints the record too, with whatever personal data it holds.

PSEUDONYM_KEY is the deployment's key, which tells whether a letter's place is signed; with --endpoints it is that of `up`.

Examples:
  centinela dead-letters list --kafka 127.0.0.1:9092 --reason not_json,missing_field --since 2h
  centinela dead-letters list --endpoints endpoints.json --json
  centinela dead-letters show 0-17 --endpoints endpoints.json")]
pub struct Looking {
    /// Where they are.
    #[command(flatten)]
    pub place: Where,
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Print JSON, a letter in each line.
    #[arg(long)]
    pub json: bool,
}

/// `centinela dead-letters redrive`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A record goes back to its topic and partition with its key, its value, its headers, and signed headers that say where it was first: it
counts as what it first was, however often it is sent. Of a transaction its decision is looked for first, on the decision topics and, for
what they do not keep any more, in the lake. Found: the letter is done. Not found: the record goes back verified, so that it is decided
although its user's newer decisions have passed it.

That needs PSEUDONYM_KEY, the deployment's key, and the table of settled offsets. With --no-look-up neither the table nor the lake is
asked; what the state cannot tell comes back then. A user with more than about one decision in two seconds may be decided past a mark
before its record arrives: the record comes back, to be redriven in a quieter moment.

Letters that must be repaired are left alone. --repairs FILE (- is standard input) has a line of JSON for each:
  {\"letter\":\"0-17\",\"value\":\"{...}\"}      or \"value_base64\"

Without --yes it only says what it would do. The exit code is 0 when every letter that was meant was sent or is done (would be, without
--yes), 1 when one was not or when there may be more than --limit, 2 when the request cannot be carried out.

Examples:
  centinela dead-letters redrive --endpoints endpoints.json
  centinela dead-letters redrive --endpoints endpoints.json --since 8h --rate 500 --yes
  centinela dead-letters redrive --endpoints endpoints.json --repairs repaired.jsonl --reason missing_field --yes
  centinela dead-letters redrive --kafka 127.0.0.1:9092 --no-look-up --reason state_unreadable --yes")]
pub struct Redrive {
    /// Where they are.
    #[command(flatten)]
    pub place: Where,
    /// Where else to ask.
    #[command(flatten)]
    pub beside: Beside,
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Records a second at most, from 0.001.
    #[arg(long, value_name = "N", default_value_t = 100.0)]
    pub rate: f64,
    /// Other values for letters.
    #[arg(long, value_name = "FILE")]
    pub repairs: Option<PathBuf>,
    /// Send letters whose place nobody signed as records that were never there before.
    #[arg(long)]
    pub as_new: bool,
    /// Do not look for decisions.
    #[arg(long)]
    pub no_look_up: bool,
    /// How long an invocation of the deciding function may go on after its batch was delivered again; longer than its timeout.
    #[arg(long, value_name = "TIME", value_parser = args::parse_duration, default_value = "20s")]
    pub grace: Duration,
    /// Do it.
    #[arg(long)]
    pub yes: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `centinela dead-letters drop`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A dropped letter is not shown any more and never sent. It stays on its topic as long as that keeps records, and in the lake.

Examples:
  centinela dead-letters drop 0-17 --kafka 127.0.0.1:9092 --yes
  centinela dead-letters drop --reason not_json --until 2026-11-28 --endpoints endpoints.json --yes")]
pub struct Dropping {
    /// Where they are.
    #[command(flatten)]
    pub place: Where,
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Do it.
    #[arg(long)]
    pub yes: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Which {
    fn request(&self, action: Asked) -> Request {
        Request {
            action,
            reasons: self.reason.clone(),
            since: self.since.map(Moment::milliseconds),
            until: self.until.map(Moment::milliseconds),
            topic: self.topic.clone(),
            partition: self.partition,
            text: self.text.clone(),
            letters: self.letters.clone(),
            limit: self.limit.map(|limit| limit as usize),
            ..Request::default()
        }
    }
}

fn plan(request: Request, grace: Duration) -> Result<Plan, Failure> {
    request.plan(grace, None).map_err(|problem| Failure::usage(&problem))
}

/// Shows, sends or drops letters.
///
/// # Errors
/// When the request cannot be carried out, or something does not answer.
pub async fn run(arguments: Args) -> Result<(), Failure> {
    match arguments.action {
        Action::List(looking) => look(&looking, false).await,
        Action::Show(looking) => look(&looking, true).await,
        Action::Redrive(redrive) => send_back(&redrive).await,
        Action::Drop(dropping) => drop_some(&dropping).await,
        Action::Markers(arguments) => pending_failures::run(arguments).await,
    }
}

async fn look(looking: &Looking, with_bytes: bool) -> Result<(), Failure> {
    let request = looking.which.request(if with_bytes { Asked::Show } else { Asked::List });
    let plan = plan(request, Duration::ZERO)?;
    let settings = looking.place.settings(false)?;
    let mut cluster = looking.place.cluster(None).await?;
    let mut count = 0;
    let print = |letter: &Letter| {
        count += 1;
        let text =
            if looking.json { format!("{}\n", letter.json(with_bytes)) } else { shown::letter(letter, with_bytes) };
        terminal::print(&text);
        true
    };
    let more = centinela_redrive::list(&mut cluster, &settings, &plan, print).await.map_err(failed)?;
    if !looking.json {
        terminal::print(&shown::summary(count, more));
    }
    if with_bytes && count == 0 && !looking.which.letters.is_empty() {
        return Err(Failure::Usage("no such letter is open; `centinela dead-letters list` says which are".to_owned()));
    }
    Ok(())
}

async fn send_back(redrive: &Redrive) -> Result<(), Failure> {
    let mut request = redrive.which.request(Asked::Redrive);
    request.rate = Some(redrive.rate);
    request.dry_run = Some(!redrive.yes);
    request.as_new = redrive.as_new;
    request.verify = Some(!redrive.no_look_up);
    if let Some(file) = &redrive.repairs {
        request.repairs = repairs(file)?;
    }
    let plan = plan(request, redrive.grace)?;
    let settings: Settings = redrive.place.settings(true)?;
    let beside = if redrive.no_look_up { None } else { Some(&redrive.beside) };
    let mut cluster = redrive.place.cluster(beside).await?;
    let report = centinela_redrive::redrive(&mut cluster, &settings, &plan).await.map_err(failed)?;
    told(&report, redrive.json)?;
    match shown::open(&report) {
        None => Ok(()),
        Some(why) => Err(Failure::Failed(why)),
    }
}

async fn drop_some(dropping: &Dropping) -> Result<(), Failure> {
    let mut request = dropping.which.request(Asked::Drop);
    request.dry_run = Some(!dropping.yes);
    let plan = plan(request, Duration::ZERO)?;
    let settings = dropping.place.settings(false)?;
    let mut cluster = dropping.place.cluster(None).await?;
    let report = centinela_redrive::drop_letters(&mut cluster, &settings, &plan).await.map_err(failed)?;
    told(&report, dropping.json)
}

fn told(report: &Report, as_json: bool) -> Result<(), Failure> {
    let text = if as_json { format!("{:#}\n", json!(report)) } else { shown::report(report) };
    terminal::print(&text);
    Ok(())
}

fn repairs(file: &Path) -> Result<Vec<centinela_redrive::Repair>, Failure> {
    let refused = |why: String| Failure::Usage(format!("--repairs {}: {why}", file.display()));
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        if file == Path::new("-") {
            std::io::stdin().lock().take(REPAIRS_BYTES_MAX).read_to_string(&mut text)?;
        } else {
            std::fs::File::open(file)?.take(REPAIRS_BYTES_MAX).read_to_string(&mut text)?;
        }
        Ok(text)
    };
    let text = read().map_err(|error| refused(error.to_string()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(number, line)| {
        serde_json::from_str(line).map_err(|error| refused(format!("line {}: {error}", number + 1)))
    });
    parsed.collect()
}

fn failed(error: centinela_redrive::RedriveError) -> Failure {
    Failure::failed(&error)
}
