//! What a failed call of S3 means for its caller.

use std::time::Duration;

use centinela_signed_http::{Cause, NoAnswer};
use http::StatusCode;

use crate::xml;

/// Codes that a later attempt may not meet again, besides those with status 429, 500 and above.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
const TRANSIENT_CODES: [&str; 9] = [
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "SlowDown",
    "XAmzContentSHA256Mismatch",
];

/// A failed call.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A later attempt may succeed. Whether this one was applied is not known.
    Transient(Cause),
    /// The next attempt will be refused as well.
    Refused(Cause),
    /// There is no such object.
    Missing(Cause),
    /// The object is not as the condition says.
    ConditionFailed,
}

/// What S3 said. Its message may name a key and no person.
#[derive(Debug, thiserror::Error)]
#[error("s3 answered {status} {code}: {message}")]
struct Answered {
    status: u16,
    code: String,
    message: String,
}

impl Failure {
    pub(crate) fn no_answer(waited: Duration) -> Self {
        Self::Transient(Box::new(NoAnswer(waited)))
    }

    /// What an answer that is no success means.
    pub(crate) fn of(status: StatusCode, body: &[u8]) -> Self {
        let (code, message) = xml::error(body).unwrap_or_default();
        let status = status.as_u16();
        let kind = match (status, code.as_str()) {
            (412, _) => return Self::ConditionFailed,
            (404, "NoSuchKey") => Self::Missing,
            (429 | 500.., _) => Self::Transient,
            (_, code) if TRANSIENT_CODES.contains(&code) => Self::Transient,
            _ => Self::Refused,
        };
        kind(Box::new(Answered { status, code, message }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_to_come_again() {
        let of = |status: u16, code: &str| {
            let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>");
            Failure::of(StatusCode::from_u16(status).expect("a status"), body.as_bytes())
        };
        for (status, code) in
            [(503, "SlowDown"), (500, ""), (409, "ConditionalRequestConflict"), (400, "RequestTimeout")]
        {
            assert!(matches!(of(status, code), Failure::Transient(_)), "{status} {code}");
        }
        for (status, code) in [(403, "AccessDenied"), (404, "NoSuchBucket"), (400, "InvalidArgument"), (301, "")] {
            assert!(matches!(of(status, code), Failure::Refused(_)), "{status} {code}");
        }
        assert!(matches!(of(412, "PreconditionFailed"), Failure::ConditionFailed));
        let Failure::Missing(cause) = of(404, "NoSuchKey") else { panic!("a key that is not there") };
        assert_eq!(cause.to_string(), "s3 answered 404 NoSuchKey: m");
    }
}
