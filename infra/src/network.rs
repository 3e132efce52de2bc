//! Who can reach what over the network: brokers, endpoints, the internet, other accounts.

use std::collections::BTreeSet;

use serde_json::Value;
use thiserror::Error;

use super::iam::{Decision, Request, decide, statements};
use super::model::{Function, Resource, whole};
use super::paths::lets_in;
use super::{Infrastructure, LAPTOP_ACCOUNT, LAPTOP_REGION, calls};

/// Where brokers listen for clients that log in with IAM.
/// <https://docs.aws.amazon.com/msk/latest/developerguide/port-info.html>
pub(super) const BROKER_PORT: i64 = 9098;
/// Somebody else's account.
const FOREIGN_ACCOUNT: &str = "999999999999";
/// Addresses that are everywhere.
const EVERYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// What is wrong with who can reach what.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum NetworkRule {
    #[error("opens a way from or to {0}: name security groups, or a prefix list")]
    OpenToEverywhere(String),
    #[error("opens ports {from} to {to} of the brokers; clients with IAM come by {BROKER_PORT} alone")]
    WrongBrokerPort { from: i64, to: i64 },
    #[error("is no port: {0}")]
    NoPort(i64),
    #[error("lets addresses {0} reach the brokers: name security groups")]
    BrokersFromAddresses(String),
    #[error("no rule lets its brokers be reached from {from}, so {what}")]
    BrokersUnreachable { from: String, what: &'static str },
    #[error("has no rules for what goes out, so everything may: AWS adds a rule to an empty list")]
    EverythingMayLeave,
    #[error("brokers take clients over {0}, must be TLS")]
    NotTls(String),
    #[error("brokers take clients that do not log in")]
    Unauthenticated,
    #[error("brokers do not take clients that log in with IAM, as the functions do")]
    NoIam,
    #[error("brokers do not encrypt what they send each other")]
    PlainBetweenBrokers,
    #[error("brokers have public addresses")]
    PublicBrokers,
    #[error("KAFKA_AUTH is \"{0}\"; outside of one machine it must be iam")]
    PlainLogin(String),
    #[error("gives addresses to what starts in the subnet that the internet reaches")]
    PublicSubnet,
    #[error("has addresses {0}, which are not among those of its network")]
    OutsideOfNetwork(String),
    #[error("has addresses that {0} has too")]
    Overlaps(String),
    #[error("is a way to the internet, and nothing here needs one")]
    WayToTheInternet,
    #[error("is a way out of the network that no rule here judges: who needs one makes it beside these stacks")]
    WayOut,
    #[error("has no policy, so it lets through whatever the caller's own policy allows, other accounts' included")]
    EndpointWithoutPolicy,
    #[error("lets {action} through to another account's {resource}")]
    EndpointLetsThrough { action: String, resource: String },
    #[error("does not let {action} on {resource} through, which {function} calls")]
    EndpointRefuses { action: String, resource: String, function: String },
    #[error("no function in the VPC calls {0}: it is a way out that nobody needs, and an interface costs money")]
    UnusedEndpoint(String),
    #[error("is in the VPC, calls {0}, and there is no endpoint for it: every call would wait until it times out")]
    NoEndpoint(String),
}

/// What is wrong with one resource.
pub(super) fn rules(resource: &Resource, infrastructure: &Infrastructure) -> Vec<NetworkRule> {
    match resource.kind.as_str() {
        "AWS::EC2::SecurityGroup" => group_rules(resource, infrastructure),
        "AWS::EC2::SecurityGroupIngress" => {
            let group = resource.text("/GroupId").unwrap_or_default();
            ingress_rules(&resource.properties, is_of_brokers(group, infrastructure))
        }
        "AWS::EC2::SecurityGroupEgress" => open_rules(&resource.properties),
        "AWS::MSK::Cluster" => cluster_rules(resource, infrastructure),
        "AWS::EC2::Subnet" => subnet_rules(resource, infrastructure),
        "AWS::EC2::InternetGateway" | "AWS::EC2::NatGateway" | "AWS::EC2::EgressOnlyInternetGateway" => {
            vec![NetworkRule::WayToTheInternet]
        }
        "AWS::EC2::Route"
        | "AWS::EC2::TransitGatewayAttachment"
        | "AWS::EC2::TransitGatewayVpcAttachment"
        | "AWS::EC2::VPCGatewayAttachment"
        | "AWS::EC2::VPCPeeringConnection"
        | "AWS::EC2::VPNGateway" => vec![NetworkRule::WayOut],
        "AWS::EC2::VPCEndpoint" => endpoint_rules(resource, infrastructure),
        "AWS::Lambda::Function" => function_rules(resource, infrastructure),
        _ => Vec::new(),
    }
}

