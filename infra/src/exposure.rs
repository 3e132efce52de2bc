//! What strangers could read, write or call: buckets, topics, keys, functions and routes.

use serde_json::Value;
use thiserror::Error;

use super::iam::{Decision, Request, Statement, decide, statements};
use super::model::Resource;
use super::{Infrastructure, LAPTOP_ACCOUNT};

/// What keeps a bucket private, whatever somebody writes into a policy or an access list later.
const BLOCKS: [&str; 4] = ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"];
/// Routes that anybody may ask: whether the system lives.
const OPEN_ROUTES: [&str; 2] = ["GET /v1/health", "ANY /v1/health"];
/// The bucket in which every request to a bucket is noted.
const NOTED_IN: &str = "/LoggingConfiguration/DestinationBucketName";
/// Keys of conditions that bind a service of AWS to this account.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html>
const BINDING: [&str; 5] = [
    "aws:SourceAccount",
    "aws:SourceArn",
    "aws:PrincipalAccount",
    "aws:ResourceAccount",
    // Of log groups; <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html>.
    "kms:EncryptionContext:aws:logs:arn",
];

/// What a stranger could do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum ExposureRule {
    #[error("does not set {0}: one wrong policy would make it public")]
    PublicAccessNotBlocked(&'static str),
    #[error("takes access lists of objects; ObjectOwnership must be BucketOwnerEnforced")]
    TakesAccessLists,
    #[error("has no policy that denies what does not come over TLS")]
    WithoutTlsOnly,
    #[error("lets {0} in without a condition on the account")]
    Anybody(String),
    #[error("lets service {0} act for any account: say for whom in a condition on aws:SourceAccount or aws:SourceArn")]
    ServiceForAnybody(String),
    #[error("lets {0} invoke the function for any account: give SourceArn or SourceAccount")]
    InvokedByAnybody(String),
    #[error("has a URL that anybody may call")]
    OpenUrl,
    #[error("route \"{0}\" asks nobody who they are")]
    OpenRoute(String),
    #[error("route \"{0}\" takes tokens of no authorizer")]
    TokensOfNobody(String),
    #[error("takes tokens without an audience: those that were given for others would do")]
    NoAudience,
    #[error("does not note who called: it has no access log")]
    NoAccessLog,
    #[error(
        "nobody notes who connects to whom in it: a flow log of it must be on where customers' money is decided about"
    )]
    FlowsUnseen,
    #[error("notes {0}, which names people")]
    NamesPeople(&'static str),
    #[error("writes what was asked for to \"{0}\", which is no bucket of the stacks")]
    ResultsElsewhere(String),
    #[error("lets pages of every origin call")]
    EveryOrigin,
    #[error("does not let this account administer the key: nobody could change its policy again")]
    NobodyAdministers,
    #[error("does not let {service} use the key, so {what}")]
    KeyRefuses { service: &'static str, what: &'static str },
    #[error(
        "tells \"{0}\", which is a stranger: a topic tells functions and queues of this account, and the one address in AlertEmail"
    )]
    TellsStrangers(String),
    #[error("does not let {0} publish, so no alarm reaches anybody")]
    TopicRefuses(&'static str),
}

