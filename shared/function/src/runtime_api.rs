//! The loop that asks Lambda for work, over the lean client, on one connection: an answer and the request for the next event leave together.
//!
//! A server that keeps connections open takes requests before it has answered those before them (RFC 9112, 9.3.2, which advises against
//! it after a POST, for a client that would not know what to send again: this one sends nothing again, its process ends). AWS's own Runtime
//! API was not asked. Where one does not, an environment is busy after its first event until the function's timeout, an error that a release
//! watches for; `WIRE_CLIENT=sdk` asks for one after the other.
//!
//! It is what `lambda_runtime` does with a handler of ours, and less: no streamed responses, no concurrent invocations, no SnapStart, no
//! identity of a mobile client. <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use centinela_wire::{Plain, PlainAnswer, PlainRequest};
use futures::FutureExt as _;
use lambda_runtime::{Config, Context, Diagnostic, Error};
use tracing::{Instrument as _, error, info_span, warn};

const NEXT: &str = "/2018-06-01/runtime/invocation/next";
const USER_AGENT: (&str, &str) = ("user-agent", concat!("centinela/", env!("CARGO_PKG_VERSION")));
/// The largest event has 6 MB. <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const EVENT_BYTES_MAX: usize = 8 << 20;
/// A longer answer goes alone. Lambda refuses one above 6 MB without reading it, and what stands behind it would be taken for the rest.
const ANSWER_BYTES_WITH_NEXT_MAX: usize = 64 << 10;

/// The Runtime API did something that it does not document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RuntimeApiError {
    #[error("the runtime api answered {status} to {asked}: {said}")]
    Refused { asked: &'static str, status: u16, said: String },
    #[error("the runtime api gave an invocation without {0}")]
    Missing(&'static str),
}

/// What stands in the headers of an event.
#[derive(Debug, Default)]
struct Headers {
    request_id: String,
    /// Sent back as it came, so that an answer that comes too late is not taken for another invocation's.
    invocation_id: Option<String>,
    deadline_ms: Option<u64>,
    function_arn: String,
    trace_id: Option<String>,
}

impl Headers {
    fn take(&mut self, name: &str, value: &str) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("lambda-runtime-aws-request-id") {
            value.clone_into(&mut self.request_id);
        } else if is("lambda-runtime-deadline-ms") {
            self.deadline_ms = value.parse().ok();
        } else if is("lambda-runtime-invoked-function-arn") {
            value.clone_into(&mut self.function_arn);
        } else if is("lambda-runtime-trace-id") {
            self.trace_id = Some(value.to_owned());
        } else if is("lambda-runtime-invocation-id") {
            self.invocation_id = Some(value.to_owned());
        }
    }

    fn context(&self, config: &Arc<Config>) -> Result<Context, RuntimeApiError> {
        if self.request_id.is_empty() {
            return Err(RuntimeApiError::Missing("a request id"));
        }
        let mut context = Context::default();
        context.request_id.clone_from(&self.request_id);
        context.deadline = self.deadline_ms.ok_or(RuntimeApiError::Missing("a deadline"))?;
        context.invoked_function_arn.clone_from(&self.function_arn);
        context.xray_trace_id.clone_from(&self.trace_id);
        context.env_config = Arc::clone(config);
        Ok(context)
    }
}

/// Asks for events and answers them, for as long as there are any. `handle` makes a body of JSON of each.
///
/// # Errors
/// When Lambda cannot be asked. Then the process ends, and Lambda starts another.
pub(crate) async fn serve(
    authority: &str,
    config: Config,
    mut handle: impl AsyncFnMut(&str, Context) -> Result<Vec<u8>, Diagnostic>,
) -> Result<(), Error> {
    let config = Arc::new(config);
    let mut api = Plain::new(authority, EVENT_BYTES_MAX)?;
    let next = PlainRequest { method: "GET", path: NEXT, headers: &[USER_AGENT], body: b"" };
    loop {
        let mut headers = Headers::default();
        if api.owed() == 0 {
            api.queue(&next).await?;
        }
        let event = api.answer(&mut |name, value| headers.take(name, value)).await?;
        refuse_unless(200, "next", event)?;
        let context = headers.context(&config)?;
        let outcome = match std::str::from_utf8(event.body) {
            Ok(payload) => handled(payload, context, &mut handle).await,
            Err(_) => Err(Diagnostic {
                error_type: "Centinela.EventUnreadable".to_owned(),
                error_message: "the event is not UTF-8 text".to_owned(),
            }),
        };
        answer(&mut api, &headers, outcome, &next).await?;
    }
}

