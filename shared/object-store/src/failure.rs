//! What a failed call of S3 means for its caller.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Codes that a later attempt may not meet again, besides those with status 500 and above.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
const TRANSIENT_CODES: [&str; 10] = [
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "ServiceUnavailable",
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

/// No answer came in the time that one attempt gets.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no answer within {waited_ms} ms")]
pub(crate) struct NoAnswer {
    waited_ms: u128,
}

impl Failure {
    pub(crate) fn no_answer(waited: Duration) -> Self {
        Self::Transient(Box::new(NoAnswer { waited_ms: waited.as_millis() }))
    }

    pub(crate) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let SdkError::ServiceError(context) = &error else {
            return match error {
                SdkError::ConstructionFailure(_) => Self::Refused(Box::new(error)),
                _ => Self::Transient(Box::new(error)),
            };
        };
        let (status, code) = (context.raw().status().as_u16(), context.err().code());
        match (status, code) {
            (412, _) => Self::ConditionFailed,
            (404, Some("NoSuchKey")) => Self::Missing(Box::new(error)),
            (429 | 500.., _) => Self::Transient(Box::new(error)),
            (_, Some(code)) if TRANSIENT_CODES.contains(&code) => Self::Transient(Box::new(error)),
            _ => Self::Refused(Box::new(error)),
        }
    }
}
