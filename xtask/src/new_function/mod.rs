//! `cargo xtask new-function`: a function's package, stack, parameters and sample events, from the files in `xtask/templates`.
//!
//! A template is a tree like the repository's, about a function `example-name`. It writes new files only, adds parameters to
//! `infra/env/*.json`, and to the runbook what its alarms mean.

mod name;
mod parameters;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::args::{NewFunction, Source};
use crate::failure::Failure;
use crate::terminal;
use name::Name;

/// Parameters of a template's stack with their values, beside the tree.
const PARAMETERS: &str = "parameters.json";
/// What its alarms mean and what to do, beside the tree; they go to the end of the runbook.
const SECTIONS: &str = "runbook.md";
const RUNBOOK: &str = "docs/runbook.md";

/// Carries the command out.
pub fn run(arguments: &NewFunction) -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let name = Name::parse(&arguments.name).map_err(Failure::Usage)?;
    let written = create(&root, &name, arguments.source)?;
    for file in &written {
        terminal::print(&format!("{}\n", file.display()));
    }
    format(&root, &name)?;
    lock(&root)?;
    terminal::note(&format!(
        "function `{name}` stands; `cargo test --release --bin {name} --test events` tries it, and CONTRIBUTING.md says how it goes on"
    ));
    Ok(())
}

/// Writes everything; returns the files, from the root.
fn create(root: &Path, name: &Name, source: Source) -> Result<Vec<PathBuf>, Failure> {
    let template = root.join("xtask/templates").join(source.name());
    let mut files = Vec::new();
    collect(&template, Path::new(""), &mut files).map_err(failed(&template))?;
    refuse_taken(root, name)?;
    // Nothing is written before all of it fits.
    let mut changed = with_parameters(root, &template, name)?;
    changed.push(with_sections(root, &template, name)?);
    let mut written = Vec::new();
    for file in files.iter().filter(|file| ![PARAMETERS, SECTIONS].map(Path::new).contains(&file.as_path())) {
        let to = PathBuf::from(name.put_into(&file.to_string_lossy()));
        let text = fs::read_to_string(template.join(file)).map_err(failed(file))?;
        write(&root.join(&to), &name.put_into(&text)).map_err(failed(&to))?;
        written.push(to);
    }
    for (file, text) in changed {
        write(&root.join(&file), &text).map_err(failed(&file))?;
        written.push(file);
    }
    Ok(written)
}

/// The environments' parameter files with those of the new stack.
fn with_parameters(root: &Path, template: &Path, name: &Name) -> Result<Vec<(PathBuf, String)>, Failure> {
    let wanted = fs::read_to_string(template.join(PARAMETERS)).map_err(failed(Path::new(PARAMETERS)))?;
    let wanted = name.put_into(&wanted);
    let mut files = Vec::new();
    collect(&root.join("infra/env"), Path::new("infra/env"), &mut files).map_err(failed(root))?;
    let with = |file: PathBuf| {
        let before = fs::read_to_string(root.join(&file)).map_err(failed(&file))?;
        let after = parameters::added(&before, &wanted);
        after.map_err(|why| Failure::Failed(format!("{}: {why}", file.display()))).map(|after| (file, after))
    };
    files.into_iter().map(with).collect()
}

/// The runbook with the sections of the new alarms.
fn with_sections(root: &Path, template: &Path, name: &Name) -> Result<(PathBuf, String), Failure> {
    let sections = fs::read_to_string(template.join(SECTIONS)).map_err(failed(Path::new(SECTIONS)))?;
    let mut runbook = fs::read_to_string(root.join(RUNBOOK)).map_err(failed(Path::new(RUNBOOK)))?;
    runbook.push_str(&name.put_into(&sections));
    Ok((PathBuf::from(RUNBOOK), runbook))
}

/// A name is a package's, a stack's, a folder of events' and of a Kafka function its topic's: all must be free.
fn refuse_taken(root: &Path, name: &Name) -> Result<(), Failure> {
    let places = [format!("functions/{name}"), format!("infra/40-functions/{name}.yaml"), format!("events/{name}")];
    let taken: Vec<_> = places.iter().filter(|place| root.join(place).exists()).map(String::as_str).collect();
    if !taken.is_empty() {
        let taken = taken.join(", ");
        return Err(Failure::Usage(format!(
            "`{name}` exists already: choose another name, or delete {taken} first, with the function's parameters in infra/env/*.json, and run `cargo update --workspace`"
        )));
    }
    let mut files = Vec::new();
    collect(&root.join("infra"), Path::new("infra"), &mut files).map_err(failed(Path::new("infra")))?;
    for stack in files.iter().filter(|file| file.extension() == Some("yaml".as_ref())) {
        let text = fs::read_to_string(root.join(stack)).map_err(failed(stack))?;
        if text.lines().any(|line| line.trim() == format!("TopicName: {name}")) {
            let stack = stack.display();
            return Err(Failure::Usage(format!("`{name}` is the name of a topic of {stack}: choose another name")));
        }
    }
    let lock = fs::read_to_string(root.join("Cargo.lock")).map_err(failed(Path::new("Cargo.lock")))?;
    if lock.lines().any(|line| line == format!("name = \"{name}\"")) {
        return Err(Failure::Usage(format!(
            "`{name}` is the name of a package that is used here: choose another name"
        )));
    }
    Ok(())
}

/// Every file below a directory, named from there.
fn collect(directory: &Path, named: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let named = named.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &named, files)?;
        } else {
            files.push(named);
        }
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(file, text)
}

/// Lines break elsewhere with a longer name.
fn format(root: &Path, name: &Name) -> Result<(), Failure> {
    let main = root.join(format!("functions/{name}/src/main.rs"));
    succeed(Command::new("rustfmt").args(["--edition", "2024"]).arg(main), "rustfmt")
}

/// Brings the lock file up to date, without the network where everything is at hand.
fn lock(root: &Path) -> Result<(), Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let update = |more: &[&str]| {
        let mut command = Command::new(&cargo);
        command.current_dir(root).args(["update", "--workspace", "--quiet"]).args(more);
        succeed(&mut command, "cargo update --workspace")
    };
    update(&["--offline"]).or_else(|_| update(&[]))
}

fn succeed(command: &mut Command, what: &str) -> Result<(), Failure> {
    let output = command.output().map_err(|error| Failure::Failed(format!("{what} cannot be started: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::Failed(format!("{what} failed: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

fn failed(file: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::Failed(format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests;
