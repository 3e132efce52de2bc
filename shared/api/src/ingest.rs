//! Records into Kafka: checked first, all of them or none, and answered once every replica has them.

use centinela_contracts::payload::PayloadProblem;
use centinela_contracts::{event_v1, transaction_v1, user_action_v1};
use centinela_delivery::{Causes, PublishError};
use centinela_domain::{Millis, Transaction};
use serde::Serialize;
use tracing::error;

use crate::body::records;
use crate::ports::{Ingest, Record, Store, Target, Timer};
use crate::problem::{FieldError, Kind, Problem};
use crate::request::{Request, encoded};
use crate::response::Response;
use crate::service::{Answer, Api, Done};

/// Errors that an answer lists at most.
const ERRORS_MAX: usize = 50;

/// What a sent record can be found by.
#[derive(Debug, Serialize)]
struct Sent {
    transaction_id: String,
    decision_id: String,
    location: String,
}

#[derive(Debug, Serialize)]
struct Accepted {
    accepted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    decisions: Option<Vec<Sent>>,
}

/// Where a decision will be found.
pub(crate) fn location(transaction: &Transaction) -> String {
    let (id, user) = (encoded(transaction.id.as_str()), encoded(transaction.user_id.as_str()));
    format!("/v1/decisions/{id}?user_id={user}")
}

impl<S: Store, I: Ingest, T: Timer> Api<S, I, T> {
    pub(crate) async fn send_transactions(&self, request: &Request, deadline: Millis) -> Answer {
        let (values, _) = records(request)?;
        let currency = self.settings.default_currency;
        let transactions = checked(&values, |value| transaction_v1::parse_in(value, currency))?;
        if let Some(key) = &request.idempotency_key
            && !matches!(transactions.as_slice(), [only] if only.id.as_str() == key)
        {
            return Err(other_key());
        }
        let keys = transactions.iter().map(|transaction| transaction.id.as_str().to_owned());
        self.send_all(Target::Transactions, keys, &values, deadline).await?;
        let sent = |transaction: &Transaction| Sent {
            transaction_id: transaction.id.as_str().to_owned(),
            decision_id: transaction.decision_id().to_string(),
            location: location(transaction),
        };
        Ok(accepted(values.len(), Some(transactions.iter().map(sent).collect())))
    }

    pub(crate) async fn send_user_actions(&self, request: &Request, deadline: Millis) -> Answer {
        let (values, _) = records(request)?;
        let actions = checked(&values, user_action_v1::parse)?;
        let keys = actions.iter().map(|action| action.user_id.as_str().to_owned());
        self.send_all(Target::UserActions, keys, &values, deadline).await?;
        Ok(accepted(values.len(), None))
    }

    pub(crate) async fn send_labels(&self, request: &Request, deadline: Millis) -> Answer {
        let (values, _) = records(request)?;
        let labels = checked(&values, label)?;
        self.send_all(Target::Events, labels.into_iter(), &values, deadline).await?;
        Ok(accepted(values.len(), None))
    }

    async fn send_all(
        &self,
        target: Target,
        keys: impl Iterator<Item = String>,
        values: &[&[u8]],
        deadline: Millis,
    ) -> Result<(), Problem> {
        let records: Vec<_> = keys.zip(values).map(|(key, value)| Record { target, key, value }).collect();
        let sent = self.ingest.send(&records, deadline).await;
        let failed: Vec<&PublishError> = sent.iter().filter_map(|sent| sent.as_ref().err()).collect();
        let Some(first) = failed.first() else { return Ok(()) };
        error!(error = %Causes(*first), records = failed.len(), "kafka did not confirm what a caller sent");
        Err(Problem::not_accepted(values.len() - failed.len(), values.len()))
    }
}

pub(crate) fn other_key() -> Problem {
    Problem::new(Kind::IdempotencyKeyDiffers, "Idempotency-Key is not the transaction_id of the one record in the body")
}

/// A label's key: its user, so that the labels of a user stay in order.
fn label(value: &[u8]) -> Result<String, PayloadProblem> {
    let event = event_v1::parse(value)?;
    if event.kind.verdict().is_none() {
        let expected = "one of chargeback, refund, confirmed_fraud, confirmed_good";
        return Err(PayloadProblem::WrongType { field: "event", expected });
    }
    // Without it the label could only be dead-lettered: it would count for nobody.
    let user = event.user_id.ok_or(PayloadProblem::Missing { field: "user_id" })?;
    Ok(user.as_str().to_owned())
}

/// Reads every record; what is wrong is told of all of them at once.
fn checked<R>(values: &[&[u8]], read: impl Fn(&[u8]) -> Result<R, PayloadProblem>) -> Result<Vec<R>, Problem> {
    let (mut good, mut errors) = (Vec::with_capacity(values.len()), Vec::new());
    for (index, value) in values.iter().enumerate() {
        match read(value) {
            Ok(record) => good.push(record),
            Err(problem) if values.len() == 1 => return Err(Problem::of_payload(&problem)),
            Err(problem) => {
                errors.push(FieldError { index, field: problem.field(), detail: problem.to_string() });
            }
        }
    }
    errors.truncate(ERRORS_MAX);
    if errors.is_empty() { Ok(good) } else { Err(Problem::of_records(errors)) }
}

fn accepted(count: usize, decisions: Option<Vec<Sent>>) -> (Response, Done) {
    let response = Response::json(202, &Accepted { accepted: count, decisions });
    (response, Done { accepted: count, ..Done::default() })
}
