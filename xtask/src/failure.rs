//! How a command ends when it does not end well.

use std::process::ExitCode;

/// Why.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request cannot be carried out. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Something that was tried did not work. Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// Everything was measured, and an account was not clean. Exit code 1.
    #[error("not clean: {0}")]
    NotClean(String),
    /// Ctrl-C. Exit code 130, as a shell gives it.
    #[error("{0}")]
    Interrupted(String),
}

impl Failure {
    /// The exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => 2,
            Self::Failed(_) | Self::NotClean(_) => 1,
            Self::Interrupted(_) => 130,
        })
    }
}
