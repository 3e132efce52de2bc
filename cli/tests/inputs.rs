//! The real command with files that people have: what is in order is decided to the last row, and what is not is one clear line
//! before anything is sent.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use centinela_e2e::command::{centinela, reported};
use flate2::write::GzEncoder;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};
use tempfile::TempDir;

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn with(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs `up` on a file to its end.
    fn up(&self, input: &Path, more: &[&str]) -> (Output, Option<Value>) {
        reported(centinela(&["up", "--input", input.to_str().unwrap()]).args(more))
    }
}

/// A header and rows of several currencies, some without.
fn csv(rows: usize) -> String {
    let mut text =
        "transaction_id,timestamp,user_id,amount,currency,device_type,device_id,ip,user_agent,note\n".to_owned();
    let amounts = [
        ("12.50", "EUR"),
        ("15000000", "IDR"),
        ("50000000.00", "IDR"),
        ("1999", "JPY"),
        ("2500000", "VND"),
        ("9.99", ""),
    ];
    for row in 0..rows {
        let (amount, currency) = amounts[row % amounts.len()];
        let second = row % 60;
        writeln!(
            text,
            "t{row},2026-11-22 14:32:{second:02}+01,u{},{amount},{currency},mobile,d{},203.0.113.9,\"test, 1\",x",
            row % 7,
            row % 7
        )
        .unwrap();
    }
    text
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn counts<const N: usize>(report: &Value, fields: [&str; N]) -> [u64; N] {
    fields.map(|field| report["records"][field].as_u64().unwrap())
}

#[test]
fn a_csv_file_of_many_currencies_is_decided_to_the_last_row() {
    let files = Files::new();
    for path in [files.with("history.csv", csv(600)), files.with("no-name", gzip(&csv(600)))] {
        let (output, report) = files.up(&path, &["--quiet"]);
        let report = report.unwrap_or_else(|| panic!("{}", said(&output)));
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(
            counts(&report, ["sent", "unique", "decided", "parked", "lost", "users_differing"]),
            [600, 600, 600, 0, 0, 0]
        );
        assert_eq!(report["clean"], true, "{report}");
    }
}

#[test]
fn a_file_that_cannot_be_sent_is_one_line_and_nothing_is_sent() {
    let files = Files::new();
    let bad_amount = csv(20) + "t20,2026-11-22T14:32:00Z,u,12.345,EUR,mobile,d,203.0.113.9,a,x\n";
    let bad_currency = csv(20) + "t20,2026-11-22T14:32:00Z,u,12,XYZ,mobile,d,203.0.113.9,a,x\n";
    let billion = csv(20) + "t20,2026-11-22T14:32:00Z,u,17000000000000,IDR,mobile,d,203.0.113.9,a,x\n";
    let no_zone = csv(20) + "t20,2026-11-22T14:32:00,u,12,EUR,mobile,d,203.0.113.9,a,x\n";
    let cases: [(PathBuf, &[&str]); 10] = [
        (files.with("a", bad_amount), &["line 22 of ", "amount", "`12.345`", "2 of EUR"]),
        (files.with("b", bad_currency), &["line 22 of ", "currency XYZ", "ISO 4217"]),
        (files.with("c", billion), &["line 22 of ", "`17000000000000`", "the limit is 160000000000 IDR"]),
        (files.with("d", no_zone), &["line 22 of ", "timestamp", "`2026-11-22T14:32:00`", "zone"]),
        (files.with("e.jsonl", b"\x7fELF\x02\x01\x01\0\0"), &["e.jsonl is binary", "gzip"]),
        (files.with("f.jsonl", b"\xfd7zXZ\0\0\x04"), &["f.jsonl is compressed with xz"]),
        (files.with("g.jsonl", ""), &["g.jsonl", "is empty"]),
        (files.with("h.csv", csv(0)), &["h.csv", "is empty"]),
        (files.with("i.csv.gz", &gzip(&csv(600))[..200]), &["cannot read", "i.csv.gz"]),
        (files.0.path().to_owned(), &["is no file"]),
    ];
    for (path, named) in cases {
        for command in [&["up", "--input"][..], &["send", "--kafka", "127.0.0.1:1", "--input"]] {
            let output = centinela(command).arg(&path).output().unwrap();
            let said = said(&output);
            assert_eq!(output.status.code(), Some(2), "{path:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{path:?}: {said}");
            for name in named {
                assert!(said.contains(name), "{name} is missing in {said}");
            }
        }
    }
}

#[test]
fn a_file_that_breaks_in_the_middle_of_a_run_is_no_clean_run() {
    let files = Files::new();
    let line = |id: usize| {
        json!({
            "version": 1, "transaction_id": format!("t{id}"), "timestamp": 1_795_357_920_123_u64, "user_id": "u", "amount": "1",
            "currency": "EUR", "device_type": "pos", "device_id": "d", "ip": "203.0.113.9", "user_agent": "x".repeat(900),
        })
        .to_string()
    };
    // More than is read ahead, at a rate that leaves time.
    let path = files.with("long.jsonl", (0..2_000).map(|id| line(id) + "\n").collect::<String>());
    let endpoints = files.0.path().join("endpoints.json");
    let summary = files.0.path().join("report.json");
    let mut command = centinela(&["up", "--rate", "300", "--input", path.to_str().unwrap()]);
    command.arg("--endpoints").arg(&endpoints).arg("--summary").arg(&summary);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !endpoints.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the command ended before it was ready");
        std::thread::sleep(Duration::from_millis(5));
    }
    // It was checked as a whole; now its end is another one.
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1_000_000).unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{shown} {}", said(&output));
    assert!(shown.contains("INCOMPLETE  sending ended early: line ") && !shown.contains("CLEAN  "), "{shown}");
    assert!(said(&output).contains("long.jsonl"), "{}", said(&output));
    let report: Value = serde_json::from_slice(&std::fs::read(&summary).unwrap()).unwrap();
    assert_eq!(report["clean"], false, "{report}");
    let [sent, decided] = counts(&report, ["sent", "decided"]);
    assert!(0 < sent && sent < 2_000 && decided == sent, "{report}");
}

