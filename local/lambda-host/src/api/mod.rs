//! The part of the Lambda API that a running system is used and braked by, so that the AWS CLI and SDKs talk to this machine as to AWS:
//! `Invoke`, the event source mappings (list, get, and whether they are enabled), and reserved concurrency.
//!
//! Contract: <https://docs.aws.amazon.com/lambda/latest/api/API_Operations.html>. Signatures are not checked, and versions and aliases mean
//! the one function that there is.

mod answers;
mod concurrency;
mod invoke;
mod mappings;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use centinela_serve::{Calls, HttpServer, ServerError, caller};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;

use crate::host::FunctionHost;
use answers::refusal;
pub use mappings::{HeldMappings, Mappings, SwitchedMapping};

/// The largest body of what is no invocation.
const BODY_BYTES_MAX: usize = 64 * 1024;

type Answer = Response<Full<Bytes>>;

/// What the API is about.
#[derive(Default)]
pub struct Served {
    /// By name.
    pub functions: BTreeMap<String, Arc<FunctionHost>>,
    /// What the stacks reserve for each; none shares the account's.
    pub reserved: BTreeMap<String, u32>,
    /// Filled as they start.
    pub mappings: Arc<Mappings>,
    /// Notes who asks for what.
    pub calls: Calls,
}

/// What is there, and what is reserved now.
struct Known {
    functions: BTreeMap<String, Arc<FunctionHost>>,
    reserved: Mutex<BTreeMap<String, u32>>,
    mappings: Arc<Mappings>,
    calls: Calls,
}

/// The API of this machine's functions. Dropping it stops it without waiting.
pub struct LambdaApi {
    server: HttpServer,
    known: Arc<OnceLock<Known>>,
}

impl LambdaApi {
    /// Listens on 127.0.0.1, on `port` or on a free one. Until [`LambdaApi::serve`] it asks to come again: functions are told where it
    /// is before they run.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(port: Option<u16>) -> Result<Self, ServerError> {
        let known = Arc::new(OnceLock::new());
        let shared = Arc::clone(&known);
        let service = service_fn(move |request| {
            let known = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(Box::pin(route(&known, request)).await) }
        });
        let server = HttpServer::start("Lambda", port, service).await?;
        Ok(Self { server, known })
    }

    /// Answers for these from now on. What is served first stays.
    pub fn serve(&self, served: Served) {
        let Served { functions, reserved, mappings, calls } = served;
        let known = Known { functions, reserved: Mutex::new(reserved), mappings, calls };
        if self.known.set(known).is_err() {
            tracing::warn!("the Lambda API serves something already; nothing changed");
        }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Lets open requests finish for a while and ends.
    ///
    /// # Errors
    /// When its task panicked.
    pub async fn shutdown(self) -> Result<(), ServerError> {
        self.server.shutdown().await
    }
}

