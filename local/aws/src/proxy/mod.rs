//! A front for a DynamoDB or Kinesis that is not ours: an HTTP server of this process between the functions and the real one.
//!
//! It does what the embedded services do by themselves: carries out faults, makes calls take their time, and counts calls and
//! request units. Everything else is forwarded, signed anew because a fault changes the body. It serves only requests that are
//! signed with its own access key id, so that nobody who merely finds the port uses somebody's credentials.

mod dynamodb;
mod kinesis;

use futures::future::BoxFuture;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response};
use serde_json::Value;

use super::dynamodb::DynamoStats;
use super::dynamodb::units::Meter;
use super::fault::{Fault, FaultSource, ReplyWithheld, RequestInfo};
use super::latency::{Latency, taking};
use crate::AwsAccess;
use crate::external::{AwsClient, EndpointError};
use centinela_serve::{BoxError, HttpServer, ServerError};

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
/// What the largest request may hold, in both services.
const BODY_LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// Which of the two services is behind a front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fronted {
    /// DynamoDB.
    Dynamo,
    /// Kinesis Data Streams.
    Kinesis,
}

impl Fronted {
    fn name(self) -> &'static str {
        match self {
            Self::Dynamo => "dynamodb",
            Self::Kinesis => "kinesis",
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Dynamo => "application/x-amz-json-1.0",
            Self::Kinesis => "application/x-amz-json-1.1",
        })
    }
}

/// How to start a front.
pub struct FrontConfig {
    /// What is behind it.
    pub service: Fronted,
    /// Where that is.
    pub url: String,
    /// Who asks there, and the only one who may ask here.
    pub access: AwsAccess,
    /// The port to listen on; `None` takes a free one.
    pub port: Option<u16>,
    /// Decides which requests go wrong.
    pub faults: Arc<dyn FaultSource>,
    /// How long a call takes; `None` leaves it as long as it takes.
    pub latency: Option<Arc<Latency>>,
}

/// A running front. Dropping it stops it without waiting.
pub struct Front {
    server: HttpServer,
    shared: Arc<Shared>,
}

impl Front {
    /// Starts to listen. What is behind it is not asked for anything.
    ///
    /// # Errors
    /// When the port is taken or the address is no URL.
    pub fn start(config: FrontConfig) -> BoxFuture<'static, Result<Self, EndpointError>> {
        Box::pin(Self::begin(config))
    }

    async fn begin(config: FrontConfig) -> Result<Self, EndpointError> {
        let client = AwsClient::new(config.service.name(), &config.url, &config.access)?;
        let shared = Arc::new(Shared {
            service: config.service,
            client,
            access_key_id: config.access.access_key_id,
            faults: config.faults,
            latency: config.latency,
            meter: Mutex::new(Meter::default()),
            is_complaining: AtomicBool::new(false),
        });
        let server = HttpServer::start(config.service.name(), config.port, Handler(Arc::clone(&shared))).await?;
        Ok(Self { server, shared })
    }

    /// The URL that clients use.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// What was asked and, of DynamoDB, what it cost, counted as the embedded one counts.
    #[must_use]
    pub fn snapshot(&self) -> DynamoStats {
        self.shared.meter.lock().unwrap_or_else(PoisonError::into_inner).snapshot()
    }

    /// Finishes open requests and stops.
    ///
    /// # Errors
    /// When a task of the front panicked.
    pub async fn shutdown(self) -> Result<(), ServerError> {
        self.server.shutdown().await
    }
}

struct Shared {
    service: Fronted,
    client: AwsClient,
    access_key_id: String,
    faults: Arc<dyn FaultSource>,
    latency: Option<Arc<Latency>>,
    meter: Mutex<Meter>,
    /// One line when the server behind stops answering, not one per request.
    is_complaining: AtomicBool,
}

#[derive(Clone)]
struct Handler(Arc<Shared>);

impl Service<Request<Incoming>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = ReplyWithheld;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { taking(shared.latency.as_deref(), shared.answer(request)).await })
    }
}

