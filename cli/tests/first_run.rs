//! What a first run shows: a world that is known, and what is blocked in it, with reasons.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use centinela_domain::ReasonCode;
use centinela_e2e::command::centinela;
use centinela_local::aws::{AttrType, DynamoConfig, DynamoDb, TableSpec};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What a run showed on standard output, and its report.
struct Shown {
    text: String,
    report: Value,
}

impl Shown {
    fn count(&self, field: &str) -> u64 {
        self.report["records"][field].as_u64().unwrap()
    }

    /// Share of the decided transactions on a device that nobody had seen.
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    fn new_devices(&self) -> f64 {
        let written = &self.report["dynamodb"]["write_units_by_function"]["score-transactions"]["device_state"];
        written.as_f64().unwrap_or(0.0) / self.count("decided") as f64
    }
}

/// Runs `up` to its end, which must be clean, on a terminal of 80 columns or on a pipe.
fn up(arguments: &[&str], terminal: bool) -> Shown {
    let directory = TempDir::new().unwrap();
    let summary = directory.path().join("report.json");
    let mut command = centinela(&["up"]);
    command.args(arguments).arg("--summary").arg(&summary);
    let mut text = Vec::new();
    let mut child = if terminal {
        let pty = openpty(None, None).unwrap();
        let child = command.stdout(pty.slave).spawn().unwrap();
        // The command holds the last copy of the terminal's other side.
        drop(command);
        // Its end is an error on Linux, after everything was read.
        let _end = File::from(pty.master).read_to_end(&mut text);
        child
    } else {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.take().unwrap().read_to_end(&mut text).unwrap();
        child
    };
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let report = serde_json::from_slice(&std::fs::read(&summary).unwrap()).unwrap();
    Shown { text: String::from_utf8(text).unwrap(), report }
}

#[test]
fn a_default_run_on_a_terminal_shows_what_it_blocks_and_why_within_ten_seconds_and_ends_clean() {
    let shown = up(&["--for", "10s"], true);
    assert!(shown.text.contains("the past: "), "{}", shown.text);
    let (view, _) = shown.text.split_once("Reconciliation report").expect("a report at the end");
    let table = view.rsplit("\x1b[J").next().unwrap();
    let unwrapped = table.strip_prefix("\x1b[?7l").and_then(|table| table.split_once("\x1b[?7h"));
    let (table, _) = unwrapped.expect("it is drawn without wrapping");
    let (_, blocked) = table.split_once("because of").unwrap_or_else(|| panic!("nothing is blocked: {table}"));
    let rows: Vec<&str> = blocked.lines().skip(1).filter(|line| !line.is_empty()).collect();
    assert_eq!(rows.len(), 5, "{table}");
    for row in rows {
        assert!(ReasonCode::ALL.iter().any(|reason| row.contains(reason.describe())), "no reason in {row}");
        assert!(row.len() < 80, "{row}");
    }
    assert!(!table.contains("u-0"), "a user's id is shown: {table}");
    assert!(shown.count("blocked") >= 10, "{}", shown.report);
    assert!(shown.text.contains("CLEAN"), "{}", shown.text);
    assert!(shown.new_devices() < 0.2, "the devices of the past are not known: {}", shown.report);
}

/// The view is drawn over every half a second. What was said below it would be wiped out.
#[test]
fn what_is_said_during_a_run_stands_above_the_view() {
    let mut command = centinela(&["up"]);
    command.args(["--cold", "--for", "60s"]);
    let pty = openpty(None, None).unwrap();
    let mut child = command.stderr(pty.slave.try_clone().unwrap()).stdout(pty.slave).spawn().unwrap();
    drop(command);
    let (mut master, mut text, mut part) = (File::from(pty.master), Vec::new(), [0; 4096]);
    let is_drawn = |text: &[u8]| String::from_utf8_lossy(text).contains("\x1b[?7h");
    let mut interrupted = false;
    while let Ok(length @ 1..) = master.read(&mut part) {
        text.extend_from_slice(&part[..length]);
        if !interrupted && is_drawn(&text) {
            interrupted = true;
            kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
        }
    }
    assert!(child.wait().unwrap().success());
    let text = String::from_utf8_lossy(&text);
    let said = "centinela: finishing; Ctrl-C again stops at once\r\n";
    assert!(text.contains(&format!("\x1b[J{said}\x1b[?7l")), "{text:?}");
}

#[test]
fn on_a_pipe_there_is_at_most_one_block_to_a_line_of_counts() {
    let shown = up(&["--for", "7s"], false);
    let lines: Vec<&str> = shown.text.lines().collect();
    let blocked = lines.iter().filter(|line| line.starts_with("  blocked ")).count();
    let counts = lines.iter().filter(|line| line.contains("write units/tx")).count();
    assert!((1..=counts).contains(&blocked), "{}", shown.text);
    assert!(!shown.text.contains('\x1b'), "{}", shown.text);
}

#[test]
fn a_cold_run_says_nothing_of_a_past_and_knows_nobody() {
    let shown = up(&["--cold", "--for", "2s"], false);
    assert!(!shown.text.contains("the past"), "{}", shown.text);
    assert!(shown.new_devices() > 0.5, "{}", shown.report);
}

#[test]
fn a_file_has_no_past() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("input.jsonl");
    let mut file = File::create(&path).unwrap();
    for id in 0..50 {
        let line = json!({
            "version": 1, "transaction_id": format!("t{id}"), "timestamp": 1_767_571_200_000_u64 + id, "user_id": format!("u{id}"),
            "amount": "12.50", "currency": "EUR", "device_type": "mobile", "device_id": format!("d{id}"), "ip": "203.0.113.9",
            "user_agent": "test/1",
        });
        writeln!(file, "{line}").unwrap();
    }
    let shown = up(&["--input", path.to_str().unwrap()], false);
    assert!(!shown.text.contains("the past"), "{}", shown.text);
    assert_eq!(shown.count("decided"), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_ours_is_given_no_past() {
    let key = |table: &str| TableSpec {
        name: table.to_owned(),
        partition_key: ("pk".to_owned(), AttrType::S),
        sort_key: None,
        ttl_attribute: None,
    };
    let tables = ["user_state", "device_state", "settled_offsets"].map(key).to_vec();
    let database = DynamoDb::start(DynamoConfig { tables, ..DynamoConfig::default() }).await.unwrap();
    let url = database.url();
    let shown = tokio::task::block_in_place(|| up(&["--dynamodb", &url, "--for", "2s"], false));
    assert!(!shown.text.contains("the past"), "{}", shown.text);
    assert!(shown.new_devices() > 0.5, "{}", shown.report);
    database.shutdown().await.unwrap();
}
