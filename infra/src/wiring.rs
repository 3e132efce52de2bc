//! What must be allowed to call what, and what must be there for it to do anything.

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::attributes::topic_arn_of;
use super::model::Resource;
use super::triggers::function_name;
use super::{Infrastructure, TriggerSource};

/// What is not wired.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum WiringRule {
    #[error("no permission lets it invoke function \"{0}\", so it never does")]
    MayNotInvoke(String),
    #[error(
        "invokes function \"{function}\" and not its alias \"{alias}\", so a deploy reaches it before it was tried"
    )]
    BypassesAlias { function: String, alias: String },
    #[error("points at $LATEST, so whatever is shipped is live at once, and there is nothing to go back to")]
    AliasOnLatest,
    #[error("is not enabled in this environment")]
    SwitchedOff,
    #[error("sends to \"{0}\", which is no topic or queue of the stacks")]
    UnknownDestination(String),
    #[error("has its items under {found}, and the functions ask for {wanted}")]
    OtherKey { wanted: String, found: String },
    #[error("BRAKE_PLANS cannot be read: {0}")]
    PlansUnreadable(String),
    #[error("a plan is for alarm \"{0}\", which no stack declares")]
    PlanForNoAlarm(String),
    #[error("a plan is for alarm \"{0}\", which does not tell the topic of the brake")]
    PlanNeverTold(String),
    #[error("a plan brakes function \"{0}\", which no stack declares")]
    PlanForNoFunction(String),
    #[error("tells the brake, which has no plan for it")]
    NoPlan,
    #[error("its alarms only say what they would do: in production AT_ALARMS must be brake, is \"{0}\"")]
    BrakeOnlySays(String),
    #[error("waits {waits} ms for a decision, as long as its timeout of {timeout} ms: it could never say pending")]
    WaitsTooLong { waits: i64, timeout: i64 },
    #[error("gives a late invocation {grace} s, fewer than the {timeout} s that one may take")]
    GraceTooShort { grace: i64, timeout: i64 },
    #[error("variable {variable} is \"{found}\", that of {other} is \"{wanted}\"")]
    VariablesDiffer { variable: &'static str, found: String, other: String, wanted: String },
}

/// Variables that mean the same in every function.
const SHARED_VARIABLES: [&str; 3] = ["DEFAULT_CURRENCY", "KAFKA_AUTH", "KAFKA_BOOTSTRAP"];

/// Variables that name a table, and the attributes, all of them texts, under which the code has its items: `KEY` and `PART` in
/// `shared/adapters`.
const KEYS: [(&str, &[&str]); 6] = [
    ("USER_TABLE", &["pk"]),
    ("DEVICE_TABLE", &["pk"]),
    ("SETTLED_TABLE", &["pk"]),
    ("LABEL_TABLE", &["pk"]),
    ("DECISION_TABLE", &["pk"]),
    ("METRIC_TABLE", &["pk", "sk"]),
];

#[derive(Deserialize)]
struct Plan {
    alarm: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    function: String,
}

