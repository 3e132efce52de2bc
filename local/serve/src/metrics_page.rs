//! A page of metrics for whoever collects them: its owner puts the latest, and everybody gets that.
//!
//! It comes in two forms, by what the caller accepts: OpenMetrics 1.0 and the older text format of Prometheus.
//! <https://prometheus.io/docs/instrumenting/content_negotiation/>

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};

use crate::error::ServerError;
use crate::http::HttpServer;

const PATH: &str = "/metrics";
const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Both forms of a page.
#[derive(Clone, Debug, Default)]
struct Forms {
    open_metrics: Bytes,
    text: Bytes,
}

/// A page on 127.0.0.1. Dropping it stops it without waiting.
pub struct MetricsPage {
    server: HttpServer,
    forms: Arc<RwLock<Forms>>,
}

impl MetricsPage {
    /// Listens on `port`, or on a free one. The page is empty until [`MetricsPage::put`].
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(port: Option<u16>) -> Result<Self, ServerError> {
        let forms = Arc::<RwLock<Forms>>::default();
        let shared = Arc::clone(&forms);
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer(&request, &shared);
            async move { Ok::<_, Infallible>(answer) }
        });
        Ok(Self { server: HttpServer::start("the page of metrics", port, service).await?, forms })
    }

    /// Puts the latest, in both forms.
    pub fn put(&self, open_metrics: String, text: String) {
        let forms = Forms { open_metrics: open_metrics.into(), text: text.into() };
        *self.forms.write().unwrap_or_else(PoisonError::into_inner) = forms;
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{PATH}", self.server.url())
    }
}

fn answer(request: &Request<Incoming>, forms: &RwLock<Forms>) -> Response<Full<Bytes>> {
    if !matches!(request.method(), &Method::GET | &Method::HEAD) || request.uri().path() != PATH {
        let mut response = Response::new(Full::from("metrics are at /metrics\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    let accepted = request.headers().get(ACCEPT).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
    let forms = forms.read().unwrap_or_else(PoisonError::into_inner).clone();
    let (kind, body) = match accepted.contains(OPEN_METRICS) {
        true => (OPEN_METRICS_TYPE, forms.open_metrics),
        false => (TEXT_TYPE, forms.text),
    };
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
