//! What the roles of the stacks allow.

use serde_json::Value;

use super::Infrastructure;
use super::model::{Function, Resource};
use super::rules::Rule;

/// Actions for which AWS knows no resource type, or whose resource does not exist before the call: only these may be allowed on `*`.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>
const UNLIMITABLE: [&str; 14] = [
    "athena:ListDataCatalogs",
    "athena:ListEngineVersions",
    "athena:ListWorkGroups",
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ec2:UnassignPrivateIpAddresses",
    "kafka:GetBootstrapBrokers",
    "kinesis:ListStreams",
    "lambda:ListEventSourceMappings",
];

/// Wildcards among what a role allows.
pub(super) fn wildcard_rules(role: &Resource) -> Vec<Rule> {
    let mut rules = Vec::new();
    for statement in allowing(role) {
        if statement.get("NotAction").is_some() || statement.get("NotResource").is_some() {
            rules.push(Rule::WildcardAction("NotAction or NotResource".to_owned()));
        }
        let everywhere = texts(statement, "Resource").any(|resource| resource == "*");
        for action in texts(statement, "Action") {
            if action.contains(['*', '?']) {
                rules.push(Rule::WildcardAction(action.to_owned()));
            } else if everywhere && !UNLIMITABLE.contains(&action) {
                rules.push(Rule::WildcardResource(action.to_owned()));
            }
        }
    }
    let managed = role.properties.get("ManagedPolicyArns").and_then(Value::as_array);
    let managed = managed.into_iter().flatten().filter_map(Value::as_str);
    rules.extend(managed.map(|arn| Rule::WildcardAction(format!("managed policy {arn}"))));
    rules
}

/// Whatever a function's environment names, its role must be allowed to use.
pub(super) fn reach_rules(function: &Function, infrastructure: &Infrastructure) -> Vec<Rule> {
    let Some(role) = role_of(function, infrastructure) else {
        return vec![Rule::UnknownRole];
    };
    let mut rules = Vec::new();
    for (variable, value) in &function.environment {
        let (service, ending) = match variable.rsplit_once('_').map(|(_, kind)| kind) {
            Some("TOPIC") => ("kafka-cluster:", format!(":topic/{{}}/{value}")),
            Some("GROUP") => ("kafka-cluster:", format!(":group/{{}}/{value}")),
            Some("TABLE") => ("dynamodb:", format!(":table/{value}")),
            Some("STREAM") => ("kinesis:", format!(":stream/{value}")),
            // A role that is allowed some of a bucket's objects only names them.
            Some("BUCKET") => ("s3:", format!(":::{value}/")),
            _ => continue,
        };
        let reached = allowing(role).any(|statement| {
            texts(statement, "Action").any(|action| action.starts_with(service))
                && texts(statement, "Resource").any(|resource| names(resource, &ending))
        });
        if !reached {
            rules.push(Rule::RoleCannotReach { variable: variable.clone(), value: value.clone() });
        }
    }
    rules
}

/// Whether an ARN ends as wanted; `{}` stands for a cluster and its identifier, and what ends with a slash for all or some of its objects.
fn names(arn: &str, ending: &str) -> bool {
    match ending.split_once("{}") {
        None if ending.ends_with('/') => arn.contains(ending) || arn.ends_with(ending.trim_end_matches('/')),
        None => arn.ends_with(ending),
        Some((kind, name)) => arn.contains(kind) && arn.ends_with(name),
    }
}

fn role_of<'a>(function: &Function, infrastructure: &'a Infrastructure) -> Option<&'a Resource> {
    let declared = infrastructure
        .resources
        .iter()
        .find(|resource| resource.file == function.file && resource.logical_id == function.logical_id)?;
    let arn = declared.properties.get("Role")?.as_str()?;
    let (_, name) = arn.rsplit_once('/')?;
    infrastructure
        .resources
        .iter()
        .filter(|resource| resource.kind == "AWS::IAM::Role")
        .find(|role| role.properties.get("RoleName").and_then(Value::as_str).unwrap_or(&role.logical_id) == name)
}

/// Every statement of a role's own policies that allows something.
fn allowing(role: &Resource) -> impl Iterator<Item = &Value> {
    let policies = role.properties.get("Policies").and_then(Value::as_array);
    policies
        .into_iter()
        .flatten()
        .filter_map(|policy| policy.pointer("/PolicyDocument/Statement"))
        .flat_map(|statements| match statements {
            Value::Array(statements) => statements.iter().collect::<Vec<_>>(),
            one => vec![one],
        })
        .filter(|statement| statement.get("Effect").and_then(Value::as_str) == Some("Allow"))
}

/// A text or a list of texts.
fn texts<'a>(statement: &'a Value, name: &str) -> impl Iterator<Item = &'a str> {
    let texts = match statement.get(name) {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    texts.into_iter()
}