/// What strangers could do with one resource.
pub(super) fn rules(resource: &Resource, infrastructure: &Infrastructure) -> Vec<ExposureRule> {
    match resource.kind.as_str() {
        "AWS::S3::Bucket" => bucket_rules(resource, infrastructure),
        "AWS::EC2::VPC" => flow_rule(resource, infrastructure).into_iter().collect(),
        "AWS::KMS::Key" => key_rules(resource, infrastructure),
        "AWS::SNS::Topic" => topic_rules(resource, infrastructure),
        "AWS::S3::BucketPolicy" | "AWS::SNS::TopicPolicy" | "AWS::SQS::QueuePolicy" | "AWS::MSK::ClusterPolicy" => {
            let document = ["PolicyDocument", "Policy"].into_iter().find_map(|name| resource.properties.get(name));
            // Other accounts are let in to the brokers alone, by a parameter that a person sets.
            let takes_others = resource.kind == "AWS::MSK::ClusterPolicy";
            document.map(|document| stranger_rules(document, takes_others)).unwrap_or_default()
        }
        "AWS::SNS::Subscription" => subscription_rule(resource, infrastructure).into_iter().collect(),
        "AWS::Lambda::Permission" => permission_rules(resource),
        "AWS::Lambda::Url" if resource.text("/AuthType") != Some("AWS_IAM") => vec![ExposureRule::OpenUrl],
        "AWS::ApiGatewayV2::Route" => route_rules(resource),
        "AWS::ApiGatewayV2::Authorizer" if resource.list("/JwtConfiguration/Audience").is_empty() => {
            vec![ExposureRule::NoAudience]
        }
        "AWS::ApiGatewayV2::Stage" => stage_rules(resource),
        "AWS::Athena::WorkGroup" => {
            let to = resource.text("/WorkGroupConfiguration/ResultConfiguration/OutputLocation").unwrap_or_default();
            let is_ours = infrastructure.buckets.iter().any(|bucket| to.starts_with(&format!("s3://{}/", bucket.name)));
            if is_ours { Vec::new() } else { vec![ExposureRule::ResultsElsewhere(to.to_owned())] }
        }
        "AWS::ApiGatewayV2::Api" => {
            let origins = resource.list("/CorsConfiguration/AllowOrigins");
            if origins.iter().any(|origin| origin == "*") { vec![ExposureRule::EveryOrigin] } else { Vec::new() }
        }
        _ => Vec::new(),
    }
}

fn bucket_rules(bucket: &Resource, infrastructure: &Infrastructure) -> Vec<ExposureRule> {
    let mut rules = Vec::new();
    let blocked = |name: &str| bucket.is_on(&format!("/PublicAccessBlockConfiguration/{name}"));
    rules.extend(BLOCKS.into_iter().filter(|name| !blocked(name)).map(ExposureRule::PublicAccessNotBlocked));
    if bucket.text("/OwnershipControls/Rules/0/ObjectOwnership") != Some("BucketOwnerEnforced") {
        rules.push(ExposureRule::TakesAccessLists);
    }
    let name = bucket.text("/BucketName").unwrap_or_default();
    let policies = infrastructure.resources.iter().filter(|policy| policy.kind == "AWS::S3::BucketPolicy");
    let mut of_bucket = policies.filter(|policy| policy.text("/Bucket") == Some(name));
    let denies_plain = |policy: &Resource| {
        let Some(document) = policy.properties.get("PolicyDocument") else { return false };
        // Both the bucket and its objects, for whatever is done.
        [format!("arn:aws:s3:::{name}"), format!("arn:aws:s3:::{name}/raw/x")].into_iter().all(|resource| {
            ["s3:GetObject", "s3:PutObject", "s3:ListBucket"].into_iter().all(|action| {
                let context = vec![("aws:SecureTransport", "false".to_owned())];
                let request = Request { action: action.to_owned(), resource: resource.clone(), context };
                decide(statements(document), &request) == Decision::Denied
            })
        })
    };
    if !of_bucket.any(denies_plain) {
        rules.push(ExposureRule::WithoutTlsOnly);
    }
    // Who asks for the notes themselves is not noted again.
    let holds_notes = infrastructure.resources.iter().any(|other| other.text(NOTED_IN) == Some(name));
    let is_noted = bucket.text(NOTED_IN).is_some_and(|to| infrastructure.buckets.iter().any(|one| one.name == to));
    if infrastructure.is_production() && !is_noted && !holds_notes {
        rules.push(ExposureRule::NoAccessLog);
    }
    rules
}

fn flow_rule(network: &Resource, infrastructure: &Infrastructure) -> Option<ExposureRule> {
    let id = format!("vpc-{}", network.logical_id);
    let mut logs = infrastructure.resources.iter().filter(|one| one.kind == "AWS::EC2::FlowLog");
    let is_noted = logs.any(|log| log.text("/ResourceId") == Some(&id));
    (infrastructure.is_production() && !is_noted).then_some(ExposureRule::FlowsUnseen)
}

