//! What stands between the functions and DynamoDB or Kinesis, embedded or external: an HTTP server that counts calls and request units,
//! makes calls take their time and carries out faults, the same for every [`Upstream`].

mod dynamodb;
mod external;
mod kinesis;
mod meter;
mod object;
mod sent;
pub(crate) mod statement;
mod tables;
mod upstream;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use centinela_serve::{BoxError, HttpServer, ServerError, caller};
use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response};

pub(crate) use meter::{Charge, Direction};
pub use meter::{DynamoStats, TableUnits};
pub use upstream::ProxiedService;
pub(crate) use upstream::{Answer, Upstream, operation, target};

use crate::access::AwsAccess;
use crate::external::client::AwsClient;
use crate::external::error::EndpointError;
use crate::fault::{Fault, FaultSource, ReplyWithheld, RequestInfo};
use crate::latency::{Latency, taking};
use external::External;
use meter::Meter;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// What the largest request of either service may hold: 16 MB of DynamoDB, 10 MiB of Kinesis in base64.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const BODY_LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// How to start a proxy before an external service.
pub struct ProxyConfig {
    /// What is behind it.
    pub service: ProxiedService,
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

/// A running proxy. Dropping it stops it without waiting.
pub struct Proxy {
    server: HttpServer,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts to listen before an external service, which is not asked for anything.
    ///
    /// # Errors
    /// When the port is taken or the address is no URL.
    pub fn start(config: ProxyConfig) -> BoxFuture<'static, Result<Self, EndpointError>> {
        Box::pin(async move {
            let ProxyConfig { service, url, access, port, faults, latency } = config;
            let client = AwsClient::new(service.name(), &url, &access)?;
            let (access_key_id, is_complaining) = (access.access_key_id, AtomicBool::new(false));
            let upstream = Arc::new(External { service, client, access_key_id, is_complaining });
            Ok(Self::before(upstream, service, port, faults, latency).await?)
        })
    }

    /// Starts to listen before any upstream.
    pub(crate) async fn before(
        upstream: Arc<dyn Upstream>,
        service: ProxiedService,
        port: Option<u16>,
        faults: Arc<dyn FaultSource>,
        latency: Option<Arc<Latency>>,
    ) -> Result<Self, ServerError> {
        let (meter, request_ids) = (Mutex::default(), AtomicU64::new(0));
        let shared = Arc::new(Shared { upstream, service, faults, latency, meter, request_ids });
        let server = HttpServer::start(service.name(), port, Handler(Arc::clone(&shared))).await?;
        Ok(Self { server, shared })
    }

    /// The URL that clients use.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// What was asked and, of DynamoDB, what it cost.
    #[must_use]
    pub fn snapshot(&self) -> DynamoStats {
        self.shared.meter().snapshot()
    }

    /// What is answered to an operation of DynamoDB.
    #[cfg(test)]
    pub(crate) async fn ask(&self, operation: &str, body: Bytes) -> Answer {
        let target = format!("DynamoDB_20120810.{operation}");
        self.shared.exchange(&target, body, Fault::None, Some("f")).await.expect("an answer")
    }

    /// Finishes open requests and stops.
    ///
    /// # Errors
    /// When a task of the proxy panicked.
    pub async fn shutdown(self) -> Result<(), ServerError> {
        self.server.shutdown().await
    }
}

struct Shared {
    upstream: Arc<dyn Upstream>,
    service: ProxiedService,
    faults: Arc<dyn FaultSource>,
    latency: Option<Arc<Latency>>,
    meter: Mutex<Meter>,
    request_ids: AtomicU64,
}

/// The request handler; a clone serves each connection.
#[derive(Clone)]
struct Handler(Arc<Shared>);

impl Service<Request<Incoming>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = ReplyWithheld;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let answer = taking(shared.latency.as_deref(), shared.answer(request)).await?;
            Ok(shared.respond(answer))
        })
    }
}