/// A Parquet file of two row groups, in the second of which a value says that it is longer than its page.
fn broken_parquet(path: &Path) {
    let names = ["transaction_id", "timestamp", "user_id", "amount", "device_type", "device_id", "ip", "user_agent"];
    let columns: String = names.iter().map(|name| format!("required binary {name} (UTF8);")).collect();
    let schema = Arc::new(parse_message_type(&format!("message rows {{ {columns} }}")).unwrap());
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::builder().build())).unwrap();
    for rows in [0..300, 300..600] {
        let mut group = writer.next_row_group().unwrap();
        for name in names {
            let values = rows.clone().map(|row| match name {
                "transaction_id" => format!("t{row}"),
                "timestamp" => "2026-11-22T14:32:00Z".to_owned(),
                "amount" => "12.34".to_owned(),
                "device_type" => "pos".to_owned(),
                "ip" => "203.0.113.9".to_owned(),
                name => name.to_owned(),
            });
            let values: Vec<ByteArray> = values.map(|value| ByteArray::from(value.into_bytes())).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    let value = bytes.windows(4).position(|window| window == b"t450").unwrap();
    bytes[value - 4..value].fill(0xff);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_broken_parquet_file_is_refused_or_leaves_an_incomplete_report() {
    let files = Files::new();
    let path = files.with("broken.parquet", "");
    broken_parquet(&path);
    let (output, report) = files.up(&path, &["--quiet"]);
    assert_eq!((output.status.code(), report.is_some()), (Some(2), false), "{}", said(&output));
    assert!(said(&output).contains("broken.parquet is no readable Parquet file"), "{}", said(&output));
    let (output, report) = files.up(&path, &["--unchecked"]);
    let (shown, report) = (String::from_utf8_lossy(&output.stdout).into_owned(), report.unwrap());
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("INCOMPLETE") && !shown.contains("CLEAN  "), "{shown}");
    assert!(shown.contains("broken.parquet is no readable Parquet file"), "{shown}");
    assert_eq!(report["clean"], false, "{report}");
    assert_eq!(counts(&report, ["sent", "decided", "lost"]), [300, 300, 0]);
}

#[test]
fn an_report_on_standard_output_leaves_what_is_there_before_it() {
    let files = Files::new();
    let path = files.with("output.txt", "before\n");
    let output = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    let run = ["up", "--cold", "--quiet", "--rate", "50", "--for", "1s"];
    let mut command = centinela(&run);
    command.args(["--endpoints", "/dev/stdout", "--summary", "/dev/stdout"]).stdout(output);
    let ended = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
    let text = std::fs::read_to_string(&path).unwrap();
    let written = text.strip_prefix("before\n").unwrap_or_else(|| panic!("{text}"));
    let values: Vec<Value> = serde_json::Deserializer::from_str(written).into_iter().map(Result::unwrap).collect();
    assert_eq!(values.len(), 2, "{text}");
    assert!(values[0]["kafka"].is_string() && values[1]["clean"] == true, "{text}");
}
