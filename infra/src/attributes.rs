//! What `Ref` and `GetAtt` of a resource give: its own name where the stack sets one, and otherwise an identifier of the form that
//! AWS would assign.

use serde_json::Value;

use super::error::{InfraError, Problem, Site};
use super::evaluate::Stacks;
use super::model::Resource;
use super::template::{Declaration, mistyped};
use super::{Infrastructure, LAPTOP_ACCOUNT, LAPTOP_REGION};

/// Stands where AWS assigns a random identifier.
pub(super) const ASSIGNED_ID: &str = "00000000-0000-0000-0000-000000000000";

/// A resource whose `Ref` or attribute is asked for.
struct Target<'a> {
    kind: &'a str,
    logical_id: &'a str,
    name: String,
}

impl Stacks {
    /// The value of `Ref`.
    pub(super) fn resource_reference(
        &self,
        stack: usize,
        logical_id: &str,
        site: &Site,
        depth: u16,
    ) -> Result<String, InfraError> {
        let target = self.target(stack, logical_id, site, depth)?;
        Ok(match target.kind {
            "AWS::MSK::Topic" => self.topic_arn(stack, &target, site, depth)?,
            "AWS::MSK::Cluster" | "AWS::MSK::Configuration" | "AWS::SNS::Topic" | "AWS::SecretsManager::Secret" => {
                arn(&target)
            }
            "AWS::Lambda::EventSourceMapping" => mapping_id(logical_id),
            "AWS::Lambda::Alias" => {
                let function = self.property(stack, logical_id, "FunctionName", site, depth)?.unwrap_or_default();
                format!("arn:aws:lambda:{LAPTOP_REGION}:{LAPTOP_ACCOUNT}:function:{function}:{}", target.name)
            }
            "AWS::IAM::ManagedPolicy" => format!("arn:aws:iam::{LAPTOP_ACCOUNT}:policy/{}", target.name),
            "AWS::KMS::Key" => key_id(logical_id),
            "AWS::EC2::VPC" => format!("vpc-{logical_id}"),
            "AWS::EC2::Subnet" => format!("subnet-{logical_id}"),
            "AWS::EC2::SecurityGroup" => format!("sg-{logical_id}"),
            "AWS::EC2::RouteTable" => format!("rtb-{logical_id}"),
            _ => target.name,
        })
    }

    /// The value of `GetAtt`.
    pub(super) fn attribute(
        &self,
        stack: usize,
        logical_id: &str,
        attribute: &str,
        site: &Site,
        depth: u16,
    ) -> Result<String, InfraError> {
        let target = self.target(stack, logical_id, site, depth)?;
        Ok(match (target.kind, attribute) {
            ("AWS::MSK::Topic", "TopicArn") => self.topic_arn(stack, &target, site, depth)?,
            ("AWS::MSK::Configuration", "LatestRevision.Revision") | ("AWS::Lambda::Version", "Version") => {
                "1".to_owned()
            }
            ("AWS::EC2::VPC", "CidrBlock") => {
                self.property(stack, logical_id, "CidrBlock", site, depth)?.unwrap_or_default()
            }
            ("AWS::EC2::SecurityGroup", "GroupId") | ("AWS::EC2::VPC", "VpcId") | ("AWS::EC2::Subnet", "SubnetId") => {
                self.resource_reference(stack, logical_id, site, depth)?
            }
            ("AWS::Logs::LogGroup", "Arn") => format!("{}:*", arn(&target)),
            ("AWS::S3::Bucket", "Arn") => format!("arn:aws:s3:::{}", target.name),
            ("AWS::ApiGatewayV2::Api", "ApiEndpoint") => format!("https://{}.execute-api.example", target.name),
            (
                "AWS::DynamoDB::Table"
                | "AWS::Events::Rule"
                | "AWS::IAM::Role"
                | "AWS::KMS::Key"
                | "AWS::Kinesis::Stream"
                | "AWS::Lambda::Function"
                | "AWS::MSK::Cluster"
                | "AWS::MSK::Configuration"
                | "AWS::SQS::Queue",
                "Arn",
            )
            | ("AWS::SNS::Topic", "TopicArn") => arn(&target),
            (kind, attribute) => {
                return Err(
                    site.error(Problem::UnknownAttribute { kind: kind.to_owned(), attribute: attribute.to_owned() })
                );
            }
        })
    }

    fn target<'a>(
        &'a self,
        stack: usize,
        logical_id: &'a str,
        site: &Site,
        depth: u16,
    ) -> Result<Target<'a>, InfraError> {
        let template = &self.templates[stack];
        let Some(Declaration { kind, body }) = template.resource(logical_id)? else {
            return Err(site.error(Problem::UnknownReference(logical_id.to_owned())));
        };
        if !self.exists(stack, body, &Site::new(&template.file, logical_id, ""))? {
            return Err(site.error(Problem::Absent(logical_id.to_owned())));
        }
        let name = match name_property(kind) {
            Some(property) => self.property(stack, logical_id, property, site, depth)?,
            None => None,
        };
        Ok(Target { kind, logical_id, name: name.unwrap_or_else(|| logical_id.to_owned()) })
    }

    fn property(
        &self,
        stack: usize,
        logical_id: &str,
        property: &str,
        site: &Site,
        depth: u16,
    ) -> Result<Option<String>, InfraError> {
        let Some(Declaration { body, .. }) = self.templates[stack].resource(logical_id)? else {
            return Ok(None);
        };
        let Some(value) = body.get("Properties").and_then(|properties| properties.get(property)) else {
            return Ok(None);
        };
        match self.evaluate(stack, value, site, depth + 1)? {
            None => Ok(None),
            Some(value) => self.text(stack, &value, site, depth + 1).map(Some),
        }
    }

    /// `arn:aws:kafka:REGION:ACCOUNT:topic/CLUSTER/UUID/TOPIC`, from the cluster's ARN.
    fn topic_arn(&self, stack: usize, target: &Target<'_>, site: &Site, depth: u16) -> Result<String, InfraError> {
        let cluster = self.property(stack, target.logical_id, "ClusterArn", site, depth)?;
        let cluster = cluster.unwrap_or_default();
        let Some((service, cluster)) = cluster.split_once(":cluster/") else {
            let site = Site::new(&self.templates[stack].file, target.logical_id, "ClusterArn");
            return Err(site.error(mistyped("the ARN of a cluster", &Value::String(cluster))));
        };
        Ok(format!("{service}:topic/{cluster}/{}", target.name))
    }
}

