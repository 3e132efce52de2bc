//! Goal: the tests of the protocol, of profiles and of labels find bugs; each one in `tests/planted-bugs/bugs.yaml` breaks a rule.
//! Method: the sources know nothing of them. A copy is changed so that each bug stands beside the text that it replaces and takes
//! effect when a variable names it; the copy's tests are built once and the bug's is run once, the simulation to the first seed that fails.
//!
//! `CENTINELA_CASE=holds` runs only the bugs with `holds` in their names.

#![expect(clippy::print_stdout, reason = "the table of bugs is for whoever runs the tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use centinela_e2e::{cargo, workspace};
use serde::Deserialize;
use serde_json::Value;

/// Seeds within which a bug must be found.
const SEEDS_MAX: u64 = 4_000;
/// Seeds that the copy must pass while no bug is planted.
const SEEDS_SOUND: u64 = 100;
/// What the tests are made of.
const CRATES: [&str; 9] = [
    "shared/calendar",
    "shared/contracts",
    "shared/delivery",
    "shared/domain",
    "shared/labels",
    "shared/profile",
    "shared/scoring",
    "shared/testkit",
    "shared/verdict",
];
/// The test that goes by seeds; a bug that names none is for this one.
const SIMULATION: &str = "simulation";
/// The others: of what is remembered of a user's decisions, of merging facts and labels, and of the two functions that they make.
const TESTS: [&str; 5] = [SIMULATION, "ledger", "merging", "tracking", "labelling"];
/// Where [`PLANTED`] goes.
const DOMAIN: &str = "shared/domain/src/lib.rs";
/// What the copy has and the sources do not.
const PLANTED: &str = r#"
/// Whether this run has the bug.
pub fn planted(name: &str) -> bool {
    static PLANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("CENTINELA_PLANTED").ok()).as_deref() == Some(name)
}
"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bug {
    name: String,
    about: String,
    file: PathBuf,
    find: String,
    with: String,
    #[serde(default)]
    statement: bool,
    #[serde(default = "simulation")]
    test: String,
}

fn simulation() -> String {
    SIMULATION.to_owned()
}

impl Bug {
    fn find(&self) -> String {
        unindented(&self.find).trim().to_owned()
    }

    /// What `find` is replaced by.
    fn choice(&self) -> String {
        let planted =
            if self.file.starts_with("shared/domain") { "crate::planted" } else { "centinela_domain::planted" };
        let choice = format!("if {planted}({:?}) {{ {} }} else {{ {} }}", self.name, self.with.trim(), self.find());
        if self.statement { choice } else { format!("({choice})") }
    }
}

/// A failed run.
struct Found {
    /// None of a test that goes by no seeds.
    seed: Option<u64>,
    /// What was not as it should be.
    said: String,
}

/// Files by their path from the root.
type Sources = BTreeMap<PathBuf, Vec<u8>>;

