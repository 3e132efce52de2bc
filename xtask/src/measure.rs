//! `cargo xtask measure`: runs the rows, prints the tables, keeps the accounts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::args::Measure;
use crate::cases::{self, Case};
use crate::failure::Failure;
use crate::figures::{self, Row};
use crate::page::{self, Page};
use crate::runner::{Built, command_line};
use crate::servers::{self, Servers};
use crate::{machine, terminal};

/// What holds for every row, and is said with the tables.
const CONDITIONS: &str = "
Everything runs on this machine: what sends and what reads, Kafka, DynamoDB, Kinesis and S3, and all functions of the stacks with the user
actions and labels that they get. Every row begins with empty tables. \"The function\" is `score-transactions`; what the database and the
other parts did is of all functions, shared by the transactions.
";

/// A run with everything that is kept of it.
struct Run {
    name: &'static str,
    kept: Value,
}

/// What was measured so far.
struct Measured {
    runs: Vec<Run>,
    skipped: Vec<(&'static str, String)>,
    faults: Vec<String>,
    /// Somebody ended it before the last row was done.
    is_interrupted: bool,
}

/// Runs what was asked for.
///
/// # Errors
/// When a row is unknown, nothing can be built or written, a run fails, or an account is not clean.
pub fn run(arguments: &Measure) -> Result<(), Failure> {
    let rows = if arguments.latency_profile { cases::latency_profile } else { cases::all };
    let cases = cases::chosen(rows(arguments.quick), &arguments.only)?;
    if arguments.list {
        let lines =
            cases.iter().map(|case| format!("{:<18}{}: {}\n", case.name, case.says, command_line(&case.arguments)));
        terminal::print(&lines.collect::<String>());
        return Ok(());
    }
    if let Some(path) = &arguments.json {
        check_writable(path)?;
    }
    let place = if arguments.latency_profile { page::LATENCY_PROFILE } else { page::MEASURED };
    let page = arguments.page.as_deref().map(|path| Page::open(path, place)).transpose()?;
    let interrupted = listen()?;
    // Before anything is built: that load is our own.
    let (machine, load_average) = (machine::describe(), machine::load_average());
    if load_average.as_deref().is_some_and(machine::is_busy) {
        terminal::note(&before(load_average.as_deref()));
    }
    terminal::note("building");
    let built = Built::build()?;
    let begun_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let measured = all(&built, &cases, arguments.repeat, &interrupted)?;
    let commit = machine::commit(&built.workspace);
    let title = format!(
        "Measured at commit {} on {}; {}.\n",
        commit.as_deref().unwrap_or("unknown"),
        machine::line(&machine),
        before(load_average.as_deref())
    );
    let text = title + &text(&cases, &measured, arguments);
    terminal::print(&text);
    if let Some(page) = page {
        fill(page, &measured, &text)?;
    }
    if let Some(path) = &arguments.json {
        let kept = json!({
            "version": 1,
            "quick": arguments.quick,
            "begun_at_unix_s": begun_at,
            "machine": machine,
            "load_average_before": load_average,
            "commit": commit,
            "runs": measured.runs.iter().map(|run| &run.kept).collect::<Vec<_>>(),
            "skipped": measured.skipped.iter().map(|(name, why)| json!({ "name": name, "why": why })).collect::<Vec<_>>(),
        });
        std::fs::write(path, format!("{kept:#}\n"))
            .map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", path.display())))?;
    }
    if measured.faults.is_empty() { Ok(()) } else { Err(Failure::NotClean(measured.faults.join("; "))) }
}

/// Puts the tables into the page, unless rows are missing that stand there now.
fn fill(page: Page, measured: &Measured, text: &str) -> Result<(), Failure> {
    if measured.is_interrupted {
        terminal::note("interrupted, so the page is left as it was");
        return Ok(());
    }
    page.fill(text)
}

/// What else the machine did before.
fn before(load_average: Option<&str>) -> String {
    match load_average {
        Some(load) if machine::is_busy(load) => {
            format!("this machine was busy before (load average {load}), so the figures are good for ratios only")
        }
        load => format!("load average before: {}", load.unwrap_or("unknown")),
    }
}

fn check_writable(path: &Path) -> Result<(), Failure> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if directory.is_dir() && !path.is_dir() {
        return Ok(());
    }
    Err(Failure::Usage(format!("{} cannot be written: its directory does not exist", path.display())))
}

