//! Whether what must be reached can be: a call that finds no way waits until it times out, and nothing says why.

use std::collections::BTreeSet;

use serde_json::Value;
use thiserror::Error;

use super::Infrastructure;
use super::model::Resource;
use super::network::{BROKER_PORT, called_through, is_in_vpc, port, service_of};

/// Where the APIs of AWS listen.
const API_PORT: i64 = 443;
/// The addresses of a gateway endpoint's service in the region of one machine, as `10-foundation` maps them.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/working-with-aws-managed-prefix-lists.html>
const PREFIX_LISTS: [(&str, &str); 2] = [("dynamodb", "pl-02cd2c6b"), ("s3", "pl-63a5400a")];

/// A way that is barred.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum PathRule {
    #[error("connects to the brokers, and is not in their VPC")]
    NotInVpc,
    #[error("resolves no names for what is in it: EnableDnsSupport and EnableDnsHostnames must be on")]
    NoNames,
    #[error("has no private DNS, so the service's own name leads out of the VPC, where there is no way")]
    NoPrivateName,
    #[error("lets nothing in on port {API_PORT} from {0}, whose functions call it")]
    ClosedEndpoint(String),
    #[error("is in no route table of {0}, whose functions call it")]
    NoRoute(String),
    #[error("its security groups let nothing out to {0}, which it calls")]
    NoWayOut(String),
    #[error("has two subnets in zone {0}: one zone that fails takes the majority with it")]
    SameZone(String),
}

/// What is barred of one resource.
pub(super) fn rules(resource: &Resource, infrastructure: &Infrastructure) -> Vec<PathRule> {
    match resource.kind.as_str() {
        "AWS::EC2::VPC" => {
            let names = resource.is_on("/EnableDnsSupport") && resource.is_on("/EnableDnsHostnames");
            (!names).then_some(PathRule::NoNames).into_iter().collect()
        }
        "AWS::EC2::VPCEndpoint" => endpoint_rules(resource, infrastructure),
        "AWS::Lambda::Function" => function_rules(resource, infrastructure),
        "AWS::MSK::Cluster" => zone_rule(resource, infrastructure).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn texts(list: &[Value]) -> impl Iterator<Item = &str> {
    list.iter().filter_map(Value::as_str)
}

/// The functions that call through an endpoint.
fn callers<'a>(endpoint: &'a Resource, infrastructure: &'a Infrastructure) -> Vec<&'a Resource> {
    let called = called_through(service_of(endpoint), infrastructure);
    let names: BTreeSet<&str> = called.iter().map(|(function, _)| function.name.as_str()).collect();
    let functions = infrastructure.functions.iter().filter(|function| names.contains(function.name.as_str()));
    functions.filter_map(|function| infrastructure.declaration(function)).collect()
}

fn endpoint_rules(endpoint: &Resource, infrastructure: &Infrastructure) -> Vec<PathRule> {
    let callers = callers(endpoint, infrastructure);
    if endpoint.text("/VpcEndpointType") == Some("Interface") {
        let groups: BTreeSet<&str> =
            callers.iter().flat_map(|caller| texts(caller.list("/VpcConfig/SecurityGroupIds"))).collect();
        let own: BTreeSet<&str> = texts(endpoint.list("/SecurityGroupIds")).collect();
        let shut = groups.into_iter().filter(|from| !lets_in(&own, from, API_PORT, infrastructure));
        let no_name = (!endpoint.is_on("/PrivateDnsEnabled")).then_some(PathRule::NoPrivateName);
        return shut.map(|from| PathRule::ClosedEndpoint(from.to_owned())).chain(no_name).collect();
    }
    let tables: BTreeSet<&str> = texts(endpoint.list("/RouteTableIds")).collect();
    let subnets: BTreeSet<&str> =
        callers.iter().flat_map(|caller| texts(caller.list("/VpcConfig/SubnetIds"))).collect();
    let has_route = |subnet: &str| {
        let of_kind = |one: &&Resource| one.kind == "AWS::EC2::SubnetRouteTableAssociation";
        let mut associations = infrastructure.resources.iter().filter(of_kind);
        associations.any(|one| {
            one.text("/SubnetId") == Some(subnet)
                && one.text("/RouteTableId").is_some_and(|table| tables.contains(table))
        })
    };
    subnets.into_iter().filter(|subnet| !has_route(subnet)).map(|subnet| PathRule::NoRoute(subnet.to_owned())).collect()
}

/// The rules of security groups, those beside them included.
fn group_rules<'a>(groups: &BTreeSet<&str>, way: &str, infrastructure: &'a Infrastructure) -> Vec<&'a Value> {
    let (apart, within) = (format!("AWS::EC2::SecurityGroup{way}"), format!("/SecurityGroup{way}"));
    let mut rules = Vec::new();
    for resource in &infrastructure.resources {
        if resource.kind == apart && resource.text("/GroupId").is_some_and(|group| groups.contains(group)) {
            rules.push(&resource.properties);
        }
        if resource.kind == "AWS::EC2::SecurityGroup" && groups.contains(format!("sg-{}", resource.logical_id).as_str())
        {
            rules.extend(resource.list(&within));
        }
    }
    rules
}

