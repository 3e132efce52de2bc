//! Goal: what `infra/calls/` says of each function is what the function calls, no more and no less, because the rules over the stacks let
//! each role allow just that.
//! Method: the whole system runs, with traffic and with what happens rarely (lost answers, an outage, dead letters, the brake, erasures),
//! while the stand-ins note every call by function.
//!
//! `CENTINELA_WRITE_GOLDEN=1` writes the files anew; then `cargo test --release --test infra_reader` says which roles differ.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use centinela_e2e::command::{centinela, reported};
use centinela_e2e::{built, workspace};
use centinela_infra::Infrastructure;
use tempfile::TempDir;

use world::World;

type Calls = BTreeMap<String, BTreeSet<String>>;

/// A run as a person starts it: customers, actions, labels, and the lake at its end.
fn ordinary_run(functions: &[&str]) -> Calls {
    let _directory = built(&[&["centinela"][..], functions].concat());
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("calls.json");
    let mut command = centinela(&["up", "--quiet", "--rate", "300", "--for", "10s", "--seed", "7", "--calls"]);
    let (output, report) = reported(command.arg(&file));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = report.expect("it reports");
    assert!(report["records"]["blocked"].as_u64() > Some(0), "nobody was blocked: {}", report["records"]);
    let calls: BTreeMap<String, BTreeSet<String>> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert!(calls["score-transactions"].contains("dynamodb:PartiQLUpdate table/user_state"), "{calls:?}");
    calls
}

fn file_of(function: &str) -> PathBuf {
    workspace().join("infra/calls").join(format!("{function}.txt"))
}

fn known(function: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file_of(function)).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_calls_what_is_recorded_of_it_and_nothing_else() {
    let stacks = Infrastructure::bundled("local").unwrap();
    let functions: Vec<&str> = stacks.functions.iter().map(|function| function.name.as_str()).collect();
    let mut calls = tokio::task::block_in_place(|| ordinary_run(&functions));
    for (function, more) in World::rare_things(&functions).await {
        calls.entry(function).or_default().extend(more);
    }
    if std::env::var_os("CENTINELA_WRITE_GOLDEN").is_some() {
        for (function, lines) in &calls {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            std::fs::write(file_of(function), text).unwrap();
        }
    }
    let mut differences = String::new();
    for function in functions {
        let (called, known) = (&calls[function], known(function));
        let unknown: Vec<_> = called.difference(&known).collect();
        let gone: Vec<_> = known.difference(called).collect();
        if !unknown.is_empty() || !gone.is_empty() {
            differences += &format!("{function} also calls {unknown:?}, and does not call {gone:?}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}CENTINELA_WRITE_GOLDEN=1 writes infra/calls anew");
    // Whatever was called is known by name: no stand-in met a request that it has no word for.
    let odd: Vec<&String> =
        calls.values().flatten().filter(|call| call.contains('?') || call.contains(":Other")).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn a_function_that_nobody_runs_would_be_seen() {
    let stacks = Infrastructure::bundled("local").unwrap();
    let files = std::fs::read_dir(workspace().join("infra/calls")).unwrap();
    let recorded: BTreeSet<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let declared: BTreeSet<String> = stacks.functions.iter().map(|function| function.binary.clone()).collect();
    assert_eq!(recorded, declared, "infra/calls has a file for each function of the stacks");
}
