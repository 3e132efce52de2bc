//! From a request to its answer.

use std::time::Duration;

use centinela_contracts::keyed::DeploymentKey;
use centinela_delivery::{Deadline, StoreError};
use centinela_domain::{Currency, Millis};
use tracing::error;

use crate::ports::{Ingest, Store, Timer};
use crate::problem::{Kind, Problem};
use crate::request::Request;
use crate::response::Response;
use crate::route::Operation;

/// What a deployment chooses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Tells what a transaction is about, as the scoring function does: both must have the same key.
    pub deployment: DeploymentKey,
    /// Where a transaction names none; the scoring function's.
    pub default_currency: Currency,
    /// How long `POST /v1/decisions` waits for the decision.
    pub decision_wait: Duration,
    /// The length of a window of metrics.
    pub metrics_window: Duration,
}

/// What became of a request, for the function's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Decisions that were waited for and came in time.
    pub decided: usize,
    /// Decisions that did not come in time.
    pub pending: usize,
    /// Records that Kafka has confirmed.
    pub accepted: usize,
}

/// An answer, and what became of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handled {
    /// The answer.
    pub response: Response,
    /// What it did; none when the request was no operation or not its caller's.
    pub operation: Option<Operation>,
    /// For the figures.
    pub done: Done,
}

/// The API over its ports.
pub struct Api<S, I, T> {
    pub(crate) store: S,
    pub(crate) ingest: I,
    pub(crate) timer: T,
    pub(crate) settings: Settings,
}

pub(crate) type Answer = Result<(Response, Done), Problem>;

impl<S: Store, I: Ingest, T: Timer> Api<S, I, T> {
    /// Puts it together.
    pub fn new(store: S, ingest: I, timer: T, settings: Settings) -> Self {
        Self { store, ingest, timer, settings }
    }

    /// Answers a request. There is always an answer.
    pub async fn handle(&self, request: &Request, deadline: Deadline) -> Handled {
        let (operation, answer) = match request.operation() {
            Ok(operation) => (Some(operation), self.answer(operation, request, deadline.work).await),
            Err(problem) => (None, Err(problem)),
        };
        let (response, done) =
            answer.unwrap_or_else(|problem| (problem.response(&request.request_id), Done::default()));
        // What is answered now is out of date in a moment, and some of it is about a person.
        let response = response.with("cache-control", "no-store".to_owned());
        Handled { response: response.with("x-request-id", request.request_id.clone()), operation, done }
    }

    async fn answer(&self, operation: Operation, request: &Request, deadline: Millis) -> Answer {
        let query = request.query(operation)?;
        let answer = match operation {
            Operation::Decide => return self.decide(request, deadline).await,
            Operation::SendTransactions => return self.send_transactions(request, deadline).await,
            Operation::SendUserActions => return self.send_user_actions(request, deadline).await,
            Operation::SendLabels => return self.send_labels(request, deadline).await,
            Operation::LookUpDecision => self.look_up_decision(request, &query, deadline).await?,
            Operation::LookUpUser => self.look_up_user(request, deadline).await?,
            Operation::LookUpMetrics => self.look_up_metrics(&query, deadline).await?,
            Operation::Health => self.health(deadline).await?,
        };
        Ok((answer, Done::default()))
    }
}

/// A read that failed.
pub(crate) fn unread(error: &StoreError) -> Problem {
    error!(error = %centinela_delivery::Causes(error), "a request cannot be answered");
    match error {
        StoreError::Corrupt(_) => Problem::new(Kind::StateUnreadable, "an item is not what this release can read"),
        StoreError::Unavailable(_) | StoreError::Rejected(_) | StoreError::OutOfTime => {
            Problem::new(Kind::StateUnavailable, "the state could not be read in time")
        }
    }
}
