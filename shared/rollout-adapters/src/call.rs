//! One call until it is answered, and what an answer that is no success means.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use centinela_domain::Millis;
use centinela_rollout::CloudError;
use centinela_signed_http::{Answer, Asked, Cause, Client, NoAnswer, Patience, Unanswered};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::xml;

/// How long a call is tried: longer than a service is unwell by itself, shorter than a person waits for a word.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// What one attempt gets, where nothing large is sent or waited for.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(20);
/// Codes that a later attempt may not meet again, besides status 429, 500 and above.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/CommonErrors.html>
const TRANSIENT: [&str; 10] = [
    "IncompleteSignature",
    "InternalFailure",
    "RequestExpired",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ResourceConflictException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
];

/// An answer of success, and at which attempt it came.
#[derive(Debug)]
pub(crate) struct Answered {
    pub answer: Answer,
    pub is_repeated: bool,
}

/// What a service said no with.
#[derive(Debug, thiserror::Error)]
#[error("{service} answered {status} {code}: {message}")]
pub(crate) struct Refusal {
    service: &'static str,
    pub status: u16,
    pub code: String,
    pub message: String,
    /// Whether an earlier attempt had no answer, and may have been carried out.
    pub is_repeated: bool,
}

/// A call without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was refused for good.
    Refused(Refusal),
    /// It could not be made, or had no answer for as long as it was tried.
    Other(CloudError),
}

impl From<Failure> for CloudError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::Refused(Box::new(refusal)),
            Failure::Other(error) => error,
        }
    }
}

/// What no further attempt mends: an environment that says too little, or an answer that is not what the service documents.
pub(crate) fn unreadable(error: impl Into<Cause>) -> CloudError {
    CloudError::Refused(error.into())
}

/// Asks until there is an answer of success, it is refused for good, or no time is left.
pub(crate) async fn call(
    client: &Client,
    service: &'static str,
    method: Method,
    asked: &Asked<'_>,
    body: Bytes,
    attempt_limit: Duration,
) -> Result<Answered, Failure> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ends = since_1970.saturating_add(PATIENCE.max(attempt_limit));
    let patience = Patience::until(Millis(i64::try_from(ends.as_millis()).unwrap_or(i64::MAX)));
    let mut last: Cause = Box::new(NoAnswer(Duration::ZERO));
    let mut is_repeated = false;
    for attempt in 1.. {
        let Some(left) = patience.left() else { break };
        match client.ask(method.clone(), asked, body.clone(), left.min(attempt_limit)).await {
            Ok(answer) if answer.status.is_success() => return Ok(Answered { answer, is_repeated }),
            Ok(answer) => {
                let refusal = refusal(service, &answer, is_repeated);
                if !is_transient(&refusal) {
                    return Err(Failure::Refused(refusal));
                }
                last = Box::new(refusal);
            }
            Err(Unanswered::Transient(cause)) => last = cause,
            Err(Unanswered::Refused(cause)) => return Err(Failure::Other(CloudError::Refused(cause))),
        }
        is_repeated = true;
        if !patience.pause_after(attempt).await {
            break;
        }
    }
    Err(Failure::Other(CloudError::Unavailable(last)))
}

fn is_transient(refusal: &Refusal) -> bool {
    let status = refusal.status;
    status == StatusCode::TOO_MANY_REQUESTS.as_u16() || status >= 500 || TRANSIENT.contains(&refusal.code.as_str())
}

/// The code and the words of an answer, in any of the forms that services have for them.
fn refusal(service: &'static str, answer: &Answer, is_repeated: bool) -> Refusal {
    let status = answer.status.as_u16();
    let (code, message) = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(said) => {
            let text = |names: &[&str]| names.iter().find_map(|name| said[*name].as_str()).unwrap_or_default();
            let header = answer.headers.get("x-amzn-errortype").and_then(|name| name.to_str().ok());
            let named = header.unwrap_or_else(|| text(&["__type", "code", "Code"]));
            let named = named.rsplit('#').next().unwrap_or_default();
            (named.split(':').next().unwrap_or_default().to_owned(), text(&["message", "Message"]).to_owned())
        }
        Err(_) => match xml::parse(&answer.body) {
            Ok(said) => {
                let own = |name: &str| said.deep_text(name).unwrap_or_default().to_owned();
                (own("Code"), own("Message"))
            }
            Err(_) => (String::new(), String::new()),
        },
    };
    Refusal { service, status, code, message, is_repeated }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn refused(status: u16, body: &'static str) -> Refusal {
        let status = StatusCode::from_u16(status).expect("a status");
        refusal("x", &Answer { status, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) }, false)
    }

    #[test]
    fn every_form_of_error_is_read() {
        let forms = [
            (
                "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>ValidationError</Code><Message>m</Message></Error></ErrorResponse>",
                "ValidationError",
            ),
            (
                "<Response><Errors><Error><Code>AuthFailure</Code><Message>m</Message></Error></Errors></Response>",
                "AuthFailure",
            ),
            ("<Error><Code>NoSuchBucket</Code><Message>m</Message></Error>", "NoSuchBucket"),
            (r#"{"__type":"com.amazon.x#ParameterNotFound","message":"m"}"#, "ParameterNotFound"),
            (r#"{"Code":"ResourceNotFoundException:http://internal/","Message":"m"}"#, "ResourceNotFoundException"),
        ];
        for (body, code) in forms {
            let refusal = refused(400, body);
            assert_eq!((refusal.code.as_str(), refusal.message.as_str()), (code, "m"), "{body}");
            assert!(!is_transient(&refusal), "{body}");
        }
    }

    #[test]
    fn what_another_attempt_may_mend_is_tried_again() {
        for (status, body) in [
            (400, "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>"),
            (429, "{}"),
            (503, "not even XML"),
            (409, r#"{"__type":"ResourceConflictException"}"#),
        ] {
            assert!(is_transient(&refused(status, body)), "{status} {body}");
        }
    }
}
