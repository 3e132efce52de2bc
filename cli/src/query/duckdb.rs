//! DuckDB, as a program: the pinned one of the user's cache, or one on the PATH. Linked in, it would be hundreds of C++ files to compile
//! with every fresh build.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use clap::ValueEnum;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use centinela_local::warden;

/// What is installed: DuckDB's own package of its command line, pinned by hash.
const PINNED: &str = include_str!("../../tools/duckdb.txt");
/// The file in the environment that says what was installed.
const MARKER: &str = "installed";
/// Most bytes that are read of what DuckDB has to complain about.
const COMPLAINT_BYTES_MAX: u64 = 64 * 1024;
/// Most letters of it that are shown.
const SHOWN_MAX: usize = 600;

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// Comma-separated values, with a header.
    Csv,
    /// An array of objects.
    Json,
}

impl Format {
    fn flag(self) -> &'static str {
        match self {
            Self::Table => "-table",
            Self::Csv => "-csv",
            Self::Json => "-json",
        }
    }
}

/// The program.
///
/// # Errors
/// When there is none, with what to do about it.
pub(super) fn find() -> Result<PathBuf, Failure> {
    if let Some(pinned) = installed() {
        return Ok(pinned);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join("duckdb")).find(|file| file.is_file());
    found.ok_or_else(|| {
        Failure::Usage(
            "there is no DuckDB to answer with; `centinela query --install-duckdb` puts it into your cache (22 MB from PyPI, pinned by \
             hash; needs python3 with venv), or put a `duckdb` of version 1.2 or later on the PATH"
                .to_owned(),
        )
    })
}

/// The pinned program, if it is there.
fn installed() -> Option<PathBuf> {
    let environment = environment();
    let marker = std::fs::read(environment.join(MARKER)).ok()?;
    program(&environment).filter(|_| marker == PINNED.as_bytes())
}

/// Installs the pinned program into the user's cache, unless it is there.
///
/// # Errors
/// When there is no Python, or the package cannot be had or is not what is pinned.
pub(super) async fn install(interrupted: &CancellationToken) -> Result<PathBuf, Failure> {
    if let Some(pinned) = installed() {
        return Ok(pinned);
    }
    let environment = environment();
    let failed = |error: std::io::Error| Failure::Failed(format!("{} cannot be used: {error}", environment.display()));
    if environment.exists() {
        std::fs::remove_dir_all(&environment).map_err(failed)?;
    }
    std::fs::create_dir_all(&environment).map_err(failed)?;
    let pins = environment.join("requirements.txt");
    std::fs::write(&pins, PINNED).map_err(failed)?;
    let venv = environment.join("venv");
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&venv);
    let no_python = "python3 with venv is needed (Debian: apt install python3-venv)";
    step(make, interrupted).await.map_err(|failure| explained(failure, no_python))?;
    let mut pip = Command::new(venv.join("bin/pip"));
    pip.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]);
    pip.arg("-r").arg(&pins);
    step(pip, interrupted).await.map_err(|failure| explained(failure, "PyPI must be reachable"))?;
    std::fs::write(environment.join(MARKER), PINNED).map_err(failed)?;
    find()
}

fn explained(failure: Failure, advice: &str) -> Failure {
    match failure {
        Failure::Failed(reason) => Failure::Failed(format!("DuckDB was not installed: {advice}; {reason}")),
        other => other,
    }
}

async fn step(mut command: Command, interrupted: &CancellationToken) -> Result<(), Failure> {
    command.stdout(Stdio::null());
    let (status, complaint) = run(command, interrupted).await?;
    if status.success() { Ok(()) } else { Err(Failure::Failed(complaint)) }
}

/// Runs a script and lets the rows go to standard output.
///
/// # Errors
/// What DuckDB says, or that somebody interrupted.
pub(super) async fn answer(
    program: &Path,
    script: &Path,
    format: Format,
    interrupted: &CancellationToken,
) -> Result<(), Failure> {
    let mut command = Command::new(program);
    command.args(["-init", "/dev/null", "-batch", "-bail", "-nullvalue", "", format.flag(), "-f"]).arg(script);
    let (status, complaint) = run(command, interrupted).await?;
    // Who reads the rows had enough of them, such as `head`.
    let is_enough = std::os::unix::process::ExitStatusExt::signal(&status) == Some(Signal::SIGPIPE as i32);
    if status.success() || is_enough {
        return Ok(());
    }
    let reason = if complaint.is_empty() { status.to_string() } else { complaint };
    Err(Failure::Failed(format!("DuckDB did not answer: {reason}")))
}

/// Runs a program to its end; returns how it ended and what it complained about.
async fn run(mut command: Command, interrupted: &CancellationToken) -> Result<(ExitStatus, String), Failure> {
    // A group of its own: an interrupt is ours to pass on, and ends what the program started too.
    command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|error| Failure::Failed(format!("{name} cannot be started: {error}")))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let _ward = child.id().map(warden::guard_group);
    let ended = tokio::select! {
        ended = to_its_end(&mut child) => Some(ended),
        () = interrupted.cancelled() => None,
    };
    if let Some(ended) = ended {
        return ended.map_err(|error| Failure::failed(&error));
    }
    if let Some(group) = group
        && let Err(error) = killpg(group, Signal::SIGKILL)
    {
        tracing::debug!(%error, "it had ended already");
    }
    drop(child.wait().await);
    Err(Failure::Interrupted)
}

async fn to_its_end(child: &mut Child) -> std::io::Result<(ExitStatus, String)> {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let mut stderr = stderr.take(COMPLAINT_BYTES_MAX);
        stderr.read_to_end(&mut said).await?;
        // What is beyond must go somewhere, or the program waits for us.
        tokio::io::copy(&mut stderr.into_inner(), &mut tokio::io::sink()).await?;
    }
    Ok((child.wait().await?, complaint(&String::from_utf8_lossy(&said))))
}

/// One line of what was said, without the marks below a line of SQL.
fn complaint(said: &str) -> String {
    let lines = said.lines().map(str::trim).filter(|line| !line.trim_matches('^').is_empty());
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with("-- Loading")).collect();
    let mut line = lines.join("; ");
    if let Some((cut, _)) = line.char_indices().nth(SHOWN_MAX) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

/// Where the pinned program is kept.
fn environment() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let base = base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("centinela/duckdb")
}

/// The program itself; what stands in `bin` only starts it, from Python.
fn program(environment: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(environment.join("venv/lib")).ok()?;
    let programs = versions.flatten().map(|version| version.path().join("site-packages/duckdb_cli/duckdb"));
    programs.into_iter().find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_one_line_without_marks() {
        let said = "Binder Error: no column \"zzz\"!\n\nLINE 2:  zzz from v;\n         ^\n";
        assert_eq!(complaint(said), "Binder Error: no column \"zzz\"!; LINE 2:  zzz from v;");
        assert_eq!(complaint(&"ä".repeat(1000)).chars().count(), SHOWN_MAX + 1);
    }

    #[test]
    fn what_is_installed_is_pinned_by_hash() {
        let packages = PINNED.lines().filter(|line| line.contains("=="));
        assert_eq!(packages.count(), 1);
        assert!(PINNED.contains("--hash=sha256:"));
    }
}