fn subnet_rules(subnet: &Resource, infrastructure: &Infrastructure) -> Vec<NetworkRule> {
    let mut rules = Vec::new();
    if subnet.is_on("/MapPublicIpOnLaunch") {
        rules.push(NetworkRule::PublicSubnet);
    }
    let named = subnet.text("/CidrBlock").unwrap_or_default();
    let own = addresses(named);
    let mut networks = infrastructure.resources.iter().filter(|one| one.kind == "AWS::EC2::VPC");
    let network = networks.find(|one| subnet.text("/VpcId") == Some(&format!("vpc-{}", one.logical_id)));
    let of_network = network.and_then(|network| addresses(network.text("/CidrBlock")?));
    let is_inside = matches!((own, of_network), (Some((first, last)), Some((from, to))) if from <= first && last <= to);
    if !is_inside {
        rules.push(NetworkRule::OutsideOfNetwork(named.to_owned()));
    }
    let others = infrastructure.resources.iter().filter(|one| one.kind == "AWS::EC2::Subnet" && *one != subnet);
    for other in others {
        let theirs = other.text("/CidrBlock").and_then(addresses);
        if matches!((own, theirs), (Some((first, last)), Some((from, to))) if first <= to && from <= last) {
            rules.push(NetworkRule::Overlaps(other.logical_id.clone()));
        }
    }
    rules
}

/// Whether a block has addresses of the internet.
fn is_public(block: &str) -> bool {
    let first = block.split('/').next().unwrap_or_default();
    match first.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => {
            let last = addresses(block).map(|(_, last)| std::net::Ipv4Addr::from(last));
            !address.is_private() || last.is_none_or(|last| !last.is_private())
        }
        Ok(std::net::IpAddr::V6(address)) => !address.is_unique_local(),
        Err(_) => false,
    }
}

/// The first and the last address of a block such as `10.0.16.0/20`.
fn addresses(block: &str) -> Option<(u32, u32)> {
    let (address, length) = block.split_once('/')?;
    let first = u32::from(address.parse::<std::net::Ipv4Addr>().ok()?);
    let free = u32::MAX.checked_shr(length.parse().ok()?).unwrap_or(0);
    (first & free == 0).then_some((first, first | free))
}

fn group_rules(group: &Resource, infrastructure: &Infrastructure) -> Vec<NetworkRule> {
    let mut rules = Vec::new();
    let of_brokers = is_of_brokers(&format!("sg-{}", group.logical_id), infrastructure);
    for rule in group.list("/SecurityGroupIngress") {
        rules.extend(ingress_rules(rule, of_brokers));
    }
    let egress = group.list("/SecurityGroupEgress");
    rules.extend(egress.iter().flat_map(open_rules));
    let id = format!("sg-{}", group.logical_id);
    let elsewhere = infrastructure
        .resources
        .iter()
        .any(|other| other.kind == "AWS::EC2::SecurityGroupEgress" && other.text("/GroupId") == Some(id.as_str()));
    if egress.is_empty() && !elsewhere {
        rules.push(NetworkRule::EverythingMayLeave);
    }
    rules
}

/// Whether the cluster's brokers are in this group.
fn is_of_brokers(group: &str, infrastructure: &Infrastructure) -> bool {
    let mut clusters = infrastructure.resources.iter().filter(|resource| resource.kind == "AWS::MSK::Cluster");
    clusters.any(|cluster| {
        let groups = cluster.list("/BrokerNodeGroupInfo/SecurityGroups");
        groups.iter().any(|of_cluster| of_cluster.as_str() == Some(group))
    })
}

fn ingress_rules(rule: &Value, of_brokers: bool) -> Vec<NetworkRule> {
    let mut rules = open_rules(rule);
    if !of_brokers {
        return rules;
    }
    let (from, to) = (port(rule, "FromPort"), port(rule, "ToPort"));
    if (from, to) != (BROKER_PORT, BROKER_PORT) {
        rules.push(NetworkRule::WrongBrokerPort { from, to });
    }
    let addresses = ["CidrIp", "CidrIpv6"].into_iter().filter_map(|name| rule.get(name)?.as_str());
    rules.extend(addresses.map(|addresses| NetworkRule::BrokersFromAddresses(addresses.to_owned())));
    rules
}

