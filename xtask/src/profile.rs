//! `cargo xtask measure --profile`: where the function's CPU time goes under load, sampled by Linux `perf`.
//!
//! A sample counts for the crate whose code was running. What the compiler inlined counts for the crate that it was inlined into,
//! so a small share may hide in a larger one.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::args::Measure;
use crate::failure::Failure;
use crate::runner::{Built, FUNCTION};
use crate::{machine, terminal};

const RATE: &str = "1667";
/// Left out at the start: connections, caches, processes.
const WARM_UP: Duration = Duration::from_secs(5);
/// Longest start that is waited for.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Beside warm-up and samples: what the run must still last.
const MARGIN_S: u64 = 10;
const SYMBOLS_SHOWN: usize = 25;
const CRATES_SHOWN: usize = 25;

/// A line of perf's report.
#[derive(Clone, Debug, PartialEq)]
struct Share {
    percent: f64,
    object: String,
    symbol: String,
}

/// Profiles the function and prints shares by crate and by symbol.
///
/// # Errors
/// When nothing can be built or run, or perf gives no samples. Where there is no perf it says so and succeeds.
pub fn run(arguments: &Measure) -> Result<(), Failure> {
    if !Command::new("perf").arg("--version").output().is_ok_and(|output| output.status.success()) {
        terminal::note("skipped: there is no `perf`; on Debian: apt-get install linux-perf");
        return Ok(());
    }
    let seconds = if arguments.quick { 5 } else { 20 };
    let built = Built::build()?;
    let failed = |error: std::io::Error| Failure::Failed(format!("no files for the profile: {error}"));
    let files = tempfile::tempdir().map_err(failed)?;
    let endpoints = files.path().join("endpoints.json");
    let length = format!("{}s", WARM_UP.as_secs() + seconds + MARGIN_S);
    let mut command = built.centinela();
    command.args(["up", "--quiet", "--cold", "--rate", RATE, "--for", &length, "--endpoints"]).arg(&endpoints);
    let child = command.spawn().map_err(|error| Failure::Failed(format!("centinela cannot be started: {error}")))?;
    let mut load = Load(child);
    load.await_ready(&endpoints)?;
    std::thread::sleep(WARM_UP);
    let pids = load.functions()?;
    terminal::note(&format!("sampling {seconds} s of the processes {pids}"));
    let data = files.path().join("perf.data");
    record(&pids, &data, seconds)?;
    let shares = report(&data)?;
    load.end()?;
    terminal::print(&format!("{}\n", machine::line(&machine::describe())));
    terminal::print(&text(&shares, seconds));
    Ok(())
}

/// `centinela up` while it is sampled; killed when it is dropped early.
struct Load(Child);

