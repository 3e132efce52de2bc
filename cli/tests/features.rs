//! `centinela features` with files that people have and places that they name: nothing of theirs is lost, whatever becomes of the rows.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use centinela_e2e::command::centinela;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Few enough to be done at once.
const SMALL: [&str; 4] = ["--days", "3", "--users", "40"];
const NUMPY: &[u8] = b"\x93NUMPY";

fn features(directory: &TempDir, arguments: &[&str]) -> Command {
    let mut command = centinela(&["features"]);
    command.args(arguments).current_dir(directory);
    command
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// Exactly one line, which names all of this, and exit code 2.
#[track_caller]
fn assert_refused(output: &Output, named: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    for name in named {
        assert!(said.contains(name), "{name} is missing in {said}");
    }
}

const PAYMENTS: &str = "transaction_id,timestamp,user_id,amount,device_type,device_id,ip,user_agent\n\
                        t1,2026-11-22T14:32:00Z,u,12.34,pos,d,203.0.113.9,a\n";

#[test]
fn a_place_that_cannot_be_replaced_is_refused_and_stays_what_it_is() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    fs::write(at("payments.csv"), PAYMENTS).unwrap();
    symlink("payments.csv", at("link.csv")).unwrap();
    symlink("/dev/full", at("device")).unwrap();
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let before = names(directory.path());
    let simulated: &[(&str, &str)] = &[
        ("/dev/full", "no ordinary file"),
        ("device", "no ordinary file"),
        ("pipe", "no ordinary file"),
        ("folder", "it is a directory"),
        ("new/", "it is a directory"),
        ("missing/rows.npy", "its directory does not exist"),
        ("/dev/stdout", "own output"),
    ];
    for (out, why) in simulated {
        let output = features(&directory, &SMALL).args(["--out", out]).output().unwrap();
        assert_refused(&output, &["--out", out, why]);
    }
    for out in ["payments.csv", "link.csv", "folder/../payments.csv"] {
        let output = features(&directory, &["--input", "payments.csv", "--out", out]).output().unwrap();
        assert_refused(&output, &["--input and --out are the same file", out]);
    }
    assert_eq!(names(directory.path()), before);
    assert!(fs::symlink_metadata("/dev/full").unwrap().file_type().is_char_device());
    assert!(fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
    assert_eq!(fs::read_to_string(at("payments.csv")).unwrap(), PAYMENTS);
}

#[test]
fn a_link_is_written_through_and_a_file_keeps_its_mode() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("rows.npy"), "old").unwrap();
    fs::set_permissions(at("rows.npy"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("rows.npy", at("link.npy")).unwrap();
    let output = features(&directory, &SMALL).args(["--out", "link.npy"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(fs::symlink_metadata(at("link.npy")).unwrap().is_symlink());
    assert!(fs::read(at("rows.npy")).unwrap().starts_with(NUMPY));
    assert_eq!(fs::metadata(at("rows.npy")).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn an_input_is_there_afterwards_whatever_its_name() {
    let directory = TempDir::new().unwrap();
    let input = directory.path().join("rows.partial");
    fs::write(&input, PAYMENTS).unwrap();
    let output = features(&directory, &["--input", "rows.partial", "--out", "rows"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(fs::read_to_string(&input).unwrap(), PAYMENTS);
    assert_eq!(names(directory.path()), ["rows", "rows.partial"]);
}

#[test]
fn an_interrupt_leaves_what_was_there_and_nothing_else() {
    let directory = TempDir::new().unwrap();
    let out = directory.path().join("rows.npy");
    fs::write(&out, "old").unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let endless = ["--days", "3650", "--users", "20000", "--out", "rows.npy"];
        let mut child = features(&directory, &endless).stderr(Stdio::null()).spawn().unwrap();
        while names(directory.path()).len() < 2 {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it began");
            std::thread::sleep(Duration::from_millis(5));
        }
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        assert_eq!(names(directory.path()), ["rows.npy"], "{signal}");
        assert_eq!(fs::read_to_string(&out).unwrap(), "old", "{signal}");
    }
}

#[test]
fn a_damaged_parquet_file_is_one_line() {
    let directory = TempDir::new().unwrap();
    let damaged = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/damaged-parquet");
    let files = names(&damaged);
    assert!(!files.is_empty());
    for file in files {
        let path = damaged.join(&file);
        let output = features(&directory, &["--out", "rows.npy", "--input", path.to_str().unwrap()]).output().unwrap();
        assert_refused(&output, &[&file, "is no readable Parquet file: "]);
        assert_eq!(names(directory.path()), [""; 0]);
    }
}

#[test]
fn a_table_of_something_else_is_told_which_columns_it_has() {
    let directory = TempDir::new().unwrap();
    let renamed = PAYMENTS.replacen("transaction_id", "id", 1);
    fs::write(directory.path().join("payments.csv"), renamed).unwrap();
    let output = features(&directory, &["--input", "payments.csv", "--out", "rows.npy"]).output().unwrap();
    assert_refused(&output, &["payments.csv has no column `transaction_id`, only `id`, `timestamp`"]);
}
