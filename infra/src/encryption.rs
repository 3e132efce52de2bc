//! What is stored is encrypted with a key of the stacks, whose policy and rotation are ours.

use thiserror::Error;

use super::Infrastructure;
use super::attributes::own_key;
use super::model::Resource;

/// What is stored in the clear, or with a key that nobody here controls.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum EncryptionRule {
    #[error("is not encrypted with a key of ours: {0} must name one that the stacks declare")]
    NotEncrypted(&'static str),
    #[error("does not rotate the key")]
    NotRotated,
    #[error("names \"{0}\" as its key, which no stack declares")]
    UnknownKey(String),
}

/// Which property names the key, and what must be said beside it.
struct Wanted {
    key: &'static str,
    beside: &'static [(&'static str, &'static str)],
}

fn wanted(kind: &str) -> Option<Wanted> {
    let only = |key| Some(Wanted { key, beside: &[] });
    match kind {
        "AWS::DynamoDB::Table" => Some(Wanted {
            key: "/SSESpecification/KMSMasterKeyId",
            beside: &[("/SSESpecification/SSEEnabled", "true"), ("/SSESpecification/SSEType", "KMS")],
        }),
        "AWS::Kinesis::Stream" => {
            Some(Wanted { key: "/StreamEncryption/KeyId", beside: &[("/StreamEncryption/EncryptionType", "KMS")] })
        }
        "AWS::MSK::Cluster" => only("/EncryptionInfo/EncryptionAtRest/DataVolumeKMSKeyId"),
        "AWS::SQS::Queue" | "AWS::SNS::Topic" => only("/KmsMasterKeyId"),
        "AWS::Logs::LogGroup" | "AWS::SecretsManager::Secret" => only("/KmsKeyId"),
        "AWS::Lambda::Function" => only("/KmsKeyArn"),
        "AWS::Athena::WorkGroup" => Some(Wanted {
            key: "/WorkGroupConfiguration/ResultConfiguration/EncryptionConfiguration/KmsKey",
            beside: &[(
                "/WorkGroupConfiguration/ResultConfiguration/EncryptionConfiguration/EncryptionOption",
                "SSE_KMS",
            )],
        }),
        _ => None,
    }
}

/// What is wrong with how one resource is encrypted.
pub(super) fn rules(resource: &Resource, infrastructure: &Infrastructure) -> Vec<EncryptionRule> {
    if resource.kind == "AWS::KMS::Key" {
        return if resource.is_on("/EnableKeyRotation") { Vec::new() } else { vec![EncryptionRule::NotRotated] };
    }
    if resource.kind == "AWS::S3::Bucket" {
        return bucket_rules(resource, infrastructure);
    }
    let Some(wanted) = wanted(&resource.kind) else { return Vec::new() };
    let text = |pointer: &str| resource.properties.pointer(pointer).map(|value| value.to_string().replace('"', ""));
    let is_said = wanted.beside.iter().all(|(pointer, value)| text(pointer).as_deref() == Some(*value));
    match resource.text(wanted.key) {
        Some(key) if is_said => unknown(key, infrastructure).into_iter().collect(),
        _ => vec![EncryptionRule::NotEncrypted(wanted.key)],
    }
}

fn unknown(key: &str, infrastructure: &Infrastructure) -> Option<EncryptionRule> {
    own_key(key, infrastructure).is_none().then(|| EncryptionRule::UnknownKey(key.to_owned()))
}

/// A bucket with data has a key of ours. One with code, and one that AWS writes its logs to, has S3's own, which must be said.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html>
fn bucket_rules(bucket: &Resource, infrastructure: &Infrastructure) -> Vec<EncryptionRule> {
    const DEFAULT: &str = "/BucketEncryption/ServerSideEncryptionConfiguration/0/ServerSideEncryptionByDefault";
    let name = bucket.text("/BucketName").unwrap_or_default();
    let algorithm = bucket.text(&format!("{DEFAULT}/SSEAlgorithm")).unwrap_or_default();
    let of = |kind: &str, pointer: &str| {
        let mut others = infrastructure.resources.iter().filter(|other| other.kind == kind);
        others.any(|other| other.text(pointer) == Some(name))
    };
    let holds_code = of("AWS::Lambda::Function", "/Code/S3Bucket");
    let flows = infrastructure.resources.iter().filter(|other| other.kind == "AWS::EC2::FlowLog");
    let holds_flows =
        flows.filter_map(|flow| flow.text("/LogDestination")).any(|to| to.contains(&format!(":::{name}/")));
    let holds_logs = of("AWS::S3::Bucket", "/LoggingConfiguration/DestinationBucketName") || holds_flows;
    match (algorithm, bucket.text(&format!("{DEFAULT}/KMSMasterKeyID"))) {
        ("aws:kms" | "aws:kms:dsse", Some(key)) => unknown(key, infrastructure).into_iter().collect(),
        ("AES256", _) if holds_code || holds_logs => Vec::new(),
        _ => vec![EncryptionRule::NotEncrypted("BucketEncryption")],
    }
}
