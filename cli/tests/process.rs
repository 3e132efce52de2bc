//! What the command does to the machine that it runs on: signals, files, processes, and what is left when it has ended.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use centinela_e2e::command::{Process, assert_one_line, centinela, lines};
use centinela_e2e::running::Running;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// What a machine with much else to do may take to end processes.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// `centinela up --quiet --rate 0` that waits for somebody's records, behind what a shell does first; its own files are in `tmp`.
fn start_after(preparation: &str, more: &[&str]) -> Running {
    Running::start_as(|directory| {
        let tmp = directory.join("tmp");
        std::fs::create_dir(&tmp).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{preparation}\nexec \"$0\" \"$@\"")]).arg(centinela(&[]).get_program());
        command.args(["up", "--quiet", "--rate", "0"]).args(more);
        command.env("TMPDIR", tmp).stdin(Stdio::null()).stderr(Stdio::piped());
        command
    })
}

fn start() -> Running {
    start_after("", &[])
}

/// Waits for the end; returns the exit code, the report and what was said.
fn end(running: &mut Running) -> (Option<i32>, Value, String) {
    let said = std::io::read_to_string(running.process.0.stderr.take().unwrap()).unwrap();
    let status = running.process.0.wait().unwrap();
    (status.code(), running.report(), said)
}

/// Waits until nothing is left of it but the files that it was asked for.
#[track_caller]
fn assert_nothing_is_left(running: &Running, processes: &[PathBuf]) {
    assert!(!processes.is_empty());
    let left = || -> Vec<PathBuf> {
        let files = std::fs::read_dir(running.directory().join("tmp")).unwrap().map(|entry| entry.unwrap().path());
        processes.iter().filter(|process| process.exists()).cloned().chain(files).collect()
    };
    let until = Instant::now() + END_PATIENCE;
    while !left().is_empty() {
        assert!(Instant::now() < until, "{:?} is left", left());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[track_caller]
fn assert_refused(command: &mut Command, named: &[&str]) {
    assert_one_line(command, 2, named);
}

/// Whether a closed terminal is ignored here, which a child inherits.
fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or("0");
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 == 1
}

#[test]
fn a_closed_terminal_ends_a_run_with_its_report_and_leaves_nothing() {
    if ignores_hangups() {
        writeln!(std::io::stderr(), "skipped: these tests run under nohup, and so would the command").unwrap();
        return;
    }
    let mut running = start();
    let processes = running.function_processes();
    // The kernel says it, and so does the shell.
    running.process.signal(Signal::SIGHUP);
    running.process.signal(Signal::SIGHUP);
    let (code, report, said) = end(&mut running);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(report["clean"], true);
    assert_nothing_is_left(&running, &processes);
}

#[test]
fn under_nohup_the_end_of_the_terminal_is_ignored() {
    let mut running = start_after("trap '' HUP", &[]);
    running.process.signal(Signal::SIGHUP);
    // The first request to end, not the second.
    running.process.signal(Signal::SIGINT);
    let (code, report, said) = end(&mut running);
    assert_eq!(code, Some(0), "{said}");
    assert!(!report.is_null(), "{said}");
}

#[test]
fn nothing_survives_a_run_that_is_killed() {
    let mut running = start();
    let processes = running.function_processes();
    let files = std::fs::read_dir(running.directory().join("tmp")).unwrap().count();
    assert!(files > 0, "the run has no files of its own, so there is nothing to see");
    running.process.signal(Signal::SIGKILL);
    running.process.0.wait().unwrap();
    assert_nothing_is_left(&running, &processes);
}

#[test]
fn an_idle_run_ends_at_once_when_it_is_asked_to() {
    let mut running = start();
    let asked = Instant::now();
    running.process.signal(Signal::SIGINT);
    let (code, _, said) = end(&mut running);
    assert_eq!(code, Some(0), "{said}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}: it waits for something", asked.elapsed());
}

#[test]
fn an_output_that_nobody_reads_does_not_keep_a_second_interrupt_from_ending_a_run() {
    const PIPE_BYTES: usize = 64 * 1024;
    let directory = TempDir::new().unwrap();
    let logs = directory.path().join("logs");
    let (_unread, mut full) = std::io::pipe().unwrap();
    full.write_all(&[b' '; PIPE_BYTES]).unwrap();
    let mut command = centinela(&["up", "--rate", "0", "--logs"]);
    let mut process = Process::spawn(command.arg(&logs).stdout(full).stderr(Stdio::null()));
    process.wait_for(&logs);
    let until = Instant::now() + END_PATIENCE;
    while process.0.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "it does not end");
        process.signal(Signal::SIGINT);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(process.0.wait().unwrap().code(), Some(130));
}

