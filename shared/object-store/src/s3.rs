//! One bucket of S3.

use std::future::Future;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use bytes::Bytes;
use centinela_domain::Millis;
use centinela_lake::store::{Condition, Listed, Object, ObjectStore, Put, StoreError, Tag};

use crate::failure::Failure;
use crate::patience::Patience;

/// A connection within a region takes a few milliseconds; after this it is not coming.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// One attempt waits this long for its answer; the largest object of the lake takes a second.
const ATTEMPT: Duration = Duration::from_secs(15);
/// The largest object that is read; the lake's own are far below.
const GET_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>
const KEYS_PER_DELETE: usize = 1000;
/// Most objects that are listed at once: more is a prefix that nobody meant.
const LISTED_MAX: usize = 500_000;
/// Set where S3 is another server than the region's.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];

#[derive(Debug, thiserror::Error)]
enum Odd {
    #[error("the object has {0} bytes, at most {GET_BYTES_MAX} are read")]
    TooLarge(u64),
    #[error("more than {LISTED_MAX} objects stand under the prefix")]
    TooMany,
    #[error("{0} objects were not deleted, the first because of {1}")]
    NotDeleted(usize, String),
    #[error("a listing that goes on does not say where")]
    NoContinuation,
}

/// A bucket as the lake's store.
#[derive(Clone, Debug)]
pub struct S3Lake {
    client: Client,
    bucket: String,
}

impl S3Lake {
    /// The bucket with region, credentials and endpoint of the environment. Nothing is asked yet: no call is allowed to every function
    /// that uses a bucket.
    pub async fn from_environment(bucket: impl Into<String>) -> Self {
        let sdk = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .load()
            .await;
        // A server of one's own has no name per bucket.
        let by_path = ENDPOINTS.iter().any(|name| std::env::var_os(name).is_some());
        Self::new(&sdk, bucket, by_path)
    }

    /// The bucket with these settings; `by_path` puts its name into the path instead of the host.
    pub fn new(sdk: &SdkConfig, bucket: impl Into<String>, by_path: bool) -> Self {
        let config = aws_sdk_s3::config::Builder::from(sdk).force_path_style(by_path).build();
        Self { client: Client::from_conf(config), bucket: bucket.into() }
    }

    async fn get_once(&self, key: &str, limit: Duration) -> Result<Object, Failure> {
        let asked = async {
            let answer = Box::pin(self.client.get_object().bucket(&self.bucket).key(key).send());
            let answer = answer.await.map_err(Failure::of)?;
            let bytes = u64::try_from(answer.content_length.unwrap_or_default()).unwrap_or_default();
            if bytes > GET_BYTES_MAX {
                return Err(Failure::Refused(Box::new(Odd::TooLarge(bytes))));
            }
            let tag = Tag(answer.e_tag.unwrap_or_default());
            let body = answer.body.collect().await.map_err(|error| Failure::Transient(Box::new(error)))?;
            Ok(Object { body: body.into_bytes(), tag })
        };
        tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(Failure::no_answer(limit)))
    }

    async fn put_once(&self, key: &str, body: Bytes, condition: &Condition, limit: Duration) -> Result<Tag, Failure> {
        let call = self.client.put_object().bucket(&self.bucket).key(key).body(ByteStream::from(body));
        let call = match condition {
            Condition::None => call,
            Condition::Absent => call.if_none_match("*"),
            Condition::Unchanged(Tag(tag)) => call.if_match(tag),
        };
        match tokio::time::timeout(limit, Box::pin(call.send())).await {
            Ok(answer) => Ok(Tag(answer.map_err(Failure::of)?.e_tag.unwrap_or_default())),
            Err(_) => Err(Failure::no_answer(limit)),
        }
    }

    /// One page: what was found, and where to go on.
    async fn page(&self, asked: &Page<'_>, limit: Duration) -> Result<(Vec<Found>, Option<String>), Failure> {
        let call = self.client.list_objects_v2().bucket(&self.bucket).prefix(asked.prefix);
        let call = call.set_delimiter(asked.folders.then(|| "/".to_owned()));
        let call = call.set_continuation_token(asked.next.clone());
        let answer = match tokio::time::timeout(limit, Box::pin(call.send())).await {
            Ok(answer) => answer.map_err(Failure::of)?,
            Err(_) => return Err(Failure::no_answer(limit)),
        };
        let folders = answer.common_prefixes.unwrap_or_default().into_iter().filter_map(|found| found.prefix);
        let mut found: Vec<Found> = folders.map(Found::Folder).collect();
        for object in answer.contents.unwrap_or_default() {
            let (Some(key), bytes) = (object.key, object.size.unwrap_or_default().unsigned_abs()) else { continue };
            let modified = object.last_modified.and_then(|time| time.to_millis().ok()).map_or(Millis(0), Millis);
            // The embedded store lists no tags.
            let tag = object.e_tag.unwrap_or_else(|| format!("{bytes}@{}", modified.0));
            found.push(Found::Object(Listed { key, tag: Tag(tag), bytes, modified }));
        }
        match (answer.is_truncated.unwrap_or_default(), answer.next_continuation_token) {
            (false, _) => Ok((found, None)),
            (true, Some(next)) => Ok((found, Some(next))),
            (true, None) => Err(Failure::Transient(Box::new(Odd::NoContinuation))),
        }
    }

    async fn all(&self, prefix: &str, folders: bool, deadline: Millis) -> Result<Vec<Found>, StoreError> {
        let mut page = Page { prefix, folders, next: None };
        let mut all = Vec::new();
        loop {
            let (found, next) = retrying(deadline, |limit| self.page(&page, limit)).await.map_err(unconditional)?;
            all.extend(found);
            if all.len() > LISTED_MAX {
                return Err(StoreError::Refused(Box::new(Odd::TooMany)));
            }
            page.next = match next {
                Some(next) => Some(next),
                None => return Ok(all),
            };
        }
    }

    async fn delete_once(&self, keys: &[String], limit: Duration) -> Result<(), Failure> {
        let named = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build());
        let named: Result<Vec<_>, _> = named.collect();
        let delete = named.and_then(|named| Delete::builder().set_objects(Some(named)).quiet(true).build());
        let delete = delete.map_err(|error| Failure::Refused(Box::new(error)))?;
        let call = self.client.delete_objects().bucket(&self.bucket).delete(delete);
        let answer = match tokio::time::timeout(limit, Box::pin(call.send())).await {
            Ok(answer) => answer.map_err(Failure::of)?,
            Err(_) => return Err(Failure::no_answer(limit)),
        };
        let failed = answer.errors.unwrap_or_default();
        let Some(first) = failed.first() else { return Ok(()) };
        let code = first.code().unwrap_or("no reason").to_owned();
        let is_refusal = code == "AccessDenied";
        let cause = Box::new(Odd::NotDeleted(failed.len(), code));
        Err(if is_refusal { Failure::Refused(cause) } else { Failure::Transient(cause) })
    }
}

