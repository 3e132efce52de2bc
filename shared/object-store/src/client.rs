//! Requests to one bucket, and what their answers mean.

use std::time::Duration;

use aws_config::SdkConfig;
use bytes::Bytes;
use centinela_signed_http::{self as signed_http, Answer, Service, Unanswered, encoded};
use http::Method;

pub use centinela_signed_http::ConnectError;

use crate::failure::Failure;

/// The largest answer that is read; the lake's own objects are far below.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
const S3: Service = Service { name: "s3", is_s3: true, answer_bytes_max: ANSWER_BYTES_MAX };

/// What a request asks besides method and body.
#[derive(Debug, Default)]
pub(crate) struct Asked<'a> {
    /// Key of the object; empty for the bucket.
    pub key: &'a str,
    /// Names and values.
    pub query: &'a [(&'a str, &'a str)],
    pub headers: &'a [(&'a str, String)],
}

pub(crate) struct Client(signed_http::Client);

impl Client {
    /// A client with region, credentials and endpoint of the environment, as every AWS client reads them.
    pub(crate) async fn from_environment(bucket: &str) -> Result<Self, ConnectError> {
        let sdk = signed_http::settings().await;
        Self::new(&sdk, bucket, signed_http::endpoint(&sdk, "S3").as_deref())
    }

    /// A client of a bucket. A server of one's own has no name per bucket: there the bucket is part of the path.
    pub(crate) fn new(sdk: &SdkConfig, bucket: &str, endpoint: Option<&str>) -> Result<Self, ConnectError> {
        let base = |region: &str| match endpoint {
            Some(url) => format!("{}/{bucket}", url.trim_end_matches('/')),
            None => {
                let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                format!("https://{bucket}.s3.{region}.{domain}")
            }
        };
        signed_http::Client::new(sdk, S3, base).map(Self)
    }

    /// Asks once; an answer is one of status 200 to 299.
    pub(crate) async fn ask(
        &self,
        method: Method,
        asked: &Asked<'_>,
        body: Bytes,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let path = format!("/{}", encoded(asked.key, true));
        let asked = signed_http::Asked { path: &path, query: asked.query, headers: asked.headers };
        match self.0.ask(method, &asked, body, limit).await {
            Ok(answer) if answer.status.is_success() => Ok(answer),
            Ok(answer) => Err(Failure::of(answer.status, &answer.body)),
            Err(Unanswered::Transient(cause)) => Err(Failure::Transient(cause)),
            Err(Unanswered::Refused(cause)) => Err(Failure::Refused(cause)),
        }
    }
}
