//! A function of each source, written into a copy of what the command reads.

use std::collections::BTreeSet;

use centinela_infra::Infrastructure;
use serde_json::Value;

use super::*;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A copy of the stacks, the templates and the lock file.
fn copy() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut files = ["Cargo.lock", "rustfmt.toml", RUNBOOK].map(PathBuf::from).to_vec();
    for directory in ["infra/env", "infra/40-functions", "infra/calls", "xtask/templates"] {
        collect(&repository().join(directory), Path::new(directory), &mut files).unwrap();
    }
    let shared = fs::read_dir(repository().join("infra")).unwrap().map(|entry| entry.unwrap().file_name());
    files.extend(
        shared.map(|name| Path::new("infra").join(name)).filter(|file| file.extension() == Some("yaml".as_ref())),
    );
    for file in files {
        write(&copy.path().join(&file), &fs::read_to_string(repository().join(&file)).unwrap()).unwrap();
    }
    copy
}

fn loaded(root: &Path, environment: &str) -> Infrastructure {
    Infrastructure::load(&root.join("infra"), environment).unwrap_or_else(|error| panic!("{environment}: {error}"))
}

#[test]
fn a_function_of_each_source_keeps_every_rule_and_agrees_on_its_name() {
    let copy = copy();
    let root = copy.path();
    for source in Source::ALL {
        let name = Name::parse(&format!("try-{}", source.name())).unwrap();
        let written = create(root, &name, source).unwrap_or_else(|error| panic!("{name}: {error}"));
        for file in written {
            let text = fs::read_to_string(root.join(&file)).unwrap();
            assert!(!text.contains("example-name") && !text.contains("ExampleName"), "{} keeps a name", file.display());
            if file.extension() == Some("json".as_ref()) {
                serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            }
        }
        format(root, &name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(root.join(format!("functions/{name}/Cargo.toml")).is_file());
    }
    for environment in ["dev", "local", "prod", "stage"] {
        let stacks = loaded(root, environment);
        assert_eq!(stacks.findings(), Vec::new(), "{environment}");
        let functions: BTreeSet<_> = stacks.functions.iter().map(|function| function.binary.as_str()).collect();
        for name in ["try-kafka", "try-kinesis", "try-http", "try-schedule"] {
            assert!(functions.contains(name), "{name} is not among {functions:?}");
        }
    }
    let local = loaded(root, "local");
    let runbook = fs::read_to_string(root.join(RUNBOOK)).unwrap();
    let alarms = local.resources.iter().filter_map(|resource| resource.properties["AlarmName"].as_str());
    let untold: Vec<_> = alarms
        .filter_map(|alarm| alarm.strip_prefix("centinela-").filter(|short| short.starts_with("try-")))
        .filter(|short| !runbook.contains(&format!("\n### `{short}`\n")))
        .collect();
    assert!(untold.is_empty(), "the runbook has no section for {untold:?}");
    let mapping = local.mappings.iter().find(|mapping| mapping.function == "try-kafka").unwrap();
    assert_eq!((mapping.topic.as_str(), mapping.consumer_group.as_str()), ("try-kafka", "try-kafka"));
    let of_templates = local.triggers.iter().filter(|trigger| trigger.function.starts_with("try-"));
    let others: BTreeSet<_> = of_templates.map(ToString::to_string).collect();
    let said = ["mapping of Kinesis stream `decisions`", "route `POST /v1/try-http`", "schedule `rate(1 hour)`"];
    assert_eq!(others, said.map(str::to_owned).into());
}

#[test]
fn every_event_of_a_template_has_its_response() {
    for source in Source::ALL {
        let directory = repository().join("xtask/templates").join(source.name()).join("events/example-name");
        let mut files = Vec::new();
        collect(&directory, Path::new(""), &mut files).unwrap();
        let names = files.iter().map(|file| file.to_string_lossy().into_owned());
        let (responses, events): (BTreeSet<_>, BTreeSet<_>) = names.partition(|name| name.ends_with(".response.json"));
        let wanted = events.iter().map(|event| event.replace(".json", ".response.json")).collect();
        assert!(!events.is_empty() && responses == wanted, "{}: {events:?} and {responses:?}", source.name());
    }
}

#[test]
fn a_name_that_is_taken_is_refused_with_what_to_do() {
    let copy = copy();
    let refused = |name: &str| create(copy.path(), &Name::parse(name).unwrap(), Source::Http).unwrap_err().to_string();
    let problem = refused("score-transactions");
    assert!(problem.contains("delete infra/40-functions/score-transactions.yaml first"), "{problem}");
    assert!(refused("tokio-util").contains("is the name of a package"));
    assert!(refused("dead-letters").contains("is the name of a topic of infra/20-streaming.yaml"));
}

#[test]
fn nothing_is_written_when_a_parameter_is_left_from_before() {
    let copy = copy();
    let name = Name::parse("try-left-over").unwrap();
    create(copy.path(), &name, Source::Http).unwrap();
    for left in ["functions/try-left-over", "events/try-left-over"] {
        fs::remove_dir_all(copy.path().join(left)).unwrap();
    }
    fs::remove_file(copy.path().join("infra/40-functions/try-left-over.yaml")).unwrap();
    let problem = create(copy.path(), &name, Source::Http).unwrap_err().to_string();
    assert!(problem.contains("it has a parameter"), "{problem}");
    assert!(!copy.path().join("functions/try-left-over").exists());
}
