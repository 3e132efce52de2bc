//! Why the stacks could not be read. Every message names the file and, inside it, the resource and the property.

use std::path::PathBuf;

use thiserror::Error;

/// The stacks or an environment's parameters cannot be used.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum InfraError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("no *.yaml stack in {}: name the directory that holds the CloudFormation files", path.display())]
    NoStacks { path: PathBuf },
    #[error("no environment \"{environment}\": there are parameters for {known}")]
    UnknownEnvironment { environment: String, known: String },
    #[error("{file}: {source}")]
    Yaml { file: String, source: serde_yaml_ng::Error },
    #[error("{file}: {source}; the file must hold {{\"Parameters\": {{\"Name\": \"text\"}}}}")]
    Environment { file: String, source: serde_json::Error },
    #[error("{site}: {problem}")]
    At { site: Box<Site>, problem: Problem },
}

/// A place inside a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// File name.
    pub file: String,
    /// Logical id, or the section when the place belongs to no resource.
    pub resource: String,
    /// Path of the property; empty for the resource itself.
    pub property: String,
}

impl Site {
    /// A place in a file.
    #[must_use]
    pub fn new(file: &str, resource: &str, property: &str) -> Self {
        Self { file: file.to_owned(), resource: resource.to_owned(), property: property.to_owned() }
    }

    /// The place one step further down.
    pub(super) fn child(&self, step: impl std::fmt::Display) -> Self {
        let property = if self.property.is_empty() { step.to_string() } else { format!("{}.{step}", self.property) };
        Self { property, ..self.clone() }
    }

    /// The error that something is wrong here.
    pub(super) fn error(&self, problem: Problem) -> InfraError {
        InfraError::At { site: Box::new(self.clone()), problem }
    }
}

impl std::fmt::Display for Site {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.file, self.resource)?;
        if self.property.is_empty() { Ok(()) } else { write!(formatter, ".{}", self.property) }
    }
}

/// What is wrong at a place.
#[derive(Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum Problem {
    #[error(
        "\"{0}\" is not an intrinsic function that this platform evaluates; use Ref, Sub, GetAtt, FindInMap, If, ImportValue, Join, Select, Split, Base64 or GetAZs"
    )]
    UnknownIntrinsic(String),
    #[error("{intrinsic} takes {expected}")]
    Arguments { intrinsic: &'static str, expected: &'static str },
    #[error("\"{0}\" is neither a parameter nor a resource of this stack")]
    UnknownReference(String),
    #[error("\"{0}\" does not exist in this environment, its condition is false")]
    Absent(String),
    #[error("{kind} has no attribute \"{attribute}\" that this platform knows")]
    UnknownAttribute { kind: String, attribute: String },
    #[error("condition \"{0}\" is not declared")]
    UnknownCondition(String),
    #[error("mapping entry {0} is not declared")]
    UnknownMappingEntry(String),
    #[error("no stack exports \"{0}\"")]
    UnknownImport(String),
    #[error(
        "\"{name}\" is exported by {exporter}, which is deployed after this stack; stacks are deployed in the order of their names"
    )]
    ImportFromLater { name: String, exporter: String },
    #[error("\"{name}\" is exported by {other} too; export names are unique in an account")]
    DuplicateExport { name: String, other: String },
    #[error("references lead in a circle, or more than {0} deep")]
    Circular(u16),
    #[error("dynamic reference \"{0}\" is not understood; only {{{{resolve:secretsmanager:...}}}} is")]
    DynamicReference(String),
    #[error("is missing; {0}")]
    Missing(&'static str),
    #[error("must be {expected}, found {found}")]
    Mistyped { expected: &'static str, found: String },
    #[error("is {value}, must be {limit}")]
    OutOfRange { value: String, limit: String },
    #[error("has no value: neither the environment's file nor the stack's default gives one")]
    NoValue,
    #[error("is declared by no stack; remove it or correct its name")]
    UndeclaredParameter,
    #[error("\"{name}\" is already the name of {other}")]
    DuplicateName { name: String, other: String },
}
