//! The bucket of a lake: of AWS, or of the emulator of a running `centinela up`. It only lists and reads.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, ProvideCredentials as _};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use centinela_audit::errors::one_line;
use serde_json::Value;
use tokio::io::AsyncBufRead;

use crate::failure::Failure;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A bucket and who asks.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    client: Client,
    name: String,
}

/// Why the bucket gave no answer to use.
#[derive(Debug, thiserror::Error)]
pub(super) enum BucketError {
    #[error("bucket {bucket} refuses to {doing}: {reason}; check its name, the region and the credentials")]
    Refused { bucket: String, doing: String, reason: String },
    #[error("bucket {bucket} cannot be reached: {reason}")]
    Unreachable { bucket: String, reason: String },
    #[error("{key} broke off")]
    Cut {
        key: String,
        #[source]
        source: std::io::Error,
    },
}

impl Bucket {
    /// A bucket of AWS, with region and credentials of the environment, a profile, or the machine's role.
    ///
    /// # Errors
    /// When there is no region or there are no credentials.
    pub(super) async fn of_aws(name: &str) -> Result<Self, Failure> {
        let sdk = Box::pin(settings().load()).await;
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
        Ok(Self { client: Client::new(&sdk), name: name.to_owned() })
    }

    /// The lake's bucket of a running `centinela up`, from the file that its `--endpoints` wrote.
    ///
    /// # Errors
    /// When the file cannot be read or names no such bucket.
    pub(super) async fn of_endpoints(file: &Path, name: Option<&str>) -> Result<Self, Failure> {
        let refused = |why: &str| Failure::Usage(format!("--endpoints {}: {why}", file.display()));
        let bytes = std::fs::read(file).map_err(|error| refused(&error.to_string()))?;
        let endpoints: Value = serde_json::from_slice(&bytes).map_err(|error| refused(&error.to_string()))?;
        let text = |field: &str| endpoints[field].as_str().filter(|text| !text.is_empty());
        let url = text("s3")
            .ok_or_else(|| refused("it names no `s3`; `centinela up --endpoints FILE` writes one that does"))?;
        let name = match name {
            Some(name) => name.to_owned(),
            None => {
                lake_of(&endpoints).ok_or_else(|| refused("it names no bucket of a lake; add --lake s3://BUCKET"))?
            }
        };
        let mut loader = settings().endpoint_url(url);
        if let Some(region) = text("region") {
            loader = loader.region(Region::new(region.to_owned()));
        }
        if let (Some(id), Some(secret)) = (text("access_key_id"), text("secret_access_key")) {
            loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "endpoints"));
        }
        let config = aws_sdk_s3::config::Builder::from(&Box::pin(loader.load()).await).force_path_style(true).build();
        Ok(Self { client: Client::from_conf(config), name })
    }

    /// Every key with this prefix that is not before `from`.
    pub(super) async fn list(&self, prefix: &str, from: &str) -> Result<Vec<String>, BucketError> {
        let (mut keys, mut next) = (Vec::new(), None);
        loop {
            let call = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
            let call = call.set_start_after(Some(from.to_owned()).filter(|from| !from.is_empty()));
            let page = Box::pin(call.set_continuation_token(next).send()).await;
            let page = page.map_err(|error| self.refused("list its objects", &error))?;
            keys.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
            next = match page.next_continuation_token {
                Some(next) if page.is_truncated.unwrap_or_default() => Some(next),
                _ => return Ok(keys),
            };
        }
    }

    /// A small object; none where there is none.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, BucketError> {
        let Some((_, mut body)) = self.open(key).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut body, &mut bytes).await;
        read.map_err(|source| BucketError::Cut { key: key.to_owned(), source })?;
        Ok(Some(bytes))
    }

    /// An object's length and bytes; none where there is none.
    pub(super) async fn open(
        &self,
        key: &str,
    ) -> Result<Option<(u64, impl AsyncBufRead + Unpin + Send + use<>)>, BucketError> {
        match Box::pin(self.client.get_object().bucket(&self.name).key(key).send()).await {
            Ok(object) => {
                let bytes = u64::try_from(object.content_length.unwrap_or_default()).unwrap_or_default();
                Ok(Some((bytes, Box::pin(object.body.into_async_read()))))
            }
            Err(error) if error.code() == Some("NoSuchKey") => Ok(None),
            Err(error) => Err(self.refused(&format!("give {key}"), &error)),
        }
    }

    fn refused<E, R>(&self, doing: &str, error: &SdkError<E, R>) -> BucketError
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let bucket = self.name.clone();
        match error.as_service_error() {
            Some(refusal) => {
                let (code, message) = (refusal.code().unwrap_or("no reason"), refusal.message().unwrap_or_default());
                let reason = format!("{code} {message}").trim().to_owned();
                BucketError::Refused { bucket, doing: doing.to_owned(), reason }
            }
            None => BucketError::Unreachable { bucket, reason: innermost(error) },
        }
    }
}

fn settings() -> ConfigLoader {
    let limits = TimeoutConfig::builder().connect_timeout(CONNECT_LIMIT).build();
    aws_config::defaults(BehaviorVersion::latest()).timeout_config(limits)
}

/// The last cause: that the connection was refused, not that a dispatch failed.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// The bucket that is the lake: what the file calls so, or the only one, or the one with such a name.
fn lake_of(endpoints: &Value) -> Option<String> {
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
