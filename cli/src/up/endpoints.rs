//! Where everything is: for people as lines to paste, for programs as a JSON file.

use std::path::Path;

use centinela_local::platform::Platform;
use serde_json::{Value, json};

use super::names;
use crate::outfile;

/// What programs read.
pub fn as_json(platform: &Platform, metrics: &str) -> Value {
    let endpoints = platform.endpoints();
    let infrastructure = platform.infrastructure();
    let functions = platform.functions().map(|(name, host)| {
        let pids: Vec<u32> = host.environments().iter().map(|environment| environment.pid).collect();
        json!({ "name": name, "pids": pids })
    });
    let (lake, compaction) = names::lake(infrastructure).map(|lake| (lake.bucket, lake.compaction)).unzip();
    json!({
        "kafka": endpoints.kafka,
        "dynamodb": endpoints.dynamodb,
        "s3": endpoints.s3,
        "kinesis": endpoints.kinesis,
        "lambda": endpoints.lambda,
        "api": endpoints.api,
        "issuer": endpoints.issuer,
        "sns": endpoints.sns,
        "metrics": metrics,
        "region": endpoints.region,
        "access_key_id": endpoints.access_key_id,
        "secret_access_key": shown_secret(platform),
        "topics": infrastructure.topics.iter().map(|topic| &topic.name).collect::<Vec<_>>(),
        "tables": infrastructure.tables.iter().map(|table| &table.name).collect::<Vec<_>>(),
        "streams": infrastructure.streams.iter().map(|stream| &stream.name).collect::<Vec<_>>(),
        "lake": lake,
        "compaction": compaction,
        "buckets": infrastructure.buckets.iter().map(|bucket| &bucket.name).collect::<Vec<_>>(),
        "functions": functions.collect::<Vec<_>>(),
    })
}

/// The secret of the emulators, which is none; nobody else's is written anywhere.
fn shown_secret(platform: &Platform) -> Option<&str> {
    platform.has_local_credentials().then_some(platform.endpoints().secret_access_key.as_str())
}

/// What people read.
pub fn as_text(platform: &Platform, metrics: &str, table: &str, file: Option<&Path>) -> String {
    let endpoints = platform.endpoints();
    let infrastructure = platform.infrastructure();
    let credentials = match shown_secret(platform) {
        Some(secret) => {
            let (key, region) = (&endpoints.access_key_id, &endpoints.region);
            format!("  export AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret} AWS_DEFAULT_REGION={region}\n")
        }
        None => format!("  export AWS_DEFAULT_REGION={}\n", endpoints.region),
    };
    let stream = infrastructure.streams.first().map_or("decisions", |stream| stream.name.as_str());
    let question = match file {
        Some(file) => format!("  centinela query block-rate --endpoints {}\n", file.display()),
        None => "  (with --endpoints FILE, `centinela query --endpoints FILE` asks the lake)\n".to_owned(),
    };
    format!(
        "\
Kafka     {kafka}
DynamoDB  {dynamodb}
S3        {s3}
Kinesis   {kinesis}
Lambda    {lambda}
HTTP API  {api} (tokens from {issuer})
Metrics   {metrics}

To look inside, in another terminal:
{credentials}  kcat -b {kafka} -C -t approved -o beginning -c 3
  aws --endpoint-url {dynamodb} dynamodb scan --table-name {table} --max-items 1
  aws --endpoint-url {s3} s3 ls
  aws --endpoint-url {kinesis} kinesis describe-stream-summary --stream-name {stream}
{question}
",
        kafka = endpoints.kafka,
        dynamodb = endpoints.dynamodb,
        s3 = endpoints.s3,
        kinesis = endpoints.kinesis,
        lambda = endpoints.lambda,
        api = endpoints.api,
        issuer = endpoints.issuer,
    )
}

/// Writes a JSON file so that nobody ever reads half of it, where it is an ordinary file.
///
/// # Errors
/// What the operating system says.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> std::io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    outfile::write(path, &text)
}
