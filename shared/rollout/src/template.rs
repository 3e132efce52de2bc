//! What a deploy must know of a template that the reader of stacks does not say: which parameters it declares, what it keeps, and
//! whether it makes roles.

use serde_yaml_ng::Value;

use crate::deployment::DeploymentError;

/// A template, as far as a deploy reads it.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// Names of the declared parameters with their defaults.
    pub parameters: Vec<(String, Option<String>)>,
    /// Every resource.
    pub resources: Vec<Declared>,
}

/// A resource of a template.
#[derive(Debug)]
pub(crate) struct Declared {
    pub logical_id: String,
    pub kind: String,
    /// Whether it outlives its stack.
    pub is_kept: bool,
    /// Property `Name`, where it is a plain text.
    pub name: Option<String>,
}

impl Outline {
    pub(crate) fn of(file: &str, text: &str) -> Result<Self, DeploymentError> {
        let unreadable = |why: String| DeploymentError::Template { file: file.to_owned(), why };
        let template: Value = serde_yaml_ng::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        let parameters = entries(template.get("Parameters"))
            .map(|(name, declared)| (name, declared.get("Default").and_then(scalar)))
            .collect();
        let mut resources = Vec::new();
        for (logical_id, declared) in entries(template.get("Resources")) {
            let kind = declared.get("Type").and_then(Value::as_str);
            let kind = kind.ok_or_else(|| unreadable(format!("{logical_id} has no Type")))?.to_owned();
            let policy = declared.get("DeletionPolicy").and_then(Value::as_str).unwrap_or_default();
            let is_kept = policy.starts_with("Retain");
            let name = declared.get("Properties").and_then(|properties| properties.get("Name"));
            let name = name.and_then(Value::as_str).map(str::to_owned);
            resources.push(Declared { logical_id, kind, is_kept, name });
        }
        Ok(Self { parameters, resources })
    }

    /// Whether somebody must acknowledge that it makes roles.
    pub(crate) fn makes_roles(&self) -> bool {
        self.resources.iter().any(|resource| resource.kind.starts_with("AWS::IAM::"))
    }
}

fn entries(section: Option<&Value>) -> impl Iterator<Item = (String, &Value)> {
    let mapping = section.and_then(Value::as_mapping).into_iter().flatten();
    mapping.filter_map(|(name, value)| Some((name.as_str()?.to_owned(), value)))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_says_what_it_takes_keeps_and_makes() {
        let text = "
Parameters:
  NamePrefix: {Type: String, Default: ''}
  Days: {Type: Number, Default: 7}
  Wanted: {Type: String}
Resources:
  Table: {Type: AWS::DynamoDB::Table, DeletionPolicy: RetainExceptOnCreate}
  Role: {Type: AWS::IAM::Role}
  Live: {Type: AWS::Lambda::Alias, Properties: {Name: live, FunctionName: !Ref Role}}
";
        let outline = Outline::of("a.yaml", text).expect("a template");
        let parameters: Vec<_> =
            outline.parameters.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert_eq!(parameters, [("NamePrefix", Some("")), ("Days", Some("7")), ("Wanted", None)]);
        let kept: Vec<_> = outline.resources.iter().filter(|resource| resource.is_kept).collect();
        assert_eq!(kept.iter().map(|kept| kept.logical_id.as_str()).collect::<Vec<_>>(), ["Table"]);
        assert!(outline.makes_roles());
        assert_eq!(outline.resources[2].name.as_deref(), Some("live"));
        assert!(Outline::of("a.yaml", "Resources: {A: {}}").is_err());
    }
}
