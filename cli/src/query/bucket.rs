//! The bucket of a lake: of AWS, or of the emulator of a running `centinela up`. It only lists and reads, and has a running
//! `centinela up` compact what a question is about.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use bytes::Bytes;
use centinela_audit::errors::one_line;
use centinela_audit::lake;
use centinela_domain::Millis;
use centinela_lake::store::{ObjectStore as _, StoreError};
use centinela_local::aws::{AwsAccess, AwsClient};
use centinela_object_store::S3Lake;
use centinela_redrive_adapters::Lake;
use serde_json::{Value, json};

use crate::endpoints_file::EndpointsFile;
use crate::failure::Failure;

/// How long the lists may take, which are asked for first. A bucket that cannot be reached is not waited for.
const LISTING: Duration = Duration::from_secs(20);
/// How long a file may take: the largest of the lake over a slow line.
const FETCHING: Duration = Duration::from_secs(300);
/// How long the compaction of the open hours may take.
const COMPACTING: Duration = Duration::from_secs(300);

/// A bucket and who asks.
#[derive(Clone)]
pub(crate) struct Bucket {
    store: S3Lake,
    name: String,
    compaction: Option<Arc<Compaction>>,
}

/// The function of a running `centinela up` that compacts its lake.
struct Compaction {
    lambda: AwsClient,
    function: String,
}

/// Why the bucket gave no answer to use.
#[derive(Debug, thiserror::Error)]
pub(super) enum BucketError {
    #[error("bucket {bucket} refuses to {doing}: {reason}; check its name, the region and the credentials")]
    Refused { bucket: String, doing: String, reason: String },
    #[error("bucket {bucket} cannot be reached: {reason}")]
    Unreachable { bucket: String, reason: String },
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bucket").field(&self.name).finish()
    }
}