/// Ctrl-C ends the run in progress by itself, as it reaches that process too; this stops the next one and lets servers be stopped.
fn listen() -> Result<Arc<AtomicBool>, Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("signals cannot be listened to: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    std::thread::spawn(move || {
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                flag.store(true, Ordering::SeqCst);
            }
        });
    });
    Ok(interrupted)
}

fn all(built: &Built, cases: &[Case], repeat: u32, interrupted: &AtomicBool) -> Result<Measured, Failure> {
    let help = built.up_help()?;
    let mut measured = Measured { runs: Vec::new(), skipped: Vec::new(), faults: Vec::new(), is_interrupted: false };
    let mut wanted = Vec::new();
    let mut real = None;
    for case in cases {
        let mut servers = || real.get_or_insert_with(|| servers::prepare(&built.workspace)).clone().err();
        let flag = cases::missing_flag(case, &help).map(|flag| format!("this `centinela up` has no {flag}"));
        match flag.or_else(|| (case.servers == cases::Servers::Real).then(&mut servers).flatten()) {
            Some(why) => {
                terminal::note(&format!("{} is skipped: {why}", case.name));
                measured.skipped.push((case.name, why));
            }
            None => wanted.push(case),
        }
    }
    let plan: Vec<&Case> = (0..repeat).flat_map(|_| wanted.iter().copied()).collect();
    run_all(&plan, &mut measured, interrupted, |case, faults| one(built, case, faults))?;
    Ok(measured)
}

/// Runs one after the other, and keeps what came to its end.
fn run_all(
    plan: &[&Case],
    measured: &mut Measured,
    interrupted: &AtomicBool,
    mut one: impl FnMut(&Case, &mut Vec<String>) -> Result<Run, Failure>,
) -> Result<(), Failure> {
    for (index, case) in plan.iter().enumerate() {
        let left_s: u64 = plan[index..].iter().map(|case| case.seconds).sum();
        terminal::note(&format!(
            "{} of {}: {}, about {} s; {} left",
            index + 1,
            plan.len(),
            case.name,
            case.seconds,
            minutes(left_s)
        ));
        let run = one(case, &mut measured.faults)?;
        if interrupted.load(Ordering::SeqCst) {
            measured.is_interrupted = true;
            measured.faults.push(format!("interrupted while {} ran", case.name));
            break;
        }
        measured.runs.push(run);
    }
    Ok(())
}

fn minutes(seconds: u64) -> String {
    if seconds < 90 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) }
}

fn one(built: &Built, case: &Case, faults: &mut Vec<String>) -> Result<Run, Failure> {
    let servers = match case.servers {
        cases::Servers::Embedded => None,
        cases::Servers::Real => Some(Servers::start(&built.workspace)?),
    };
    let mut arguments = case.arguments.clone();
    let mut before = Vec::new();
    if let Some(servers) = &servers {
        arguments.extend(servers.arguments()?);
        before = servers.cpu_us();
    }
    let load_average = machine::load_average();
    let started = Instant::now();
    let ended = built.up(&arguments)?;
    let seconds = started.elapsed().as_secs_f64();
    let decided = ended.account.as_ref().and_then(|account| account["records"]["decided"].as_f64()).unwrap_or(0.0);
    if ended.code != Some(0) {
        let code = ended.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        let fault = format!("{} ended with {code}: {}", case.name, ended.said);
        terminal::note(&fault);
        faults.push(fault);
    }
    let kept = json!({
        "name": case.name,
        "command": command_line(&arguments),
        "load_average_before": load_average,
        "seconds": (seconds * 10.0).round() / 10.0,
        "exit_code": ended.code,
        "account": ended.account,
        "servers": servers.map(|servers| servers.figures(&before, decided)),
    });
    Ok(Run { name: case.name, kept })
}