fn open_rules(rule: &Value) -> Vec<NetworkRule> {
    let addresses = ["CidrIp", "CidrIpv6"].into_iter().filter_map(|name| rule.get(name)?.as_str());
    let open = addresses.filter(|named| EVERYWHERE.contains(named) || is_public(named));
    let mut rules: Vec<_> = open.map(|addresses| NetworkRule::OpenToEverywhere(addresses.to_owned())).collect();
    let ports = ["FromPort", "ToPort"].map(|name| port(rule, name));
    rules.extend(ports.into_iter().filter(|port| !(-1..=65_535).contains(port)).map(NetworkRule::NoPort));
    rules
}

pub(super) fn port(rule: &Value, name: &str) -> i64 {
    rule.get(name).and_then(whole).unwrap_or(-1)
}

fn cluster_rules(cluster: &Resource, infrastructure: &Infrastructure) -> Vec<NetworkRule> {
    let mut rules = Vec::new();
    let in_transit = cluster.text("/EncryptionInfo/EncryptionInTransit/ClientBroker").unwrap_or("TLS");
    if in_transit != "TLS" {
        rules.push(NetworkRule::NotTls(in_transit.to_owned()));
    }
    if cluster.properties.pointer("/EncryptionInfo/EncryptionInTransit/InCluster").is_some()
        && !cluster.is_on("/EncryptionInfo/EncryptionInTransit/InCluster")
    {
        rules.push(NetworkRule::PlainBetweenBrokers);
    }
    if !cluster.is_on("/ClientAuthentication/Sasl/Iam/Enabled") {
        rules.push(NetworkRule::NoIam);
    }
    // Left out it is on as soon as nothing else is.
    let unauthenticated = cluster.properties.pointer("/ClientAuthentication/Unauthenticated/Enabled");
    if unauthenticated.is_none() || cluster.is_on("/ClientAuthentication/Unauthenticated/Enabled") {
        rules.push(NetworkRule::Unauthenticated);
    }
    let public = cluster.text("/BrokerNodeGroupInfo/ConnectivityInfo/PublicAccess/Type");
    if public.is_some_and(|kind| kind != "DISABLED") {
        rules.push(NetworkRule::PublicBrokers);
    }
    rules.extend(reach_rules(cluster, infrastructure));
    rules
}

/// Mappings poll from the brokers' own group, functions produce from theirs.
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-msk-cluster-network.html>
fn reach_rules(cluster: &Resource, infrastructure: &Infrastructure) -> Vec<NetworkRule> {
    let mut rules = Vec::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let brokers: BTreeSet<String> = cluster.list("/BrokerNodeGroupInfo/SecurityGroups").iter().map(text).collect();
    let let_in = |from: &str| {
        let groups: BTreeSet<&str> = brokers.iter().map(String::as_str).collect();
        lets_in(&groups, from, BROKER_PORT, infrastructure)
    };
    if !infrastructure.mappings.is_empty() {
        let cut_off = brokers.iter().filter(|group| !let_in(group));
        let what = "no mapping can poll";
        rules.extend(cut_off.map(|from| NetworkRule::BrokersUnreachable { from: from.clone(), what }));
    }
    let kafka = infrastructure.functions.iter().filter(|one| one.environment.contains_key("KAFKA_BOOTSTRAP"));
    let groups = kafka.filter_map(|function| infrastructure.declaration(function));
    let mut groups: BTreeSet<String> =
        groups.flat_map(|declared| declared.list("/VpcConfig/SecurityGroupIds")).map(text).collect();
    // And of applications, whose groups are made to go there.
    let goes = |group: &Resource| {
        let to = |rule: &Value| rule.get("DestinationSecurityGroupId").and_then(Value::as_str).map(str::to_owned);
        group.list("/SecurityGroupEgress").iter().filter_map(to).any(|to| brokers.contains(&to))
    };
    let of_kind = infrastructure.resources.iter().filter(|one| one.kind == "AWS::EC2::SecurityGroup");
    groups.extend(of_kind.filter(|group| goes(group)).map(|group| format!("sg-{}", group.logical_id)));
    let what = "what goes by this group cannot connect";
    rules.extend(
        groups
            .iter()
            .filter(|group| !let_in(group))
            .map(|from| NetworkRule::BrokersUnreachable { from: from.clone(), what }),
    );
    rules
}

