//! The HTTP side of the streams.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response};

use super::api::{self, ApiError};
use super::fault::{Fault, ReplyWithheld, RequestInfo};
use super::{SERVICE, Shared, taking};

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const TARGET_PREFIX: &str = "Kinesis_20131202.";
const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
/// Room for the largest request, 10 MiB of data, in base64 with its JSON.
const BODY_LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// The request handler; a clone serves each connection.
#[derive(Clone)]
pub(super) struct Front(Arc<Shared>);

impl Front {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<Full<Bytes>>;
    type Error = ReplyWithheld;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { taking(shared.latency.as_deref(), answer(&shared, request)).await })
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, ReplyWithheld> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_LIMIT_BYTES).collect().await else {
        return Ok(refuse(&ApiError::new("InvalidArgumentException", "the request is larger than 16 MiB")));
    };
    let body = body.to_bytes();
    let operation = match operation(&head.headers) {
        Ok(operation) => operation,
        Err(error) => return Ok(refuse(&error)),
    };
    *shared.state().stats.calls.entry(operation.to_owned()).or_default() += 1;
    let fault = shared.faults.decide(&RequestInfo { service: SERVICE, operation, body: &body });
    match fault {
        Fault::Throttle => {
            shared.state().stats.throttled += 1;
            return Ok(refuse(&ApiError::new(
                "ProvisionedThroughputExceededException",
                "Rate exceeded for the stream.",
            )));
        }
        Fault::Delay(time) => tokio::time::sleep(time).await,
        Fault::None | Fault::ReplyLost | Fault::Partial { .. } => {}
    }
    let response = match api::run(shared, operation, &body, fault) {
        Ok(json) => respond(StatusCode::OK, json),
        Err(error) => {
            tracing::debug!(operation, code = error.code, message = %error.message, "kinesis refused a request");
            refuse(&error)
        }
    };
    if fault == Fault::ReplyLost { Err(ReplyWithheld) } else { Ok(response) }
}

fn operation(headers: &HeaderMap) -> Result<&str, ApiError> {
    if !headers.contains_key(AUTHORIZATION) {
        return Err(ApiError::new("MissingAuthenticationTokenException", "the request is not signed"));
    }
    if headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-amz-cbor")) {
        return Err(ApiError::new("SerializationException", "the embedded kinesis speaks JSON, not CBOR"));
    }
    let target = headers.get(TARGET).and_then(|target| target.to_str().ok()).unwrap_or_default();
    target
        .strip_prefix(TARGET_PREFIX)
        .ok_or_else(|| ApiError::new("UnknownOperationException", format!("no operation in {target:?}")))
}

fn refuse(error: &ApiError) -> Response<Full<Bytes>> {
    respond(StatusCode::BAD_REQUEST, error.to_json())
}

fn respond(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
