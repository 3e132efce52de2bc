//! `Invoke` of the Lambda API for the functions of this machine, so that the AWS CLI and SDKs call them as they call those of AWS.
//!
//! Contract: <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>. Signatures are not checked, versions and aliases mean the
//! one function that there is, and `LogType` is passed over.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use centinela_serve::{HttpServer, ServerError};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::json;

use crate::asynchronous::invoke_asynchronously;
use crate::error::InvokeError;
use crate::host::FunctionHost;
use crate::spec::PAYLOAD_BYTES_MAX;

const PREFIX: &str = "/2015-03-31/functions/";
/// Events that are handed over without waiting have less room.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

type Functions = Arc<BTreeMap<String, Arc<FunctionHost>>>;

/// The API of these functions. Dropping it stops it without waiting.
pub struct InvokeApi(HttpServer);

impl InvokeApi {
    /// Listens on 127.0.0.1, on `port` or on a free one.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(port: Option<u16>, functions: BTreeMap<String, Arc<FunctionHost>>) -> Result<Self, ServerError> {
        let functions: Functions = Arc::new(functions);
        let service = service_fn(move |request| {
            let functions = Arc::clone(&functions);
            async move { Ok::<_, Infallible>(Box::pin(route(&functions, request)).await) }
        });
        HttpServer::start("Lambda", port, service).await.map(Self)
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Lets open requests finish for a while and ends.
    ///
    /// # Errors
    /// When its task panicked.
    pub async fn shutdown(self) -> Result<(), ServerError> {
        self.0.shutdown().await
    }
}

async fn route(functions: &Functions, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let name = request.uri().path().strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix("/invocations"));
    let (Some(name), &Method::POST) = (name, request.method()) else {
        let what = format!("{} {} is not served here: only Invoke is", request.method(), request.uri().path());
        return refusal(StatusCode::NOT_FOUND, "UnknownOperationException", &what);
    };
    // A name, or an ARN, with or without a version.
    let name = name.replace("%3A", ":");
    let name = name.split_once(":function:").map_or(name.as_str(), |(_, rest)| rest);
    let name = name.split(':').next().unwrap_or(name);
    let Some(host) = functions.get(name) else {
        let there = functions.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let what = format!("there is no function {name}; there are {there}");
        return refusal(StatusCode::NOT_FOUND, "ResourceNotFoundException", &what);
    };
    let kind = request.headers().get("x-amz-invocation-type").and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("RequestResponse").to_owned();
    let bytes_max = if kind == "Event" { EVENT_BYTES_MAX } else { PAYLOAD_BYTES_MAX };
    let payload = match Limited::new(request.into_body(), bytes_max).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let what = format!("the event has more than {bytes_max} bytes; send less");
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", &what);
        }
        Err(error) => {
            let what = format!("the event did not arrive: {error}");
            return refusal(StatusCode::BAD_REQUEST, "InvalidRequestContentException", &what);
        }
    };
    // Without an event a function gets an empty object, as from the SDKs.
    let payload = if payload.is_empty() { Bytes::from_static(b"{}") } else { payload };
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
        let what = format!("could not parse the event as JSON: {error}");
        return refusal(StatusCode::BAD_REQUEST, "InvalidRequestContentException", &what);
    }
    match kind.as_str() {
        "RequestResponse" => answer(host.invoke(payload).await),
        "Event" => {
            tokio::spawn(invoke_asynchronously(Arc::clone(host), payload, "the API"));
            empty(StatusCode::ACCEPTED)
        }
        "DryRun" => empty(StatusCode::NO_CONTENT),
        other => {
            let what = format!("the invocation type {other} is none of RequestResponse, Event and DryRun");
            refusal(StatusCode::BAD_REQUEST, "InvalidParameterValueException", &what)
        }
    }
}

/// What a function said, or why it said nothing: both are answers of a call that succeeded.
fn answer(outcome: Result<Bytes, InvokeError>) -> Response<Full<Bytes>> {
    let error = match outcome {
        Ok(payload) => return with_version(StatusCode::OK, None, payload),
        Err(error) => error,
    };
    let (kind, message) = match error {
        InvokeError::Function { error_type, message } => (error_type, message),
        InvokeError::Timeout { after } => {
            ("Sandbox.Timedout".to_owned(), format!("task timed out after {:.2} seconds", after.as_secs_f64()))
        }
        InvokeError::ResponseTooLarge => ("Function.ResponseSizeTooLarge".to_owned(), error.to_string()),
        InvokeError::Crashed { .. } => ("Runtime.ExitError".to_owned(), error.to_string()),
        InvokeError::InitFailed { .. } => ("Runtime.InitError".to_owned(), error.to_string()),
        InvokeError::PayloadTooLarge { .. } => {
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", &error.to_string());
        }
        InvokeError::Stopped => {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceException", &error.to_string());
        }
    };
    let said = json!({ "errorType": kind, "errorMessage": message }).to_string();
    with_version(StatusCode::OK, Some("Unhandled"), said.into())
}

fn with_version(status: StatusCode, error: Option<&'static str>, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    headers.insert("x-amz-executed-version", http::HeaderValue::from_static("$LATEST"));
    if let Some(error) = error {
        headers.insert("x-amz-function-error", http::HeaderValue::from_static(error));
    }
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    with_version(status, None, Bytes::new())
}

fn refusal(status: StatusCode, error: &'static str, message: &str) -> Response<Full<Bytes>> {
    let body = json!({ "Type": "User", "Message": message, "message": message }).to_string();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    headers.insert("x-amzn-errortype", http::HeaderValue::from_static(error));
    response
}
