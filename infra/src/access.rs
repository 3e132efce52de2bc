//! What the roles of the stacks allow: a function's exactly what it calls, and what AWS does on its behalf; nobody's anything by a
//! wildcard.

use std::collections::BTreeSet;

use serde_json::Value;
use thiserror::Error;

use super::Infrastructure;
use super::calls::{self, By, INTERFACES, Need};
use super::iam::{Decision, Request, Statement, decide, statements, texts};
use super::model::{Function, Resource};

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
/// Names the function in whose environment a request was made; Lambda's own requests have none.
/// <https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html>
const SOURCE_FUNCTION: &str = "lambda:SourceFunctionArn";

/// Of IAM only these may be allowed, and only for policies that are named.
const RAISES_NAMED: [&str; 2] = ["iam:AttachRolePolicy", "iam:DetachRolePolicy"];
/// Variables that name topics on which the functions answer, or put what they gave up.
const ANSWERS: [&str; 3] = ["APPROVED_TOPIC", "BLOCKED_TOPIC", "DEAD_LETTERS_TOPIC"];

/// What is wrong with what a role allows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum AccessRule {
    #[error("action \"{0}\" is allowed by a wildcard")]
    WildcardAction(String),
    #[error("\"{0}\" is allowed on every resource although it can be limited")]
    WildcardResource(String),
    #[error("its role cannot be found among the stacks' roles")]
    UnknownRole,
    #[error("its role does not allow {action} on {resource}, which {who}")]
    MissingAction { action: String, resource: String, who: &'static str },
    #[error("its role denies {action} on {resource}, which {who}")]
    DeniedAction { action: String, resource: String, who: &'static str },
    #[error(
        "its role allows {action} on {resource}, which it was never recorded to call and AWS does not do for it: take it away, or record the call anew"
    )]
    UnusedAction { action: String, resource: String },
    #[error("its role lets {0} use a key for nothing that it does")]
    UnusedService(String),
    #[error("was recorded to call {0}, which no stack declares any more: record its calls anew")]
    RecordedOnNothing(String),
    #[error("nothing was recorded of what it calls: infra/calls has no file of it; infra/README.md says how to record")]
    NeverRecorded,
    #[error("its code may do {0}, which only Lambda must: deny it where {SOURCE_FUNCTION} is the function")]
    CodeMayManageInterfaces(String),
    #[error(
        "lets {0} change what roles may do: only a policy that is named in a condition on iam:PolicyARN may be put on or taken off"
    )]
    MayRaise(String),
    #[error("lets whoever has it commit for our own consumer group \"{0}\"")]
    CommitsForOurs(String),
    #[error("lets whoever has it write to \"{0}\", on which only functions answer: a forged decision looks like ours")]
    ForgesAnswers(String),
    #[error(
        "lets people do {action} on {resource}: raw objects are compaction's, analysts need lake/ and manifests/ alone"
    )]
    PeopleSeeRaw { action: &'static str, resource: String },
    #[error("\"{0}\" may take this role, which is neither a service of AWS nor this account")]
    TrustsOthers(String),
}

fn why(by: By) -> &'static str {
    match by {
        By::Code => "it was recorded to call",
        By::Lambda => "Lambda does on its behalf",
        By::Key => "opens what is encrypted of what it uses",
    }
}

