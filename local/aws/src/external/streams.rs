//! Streams of an external Kinesis.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{AwsClient, CallError};
use super::error::EndpointError;
use crate::specs::StreamSpec;

const ACTIVE_LIMIT: Duration = Duration::from_secs(60);
const ACTIVE_POLL: Duration = Duration::from_millis(200);

/// Creates the streams that are missing and checks the others; returns what differs without breaking anything.
///
/// # Errors
/// When the service cannot be reached or refuses us.
pub async fn prepare_streams(client: &AwsClient, streams: &[StreamSpec]) -> Result<Vec<String>, EndpointError> {
    let mut differences = Vec::new();
    for stream in streams {
        let StreamSpec { name, shards } = stream;
        match describe(client, name).await {
            Ok(_) => {
                let found = until_active(client, name).await?["OpenShardCount"].as_u64().unwrap_or(0);
                if found != u64::from(*shards) {
                    differences.push(format!("stream {name} has {found} shards, the stacks declare {shards}"));
                }
            }
            Err(error) if error.is("ResourceNotFoundException") => {
                let request = json!({ "StreamName": name, "ShardCount": shards });
                let created = client.ask("Kinesis_20131202.CreateStream", &request).await;
                created.map_err(|error| client.failed(format!("creating stream {name}"), error))?;
                until_active(client, name).await?;
            }
            Err(error) => return Err(client.failed(format!("describing stream {name}"), error)),
        }
    }
    Ok(differences)
}

async fn describe(client: &AwsClient, stream: &str) -> Result<Value, CallError> {
    let request = json!({ "StreamName": stream });
    let mut answer = client.ask("Kinesis_20131202.DescribeStreamSummary", &request).await?;
    Ok(answer["StreamDescriptionSummary"].take())
}

async fn until_active(client: &AwsClient, stream: &str) -> Result<Value, EndpointError> {
    let until = Instant::now() + ACTIVE_LIMIT;
    loop {
        let found = describe(client, stream).await;
        let found = found.map_err(|error| client.failed(format!("describing stream {stream}"), error))?;
        if matches!(found["StreamStatus"].as_str(), Some("ACTIVE" | "UPDATING")) {
            return Ok(found);
        }
        if until <= Instant::now() {
            let (code, message) = ("StreamNotActive".to_owned(), format!("its status is {}", found["StreamStatus"]));
            return Err(client.failed(format!("waiting for stream {stream}"), CallError::Refused { code, message }));
        }
        tokio::time::sleep(ACTIVE_POLL).await;
    }
}
