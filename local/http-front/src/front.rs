//! The front: a request on its way to a function and back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use centinela_lambda_host::InvokeError;
use centinela_serve::{ServerError, listen};
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, of_function, own, refusal};
use crate::bucket::Bucket;
use crate::caller::{admit, confirm, suits};
use crate::connections;
use crate::cors;
use crate::counted::{ApiCounts, Counted};
use crate::event::{Asked, event, request_id};
use crate::issuer::{Checker, Issuer};
use crate::limits::Limits;
use crate::path::fit;
use crate::spec::{ApiSpec, Authorizer, Credentials, RouteSpec};

const SERVICE: &str = "the HTTP API";
/// What a permit of [`Shared::bodies`] stands for.
const KB: usize = 1024;

/// HTTP APIs on 127.0.0.1. Dropping it stops it without waiting; `shutdown` waits.
pub struct HttpFront {
    address: SocketAddr,
    bodies: Arc<Semaphore>,
    bodies_bytes: usize,
    counted: Arc<Counted>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

struct Api {
    spec: ApiSpec,
    throttles: Vec<Option<Bucket>>,
}

struct Shared {
    apis: Vec<Api>,
    credentials: Credentials,
    checker: Checker,
    limits: Limits,
    /// One permit per KB of body in memory.
    bodies: Arc<Semaphore>,
    counted: Arc<Counted>,
}

/// The route that a request takes.
struct Chosen<'a> {
    api: &'a Api,
    index: usize,
    parameters: BTreeMap<String, String>,
}

impl HttpFront {
    /// Listens on 127.0.0.1, on `port` or on a free one.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(
        port: Option<u16>,
        apis: Vec<ApiSpec>,
        credentials: Credentials,
        issuer: &Issuer,
        limits: Limits,
    ) -> Result<Self, ServerError> {
        let listener = listen(SERVICE, port).await?;
        let address = listener.local_addr().map_err(|source| ServerError::Listen {
            service: SERVICE,
            port: port.unwrap_or_default(),
            source,
        })?;
        let now = Instant::now();
        let throttle = |route: &RouteSpec| Some(Bucket::new(route.rate?, route.burst.map_or(1.0, f64::from), now));
        let apis = apis.into_iter().map(|spec| Api { throttles: spec.routes.iter().map(throttle).collect(), spec });
        let bodies = Arc::new(Semaphore::new(limits.bodies_bytes / KB));
        let counted = Arc::new(Counted::default());
        let shared = Arc::new(Shared {
            counted: Arc::clone(&counted),
            apis: apis.collect(),
            credentials,
            checker: issuer.checker(),
            limits,
            bodies: Arc::clone(&bodies),
        });
        let stop = CancellationToken::new();
        let answer = move |request, peer| {
            let shared = Arc::clone(&shared);
            async move { Box::pin(shared.answer(request, peer)).await }
        };
        let serving = tokio::spawn(connections::serve(listener, limits, stop.clone(), answer));
        Ok(Self { address, bodies, bodies_bytes: limits.bodies_bytes, counted, stop, serving })
    }

    /// What was asked of each API since the last call, by its id.
    #[must_use]
    pub fn take_counts(&self) -> BTreeMap<String, ApiCounts> {
        self.counted.take()
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What all bodies take in memory now.
    #[must_use]
    pub fn bodies_bytes(&self) -> usize {
        self.bodies_bytes.saturating_sub(self.bodies.available_permits() * KB)
    }

    /// Accepts nothing more, lets open requests finish for a while, and ends.
    ///
    /// # Errors
    /// When its task panicked.
    pub async fn shutdown(mut self) -> Result<(), ServerError> {
        self.stop.cancel();
        (&mut self.serving).await.map_err(|_| ServerError::Panicked { service: SERVICE })
    }
}

