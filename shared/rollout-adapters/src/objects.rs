//! Bundles in the artefact bucket.

use std::time::Duration;

use bytes::Bytes;
use centinela_rollout::{Bundle, CloudError};
use centinela_signed_http::{Asked, encoded};
use http::Method;

use crate::aws::Aws;
use crate::call::{ATTEMPT, Failure};

/// Some 15 MB over a line of 1 Mbit/s.
const UPLOAD: Duration = Duration::from_secs(180);
/// Where a bundle's digest stands, in base64 as Lambda gives it.
const DIGEST: &str = "x-amz-meta-sha256";

impl Aws {
    pub(crate) fn head_object(&self, bucket: &str, key: &str) -> Result<Option<String>, CloudError> {
        let path = format!("/{}", encoded(key, true));
        let asked = Asked { path: &path, ..Asked::default() };
        match self.ask_bucket(bucket, Method::HEAD, &asked, Bytes::new(), ATTEMPT) {
            Ok(answered) => {
                let digest = answered.answer.headers.get(DIGEST).and_then(|digest| digest.to_str().ok());
                Ok(digest.map(str::to_owned))
            }
            Err(Failure::Refused(refusal)) if refusal.status == 404 => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The whole body is signed, so half of it is refused and never stored.
    pub(crate) fn put_object(&self, bucket: &str, key: &str, bundle: &Bundle) -> Result<(), CloudError> {
        let path = format!("/{}", encoded(key, true));
        let headers = [(DIGEST, bundle.sha256.clone()), ("content-type", "application/zip".to_owned())];
        let asked = Asked { path: &path, headers: &headers, ..Asked::default() };
        self.ask_bucket(bucket, Method::PUT, &asked, Bytes::copy_from_slice(&bundle.bytes), UPLOAD)?;
        Ok(())
    }
}
