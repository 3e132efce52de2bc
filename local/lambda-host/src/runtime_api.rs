//! One environment's side of the Runtime API: four routes on a port of its own.
//!
//! The port identifies the environment, so a response can only ever answer the invocation that this very process was given.
//! Contract: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use centinela_serve::{HttpServer, ServerError};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::sync::{mpsc, oneshot, watch};

use crate::spec::PAYLOAD_BYTES_MAX;

const PREFIX: &str = "/2018-06-01/runtime/";

/// An error in the function's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReportedError {
    pub(super) error_type: String,
    pub(super) message: String,
}

/// The function's answer to one invocation.
#[derive(Debug)]
pub(super) enum Reply {
    Success(Bytes),
    Error(ReportedError),
    TooLarge,
}

/// An invocation on its way to the process.
pub(super) struct Delivery {
    pub(super) payload: Bytes,
    pub(super) timeout: Duration,
    pub(super) reply: oneshot::Sender<Reply>,
}

struct Current {
    request_id: String,
    reply: oneshot::Sender<Reply>,
}

/// State shared by the routes of one environment.
pub(super) struct Session {
    function_arn: String,
    deliveries: tokio::sync::Mutex<mpsc::Receiver<Delivery>>,
    current: Mutex<Option<Current>>,
    ready: watch::Sender<bool>,
    init_error: Mutex<Option<ReportedError>>,
}

impl Session {
    /// A session and the way to hand it invocations, one at a time.
    pub(super) fn new(function_arn: String) -> (Arc<Session>, mpsc::Sender<Delivery>) {
        let (sender, receiver) = mpsc::channel(1);
        let session = Session {
            function_arn,
            deliveries: tokio::sync::Mutex::new(receiver),
            current: Mutex::new(None),
            ready: watch::Sender::new(false),
            init_error: Mutex::new(None),
        };
        (Arc::new(session), sender)
    }

    /// Waits until the process has asked for work for the first time.
    pub(super) async fn ready(&self) {
        // The sender lives as long as the session, so waiting cannot fail.
        drop(self.ready.subscribe().wait_for(|ready| *ready).await);
    }

    pub(super) fn init_error(&self) -> Option<ReportedError> {
        self.init_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_current(&self, request_id: &str) -> Option<oneshot::Sender<Reply>> {
        self.current().take_if(|current| current.request_id == request_id).map(|current| current.reply)
    }
}

/// Serves the environment, on a port of its own, until the server is dropped.
pub(super) async fn serve(session: Arc<Session>) -> Result<HttpServer, ServerError> {
    let service = service_fn(move |request| {
        let session = Arc::clone(&session);
        async move { Ok::<_, Infallible>(route(&session, request).await) }
    });
    HttpServer::start("runtime api", None, service).await
}

async fn route(session: &Session, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let Some(path) = path.strip_prefix(PREFIX) else {
        return problem(StatusCode::NOT_FOUND, "UnknownRoute", &path);
    };
    match (request.method(), path) {
        (&Method::GET, "invocation/next") => next(session).await,
        (&Method::POST, "init/error") => init_error(session, request).await,
        (&Method::POST, path) => {
            let answer = path.strip_prefix("invocation/").and_then(|rest| rest.split_once('/'));
            match answer {
                Some((request_id, "response")) => response(session, request_id, request).await,
                Some((request_id, "error")) => error(session, request_id, request).await,
                _ => problem(StatusCode::NOT_FOUND, "UnknownRoute", path),
            }
        }
        _ => problem(StatusCode::NOT_FOUND, "UnknownRoute", path),
    }
}

async fn next(session: &Session) -> Response<Full<Bytes>> {
    if session.current().is_some() {
        let text = "the previous invocation was not answered";
        return problem(StatusCode::FORBIDDEN, "InvalidStateTransition", text);
    }
    session.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
    let Some(delivery) = session.deliveries.lock().await.recv().await else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "Stopped", "the environment is being stopped");
    };
    let request_id = request_id();
    let deadline = SystemTime::now() + delivery.timeout;
    let deadline_ms = deadline.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    *session.current() = Some(Current { request_id: request_id.clone(), reply: delivery.reply });
    let trace_id =
        format!("Root=1-{}-{}{};Sampled=0", &request_id[..8], &request_id[9..13], &request_id[16..].replace('-', ""));
    Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", request_id)
        .header("lambda-runtime-deadline-ms", deadline_ms.to_string())
        .header("lambda-runtime-invoked-function-arn", &session.function_arn)
        .header("lambda-runtime-trace-id", trace_id)
        .body(Full::new(delivery.payload))
        .unwrap_or_else(|error| problem(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &error.to_string()))
}