/// Wildcards in any policy, whether it is somebody's or a thing's, and strangers in a role's. A key's own is `exposure`'s: the account
/// administers it with `kms:*`.
pub(super) fn policy_rules(resource: &Resource) -> Vec<AccessRule> {
    let mut rules = Vec::new();
    let documents: Vec<&Value> = match resource.kind.as_str() {
        "AWS::IAM::Role" => {
            let managed = resource.list("/ManagedPolicyArns").iter().filter_map(Value::as_str);
            // Those of the stacks are judged where they are declared.
            let of_others = managed.filter(|arn| arn.contains(":iam::aws:"));
            rules.extend(of_others.map(|arn| AccessRule::WildcardAction(format!("managed policy {arn}"))));
            rules.extend(trust_rules(resource));
            inline(resource).collect()
        }
        "AWS::IAM::ManagedPolicy"
        | "AWS::IAM::Policy"
        | "AWS::S3::BucketPolicy"
        | "AWS::SNS::TopicPolicy"
        | "AWS::SQS::QueuePolicy" => resource.properties.get("PolicyDocument").into_iter().collect(),
        "AWS::MSK::ClusterPolicy" => resource.properties.get("Policy").into_iter().collect(),
        _ => return rules,
    };
    for statement in documents.into_iter().flat_map(statements).filter(|statement| statement.allows()) {
        if statement.0.get("NotAction").is_some() || statement.0.get("NotResource").is_some() {
            rules.push(AccessRule::WildcardAction("NotAction or NotResource".to_owned()));
        }
        let is_named = !statement.condition_values("iam:PolicyARN").is_empty();
        let raises = statement.actions().filter(|action| action.starts_with("iam:"));
        let raises = raises.filter(|action| !is_named || !RAISES_NAMED.contains(action));
        rules.extend(raises.map(|action| AccessRule::MayRaise(action.to_owned())));
        let everywhere = statement.resources().any(|resource| resource == "*");
        for action in statement.actions() {
            if action.contains(['*', '?']) {
                rules.push(AccessRule::WildcardAction(action.to_owned()));
            } else if everywhere && !UNLIMITABLE.contains(&action) {
                rules.push(AccessRule::WildcardResource(action.to_owned()));
            }
        }
    }
    rules
}

/// What a policy that applications take, or other accounts are let in by, gives away of what is the functions' own.
pub(super) fn application_rules(resource: &Resource, infrastructure: &Infrastructure) -> Vec<AccessRule> {
    let document = match resource.kind.as_str() {
        "AWS::IAM::ManagedPolicy" => resource.properties.get("PolicyDocument"),
        "AWS::MSK::ClusterPolicy" => resource.properties.get("Policy"),
        _ => None,
    };
    let allowed: Vec<Statement<'_>> =
        document.into_iter().flat_map(statements).filter(|statement| statement.allows()).collect();
    let lets = |action: &str, kind: &str, name: &str| {
        let resource = calls::beside_cluster(infrastructure, kind, name).unwrap_or_default();
        let request = Request { action: action.to_owned(), resource, context: Vec::new() };
        allowed.iter().any(|statement| statement.speaks_of(&request))
    };
    let groups: BTreeSet<&str> = infrastructure.mappings.iter().map(|one| one.consumer_group.as_str()).collect();
    let variables = infrastructure.functions.iter().flat_map(|function| &function.environment);
    let answers: BTreeSet<&str> =
        variables.filter(|(name, _)| ANSWERS.contains(&name.as_str())).map(|(_, topic)| topic.as_str()).collect();
    let ours = groups.into_iter().filter(|group| lets("kafka-cluster:AlterGroup", "group", group));
    let forged = answers.into_iter().filter(|topic| lets("kafka-cluster:WriteData", "topic", topic));
    ours.map(|group| AccessRule::CommitsForOurs(group.to_owned()))
        .chain(forged.map(|topic| AccessRule::ForgesAnswers(topic.to_owned())))
        .collect()
}

/// Who may take a role: a service of AWS, or this account, whose own policies say who of it.
fn trust_rules(role: &Resource) -> Vec<AccessRule> {
    let Some(document) = role.properties.get("AssumeRolePolicyDocument") else { return Vec::new() };
    let trusted = statements(document).into_iter().filter(|statement| statement.allows());
    let is_ours = |who: &str| who.ends_with(".amazonaws.com") || who.contains(&format!("::{}:", super::LAPTOP_ACCOUNT));
    let strangers = trusted.flat_map(Statement::principals).filter(|who| !is_ours(who));
    strangers.map(|who| AccessRule::TrustsOthers(who.to_owned())).collect()
}