/// Whether a condition binds a statement to this account.
fn is_bound(statement: Statement<'_>) -> bool {
    let is_ours = |value: &&str| value.contains(LAPTOP_ACCOUNT);
    BINDING.iter().any(|key| {
        let values = statement.condition_values(key);
        !values.is_empty() && values.iter().all(is_ours)
    })
}

/// Who a resource's policy lets in.
fn stranger_rules(document: &Value, takes_others: bool) -> Vec<ExposureRule> {
    let mut rules = Vec::new();
    for statement in statements(document).into_iter().filter(|statement| statement.allows() && !is_bound(*statement)) {
        if statement.0.get("NotPrincipal").is_some() {
            rules.push(ExposureRule::Anybody("everybody but some".to_owned()));
        }
        for principal in statement.principals() {
            let rule = match principal {
                service if service.ends_with(".amazonaws.com") => ExposureRule::ServiceForAnybody(service.to_owned()),
                account if account.contains(LAPTOP_ACCOUNT) => continue,
                named if takes_others && !named.contains('*') => continue,
                other => ExposureRule::Anybody(other.to_owned()),
            };
            rules.push(rule);
        }
    }
    rules
}

/// Whoever hears of alarms learns what is down, and what is guarded.
fn subscription_rule(subscription: &Resource, infrastructure: &Infrastructure) -> Option<ExposureRule> {
    let endpoint = subscription.text("/Endpoint").unwrap_or_default();
    let is_known = match subscription.text("/Protocol") {
        Some("lambda" | "sqs" | "firehose") => endpoint.contains(&format!(":{LAPTOP_ACCOUNT}:")),
        // One parameter names one address: of two on a topic one is a stranger's, whichever.
        Some("email") => {
            let same = ["/Protocol", "/TopicArn"];
            let is_beside = |one: &&Resource| same.iter().all(|name| one.text(name) == subscription.text(name));
            let subscriptions = infrastructure.resources.iter().filter(|one| one.kind == subscription.kind);
            subscriptions.filter(is_beside).all(|one| one.text("/Endpoint") == Some(endpoint))
        }
        _ => false,
    };
    (!is_known).then(|| ExposureRule::TellsStrangers(endpoint.to_owned()))
}

fn permission_rules(permission: &Resource) -> Vec<ExposureRule> {
    let principal = permission.text("/Principal").unwrap_or("*");
    let of_us = |name: &str| permission.text(name).is_some_and(|value| value.contains(LAPTOP_ACCOUNT));
    let is_bound = ["/SourceArn", "/SourceAccount"].into_iter().any(of_us);
    if !principal.ends_with(".amazonaws.com") || !is_bound {
        vec![ExposureRule::InvokedByAnybody(principal.to_owned())]
    } else {
        Vec::new()
    }
}

fn route_rules(route: &Resource) -> Vec<ExposureRule> {
    let key = route.text("/RouteKey").unwrap_or_default().to_owned();
    match route.text("/AuthorizationType").unwrap_or("NONE") {
        "NONE" if !OPEN_ROUTES.contains(&key.as_str()) => vec![ExposureRule::OpenRoute(key)],
        "JWT" if route.text("/AuthorizerId").is_none() => vec![ExposureRule::TokensOfNobody(key)],
        _ => Vec::new(),
    }
}

fn stage_rules(stage: &Resource) -> Vec<ExposureRule> {
    if stage.text("/AccessLogSettings/DestinationArn").is_none() {
        return vec![ExposureRule::NoAccessLog];
    }
    let format = stage.text("/AccessLogSettings/Format").unwrap_or_default();
    let personal =
        ["$context.identity.sourceIp", "$context.path", "$context.identity.userAgent", "$context.authorizer"];
    personal.into_iter().filter(|name| format.contains(name)).map(ExposureRule::NamesPeople).collect()
}