/// Stands for the identifier that AWS would assign to this event source mapping.
pub(super) fn mapping_id(logical_id: &str) -> String {
    format!("{ASSIGNED_ID}-{logical_id}")
}

/// Stands for the identifier that AWS would assign to this key: each key has its own.
fn key_id(logical_id: &str) -> String {
    format!("{ASSIGNED_ID}-{logical_id}")
}

/// The ARN of a key that is named by its ARN, its identifier or its alias.
pub(super) fn key_arn(named: &str, infrastructure: &Infrastructure) -> String {
    if named.starts_with("arn:") {
        return named.to_owned();
    }
    let aliases = infrastructure.resources.iter().filter(|resource| resource.kind == "AWS::KMS::Alias");
    let mut of_alias = aliases.filter(|alias| alias.text("/AliasName") == Some(named));
    let id = of_alias.find_map(|alias| alias.text("/TargetKeyId")).unwrap_or(named);
    format!("arn:aws:kms:{LAPTOP_REGION}:{LAPTOP_ACCOUNT}:key/{id}")
}

/// The key of the stacks that is named so; none where it is AWS's own, or nobody's.
pub(super) fn own_key<'a>(named: &str, infrastructure: &'a Infrastructure) -> Option<&'a Resource> {
    let arn = key_arn(named, infrastructure);
    let mut keys = infrastructure.resources.iter().filter(|resource| resource.kind == "AWS::KMS::Key");
    keys.find(|key| arn.ends_with(&format!(":key/{}", key_id(&key.logical_id))))
}

/// The ARN of the SNS topic of this name.
pub(super) fn topic_arn_of(name: &str) -> String {
    format!("arn:aws:sns:{LAPTOP_REGION}:{LAPTOP_ACCOUNT}:{name}")
}

fn name_property(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "AWS::Athena::WorkGroup" | "AWS::Lambda::Alias" => "Name",
        "AWS::CloudWatch::Alarm" | "AWS::CloudWatch::CompositeAlarm" => "AlarmName",
        "AWS::DynamoDB::Table" => "TableName",
        "AWS::Events::Rule" => "Name",
        "AWS::SQS::Queue" => "QueueName",
        "AWS::IAM::Role" => "RoleName",
        "AWS::KMS::Alias" => "AliasName",
        "AWS::Kinesis::Stream" | "AWS::MSK::Configuration" | "AWS::SecretsManager::Secret" => "Name",
        "AWS::Lambda::Function" => "FunctionName",
        "AWS::Logs::LogGroup" => "LogGroupName",
        "AWS::MSK::Cluster" => "ClusterName",
        "AWS::MSK::Topic" | "AWS::SNS::Topic" => "TopicName",
        "AWS::S3::Bucket" => "BucketName",
        _ => return None,
    })
}

fn arn(target: &Target<'_>) -> String {
    let name = &target.name;
    let (service, region, resource) = match target.kind {
        "AWS::DynamoDB::Table" => ("dynamodb", LAPTOP_REGION, format!("table/{name}")),
        "AWS::Events::Rule" => ("events", LAPTOP_REGION, format!("rule/{name}")),
        "AWS::SQS::Queue" => ("sqs", LAPTOP_REGION, name.clone()),
        "AWS::IAM::Role" => ("iam", "", format!("role/{name}")),
        "AWS::KMS::Key" => ("kms", LAPTOP_REGION, format!("key/{}", key_id(target.logical_id))),
        "AWS::Kinesis::Stream" => ("kinesis", LAPTOP_REGION, format!("stream/{name}")),
        "AWS::Lambda::Function" => ("lambda", LAPTOP_REGION, format!("function:{name}")),
        "AWS::Logs::LogGroup" => ("logs", LAPTOP_REGION, format!("log-group:{name}")),
        "AWS::MSK::Cluster" => ("kafka", LAPTOP_REGION, format!("cluster/{name}/{ASSIGNED_ID}")),
        "AWS::MSK::Configuration" => ("kafka", LAPTOP_REGION, format!("configuration/{name}/{ASSIGNED_ID}")),
        "AWS::SecretsManager::Secret" => ("secretsmanager", LAPTOP_REGION, format!("secret:{name}")),
        _ => ("sns", LAPTOP_REGION, name.clone()),
    };
    format!("arn:aws:{service}:{region}:{LAPTOP_ACCOUNT}:{resource}")
}