/// Text in which indentation does not count; line numbers stay.
fn unindented(text: &str) -> String {
    text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("a directory's entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Those crates as a workspace of their own, with the versions and the profile of ours.
fn sources() -> Sources {
    let root = workspace();
    let paths = CRATES.iter().flat_map(|directory| files(&root.join(directory)));
    let mut sources: Sources = paths
        .chain([root.join("Cargo.lock"), root.join("Cargo.toml")])
        .map(|path| (path.strip_prefix(&root).expect("below the root").to_owned(), fs::read(&path).expect("a source")))
        .collect();
    change(&mut sources, "Cargo.toml", |manifest| {
        let (_, rest) = manifest.split_once("[workspace.package]").expect("a workspace's manifest");
        // The parentheses around what is planted, and what only one branch uses.
        let rest = rest.replace("[workspace.lints.rust]", "[workspace.lints.rust]\nunused = \"allow\"");
        format!("[workspace]\nresolver = \"3\"\nmembers = {CRATES:?}\n\n[workspace.package]{rest}")
    });
    change(&mut sources, DOMAIN, |text| text + PLANTED);
    sources
}

fn change(sources: &mut Sources, path: impl AsRef<Path>, change: impl FnOnce(String) -> String) {
    let content = sources.get_mut(path.as_ref()).expect("a source that is there");
    let text = String::from_utf8(std::mem::take(content)).expect("a source is text");
    *content = change(text).into_bytes();
}

/// Plants all bugs; returns what is wrong with them.
fn plant(bugs: &[Bug], sources: &mut Sources) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in bugs.iter().map(|bug| &bug.file).collect::<BTreeSet<_>>() {
        if !sources.contains_key(file) {
            wrong.push(format!("{} is no file of {CRATES:?}", file.display()));
            continue;
        }
        let mut here: Vec<&Bug> = bugs.iter().filter(|bug| bug.file == *file).collect();
        // A text may lie within that of another bug, in both of whose branches it is then replaced.
        here.sort_by_key(|bug| std::cmp::Reverse(bug.find().len()));
        change(sources, file, |text| {
            let original = unindented(&text);
            here.iter().fold(original.clone(), |changed, bug| {
                let (name, find) = (&bug.name, bug.find());
                match original.matches(&find).count() {
                    1 if changed.contains(&find) => {}
                    1 => wrong.push(format!("{name}: `find` overlaps that of another bug in {}", file.display())),
                    count => wrong.push(format!("{name}: `find` occurs {count} times in {}, not once", file.display())),
                }
                changed.replace(&find, &bug.choice())
            })
        });
    }
    wrong
}

/// Writes only what differs, so that cargo compiles only what must be.
fn write(root: &Path, sources: &Sources) {
    fs::create_dir_all(root.join("shared")).expect("a directory");
    for path in files(&root.join("shared")) {
        if !sources.contains_key(path.strip_prefix(root).expect("below the root")) {
            fs::remove_file(path).expect("a file of an earlier run");
        }
    }
    for (path, content) in sources {
        let path = root.join(path);
        if !fs::read(&path).is_ok_and(|written| written == *content) {
            fs::create_dir_all(path.parent().expect("a file has a directory")).expect("a directory");
            fs::write(&path, content).expect("a file");
        }
    }
}

/// Builds the copy's tests, without the network where everything is at hand; returns the executables by name.
fn built(root: &Path) -> BTreeMap<String, PathBuf> {
    let run = |network: &[&str]| {
        cargo()
            .current_dir(root)
            .args(["test", "--release", "--no-run", "--workspace"])
            .args(TESTS.map(|test| format!("--test={test}")))
            .args(["--message-format", "json-render-diagnostics", "--target-dir", "target"])
            .args(network)
            .output()
            .expect("cargo can be started")
    };
    let output = Some(run(&["--offline"])).filter(|output| output.status.success()).unwrap_or_else(|| run(&[]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).expect("cargo prints text");
    let executables: BTreeMap<String, PathBuf> = messages
        .lines()
        .filter_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let executable = message["executable"].as_str().map(PathBuf::from)?;
            Some((message["target"]["name"].as_str()?.to_owned(), executable))
        })
        .collect();
    assert!(TESTS.iter().all(|test| executables.contains_key(*test)), "cargo names every executable: {executables:?}");
    executables
}

/// Runs a test with one bug, or with none for the empty name. Returns what it printed when it failed.
fn failure(test: &Path, planted: &str, seeds: u64) -> Option<String> {
    let output = Command::new(test)
        .env("CENTINELA_PLANTED", planted)
        .env("CENTINELA_SEEDS", seeds.to_string())
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .expect("the simulation can be started");
    let printed = [output.stdout, output.stderr].concat();
    (!output.status.success()).then(|| String::from_utf8_lossy(&printed).into_owned())
}