impl Known {
    fn reserved(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u32>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The function that a name or an ARN means, with or without a version, as it stands in an address.
    fn function(&self, named: &str) -> Result<(String, Arc<FunctionHost>), Box<Answer>> {
        let named = decoded(named);
        let name = named.split_once(":function:").map_or(named.as_str(), |(_, rest)| rest);
        let name = name.split(':').next().unwrap_or(name);
        match self.functions.get(name) {
            Some(host) => Ok((name.to_owned(), Arc::clone(host))),
            None => {
                let there = self.functions.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                let what = format!("there is no function {name}; there are {there}");
                Err(Box::new(refusal(StatusCode::NOT_FOUND, "ResourceNotFoundException", &what)))
            }
        }
    }
}

async fn route(known: &OnceLock<Known>, request: Request<Incoming>) -> Answer {
    let Some(known) = known.get() else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceException", "the functions are starting; come again");
    };
    let method = request.method().clone();
    let path = request.uri().path().trim_matches('/').to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    if let Some(caller) = caller(request.headers()) {
        note(known, caller, &method, &parts);
    }
    match (&method, parts.as_slice()) {
        (&Method::POST, ["2015-03-31", "functions", name, "invocations"]) => invoke::answer(known, name, request).await,
        (&Method::GET, ["2015-03-31", "event-source-mappings"]) => mappings::list(&known.mappings, &query),
        (&Method::GET, ["2015-03-31", "event-source-mappings", id]) => mappings::get(&known.mappings, id),
        (&Method::PUT, ["2015-03-31", "event-source-mappings", id]) => match body(request).await {
            Ok(body) => mappings::update(&known.mappings, id, &body),
            Err(refused) => *refused,
        },
        (&Method::GET, ["2019-09-30", "functions", name, "concurrency"]) => concurrency::get(known, name),
        (&Method::PUT, ["2017-10-31", "functions", name, "concurrency"]) => match body(request).await {
            Ok(body) => concurrency::put(known, name, &body),
            Err(refused) => *refused,
        },
        (&Method::DELETE, ["2017-10-31", "functions", name, "concurrency"]) => concurrency::delete(known, name),
        _ => {
            let what = format!(
                "{method} /{path} is not served here: only Invoke, List-, Get- and UpdateEventSourceMapping and reserved concurrency are"
            );
            refusal(StatusCode::NOT_FOUND, "UnknownOperationException", &what)
        }
    }
}

/// Notes a call in the words of IAM, where somebody wants to know.
fn note(known: &Known, caller: &str, method: &Method, parts: &[&str]) {
    if !known.calls.is_on() {
        return;
    }
    let function = |named: &str| {
        known.function(named).map_or_else(|_| "function/?".to_owned(), |(name, _)| format!("function/{name}"))
    };
    let (action, on) = match (method.as_str(), parts) {
        ("POST", [_, "functions", name, "invocations"]) => ("InvokeFunction", function(name)),
        ("GET", [_, "event-source-mappings"]) => ("ListEventSourceMappings", "*".to_owned()),
        ("GET", [_, "event-source-mappings", id]) => ("GetEventSourceMapping", known.mappings.of(id)),
        ("PUT", [_, "event-source-mappings", id]) => ("UpdateEventSourceMapping", known.mappings.of(id)),
        ("GET", [_, "functions", name, "concurrency"]) => ("GetFunctionConcurrency", function(name)),
        ("PUT", [_, "functions", name, "concurrency"]) => ("PutFunctionConcurrency", function(name)),
        ("DELETE", [_, "functions", name, "concurrency"]) => ("DeleteFunctionConcurrency", function(name)),
        _ => ("Other", parts.join("/")),
    };
    known.calls.note(caller, &format!("lambda:{action}"), &on);
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Box<Answer>> {
    limited(request, BODY_BYTES_MAX).await
}

/// A body of at most so many bytes, or why there is none.
async fn limited(request: Request<Incoming>, bytes_max: usize) -> Result<Bytes, Box<Answer>> {
    match Limited::new(request.into_body(), bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let what = format!("the event has more than {bytes_max} bytes; send less");
            Err(Box::new(refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", &what)))
        }
        Err(error) => {
            let what = format!("the event did not arrive: {error}");
            Err(Box::new(refusal(StatusCode::BAD_REQUEST, "InvalidRequestContentException", &what)))
        }
    }
}

/// A value of a query, decoded.
fn asked(query: &str, wanted: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| decoded(value))
}

/// Text without percent forms; what is no text stays as it is.
pub(crate) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_decoded_whatever_is_in_it() {
        assert_eq!(decoded("arn%3Aaws%3alambda"), "arn:aws:lambda");
        assert_eq!(decoded("a+b%20c%2Bd"), "a b c+d");
        for odd in ["%", "%4", "%zz", "%ff", "%+1"] {
            assert!(!decoded(odd).is_empty(), "{odd}");
        }
        assert_eq!(asked("Marker=x&FunctionName=a%2Fb", "FunctionName").as_deref(), Some("a/b"));
        assert_eq!(asked("FunctionName", "FunctionName"), None);
    }
}
