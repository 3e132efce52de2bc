//! Builds what is measured, and runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::failure::Failure;

/// The function that is measured.
pub const FUNCTION: &str = "score-transactions";
/// What is built: the command, which is the first, and that function.
const BINARIES: [&str; 2] = ["centinela", FUNCTION];

/// A workspace with what was built from it.
pub struct Built {
    /// The checkout.
    pub workspace: PathBuf,
    directory: PathBuf,
}

/// How a run of `centinela up` ended.
pub struct Ended {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// The account, if it wrote one.
    pub account: Option<Value>,
    /// The last thing that it said.
    pub said: String,
}

impl Built {
    /// Builds the command and the functions beside this program.
    ///
    /// # Errors
    /// When cargo fails.
    pub fn build() -> Result<Self, Failure> {
        let failed = |what: &str| Failure::Failed(format!("{what} cannot be found"));
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or_else(|| failed("the workspace"))?;
        let executable = std::env::current_exe().map_err(|error| Failure::Failed(error.to_string()))?;
        let directory = executable.parent().ok_or_else(|| failed("the directory of this program"))?;
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(workspace).args(["build", "--release"]).stdin(Stdio::null()).stdout(Stdio::null());
        if let Some(target) = directory.parent() {
            command.arg("--target-dir").arg(target);
        }
        for binary in BINARIES {
            command.args(["--bin", binary]);
        }
        // What cargo says about this package would look to another cargo like a changed environment, and compile much again.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(describes_this_package)) {
            command.env_remove(name);
        }
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(status) => {
                return Err(Failure::Failed(format!("cargo could not build {} ({status})", BINARIES.join(" and "))));
            }
            Err(error) => return Err(Failure::Failed(format!("cargo cannot be started: {error}"))),
        }
        Ok(Self { workspace: workspace.to_owned(), directory: directory.to_owned() })
    }

    /// The command, ready for arguments.
    pub fn centinela(&self) -> Command {
        let mut command = Command::new(self.directory.join(BINARIES[0]));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// What `centinela up --help` says.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn up_help(&self) -> Result<String, Failure> {
        let output = self.centinela().args(["up", "--help"]).stdout(Stdio::piped()).output();
        let output = output.map_err(|error| Failure::Failed(format!("centinela cannot be started: {error}")))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `centinela up` to its end.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn up(&self, arguments: &[String]) -> Result<Ended, Failure> {
        let failed = |error: std::io::Error| Failure::Failed(format!("centinela cannot be run: {error}"));
        let files = tempfile::tempdir().map_err(failed)?;
        let summary = files.path().join("report.json");
        let mut command = self.centinela();
        command.args(["up", "--quiet"]).args(arguments).arg("--summary").arg(&summary);
        let output = command.stderr(Stdio::piped()).output().map_err(failed)?;
        let account = std::fs::read(&summary).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
        Ok(Ended { code: output.status.code(), account, said })
    }
}

fn describes_this_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| variable.starts_with(prefix))
        || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"].contains(&variable)
}

/// A command line as a person would type it.
pub fn command_line(arguments: &[String]) -> String {
    format!("cargo run --release -- up {}", arguments.join(" "))
}
