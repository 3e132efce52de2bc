//! What a failed AWS call means for its caller.

use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use centinela_wire::CallError;

/// Codes that a later attempt may not meet again.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>,
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html>
const TRANSIENT_CODES: [&str; 12] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    "LimitExceededException",
    "InternalServerError",
    "InternalFailure",
    "ServiceUnavailable",
    "TransactionConflictException",
    "TransactionInProgressException",
    "KMSThrottlingException",
    "ReplicatedWriteConflictException",
];

/// A failed call.
#[derive(Debug)]
pub(crate) enum ServiceFailure {
    /// A later attempt may succeed. Whether this one was applied is not known unless the service itself answered.
    Transient(Box<dyn Error + Send + Sync>),
    /// The next attempt will be refused as well.
    Refused(Box<dyn Error + Send + Sync>),
}

/// No answer came in the time that one attempt gets.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no answer within {waited_ms} ms")]
pub(crate) struct NoAnswer {
    pub(crate) waited_ms: u128,
}

impl ServiceFailure {
    pub(crate) fn no_answer(waited: Duration) -> Self {
        Self::Transient(Box::new(NoAnswer { waited_ms: waited.as_millis() }))
    }

    pub(crate) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let transient = match &error {
            SdkError::ServiceError(context) => is_transient(context.raw().status().as_u16(), context.err().code()),
            SdkError::ConstructionFailure(_) => false,
            _ => true,
        };
        if transient { Self::Transient(Box::new(error)) } else { Self::Refused(Box::new(error)) }
    }
}

impl From<CallError> for ServiceFailure {
    fn from(error: CallError) -> Self {
        let transient = match &error {
            CallError::Service(said) => is_transient(said.status, Some(&said.code)),
            _ => true,
        };
        if transient { Self::Transient(Box::new(error)) } else { Self::Refused(Box::new(error)) }
    }
}

fn is_transient(status: u16, code: Option<&str>) -> bool {
    status >= 500 || code.is_some_and(|code| TRANSIENT_CODES.contains(&code))
}
