//! One bucket of S3 as the store of the lake: what is tried again, and what an answer means.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use base64_simd::STANDARD;
use bytes::Bytes;
use centinela_domain::Millis;
use centinela_lake::store::{Condition, Listed, Object, ObjectStore, Put, StoreError, Tag};
use centinela_signed_http::Patience;
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, Method};
use sha2::{Digest, Sha256};

use crate::client::{Asked, Client, ConnectError};
use crate::failure::Failure;
use crate::xml::{self, Page};

/// Within a region one attempt waits this long for its answer; the largest object of the lake takes a second.
const ATTEMPT: Duration = Duration::from_secs(15);
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>
const KEYS_PER_DELETE: usize = 1000;
/// Most objects that are listed at once: more is a prefix that nobody meant.
const LISTED_MAX: usize = 500_000;

#[derive(Debug, thiserror::Error)]
enum Odd {
    #[error("more than {LISTED_MAX} objects stand under the prefix")]
    TooMany,
    #[error("{0} objects were not deleted, the first because of {1}")]
    NotDeleted(usize, String),
}

/// A bucket as the lake's store.
#[derive(Clone)]
pub struct S3Lake {
    client: Arc<Client>,
    attempt: Duration,
}

impl S3Lake {
    /// The bucket with region, credentials and endpoint of the environment, as every AWS client reads them. Nothing is asked yet: there
    /// is no call that every function which uses a bucket may make.
    ///
    /// # Errors
    /// When the environment says too little.
    pub async fn from_environment(bucket: &str) -> Result<Self, ConnectError> {
        Ok(Self { client: Arc::new(Client::from_environment(bucket).await?), attempt: ATTEMPT })
    }

    /// The bucket with these settings, at S3 or at a server of one's own.
    ///
    /// # Errors
    /// When the settings say too little.
    pub fn new(sdk: &aws_config::SdkConfig, bucket: &str, endpoint: Option<&str>) -> Result<Self, ConnectError> {
        Ok(Self { client: Arc::new(Client::new(sdk, bucket, endpoint)?), attempt: ATTEMPT })
    }

    /// Gives every attempt this long: for whoever reads from afar.
    #[must_use]
    pub fn with_attempt(self, attempt: Duration) -> Self {
        Self { attempt, ..self }
    }

    async fn get_once(&self, key: &str, limit: Duration) -> Result<Object, Failure> {
        let asked = Asked { key, ..Asked::default() };
        let answer = self.client.ask(Method::GET, &asked, Bytes::new(), limit).await?;
        Ok(Object { tag: tag(&answer.headers), body: answer.body })
    }

    async fn put_once(&self, key: &str, body: Bytes, condition: &Condition, limit: Duration) -> Result<Tag, Failure> {
        let condition = match condition {
            Condition::None => None,
            Condition::Absent => Some((IF_NONE_MATCH.as_str(), "*".to_owned())),
            Condition::Unchanged(Tag(tag)) => Some((IF_MATCH.as_str(), tag.clone())),
        };
        let asked = Asked { key, headers: condition.as_slice(), ..Asked::default() };
        let answer = self.client.ask(Method::PUT, &asked, body, limit).await?;
        Ok(tag(&answer.headers))
    }

    async fn page(&self, prefix: &str, folders: bool, next: Option<&str>, limit: Duration) -> Result<Page, Failure> {
        let mut query = vec![("list-type", "2"), ("prefix", prefix)];
        query.extend(folders.then_some(("delimiter", "/")));
        query.extend(next.map(|next| ("continuation-token", next)));
        let asked = Asked { query: &query, ..Asked::default() };
        let answer = self.client.ask(Method::GET, &asked, Bytes::new(), limit).await?;
        xml::page(&answer.body).map_err(|error| Failure::Transient(Box::new(error)))
    }

    async fn all(&self, prefix: &str, folders: bool, deadline: Millis) -> Result<Page, StoreError> {
        let mut all = Page::default();
        loop {
            let next = all.next.take();
            let page = retrying(deadline, self.attempt, |limit| self.page(prefix, folders, next.as_deref(), limit));
            let page = page.await.map_err(unconditional)?;
            all.objects.extend(page.objects);
            all.folders.extend(page.folders);
            if all.objects.len() > LISTED_MAX {
                return Err(StoreError::Refused(Box::new(Odd::TooMany)));
            }
            if page.next.is_none() {
                return Ok(all);
            }
            all.next = page.next;
        }
    }

    async fn delete_once(&self, keys: &[String], limit: Duration) -> Result<(), Failure> {
        let body = xml::delete(keys);
        let digest = STANDARD.encode_to_string(Sha256::digest(&body));
        // S3 wants a digest of what is to be deleted.
        let headers = [("x-amz-sdk-checksum-algorithm", "SHA256".to_owned()), ("x-amz-checksum-sha256", digest)];
        let asked = Asked { query: &[("delete", "")], headers: &headers, ..Asked::default() };
        let answer = self.client.ask(Method::POST, &asked, body.into(), limit).await?;
        let failed = xml::not_deleted(&answer.body).map_err(|error| Failure::Transient(Box::new(error)))?;
        let Some((count, code)) = failed else { return Ok(()) };
        let is_refusal = code == "AccessDenied";
        let cause = Box::new(Odd::NotDeleted(count, code));
        Err(if is_refusal { Failure::Refused(cause) } else { Failure::Transient(cause) })
    }
}

fn tag(headers: &HeaderMap) -> Tag {
    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok());
    Tag(tag.unwrap_or_default().to_owned())
}

/// Tries again what may yet succeed; each attempt is told how long it may take.
async fn retrying<T, F>(
    deadline: Millis,
    attempt_limit: Duration,
    mut call: impl FnMut(Duration) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let patience = Patience::until(deadline);
    let mut last = Failure::no_answer(Duration::ZERO);
    for attempt in 1.. {
        let Some(left) = patience.left() else { break };
        match call(left.min(attempt_limit)).await {
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
        match retrying(deadline, self.attempt, |limit| self.get_once(key, limit)).await {
            Ok(object) => Ok(Some(object)),
            Err(Failure::Missing(_)) => Ok(None),
            Err(failure) => Err(unconditional(failure)),
        }
    }

    async fn put(&self, key: &str, body: Bytes, condition: Condition, deadline: Millis) -> Result<Put, StoreError> {
        let put = retrying(deadline, self.attempt, |limit| self.put_once(key, body.clone(), &condition, limit)).await;
        match (put, &condition) {
            (Ok(tag), _) => Ok(Put::Done(tag)),
            // A condition on an object that is gone is answered as a missing key.
            (Err(Failure::ConditionFailed), Condition::Absent | Condition::Unchanged(_))
            | (Err(Failure::Missing(_)), Condition::Unchanged(_)) => Ok(Put::ConditionFailed),
            (Err(failure), _) => Err(unconditional(failure)),
        }
    }

    async fn list(&self, prefix: &str, deadline: Millis) -> Result<Vec<Listed>, StoreError> {
        Ok(self.all(prefix, false, deadline).await?.objects)
    }

    async fn folders(&self, prefix: &str, deadline: Millis) -> Result<Vec<String>, StoreError> {
        Ok(self.all(prefix, true, deadline).await?.folders)
    }

    async fn delete(&self, keys: &[String], deadline: Millis) -> Result<(), StoreError> {
        for keys in keys.chunks(KEYS_PER_DELETE) {
            retrying(deadline, self.attempt, |limit| self.delete_once(keys, limit)).await.map_err(unconditional)?;
        }
        Ok(())
    }
}
