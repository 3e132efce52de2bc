//! Everything that one environment consists of, in the order in which it is deployed.

use std::collections::BTreeMap;

use centinela_infra::{InfraError, Infrastructure, LAPTOP_ACCOUNT, LAPTOP_REGION, Resource, Sources};
use serde_json::Value;

use crate::template::Outline;

/// The largest template that a request carries.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
const TEMPLATE_BYTES_MAX: usize = 51_200;
/// Parameters that name a zone of the region by its id; an empty one is chosen when the network is made.
const ZONES: [&str; 3] = ["ZoneA", "ZoneB", "ZoneC"];
/// The parameter that says where the brokers' addresses stand in Parameter Store.
const BROKERS: &str = "KafkaBootstrap";
/// Types of a fixed name whose primary identifier is that name, and the property that holds it.
const NAMED: [(&str, &str); 8] = [
    ("AWS::Athena::WorkGroup", "Name"),
    ("AWS::DynamoDB::Table", "TableName"),
    ("AWS::IAM::Role", "RoleName"),
    ("AWS::KMS::Alias", "AliasName"),
    ("AWS::Kinesis::Stream", "Name"),
    ("AWS::Lambda::Function", "FunctionName"),
    ("AWS::Logs::LogGroup", "LogGroupName"),
    ("AWS::S3::Bucket", "BucketName"),
];

/// The property that holds the fixed name of a type, where that name is its primary identifier.
pub(crate) fn name_property(kind: &str) -> Option<&'static str> {
    NAMED.iter().find(|(known, _)| *known == kind).map(|(_, property)| *property)
}

/// Why an environment cannot be deployed as it is written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it, and the fields are what they name")]
pub enum DeploymentError {
    #[error(transparent)]
    Stacks(#[from] InfraError),
    #[error("{file}: {why}")]
    Template { file: String, why: String },
    #[error("{file} has {bytes} bytes, and a request carries {TEMPLATE_BYTES_MAX}: split the stack")]
    TooLarge { file: String, bytes: usize },
    #[error("{file}: parameter {name} has no value in env/{environment}.json and no default: give it one")]
    NoValue { file: String, name: String, environment: String },
    #[error(
        "{file} has no alias: what invokes the function must invoke one, or a version cannot be tried before it is used"
    )]
    NoAlias { file: String },
    #[error("events/{package} has no event that changes nothing: add smoke.json with its response")]
    NoSmoke { package: String },
}

/// A function of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The package that implements it.
    pub package: String,
    /// Its name, prefix included.
    pub name: String,
    /// What is invoked of it.
    pub alias: String,
    /// Where its code is in the artefact bucket.
    pub code_key: String,
    /// Invocations that are reserved for it.
    pub reserved: Option<u32>,
    /// The event that changes nothing.
    pub smoke: String,
}

/// What outlives its stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Logical id in the template.
    pub logical_id: String,
    /// CloudFormation type.
    pub kind: String,
}

/// What has a fixed name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Logical id in the template.
    pub logical_id: String,
    /// CloudFormation type.
    pub kind: String,
    /// Its name, with the placeholders of account and region in it.
    name: String,
    /// Whether it outlives its stack.
    pub is_kept: bool,
}

impl Named {
    /// Its name in an account and region.
    #[must_use]
    pub fn identifier(&self, account: &str, region: &str) -> String {
        self.name.replace(LAPTOP_ACCOUNT, account).replace(LAPTOP_REGION, region)
    }
}

/// A stack as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Its name, prefix included.
    pub name: String,
    /// Its file below `infra/`.
    pub file: String,
    /// The template.
    pub body: String,
    /// Name and value of each parameter that it declares.
    pub parameters: Vec<(String, String)>,
    /// Those of them that name a zone and are empty.
    pub open_zones: Vec<String>,
    /// How many resources it has.
    pub resources: usize,
    /// Whether it makes roles.
    pub makes_roles: bool,
    /// What outlives it.
    pub kept: Vec<Kept>,
    /// What has a fixed name in it.
    pub named: Vec<Named>,
    /// The function that it is about.
    pub function: Option<Function>,
}

/// An environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Such as `dev`.
    pub environment: String,
    /// What is put before every name.
    pub prefix: String,
    /// In the order in which they are deployed.
    pub stacks: Vec<Stack>,
    /// Where the brokers' addresses are looked for in Parameter Store.
    pub brokers_parameter: Option<String>,
    /// Where alarms are sent; empty where nobody gets them.
    pub alert_address: String,
    /// Values above what a new account allows, in words.
    pub above_default_quotas: Vec<String>,
}

