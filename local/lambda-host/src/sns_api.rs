//! `Publish` of SNS for the topics of this machine: what is published to a topic invokes the functions that subscribe to it, and people
//! are told a line.
//!
//! Contract: <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html> and
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html>. Signatures are not checked; there are no other operations, no other
//! protocols than Lambda's, and no filters.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use centinela_serve::{Calls, HttpServer, ServerError, caller};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::{Value, json};

use crate::api::decoded;
use crate::asynchronous::invoke_asynchronously;
use crate::host::FunctionHost;

/// 256 KB of message, each byte of it in percent form, and the other fields.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
const SUBJECT_LETTERS_MAX: usize = 100;

type Answer = Response<Full<Bytes>>;
/// Takes the name of a topic and what a person should read of a message to it.
type Say = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// A topic and the functions that subscribe to it.
pub struct SnsTopic {
    /// Its ARN.
    pub arn: String,
    /// Invoked with every message.
    pub functions: Vec<Arc<FunctionHost>>,
}

struct Topics {
    topics: Vec<SnsTopic>,
    messages: AtomicU64,
    say: Say,
    calls: Calls,
}

/// SNS on this machine. Dropping it stops it without waiting.
pub struct SnsApi {
    server: HttpServer,
    topics: Arc<std::sync::OnceLock<Topics>>,
}

impl SnsApi {
    /// Listens on 127.0.0.1, on `port` or on a free one. Until [`SnsApi::serve`] it asks to come again.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(port: Option<u16>) -> Result<Self, ServerError> {
        let topics = Arc::new(std::sync::OnceLock::new());
        let shared = Arc::clone(&topics);
        let service = service_fn(move |request| {
            let topics = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(Box::pin(answer(&topics, request)).await) }
        });
        Ok(Self { server: HttpServer::start("SNS", port, service).await?, topics })
    }

    /// Answers for these topics from now on; `say` is told the topic's name and the subject of every message. What is served first stays.
    /// `calls` notes who publishes.
    pub fn serve(&self, topics: Vec<SnsTopic>, calls: Calls, say: impl Fn(&str, &str) + Send + Sync + 'static) {
        if self.topics.set(Topics { topics, messages: AtomicU64::new(1), say: Arc::new(say), calls }).is_err() {
            tracing::warn!("SNS serves something already; nothing changed");
        }
    }

    /// Publishes from within this process, as CloudWatch does; people are told the subject unless they know it. False when there is no such
    /// topic, or not yet.
    pub fn publish(&self, topic_arn: &str, subject: &str, text: &str, is_said: bool) -> bool {
        let Some(topics) = self.topics.get() else { return false };
        let (topic, subject) = (topic_arn.to_owned(), Some(subject.to_owned()));
        topics.publish(&Message { topic, subject, text: text.to_owned() }, is_said).is_some()
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

impl Topics {
    /// Hands a message to whoever subscribes to its topic; its id, or none when there is no such topic.
    fn publish(&self, message: &Message, is_said: bool) -> Option<String> {
        let topic = self.topics.iter().find(|topic| topic.arn == message.topic)?;
        let number = self.messages.fetch_add(1, Ordering::Relaxed);
        let id = format!("00000000-0000-4000-8000-{number:012x}");
        if is_said {
            let name = topic.arn.rsplit(':').next().unwrap_or_default();
            (self.say)(name, message.subject.as_deref().unwrap_or("a message without a subject"));
        }
        for function in &topic.functions {
            let event = event(topic, message, &id).to_string();
            tokio::spawn(invoke_asynchronously(Arc::clone(function), event.into(), "a message of SNS"));
        }
        Some(id)
    }
}

/// A message on its way.
struct Message {
    topic: String,
    subject: Option<String>,
    text: String,
}

async fn answer(topics: &std::sync::OnceLock<Topics>, request: Request<Incoming>) -> Answer {
    let Some(topics) = topics.get() else {
        return refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "the functions are starting; come again",
        );
    };
    let is_post = request.method() == Method::POST;
    let publisher = caller(request.headers()).map(str::to_owned);
    let body = match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return refusal(
                StatusCode::PAYLOAD_TOO_LARGE,
                "InvalidParameter",
                "the request is larger than any message",
            );
        }
        Err(error) => return refusal(StatusCode::BAD_REQUEST, "IncompleteBody", &error.to_string()),
    };
    let message = match read(&body).filter(|_| is_post) {
        Some(Ok(message)) => message,
        Some(Err(why)) => return refusal(StatusCode::BAD_REQUEST, "InvalidParameter", why),
        None => return refusal(StatusCode::BAD_REQUEST, "InvalidAction", "only Publish is served here"),
    };
    let Some(id) = topics.publish(&message, true) else {
        let there = topics.topics.iter().map(|topic| topic.arn.as_str()).collect::<Vec<_>>().join(", ");
        return refusal(StatusCode::NOT_FOUND, "NotFound", &format!("there is no such topic; there are {there}"));
    };
    if let Some(publisher) = publisher {
        let name = message.topic.rsplit(':').next().unwrap_or_default();
        topics.calls.note(&publisher, "sns:Publish", &format!("sns/{name}"));
    }
    let body = format!(
        "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult><MessageId>{id}</MessageId>\
         </PublishResult><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></PublishResponse>"
    );
    xml(StatusCode::OK, body)
}

