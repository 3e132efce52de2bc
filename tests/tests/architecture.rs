//! The map in `ARCHITECTURE.md` is enforced here: who may import whom, and what may be linked at all.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Which of our crates each crate may depend on. A new edge belongs into `ARCHITECTURE.md` first.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("telemetry", &[]),
    ("contracts", &["domain"]),
    ("delivery", &["contracts", "domain"]),
    ("scoring", &["delivery", "contracts", "domain"]),
    ("inference", &["scoring", "domain"]),
    ("adapters", &["scoring", "delivery", "contracts", "domain"]),
    ("traffic", &["contracts", "domain"]),
    ("infra", &[]),
    ("broker", &[]),
    ("local", &["broker", "infra", "contracts"]),
    ("testkit", &["scoring", "delivery", "contracts", "domain"]),
    ("function", &["adapters", "inference", "scoring", "delivery", "contracts", "telemetry", "domain"]),
    ("cli", &["local", "infra", "traffic", "adapters", "inference", "scoring", "contracts", "telemetry", "domain"]),
    ("xtask", &[]),
    ("e2e", &["local", "infra", "traffic", "contracts", "domain", "testkit"]),
];

/// What only one layer may link: a crate's name, and the crates of ours that may name it.
const CONFINED: &[(&str, &[&str])] = &[
    ("tract-onnx", &["inference"]),
    ("tract-onnx-opl", &["inference"]),
    ("lambda_runtime", &["function", "e2e"]),
    ("kafka-protocol", &["broker"]),
    ("dynoxide-rs", &["local"]),
    ("s3s", &["local"]),
];

/// Layers that do no I/O: none of these may be named by their manifests.
const PURE: &[&str] = &["domain", "contracts", "delivery", "scoring", "traffic"];
const IO: &[&str] = &["tokio", "rdkafka", "hyper", "aws-config", "aws-sdk-dynamodb", "aws-sdk-kinesis"];

const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "CC0-1.0",
    "Unicode-3.0",
    "Unlicense",
    "MPL-2.0",
    "MPL-2.0+",
    "BSL-1.0",
    "OpenSSL",
    "CDLA-Permissive-2.0",
    "MIT-0",
    "bzip2-1.0.6",
];

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
        return Some("function".to_owned());
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
fn every_dependency_has_a_known_licence_and_comes_from_the_registry() {
    let metadata = metadata(&[]);
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let (name, source) = (text(package, "name"), text(package, "source"));
        if source.is_empty() {
            continue;
        }
        if !source.starts_with("registry+") {
            wrong.push(format!("{name} comes from {source}"));
        }
        if !licence_is_known(text(package, "license")) {
            wrong.push(format!("{name} has the licence `{}`", text(package, "license")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether an expression can be satisfied with known licences: every part joined by AND has a known alternative.
fn licence_is_known(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], " ").replace('/', " OR ");
    !flat.trim().is_empty()
        && flat.split(" AND ").all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn a_licence_expression_needs_a_known_alternative_of_every_part() {
    assert!(licence_is_known("MIT OR GPL-3.0"));
    assert!(licence_is_known("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(!licence_is_known("MIT AND GPL-3.0"));
    assert!(!licence_is_known(""));
}
