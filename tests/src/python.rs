//! Python with pinned packages, in the user's cache and never in the checkout.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why there is no such Python; a test prints it and does nothing more.
#[derive(Debug, thiserror::Error)]
pub enum NoPython {
    /// No interpreter.
    #[error("skipped: there is no python3 with venv; install python3 and python3-venv")]
    Interpreter,
    /// The packages are not to be had.
    #[error("skipped: the packages of {requirements} cannot be installed; PyPI must be reachable: {reason}")]
    Packages {
        /// The file that pins them.
        requirements: String,
        /// What pip said last.
        reason: String,
    },
    /// The cache cannot be used.
    #[error("skipped: {directory} cannot be used as a cache: {source}")]
    Cache {
        /// The directory.
        directory: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

/// The directory with the executables of a virtual environment that holds exactly the packages of a requirements file. It is made
/// once and anew when the file changes.
///
/// # Errors
/// When there is no Python or no network, in words for whoever runs the tests.
pub fn environment(name: &str, requirements: &Path) -> Result<PathBuf, NoPython> {
    let wanted = std::fs::read(requirements).map_err(|source| cache_error(requirements, source))?;
    let directory = cache().join(name);
    let marker = directory.join("installed.txt");
    if std::fs::read(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(directory.join("bin"));
    }
    if directory.exists() {
        std::fs::remove_dir_all(&directory).map_err(|source| cache_error(&directory, source))?;
    }
    let made = Command::new("python3").args(["-m", "venv"]).arg(&directory).stdout(Stdio::null()).status();
    if !made.is_ok_and(|status| status.success()) {
        return Err(NoPython::Interpreter);
    }
    let pip = Command::new(directory.join("bin/pip"))
        .args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "--no-deps",
            "--only-binary",
            ":all:",
            "-r",
        ])
        .arg(requirements)
        .output()
        .map_err(|source| cache_error(&directory, source))?;
    if !pip.status.success() {
        let said = String::from_utf8_lossy(&pip.stderr);
        let reason = said.lines().last().unwrap_or("pip said nothing").to_owned();
        return Err(NoPython::Packages { requirements: requirements.display().to_string(), reason });
    }
    std::fs::write(&marker, wanted).map_err(|source| cache_error(&marker, source))?;
    Ok(directory.join("bin"))
}

/// Where what is fetched for tests is kept.
#[must_use]
pub fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("centinela")
}

fn cache_error(path: &Path, source: std::io::Error) -> NoPython {
    NoPython::Cache { directory: path.display().to_string(), source }
}