fn text(cases: &[Case], measured: &Measured, arguments: &Measure) -> String {
    let of = |case: &Case| {
        measured.runs.iter().filter(|run| run.name == case.name).map(|run| &run.kept).collect::<Vec<&Value>>()
    };
    let rows: Vec<Row<'_>> = cases
        .iter()
        .map(|case| Row { name: case.name, kind: case.kind, runs: of(case) })
        .filter(|row| !row.runs.is_empty())
        .collect();
    let mut out = CONDITIONS.to_owned();
    if arguments.quick {
        out += "\nThese are quick runs: they show that everything works, not how fast it is.\n";
    }
    if arguments.repeat > 1 {
        out += &format!("\nEach figure is the median of {} runs.\n", arguments.repeat);
    }
    out += &figures::markdown(&rows);
    out += "\n### What was run\n\n";
    for case in cases {
        let runs = of(case);
        let why = measured.skipped.iter().find(|(name, _)| *name == case.name);
        let word = match (why, runs.iter().filter(|run| run["exit_code"] != json!(0)).count()) {
            (Some((_, why)), _) => format!("skipped: {why}"),
            (None, _) if runs.is_empty() => "not run".to_owned(),
            (None, 0) => "clean".to_owned(),
            (None, bad) => format!("**{bad} of {} not clean**", runs.len()),
        };
        out += &format!("- `{}` ({}): `{}`; {word}\n", case.name, case.says, command_line(&case.arguments));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_was_busy_is_named_with_the_tables() {
        assert!(before(Some("1.70 0.90 0.40")).contains("busy before (load average 1.70 0.90 0.40)"));
        assert_eq!(before(Some("0.20 0.90 0.40")), "load average before: 0.20 0.90 0.40");
    }

    #[test]
    fn what_was_interrupted_is_no_figure_and_leaves_the_page_as_it_was() {
        let cases = cases::latency_profile(true);
        let plan: Vec<&Case> = cases.iter().collect();
        let mut measured =
            Measured { runs: Vec::new(), skipped: Vec::new(), faults: Vec::new(), is_interrupted: false };
        let interrupted = AtomicBool::new(false);
        let second = plan[1].name;
        let ran = run_all(&plan, &mut measured, &interrupted, |case, _| {
            interrupted.store(case.name == second, Ordering::SeqCst);
            Ok(Run { name: case.name, kept: json!({}) })
        });
        assert!(ran.is_ok() && measured.runs.iter().map(|run| run.name).eq([plan[0].name]));
        assert!(measured.faults[0].contains(second), "{:?}", measured.faults);

        let file = tempfile::NamedTempFile::new().unwrap();
        let all_of_it = |text: &str| {
            let page::Place { begin, end } = page::LATENCY_PROFILE;
            format!("{begin}{text}{end}")
        };
        std::fs::write(file.path(), all_of_it("old\n")).unwrap();
        fill(Page::open(file.path(), page::LATENCY_PROFILE).unwrap(), &measured, "new").unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), all_of_it("old\n"));
        measured.is_interrupted = false;
        fill(Page::open(file.path(), page::LATENCY_PROFILE).unwrap(), &measured, "new").unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), all_of_it("\nnew\n\n"));
    }

    #[test]
    fn a_row_that_was_not_clean_says_so_and_a_skipped_one_says_why() {
        let cases = cases::all(true);
        let run = |name, code| Run { name, kept: json!({ "exit_code": code, "account": { "rate_tx_s": 200.0 } }) };
        let measured = Measured {
            runs: vec![run("e2e-200", 0), run("e2e-1667", 1)],
            skipped: vec![("real-200", "there is no script".to_owned())],
            faults: Vec::new(),
            is_interrupted: false,
        };
        let arguments = Measure {
            quick: true,
            latency_profile: false,
            only: Vec::new(),
            list: false,
            repeat: 1,
            json: None,
            page: None,
            profile: false,
        };
        let text = text(&cases, &measured, &arguments);
        for line in [
            "| e2e-200 | 200 | – ",
            "`cargo run --release -- up --cold --rate 200 --for 10s`; clean",
            "`cargo run --release -- up --cold --rate 1667 --for 10s`; **1 of 1 not clean**",
            "skipped: there is no script",
            "quick runs",
            "Every row begins with empty tables",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
    }
}