#[test]
fn too_few_files_are_refused_at_the_start_with_the_number_and_what_is_needed() {
    let arguments = ["up", "--quiet", "--rate", "10", "--for", "1s"];
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]).arg(centinela(&[]).get_program()).args(arguments);
    assert_refused(&mut limited, &["at most 64 files", "ulimit -n"]);
}

#[test]
fn more_connections_than_files_are_one_line_and_the_run_goes_on() {
    // The soft limit alone is raised as far as it goes.
    let mut running = start_after("ulimit -Sn 64; ulimit -Hn 512", &["--environments", "2"]);
    let kafka = running.endpoint("kafka");
    let mut said = BufReader::new(running.process.0.stderr.take().unwrap());
    let first = std::thread::spawn(move || {
        let mut line = String::new();
        said.read_line(&mut line).map(|_| (line, said)).unwrap()
    });
    let mut crowd = Vec::new();
    while !first.is_finished() {
        assert!(crowd.len() < 600, "that many connections were not too many");
        crowd.push(TcpStream::connect(&kafka).unwrap());
    }
    let (line, said) = first.join().unwrap();
    assert!(line.contains("Too many open files") && line.contains("512"), "{line}");
    drop(crowd);
    let sent = centinela(&["send", "--kafka", &kafka, "--count", "20", "--quiet"]).output().unwrap();
    assert!(sent.status.success(), "{:?}", lines(&sent));
    running.process.signal(Signal::SIGINT);
    let more = std::io::read_to_string(said).unwrap();
    assert!(!more.contains("Too many open files"), "{more}");
    assert_eq!(running.process.0.wait().unwrap().code(), Some(0), "{more}");
    let report = running.report();
    assert_eq!(report["records"]["sent"], 20, "{report}");
}

#[test]
fn one_file_for_two_uses_is_refused_and_stays_as_it_was() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("input.jsonl"), "mine\n").unwrap();
    // To a file that is not there yet.
    symlink("report.json", at("link.json")).unwrap();
    let (report, detour, link, input) = (at("report.json"), at("./report.json"), at("link.json"), at("input.jsonl"));
    let cases: &[(&[&str], [&str; 2])] = &[
        (&["--summary", &report, "--endpoints", &report], ["--summary", "--endpoints"]),
        (&["--summary", &report, "--logs", &detour], ["--summary", "--logs"]),
        (&["--endpoints", &link, "--logs", &report], ["--endpoints", "--logs"]),
        (&["--input", &input, "--logs", &input], ["--input", "--logs"]),
    ];
    for (arguments, flags) in cases {
        assert_refused(centinela(&["up"]).args(*arguments), &[flags[0], flags[1], "same file"]);
    }
    assert_refused(centinela(&["up", "--summary", &at("")]).args(["--rate", "0"]), &["--summary", "it is a directory"]);
    assert_eq!(std::fs::read_to_string(input).unwrap(), "mine\n");
    assert!(!Path::new(&report).exists());
}

#[test]
fn nothing_is_coloured_where_nobody_can_see_colours() {
    let mut command = centinela(&["up", "--rate", "20", "--for", "1s"]);
    let output = command.env("RUST_LOG", "debug").output().unwrap();
    assert!(output.status.success(), "{:?}", lines(&output));
    let (results, notes) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(results.contains("CLEAN") && notes.contains("DEBUG"), "{results}{notes}");
    assert!(!results.contains('\x1b') && !notes.contains('\x1b'), "{results}{notes}");
}

#[test]
fn a_second_run_on_the_kafka_of_another_is_told_whose_it_is_and_the_other_goes_on() {
    let mut running = start();
    let (kafka, holder) = (running.endpoint("kafka"), format!("centinela-up-{}@", running.process.0.id()));
    assert_refused(&mut centinela(&["up", "--kafka", &kafka, "--rate", "10", "--for", "1s"]), &[&kafka, &holder]);
    let sent = centinela(&["send", "--kafka", &kafka, "--count", "20", "--quiet"]).output().unwrap();
    assert!(sent.status.success(), "{:?}", lines(&sent));
    running.process.signal(Signal::SIGINT);
    let (code, report, said) = end(&mut running);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(report["records"]["decided"], 20);
}

#[test]
fn a_directory_for_objects_must_be_new_or_empty() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("of-another-run"), "x").unwrap();
    let name = directory.path().to_str().unwrap();
    assert_refused(centinela(&["up", "--s3-directory", name]).arg("--quiet"), &["--s3-directory", name, "not empty"]);
}
