//! Signed requests to a service of AWS or to an emulator: one HTTP client for what we ask ourselves and for what a proxy forwards.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

use super::error::EndpointError;
use crate::access::AwsAccess;
use centinela_serve::BoxError;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer may take to a question of our own.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Why a request has no answer to use.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum CallError {
    #[error("no answer: {0}")]
    Unreachable(String),
    #[error("{code}: {message}")]
    Refused {
        /// The error's name without its namespace, such as `ResourceNotFoundException`.
        code: String,
        message: String,
    },
}

impl CallError {
    pub(super) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }
}

/// A client of one service at one address.
#[derive(Clone)]
pub struct AwsClient {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    host: String,
    access: AwsAccess,
    service: &'static str,
}

impl AwsClient {
    /// A client for `dynamodb`, `kinesis`, `s3`, `lambda` or `execute-api` at `url`.
    pub fn new(service: &'static str, url: &str, access: &AwsAccess) -> Result<Self, EndpointError> {
        let wrong = || EndpointError::Url { url: url.to_owned() };
        let parsed: Uri = url.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let host = parsed.authority().ok_or_else(wrong)?.as_str().to_owned();
        if !matches!(parsed.scheme_str(), Some("http" | "https")) || !matches!(parsed.path(), "" | "/") {
            return Err(wrong());
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        connector.enforce_http(false);
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|source| EndpointError::Certificates { source })?;
        let connector = tls.https_or_http().enable_http1().wrap_connector(connector);
        let http = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { http, url, host, access: access.clone(), service })
    }

    /// Where the service is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a JSON operation as it is and returns whatever comes back.
    pub async fn forward(&self, target: &str, body: Bytes) -> Result<(StatusCode, Bytes), BoxError> {
        let content_type = match self.service {
            "dynamodb" => "application/x-amz-json-1.0",
            _ => "application/x-amz-json-1.1",
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/", self.url))
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, content_type)
            .header("x-amz-target", target)
            .body(Full::new(body.clone()))?;
        self.signed(request, &body, SigningSettings::default()).await
    }

    /// Invokes a function and returns its answer.
    ///
    /// # Errors
    /// When nobody answers within `limit`, Lambda refuses, or the function fails.
    pub async fn invoke(&self, function: &str, event: Bytes, limit: Duration) -> Result<Bytes, CallError> {
        let unreachable = |error: &(dyn std::error::Error + 'static)| CallError::Unreachable(innermost(error));
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/2015-03-31/functions/{function}/invocations", self.url))
            .header(HOST, &self.host)
            .body(Full::new(event.clone()))
            .map_err(|error| unreachable(&error))?;
        let answer = tokio::time::timeout(limit, self.signed(request, &event, SigningSettings::default())).await;
        let (status, body) = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(unreachable(&*error)),
            Err(_) => return Err(CallError::Unreachable(format!("nothing within {} s", limit.as_secs()))),
        };
        let said: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let text = |name: &str| said[name].as_str().map(str::to_owned);
        match (status.is_success(), text("errorMessage")) {
            (true, None) => Ok(body),
            (true, Some(message)) => Err(CallError::Refused { code: text("errorType").unwrap_or_default(), message }),
            (false, _) => {
                Err(CallError::Refused { code: status.to_string(), message: text("message").unwrap_or_default() })
            }
        }
    }

    /// Posts JSON to a path of an HTTP API, signed, or with a bearer's token instead, and returns whatever comes back.
    ///
    /// # Errors
    /// When nobody answers within `limit`.
    pub async fn post_json(
        &self,
        path: &str,
        body: Bytes,
        token: Option<&str>,
        limit: Duration,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let unreachable = |error: &(dyn std::error::Error + 'static)| CallError::Unreachable(innermost(error));
        let mut request = Request::builder().method(Method::POST).uri(format!("{}{path}", self.url));
        request = request.header(HOST, &self.host).header(CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body.clone())).map_err(|error| unreachable(&error))?;
        let exchange = async {
            match token {
                Some(_) => self.exchange(request).await,
                None => self.signed(request, &body, SigningSettings::default()).await,
            }
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(unreachable(&*error)),
            Err(_) => Err(CallError::Unreachable(format!("nothing within {} s", limit.as_secs()))),
        }
    }

    /// Asks a question of our own.
    pub(super) async fn ask(&self, target: &str, question: &Value) -> Result<Value, CallError> {
        let answer = tokio::time::timeout(ANSWER_LIMIT, self.forward(target, question.to_string().into())).await;
        let (status, body) = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(CallError::Unreachable(innermost(&*error))),
            Err(_) => return Err(CallError::Unreachable(format!("nothing within {} s", ANSWER_LIMIT.as_secs()))),
        };
        let json: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(json);
        }
        let text = |names: [&str; 2]| names.iter().find_map(|name| json[*name].as_str()).unwrap_or_default().to_owned();
        let code = text(["__type", "code"]);
        let code = code.rsplit('#').next().unwrap_or_default();
        let code = if code.is_empty() { status.to_string() } else { code.to_owned() };
        Err(CallError::Refused { code, message: text(["message", "Message"]) })
    }

    /// A request to S3: no body, path style.
    pub(crate) async fn object_request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.url)).header(HOST, &self.host);
        let request = request.body(Full::new(body.clone())).map_err(|e| CallError::Unreachable(e.to_string()))?;
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        match tokio::time::timeout(ANSWER_LIMIT, self.signed(request, &body, settings)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(CallError::Unreachable(innermost(&*error))),
            Err(_) => Err(CallError::Unreachable(format!("nothing within {} s", ANSWER_LIMIT.as_secs()))),
        }
    }

    async fn signed(
        &self,
        mut request: Request<Full<Bytes>>,
        body: &[u8],
        settings: SigningSettings,
    ) -> Result<(StatusCode, Bytes), BoxError> {
        let AwsAccess { region, access_key_id, secret_access_key, session_token } = &self.access;
        let identity =
            Credentials::new(access_key_id, secret_access_key, session_token.clone(), None, "centinela").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(self.service)
            .time(SystemTime::now())
            .settings(settings)
            .build()?
            .into();
        let headers = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let uri = request.uri().to_string();
        let signable = SignableRequest::new(request.method().as_str(), uri, headers, SignableBody::Bytes(body))?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        self.exchange(request).await
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), BoxError> {
        let response = self.http.request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    /// What a failed question means to whoever started this.
    pub(super) fn failed(&self, doing: String, error: CallError) -> EndpointError {
        let (service, url) = (self.service, self.url.clone());
        match error {
            CallError::Unreachable(reason) => EndpointError::Unreachable { service, url, reason },
            refused @ CallError::Refused { .. } => {
                EndpointError::Refused { service, url, doing, reason: refused.to_string() }
            }
        }
    }
}

/// The last cause: that the connection was refused, not that a client error was a connect error.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
