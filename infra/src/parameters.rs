//! The values of one environment's parameters, checked against what each stack declares.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::error::{InfraError, Problem, Site};
use super::template::{Template, mistyped};

/// The form that `aws cloudformation deploy --parameter-overrides file://…` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvironmentFile {
    #[serde(rename = "Parameters")]
    parameters: BTreeMap<String, String>,
}

/// One map of values per stack. Every declared parameter gets a value, and every given value is declared somewhere.
pub(super) fn resolve(
    templates: &[Template],
    environment_file: &str,
    environment: &str,
) -> Result<Vec<BTreeMap<String, Value>>, InfraError> {
    let given: EnvironmentFile = serde_json::from_str(environment)
        .map_err(|source| InfraError::Environment { file: environment_file.to_owned(), source })?;
    for name in given.parameters.keys() {
        if !templates.iter().any(|template| template.parameters.contains_key(name)) {
            return Err(Site::new(environment_file, "Parameters", name).error(Problem::UndeclaredParameter));
        }
    }
    let one = |template: &Template| {
        template
            .parameters
            .iter()
            .map(|(name, declaration)| {
                let site = Site::new(&template.file, "Parameters", name);
                let given = given.parameters.get(name).cloned();
                value(given, declaration, &site).map(|value| (name.clone(), value))
            })
            .collect()
    };
    templates.iter().map(one).collect()
}

fn value(given: Option<String>, declaration: &Value, site: &Site) -> Result<Value, InfraError> {
    let text = match given.or_else(|| declaration.get("Default").and_then(scalar)) {
        Some(text) => text,
        None => return Err(site.error(Problem::NoValue)),
    };
    if let Some(Value::Array(allowed)) = declaration.get("AllowedValues")
        && !allowed.iter().filter_map(scalar).any(|allowed| allowed == text)
    {
        let allowed = allowed.iter().filter_map(scalar).collect::<Vec<_>>().join(", ");
        return Err(site.error(Problem::OutOfRange { value: text, limit: format!("one of {allowed}") }));
    }
    if let Some(longest) = declaration.get("MaxLength").and_then(scalar).and_then(|longest| longest.parse().ok())
        && text.chars().count() > longest
    {
        return Err(site.error(Problem::OutOfRange { value: text, limit: format!("at most {longest} characters") }));
    }
    match declaration.get("Type").and_then(Value::as_str) {
        Some("String") => Ok(Value::String(text)),
        Some("Number") => number(text, declaration, site),
        Some("CommaDelimitedList") => {
            Ok(text.split(',').map(|item| Value::from(item.trim())).collect::<Vec<_>>().into())
        }
        // The value is in an account; its name stands for it.
        Some("AWS::SSM::Parameter::Value<String>") => Ok(Value::String(format!("ssm:{text}"))),
        _ => Err(site.child("Type").error(mistyped(
            "String, Number, CommaDelimitedList or AWS::SSM::Parameter::Value<String>",
            declaration.get("Type").unwrap_or(&Value::Null),
        ))),
    }
}

fn number(text: String, declaration: &Value, site: &Site) -> Result<Value, InfraError> {
    let Ok(parsed) = text.parse::<i64>() else {
        return Err(site.error(mistyped("a whole number", &Value::String(text))));
    };
    let bound = |name: &str| declaration.get(name).and_then(scalar).and_then(|bound| bound.parse::<i64>().ok());
    let (least, most) = (bound("MinValue").unwrap_or(i64::MIN), bound("MaxValue").unwrap_or(i64::MAX));
    if (least..=most).contains(&parsed) {
        // CloudFormation keeps a number parameter as text until a property asks for a number.
        Ok(Value::String(text))
    } else {
        Err(site.error(Problem::OutOfRange { value: text, limit: format!("between {least} and {most}") }))
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
