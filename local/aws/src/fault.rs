//! The hook through which a test or a chaos run makes a service misbehave as the real one sometimes does.
//!
//! The service asks once per request, before it acts. This module holds no faults of its own.

use std::time::Duration;

/// What is known about a request when its fault is decided.
#[derive(Debug, Clone, Copy)]
pub struct RequestInfo<'a> {
    /// `dynamodb`, `kinesis` or `s3`.
    pub service: &'static str,
    /// The API operation, such as `BatchGetItem`.
    pub operation: &'a str,
    /// The path: of S3 the bucket and, behind it, the object's key.
    pub path: &'a str,
    /// The request body, JSON; nothing of S3's.
    pub body: &'a [u8],
    /// Who asks, where the request says so: the function's name.
    pub caller: Option<&'a str>,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fault {
    /// It is served.
    #[default]
    None,
    /// It is served after this time.
    Delay(Duration),
    /// It is refused with `ProvisionedThroughputExceededException`, by S3 with `SlowDown`, and changes nothing.
    Throttle,
    /// It is applied, and the connection is closed without an answer.
    ReplyLost,
    /// Every `every`-th entry of a batch (counted from 1; 1 is all of them) is left undone and reported as the real
    /// service reports it: `UnprocessedKeys`, a throttled statement, or a failed record. A transaction with such an entry is cancelled
    /// by a conflict, as if another one held the item. Other operations are served.
    Partial {
        /// The distance between two entries that are left undone; 0 counts as 1.
        every: usize,
    },
}

impl Fault {
    /// Whether the entry at `index` (from 0) of a batch is left undone.
    #[must_use]
    pub fn leaves_undone(self, index: usize) -> bool {
        match self {
            Self::Partial { every } => (index + 1).is_multiple_of(every.max(1)),
            _ => false,
        }
    }
}

/// Decides the fault of each request. It is called on the path of every request, so it must not block.
pub trait FaultSource: Send + Sync + 'static {
    /// The fault of this request.
    fn decide(&self, request: &RequestInfo<'_>) -> Fault;
}

/// No faults at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFaults;

impl FaultSource for NoFaults {
    fn decide(&self, _request: &RequestInfo<'_>) -> Fault {
        Fault::None
    }
}

/// The request was applied and its answer is withheld; the listener closes the connection on it.
#[derive(Debug, thiserror::Error)]
#[error("the answer was withheld by a fault")]
pub(crate) struct ReplyWithheld;
