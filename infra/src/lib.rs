//! Reads the CloudFormation stacks that production is deployed from, so that one machine runs exactly what they describe.
//!
//! [`Infrastructure::load`] takes a directory of stacks and the name of an environment, evaluates every intrinsic function with that
//! environment's parameters, and gives plain data: topics, tables, streams, buckets, functions and mappings. What one machine
//! cannot honour is named in [`Infrastructure::ignored`], never dropped in silence. [`Infrastructure::findings`] checks what a
//! linter of single files cannot see.
//!
//! It refuses a template that it does not understand completely: an unknown function, a transform, a reference or import that
//! leads nowhere. Each error names the file, the resource and the property. It never writes, and never talks to AWS.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

mod access;
mod alarm_times;
mod alarms;
mod attributes;
mod boards;
mod budgets;
mod bundled;
mod calls;
mod cost_caps;
mod counted;
mod encryption;
mod error;
mod evaluate;
mod exposure;
mod expressions;
mod extract;
mod http;
mod iam;
mod keeping;
mod mappings;
mod metrics;
mod model;
mod network;
mod parameters;
mod paths;
mod reading;
mod required_alarms;
mod rules;
pub mod schedule;
mod stream_mappings;
mod template;
mod traps;
mod triggers;
mod wiring;

pub use access::AccessRule;
pub use alarm_times::AlarmTime;
pub use alarms::AlarmRule;
pub use budgets::BudgetRule;
pub use calls::Call;
pub use encryption::EncryptionRule;
pub use error::{InfraError, Problem, Site};
pub use exposure::ExposureRule;
pub use http::{Cors, HttpApi, HttpAuthorizer, HttpRoute};
pub use keeping::KeepingRule;
pub use model::{
    Bucket, Export, Function, Ignored, Mapping, Resource, StartingPosition, Stream, StreamMapping, Table, Topic,
    Trigger, TriggerSource,
};
pub use network::NetworkRule;
pub use paths::PathRule;
pub use required_alarms::MissingAlarm;
pub use rules::{Finding, Rule};
pub use traps::Trap;
pub use wiring::WiringRule;

use evaluate::Stacks;
use serde_json::Value;
use template::{Declaration, Template};

/// Account that stands in every ARN on one machine.
pub const LAPTOP_ACCOUNT: &str = "000000000000";
/// Region that stands in every ARN on one machine.
pub const LAPTOP_REGION: &str = "us-east-1";
/// Stands for every secret, which only an account holds: 256 bits as 64 hexadecimal digits, as the stacks generate them. It is
/// public and protects nothing.
pub const PLACEHOLDER_SECRET: &str = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef";

/// Everything that one environment consists of.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Infrastructure {
    /// Name of the environment, for example `local`.
    pub environment: String,
    /// Kafka topics.
    pub topics: Vec<Topic>,
    /// DynamoDB tables.
    pub tables: Vec<Table>,
    /// Kinesis streams.
    pub streams: Vec<Stream>,
    /// S3 buckets.
    pub buckets: Vec<Bucket>,
    /// Lambda functions.
    pub functions: Vec<Function>,
    /// Kafka event source mappings.
    pub mappings: Vec<Mapping>,
    /// Event source mappings of Kinesis streams.
    pub stream_mappings: Vec<StreamMapping>,
    /// What invokes functions other than Kafka mappings, those of streams among them.
    pub triggers: Vec<Trigger>,
    /// Properties, of the kinds above only, that one machine cannot honour.
    pub ignored: Vec<Ignored>,
    /// Every resource of every kind that exists in this environment, resolved.
    pub resources: Vec<Resource>,
    /// Every export of every stack.
    pub exports: Vec<Export>,
    /// What each function, by its binary, was recorded to call.
    pub calls: BTreeMap<String, BTreeSet<Call>>,
    /// The metrics that each function, by its binary, counts.
    pub counted: BTreeMap<String, BTreeSet<String>>,
}

/// Texts of the stacks and of one environment's parameter file, wherever they come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// File name (a function's with its directory) and text of each stack; the order of the names is the order of deployment.
    pub stacks: Vec<(String, String)>,
    /// Name of the environment.
    pub environment: String,
    /// Text of `env/<environment>.json`.
    pub parameters: String,
    /// Function and text of each `calls/<function>.txt`.
    pub calls: Vec<(String, String)>,
    /// Functions, beside those that this crate was built with, and the metrics that each counts.
    pub counted: Vec<(String, Vec<String>)>,
}