/// The service of an endpoint as IAM calls it.
pub(super) fn service_of(endpoint: &Resource) -> &str {
    let name = endpoint.text("/ServiceName").unwrap_or_default();
    let service = name.rsplit('.').next().unwrap_or_default();
    service.strip_suffix("-streams").unwrap_or(service)
}

/// Everything that functions in the VPC call of a service, by the function's name.
pub(super) fn called_through<'a>(service: &'a str, infrastructure: &'a Infrastructure) -> Vec<(&'a Function, Request)> {
    let in_vpc = infrastructure.functions.iter().filter(|function| is_in_vpc(function, infrastructure));
    let calls = in_vpc.flat_map(|function| {
        infrastructure.recorded_calls(function).into_iter().flatten().map(move |call| (function, call))
    });
    let of_service = calls.filter(|(_, call)| call.action.split(':').next() == Some(service));
    of_service
        .filter_map(|(function, call)| Some((function, calls::request(call, function, infrastructure)?)))
        .collect()
}

pub(super) fn is_in_vpc(function: &Function, infrastructure: &Infrastructure) -> bool {
    infrastructure.declaration(function).is_some_and(|declared| declared.properties.get("VpcConfig").is_some())
}

fn endpoint_rules(endpoint: &Resource, infrastructure: &Infrastructure) -> Vec<NetworkRule> {
    let service = service_of(endpoint);
    let called = called_through(service, infrastructure);
    if called.is_empty() {
        return vec![NetworkRule::UnusedEndpoint(service.to_owned())];
    }
    let Some(document) = endpoint.properties.get("PolicyDocument") else {
        return vec![NetworkRule::EndpointWithoutPolicy];
    };
    let mut rules = Vec::new();
    for (function, request) in &called {
        let through = |account: &str, resource: &str| {
            let mut context = vec![
                ("aws:PrincipalAccount", LAPTOP_ACCOUNT.to_owned()),
                ("aws:ResourceAccount", account.to_owned()),
                ("aws:SourceAccount", LAPTOP_ACCOUNT.to_owned()),
            ];
            context.extend(request.context.iter().filter(|(key, _)| *key != "aws:ResourceAccount").cloned());
            let request = Request { action: request.action.clone(), resource: resource.to_owned(), context };
            decide(statements(document), &request) == Decision::Allowed
        };
        let (action, resource) = (request.action.clone(), request.resource.clone());
        if !through(LAPTOP_ACCOUNT, &resource) {
            rules.push(NetworkRule::EndpointRefuses { action, resource, function: function.name.clone() });
            continue;
        }
        let foreign = foreign(&resource);
        if through(FOREIGN_ACCOUNT, &foreign) {
            rules.push(NetworkRule::EndpointLetsThrough { action, resource: foreign });
        }
    }
    rules.sort_by_key(ToString::to_string);
    rules.dedup();
    rules
}

/// The same thing of another account: a bucket's ARN names none, so the bucket has another name.
fn foreign(resource: &str) -> String {
    match resource.strip_prefix("arn:aws:s3:::") {
        Some(rest) => format!("arn:aws:s3:::somebody-elses-{rest}"),
        None => resource.replace(LAPTOP_ACCOUNT, FOREIGN_ACCOUNT),
    }
}

fn function_rules(declared: &Resource, infrastructure: &Infrastructure) -> Vec<NetworkRule> {
    let Some(function) = infrastructure.declared_function(declared) else { return Vec::new() };
    let mut rules = Vec::new();
    if let Some(auth) = function.environment.get("KAFKA_AUTH").filter(|auth| *auth != "iam")
        && !infrastructure.is_one_machine()
    {
        rules.push(NetworkRule::PlainLogin(auth.clone()));
    }
    if declared.properties.get("VpcConfig").is_none() {
        return rules;
    }
    let calls = infrastructure.recorded_calls(function).into_iter().flatten();
    let services: BTreeSet<&str> = calls.filter_map(|call| call.action.split(':').next()).collect();
    // Brokers are in the VPC itself.
    for service in services.into_iter().filter(|service| !service.starts_with("kafka")) {
        let mut endpoints = infrastructure.resources.iter().filter(|one| one.kind == "AWS::EC2::VPCEndpoint");
        if !endpoints.any(|endpoint| service_of(endpoint) == service) {
            rules.push(NetworkRule::NoEndpoint(format!("{service} in {LAPTOP_REGION}")));
        }
    }
    rules
}
