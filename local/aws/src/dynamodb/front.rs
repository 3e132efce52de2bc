//! The HTTP side: takes a request apart, applies its fault, lets [`super::operations`] answer and counts.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dynoxide::auth_material::{self, AuthMaterial};
use dynoxide::{Database, DynoxideError};
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response};
use tokio::sync::Semaphore;

use super::fault::{Fault, FaultSource, ReplyWithheld, RequestInfo};
use super::units::Meter;
use super::{Latency, SERVICE, operations, taking};

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
const TARGET_PREFIXES: [&str; 2] = ["DynamoDB_20120810.", "DynamoDBStreams_20120810."];
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>: a batch may hold 16 MB.
const BODY_LIMIT_BYTES: usize = 16 * 1024 * 1024;
const UNKNOWN_OPERATION: &str = r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#;
const TOO_LARGE: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#RequestEntityTooLargeException","message":"the request is larger than 16 MB"}"#;

/// What every request shares.
pub(super) struct Shared {
    pub(super) database: Database,
    /// The engine runs one request at a time behind a blocking lock. Waiting here instead keeps the threads free.
    pub(super) turn: Semaphore,
    meter: Arc<Mutex<Meter>>,
    faults: Arc<dyn FaultSource>,
    latency: Option<Arc<Latency>>,
    request_ids: AtomicU64,
}

impl Shared {
    pub(super) fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request handler; a clone serves each connection.
#[derive(Clone)]
pub(super) struct Front(Arc<Shared>);

impl Front {
    pub(super) fn new(
        database: Database,
        meter: Arc<Mutex<Meter>>,
        faults: Arc<dyn FaultSource>,
        latency: Option<Arc<Latency>>,
    ) -> Self {
        let (turn, request_ids) = (Semaphore::new(1), AtomicU64::new(0));
        Self(Arc::new(Shared { database, turn, meter, faults, latency, request_ids }))
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<Full<Bytes>>;
    type Error = ReplyWithheld;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { taking(shared.latency.as_deref(), shared.answer(request)).await })
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, ReplyWithheld> {
        let (head, body) = request.into_parts();
        if head.method != Method::POST {
            return Ok(self.respond(StatusCode::OK, Bytes::from_static(b"healthy")));
        }
        let Ok(body) = Limited::new(body, BODY_LIMIT_BYTES).collect().await else {
            return Ok(self.respond(StatusCode::PAYLOAD_TOO_LARGE, Bytes::from_static(TOO_LARGE.as_bytes())));
        };
        let body = body.to_bytes();
        let Some(operation) = operation(&head.headers) else {
            return Ok(self.respond(StatusCode::BAD_REQUEST, Bytes::from_static(UNKNOWN_OPERATION.as_bytes())));
        };
        if let Some(refusal) = auth_refusal(&head.headers, &head.uri) {
            return Ok(self.respond(StatusCode::BAD_REQUEST, refusal.into()));
        }
        self.meter().called(operation);
        let fault = self.faults.decide(&RequestInfo { service: SERVICE, operation, body: &body });
        match fault {
            Fault::Throttle => return Ok(self.throttle()),
            Fault::Delay(time) => tokio::time::sleep(time).await,
            Fault::None | Fault::ReplyLost | Fault::Partial { .. } => {}
        }
        let (status, answer) = match operations::run(self, operation, &body, fault).await {
            Ok(json) => (StatusCode::OK, json),
            Err(error) => {
                tracing::debug!(operation, %error, "dynamodb refused a request");
                (StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::BAD_REQUEST), error.to_json().into())
            }
        };
        if fault == Fault::ReplyLost {
            return Err(ReplyWithheld);
        }
        Ok(self.respond(status, answer))
    }

    fn throttle(&self) -> Response<Full<Bytes>> {
        self.meter().throttled(1);
        let error = DynoxideError::ProvisionedThroughputExceededException(
            "The level of configured provisioned throughput for the table was exceeded. \
             Consider increasing your provisioning level with the UpdateTable API."
                .to_owned(),
        );
        self.respond(StatusCode::BAD_REQUEST, error.to_json().into())
    }

    fn respond(&self, status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        // AWS request ids are 52 upper-case letters and digits.
        let id = format!("{:0>52}", self.request_ids.fetch_add(1, Ordering::Relaxed));
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }
}

fn operation(headers: &HeaderMap) -> Option<&str> {
    let target = headers.get(TARGET)?.to_str().ok()?;
    TARGET_PREFIXES.iter().find_map(|prefix| target.strip_prefix(prefix))
}

/// The engine checks that a request is signed as far as it can without the secret; the signature itself is not verified.
fn auth_refusal(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    auth_material::validate(AuthMaterial {
        authorization: headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()),
        query: uri.query().unwrap_or_default(),
        has_date_header: headers.contains_key(AMZ_DATE) || headers.contains_key(DATE),
    })
}