/// What a role that people take lets them see of a lake beside its files and manifests.
pub(super) fn people_rules(role: &Resource, infrastructure: &Infrastructure) -> Vec<AccessRule> {
    let trust = role.properties.get("AssumeRolePolicyDocument");
    let mut taken_by = trust.into_iter().flat_map(statements).flat_map(Statement::principals);
    let is_for_people = taken_by.any(|who| !who.ends_with(".amazonaws.com"));
    if role.kind != "AWS::IAM::Role" || !is_for_people {
        return Vec::new();
    }
    let granted: Vec<Statement<'_>> = documents(role, infrastructure).into_iter().flat_map(statements).collect();
    let variables = infrastructure.functions.iter().filter_map(|function| function.environment.get("LAKE_BUCKET"));
    let lakes: BTreeSet<&str> = variables.map(String::as_str).collect();
    let mut rules = Vec::new();
    for lake in lakes {
        let bucket = format!("arn:aws:s3:::{lake}");
        for (action, resource, context) in [
            ("s3:ListBucket", bucket.clone(), Vec::new()),
            ("s3:ListBucket", bucket.clone(), vec![("s3:prefix", "raw/x".to_owned())]),
            ("s3:GetObject", format!("{bucket}/raw/x"), Vec::new()),
        ] {
            let request = Request { action: action.to_owned(), resource: resource.clone(), context };
            if decide(granted.iter().copied(), &request) == Decision::Allowed {
                rules.push(AccessRule::PeopleSeeRaw { action, resource });
            }
        }
    }
    rules
}

/// A function's role against what the function needs.
pub(super) fn rules(function: &Function, infrastructure: &Infrastructure) -> Vec<AccessRule> {
    let declared = infrastructure.declaration(function);
    let Some((declared, role)) = declared.and_then(|declared| Some((declared, role_of(declared, infrastructure)?)))
    else {
        return vec![AccessRule::UnknownRole];
    };
    let Some(recorded) = infrastructure.recorded_calls(function) else { return vec![AccessRule::NeverRecorded] };
    let gone = recorded.iter().filter(|call| calls::request(call, function, infrastructure).is_none());
    let mut rules: Vec<_> = gone.map(|call| AccessRule::RecordedOnNothing(call.to_string())).collect();
    let needs = calls::needs(function, declared, infrastructure);
    let granted: Vec<Statement<'_>> = documents(role, infrastructure).into_iter().flat_map(statements).collect();
    for need in &needs {
        let Request { action, resource, .. } = &need.request;
        let (action, resource, who) = (action.clone(), resource.clone(), why(need.by));
        match decide(granted.iter().copied(), &need.request) {
            Decision::Allowed => {}
            Decision::Denied => rules.push(AccessRule::DeniedAction { action, resource, who }),
            Decision::Unmentioned => rules.push(AccessRule::MissingAction { action, resource, who }),
        }
    }
    for statement in granted.iter().copied().filter(|statement| statement.allows()) {
        rules.extend(unused(statement, &needs));
    }
    rules.extend(interface_rules(function, declared, &granted));
    rules
}