/// Who must be able to use a key for what is encrypted with it.
fn key_rules(key: &Resource, infrastructure: &Infrastructure) -> Vec<ExposureRule> {
    let Some(document) = key.properties.get("KeyPolicy") else { return vec![ExposureRule::NobodyAdministers] };
    let mut rules = stranger_rules(document, false);
    let root = format!(":iam::{LAPTOP_ACCOUNT}:root");
    let administers = |statement: &Statement<'_>| {
        let of_root = statement.principals().iter().any(|who| who.ends_with(&root) || *who == LAPTOP_ACCOUNT);
        statement.allows()
            && of_root
            && statement.actions().any(|action| action == "kms:*")
            && !statement.has_condition()
    };
    if !statements(document).iter().any(administers) {
        rules.push(ExposureRule::NobodyAdministers);
    }
    let encrypts = |kind: &str, pointer: &str| {
        let mut of_kind = infrastructure.resources.iter().filter(|resource| resource.kind == kind);
        of_kind.any(|resource| {
            let own = resource.text(pointer).and_then(|named| super::attributes::own_key(named, infrastructure));
            own.is_some_and(|own| own.logical_id == key.logical_id && own.file == key.file)
        })
    };
    let lets = |service: &str, action: &str| {
        let context = vec![
            ("aws:SourceAccount", LAPTOP_ACCOUNT.to_owned()),
            ("kms:EncryptionContext:aws:logs:arn", format!("arn:aws:logs:us-east-1:{LAPTOP_ACCOUNT}:log-group:x")),
        ];
        let request = Request { action: action.to_owned(), resource: "*".to_owned(), context };
        // A denial counts for everybody whom it names.
        let of_service =
            |statement: &Statement<'_>| statement.principals().iter().any(|who| *who == service || *who == "*");
        decide(statements(document).into_iter().filter(of_service), &request) == Decision::Allowed
    };
    let needs = |service: &str, actions: &[&str]| actions.iter().all(|action| lets(service, action));
    if encrypts("AWS::SNS::Topic", "/KmsMasterKeyId")
        && !needs("cloudwatch.amazonaws.com", &["kms:Decrypt", "kms:GenerateDataKey"])
    {
        let what = "alarms on its topics are lost without a trace";
        rules.push(ExposureRule::KeyRefuses { service: "cloudwatch.amazonaws.com", what });
    }
    if encrypts("AWS::Logs::LogGroup", "/KmsKeyId")
        && !needs("logs.us-east-1.amazonaws.com", &["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey"])
    {
        let what = "its log groups cannot be made";
        rules.push(ExposureRule::KeyRefuses { service: "logs.us-east-1.amazonaws.com", what });
    }
    rules
}

/// What alarms, and the budget where there is one, tell must be allowed to be told.
fn topic_rules(topic: &Resource, infrastructure: &Infrastructure) -> Vec<ExposureRule> {
    let Some(name) = topic.text("/TopicName") else { return Vec::new() };
    let arn = super::attributes::topic_arn_of(name);
    let told_by = |kind: &str| {
        let told = infrastructure.resources.iter().filter(|resource| resource.kind == kind);
        told.map(|resource| resource.properties.to_string()).any(|text| text.contains(&arn))
    };
    let policies = infrastructure.resources.iter().filter(|policy| policy.kind == "AWS::SNS::TopicPolicy");
    let of_topic: Vec<_> = policies.filter(|policy| policy.list("/Topics").iter().any(|of| of == &arn)).collect();
    let lets = |service: &str| {
        let context = vec![("aws:SourceAccount", LAPTOP_ACCOUNT.to_owned())];
        let request = Request { action: "sns:Publish".to_owned(), resource: arn.clone(), context };
        let documents = of_topic.iter().filter_map(|policy| policy.properties.get("PolicyDocument"));
        let of_service = documents.flat_map(statements).filter(|statement| statement.principals().contains(&service));
        decide(of_service, &request) == Decision::Allowed
    };
    let tellers = [
        ("AWS::CloudWatch::Alarm", "cloudwatch.amazonaws.com"),
        ("AWS::Budgets::Budget", "budgets.amazonaws.com"),
        ("AWS::CE::AnomalySubscription", "costalerts.amazonaws.com"),
    ];
    let silent = tellers.into_iter().filter(|(kind, service)| told_by(kind) && !lets(service));
    silent.map(|(_, service)| ExposureRule::TopicRefuses(service)).collect()
}