/// A request with its fault taken out of it, on the way to the server and back.
enum Exchange<'a> {
    DynamoDb(Box<dynamodb::Exchange<'a>>),
    Kinesis(kinesis::Exchange<'a>),
}

impl<'a> Exchange<'a> {
    /// None for a request that passes as it is and costs no units.
    fn new(service: ProxiedService, operation: &str, body: &'a [u8], fault: Fault) -> Option<Self> {
        match service {
            ProxiedService::DynamoDb => {
                dynamodb::Exchange::new(operation, body, fault).map(|exchange| Self::DynamoDb(Box::new(exchange)))
            }
            ProxiedService::Kinesis => kinesis::Exchange::new(operation, body, fault).map(Self::Kinesis),
        }
    }

    fn forwarded(&self) -> Option<Bytes> {
        match self {
            Self::DynamoDb(exchange) => exchange.forwarded(),
            Self::Kinesis(exchange) => exchange.forwarded(),
        }
    }

    fn instead(&self) -> Answer {
        match self {
            Self::DynamoDb(exchange) => exchange.instead(),
            Self::Kinesis(_) => (StatusCode::OK, Bytes::from_static(b"{}")),
        }
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, ReplyWithheld> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_LIMIT_BYTES).collect().await else {
            let (status, message) = (StatusCode::PAYLOAD_TOO_LARGE, "the request is larger than 16 MB");
            return Ok(self.service.refusal(status, "RequestEntityTooLargeException", message));
        };
        let body = body.to_bytes();
        let target = match self.upstream.admit(&head) {
            Ok(target) => target,
            Err(answer) => return Ok(answer),
        };
        let operation = operation(target);
        self.meter().called(operation);
        let fault = self.faults.decide(&RequestInfo {
            service: self.service.name(),
            operation,
            path: head.uri.path(),
            body: &body,
            caller: caller(&head.headers),
        });
        match fault {
            Fault::Throttle => {
                let mut meter = self.meter();
                meter.throttled(1);
                if self.service == ProxiedService::DynamoDb {
                    meter.throttled_at(&tables::tables(&body), tables::direction(operation), 1);
                }
                drop(meter);
                let code = "ProvisionedThroughputExceededException";
                return Ok(self.service.refusal(StatusCode::BAD_REQUEST, code, self.service.throttled()));
            }
            Fault::Delay(time) => tokio::time::sleep(time).await,
            Fault::None | Fault::ReplyLost | Fault::Partial { .. } => {}
        }
        match self.exchange(target, body, fault, caller(&head.headers)).await {
            Ok(answer) if fault != Fault::ReplyLost => Ok(answer),
            // Lost on purpose, or as if the server had closed the connection, which it has.
            Ok(_) | Err(_) => Err(ReplyWithheld),
        }
    }

    async fn exchange(
        &self,
        target: &str,
        body: Bytes,
        fault: Fault,
        caller: Option<&str>,
    ) -> Result<Answer, BoxError> {
        if !matches!(fault, Fault::Partial { .. })
            && let Some((answer, charges)) = self.upstream.at_once(operation(target), &body)
        {
            let mut meter = self.meter();
            meter.asked_by(caller);
            charges.iter().for_each(|charge| meter.take(charge));
            return Ok((StatusCode::OK, answer));
        }
        let Some(exchange) = Exchange::new(self.service, operation(target), &body, fault) else {
            return self.upstream.call(target, body.clone()).await;
        };
        let (status, answer) = match exchange.forwarded() {
            Some(forwarded) => self.upstream.call(target, forwarded).await?,
            // Nothing is left of it.
            None => exchange.instead(),
        };
        let mut meter = self.meter();
        meter.asked_by(caller);
        let throttled_before = meter.throttles();
        let answer = match exchange {
            Exchange::DynamoDb(exchange) => {
                exchange.finish(status, answer, &mut meter, &|table, item| self.upstream.stored(table, item))
            }
            Exchange::Kinesis(exchange) => exchange.finish(status, answer, &mut meter),
        };
        let throttled = meter.throttles() - throttled_before;
        if throttled > 0 && self.service == ProxiedService::DynamoDb {
            meter.throttled_at(&tables::tables(&body), tables::direction(operation(target)), throttled);
        }
        Ok((status, answer))
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn respond(&self, (status, body): Answer) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.service.content_type());
        // AWS request ids of DynamoDB are 52 upper-case letters and digits.
        let id = format!("{:0>52}", self.request_ids.fetch_add(1, Ordering::Relaxed));
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }
}
