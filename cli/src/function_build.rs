//! Finds the functions' binaries beside the running executable and builds them with cargo when they are missing or older than
//! their sources.
//!
//! It builds in the workspace that this command was compiled in and into the same target directory, so everything that is
//! compiled already is used again. Where there is no such workspace, the binaries must be there.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use centinela_local::warden;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::terminal;

/// Makes sure that every binary is there and not older than its sources; returns their directory.
///
/// # Errors
/// When a binary is missing and cannot be built, the build fails, or `cancelled` fires.
pub async fn ensure(binaries: &[String], cancelled: &CancellationToken) -> Result<PathBuf, Failure> {
    let executable = std::env::current_exe().map_err(|error| Failure::failed(&error))?;
    let directory = executable.parent().map_or_else(PathBuf::new, Path::to_owned);
    let wanted: Vec<&String> = binaries.iter().filter(|name| needs_build(&directory, name).is_some()).collect();
    if wanted.is_empty() {
        return Ok(directory);
    }
    let missing: Vec<&String> = wanted.iter().copied().filter(|name| !directory.join(name).exists()).collect();
    let Some(workspace) = workspace() else {
        if missing.is_empty() {
            return Ok(directory);
        }
        return Err(Failure::Failed(format!(
            "function binary {} is missing, and there is no source to build it from; put it beside {}",
            missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            executable.display()
        )));
    };
    for name in &wanted {
        let why = needs_build(&directory, name).unwrap_or("missing");
        terminal::note(&format!("function `{name}` is {why}: building it with cargo"));
    }
    build(&workspace, &directory, &wanted, cancelled).await?;
    Ok(directory)
}

/// The workspace that this command was compiled in, if it is still there.
fn workspace() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    root.join("Cargo.toml").exists().then(|| root.to_owned())
}

/// Why a binary must be built; none when it is newer than everything that cargo built it from.
fn needs_build(directory: &Path, name: &str) -> Option<&'static str> {
    let Some(built_at) = modified(&directory.join(name)) else { return Some("missing") };
    // Cargo lists a binary's sources, those of the workspace's libraries included, in a file beside it.
    let sources = std::fs::read_to_string(directory.join(format!("{name}.d"))).ok()?;
    let (_, sources) = sources.split_once(": ")?;
    let is_newer = |path: &str| modified(Path::new(path)).is_none_or(|changed_at| changed_at > built_at);
    split_unescaped(sources.trim()).iter().any(|path| is_newer(path)).then_some("older than its sources")
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// The paths of a dependency file, in which a space inside a path is escaped.
fn split_unescaped(paths: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut letters = paths.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.next_if_eq(&' ').is_some() => found.last_mut().into_iter().for_each(|path| path.push(' ')),
            ' ' => found.push(String::new()),
            other => found.last_mut().into_iter().for_each(|path| path.push(other)),
        }
    }
    found.retain(|path| !path.is_empty());
    found
}

async fn build(
    workspace: &Path,
    directory: &Path,
    names: &[&String],
    cancelled: &CancellationToken,
) -> Result<(), Failure> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace).arg("build").stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(describes_this_package)) {
        command.env_remove(name);
    }
    // A directory of binaries has its profile's name; only that of `dev` has another.
    if let Some(profile) = directory.file_name().filter(|name| *name != "debug") {
        command.arg("--profile").arg(profile);
    }
    if let Some(target) = directory.parent() {
        command.arg("--target-dir").arg(target);
    }
    for name in names {
        command.arg("--bin").arg(name);
    }
    // A group of its own, so that an interrupt ends the compilers too and not only cargo.
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| {
        Failure::Failed(format!(
            "cargo cannot be started to build the functions: {error}; install Rust, or build them first"
        ))
    })?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let _ward = child.id().map(warden::guard_group);
    tokio::select! {
        status = child.wait() => match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::Failed(format!("cargo could not build the functions ({status})"))),
            Err(error) => Err(Failure::failed(&error)),
        },
        () = cancelled.cancelled() => {
            if let Some(group) = group && let Err(error) = killpg(group, Signal::SIGKILL) {
                tracing::debug!(%error, "the build had ended already");
            }
            drop(child.wait().await);
            Err(Failure::Interrupted)
        }
    }
}

/// Whether cargo set the variable to tell a program that it runs about the program's own package. A cargo that inherits them takes
/// them for a changed environment and compiles much again, this time and the next.
fn describes_this_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| variable.starts_with(prefix))
        || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"].contains(&variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_does_not_inherit_what_cargo_says_about_this_package_and_keeps_the_users_settings() {
        assert!(describes_this_package("CARGO_MANIFEST_DIR"));
        assert!(describes_this_package("CARGO_PKG_VERSION_MAJOR"));
        assert!(!describes_this_package("CARGO_TARGET_DIR"));
        assert!(!describes_this_package("CARGO_HOME"));
    }

    #[test]
    fn a_path_with_a_space_is_one_path() {
        assert_eq!(split_unescaped(r"/a/b\ c.rs /d.rs"), ["/a/b c.rs", "/d.rs"]);
    }
}
