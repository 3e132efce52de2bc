//! `docs/runbook.md` has a section for every alarm of every environment, and for nothing else.

use std::collections::{BTreeMap, BTreeSet};

use centinela_infra::Infrastructure;
use centinela_local::cloudwatch::Alarm;

const ENVIRONMENTS: [&str; 4] = ["local", "dev", "stage", "prod"];
/// Words of a section that says nothing.
const WORDS_MIN: usize = 6;

/// The names of the alarms, without prefix and without what they have in common.
fn alarms() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for environment in ENVIRONMENTS {
        let stacks = Infrastructure::bundled(environment).expect("the stacks are in order");
        for resource in &stacks.resources {
            let alarm = Alarm::read(&resource.kind, &resource.logical_id, &resource.properties);
            let Some(alarm) = alarm.expect("it can be evaluated") else { continue };
            let short = alarm.name().split_once("centinela-").map(|(_, short)| short.to_owned());
            names.insert(short.unwrap_or_else(|| panic!("{} is not named as the others are", alarm.name())));
        }
    }
    names
}

/// What stands behind `**Means:**` and `**Do:**` of each section.
fn sections() -> BTreeMap<String, [String; 2]> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/runbook.md");
    let text = std::fs::read_to_string(file).expect("the runbook");
    let mut sections = BTreeMap::new();
    for section in text.split("\n### `").skip(1) {
        let (name, rest) = section.split_once("`\n").expect("a heading is the name of an alarm");
        let rest = rest.split("\n## ").next().unwrap_or_default();
        let (means, action) = rest.split_once("**Do:**").unwrap_or_else(|| panic!("{name} does not say what to do"));
        let means =
            means.trim().strip_prefix("**Means:**").unwrap_or_else(|| panic!("{name} does not say what it means"));
        let twice = sections.insert(name.to_owned(), [means.trim().to_owned(), action.trim().to_owned()]);
        assert!(twice.is_none(), "{name} has two sections");
    }
    sections
}

#[test]
fn every_alarm_has_a_section_and_every_section_an_alarm() {
    let (alarms, sections) = (alarms(), sections());
    assert!(alarms.len() > 40, "only {} alarms", alarms.len());
    let missing: Vec<_> = alarms.iter().filter(|alarm| !sections.contains_key(*alarm)).collect();
    let left_over: Vec<_> = sections.keys().filter(|name| !alarms.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/runbook.md has no section for {missing:?}");
    assert!(left_over.is_empty(), "docs/runbook.md has sections for alarms that are gone: {left_over:?}");
}

#[test]
fn every_section_says_something_and_names_only_alarms_that_are_there() {
    let sections = sections();
    for (name, parts) in &sections {
        for part in parts {
            assert!(part.split_whitespace().count() >= WORDS_MIN, "{name}: {part}");
        }
        // A name in backticks with a hyphen that begins like an alarm of a function is one.
        let named = parts.iter().flat_map(|part| part.split('`').skip(1).step_by(2));
        for alarm in named.filter(|word| ends_like_an_alarm(word)) {
            assert!(sections.contains_key(alarm), "{name} sends its reader to {alarm}, which is not there");
        }
    }
}

fn ends_like_an_alarm(word: &str) -> bool {
    let endings = ["-fails", "-throttled", "-dropped", "-unreadable", "-given-up", "-near-cap", "-behind", "-silent"];
    !word.contains(' ') && endings.iter().any(|ending| word.ends_with(ending))
}