/// What is wrong with one resource.
pub(super) fn rules(resource: &Resource, infrastructure: &Infrastructure) -> Vec<WiringRule> {
    match resource.kind.as_str() {
        "AWS::Events::Rule" | "AWS::SNS::Subscription" | "AWS::ApiGatewayV2::Integration" => {
            let mut rules = invoking_rules(resource, infrastructure);
            if resource.text("/State") == Some("DISABLED") {
                rules.push(WiringRule::SwitchedOff);
            }
            rules
        }
        "AWS::Lambda::EventSourceMapping" => {
            let by = resource.text("/FunctionName").and_then(|named| bypasses(named, infrastructure));
            mapping_rules(resource, infrastructure).into_iter().chain(by).collect()
        }
        "AWS::DynamoDB::Table" => key_rule(resource, infrastructure).into_iter().collect(),
        "AWS::Lambda::Function" => function_rules(resource, infrastructure),
        "AWS::Lambda::Alias" => {
            let is_latest = resource.text("/FunctionVersion").is_none_or(|version| version == "$LATEST");
            is_latest.then_some(WiringRule::AliasOnLatest).into_iter().collect()
        }
        "AWS::CloudWatch::Alarm" => alarm_rules(resource, infrastructure).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Whoever invokes a function by its own right needs a permission of just that function, version or alias.
fn invoking_rules(resource: &Resource, infrastructure: &Infrastructure) -> Vec<WiringRule> {
    let targets = resource.list("/Targets").iter().filter_map(|target| target.get("Arn")?.as_str());
    let of_lambda = (resource.text("/Protocol") == Some("lambda")).then(|| resource.text("/Endpoint")).flatten();
    let invoked =
        targets.filter(|arn| arn.contains(":function:")).chain(of_lambda).chain(resource.text("/IntegrationUri"));
    let (principal, source) = match resource.kind.as_str() {
        "AWS::Events::Rule" => ("events.amazonaws.com", resource.text("/Name").unwrap_or(&resource.logical_id)),
        "AWS::SNS::Subscription" => ("sns.amazonaws.com", resource.text("/TopicArn").unwrap_or_default()),
        _ => ("apigateway.amazonaws.com", resource.text("/ApiId").unwrap_or_default()),
    };
    let permissions = || infrastructure.resources.iter().filter(|one| one.kind == "AWS::Lambda::Permission");
    let lets = |named: &str| {
        permissions().filter(|one| one.text("/FunctionName").map(qualified) == Some(qualified(named))).any(|one| {
            let arn = one.text("/SourceArn").unwrap_or_default();
            let for_it = arn.ends_with(source) || arn.contains(&format!("{source}/"));
            one.text("/Principal") == Some(principal) && for_it
        })
    };
    let mut rules = Vec::new();
    for named in invoked {
        if !lets(named) {
            rules.push(WiringRule::MayNotInvoke(named.to_owned()));
        }
        rules.extend(bypasses(named, infrastructure));
    }
    rules
}

/// A function's name with its version or alias, if one is named.
fn qualified(named: &str) -> (&str, Option<&str>) {
    let rest = named.rsplit_once("function:").map_or(named, |(_, rest)| rest);
    rest.split_once(':').map_or((rest, None), |(name, qualifier)| (name, Some(qualifier)))
}

/// Where a function has an alias that a deploy moves, whoever does not go by it runs what nobody tried.
fn bypasses(named: &str, infrastructure: &Infrastructure) -> Option<WiringRule> {
    let (name, qualifier) = qualified(named);
    let mut aliases = infrastructure.resources.iter().filter(|one| one.kind == "AWS::Lambda::Alias");
    let alias = aliases.find(|alias| alias.text("/FunctionName") == Some(name))?.text("/Name")?;
    (qualifier != Some(alias)).then(|| WiringRule::BypassesAlias { function: name.to_owned(), alias: alias.to_owned() })
}

/// What only the index, which has a switch of its own, and one machine may do without.
fn mapping_rules(mapping: &Resource, infrastructure: &Infrastructure) -> Option<WiringRule> {
    let destination = mapping.text("/DestinationConfig/OnFailure/Destination").filter(|to| to.starts_with("arn:"));
    if let Some(destination) = destination {
        let name = destination.rsplit(':').next().unwrap_or_default();
        let is_ours = infrastructure
            .resources
            .iter()
            .any(|one| ["/QueueName", "/TopicName"].into_iter().any(|property| one.text(property) == Some(name)));
        if !is_ours {
            return Some(WiringRule::UnknownDestination(destination.to_owned()));
        }
    }
    let is_off = mapping.properties.get("Enabled").is_some_and(|on| on == false || on == "false");
    let function = mapping.text("/FunctionName").map(function_name).unwrap_or_default();
    let days = infrastructure.function(function).and_then(|function| function.environment.get("DECISION_DAYS"));
    (is_off && days.is_none_or(|days| days != "0")).then_some(WiringRule::SwitchedOff)
}

fn key_rule(declared: &Resource, infrastructure: &Infrastructure) -> Option<WiringRule> {
    let mut tables = infrastructure.tables.iter();
    let table = tables.find(|one| one.file == declared.file && one.logical_id == declared.logical_id)?;
    let is_named = |wanted: &str| {
        infrastructure.functions.iter().any(|function| function.environment.get(wanted) == Some(&table.name))
    };
    let (_, wanted) = KEYS.iter().find(|(variable, _)| is_named(variable))?;
    let found = [Some(&table.partition_key), table.sort_key.as_ref()];
    let found: Vec<String> = found.into_iter().flatten().map(|(name, kind)| format!("{name} ({kind})")).collect();
    let wanted: Vec<String> = wanted.iter().map(|name| format!("{name} (S)")).collect();
    (found != wanted).then(|| WiringRule::OtherKey { wanted: wanted.join(", "), found: found.join(", ") })
}

fn function_rules(declared: &Resource, infrastructure: &Infrastructure) -> Vec<WiringRule> {
    let Some(function) = infrastructure.declared_function(declared) else { return Vec::new() };
    let mut rules = Vec::new();
    if let Some(plans) = function.environment.get("BRAKE_PLANS") {
        rules.extend(plan_rules(plans, infrastructure));
    }
    let at_alarms = function.environment.get("AT_ALARMS").filter(|does| *does != "brake");
    rules.extend(at_alarms.filter(|_| infrastructure.is_production()).cloned().map(WiringRule::BrakeOnlySays));
    let number = |name: &str| function.environment.get(name).and_then(|text| text.parse::<i64>().ok());
    let timeout = i64::try_from(function.timeout.as_millis()).unwrap_or(i64::MAX);
    if let Some(waits) = number("DECISION_WAIT_MS").filter(|waits| *waits >= timeout) {
        rules.push(WiringRule::WaitsTooLong { waits, timeout });
    }
    let marks_of = function.environment.get("MARKS_OF");
    let marked = infrastructure.mappings.iter().find(|mapping| Some(&mapping.consumer_group) == marks_of);
    let slowest = marked.and_then(|mapping| infrastructure.function(&mapping.function));
    if let (Some(grace), Some(slowest)) = (number("GRACE_SECONDS"), slowest) {
        let timeout = i64::try_from(slowest.timeout.as_secs()).unwrap_or(i64::MAX);
        rules.extend((grace <= timeout).then_some(WiringRule::GraceTooShort { grace, timeout }));
    }
    for variable in SHARED_VARIABLES {
        let Some(found) = function.environment.get(variable) else { continue };
        let others =
            infrastructure.functions.iter().filter_map(|other| Some((other, other.environment.get(variable)?)));
        // The first is right, so that one that differs is named and not all the others.
        let Some((other, wanted)) =
            others.min_by_key(|(other, _)| usize::from(!other.environment.contains_key("SETTLED_TABLE")))
        else {
            continue;
        };
        if wanted != found {
            let (found, wanted, other) = (found.clone(), wanted.clone(), other.name.clone());
            rules.push(WiringRule::VariablesDiffer { variable, found, other, wanted });
        }
    }
    rules
}

fn plan_rules(plans: &str, infrastructure: &Infrastructure) -> Vec<WiringRule> {
    let plans: Vec<Plan> = match serde_json::from_str(plans) {
        Ok(plans) => plans,
        Err(error) => return vec![WiringRule::PlansUnreadable(error.to_string())],
    };
    let mut rules = Vec::new();
    for plan in plans {
        let mut alarms = infrastructure.resources.iter().filter(|one| one.kind.starts_with("AWS::CloudWatch::"));
        match alarms.find(|alarm| alarm.text("/AlarmName") == Some(&plan.alarm)) {
            None => rules.push(WiringRule::PlanForNoAlarm(plan.alarm.clone())),
            Some(alarm) if !tells_brake(alarm, infrastructure) => {
                rules.push(WiringRule::PlanNeverTold(plan.alarm.clone()))
            }
            Some(_) => {}
        }
        let unknown = plan.steps.into_iter().filter(|step| infrastructure.function(&step.function).is_none());
        rules.extend(unknown.map(|step| WiringRule::PlanForNoFunction(step.function)));
    }
    rules
}

/// Whether an alarm's topic is one that a function is subscribed to.
pub(super) fn tells_brake(alarm: &Resource, infrastructure: &Infrastructure) -> bool {
    let mut told = alarm.list("/AlarmActions").iter().filter_map(Value::as_str);
    told.any(|arn| {
        let mut triggers = infrastructure.triggers.iter();
        triggers.any(|trigger| matches!(&trigger.source, TriggerSource::Sns(topic) if topic == arn))
    })
}

fn alarm_rules(alarm: &Resource, infrastructure: &Infrastructure) -> Option<WiringRule> {
    if !tells_brake(alarm, infrastructure) {
        return None;
    }
    let name = alarm.text("/AlarmName").unwrap_or_default();
    let mut plans = infrastructure.functions.iter().filter_map(|function| function.environment.get("BRAKE_PLANS"));
    let has_plan = plans.any(|plans| plans.contains(&format!("\"{name}\"")));
    (!has_plan).then_some(WiringRule::NoPlan)
}

/// The ARNs of the topics of the stacks.
pub(super) fn topics(infrastructure: &Infrastructure) -> Vec<String> {
    let topics = infrastructure.resources.iter().filter(|one| one.kind == "AWS::SNS::Topic");
    topics.filter_map(|topic| topic.text("/TopicName")).map(topic_arn_of).collect()
}