fn is_for(rule: &Value, wanted: i64) -> bool {
    port(rule, "FromPort") <= wanted && port(rule, "ToPort") >= wanted
}

/// Whether groups let another one in on a port.
pub(super) fn lets_in(groups: &BTreeSet<&str>, from: &str, on: i64, infrastructure: &Infrastructure) -> bool {
    group_rules(groups, "Ingress", infrastructure)
        .into_iter()
        .any(|rule| is_for(rule, on) && rule.get("SourceSecurityGroupId").and_then(Value::as_str) == Some(from))
}

fn function_rules(declared: &Resource, infrastructure: &Infrastructure) -> Vec<PathRule> {
    let Some(function) = infrastructure.declared_function(declared) else { return Vec::new() };
    let asks_brokers = function.environment.contains_key("KAFKA_BOOTSTRAP");
    if !is_in_vpc(function, infrastructure) {
        return asks_brokers.then_some(PathRule::NotInVpc).into_iter().collect();
    }
    let groups: BTreeSet<&str> = texts(declared.list("/VpcConfig/SecurityGroupIds")).collect();
    let rules = group_rules(&groups, "Egress", infrastructure);
    let goes = |property: &str, wanted: i64, to: &BTreeSet<&str>| {
        let named = |rule: &&Value| rule.get(property).and_then(Value::as_str).is_some_and(|named| to.contains(named));
        rules.iter().any(|rule| is_for(rule, wanted) && named(rule))
    };
    let of_kind = |kind: &'static str| infrastructure.resources.iter().filter(move |one| one.kind == kind);
    let mut barred = Vec::new();
    let brokers: BTreeSet<&str> =
        of_kind("AWS::MSK::Cluster").flat_map(|one| texts(one.list("/BrokerNodeGroupInfo/SecurityGroups"))).collect();
    if asks_brokers && !goes("DestinationSecurityGroupId", BROKER_PORT, &brokers) {
        barred.push(PathRule::NoWayOut("the brokers".to_owned()));
    }
    for endpoint in of_kind("AWS::EC2::VPCEndpoint") {
        let service = service_of(endpoint);
        if called_through(service, infrastructure).iter().all(|(caller, _)| caller.name != function.name) {
            continue;
        }
        let has_way = if endpoint.text("/VpcEndpointType") == Some("Interface") {
            goes("DestinationSecurityGroupId", API_PORT, &texts(endpoint.list("/SecurityGroupIds")).collect())
        } else {
            let lists = PREFIX_LISTS.iter().filter(|(of, _)| *of == service).map(|(_, list)| *list).collect();
            goes("DestinationPrefixListId", API_PORT, &lists)
        };
        barred.extend((!has_way).then(|| PathRule::NoWayOut(service.to_owned())));
    }
    barred
}

fn zone_rule(cluster: &Resource, infrastructure: &Infrastructure) -> Option<PathRule> {
    let mut zones = BTreeSet::new();
    let subnets: Vec<&str> = texts(cluster.list("/BrokerNodeGroupInfo/ClientSubnets")).collect();
    let declared = infrastructure.resources.iter().filter(|one| {
        one.kind == "AWS::EC2::Subnet" && subnets.contains(&format!("subnet-{}", one.logical_id).as_str())
    });
    let zone = |subnet: &Resource| {
        ["/AvailabilityZoneId", "/AvailabilityZone"].iter().find_map(|name| subnet.text(name)).map(str::to_owned)
    };
    let twice = declared.filter_map(zone).find(|zone| !zones.insert(zone.clone()));
    twice.map(PathRule::SameZone)
}
