//! Goal: a defect in the stacks does not pass the gate. Method: each of `table.rs` is planted alone, and the gate must say what is wrong:
//! the reader or a rule of this crate, in this process, or cfn-lint, in one process for all of them.
//!
//! The table of what was found by which step is printed. `CENTINELA_CASE=lake` plants only the defects with `lake` in their words.
//! cfn-lint comes from `infra/tools`; where it cannot be had, `CENTINELA_SKIP_LINT=1` leaves its defects out, and says so.

#![expect(clippy::print_stdout, reason = "the table of defects is for whoever runs the tests")]

mod plant;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use centinela_infra::{Infrastructure, Sources};
use plant::Change;
use serde::Deserialize;
use tempfile::TempDir;

/// So many must be planted, whatever is added or taken away.
const DEFECTS_MIN: usize = 60;
/// Of these, so many were found to pass an earlier gate.
const PASSED_BEFORE: usize = 19;
/// Skips what only cfn-lint finds.
const SKIP_LINT: &str = "CENTINELA_SKIP_LINT";

struct Defect {
    about: String,
    /// Whether it passed before.
    has_passed: bool,
    changes: Vec<Change>,
    /// The rule, `read` with a word of the refusal, or `lint` with the beginning of its rule's name.
    expected: String,
}

fn defects() -> Vec<Defect> {
    let lines = table::DEFECTS.trim().lines();
    let read = lines.map(|line| {
        let columns: Vec<&str> = line.split(" | ").collect();
        let [about, changes, expected] = columns.as_slice() else { panic!("three columns: {line}") };
        Defect {
            about: about.trim_start_matches("* ").to_owned(),
            has_passed: about.starts_with('*'),
            changes: changes.split("&&").map(Change::parse).collect(),
            expected: (*expected).trim().to_owned(),
        }
    });
    let wanted = std::env::var("CENTINELA_CASE").unwrap_or_default();
    read.filter(|defect| defect.about.contains(&wanted)).collect()
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn sources() -> Sources {
    Sources::from_directory(&directory(), "prod").expect("the stacks are there")
}

/// What the reader and the rules say; the first is the step, with whether it is what was expected.
fn judged(sources: &Sources, expected: &str) -> Result<(String, bool), String> {
    match Infrastructure::from_sources(sources) {
        Err(refusal) => {
            let word = expected.strip_prefix("read ");
            let is_meant = word.is_some_and(|word| refusal.to_string().contains(word));
            Ok((format!("reader: {refusal}"), is_meant))
        }
        Ok(infrastructure) => {
            let findings = infrastructure.findings();
            let names = |rule: &str| {
                let words = rule.split(|letter: char| !letter.is_ascii_alphanumeric());
                words.filter(|word| *word == expected).count() > 0
            };
            let meant = findings.iter().find(|finding| names(&format!("{:?}", finding.rule)));
            match (meant, findings.first()) {
                (Some(finding), _) => Ok((format!("rule {expected}: {finding}"), true)),
                (None, Some(other)) => Ok((format!("another rule: {other}"), false)),
                (None, None) => Err("nothing".to_owned()),
            }
        }
    }
}

#[test]
fn no_defect_passes() {
    let defects = defects();
    let is_whole = std::env::var_os("CENTINELA_CASE").is_none();
    let passed_before = defects.iter().filter(|defect| defect.has_passed).count();
    assert!(!is_whole || defects.len() >= DEFECTS_MIN, "{} defects, at least {DEFECTS_MIN}", defects.len());
    assert!(!is_whole || passed_before >= PASSED_BEFORE, "{passed_before} that passed before, {PASSED_BEFORE} did");
    let variants = TempDir::new().expect("a directory");
    let (mut rows, mut wrong, mut linted) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (number, defect) in defects.iter().enumerate() {
        let mut planted = sources();
        let touched: Vec<String> = defect.changes.iter().filter_map(|change| change.plant(&mut planted)).collect();
        if let Some(expected) = defect.expected.strip_prefix("lint ") {
            let stack = planted.stacks.iter().find(|(file, _)| Some(file) == touched.first()).expect("a stack");
            let variant = format!("{number:03}");
            std::fs::write(variants.path().join(format!("{variant}.yaml")), &stack.1).expect("it can be written");
            linted.insert(variant, (defect, expected.to_owned()));
            continue;
        }
        match judged(&planted, &defect.expected) {
            Ok((step, true)) => rows.push((defect, step)),
            Ok((step, false)) => wrong.push(format!("{}: expected {}, found by {step}", defect.about, defect.expected)),
            Err(_) => wrong.push(format!("{}: PASSED", defect.about)),
        }
    }
    let skipped = lint(&variants, &linted, &mut rows, &mut wrong);
    let first_words = |step: &str| step.chars().take(110).collect::<String>();
    for (defect, step) in &rows {
        println!("{:<64} {}", defect.about, first_words(step));
    }
    println!("{} defects found, {} not, {skipped} not looked for", rows.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[derive(Deserialize)]
struct Linted {
    variant: String,
    found: Vec<String>,
}

/// Plants in files what only cfn-lint can see, beside the stacks as they are, in which it must see nothing. Says how many were left out.
fn lint<'a>(
    variants: &TempDir,
    linted: &BTreeMap<String, (&'a Defect, String)>,
    rows: &mut Vec<(&'a Defect, String)>,
    wrong: &mut Vec<String>,
) -> usize {
    if linted.is_empty() {
        return 0;
    }
    for (defect, _) in linted.values() {
        for change in &defect.changes {
            let mut planted = sources();
            let Some(file) = change.plant(&mut planted) else { continue };
            // As it is, but written as the planted ones are: what this finds is no defect's.
            let (_, text) = sources().stacks.into_iter().find(|(name, _)| *name == file).expect("a stack");
            let stack: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).expect("YAML");
            let sound =
                variants.path().join(format!("sound-{}.yaml", file.replace('/', "-").trim_end_matches(".yaml")));
            std::fs::write(sound, serde_yaml_ng::to_string(&stack).expect("YAML")).expect("it can be written");
        }
    }
    let tools = Command::new(directory().join("tools/install")).arg("check").output().expect("bash is there");
    if !tools.status.success() {
        let why = String::from_utf8_lossy(&tools.stderr).trim().to_owned();
        if std::env::var_os(SKIP_LINT).is_some() {
            println!(
                "NOT LOOKED FOR: {} defects that only cfn-lint finds, because {SKIP_LINT} is set: {why}",
                linted.len()
            );
            return linted.len();
        }
        wrong
            .push(format!("cfn-lint cannot be had: {why}; install Python 3, or set {SKIP_LINT}=1 to go on without it"));
        return 0;
    }
    let python = Path::new(String::from_utf8_lossy(&tools.stdout).trim()).join("python3");
    let output = Command::new(python).arg(directory().join("tools/lint_variants.py")).arg(variants.path()).output();
    let output = output.expect("python can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let answers: BTreeMap<String, Vec<String>> = said
        .lines()
        .map(|line| serde_json::from_str::<Linted>(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .map(|linted| (linted.variant, linted.found))
        .collect();
    for (variant, found) in answers.iter().filter(|(variant, found)| variant.starts_with("sound-") && !found.is_empty())
    {
        wrong.push(format!("{variant} has no defect, and cfn-lint finds {found:?}"));
    }
    for (variant, (defect, expected)) in linted {
        let found = answers.get(variant).map(Vec::as_slice).unwrap_or_default();
        match found.iter().find(|rule| rule.starts_with(expected.as_str())) {
            Some(rule) => rows.push((*defect, format!("cfn-lint {rule}"))),
            None => wrong.push(format!("{}: expected cfn-lint {expected}, it finds {found:?}", defect.about)),
        }
    }
    0
}
