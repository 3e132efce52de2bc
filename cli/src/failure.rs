//! How a command ends when it does not end well: one line for a person, one exit code for a script.

use std::error::Error;
use std::process::ExitCode;

use centinela_audit::errors::one_line;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request cannot be carried out as given: flags, files, ports. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Something that was tried did not work. Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// The work was done and its report is not clean; the report says why. Exit code 1.
    #[error("the run is not clean: {0}")]
    NotClean(String),
    /// A person stopped it before it began. Exit code 130, as a shell reports an interrupt.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// A usage failure with everything that the error and its sources say, in one line.
    pub fn usage(error: &dyn Error) -> Self {
        Self::Usage(one_line(error))
    }

    /// A failure with everything that the error and its sources say, in one line.
    pub fn failed(error: &dyn Error) -> Self {
        Self::Failed(one_line(error))
    }

    /// The exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => 2,
            Self::Failed(_) | Self::NotClean(_) => 1,
            Self::Interrupted => 130,
        })
    }
}