impl Sources {
    /// Reads every `*.yaml` of a directory and of its numbered directories, such as `40-functions`, and its
    /// `env/<environment>.json`.
    ///
    /// # Errors
    /// A file cannot be read, the directory has no stack, or there is no such environment.
    pub fn from_directory(directory: &Path, environment: &str) -> Result<Self, InfraError> {
        let mut stacks = Vec::new();
        for path in files(directory, "yaml")? {
            stacks.push((file_name(&path), read(&path)?));
        }
        for numbered in files(directory, "")?.iter().filter(|path| path.is_dir()) {
            let name = file_name(numbered);
            if name.starts_with(|first: char| first.is_ascii_digit()) {
                for path in files(numbered, "yaml")? {
                    stacks.push((format!("{name}/{}", file_name(&path)), read(&path)?));
                }
            }
        }
        if stacks.is_empty() {
            return Err(InfraError::NoStacks { path: directory.to_owned() });
        }
        stacks.sort();
        let environments = files(&directory.join("env"), "json")?;
        let wanted = format!("{environment}.json");
        let Some(path) = environments.iter().find(|path| file_name(path) == wanted) else {
            let known = environments.iter().filter_map(|path| path.file_stem()).map(|stem| stem.to_string_lossy());
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(InfraError::UnknownEnvironment { environment: environment.to_owned(), known });
        };
        let mut calls = Vec::new();
        let recorded = directory.join("calls");
        for path in if recorded.is_dir() { files(&recorded, "txt")? } else { Vec::new() } {
            calls.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), read(&path)?));
        }
        let counted = new_functions(&directory.join("../functions"))?;
        Ok(Self { stacks, environment: environment.to_owned(), parameters: read(path)?, calls, counted })
    }

    /// The stacks that this binary was built with.
    ///
    /// # Errors
    /// There is no such environment.
    pub fn bundled(environment: &str) -> Result<Self, InfraError> {
        let Some((_, parameters)) = bundled::ENVIRONMENTS.iter().find(|(name, _)| *name == environment) else {
            let known = bundled::ENVIRONMENTS.map(|(name, _)| name).join(", ");
            return Err(InfraError::UnknownEnvironment { environment: environment.to_owned(), known });
        };
        let stacks = bundled::SHARED.iter().chain(bundled::FUNCTIONS);
        let mut stacks: Vec<_> = stacks.map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
        stacks.sort();
        let calls = bundled::CALLS.iter().map(|(function, text)| ((*function).to_owned(), (*text).to_owned()));
        let (environment, parameters) = (environment.to_owned(), (*parameters).to_owned());
        Ok(Self { stacks, environment, parameters, calls: calls.collect(), counted: Vec::new() })
    }
}

impl Infrastructure {
    /// Reads the stacks of a directory with the parameters of `env/<environment>.json`.
    ///
    /// # Errors
    /// A file cannot be read, or the stacks cannot be understood completely.
    pub fn load(directory: &Path, environment: &str) -> Result<Self, InfraError> {
        Self::from_sources(&Sources::from_directory(directory, environment)?)
    }

    /// Reads the stacks that this binary was built with.
    ///
    /// # Errors
    /// There is no such environment. (That every bundled environment can be read is tested.)
    pub fn bundled(environment: &str) -> Result<Self, InfraError> {
        Self::from_sources(&Sources::bundled(environment)?)
    }