impl Deployment {
    /// Reads an environment. `smoke` gives the event of a package that changes nothing.
    ///
    /// # Errors
    /// It cannot be deployed as it is written; see [`DeploymentError`].
    pub fn of(sources: &Sources, smoke: &dyn Fn(&str) -> Option<String>) -> Result<Self, DeploymentError> {
        let infrastructure = Infrastructure::from_sources(sources)?;
        let given: Value = serde_json::from_str(&sources.parameters)
            .map_err(|source| InfraError::Environment { file: format!("env/{}.json", sources.environment), source })?;
        let given = |name: &str| given["Parameters"][name].as_str().map(str::to_owned);
        let prefix = given("NamePrefix").unwrap_or_default();
        let mut stacks = Vec::new();
        for (file, body) in &sources.stacks {
            let outline = Outline::of(file, body)?;
            if body.len() > TEMPLATE_BYTES_MAX {
                return Err(DeploymentError::TooLarge { file: file.clone(), bytes: body.len() });
            }
            let mut parameters = Vec::new();
            for (name, default) in &outline.parameters {
                let value = given(name).or_else(|| default.clone()).ok_or_else(|| DeploymentError::NoValue {
                    file: file.clone(),
                    name: name.clone(),
                    environment: sources.environment.clone(),
                })?;
                parameters.push((name.clone(), value));
            }
            let is_open = |name: &&str| parameters.iter().any(|(known, value)| known == name && value.is_empty());
            let open_zones = ZONES.iter().copied().filter(|name| is_open(name)).map(str::to_owned).collect();
            let kept = outline.resources.iter().filter(|resource| resource.is_kept);
            let kept: Vec<_> =
                kept.map(|kept| Kept { logical_id: kept.logical_id.clone(), kind: kept.kind.clone() }).collect();
            stacks.push(Stack {
                name: format!("{prefix}centinela-{}", stem(file)),
                file: file.clone(),
                body: body.clone(),
                open_zones,
                resources: infrastructure.resources.iter().filter(|resource| resource.file == *file).count(),
                makes_roles: outline.makes_roles(),
                named: named(&infrastructure, file, &kept),
                function: function(&infrastructure, file, &outline, &parameters, smoke)?,
                kept,
                parameters,
            });
        }
        Ok(Self {
            environment: sources.environment.clone(),
            prefix,
            stacks,
            brokers_parameter: given(BROKERS),
            alert_address: given("AlertEmail").unwrap_or_default(),
            above_default_quotas: above_default_quotas(&infrastructure),
        })
    }

    /// The value of a parameter, if a stack declares it.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let all = self.stacks.iter().flat_map(|stack| &stack.parameters);
        all.filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).next()
    }

    /// Every function.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.stacks.iter().filter_map(|stack| stack.function.as_ref())
    }
}

/// `40-functions/score-transactions.yaml` is stack `40-score-transactions`: the number says when, the name what.
fn stem(file: &str) -> String {
    let file = file.strip_suffix(".yaml").unwrap_or(file);
    match file.split_once('/') {
        Some((directory, name)) => format!("{}-{name}", directory.split('-').next().unwrap_or_default()),
        None => file.to_owned(),
    }
}

fn named(infrastructure: &Infrastructure, file: &str, kept: &[Kept]) -> Vec<Named> {
    let of_file = infrastructure.resources.iter().filter(|resource| resource.file == file);
    of_file
        .filter_map(|resource| {
            let name = resource.properties.get(name_property(&resource.kind)?)?.as_str()?.to_owned();
            let is_kept = kept.iter().any(|kept| kept.logical_id == resource.logical_id);
            Some(Named { logical_id: resource.logical_id.clone(), kind: resource.kind.clone(), name, is_kept })
        })
        .collect()
}

fn function(
    infrastructure: &Infrastructure,
    file: &str,
    outline: &Outline,
    parameters: &[(String, String)],
    smoke: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Function>, DeploymentError> {
    let Some(found) = infrastructure.functions.iter().find(|function| function.file == file) else { return Ok(None) };
    let alias = outline.resources.iter().find(|resource| resource.kind == "AWS::Lambda::Alias");
    let alias = alias.and_then(|alias| alias.name.clone());
    let alias = alias.ok_or_else(|| DeploymentError::NoAlias { file: file.to_owned() })?;
    let package = found.binary.clone();
    let code_key = parameters.iter().find(|(name, _)| name.ends_with("CodeKey")).map(|(_, value)| value.clone());
    let smoke = smoke(&package).ok_or_else(|| DeploymentError::NoSmoke { package: package.clone() })?;
    Ok(Some(Function {
        name: found.name.clone(),
        alias,
        code_key: code_key.unwrap_or_else(|| format!("{package}/bootstrap.zip")),
        reserved: found.reserved_concurrency,
        smoke,
        package,
    }))
}

/// Units that a table may have before its quota is raised.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>
const TABLE_UNITS: u64 = 40_000;

fn above_default_quotas(infrastructure: &Infrastructure) -> Vec<String> {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    let units = |resource: &Resource| {
        let of = |pointer: &str| resource.properties.pointer(pointer).and_then(number);
        let places = ["/OnDemandThroughput/MaxReadRequestUnits", "/OnDemandThroughput/MaxWriteRequestUnits"];
        let provisioned =
            ["/ProvisionedThroughput/ReadCapacityUnits", "/ProvisionedThroughput/WriteCapacityUnits", "/MaxCapacity"];
        places.iter().chain(&provisioned).filter_map(|place| of(place)).max()
    };
    let tables = infrastructure.resources.iter().filter(|resource| {
        matches!(resource.kind.as_str(), "AWS::DynamoDB::Table" | "AWS::ApplicationAutoScaling::ScalableTarget")
    });
    let mut above = BTreeMap::new();
    for resource in tables {
        if let Some(units) = units(resource).filter(|units| *units > TABLE_UNITS) {
            let what = format!("{} {}", resource.file, resource.logical_id);
            above.insert(what, units);
        }
    }
    let text = |(what, units): (String, u64)| {
        format!("{what} may use {units} units a second, and a table has {TABLE_UNITS} by default")
    };
    above.into_iter().map(text).collect()
}
