//! What each function was recorded to call while the whole system ran, and what that asks of its role.
//!
//! `infra/calls/FUNCTION.txt` holds one call a line: the action as IAM names it, and on what, in the names of the environment without
//! a prefix. A test runs the system, and fails when a function calls anything else or does not call one of them any more.

use std::collections::{BTreeMap, BTreeSet};

use super::iam::Request;
use super::model::{Function, Resource};
use super::triggers::function_name;
use super::{Infrastructure, LAPTOP_ACCOUNT, LAPTOP_REGION};

/// One call: an action of IAM and what it is done to, such as `dynamodb:GetItem` and `table/user_state`.
///
/// On a Kafka cluster `cluster`, `topic/NAME` and `group/NAME`; of S3 `bucket/LOGICAL-ID`, with a first folder and `/*` behind it for
/// objects; of Lambda `function/NAME` and `mapping/FUNCTION`; `table/NAME`, `stream/NAME`, `sns/TOPIC`; `*` where IAM knows no resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The action.
    pub action: String,
    /// What it is done to.
    pub on: String,
}

impl std::fmt::Display for Call {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.action, self.on)
    }
}

/// What a function's role must allow, and for what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Need {
    pub(super) request: Request,
    /// Who makes the request.
    pub(super) by: By,
}

/// Who makes a request in a role's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    /// The function's own code, as recorded.
    Code,
    /// Lambda, on behalf of the function or of its mapping, as AWS documents it.
    Lambda,
    /// A service that opens what is encrypted with a key of the stacks.
    Key,
}

/// The calls in the text of a file.
pub(super) fn parse(text: &str) -> BTreeSet<Call> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let words = lines.filter_map(|line| line.split_once(' '));
    words.map(|(action, on)| Call { action: action.to_owned(), on: on.trim().to_owned() }).collect()
}

impl Infrastructure {
    /// The calls that this function was recorded to make; `None` where nothing was ever recorded of it.
    #[must_use]
    pub fn recorded_calls(&self, function: &Function) -> Option<&BTreeSet<Call>> {
        self.calls.get(&function.binary)
    }
}

/// What precedes the names of this environment.
pub(super) fn prefix(function: &Function) -> &str {
    function.name.strip_suffix(&function.binary).unwrap_or_default()
}

/// The request that a recorded call is in this environment; none when it is about something that no stack declares.
pub(super) fn request(call: &Call, function: &Function, infrastructure: &Infrastructure) -> Option<Request> {
    let prefix = prefix(function);
    let (kind, name) = call.on.split_once('/').unwrap_or((call.on.as_str(), ""));
    let mut context = vec![("aws:ResourceAccount", LAPTOP_ACCOUNT.to_owned())];
    let lambda = |name: &str| format!("arn:aws:lambda:{LAPTOP_REGION}:{LAPTOP_ACCOUNT}:function:{prefix}{name}");
    let resource = match kind {
        "*" => "*".to_owned(),
        "table" => {
            let named = format!("{prefix}{name}");
            infrastructure.tables.iter().find(|table| table.name == named)?;
            format!("arn:aws:dynamodb:{LAPTOP_REGION}:{LAPTOP_ACCOUNT}:table/{named}")
        }
        "stream" => {
            let named = format!("{prefix}{name}");
            infrastructure.streams.iter().find(|stream| stream.name == named)?;
            format!("arn:aws:kinesis:{LAPTOP_REGION}:{LAPTOP_ACCOUNT}:stream/{named}")
        }
        "bucket" => {
            let (id, key) = name.split_once('/').map_or((name, None), |(id, key)| (id, Some(key)));
            let bucket = infrastructure.buckets.iter().find(|bucket| bucket.logical_id == id)?;
            let key = key.map(|key| format!("/{}", key.replace('*', "x"))).unwrap_or_default();
            format!("arn:aws:s3:::{}{key}", bucket.name)
        }
        "function" => lambda(name),
        "mapping" => {
            // The function as its mapping names it, with the alias where it has one.
            let wanted = format!("{prefix}{name}");
            let mut mappings =
                infrastructure.resources.iter().filter(|one| one.kind == "AWS::Lambda::EventSourceMapping");
            let is_its = |one: &&Resource| one.text("/FunctionName").map(function_name) == Some(wanted.as_str());
            let named = mappings.find(is_its).and_then(|one| one.text("/FunctionName"));
            let named = named.filter(|named| named.starts_with("arn:"));
            context.push(("lambda:FunctionArn", named.map_or_else(|| lambda(name), str::to_owned)));
            format!("arn:aws:lambda:{LAPTOP_REGION}:{LAPTOP_ACCOUNT}:event-source-mapping:x")
        }
        "sns" => format!("arn:aws:sns:{LAPTOP_REGION}:{LAPTOP_ACCOUNT}:{prefix}{name}"),
        "cluster" => cluster_arn(infrastructure)?,
        "topic" => {
            infrastructure.topic(name)?;
            beside_cluster(infrastructure, "topic", name)?
        }
        "group" => beside_cluster(infrastructure, "group", name)?,
        _ => return None,
    };
    Some(Request { action: call.action.clone(), resource, context })
}