impl Bucket {
    /// A bucket of AWS, with region and credentials of the environment, a profile, or the machine's role.
    ///
    /// # Errors
    /// When there is no region or there are no credentials.
    pub(crate) async fn of_aws(name: &str) -> Result<Self, Failure> {
        let sdk = Box::pin(aws_config::defaults(BehaviorVersion::latest()).load()).await;
        if sdk.region().is_none() {
            return Err(Failure::Usage(format!("no region for s3://{name}: set AWS_REGION, or take another --lake")));
        }
        let credentials = match sdk.credentials_provider() {
            Some(provider) => provider.provide_credentials().await.map(drop).map_err(|error| one_line(&error)),
            None => Err("there is no provider".to_owned()),
        };
        credentials.map_err(|problem| {
            Failure::Usage(format!(
                "no credentials for AWS: {problem}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            ))
        })?;
        let store = S3Lake::from_environment(name).await.map_err(|error| Failure::usage(&error))?;
        Ok(Self::of(store, name))
    }

    /// The lake's bucket of a running `centinela up`, from the file that its `--endpoints` wrote.
    ///
    /// # Errors
    /// When the file cannot be read or names no such bucket.
    pub(crate) async fn of_endpoints(file: &Path, name: Option<&str>) -> Result<Self, Failure> {
        let endpoints = EndpointsFile::read(file)?;
        let (refused, text) = (|why: &str| endpoints.refused(why), |field: &str| endpoints.text(field));
        let url = endpoints.needed("s3")?;
        let name = match name {
            Some(name) => name.to_owned(),
            None => lake_of(endpoints.content())
                .ok_or_else(|| refused("it names no bucket of a lake; add --lake s3://BUCKET"))?,
        };
        let mut sdk = Box::pin(aws_config::defaults(BehaviorVersion::latest()).load()).await.into_builder();
        if let Some(region) = text("region") {
            sdk.set_region(Region::new(region.to_owned()));
        }
        if let (Some(id), Some(secret)) = (text("access_key_id"), text("secret_access_key")) {
            let credentials = Credentials::new(id, secret, None, None, "endpoints");
            sdk.set_credentials_provider(Some(SharedCredentialsProvider::new(credentials)));
        }
        let store = S3Lake::new(&sdk.build(), &name, Some(url)).map_err(|error| refused(&error.to_string()))?;
        let compaction = match (text("lambda"), text("compaction")) {
            (Some(url), Some(function)) => {
                // It is on this machine, and asks nobody who they are.
                let lambda = AwsClient::new("lambda", url, &AwsAccess::default());
                let lambda = lambda.map_err(|error| refused(&error.to_string()))?;
                Some(Arc::new(Compaction { lambda, function: function.to_owned() }))
            }
            _ => None,
        };
        Ok(Self { compaction, ..Self::of(store, &name) })
    }

    /// As the lake in which decisions are looked for.
    pub(crate) fn lake(&self) -> Lake {
        Lake { store: self.store.clone(), bucket: self.name.clone() }
    }

    fn of(store: S3Lake, name: &str) -> Self {
        Self { store: store.with_attempt(FETCHING), name: name.to_owned(), compaction: None }
    }

    /// Has the open hours of these topics compacted, so that an answer covers what was archived a moment ago. Only on this machine: in AWS
    /// that is the schedule's work.
    ///
    /// # Errors
    /// Why the answer covers what was compacted before and no more, in a line.
    pub(super) async fn freshen(&self, topics: &[&str]) -> Result<(), String> {
        let Some(Compaction { lambda, function }) = self.compaction.as_deref() else { return Ok(()) };
        let event = json!({ "open": true, "topics": topics }).to_string();
        let why = match lambda.invoke(function, event.into(), COMPACTING).await {
            Ok(answer) => match lake::left(&answer) {
                0 => return Ok(()),
                hours => format!("{hours} hours are not complete"),
            },
            Err(error) => error.to_string(),
        };
        Err(format!(
            "{function} was asked to compact the open hours: {why}; the answer covers what was compacted before"
        ))
    }

    /// Every key with this prefix.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<String>, BucketError> {
        let listed = self.store.list(prefix, deadline(LISTING)).await;
        let listed = listed.map_err(|error| self.failed("list its objects", &error))?;
        Ok(listed.into_iter().map(|object| object.key).collect())
    }

    /// An object; none where there is none.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Bytes>, BucketError> {
        let object = self.store.get(key, deadline(FETCHING)).await;
        Ok(object.map_err(|error| self.failed(&format!("give {key}"), &error))?.map(|object| object.body))
    }

    fn failed(&self, doing: &str, error: &StoreError) -> BucketError {
        let bucket = self.name.clone();
        match error {
            StoreError::Refused(cause) => {
                BucketError::Refused { bucket, doing: doing.to_owned(), reason: one_line(&**cause) }
            }
            StoreError::Unavailable(cause) => BucketError::Unreachable { bucket, reason: one_line(&**cause) },
        }
    }
}

/// When no further attempt is begun.
fn deadline(patience: Duration) -> Millis {
    let ends = SystemTime::now() + patience;
    let since_1970 = ends.duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}

/// The bucket that is the lake: what the file calls so, or the only one, or the one with such a name.
pub(crate) fn lake_of(endpoints: &Value) -> Option<String> {
    if let Some(lake) = endpoints["lake"].as_str() {
        return Some(lake.to_owned());
    }
    let buckets: Vec<&str> = endpoints["buckets"].as_array()?.iter().filter_map(Value::as_str).collect();
    match buckets.as_slice() {
        [only] => Some((*only).to_owned()),
        several => several.iter().find(|name| name.contains("lake")).map(|name| (*name).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_lake_is_found_among_the_buckets() {
        let lake = |endpoints: Value| lake_of(&endpoints);
        assert_eq!(lake(json!({"buckets": ["results", "centinela-lake-1"]})).unwrap(), "centinela-lake-1");
        assert_eq!(lake(json!({"buckets": ["archive"]})).unwrap(), "archive");
        assert_eq!(lake(json!({"lake": "x", "buckets": ["lake"]})).unwrap(), "x");
        assert_eq!(lake(json!({"buckets": ["a", "b"]})), None);
        assert_eq!(lake(json!({})), None);
    }
}