    /// Reads stacks from their texts.
    ///
    /// # Errors
    /// The stacks cannot be understood completely.
    pub fn from_sources(sources: &Sources) -> Result<Self, InfraError> {
        let mut ordered: Vec<_> = sources.stacks.iter().collect();
        ordered.sort();
        let templates =
            ordered.into_iter().map(|(file, text)| Template::parse(file, text)).collect::<Result<_, _>>()?;
        let parameter_file = format!("env/{}.json", sources.environment);
        let stacks = Stacks::new(templates, (&parameter_file, &sources.parameters))?;
        let (environment, calls) = (sources.environment.clone(), calls::all(&sources.calls));
        let built_in = bundled::COUNTED.iter().map(|(function, names)| ((*function).to_owned(), *names));
        let mut counted: BTreeMap<String, BTreeSet<String>> = built_in
            .map(|(function, names)| (function, names.iter().map(|name| (*name).to_owned()).collect()))
            .collect();
        counted.extend(
            sources.counted.iter().map(|(function, names)| (function.clone(), names.iter().cloned().collect())),
        );
        let mut infrastructure = Self { environment, calls, counted, ..Self::default() };
        let mut prefixes = Vec::new();
        for (stack, template) in stacks.templates.iter().enumerate() {
            for logical_id in template.resources.keys() {
                let Some(Declaration { kind, body }) = template.resource(logical_id)? else {
                    continue;
                };
                let site = Site::new(&template.file, logical_id, "");
                if !stacks.exists(stack, body, &site)? {
                    continue;
                }
                prefixes.push(stacks.parameter(stack, "NamePrefix"));
                let policy = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
                infrastructure.resources.push(Resource {
                    file: template.file.clone(),
                    logical_id: logical_id.clone(),
                    kind: kind.to_owned(),
                    properties: stacks.properties(stack, body, &site)?,
                    deletion_policy: policy("DeletionPolicy"),
                    update_replace_policy: policy("UpdateReplacePolicy"),
                });
            }
        }
        for (resource, prefix) in infrastructure.resources.clone().iter().zip(prefixes) {
            infrastructure.extract(resource, prefix.and_then(Value::as_str).unwrap_or_default())?;
        }
        infrastructure.exports = stacks.export_list()?;
        Ok(infrastructure)
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.name == name)
    }

    /// The function of this name, prefix included.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// The ARN of every SNS topic.
    #[must_use]
    pub fn topics_of_sns(&self) -> Vec<String> {
        let topics = self.resources.iter().filter(|resource| resource.kind == "AWS::SNS::Topic");
        let named = topics.filter_map(|topic| topic.properties.get("TopicName").and_then(Value::as_str));
        named.map(|name| format!("arn:aws:sns:{LAPTOP_REGION}:{LAPTOP_ACCOUNT}:{name}")).collect()
    }

    /// What stands for the identifier that AWS assigns to the event source mapping with this logical id: dimension
    /// `EventSourceMappingUUID` of its metrics.
    #[must_use]
    pub fn mapping_id(logical_id: &str) -> String {
        attributes::mapping_id(logical_id)
    }

    /// Names of the metrics of our own that alarms watch of a function: it must send each, or its alarm can never speak.
    #[must_use]
    pub fn watched_metrics(&self, function: &str) -> BTreeSet<&str> {
        alarms::watched(self, function)
    }

    /// Whether this environment is one machine, where nothing is encrypted and nobody logs in.
    pub(crate) fn is_one_machine(&self) -> bool {
        self.environment == "local"
    }

    /// Whether customers wait for what this environment answers, or for what is tried there before they do.
    pub(crate) fn is_for_customers(&self) -> bool {
        matches!(self.environment.as_str(), "prod" | "stage")
    }

    /// Whether it is where the customers' own money is decided about.
    pub(crate) fn is_production(&self) -> bool {
        self.environment == "prod"
    }

    /// What is wrong with the stacks as a whole, though each could be read: empty for stacks that may be deployed.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        rules::check(self)
    }
}

fn files(directory: &Path, extension: &str) -> Result<Vec<std::path::PathBuf>, InfraError> {
    let error = |source| InfraError::Read { path: directory.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.extension().unwrap_or_default() == extension {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What functions count that came after this crate was built.
fn new_functions(packages: &Path) -> Result<Vec<(String, Vec<String>)>, InfraError> {
    let mut found = Vec::new();
    let packages = if packages.is_dir() { files(packages, "")? } else { Vec::new() };
    for package in packages {
        let name = file_name(&package);
        let metrics = package.join("src/metrics.rs");
        if bundled::COUNTED.iter().all(|(known, _)| *known != name) && metrics.is_file() {
            let source = read(&metrics)?;
            found.push((name, counted::counted(&source).into_iter().map(str::to_owned).collect()));
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String, InfraError> {
    std::fs::read_to_string(path).map_err(|source| InfraError::Read { path: path.to_owned(), source })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