/// The ARN of the one cluster, as every stack gets it.
pub(super) fn cluster_arn(infrastructure: &Infrastructure) -> Option<String> {
    let cluster = infrastructure.resources.iter().find(|resource| resource.kind == "AWS::MSK::Cluster")?;
    let name = cluster.text("/ClusterName")?;
    let id = super::attributes::ASSIGNED_ID;
    Some(format!("arn:aws:kafka:{LAPTOP_REGION}:{LAPTOP_ACCOUNT}:cluster/{name}/{id}"))
}

/// The ARN of a topic or a group of the cluster.
fn beside_cluster(infrastructure: &Infrastructure, kind: &str, name: &str) -> Option<String> {
    let cluster = cluster_arn(infrastructure)?;
    Some(format!("{}/{name}", cluster.replacen(":cluster/", &format!(":{kind}/"), 1)))
}

/// Everything that a function's role must allow in this environment.
pub(super) fn needs(function: &Function, declared: &Resource, infrastructure: &Infrastructure) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    let recorded = infrastructure.recorded_calls(function).into_iter().flatten();
    for call in recorded.filter_map(|call| request(call, function, infrastructure)) {
        needs.insert(Need { request: call, by: By::Code });
    }
    needs.extend(of_lambda(function, declared, infrastructure));
    let keyed: Vec<Need> = needs.iter().flat_map(|need| of_key(need, infrastructure)).collect();
    needs.extend(keyed);
    if let Some(key) = declared.text("/KmsKeyArn") {
        needs.insert(with_key("kms:Decrypt", key, "lambda"));
    }
    needs
}

/// What Lambda does in the role's name.
fn of_lambda(function: &Function, declared: &Resource, infrastructure: &Infrastructure) -> Vec<Need> {
    let mut asked: Vec<(&str, String)> = Vec::new();
    let log_group = declared.text("/LoggingConfig/LogGroup").map(str::to_owned);
    let log_group = log_group.unwrap_or_else(|| format!("/aws/lambda/{}", function.name));
    let log_group = format!("arn:aws:logs:{LAPTOP_REGION}:{LAPTOP_ACCOUNT}:log-group:{log_group}:*");
    asked.extend(["logs:CreateLogStream", "logs:PutLogEvents"].map(|action| (action, log_group.clone())));
    if declared.properties.get("VpcConfig").is_some() {
        asked.extend(INTERFACES.map(|action| (action, "*".to_owned())));
    }
    for mapping in infrastructure.mappings.iter().filter(|mapping| mapping.function == function.name) {
        asked.extend(of_kafka_mapping(mapping, infrastructure));
    }
    for mapping in infrastructure.stream_mappings.iter().filter(|mapping| mapping.function == function.name) {
        let stream = format!("arn:aws:kinesis:{LAPTOP_REGION}:{LAPTOP_ACCOUNT}:stream/{}", mapping.stream);
        asked.extend(STREAM_READING.map(|action| (action, stream.clone())));
        asked.push(("kinesis:ListStreams", "*".to_owned()));
        match mapping.on_failure.as_deref() {
            Some(queue) if queue.contains(":sqs:") => asked.push(("sqs:SendMessage", queue.to_owned())),
            Some(topic) if topic.contains(":sns:") => asked.push(("sns:Publish", topic.to_owned())),
            _ => {}
        }
    }
    let need = |(action, resource): (&str, String)| Need {
        request: Request { action: action.to_owned(), resource, context: Vec::new() },
        by: By::Lambda,
    };
    asked.into_iter().map(need).collect()
}

/// What Lambda does with network interfaces of a function or a mapping.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions>
pub(super) const INTERFACES: [&str; 8] = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ec2:UnassignPrivateIpAddresses",
];

/// As in AWS's managed policy for functions of a stream.
/// <https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSLambdaKinesisExecutionRole.html>
const STREAM_READING: [&str; 6] = [
    "kinesis:DescribeStream",
    "kinesis:DescribeStreamSummary",
    "kinesis:GetRecords",
    "kinesis:GetShardIterator",
    "kinesis:ListShards",
    "kinesis:SubscribeToShard",
];