impl Drop for HttpFront {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let (parts, body) = request.into_parts();
        let (id, began) = (request_id(), Instant::now());
        let Some(chosen) = self.choose(&parts) else {
            return named(own(StatusCode::NOT_FOUND, "Not Found"), &id);
        };
        let cors = chosen.api.spec.cors.as_ref();
        // A browser asks without credentials: where the route wants some, it is refused like everybody.
        let is_open = chosen.api.spec.routes[chosen.index].authorizer == Authorizer::None;
        let preflight = cors.filter(|_| is_open);
        if let Some(answer) = preflight.and_then(|spec| cors::preflight(spec, &parts.method, &parts.headers)) {
            return named(answer, &id);
        }
        let mut answer = self.through(&chosen, &parts, body, &id, peer).await.unwrap_or_else(|refused| refused);
        if let Some(spec) = cors {
            cors::mark(spec, &parts.headers, answer.headers_mut());
        }
        self.counted.answered(&chosen.api.spec.id, answer.status(), began.elapsed());
        named(answer, &id)
    }

    /// The best route: whose credentials suit, then the one that names the path most exactly.
    fn choose(&self, parts: &Parts) -> Option<Chosen<'_>> {
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        let mut best: Option<((u8, u8), Chosen<'_>)> = None;
        for api in &self.apis {
            let fitting = api.spec.routes.iter().enumerate().filter_map(|(index, route)| {
                let (rank, parameters) = fit(&route.key, method, path)?;
                Some((rank, index, parameters))
            });
            // Within an API only the path decides.
            let Some((rank, index, parameters)) = fitting.max_by_key(|(rank, _, _)| *rank) else { continue };
            let suited = suits(&api.spec.routes[index].authorizer, &parts.headers);
            if best.as_ref().is_none_or(|(known, _)| (suited, rank) > *known) {
                best = Some(((suited, rank), Chosen { api, index, parameters }));
            }
        }
        best.map(|(_, chosen)| chosen)
    }

    async fn through(
        &self,
        chosen: &Chosen<'_>,
        parts: &Parts,
        body: Incoming,
        id: &str,
        peer: SocketAddr,
    ) -> Result<Answer, Answer> {
        let route = &chosen.api.spec.routes[chosen.index];
        let credentials = &self.credentials;
        let authorizer =
            admit(route, &parts.headers, &self.checker, credentials).map_err(|refused| refusal(&refused))?;
        let throttle = chosen.api.throttles[chosen.index].as_ref();
        if throttle.is_some_and(|bucket| !bucket.take(Instant::now())) {
            let mut answer = own(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests");
            answer.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
            return Err(answer);
        }
        let (body, room) = self.body(parts, body).await?;
        confirm(route, parts, &body, credentials).map_err(|refused| refusal(&refused))?;
        let source = peer.ip().to_string();
        let asked = Asked {
            api: &chosen.api.spec.id,
            route_key: &route.key,
            path_parameters: &chosen.parameters,
            authorizer,
            request_id: id,
            source: &source,
        };
        let event = event(asked, parts, &body).ok_or_else(|| own(StatusCode::BAD_REQUEST, "Bad Request"))?;
        drop(body);
        let invoked = tokio::time::timeout(self.limits.integration, route.function.invoke(event)).await;
        drop(room);
        match invoked {
            Ok(Ok(said)) => Ok(of_function(&said)),
            Ok(Err(error)) => Err(failed(route, &error)),
            Err(_) => Err(own(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")),
        }
    }

    /// The body, within its size, its time, and the room that all bodies have. What is too large is refused before it is read.
    async fn body(&self, parts: &Parts, mut body: Incoming) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Answer> {
        let limit = self.limits.body_bytes;
        let too_large = || closing(own(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"));
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let mut room: Option<OwnedSemaphorePermit> = None;
        let mut read = BytesMut::new();
        let reading = async {
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| closing(own(StatusCode::BAD_REQUEST, "Bad Request")))?;
                let Ok(data) = frame.into_data() else { continue };
                if read.len() + data.len() > limit {
                    return Err(too_large());
                }
                let held = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) * KB;
                let wanted = (read.len() + data.len()).saturating_sub(held).div_ceil(KB);
                if wanted > 0 {
                    let more = u32::try_from(wanted).ok();
                    let more = more.and_then(|more| Arc::clone(&self.bodies).try_acquire_many_owned(more).ok());
                    let more =
                        more.ok_or_else(|| closing(own(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")))?;
                    match &mut room {
                        Some(room) => room.merge(more),
                        None => room = Some(more),
                    }
                }
                read.extend_from_slice(&data);
            }
            Ok(())
        };
        match tokio::time::timeout(self.limits.body_time, reading).await {
            Ok(outcome) => outcome?,
            Err(_) => {
                tracing::debug!(service = SERVICE, method = %parts.method, "a body did not come in time");
                return Err(closing(own(StatusCode::REQUEST_TIMEOUT, "Request Timeout")));
            }
        }
        Ok((read.freeze(), room))
    }
}

/// The rest of the request is not read.
fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert("connection", HeaderValue::from_static("close"));
    answer
}

fn named(mut answer: Answer, id: &str) -> Answer {
    if let Ok(id) = HeaderValue::from_str(id) {
        answer.headers_mut().insert("apigw-requestid", id);
    }
    answer
}

fn failed(route: &RouteSpec, error: &InvokeError) -> Answer {
    tracing::warn!(function = route.function.spec().name, %error, "a request of the HTTP API failed");
    match error {
        InvokeError::PayloadTooLarge { .. } => own(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
        InvokeError::Stopped => own(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        _ => own(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
    }
}
