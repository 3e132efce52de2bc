//! The map in `ARCHITECTURE.md` is enforced here: who may import whom, and what may be linked at all.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use toml_edit::DocumentMut;

/// The layer of the packages in `functions/`.
const FUNCTIONS: &str = "functions/*";

/// Which of our crates each crate may depend on. A new edge belongs into `ARCHITECTURE.md` first.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("calendar", &[]),
    ("telemetry", &[]),
    ("verdict", &["domain"]),
    ("contracts", &["calendar", "domain"]),
    ("delivery", &["contracts", "domain"]),
    ("scoring", &["delivery", "contracts", "domain"]),
    ("profile", &["delivery", "contracts", "domain"]),
    ("labels", &["delivery", "contracts", "domain"]),
    ("lookup", &["delivery", "contracts", "domain"]),
    ("rollup", &["delivery", "contracts", "domain"]),
    ("lake", &["contracts", "calendar", "domain"]),
    ("api", &["delivery", "contracts", "domain"]),
    ("redrive", &["contracts", "domain"]),
    ("redrive-adapters", &["redrive", "lake", "object-store", "contracts", "domain", "kafka-access"]),
    ("inference", &["scoring", "domain"]),
    ("kafka-bootstrap", &[]),
    ("kafka-access", &["kafka-bootstrap"]),
    ("produce", &["kafka-access"]),
    (
        "adapters",
        &[
            "api",
            "scoring",
            "profile",
            "labels",
            "lookup",
            "rollup",
            "wire",
            "produce",
            "delivery",
            "contracts",
            "domain",
            "kafka-access",
        ],
    ),
    ("wire", &["contracts", "calendar"]),
    ("signed-http", &["wire", "domain"]),
    ("object-store", &["signed-http", "lake", "domain"]),
    ("brake", &["domain"]),
    ("plan", &[]),
    ("control", &["signed-http", "brake", "domain"]),
    ("traffic", &["contracts", "domain"]),
    ("infra", &[]),
    ("rollout", &["infra"]),
    ("rollout-adapters", &["rollout", "signed-http", "domain"]),
    ("serve", &[]),
    ("procfs", &[]),
    ("broker", &["serve"]),
    ("cloudwatch", &["calendar"]),
    ("kafka-client", &["kafka-access"]),
    ("aws", &["serve"]),
    ("lambda-host", &["kafka-client", "procfs", "serve", "calendar"]),
    ("http-front", &["lambda-host", "serve", "calendar"]),
    (
        "local",
        &[
            "aws",
            "broker",
            "cloudwatch",
            "http-front",
            "infra",
            "kafka-client",
            "lambda-host",
            "procfs",
            "serve",
            "calendar",
        ],
    ),
    ("testkit", &["scoring", "delivery", "verdict", "contracts", "domain"]),
    ("function", &["delivery", "contracts", "telemetry", "wire", "domain", "kafka-access"]),
    (
        FUNCTIONS,
        &[
            "function",
            "adapters",
            "api",
            "inference",
            "scoring",
            "profile",
            "labels",
            "lookup",
            "rollup",
            "lake",
            "object-store",
            "redrive",
            "redrive-adapters",
            "signed-http",
            "brake",
            "control",
            "delivery",
            "contracts",
            "telemetry",
            "domain",
            "kafka-access",
        ],
    ),
    ("audit", &["local", "verdict", "contracts", "domain"]),
    (
        "cli",
        &[
            "audit",
            "local",
            "infra",
            "traffic",
            "plan",
            "lake",
            "object-store",
            "redrive",
            "redrive-adapters",
            "contracts",
            "calendar",
            "domain",
        ],
    ),
    ("xtask", &["infra", "procfs", "rollout", "rollout-adapters"]),
    (
        "bench",
        &[
            "local",
            "procfs",
            "infra",
            "traffic",
            "adapters",
            "wire",
            "inference",
            "scoring",
            "delivery",
            "contracts",
            "domain",
        ],
    ),
    ("stock-rust", &[]),
    ("e2e", &["local", "infra", "verdict", "traffic", "lake", "object-store", "contracts", "domain", "testkit"]),
];