/// <https://docs.aws.amazon.com/lambda/latest/dg/with-msk-permissions.html> and, for what is given up,
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure.html>.
fn of_kafka_mapping(mapping: &super::Mapping, infrastructure: &Infrastructure) -> Vec<(&'static str, String)> {
    let Some(cluster) = cluster_arn(infrastructure) else { return Vec::new() };
    let beside = |kind: &str, name: &str| beside_cluster(infrastructure, kind, name).unwrap_or_default();
    let mut asked = vec![
        ("kafka:GetBootstrapBrokers", "*".to_owned()),
        ("kafka:DescribeClusterV2", cluster.clone()),
        ("kafka-cluster:Connect", cluster.clone()),
        ("kafka-cluster:DescribeClusterDynamicConfiguration", cluster.clone()),
        ("kafka-cluster:DescribeTopic", beside("topic", &mapping.topic)),
        ("kafka-cluster:ReadData", beside("topic", &mapping.topic)),
        ("kafka-cluster:AlterGroup", beside("group", &mapping.consumer_group)),
        ("kafka-cluster:DescribeGroup", beside("group", &mapping.consumer_group)),
    ];
    if let Some(topic) = &mapping.on_failure_topic {
        asked.push(("kafka-cluster:DescribeTopic", beside("topic", topic)));
        asked.push(("kafka-cluster:WriteData", beside("topic", topic)));
    }
    asked
}

/// What a service asks of the key with which the thing that a request is about is encrypted: what is read is decrypted, and for what is
/// written a data key is made, which the next one to write opens.
fn of_key(need: &Need, infrastructure: &Infrastructure) -> Vec<Need> {
    let Request { action, resource, .. } = &need.request;
    let Some((service, operation)) = action.split_once(':') else { return Vec::new() };
    let Some(key) = key_of(service, resource, infrastructure) else { return Vec::new() };
    let reads = ["Get", "BatchGet", "Query", "Scan", "PartiQLSelect", "SubscribeToShard"];
    let is_reading = reads.iter().any(|read| operation.starts_with(read));
    let is_listing =
        operation.starts_with("List") || operation.starts_with("Describe") || operation.starts_with("Delete");
    match (service, is_reading, is_listing) {
        (_, _, true) => Vec::new(),
        (_, true, _) => vec![with_key("kms:Decrypt", &key, service)],
        ("kinesis", ..) => vec![with_key("kms:GenerateDataKey", &key, service)],
        _ => vec![with_key("kms:Decrypt", &key, service), with_key("kms:GenerateDataKey", &key, service)],
    }
}

/// That a service uses a key in the name of whoever asks it for something.
fn with_key(action: &str, key: &str, service: &str) -> Need {
    let via = format!("{service}.{LAPTOP_REGION}.amazonaws.com");
    let context = vec![("kms:ViaService", via)];
    Need { request: Request { action: action.to_owned(), resource: key.to_owned(), context }, by: By::Key }
}

/// The key of the stacks with which a table, stream, bucket, queue or topic is encrypted.
fn key_of(service: &str, arn: &str, infrastructure: &Infrastructure) -> Option<String> {
    let name = arn.rsplit_once(['/', ':']).map_or(arn, |(_, name)| name);
    let (kind, property, key, name) = match service {
        "dynamodb" => ("AWS::DynamoDB::Table", "/TableName", "/SSESpecification/KMSMasterKeyId", name),
        "kinesis" => ("AWS::Kinesis::Stream", "/Name", "/StreamEncryption/KeyId", name),
        "sqs" => ("AWS::SQS::Queue", "/QueueName", "/KmsMasterKeyId", name),
        "sns" => ("AWS::SNS::Topic", "/TopicName", "/KmsMasterKeyId", name),
        "s3" => (
            "AWS::S3::Bucket",
            "/BucketName",
            "/BucketEncryption/ServerSideEncryptionConfiguration/0/ServerSideEncryptionByDefault/KMSMasterKeyID",
            arn.trim_start_matches("arn:aws:s3:::").split('/').next().unwrap_or_default(),
        ),
        _ => return None,
    };
    let mut of_kind = infrastructure.resources.iter().filter(|resource| resource.kind == kind);
    let found = of_kind.find(|resource| resource.text(property) == Some(name))?;
    found.text(key).map(|key| super::attributes::key_arn(key, infrastructure))
}

/// Calls by function, from the texts of the files.
pub(super) fn all(files: &[(String, String)]) -> BTreeMap<String, BTreeSet<Call>> {
    files.iter().map(|(function, text)| (function.clone(), parse(text))).collect()
}