/// A panic fails its invocation and not the process.
async fn handled(
    payload: &str,
    context: Context,
    handle: &mut impl AsyncFnMut(&str, Context) -> Result<Vec<u8>, Diagnostic>,
) -> Result<Vec<u8>, Diagnostic> {
    // The fields' names are those of lambda_runtime, which searches in logs go by.
    let span = info_span!("Lambda runtime invoke", requestId = context.request_id, xrayTraceId = context.xray_trace_id);
    let handling = AssertUnwindSafe(handle(payload, context)).catch_unwind();
    let outcome = handling.instrument(span.clone()).await;
    let _entered = span.enter();
    match outcome {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(failure)) => {
            error!(error_type = failure.error_type, error = failure.error_message, "the invocation failed");
            Err(failure)
        }
        Err(panic) => {
            let message = said(&*panic);
            error!(error = message, "the handler panicked");
            let error_message = format!("Lambda panicked: {message}");
            Err(Diagnostic { error_type: "Centinela.Panicked".to_owned(), error_message })
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Answers an invocation, and asks for the one after it.
async fn answer(
    api: &mut Plain,
    headers: &Headers,
    outcome: Result<Vec<u8>, Diagnostic>,
    next: &PlainRequest<'_>,
) -> Result<(), Error> {
    let (route, body) = match outcome {
        Ok(body) => ("response", body),
        Err(failure) => ("error", serde_json::to_vec(&failure)?),
    };
    let path = format!("/2018-06-01/runtime/invocation/{}/{route}", headers.request_id);
    let mut sent = vec![USER_AGENT, ("content-type", "application/json")];
    if route == "error" {
        sent.push(("lambda-runtime-function-error-type", "unhandled"));
    }
    sent.extend(headers.invocation_id.as_deref().map(|id| ("lambda-runtime-invocation-id", id)));
    api.queue(&PlainRequest { method: "POST", path: &path, headers: &sent, body: &body }).await?;
    if body.len() <= ANSWER_BYTES_WITH_NEXT_MAX {
        api.queue(next).await?;
    }
    let said = api.answer(&mut |_, _| {}).await?;
    // What Lambda does not take, such as a response that is too large or too late, is this invocation's matter and not the next one's.
    if (400..500).contains(&said.status) {
        warn!(status = said.status, said = excerpt(said.body), "the answer of an invocation was not taken");
        return Ok(());
    }
    Ok(refuse_unless(202, "an answer", said)?)
}

fn refuse_unless(wanted: u16, asked: &'static str, answer: PlainAnswer<'_>) -> Result<(), RuntimeApiError> {
    if answer.status == wanted {
        return Ok(());
    }
    Err(RuntimeApiError::Refused { asked, status: answer.status, said: excerpt(answer.body) })
}

/// The beginning of what Lambda says in words of its own.
fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A method and a path, and the body; nothing where the client has gone.
    async fn request(socket: &mut BufReader<TcpStream>) -> Option<(String, String)> {
        let (mut first, mut length) = (String::new(), 0);
        if socket.read_line(&mut first).await.unwrap_or(0) == 0 {
            return None;
        }
        loop {
            let mut line = String::new();
            socket.read_line(&mut line).await.expect("a head");
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().expect("a number");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await.expect("a body");
        let asked = first.rsplit_once(' ').expect("a version").0.to_owned();
        Some((asked, String::from_utf8(body).expect("text")))
    }

    /// Gives these events one after the other and closes; notes the path and the body of everything that is posted.
    async fn lambda(events: &'static [&'static str], status: u16) -> (String, Arc<Mutex<Vec<(String, String)>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let authority = listener.local_addr().expect("an address").to_string();
        let posted = Arc::new(Mutex::new(Vec::new()));
        let noting = Arc::clone(&posted);
        tokio::spawn(async move {
            let mut socket = BufReader::new(listener.accept().await.expect("the loop connects").0);
            let mut events = events.iter().enumerate();
            loop {
                let Some((first, body)) = request(&mut socket).await else { return };
                let answer = if first.starts_with("GET") {
                    let Some((number, event)) = events.next() else { return };
                    let head = "HTTP/1.1 200 OK\r\nLambda-Runtime-Deadline-Ms: 7\r\nLambda-Runtime-Invocation-Id: i";
                    let length = event.len();
                    format!(
                        "{head}\r\nLambda-Runtime-Aws-Request-Id: r{number}\r\nContent-Length: {length}\r\n\r\n{event}"
                    )
                } else {
                    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                    noting.lock().unwrap_or_else(PoisonError::into_inner).push((path, body));
                    format!("HTTP/1.1 {status} Something\r\ncontent-length: 2\r\n\r\n{{}}")
                };
                socket.write_all(answer.as_bytes()).await.expect("the loop listens");
            }
        });
        (authority, posted)
    }

    async fn handle(payload: &str, context: Context) -> Result<Vec<u8>, Diagnostic> {
        match payload {
            "fail" => Err(Diagnostic { error_type: "Type".to_owned(), error_message: "message".to_owned() }),
            "panic" => panic!("asked to"),
            payload => Ok(format!("{payload} {} {}", context.request_id, context.deadline).into_bytes()),
        }
    }

    #[tokio::test]
    async fn every_event_is_answered_or_reported_and_a_panic_is_not_the_end() {
        let (authority, posted) = lambda(&["first", "fail", "panic", "last"], 202).await;
        let ended = serve(&authority, Config::default(), handle).await;
        assert!(ended.is_err(), "Lambda has gone");
        let path = |rest: &str| format!("/2018-06-01/runtime/invocation/{rest}");
        let posted = posted.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = [
            (path("r0/response"), "first r0 7".to_owned()),
            (path("r1/error"), r#"{"errorType":"Type","errorMessage":"message"}"#.to_owned()),
            (
                path("r2/error"),
                r#"{"errorType":"Centinela.Panicked","errorMessage":"Lambda panicked: asked to"}"#.to_owned(),
            ),
            (path("r3/response"), "last r3 7".to_owned()),
        ];
        assert_eq!(*posted, expected);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_is_not_the_end_and_a_broken_runtime_is() {
        let (authority, posted) = lambda(&["one", "two"], 413).await;
        assert!(serve(&authority, Config::default(), handle).await.is_err());
        assert_eq!(posted.lock().unwrap_or_else(PoisonError::into_inner).len(), 2);
        let (authority, posted) = lambda(&["one", "two"], 500).await;
        let ended = serve(&authority, Config::default(), handle).await.expect_err("it is broken");
        assert!(ended.to_string().contains("answered 500 to an answer"), "{ended}");
        assert_eq!(posted.lock().unwrap_or_else(PoisonError::into_inner).len(), 1);
    }

    #[tokio::test]
    async fn an_answer_brings_the_request_for_the_next_event_unless_lambda_may_refuse_to_read_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let authority = listener.local_addr().expect("an address").to_string();
        let lambda = async {
            let next = ("GET /2018-06-01/runtime/invocation/next".to_owned(), String::new());
            let event = |id: &str, body: &str| {
                let head = "HTTP/1.1 200 OK\r\nLambda-Runtime-Deadline-Ms: 7\r\nLambda-Runtime-Aws-Request-Id";
                format!("{head}: {id}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            };
            let mut socket = BufReader::new(listener.accept().await.expect("it connects").0);
            assert_eq!(request(&mut socket).await.as_ref(), Some(&next));
            socket.write_all(event("r0", "short").as_bytes()).await.expect("it listens");
            let answer = ("POST /2018-06-01/runtime/invocation/r0/response".to_owned(), "short r0 7".to_owned());
            // Neither is answered before both are there.
            assert_eq!(request(&mut socket).await, Some(answer));
            assert_eq!(request(&mut socket).await.as_ref(), Some(&next));
            let long = "l".repeat(ANSWER_BYTES_WITH_NEXT_MAX);
            let both = format!("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n{}", event("r1", &long));
            socket.write_all(both.as_bytes()).await.expect("it listens");
            let (_, body) = request(&mut socket).await.expect("an answer");
            assert_eq!(body.len(), long.len() + " r1 7".len());
            let refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            socket.write_all(refusal).await.expect("it listens");
            let mut again = BufReader::new(listener.accept().await.expect("it connects again").0);
            assert_eq!(request(&mut again).await.as_ref(), Some(&next));
            let mut behind = Vec::new();
            socket.read_to_end(&mut behind).await.expect("it closes the first connection");
            assert!(behind.is_empty(), "a long answer goes alone: {behind:?}");
        };
        let (ended, ()) = tokio::join!(serve(&authority, Config::default(), handle), lambda);
        assert!(ended.is_err(), "Lambda has gone");
    }
}
