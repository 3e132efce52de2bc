//! End-to-end tests. What several of them need to start: real binaries, the command, a fixture function, clients in Python.

pub mod command;
pub mod fixture;
pub mod hosted;
pub mod http;
pub mod promtool;
pub mod python;
pub mod real_servers;
pub mod running;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory with the binaries of this build, the one that the running test belongs to.
///
/// # Panics
/// When the test runs outside a cargo target directory.
#[must_use]
pub fn binaries() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let directory = test.parent().and_then(Path::parent).expect("tests are in target/PROFILE/deps");
    directory.to_owned()
}

/// Builds binaries of the workspace, which takes a moment when they are up to date, and returns their directory.
///
/// `cargo test` itself builds only the binaries of the packages that it tests from outside.
///
/// # Panics
/// When cargo fails; the compiler's words are on standard error.
#[must_use]
pub fn built(names: &[&str]) -> PathBuf {
    let directory = binaries();
    let mut cargo = cargo();
    cargo
        .arg("build")
        .arg("--target-dir")
        .arg(directory.parent().expect("a profile's directory is in a target directory"));
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    for name in names {
        cargo.args(["--bin", name]);
    }
    let status = cargo.status().expect("cargo can be started");
    assert!(status.success(), "cargo could not build {names:?}: {status}");
    directory
}

/// Cargo in the workspace, without what the cargo that runs this test says about the test's own package: build scripts would take
/// it for a changed environment and compile again.
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    without_package_variables(&mut cargo);
    cargo
}

/// Removes the variables that describe the test's own package from a command that may start cargo.
pub fn without_package_variables(command: &mut Command) {
    let describes_a_package = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix))
            || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"].contains(&name)
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(describes_a_package) {
            command.env_remove(name);
        }
    }
}

/// The root of the repository.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned()
}