/// What only one layer may link: a crate's name, and the crates of ours that may name it.
const CONFINED: &[(&str, &[&str])] = &[
    ("tract-onnx", &["inference", "stock-rust"]),
    ("tract-onnx-opl", &["inference"]),
    ("lambda_runtime", &["function", "e2e", "stock-rust"]),
    ("kafka-protocol", &["broker"]),
    ("dynoxide-rs", &["aws"]),
    ("s3s", &["aws"]),
];

/// Layers that do no I/O: none of these may be named by their manifests.
const PURE: &[&str] = &[
    "domain",
    "calendar",
    "verdict",
    "contracts",
    "delivery",
    "scoring",
    "profile",
    "labels",
    "lookup",
    "rollup",
    "lake",
    "api",
    "redrive",
    "brake",
    "plan",
    "rollout",
    "traffic",
    "cloudwatch",
];
const IO: &[&str] = &["tokio", "rdkafka", "hyper", "aws-config", "aws-sdk-dynamodb", "aws-sdk-kinesis"];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The rules that `cargo deny` goes by too.
fn rules() -> DocumentMut {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deny.toml");
    std::fs::read_to_string(file).expect("deny.toml").parse().expect("deny.toml is TOML")
}

/// A list of `deny.toml`: texts, or the crates that its entries name.
fn listed(rules: &DocumentMut, table: &str, list: &str) -> Vec<String> {
    let items = rules[table][list].as_array().unwrap_or_else(|| panic!("deny.toml has no list {table}.{list}"));
    let named = items.iter().map(|item| item.as_inline_table().and_then(|entry| entry.get("crate")).unwrap_or(item));
    named.map(|name| name.as_str().expect("a text, or a table with a crate").to_owned()).collect()
}