/// What a statement allows and nobody needs.
fn unused(statement: Statement<'_>, needs: &BTreeSet<Need>) -> Vec<AccessRule> {
    let mut rules = Vec::new();
    let resources: Vec<&str> = statement.resources().collect();
    for action in statement.actions() {
        for resource in &resources {
            let one = serde_json::json!({ "Action": action, "Resource": resource });
            if !needs.iter().any(|need| Statement(&one).speaks_of(&need.request)) {
                rules.push(AccessRule::UnusedAction { action: action.to_owned(), resource: (*resource).to_owned() });
            }
        }
    }
    for service in statement.condition_values("kms:ViaService") {
        let used = needs.iter().filter(|need| statement.speaks_of(&need.request));
        if !used.flat_map(|need| &need.request.context).any(|(_, value)| value == service) {
            rules.push(AccessRule::UnusedService(service.to_owned()));
        }
    }
    // What a statement names beyond what is needed: mappings of functions that are never switched.
    for function in statement.condition_values("lambda:FunctionArn") {
        let unqualified = function.split(":function:").nth(1).and_then(|rest| rest.split(':').next());
        let names =
            |value: &str| value.split(":function:").nth(1).and_then(|rest| rest.split(':').next()) == unqualified;
        if !needs.iter().flat_map(|need| &need.request.context).any(|(_, value)| names(value)) {
            let (action, resource) = ("lambda:UpdateEventSourceMapping".to_owned(), function.to_owned());
            rules.push(AccessRule::UnusedAction { action, resource });
        }
    }
    rules
}

/// Lambda makes interfaces in a VPC with the function's role, and the function's code must not be able to.
fn interface_rules(function: &Function, declared: &Resource, granted: &[Statement<'_>]) -> Option<AccessRule> {
    declared.properties.get("VpcConfig")?;
    let arn = format!("arn:aws:lambda:{}:{}:function:{}", super::LAPTOP_REGION, super::LAPTOP_ACCOUNT, function.name);
    let by_code = |action: &&str| {
        // Whether AWS puts a version behind it is not documented.
        [arn.clone(), format!("{arn}:7")].into_iter().any(|arn| {
            let context = vec![(SOURCE_FUNCTION, arn)];
            let request = Request { action: (*action).to_owned(), resource: "*".to_owned(), context };
            decide(granted.iter().copied(), &request) == Decision::Allowed
        })
    };
    let allowed = INTERFACES.into_iter().find(by_code)?;
    Some(AccessRule::CodeMayManageInterfaces(allowed.to_owned()))
}

impl Infrastructure {
    /// The resource that a function was read from.
    pub(super) fn declaration(&self, function: &Function) -> Option<&Resource> {
        let mut resources = self.resources.iter();
        resources.find(|resource| resource.file == function.file && resource.logical_id == function.logical_id)
    }

    /// The function that was read from a resource.
    pub(super) fn declared_function(&self, declared: &Resource) -> Option<&Function> {
        let mut functions = self.functions.iter();
        functions.find(|one| one.file == declared.file && one.logical_id == declared.logical_id)
    }
}

fn role_of<'a>(declared: &Resource, infrastructure: &'a Infrastructure) -> Option<&'a Resource> {
    let (_, name) = declared.text("/Role")?.rsplit_once('/')?;
    let mut roles = infrastructure.resources.iter().filter(|resource| resource.kind == "AWS::IAM::Role");
    roles.find(|role| role.text("/RoleName").unwrap_or(&role.logical_id) == name)
}

/// Every policy of a role: its own, and those of the stacks that are attached to it, whoever says so.
fn documents<'a>(role: &'a Resource, infrastructure: &'a Infrastructure) -> Vec<&'a Value> {
    let name = role.text("/RoleName").unwrap_or(&role.logical_id);
    let attached = infrastructure.resources.iter().filter(|policy| {
        let kind = policy.kind.as_str();
        let to_it = texts(policy.properties.get("Roles")).any(|to| to == name || to == role.logical_id);
        let by_it = texts(role.properties.get("ManagedPolicyArns")).any(|arn| arn.ends_with(&policy.logical_id));
        matches!(kind, "AWS::IAM::ManagedPolicy" | "AWS::IAM::Policy") && (to_it || by_it)
    });
    inline(role).chain(attached.filter_map(|policy| policy.properties.get("PolicyDocument"))).collect()
}

fn inline(role: &Resource) -> impl Iterator<Item = &Value> {
    role.list("/Policies").iter().filter_map(|policy| policy.get("PolicyDocument"))
}