/// Seeds until a bug is found, or why it is not.
fn found(tests: &BTreeMap<String, PathBuf>, bug: &Bug) -> Result<Found, String> {
    let test = tests.get(&bug.test).ok_or(format!("there is no test `{}` among {TESTS:?}", bug.test))?;
    let missed = match &*bug.test {
        SIMULATION => format!("not found in {SEEDS_MAX} seeds"),
        test => format!("not found by `{test}`"),
    };
    let printed = failure(test, &bug.name, SEEDS_MAX).ok_or(missed)?;
    if bug.test != SIMULATION {
        let failed = printed.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
        let said = failed.ok_or(format!("failed without naming a test: {printed}"))?.replace('_', " ");
        return Ok(Found { seed: None, said });
    }
    let (_, panic) = printed.split_once("panicked at ").unwrap_or(("", &printed));
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let seed = panic.split_once("seed ").and_then(|(_, text)| digits(text).parse().ok());
    let seed = seed.ok_or(format!("failed without naming a seed: {panic}"))?;
    Ok(Found { seed: Some(seed), said: said(panic) })
}

/// The names of the findings that are not as they should be; of another panic its first words.
fn said(panic: &str) -> String {
    let line = |start| panic.lines().find_map(|line| line.trim_start().strip_prefix(start));
    let figures = line("right: Findings { ").unwrap_or_default().trim_end_matches(" }").split(", ");
    let found = line("left: Findings { ").unwrap_or_default();
    let wrong: Vec<&str> =
        figures.filter(|figure| !found.contains(figure)).filter_map(|figure| figure.split(':').next()).collect();
    if wrong.is_empty() { panic.lines().nth(1).unwrap_or(panic).chars().take(60).collect() } else { wrong.join(", ") }
}

fn table(rows: &[[String; 5]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = widths.map(|width| "-".repeat(width));
    rows[..1].iter().chain([&rule]).chain(&rows[1..]).map(line).collect()
}

#[test]
fn the_tests_find_every_planted_bug() {
    let specification = fs::read(workspace().join("tests/planted-bugs/bugs.yaml")).expect("the bugs");
    let bugs: Vec<Bug> = serde_yaml_ng::from_slice(&specification).expect("bugs in the form that the file describes");
    let names: BTreeSet<&str> = bugs.iter().map(|bug| bug.name.as_str()).collect();
    assert_eq!(names.len(), bugs.len(), "bugs of one name");
    let mut sources = sources();
    let wrong = plant(&bugs, &mut sources);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted-bugs");
    write(&root, &sources);
    let tests = built(&root);
    for (name, test) in &tests {
        let unsound = failure(test, "", SEEDS_SOUND);
        assert!(unsound.is_none(), "the copy's {name} fails without a bug: {}", unsound.unwrap_or_default());
    }

    let case = std::env::var("CENTINELA_CASE").unwrap_or_default();
    let wanted: Vec<&Bug> = bugs.iter().filter(|bug| bug.name.contains(&case)).collect();
    assert!(!wanted.is_empty(), "no bug has `{case}` in its name");
    let queue = Mutex::new(wanted.iter());
    let next = || queue.lock().expect("a queue that no panic left").next();
    let work = || std::iter::from_fn(next).map(|bug| (&bug.name, found(&tests, bug))).collect::<Vec<_>>();
    let results: BTreeMap<&String, Result<Found, String>> = thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker that ends")).collect()
    });

    let mut rows = vec![["bug", "rule it breaks", "found at seed", "seeds", "what it found"].map(str::to_owned)];
    let mut missed = Vec::new();
    for bug in wanted {
        let [seed, seeds, said] = match &results[&bug.name] {
            Ok(Found { seed: Some(seed), said }) => [seed.to_string(), (seed + 1).to_string(), said.clone()],
            Ok(Found { seed: None, said }) => ["-".to_owned(), "-".to_owned(), said.clone()],
            Err(why) => {
                missed.push(format!("{}: {why}", bug.name));
                ["-", "-", "not found"].map(str::to_owned)
            }
        };
        rows.push([bug.name.clone(), bug.about.clone(), seed, seeds, said]);
    }
    let table = table(&rows);
    println!("{table}");
    fs::write(root.join("table.md"), table).expect("a file");
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
