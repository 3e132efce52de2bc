//! Signed requests to one service.

use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use centinela_wire::{Access, Cause, ConnectError, Identity, TlsSettings, user_agent};
use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// A connection within a region takes a few milliseconds; after this it is not coming.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// No answer came in the time that one attempt gets.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no answer within {} ms", .0.as_millis())]
pub struct NoAnswer(pub Duration);

/// Why a request has no answer at all.
#[derive(Debug)]
pub enum Unanswered {
    /// A later attempt may have one. Whether this one was carried out is not known.
    Transient(Cause),
    /// The request cannot be made, or not be signed.
    Refused(Cause),
}

/// How a service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name in signatures.
    pub name: &'static str,
    /// S3 takes paths as they are, and the digest of a body in a header: half a body is refused and never stored.
    pub is_s3: bool,
    /// The largest answer that is read.
    pub answer_bytes_max: usize,
}

/// What a request asks besides method and body.
#[derive(Debug, Default)]
pub struct Asked<'a> {
    /// What follows the service's address, encoded: nothing, or a path with a slash before it.
    pub path: &'a str,
    /// Names and values, not encoded yet.
    pub query: &'a [(&'a str, &'a str)],
    /// Names and values.
    pub headers: &'a [(&'a str, String)],
}

/// What a service answered, whatever it is.
#[derive(Debug)]
pub struct Answer {
    /// Success or not.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Region and credentials of the environment, as every AWS client reads them.
pub async fn settings() -> SdkConfig {
    Box::pin(aws_config::defaults(BehaviorVersion::latest()).load()).await
}

/// A client of one service at one address.
pub struct Client {
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
    service: Service,
    /// With scheme and without a slash at the end; what precedes a path.
    base: String,
    host: String,
    access: Access,
    user_agent: String,
}

impl Client {
    /// A client of a service at the address that `base` makes of a region.
    ///
    /// # Errors
    /// When the settings say too little, or what cannot be used.
    pub fn new(sdk: &SdkConfig, service: Service, base: impl FnOnce(&str) -> String) -> Result<Self, ConnectError> {
        let tls = TlsSettings::default();
        let access = Access::of(sdk, tls.clone())?;
        let base = base(access.region());
        let host = base.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.enforce_http(false);
        let connector = HttpsConnector::from((connector, tls.config()?));
        let http = Http::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(Self { http, service, base, host, access, user_agent: user_agent()? })
    }

    /// Asks once.
    ///
    /// # Errors
    /// When there is no answer within `limit`, or the request cannot be signed.
    pub async fn ask(
        &self,
        method: Method,
        asked: &Asked<'_>,
        body: Bytes,
        limit: Duration,
    ) -> Result<Answer, Unanswered> {
        let unknown = |error| Unanswered::Refused(Box::new(error));
        let identity = self.access.identity().await.map_err(unknown)?;
        let request = self.signed(method, asked, &body, &identity).map_err(Unanswered::Refused)?;
        let exchange = async {
            let answer = self.http.request(request).await.map_err(|error| Unanswered::Transient(Box::new(error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, self.service.answer_bytes_max).collect().await;
            let body = body.map_err(Unanswered::Transient)?.to_bytes();
            // Credentials that were refused may have been replaced.
            if matches!(head.status, StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) {
                self.access.refused(&identity);
            }
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        let no_answer = |_| Err(Unanswered::Transient(Box::new(NoAnswer(limit))));
        tokio::time::timeout(limit, exchange).await.unwrap_or_else(no_answer)
    }

    fn signed(
        &self,
        method: Method,
        asked: &Asked<'_>,
        body: &Bytes,
        identity: &Identity,
    ) -> Result<Request<Full<Bytes>>, Cause> {
        let mut uri = format!("{}{}", self.base, asked.path);
        for (index, (name, value)) in asked.query.iter().enumerate() {
            uri.push_str(if index == 0 { "?" } else { "&" });
            uri.push_str(&format!("{name}={}", encoded(value, false)));
        }
        let mut request = Request::builder().method(method).uri(uri).header(HOST, &self.host);
        for (name, value) in asked.headers {
            request = request.header(*name, value);
        }
        let mut request = request.body(Full::new(body.clone()))?;
        let identity = identity.credentials().clone().into();
        let mut settings = SigningSettings::default();
        if self.service.is_s3 {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.access.region())
            .name(self.service.name)
            .time(SystemTime::now())
            .settings(settings)
            .build()?
            .into();
        let headers = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let uri = request.uri().to_string();
        let signable = SignableRequest::new(request.method().as_str(), uri, headers, SignableBody::Bytes(body))?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        // Not signed: proxies may add to it.
        request.headers_mut().insert(USER_AGENT, self.user_agent.parse()?);
        Ok(request)
    }
}

/// Every byte but the unreserved ones of RFC 3986 in percent form, as the signature wants it; in a path, slashes stay.
#[must_use]
pub fn encoded(text: &str, is_path: bool) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            b'/' if is_path => out.push('/'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_mean_something_in_an_address_is_encoded() {
        assert_eq!(
            encoded("raw/dt=2026-11-28/hour=17/a b+c~é", true),
            "raw/dt%3D2026-11-28/hour%3D17/a%20b%2Bc~%C3%A9"
        );
        assert_eq!(encoded("a/b&c", false), "a%2Fb%26c");
    }
}
