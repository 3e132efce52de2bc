//! How a command ends when it does not end well: one line for a person, one exit code for a script.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request cannot be carried out as given: flags, files, ports. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Something that was tried did not work. Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// The work was done and its account is not clean; the account says why. Exit code 1.
    #[error("the account is not clean: {0}")]
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

/// An error and its sources, joined by colons; a source that its parent already quotes is not repeated.
pub fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.contains(&text) {
            // Writing to a string cannot fail.
            let _infallible = write!(line, ": {text}");
        }
        source = cause.source();
    }
    line.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn every_cause_stands_in_the_one_line() {
        let error = Outer(std::io::Error::other("inner\nmore"));
        assert_eq!(one_line(&error), "outer: inner more");
    }
}
