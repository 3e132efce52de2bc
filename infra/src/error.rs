//! Why the stacks could not be read. Every message names the file and, inside it, the resource and the property.

use std::path::PathBuf;

use thiserror::Error;

/// The stacks or an environment's parameters cannot be used.
#[derive(Debug, Error)]
pub enum InfraError {
    /// A file or directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why it was not.
        source: std::io::Error,
    },
    /// A directory has no stack at all.
    #[error("no *.yaml stack in {}: name the directory that holds the CloudFormation files", path.display())]
    NoStacks {
        /// The directory.
        path: PathBuf,
    },
    /// An environment has no parameter file.
    #[error("no environment \"{environment}\": there are parameters for {known}")]
    UnknownEnvironment {
        /// What was asked for.
        environment: String,
        /// What there is, separated by commas.
        known: String,
    },
    /// A stack is no YAML.
    #[error("{file}: {source}")]
    Yaml {
        /// The stack.
        file: String,
        /// Where and why.
        source: serde_yaml_ng::Error,
    },
    /// A parameter file is no object `{"Parameters": {"Name": "text"}}`.
    #[error("{file}: {source}; the file must hold {{\"Parameters\": {{\"Name\": \"text\"}}}}")]
    Environment {
        /// The parameter file.
        file: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A value inside a stack or a parameter file cannot be used.
    #[error("{site}: {problem}")]
    At {
        /// Where.
        site: Box<Site>,
        /// What is wrong there.
        problem: Problem,
    },
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
pub enum Problem {
    /// A function that this reader does not evaluate.
    #[error(
        "\"{0}\" is no intrinsic function that this platform evaluates; use Ref, Sub, GetAtt, FindInMap, If, ImportValue, Join, Select, Split, Base64 or GetAZs"
    )]
    UnknownIntrinsic(String),
    /// An intrinsic with the wrong number or kind of arguments.
    #[error("{intrinsic} takes {expected}")]
    Arguments {
        /// The function.
        intrinsic: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// A name that is neither parameter nor resource of the stack.
    #[error("\"{0}\" is neither a parameter nor a resource of this stack")]
    UnknownReference(String),
    /// A reference to a resource that its condition removes.
    #[error("\"{0}\" does not exist in this environment, its condition is false")]
    Absent(String),
    /// An attribute that this reader has no value for.
    #[error("{kind} has no attribute \"{attribute}\" that this platform knows")]
    UnknownAttribute {
        /// Type of the resource.
        kind: String,
        /// The attribute.
        attribute: String,
    },
    /// A condition that the stack does not declare.
    #[error("condition \"{0}\" is not declared")]
    UnknownCondition(String),
    /// A mapping entry that the stack does not declare.
    #[error("mapping entry {0} is not declared")]
    UnknownMappingEntry(String),
    /// An import that no stack exports.
    #[error("no stack exports \"{0}\"")]
    UnknownImport(String),
    /// An import from a stack that is deployed later.
    #[error(
        "\"{name}\" is exported by {exporter}, which is deployed after this stack; stacks are deployed in the order of their names"
    )]
    ImportFromLater {
        /// The export's name.
        name: String,
        /// The file that exports it.
        exporter: String,
    },
    /// Two stacks export the same name.
    #[error("\"{name}\" is exported by {other} too; export names are unique in an account")]
    DuplicateExport {
        /// The export's name.
        name: String,
        /// The other file.
        other: String,
    },
    /// References that lead back to themselves.
    #[error("references lead in a circle, or more than {0} deep")]
    Circular(u16),
    /// A dynamic reference other than to a secret.
    #[error("dynamic reference \"{0}\" is not understood; only {{{{resolve:secretsmanager:...}}}} is")]
    DynamicReference(String),
    /// A required property or section is missing.
    #[error("is missing; {0}")]
    Missing(&'static str),
    /// A value of the wrong type or form.
    #[error("must be {expected}, found {found}")]
    Mistyped {
        /// What belongs there.
        expected: &'static str,
        /// What stands there, shortened.
        found: String,
    },
    /// A value outside its range.
    #[error("is {value}, must be {limit}")]
    OutOfRange {
        /// What stands there.
        value: String,
        /// What may stand there.
        limit: String,
    },
    /// A parameter without a value.
    #[error("has no value: neither the environment's file nor the stack's default gives one")]
    NoValue,
    /// A parameter that no stack declares.
    #[error("is declared by no stack; remove it or correct its name")]
    UndeclaredParameter,
    /// Two resources of one kind with the same name.
    #[error("\"{name}\" is already the name of {other}")]
    DuplicateName {
        /// The name.
        name: String,
        /// The other resource.
        other: String,
    },
}
