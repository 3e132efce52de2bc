//! The ready questions, as an analyst asks them: `centinela query` over a small lake whose answers are known, because Python computes
//! them from the records and not from the files. Without Python, PyPI or DuckDB they are skipped with a word.

#![expect(clippy::print_stdout, reason = "a skipped test says why")]

mod lake;
mod names;
mod running_lake;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use centinela_e2e::command::{Process, assert_one_line, centinela};
use nix::sys::signal::Signal;
use serde_json::{Map, Value};

use lake::SmallLake;

/// Asks, and returns the rows.
fn rows(lake: &SmallLake, arguments: &[&str]) -> Vec<Map<String, Value>> {
    let output = lake.ask(arguments).arg("--format").arg("json").output().expect("the command can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
}

/// The same numbers, whether they are written as whole numbers or not.
fn is_same(found: &Value, wanted: &Value) -> bool {
    match (found.as_f64(), wanted.as_f64()) {
        (Some(found), Some(wanted)) => (found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0),
        _ => found == wanted,
    }
}

/// Every row has the wanted columns; it may have more.
#[track_caller]
fn assert_answer(name: &str, found: &[Map<String, Value>], wanted: &[Value]) {
    assert_eq!(found.len(), wanted.len(), "{name}: rows");
    for (place, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        for (column, wanted) in wanted.as_object().expect("a row") {
            let value = found.get(column).unwrap_or_else(|| panic!("{name} has no column {column}: {found:?}"));
            assert!(is_same(value, wanted), "{name}, row {place}, {column}: {value}, and it is {wanted}");
        }
    }
}

#[test]
fn every_question_has_the_answer_that_python_has() {
    let Some(lake) = SmallLake::or_say_why() else { return };
    let answers = lake.answers();
    let questions = lake::questions();
    assert!(questions.len() >= 20, "{questions:?}");
    for name in &questions {
        let wanted = answers[name].as_array().unwrap_or_else(|| panic!("nobody computes the answer to {name}"));
        assert!(!wanted.is_empty(), "{name}: the small world has nothing to ask about");
        assert_answer(name, &rows(&lake, &[name]), wanted);
    }
}

#[test]
fn both_dialects_are_asked_the_same_question() {
    let Some(lake) = SmallLake::or_say_why() else { return };
    let spelled = lake.directory().join("athena");
    std::fs::create_dir(&spelled).expect("a directory");
    let sql = centinela_e2e::workspace().join("sql");
    let output = lake.python("dialects.py", &[&sql, &spelled]).output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let answers = lake.answers();
    let mut asked = 0;
    for entry in std::fs::read_dir(&spelled).expect("a directory") {
        let file = entry.expect("an entry").path();
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let wanted = answers[&name].as_array().expect("an answer");
        assert_answer(&name, &rows(&lake, &[file.to_str().expect("a path")]), wanted);
        asked += 1;
    }
    assert_eq!(asked, 1, "`latency`; `top-reasons` has no other words");
}

#[test]
fn percentiles_lie_between_the_mean_and_the_maximum_where_they_must() {
    let Some(lake) = SmallLake::or_say_why() else { return };
    for row in rows(&lake, &["latency"]) {
        let number = |column: &str| row[column].as_f64().expect("a number");
        assert!(number("p50_ms") <= number("p95_ms") && number("p95_ms") <= number("p99_ms"), "{row:?}");
        assert!(number("p99_ms") <= number("max_ms") && number("p50_ms") >= 18.0, "{row:?}");
    }
}

#[test]
fn parameters_and_times_narrow_the_answer() {
    let Some(lake) = SmallLake::or_say_why() else { return };
    let of = |row: &Map<String, Value>, column: &str| row[column].clone();
    assert_eq!(rows(&lake, &["most-blocked-users", "--param", "users=1"]).len(), 1);
    let one = rows(&lake, &["user-story", "--param", "user_id=u-03"]);
    let others = rows(&lake, &["user-story", "--param", "user_id=u-04"]);
    assert!(!one.is_empty() && one != others);
    assert_eq!(rows(&lake, &["user-story", "--param", "user_id=' OR ''='"]), []);
    let euros = rows(&lake, &["other-threshold", "--param", "currency=EUR"]);
    assert_ne!(euros, rows(&lake, &["other-threshold"]));

    // An hour that is before --since is not even read: its manifest is broken here.
    let all = rows(&lake, &["records"]);
    lake.replace("manifests/transactions/dt=2026-11-27/hour=22/symlink.txt", "what is this");
    let refused = lake.ask(&["records"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("hour=22/symlink.txt names `what is this`"), "{said}");
    let late = rows(&lake, &["records", "--since", "2026-11-27T23:00"]);
    let wanted: Vec<_> =
        all.into_iter().filter(|row| of(row, "dt") != "2026-11-27" || of(row, "hour") != "22").collect();
    assert_eq!(late, wanted);
    let until = rows(&lake, &["records", "--since", "2026-11-27T23:00", "--until", "2026-11-28"]);
    assert!(!until.is_empty() && until.iter().all(|row| of(row, "hour") == "23"), "{until:?}");
}

#[test]
fn an_answer_is_a_table_csv_or_json_and_an_empty_lake_has_one_too() {
    let Some(lake) = SmallLake::or_say_why() else { return };
    let text = |arguments: &[&str]| {
        let output = lake.ask(arguments).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let table = text(&["exactly-once"]);
    assert!(table.contains("| transactions |") && table.contains("| 420 "), "{table}");
    let csv = text(&["exactly-once", "--format", "csv"]);
    assert_eq!(csv.lines().next().unwrap_or_default().split(',').next(), Some("transactions"), "{csv}");
    assert!(csv.lines().nth(1).unwrap_or_default().starts_with("420,418,0,2,0,"), "{csv}");

    let empty = lake.directory().join("empty");
    std::fs::create_dir_all(empty.join("manifests")).expect("a directory");
    for name in lake::questions() {
        let mut command = centinela(&["query", &name, "--format", "json", "--lake"]);
        let output = command.arg(&empty).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("no compacted hour"), "{name}: {said}");
    }
}

#[test]
fn a_question_can_read_the_lake_and_touch_nothing_else() {
    let Some(lake) = SmallLake::or_say_why() else { return };
    let secret = lake.directory().join("secret.csv");
    std::fs::write(&secret, "a\n1\n").expect("a file");
    let out = lake.directory().join("out.csv");
    let forbidden = [
        format!("SELECT * FROM read_csv('{}')", secret.display()),
        format!("COPY (SELECT 1) TO '{}'", out.display()),
        format!(".shell touch {}", out.display()),
        format!(".output {}\nSELECT 1", out.display()),
        "SET enable_external_access = true".to_owned(),
    ];
    for sql in forbidden {
        let file = lake.question(&sql);
        let output = lake.ask(&[file.to_str().expect("a path")]).output().expect("it starts");
        assert_eq!(output.status.code(), Some(1), "{sql}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(!out.exists(), "{sql}");
    }
    let wrong = lake.question("SELECT amount FROM transactions");
    assert_one_line(
        &mut lake.ask(&[wrong.to_str().expect("a path")]),
        1,
        &["DuckDB did not answer", "amount_minor", "LINE"],
    );
}

#[test]
fn an_interrupt_ends_a_question_and_leaves_nothing() {
    let Some(lake) = SmallLake::or_say_why() else { return };
    let endless = lake.question(
        "SELECT count(*) FROM transactions, range(1000000000) AS a, range(1000000000) AS b WHERE random() > 2",
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let temporary = tempfile::tempdir().expect("a directory");
        let mut command = lake.ask(&[endless.to_str().expect("a path")]);
        let mut asking =
            Process::spawn(command.env("TMPDIR", temporary.path()).stdout(Stdio::null()).stderr(Stdio::null()));
        let started = || children(asking.0.id()).iter().any(|name| name == "duckdb");
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while !started() {
            assert!(std::time::Instant::now() < until, "DuckDB never starts");
            std::thread::sleep(Duration::from_millis(10));
        }
        asking.signal(signal);
        assert_eq!(asking.0.wait().expect("a child").code(), Some(130), "{signal}");
        assert_eq!(std::fs::read_dir(temporary.path()).expect("a directory").count(), 0, "{signal}");
    }
}

/// Names of the processes that this one started.
fn children(pid: u32) -> Vec<String> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let name = |pid: &str| std::fs::read_to_string(Path::new("/proc").join(pid).join("comm")).ok();
    // A thread of the runtime starts it, so its parent is any of the process's threads.
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_threads = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let all: Vec<String> = of_threads.chain([listed]).collect();
    all.iter().flat_map(|pids| pids.split_whitespace()).filter_map(name).map(|name| name.trim().to_owned()).collect()
}

#[test]
fn the_lake_of_a_running_platform_is_read_through_its_s3() {
    let Some(lake) = SmallLake::or_say_why() else { return };
    let answers = lake.answers();
    let served = lake.served();
    for name in ["exactly-once", "block-rate", "records"] {
        let mut command = centinela(&["query", name, "--format", "json", "--endpoints"]);
        let output = command.arg(served.endpoints()).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: Vec<Map<String, Value>> = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_answer(name, &found, answers[name].as_array().expect("an answer"));
    }
    let mut command = centinela(&["query", "records", "--lake", "s3://nowhere", "--endpoints"]);
    assert_one_line(command.arg(served.endpoints()), 1, &["bucket nowhere refuses", "NoSuchBucket"]);
}

/// What is printed for Athena is the question with its parameters set.
#[test]
fn a_question_can_be_printed_for_athena() {
    let printed = |arguments: &[&str]| {
        let output: std::process::Output = Command::output(&mut centinela(arguments)).expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let athena =
        printed(&["query", "latency", "--since", "2026-11-28T17:00", "--param", "limit_ms=250", "--print", "athena"]);
    assert!(athena.contains("approx_percentile(") && athena.contains("250 AS limit_ms"), "{athena}");
    assert!(athena.contains("TIMESTAMP '2026-11-28 17:00:00.000' AS since"), "{athena}");
    assert!(printed(&["query", "latency", "--print", "duckdb"]).contains("approx_quantile("));
}