/// The message of a form; none when it asks for something else, and why not when it is not in order.
fn read(body: &[u8]) -> Option<Result<Message, &'static str>> {
    let body = std::str::from_utf8(body).ok()?;
    let field = |wanted: &str| {
        let mut pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| decoded(value))
    };
    if field("Action").as_deref() != Some("Publish") {
        return None;
    }
    let (topic, text) = (field("TopicArn").unwrap_or_default(), field("Message").unwrap_or_default());
    let subject = field("Subject").filter(|subject| !subject.is_empty());
    let is_subject = |subject: &String| {
        subject.chars().count() <= SUBJECT_LETTERS_MAX && subject.chars().all(|letter| (' '..='~').contains(&letter))
    };
    Some(match () {
        () if topic.is_empty() => Err("TopicArn is missing: only topics are published to here"),
        () if text.is_empty() => Err("the message is empty"),
        () if text.len() > MESSAGE_BYTES_MAX => Err("the message has more than 262144 bytes"),
        () if !subject.iter().all(is_subject) => Err("the subject must be at most 100 letters of ASCII in one line"),
        () => Ok(Message { topic, subject, text }),
    })
}

fn event(topic: &SnsTopic, message: &Message, id: &str) -> Value {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({ "Records": [{
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": format!("{}:{id}", topic.arn),
        "Sns": {
            "Type": "Notification",
            "MessageId": id,
            "TopicArn": topic.arn,
            "Subject": message.subject,
            "Message": message.text,
            "Timestamp": timestamp(since_1970.as_secs(), since_1970.subsec_millis()),
            "SignatureVersion": "1",
            "Signature": "none",
            "SigningCertUrl": "none",
            "UnsubscribeUrl": "none",
            "MessageAttributes": {},
        },
    }] })
}

/// RFC 3339 in UTC.
fn timestamp(seconds: u64, millis: u32) -> String {
    let (mut day, rest) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z", day + 1)
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Answer {
    let message = message.replace('&', "&amp;").replace('<', "&lt;");
    let body = format!(
        "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>0</RequestId></ErrorResponse>"
    );
    xml(status, body)
}

fn xml(status: StatusCode, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("text/xml"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_from_its_form_and_what_sns_refuses_is_refused() {
        let form =
            b"Action=Publish&Version=2010-03-31&TopicArn=arn%3Aaws%3Asns%3Ax&Subject=a+b&Message=%7B%22x%22%3A1%7D";
        let Some(Ok(message)) = read(form) else { panic!("a message") };
        assert_eq!(
            (&*message.topic, message.subject.as_deref(), &*message.text),
            ("arn:aws:sns:x", Some("a b"), "{\"x\":1}")
        );
        for wrong in ["Action=Publish", "Action=Publish&TopicArn=t", "Action=Publish&TopicArn=t&Message=m&Subject=%0A"]
        {
            assert!(matches!(read(wrong.as_bytes()), Some(Err(_))), "{wrong}");
        }
        for other in ["", "Action=Subscribe", "Publish", "\u{0}=&=&&"] {
            assert!(read(other.as_bytes()).is_none(), "{other}");
        }
        assert!(read(&[0xff, 0xfe]).is_none());
    }

    #[test]
    fn a_time_is_written_as_sns_writes_it() {
        // By `date -u -d @...`.
        assert_eq!(timestamp(1_795_867_200, 7), "2026-11-28T12:00:00.007Z");
        assert_eq!(timestamp(951_782_399, 999), "2000-02-28T23:59:59.999Z");
        assert_eq!(timestamp(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(timestamp(0, 0), "1970-01-01T00:00:00.000Z");
    }
}
