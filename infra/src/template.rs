//! One stack as it is written: YAML with CloudFormation's short tags, turned into the long form that the evaluator reads.

use serde_json::{Map, Number, Value};
use serde_yaml_ng::Value as Yaml;

use super::error::{InfraError, Problem, Site};

/// A parsed stack. Sections that are absent are empty.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) file: String,
    pub(super) parameters: Map<String, Value>,
    pub(super) mappings: Map<String, Value>,
    pub(super) conditions: Map<String, Value>,
    pub(super) resources: Map<String, Value>,
    pub(super) outputs: Map<String, Value>,
}

/// A resource as it is written.
pub(super) struct Declaration<'a> {
    pub(super) kind: &'a str,
    pub(super) body: &'a Map<String, Value>,
}

impl Template {
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, InfraError> {
        let yaml: Yaml =
            serde_yaml_ng::from_str(text).map_err(|source| InfraError::Yaml { file: file.to_owned(), source })?;
        let top = Site::new(file, "template", "");
        let Value::Object(mut sections) = long_form(yaml, &top)? else {
            return Err(top.error(Problem::Mistyped { expected: "a map of sections", found: "something else".into() }));
        };
        if sections.contains_key("Transform") {
            return Err(top.child("Transform").error(Problem::Mistyped {
                expected: "absent: what is read here must be what is deployed",
                found: "a transform".into(),
            }));
        }
        let mut section = |name: &str| match sections.remove(name) {
            None => Ok(Map::new()),
            Some(Value::Object(entries)) => Ok(entries),
            Some(other) => Err(top.child(name).error(mistyped("a map", &other))),
        };
        let template = Self {
            file: file.to_owned(),
            parameters: section("Parameters")?,
            mappings: section("Mappings")?,
            conditions: section("Conditions")?,
            resources: section("Resources")?,
            outputs: section("Outputs")?,
        };
        if template.resources.is_empty() {
            return Err(top.child("Resources").error(Problem::Missing("a stack needs at least one resource")));
        }
        Ok(template)
    }

    /// The declaration of a resource with its type.
    pub(super) fn resource(&self, logical_id: &str) -> Result<Option<Declaration<'_>>, InfraError> {
        let Some(declaration) = self.resources.get(logical_id) else {
            return Ok(None);
        };
        let site = Site::new(&self.file, logical_id, "");
        let body = declaration.as_object().ok_or_else(|| site.error(mistyped("a map", declaration)))?;
        let kind = body.get("Type").and_then(Value::as_str);
        let kind = kind.ok_or_else(|| site.child("Type").error(Problem::Missing("every resource has one")))?;
        Ok(Some(Declaration { kind, body }))
    }
}

/// The problem that a value has another type than it must.
pub(super) fn mistyped(expected: &'static str, found: &Value) -> Problem {
    let mut text = found.to_string();
    if let Some((cut, _)) = text.char_indices().nth(80) {
        text.truncate(cut);
        text.push('…');
    }
    Problem::Mistyped { expected, found: text }
}

fn long_form(yaml: Yaml, site: &Site) -> Result<Value, InfraError> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => Value::Bool(flag),
        Yaml::Number(number) => number_form(&number, site)?,
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(items) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| long_form(item, &site.child(index)))
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let key = match key {
                    Yaml::String(key) => key,
                    Yaml::Number(key) => key.to_string(),
                    other => {
                        let found = format!("{other:?}");
                        return Err(site.error(Problem::Mistyped { expected: "a text as key", found }));
                    }
                };
                let value = long_form(value, &site.child(&key))?;
                object.insert(key, value);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tagged) => {
            let name = tagged.tag.to_string();
            let name = name.trim_start_matches('!').to_owned();
            let argument = long_form(tagged.value, site)?;
            let (name, argument) = match (name.as_str(), argument) {
                ("Ref" | "Condition", argument) => (name, argument),
                // `!GetAtt A.B.C` is `[A, "B.C"]`.
                ("GetAtt", Value::String(path)) => match path.split_once('.') {
                    Some((resource, attribute)) => ("Fn::GetAtt".into(), Value::from(vec![resource, attribute])),
                    None => ("Fn::GetAtt".into(), Value::String(path)),
                },
                (_, argument) => (format!("Fn::{name}"), argument),
            };
            Value::Object(Map::from_iter([(name, argument)]))
        }
    })
}

fn number_form(number: &serde_yaml_ng::Number, site: &Site) -> Result<Value, InfraError> {
    if let Some(integer) = number.as_i64() {
        return Ok(integer.into());
    }
    if let Some(integer) = number.as_u64() {
        return Ok(integer.into());
    }
    let float = number.as_f64().and_then(Number::from_f64);
    float
        .map(Value::Number)
        .ok_or_else(|| site.error(Problem::Mistyped { expected: "a finite number", found: number.to_string() }))
}