/// A request with its fault taken out of it, on the way to the server and back.
enum Exchange {
    /// As it came.
    Plain(Bytes),
    Dynamo(Box<dynamodb::Exchange>),
    Kinesis(kinesis::Exchange),
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, ReplyWithheld> {
        let (head, body) = request.into_parts();
        let Some((target, operation)) = self.operation(&head.headers) else {
            return Ok(self.refuse("UnknownOperationException", "no operation, or not signed with this front's key"));
        };
        let Ok(body) = Limited::new(body, BODY_LIMIT_BYTES).collect().await else {
            return Ok(self.refuse("RequestEntityTooLargeException", "the request is larger than 16 MB"));
        };
        let body = body.to_bytes();
        self.meter(|meter| meter.called(operation));
        let fault = self.faults.decide(&RequestInfo { service: self.service.name(), operation, body: &body });
        match fault {
            Fault::Throttle => {
                self.meter(|meter| meter.throttled(1));
                return Ok(self.refuse("ProvisionedThroughputExceededException", "The request was throttled."));
            }
            Fault::Delay(time) => tokio::time::sleep(time).await,
            Fault::None | Fault::ReplyLost | Fault::Partial { .. } => {}
        }
        let answered = self.exchange(target, operation, body, fault).await;
        if fault == Fault::ReplyLost {
            return Err(ReplyWithheld);
        }
        match answered {
            Ok((status, body)) => {
                self.is_complaining.store(false, Ordering::Relaxed);
                Ok(self.respond(status, body))
            }
            // As if the server had closed the connection, which it has.
            Err(error) => {
                if !self.is_complaining.swap(true, Ordering::Relaxed) {
                    tracing::warn!(service = self.service.name(), url = self.client.url(), error, "no answer");
                }
                Err(ReplyWithheld)
            }
        }
    }

    async fn exchange(
        &self,
        target: &str,
        operation: &str,
        body: Bytes,
        fault: Fault,
    ) -> Result<(StatusCode, Bytes), BoxError> {
        let mut exchange = self.prepare(operation, body, fault);
        let forwarded = match &mut exchange {
            Exchange::Plain(body) => Some(std::mem::take(body)),
            Exchange::Dynamo(exchange) => exchange.forwarded(),
            Exchange::Kinesis(exchange) => exchange.forwarded(),
        };
        let (status, answer) = match forwarded {
            Some(body) => self.client.forward(target, body).await?,
            // Nothing is left of it.
            None => (StatusCode::OK, Bytes::from_static(b"{}")),
        };
        let answer = match exchange {
            Exchange::Plain(_) => answer,
            Exchange::Dynamo(exchange) => self.meter(|meter| exchange.settle(status, answer, meter)),
            Exchange::Kinesis(exchange) => exchange.settle(status, answer),
        };
        Ok((status, answer))
    }

    fn prepare(&self, operation: &str, body: Bytes, fault: Fault) -> Exchange {
        let Ok(Value::Object(request)) = serde_json::from_slice(&body) else { return Exchange::Plain(body) };
        match self.service {
            Fronted::Dynamo => match dynamodb::Exchange::new(operation, request, fault) {
                Some(exchange) => Exchange::Dynamo(Box::new(exchange)),
                None => Exchange::Plain(body),
            },
            Fronted::Kinesis if operation == "PutRecords" && matches!(fault, Fault::Partial { .. }) => {
                Exchange::Kinesis(kinesis::Exchange::new(request, fault))
            }
            Fronted::Kinesis => Exchange::Plain(body),
        }
    }

    /// The target as the client named it, and its operation; none for what this front does not serve.
    fn operation<'a>(&self, headers: &'a HeaderMap) -> Option<(&'a str, &'a str)> {
        let authorization = headers.get(AUTHORIZATION)?.to_str().ok()?;
        if !authorization.contains(&format!("Credential={}/", self.access_key_id)) {
            return None;
        }
        let target = headers.get(TARGET)?.to_str().ok()?;
        Some((target, target.split_once('.')?.1))
    }

    fn meter<T>(&self, count: impl FnOnce(&mut Meter) -> T) -> T {
        count(&mut self.meter.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn refuse(&self, code: &str, message: &str) -> Response<Full<Bytes>> {
        let namespace = match self.service {
            Fronted::Dynamo => "com.amazonaws.dynamodb.v20120810#",
            Fronted::Kinesis => "",
        };
        let error = serde_json::json!({ "__type": format!("{namespace}{code}"), "message": message });
        self.respond(StatusCode::BAD_REQUEST, error.to_string().into())
    }

    fn respond(&self, status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, self.service.content_type());
        response
    }
}

/// Takes the entries out of a batch that a fault leaves undone; says where they were.
fn set_aside(entries: &mut Vec<Value>, fault: Fault) -> Vec<usize> {
    let undone: Vec<usize> = (0..entries.len()).filter(|index| fault.leaves_undone(*index)).collect();
    let mut index = 0;
    entries.retain(|_| {
        index += 1;
        !fault.leaves_undone(index - 1)
    });
    undone
}

/// Puts an answer for each undone entry back to its place.
fn put_back(answers: &mut Vec<Value>, undone: &[usize], answer: &Value) {
    for index in undone {
        answers.insert((*index).min(answers.len()), answer.clone());
    }
}