async fn response(session: &Session, request_id: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let body = read_body(request).await;
    let Some(reply) = session.take_current(request_id) else {
        return unknown_request(request_id);
    };
    let (reply_with, answer) = match body {
        Ok(body) => (Reply::Success(body), accepted()),
        Err(BodyError::TooLarge) => {
            let text = format!("a response has at most {PAYLOAD_BYTES_MAX} bytes");
            (Reply::TooLarge, problem(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &text))
        }
        Err(BodyError::Broken(text)) => {
            let error = ReportedError { error_type: "Runtime.TruncatedResponse".to_owned(), message: text.clone() };
            (Reply::Error(error), problem(StatusCode::BAD_REQUEST, "TruncatedResponse", &text))
        }
    };
    deliver(reply, reply_with);
    answer
}

async fn error(session: &Session, request_id: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let reported = read_error(request).await;
    let Some(reply) = session.take_current(request_id) else {
        return unknown_request(request_id);
    };
    deliver(reply, Reply::Error(reported));
    accepted()
}

async fn init_error(session: &Session, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let reported = read_error(request).await;
    *session.init_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(reported);
    accepted()
}

/// The caller may have given up at the same moment; it has its answer then.
fn deliver(reply: oneshot::Sender<Reply>, answer: Reply) {
    if reply.send(answer).is_err() {
        tracing::debug!("a function answered after its invocation was given up");
    }
}

enum BodyError {
    TooLarge,
    Broken(String),
}

async fn read_body(request: Request<Incoming>) -> Result<Bytes, BodyError> {
    match Limited::new(request.into_body(), PAYLOAD_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(error) => Err(BodyError::Broken(error.to_string())),
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorDocument {
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error_message: String,
}

async fn read_error(request: Request<Incoming>) -> ReportedError {
    let header = request.headers().get("lambda-runtime-function-error-type");
    let from_header = header.and_then(|value| value.to_str().ok()).unwrap_or("Unhandled").to_owned();
    let body = read_body(request).await.unwrap_or_default();
    match serde_json::from_slice::<ErrorDocument>(&body) {
        Ok(document) if !document.error_type.is_empty() => {
            ReportedError { error_type: document.error_type, message: document.error_message }
        }
        Ok(document) => ReportedError { error_type: from_header, message: document.error_message },
        Err(_) => ReportedError { error_type: from_header, message: String::from_utf8_lossy(&body).into_owned() },
    }
}

fn accepted() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"status\":\"OK\"}")));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn unknown_request(request_id: &str) -> Response<Full<Bytes>> {
    problem(StatusCode::BAD_REQUEST, "InvalidRequestID", &format!("{request_id} is not the invocation in progress"))
}

fn problem(status: StatusCode, error_type: &str, message: &str) -> Response<Full<Bytes>> {
    let document = serde_json::json!({ "errorType": error_type, "errorMessage": message });
    let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
    *response.status_mut() = status;
    response
}

/// Shaped like a version 4 UUID; unique within a run and unlike any of another run.
fn request_id() -> String {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    static KEYS: std::sync::OnceLock<(RandomState, RandomState)> = std::sync::OnceLock::new();
    let (high_key, low_key) = KEYS.get_or_init(|| (RandomState::new(), RandomState::new()));
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let (high, low) = (high_key.hash_one(serial), low_key.hash_one(serial));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff,
    )
}