impl Load {
    fn await_ready(&mut self, endpoints: &Path) -> Result<(), Failure> {
        let until = Instant::now() + START_LIMIT;
        while Instant::now() < until {
            if endpoints.exists() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.0.try_wait() {
                return Err(Failure::Failed(format!("centinela up ended early ({status})")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(Failure::Failed(format!("centinela up was not ready within {} s", START_LIMIT.as_secs())))
    }

    /// The process ids of the function, which are children of the process that hosts it. Other functions' are too.
    fn functions(&self) -> Result<String, Failure> {
        let parent = self.0.id();
        let children =
            centinela_procfs::processes().filter(|(_, stat)| stat.parent == parent && is_the_function(&stat.name));
        let pids: Vec<String> = children.map(|(pid, _)| pid.to_string()).collect();
        if pids.is_empty() {
            return Err(Failure::Failed("centinela up runs no function that could be sampled".to_owned()));
        }
        Ok(pids.join(","))
    }

    fn end(&mut self) -> Result<(), Failure> {
        match self.0.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::NotClean(format!("the run under the profile ended with {status}"))),
            Err(error) => Err(Failure::Failed(error.to_string())),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            // The functions end with the process that hosts them.
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}

/// By the name of a process, of which Linux keeps 15 bytes.
fn is_the_function(name: &str) -> bool {
    FUNCTION.get(..15) == Some(name)
}

fn record(pids: &str, data: &Path, seconds: u64) -> Result<(), Failure> {
    let mut command = Command::new("perf");
    command.args(["record", "--quiet", "-e", "cpu-clock", "-F", "999", "-g", "-p", pids, "-o"]).arg(data);
    command.args(["--", "sleep", &seconds.to_string()]).stdin(Stdio::null());
    let output = command.output().map_err(|error| Failure::Failed(format!("perf cannot be run: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
    Err(Failure::Failed(format!("perf took no samples; it said: {line}; see /proc/sys/kernel/perf_event_paranoid")))
}

fn report(data: &Path) -> Result<Vec<Share>, Failure> {
    let mut command = Command::new("perf");
    command.args(["report", "--stdio", "--no-children", "-g", "none", "--percent-limit", "0"]);
    command.args(["--sort", "dso,symbol", "-t", "|", "-i"]).arg(data).stdin(Stdio::null());
    let output = command.output().map_err(|error| Failure::Failed(format!("perf cannot be run: {error}")))?;
    let shares = parse(&String::from_utf8_lossy(&output.stdout));
    if shares.is_empty() {
        return Err(Failure::Failed(
            "perf's report is empty: the functions were not running, or it was refused".to_owned(),
        ));
    }
    Ok(shares)
}

/// Lines such as `    3.21%|score-transacti|[.] tokio::park`; some versions of perf add columns behind.
fn parse(report: &str) -> Vec<Share> {
    let share = |line: &str| {
        let mut parts = line.split('|');
        let percent = parts.next()?.trim().strip_suffix('%')?.parse().ok()?;
        let (object, symbol) = (parts.next()?.trim().to_owned(), parts.next()?.trim().to_owned());
        Some(Share { percent, object, symbol })
    };
    report.lines().filter(|line| !line.starts_with('#')).filter_map(share).collect()
}

/// Whose code a symbol is: the kernel's, the allocator's, a crate's or a library's.
fn owner(share: &Share) -> String {
    let (mode, symbol) = share.symbol.split_once("] ").unwrap_or(("", &share.symbol));
    if mode == "[k" {
        return "kernel".to_owned();
    }
    const ALLOCATOR: [&str; 8] =
        ["malloc", "free", "calloc", "realloc", "unlink_chunk", "sysmalloc", "alloc_perturb", "tcache"];
    let plain = symbol.trim_start_matches(['_', 'c']).trim_start_matches("int_");
    if ALLOCATOR.iter().any(|name| symbol.starts_with(name) || plain.starts_with(name)) {
        return "allocator".to_owned();
    }
    if symbol.starts_with("rd_") || symbol.starts_with("rdk") {
        return "librdkafka".to_owned();
    }
    match first_path(symbol) {
        Some("std" | "core" | "alloc" | "__rustc") => "std".to_owned(),
        Some(path) => path.to_owned(),
        // An implementation for a primitive type, such as `<u128>::fmt`.
        None if symbol.starts_with('<') => "std".to_owned(),
        None => share.object.clone(),
    }
}

/// The first word of a symbol that a path begins with: `http` in `<&mut dyn http::Body as Poll>::poll`.
fn first_path(symbol: &str) -> Option<&str> {
    let mut rest = symbol.trim_start_matches(|letter: char| !is_of_a_word(letter));
    loop {
        let end = rest.find(|letter: char| !is_of_a_word(letter)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if behind.starts_with("::") && !word.is_empty() {
            return Some(word);
        }
        if !["mut", "dyn", "const", "impl"].contains(&word) {
            return None;
        }
        rest = behind.trim_start();
    }
}

fn is_of_a_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn text(shares: &[Share], seconds: u64) -> String {
    let mut owners: BTreeMap<String, f64> = BTreeMap::new();
    for share in shares {
        *owners.entry(owner(share)).or_default() += share.percent;
    }
    let mut owners: Vec<(String, f64)> = owners.into_iter().collect();
    owners.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut symbols = shares.to_vec();
    symbols.sort_by(|a, b| b.percent.total_cmp(&a.percent));
    let mut out = format!("CPU time of the function's processes at {RATE} transactions a second, {seconds} s\n\n");
    out += "| crate | share |\n| --- | ---: |\n";
    for (owner, percent) in owners.iter().take(CRATES_SHOWN) {
        out += &format!("| {owner} | {percent:.1} % |\n");
    }
    let rest: f64 = owners.iter().skip(CRATES_SHOWN).map(|(_, percent)| percent).sum();
    out += &format!("| the other {} | {rest:.1} % |\n", owners.len().saturating_sub(CRATES_SHOWN));
    out += "\n| symbol | of | share |\n| --- | --- | ---: |\n";
    for share in symbols.iter().take(SYMBOLS_SHOWN) {
        let symbol = share.symbol.split_once("] ").map_or(share.symbol.as_str(), |(_, symbol)| symbol);
        out += &format!("| `{}` | {} | {:.1} % |\n", symbol.replace('|', "\\|"), owner(share), share.percent);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_counts_for_the_crate_that_it_is_in() {
        let report = "\
# Overhead|Shared Object|Symbol
    12.50%|[kernel.kallsyms]|[k] do_syscall_64
     6.00%|score-transactions|[.] <tokio::runtime::task::Harness<T> as core::ops::Drop>::drop
     5.00%|score-transactions|[.] core::ptr::drop_in_place<aws_sdk_dynamodb::Client>
     4.00%|libc.so.6|[.] _int_free
     3.00%|libc.so.6|[.] __memmove_avx_unaligned_erms
     2.00%|score-transactions|[.] rd_kafka_broker_serve
     1.00%|score-transactions|[.] <&mut dyn http::Body as hyper::Poll>::poll|-      -
     0.50%|score-transactions|[.] <u128>::_fmt_inner|-      -";
        let shares = parse(report);
        let owners: Vec<String> = shares.iter().map(owner).collect();
        assert_eq!(owners, ["kernel", "tokio", "std", "allocator", "libc.so.6", "librdkafka", "http", "std"]);
        assert!(text(&shares, 20).contains("| kernel | 12.5 % |"));
    }

    #[test]
    fn other_functions_are_not_sampled() {
        assert!(is_the_function("score-transacti"));
        assert!(!is_the_function("track-user-acti") && !is_the_function("centinela"));
    }

    #[test]
    fn what_is_no_line_of_the_report_is_passed_over() {
        assert_eq!(parse("\nError: no samples\n# 1.0%|a|b\n"), []);
    }
}
