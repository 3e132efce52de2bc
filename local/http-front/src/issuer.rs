//! The issuer of tokens on one machine: whoever asks gets what is asked for, as from an issuer that trusts everybody here.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use centinela_serve::{HttpServer, ServerError};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::{Value, json};

use crate::jwt::{Token, TokenKey};
use crate::path::decoded;

/// How long a token holds.
const TOKEN_SECONDS: i64 = 3_600;
/// A form is small.
const FORM_BYTES_MAX: usize = 8 * 1024;

/// Why there is no issuer.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The key could not be made.
    #[error("no RSA key could be made for the local issuer of tokens; the library for it refused")]
    Key,
    /// It cannot listen.
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// A running issuer. Dropping it stops it.
pub struct Issuer {
    server: HttpServer,
    office: Arc<Office>,
}

struct Office {
    key: TokenKey,
    audience: String,
    url: std::sync::OnceLock<String>,
}

impl Issuer {
    /// Listens on 127.0.0.1, on a free port, and gives tokens for this audience.
    ///
    /// # Errors
    /// When no key can be made, or no port is free.
    pub async fn start(audience: String) -> Result<Self, IssuerError> {
        // A key of 2,048 bits takes a tenth of a second to find.
        let key = tokio::task::spawn_blocking(TokenKey::generate).await.ok().flatten().ok_or(IssuerError::Key)?;
        let office = Arc::new(Office { key, audience, url: std::sync::OnceLock::new() });
        let serving = Arc::clone(&office);
        let service = service_fn(move |request| {
            let office = Arc::clone(&serving);
            async move { Ok::<_, Infallible>(office.answer(request).await) }
        });
        let server = HttpServer::start("the issuer of tokens", None, service).await?;
        office.url.get_or_init(|| server.url());
        Ok(Self { server, office })
    }

    /// Where it is, which is also its name in tokens.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) fn checker(&self) -> Checker {
        Checker(Arc::clone(&self.office))
    }

    /// Ends it.
    ///
    /// # Errors
    /// When its task panicked.
    pub async fn shutdown(self) -> Result<(), ServerError> {
        self.server.shutdown().await
    }
}

/// Checks the issuer's tokens.
#[derive(Clone)]
pub(crate) struct Checker(Arc<Office>);

impl Checker {
    pub(crate) fn check(&self, token: &str, audience: &[String]) -> Option<Token> {
        self.0.key.check(token, self.0.url(), audience, now_s())
    }
}

pub(crate) fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Office {
    fn url(&self) -> &str {
        self.url.get().map_or("", String::as_str)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let url = self.url();
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/.well-known/openid-configuration") => {
                let keys = format!("{url}/.well-known/jwks.json");
                let tokens = format!("{url}/oauth2/token");
                reply(StatusCode::OK, &json!({ "issuer": url, "jwks_uri": keys, "token_endpoint": tokens }))
            }
            (&Method::GET, "/.well-known/jwks.json") => match self.key.key_set() {
                Some(keys) => reply(StatusCode::OK, &keys),
                None => refuse(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "the key cannot be shown"),
            },
            (&Method::POST, "/oauth2/token") => {
                match Limited::new(request.into_body(), FORM_BYTES_MAX).collect().await {
                    Ok(form) => self.token(&form.to_bytes()),
                    Err(error) => refuse(StatusCode::BAD_REQUEST, "invalid_request", &error.to_string()),
                }
            }
            _ => refuse(StatusCode::NOT_FOUND, "not_found", "POST /oauth2/token gives tokens"),
        }
    }

    /// RFC 6749, section 4.4.
    fn token(&self, form: &[u8]) -> Response<Full<Bytes>> {
        let Some(form) = read_form(form) else {
            return refuse(StatusCode::BAD_REQUEST, "invalid_request", "the body is no form");
        };
        if form.get("grant_type").map(String::as_str) != Some("client_credentials") {
            return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type", "only client_credentials is given here");
        }
        let client = form.get("client_id").map_or("somebody", String::as_str);
        let scope = form.get("scope").map_or("", String::as_str);
        let now = now_s();
        let claims = json!({
            "iss": self.url(), "sub": client, "client_id": client, "aud": self.audience, "scope": scope,
            "iat": now, "exp": now + TOKEN_SECONDS,
        });
        match self.key.sign(&claims) {
            Some(token) => reply(
                StatusCode::OK,
                &json!({ "access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS, "scope": scope }),
            ),
            None => refuse(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "the token could not be signed"),
        }
    }
}

fn read_form(form: &[u8]) -> Option<BTreeMap<String, String>> {
    let form = std::str::from_utf8(form).ok()?;
    let pairs = form.trim().split('&').filter(|pair| !pair.is_empty());
    let read = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decoded(&name.replace('+', " "))?, decoded(&value.replace('+', " "))?))
    });
    read.collect()
}

fn refuse(status: StatusCode, error: &str, description: &str) -> Response<Full<Bytes>> {
    reply(status, &json!({ "error": error, "error_description": description }))
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}
