//! The OpenAPI file, and a validator of the part of JSON Schema that it uses.

use std::sync::OnceLock;

use centinela_api::{Operation, Request, Response, Wanted};
use serde_json::Value;

/// The file.
pub fn file() -> &'static Value {
    static FILE: OnceLock<Value> = OnceLock::new();
    FILE.get_or_init(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/openapi/decisions-api.yaml");
        serde_yaml_ng::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    })
}

/// What a `$ref` points at, or the value itself.
pub fn resolved(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => resolved(file().pointer(reference.trim_start_matches('#')).unwrap()),
        None => value,
    }
}

/// An answer must be among those that the file promises of the operation, with its type and its form.
pub fn check(request: &Request, response: &Response) {
    let Wanted::Operation(operation) = Operation::of(&request.route_key, &request.path) else { return };
    let declared = declared(operation);
    let status = response.status.to_string();
    let answer = declared["responses"].get(&status);
    let answer = resolved(answer.unwrap_or_else(|| panic!("{operation:?} does not promise {status}")));
    let content = answer["content"].get(response.content_type);
    let schema = &content.unwrap_or_else(|| panic!("{operation:?} {status}: {}", response.content_type))["schema"];
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    let problems = problems(schema, &body, "body");
    assert!(problems.is_empty(), "{operation:?} {status}: {problems:?} in {body}");
}

pub fn declared(operation: Operation) -> &'static Value {
    &file()["paths"][operation.path()][operation.method().to_lowercase()]
}

/// What of a value is not as its schema says.
pub fn problems(schema: &'static Value, value: &Value, at: &str) -> Vec<String> {
    let schema = resolved(schema);
    let mut found = Vec::new();
    if let Some(kinds) = schema.get("type") {
        let kinds: Vec<&str> = kinds
            .as_str()
            .into_iter()
            .chain(kinds.as_array().into_iter().flatten().filter_map(Value::as_str))
            .collect();
        if !kinds.iter().any(|kind| is_of(kind, value)) {
            found.push(format!("{at} is no {kinds:?}: {value}"));
        }
    }
    let differs = schema.get("const").is_some_and(|wanted| wanted != value);
    let foreign = schema["enum"].as_array().is_some_and(|all| !all.contains(value));
    if differs || foreign {
        found.push(format!("{at} may not be {value}"));
    }
    if let Some(options) = schema["anyOf"].as_array()
        && !options.iter().any(|option| problems(option, value, at).is_empty())
    {
        found.push(format!("{at} is none of its forms"));
    }
    if let Some(object) = value.as_object() {
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        found.extend(required.filter(|name| !object.contains_key(*name)).map(|name| format!("{at}.{name} is missing")));
        for (name, value) in object {
            let place = format!("{at}.{name}");
            match (schema["properties"].get(name), schema.get("additionalProperties")) {
                (Some(schema), _) => found.extend(problems(schema, value, &place)),
                (None, Some(Value::Bool(false))) => found.push(format!("{place} is not declared")),
                (None, Some(schema)) if schema.is_object() => found.extend(problems(schema, value, &place)),
                _ => {}
            }
        }
    }
    if let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) {
        for (index, value) in list.iter().enumerate() {
            found.extend(problems(items, value, &format!("{at}[{index}]")));
        }
    }
    found
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => value.is_null(),
    }
}
