//! What the SDK's client would send: captured before it goes anywhere.

use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use tokio::runtime::{Builder, Runtime};

/// The last request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture(Arc<Mutex<Request>>);

/// What matters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) target: String,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

impl Capture {
    pub(crate) fn taken(&self) -> Request {
        self.0.lock().unwrap().clone()
    }
}

impl Intercept for Capture {
    fn name(&self) -> &'static str {
        "Capture"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let header = |name: &str| request.headers().get(name).unwrap_or_default().to_owned();
        *self.0.lock().unwrap() = Request {
            method: request.method().to_owned(),
            path: request.uri().rsplit_once(".com").map_or("", |(_, path)| path).to_owned(),
            target: header("x-amz-target"),
            content_type: header("content-type"),
            body: request.body().bytes().unwrap_or_default().to_vec(),
        };
        Err("it goes nowhere".into())
    }
}

/// A runtime for one call.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
