//! The functions' code for arm64, built by `infra/bundle`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::terminal;

/// What builds and checks them.
const SCRIPT: &str = "infra/bundle";
/// The profile that is deployed.
const SHIP: &str = "[profile.ship]";
/// How a line begins with which the script says that this machine cannot build for arm64. The gate goes on then; a deploy cannot.
const SKIPPED: &str = "skipped:";

/// Builds the bundles of packages; returns the directory that has `PACKAGE/bootstrap.zip`.
///
/// # Errors
/// They cannot be built here, and why.
pub fn build(root: &Path, packages: &[String]) -> Result<PathBuf, Failure> {
    let failed = |what: String| Failure::Failed(format!("the functions are not built: {what}; nothing was changed"));
    let mut command = Command::new(root.join(SCRIPT));
    // What is deployed is optimised further than what is tested, where the workspace says how.
    let workspace = std::fs::read_to_string(root.join("Cargo.toml")).unwrap_or_default();
    if workspace.contains(SHIP) {
        command.args(["--profile", "ship"]);
    }
    command.args(packages).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut script = command.spawn().map_err(|error| failed(format!("{SCRIPT} cannot be run: {error}")))?;
    let mut skipped = None;
    if let Some(output) = script.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.map_err(|error| failed(error.to_string()))?;
            terminal::note(&line);
            if let Some(why) = line.strip_prefix(SKIPPED) {
                skipped = Some(why.trim().to_owned());
            }
        }
    }
    let status = script.wait().map_err(|error| failed(error.to_string()))?;
    match skipped {
        Some(why) => Err(failed(why)),
        None if status.success() => Ok(directory(root)),
        None => Err(failed(format!("{SCRIPT} failed ({status})"))),
    }
}

/// Where the script puts them. A relative directory is below the checkout, where the script runs.
fn directory(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root.join(target).join("lambda")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn built(script: &str) -> Result<PathBuf, Failure> {
        let root = tempfile::tempdir().expect("a directory");
        let file = root.path().join(SCRIPT);
        std::fs::create_dir_all(root.path().join("infra")).expect("a directory");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("a script");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("executable");
        build(root.path(), &["echo-events".to_owned()])
    }

    #[test]
    fn a_machine_that_skips_the_build_does_not_deploy_what_an_earlier_one_left() {
        let why = built("echo 'skipped: there is no cmake'").expect_err("nothing was built").to_string();
        assert!(why.contains("there is no cmake") && why.contains("nothing was changed"), "{why}");
        assert!(built("exit 1").expect_err("it failed").to_string().contains("infra/bundle failed"));
        let directory = built("test \"$1\" = echo-events").expect("it was built");
        assert!(directory.ends_with("lambda"));
    }
}
