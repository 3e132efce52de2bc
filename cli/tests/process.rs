//! What the command does to the machine that it runs on: signals, files, processes, and what is left when it has ended.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Generous: the first run may have to build the function.
const PATIENCE: Duration = Duration::from_secs(600);
/// What a machine with much else to do may take to end processes.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// `centinela up --quiet --rate 0` that waits for somebody's records; it never outlives the test.
struct Running {
    child: Child,
    directory: TempDir,
}

impl Running {
    /// Starts it behind what a shell does first, and waits until it is ready.
    fn start_after(preparation: &str, more: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::create_dir(directory.path().join("tmp")).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{preparation}\nexec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_centinela")]);
        command.args(["up", "--quiet", "--rate", "0"]).args(more);
        command.arg("--endpoints").arg(directory.path().join("endpoints.json"));
        command.arg("--summary").arg(directory.path().join("account.json"));
        command.env("TMPDIR", directory.path().join("tmp")).stdin(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().expect("the command can be started");
        let mut running = Self { child, directory };
        let until = Instant::now() + PATIENCE;
        while !running.file("endpoints.json").exists() {
            assert!(running.child.try_wait().unwrap().is_none(), "the command ended before it was ready");
            assert!(Instant::now() < until, "the command is never ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }

    fn start() -> Self {
        Self::start_after("", &[])
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn endpoints(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.file("endpoints.json")).unwrap()).unwrap()
    }

    fn kafka(&self) -> String {
        self.endpoints()["kafka"].as_str().unwrap().to_owned()
    }

    fn function_processes(&self) -> Vec<PathBuf> {
        let endpoints = self.endpoints();
        let functions = endpoints["functions"].as_array().unwrap();
        let pids = functions.iter().flat_map(|function| function["pids"].as_array().unwrap());
        pids.map(|pid| PathBuf::from(format!("/proc/{pid}"))).collect()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits for the end; returns the exit code, the account and what was said.
    fn end(&mut self) -> (Option<i32>, Option<Value>, String) {
        let said = std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap();
        let status = self.child.wait().unwrap();
        let account = std::fs::read(self.file("account.json")).ok();
        (status.code(), account.map(|account| serde_json::from_slice(&account).unwrap()), said)
    }

    /// Waits until nothing is left of it but the files that it was asked for.
    #[track_caller]
    fn assert_nothing_is_left(&self, processes: &[PathBuf]) {
        assert!(!processes.is_empty());
        let left = || -> Vec<PathBuf> {
            let files = std::fs::read_dir(self.file("tmp")).unwrap().map(|entry| entry.unwrap().path());
            processes.iter().filter(|process| process.exists()).cloned().chain(files).collect()
        };
        let until = Instant::now() + END_PATIENCE;
        while !left().is_empty() {
            assert!(Instant::now() < until, "{:?} is left", left());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ended_meanwhile = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}

fn centinela(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_centinela"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// What it says to a person, without what is shown of a build.
fn lines(output: &Output) -> Vec<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let ours = said.lines().filter(|line| line.starts_with("centinela: ") && !line.contains("building it"));
    ours.map(str::to_owned).collect()
}

/// Exactly one line, which names all of this, and exit code 2.
#[track_caller]
fn assert_refused(command: &mut Command, named: &[&str]) {
    let output = command.output().unwrap();
    let lines = lines(&output);
    assert_eq!(output.status.code(), Some(2), "{command:?}: {lines:?}");
    let [line] = &lines[..] else { panic!("{command:?}: {lines:?}") };
    for name in named {
        assert!(line.contains(name), "{name} is missing in {line}");
    }
}

/// Whether a closed terminal is ignored here, which a child inherits.
fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or("0");
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 == 1
}

#[test]
fn a_closed_terminal_ends_a_run_with_its_account_and_leaves_nothing() {
    if ignores_hangups() {
        writeln!(std::io::stderr(), "skipped: these tests run under nohup, and so would the command").unwrap();
        return;
    }
    let mut running = Running::start();
    let processes = running.function_processes();
    // The kernel says it, and so does the shell.
    running.signal(Signal::SIGHUP);
    running.signal(Signal::SIGHUP);
    let (code, account, said) = running.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(account.unwrap()["clean"], true);
    running.assert_nothing_is_left(&processes);
}

#[test]
fn under_nohup_the_end_of_the_terminal_is_ignored() {
    let mut running = Running::start_after("trap '' HUP", &[]);
    running.signal(Signal::SIGHUP);
    // The first request to end, not the second.
    running.signal(Signal::SIGINT);
    let (code, account, said) = running.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(account.is_some(), "{said}");
}

#[test]
fn nothing_survives_a_run_that_is_killed() {
    let mut running = Running::start();
    let processes = running.function_processes();
    let files = std::fs::read_dir(running.file("tmp")).unwrap().count();
    assert!(files > 0, "the run has no files of its own, so there is nothing to see");
    running.signal(Signal::SIGKILL);
    running.child.wait().unwrap();
    running.assert_nothing_is_left(&processes);
}

#[test]
fn an_idle_run_ends_at_once_when_it_is_asked_to() {
    let mut running = Running::start();
    let asked = Instant::now();
    running.signal(Signal::SIGINT);
    let (code, _, said) = running.end();
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
    let mut command = Command::new(env!("CARGO_BIN_EXE_centinela"));
    command.args(["up", "--rate", "0", "--logs"]).arg(&logs).stdin(Stdio::null()).stdout(full).stderr(Stdio::null());
    let mut running = Running { child: command.spawn().unwrap(), directory };
    let until = Instant::now() + PATIENCE;
    while !logs.exists() {
        assert!(running.child.try_wait().unwrap().is_none() && Instant::now() < until, "it never starts");
        std::thread::sleep(Duration::from_millis(20));
    }
    let until = Instant::now() + END_PATIENCE;
    while running.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "it does not end");
        running.signal(Signal::SIGINT);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(running.child.wait().unwrap().code(), Some(130));
}

#[test]
fn too_few_files_are_refused_at_the_start_with_the_number_and_what_is_needed() {
    let arguments = ["up", "--quiet", "--rate", "10", "--for", "1s"];
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_centinela")]).args(arguments);
    assert_refused(&mut limited, &["at most 64 files", "ulimit -n"]);
}

#[test]
fn more_connections_than_files_are_one_line_and_the_run_goes_on() {
    // The soft limit alone is raised as far as it goes.
    let mut running = Running::start_after("ulimit -Sn 64; ulimit -Hn 512", &["--environments", "2"]);
    let kafka = running.kafka();
    let mut said = BufReader::new(running.child.stderr.take().unwrap());
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
    running.signal(Signal::SIGINT);
    let more = std::io::read_to_string(said).unwrap();
    assert!(!more.contains("Too many open files"), "{more}");
    assert_eq!(running.child.wait().unwrap().code(), Some(0), "{more}");
    let account: Value = serde_json::from_slice(&std::fs::read(running.file("account.json")).unwrap()).unwrap();
    assert_eq!(account["records"]["sent"], 20, "{account}");
}

#[test]
fn one_file_for_two_uses_is_refused_and_stays_as_it_was() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("input.jsonl"), "mine\n").unwrap();
    // To a file that is not there yet.
    symlink("account.json", at("link.json")).unwrap();
    let (account, detour, link, input) = (at("account.json"), at("./account.json"), at("link.json"), at("input.jsonl"));
    let cases: &[(&[&str], [&str; 2])] = &[
        (&["--summary", &account, "--endpoints", &account], ["--summary", "--endpoints"]),
        (&["--summary", &account, "--logs", &detour], ["--summary", "--logs"]),
        (&["--endpoints", &link, "--logs", &account], ["--endpoints", "--logs"]),
        (&["--input", &input, "--logs", &input], ["--input", "--logs"]),
    ];
    for (arguments, flags) in cases {
        assert_refused(centinela(&["up"]).args(*arguments), &[flags[0], flags[1], "same file"]);
    }
    assert_refused(centinela(&["up", "--summary", &at("")]).args(["--rate", "0"]), &["--summary", "it is a directory"]);
    assert_eq!(std::fs::read_to_string(input).unwrap(), "mine\n");
    assert!(!Path::new(&account).exists());
}

#[test]
fn nothing_is_coloured_where_nobody_can_see_colours() {
    let mut command = centinela(&["up", "--rate", "20", "--for", "1s"]);
    let output = command.env("RUST_LOG", "info").output().unwrap();
    assert!(output.status.success(), "{:?}", lines(&output));
    let (results, notes) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(results.contains("CLEAN") && notes.contains("INFO"), "{results}{notes}");
    assert!(!results.contains('\x1b') && !notes.contains('\x1b'), "{results}{notes}");
}

#[test]
fn a_second_run_on_the_kafka_of_another_is_told_whose_it_is_and_the_other_goes_on() {
    let mut running = Running::start();
    let (kafka, holder) = (running.kafka(), format!("centinela-up-{}@", running.child.id()));
    assert_refused(&mut centinela(&["up", "--kafka", &kafka, "--rate", "10", "--for", "1s"]), &[&kafka, &holder]);
    let sent = centinela(&["send", "--kafka", &kafka, "--count", "20", "--quiet"]).output().unwrap();
    assert!(sent.status.success(), "{:?}", lines(&sent));
    running.signal(Signal::SIGINT);
    let (code, account, said) = running.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(account.unwrap()["records"]["decided"], 20);
}
