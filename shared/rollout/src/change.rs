//! One change of a change set, as a person reads it, and whether it could lose data.

use std::fmt;

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Add,
    /// It is changed, or replaced.
    Modify,
    /// It leaves the stack.
    Remove,
    /// It exists, and the stack takes it over.
    Import,
    /// CloudFormation will know only when it comes to it.
    Dynamic,
}

/// Whether a change makes a new resource in place of the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// It stays.
    Never,
    /// CloudFormation will know only when it comes to it.
    Maybe,
    /// It is made anew.
    Always,
}

/// A change of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What is done.
    pub action: Action,
    /// Logical id in the template.
    pub logical_id: String,
    /// CloudFormation type.
    pub kind: String,
    /// Name or id in the account, where it has one already.
    pub physical_id: Option<String>,
    /// Whether it is made anew.
    pub replacement: Replacement,
    /// Properties that change, such as `Properties.MemorySize`.
    pub properties: Vec<String>,
}

/// Types whose resources hold what nobody can make again.
const HOLDS_DATA: [&str; 8] = [
    "AWS::DynamoDB::GlobalTable",
    "AWS::DynamoDB::Table",
    "AWS::KMS::Key",
    "AWS::Kinesis::Stream",
    "AWS::MSK::Cluster",
    "AWS::MSK::Topic",
    "AWS::S3::Bucket",
    "AWS::SecretsManager::Secret",
];

/// Whether resources of a type hold what nobody can make again.
pub(crate) fn holds_data(kind: &str) -> bool {
    HOLDS_DATA.contains(&kind)
}

impl Change {
    /// Whether data could be out of reach afterwards: even a resource that is retained is, for the functions that get an empty one.
    #[must_use]
    pub fn loses_data(&self) -> bool {
        let goes = match self.action {
            Action::Remove => true,
            Action::Modify | Action::Dynamic => self.replacement != Replacement::Never,
            Action::Add | Action::Import => false,
        };
        goes && holds_data(&self.kind)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (self.action, self.replacement) {
            (Action::Add, _) => "+ make",
            (Action::Remove, _) => "- remove",
            (Action::Import, _) => "= take over",
            (Action::Modify | Action::Dynamic, Replacement::Always) => "! make anew",
            (Action::Modify | Action::Dynamic, Replacement::Maybe) => "? change, perhaps make anew",
            (Action::Modify | Action::Dynamic, Replacement::Never) => "~ change",
        };
        write!(formatter, "{sign} {} ({})", self.logical_id, self.kind)?;
        if let Some(physical_id) = &self.physical_id {
            write!(formatter, " {physical_id}")?;
        }
        if !self.properties.is_empty() {
            write!(formatter, ": {}", self.properties.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(action: Action, kind: &str, replacement: Replacement) -> Change {
        let (logical_id, kind) = ("UserTable".to_owned(), kind.to_owned());
        Change { action, logical_id, kind, physical_id: None, replacement, properties: vec!["KeySchema".to_owned()] }
    }

    #[test]
    fn only_what_takes_data_away_asks_for_its_name() {
        let table = "AWS::DynamoDB::Table";
        assert!(change(Action::Remove, table, Replacement::Never).loses_data());
        assert!(change(Action::Modify, table, Replacement::Always).loses_data());
        assert!(change(Action::Modify, table, Replacement::Maybe).loses_data());
        assert!(!change(Action::Modify, table, Replacement::Never).loses_data());
        assert!(!change(Action::Add, table, Replacement::Never).loses_data());
        assert!(!change(Action::Import, table, Replacement::Never).loses_data());
        assert!(!change(Action::Remove, "AWS::CloudWatch::Alarm", Replacement::Never).loses_data());
    }

    #[test]
    fn a_change_says_what_is_done_to_what() {
        let text = change(Action::Modify, "AWS::DynamoDB::Table", Replacement::Always).to_string();
        assert_eq!(text, "! make anew UserTable (AWS::DynamoDB::Table): KeySchema");
    }
}