struct Page<'a> {
    prefix: &'a str,
    folders: bool,
    next: Option<String>,
}

enum Found {
    Folder(String),
    Object(Listed),
}

/// Tries again what may yet succeed; each attempt is told how long it may take.
async fn retrying<T, F>(deadline: Millis, mut call: impl FnMut(Duration) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let patience = Patience::until(deadline);
    let mut last = Failure::no_answer(Duration::ZERO);
    for attempt in 1.. {
        let Some(left) = patience.left() else { break };
        match call(left.min(ATTEMPT)).await {
            Err(Failure::Transient(cause)) => last = Failure::Transient(cause),
            answered => return answered,
        }
        if !patience.pause_after(attempt).await {
            break;
        }
    }
    Err(last)
}

/// What remains of a failure where nothing was conditional.
fn unconditional(failure: Failure) -> StoreError {
    match failure {
        Failure::Transient(cause) => StoreError::Unavailable(cause),
        Failure::Refused(cause) | Failure::Missing(cause) => StoreError::Refused(cause),
        Failure::ConditionFailed => StoreError::Refused("s3 names a condition that was not made".into()),
    }
}

impl ObjectStore for S3Lake {
    async fn get(&self, key: &str, deadline: Millis) -> Result<Option<Object>, StoreError> {
        match retrying(deadline, |limit| self.get_once(key, limit)).await {
            Ok(object) => Ok(Some(object)),
            Err(Failure::Missing(_)) => Ok(None),
            Err(failure) => Err(unconditional(failure)),
        }
    }

    async fn put(&self, key: &str, body: Bytes, condition: Condition, deadline: Millis) -> Result<Put, StoreError> {
        let put = retrying(deadline, |limit| self.put_once(key, body.clone(), &condition, limit)).await;
        match (put, &condition) {
            (Ok(tag), _) => Ok(Put::Done(tag)),
            // A condition on an object that is gone is answered as a missing key.
            (Err(Failure::ConditionFailed), Condition::Absent | Condition::Unchanged(_))
            | (Err(Failure::Missing(_)), Condition::Unchanged(_)) => Ok(Put::ConditionFailed),
            (Err(failure), _) => Err(unconditional(failure)),
        }
    }

    async fn list(&self, prefix: &str, deadline: Millis) -> Result<Vec<Listed>, StoreError> {
        let found = self.all(prefix, false, deadline).await?;
        let objects = found.into_iter().filter_map(|found| match found {
            Found::Object(object) => Some(object),
            Found::Folder(_) => None,
        });
        Ok(objects.collect())
    }

    async fn folders(&self, prefix: &str, deadline: Millis) -> Result<Vec<String>, StoreError> {
        let found = self.all(prefix, true, deadline).await?;
        let folders = found.into_iter().filter_map(|found| match found {
            Found::Folder(folder) => Some(folder),
            Found::Object(_) => None,
        });
        Ok(folders.collect())
    }

    async fn delete(&self, keys: &[String], deadline: Millis) -> Result<(), StoreError> {
        for keys in keys.chunks(KEYS_PER_DELETE) {
            retrying(deadline, |limit| self.delete_once(keys, limit)).await.map_err(unconditional)?;
        }
        Ok(())
    }
}