/// What cargo knows; without the network where everything is at hand.
fn metadata(arguments: &[&str]) -> Value {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let run = |offline: &[&str]| {
        Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--manifest-path", manifest])
            .args(arguments)
            .args(offline)
            .output()
            .expect("cargo runs")
    };
    let output = Some(run(&["--offline"])).filter(|output| output.status.success()).unwrap_or_else(|| run(&[]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// The layer that a package of ours belongs to.
fn layer(name: &str, manifest: &str) -> Option<String> {
    if manifest.contains("/functions/") {
        return Some(FUNCTIONS.to_owned());
    }
    match name {
        "centinela" => Some("cli".to_owned()),
        _ => name.strip_prefix("centinela-").map(str::to_owned),
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[test]
fn no_crate_imports_against_the_map() {
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().expect("packages");
    let layers: BTreeMap<&str, String> = packages
        .iter()
        .filter_map(|package| {
            Some((text(package, "name"), layer(text(package, "name"), text(package, "manifest_path"))?))
        })
        .collect();
    let mut wrong = Vec::new();
    for package in packages {
        let name = text(package, "name");
        let from = &layers[name];
        let allowed = MAY_IMPORT.iter().find(|(layer, _)| layer == from).map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{name} is in no layer of the map"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let (to, for_tests) = (text(dependency, "name"), text(dependency, "kind") == "dev");
            if let Some(layer) = layers.get(to).filter(|_| !for_tests)
                && !allowed.contains(&layer.as_str())
            {
                wrong.push(format!("{name} ({from}) must not import {to} ({layer})"));
            }
            let confined = CONFINED.iter().find(|(confined, _)| *confined == to);
            if confined.is_some_and(|(_, may)| !may.contains(&from.as_str()) && !for_tests) {
                wrong.push(format!("{name} ({from}) must not link {to}"));
            }
            if PURE.contains(&from.as_str()) && !for_tests && IO.contains(&to) {
                wrong.push(format!("{name} ({from}) does no I/O and must not link {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_dependency_has_an_allowed_licence_and_comes_from_the_registry() {
    let (metadata, licences) = (metadata(&[]), listed(&rules(), "licenses", "allow"));
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let (name, source) = (text(package, "name"), text(package, "source"));
        if source.is_empty() {
            continue;
        }
        if source != CRATES_IO {
            wrong.push(format!("{name} comes from {source}"));
        }
        if !is_licensed(text(package, "license"), &licences) {
            wrong
                .push(format!("{name} has the licence `{}`, which deny.toml does not allow", text(package, "license")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Which crates do not take the workspace's lints, by which `unsafe` is forbidden.
const MAY_BE_UNSAFE: &[&str] = &["kafka-bootstrap"];

#[test]
fn unsafe_code_is_forbidden_where_it_is_not_a_crate_s_purpose() {
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().expect("packages");
    let manifests = packages.iter().map(|package| text(package, "manifest_path"));
    let inherits = |manifest: &&str| {
        let manifest = std::fs::read_to_string(manifest).expect("a manifest");
        let manifest: DocumentMut = manifest.parse().expect("a manifest is TOML");
        manifest.get("lints").and_then(|lints| lints.get("workspace")?.as_bool()) == Some(true)
    };
    let directory = |manifest: &str| manifest.rsplit('/').nth(1).unwrap_or_default().to_owned();
    let own: Vec<String> = manifests.filter(|manifest| !inherits(manifest)).map(directory).collect();
    assert_eq!(own, MAY_BE_UNSAFE, "crates with lints of their own");
}

#[test]
fn nothing_is_built_that_is_banned() {
    let built = features("normal,build,dev");
    assert!(!built.is_empty());
    let is_built = |banned: &String| built.keys().any(|package| package.split(' ').next() == Some(banned));
    let wrong: Vec<_> = listed(&rules(), "bans", "deny").into_iter().filter(is_built).collect();
    assert!(wrong.is_empty(), "banned by deny.toml: {wrong:?}");
}

/// Whether an expression can be satisfied with the licences: every part joined by AND has one of them as an alternative.
fn is_licensed(expression: &str, licences: &[String]) -> bool {
    let flat = expression.replace(['(', ')'], " ").replace('/', " OR ");
    let allows = |licence: &str| licences.iter().any(|allowed| *allowed == licence.trim().trim_end_matches('+'));
    !flat.trim().is_empty() && flat.split(" AND ").all(|part| part.split(" OR ").any(allows))
}

#[test]
fn a_licence_expression_needs_an_allowed_alternative_of_every_part() {
    let licences = ["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned);
    assert!(is_licensed("MIT OR GPL-3.0", &licences));
    assert!(is_licensed("(MIT OR Apache-2.0) AND Unicode-3.0", &licences));
    assert!(!is_licensed("MIT AND GPL-3.0", &licences));
    assert!(!is_licensed("", &licences));
}

#[test]
fn users_and_tests_share_every_compiled_dependency() {
    let (users, tests) = (features("normal,build"), features("normal,build,dev"));
    let twice: Vec<_> = users.iter().filter(|(package, used)| tests.get(*package) != Some(used)).collect();
    assert!(
        twice.is_empty(),
        "a test's dependency adds features, so cargo compiles twice (see tests/Cargo.toml): {twice:#?}"
    );
}

/// The features with which each dependency is compiled, where these kinds of dependencies count.
fn features(edges: &str) -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--locked", "--prefix", "none", "--format", "{p} {f}", "--edges", edges])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for line in String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.contains(" (/")) {
        let mut words = line.trim_end_matches(" (*)").splitn(3, ' ').map(str::to_owned);
        let package = words.by_ref().take(2).collect::<Vec<_>>().join(" ");
        found.entry(package).or_default().insert(words.next().unwrap_or_default());
    }
    found
}
