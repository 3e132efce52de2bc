//! `POST /v1/decisions`: a transaction into Kafka, and its decision out of the user's item.

use std::time::Duration;

use centinela_contracts::stored_decision::IndexedDecision;
use centinela_contracts::transaction_v1;
use centinela_delivery::{Causes, PublishError, StoreError};
use centinela_domain::{ContentDigest, DecisionId, Entry, Millis, Transaction};
use futures::future::join;
use serde::Serialize;
use tracing::{error, warn};

use crate::body;
use crate::ingest::{location, other_key};
use crate::ports::{Ingest, Record, Store, Target, Timer, UserItem};
use crate::problem::{Kind, Problem};
use crate::request::Request;
use crate::response::Response;
use crate::scope::Scope;
use crate::service::{Answer, Api, Done, unread};
use crate::shown::{View, published};

/// Waits between two looks at the user's item; the last goes on. Most decisions stand after the second or third.
const WAITS_MS: [u64; 8] = [8, 8, 12, 16, 24, 32, 40, 50];
/// How long a first look may take: the answer to a repetition is not worth more of the time.
const FIRST_LOOK: Duration = Duration::from_millis(150);

/// What is asked about.
struct Asked<'a> {
    transaction: &'a Transaction,
    id: DecisionId,
    content: ContentDigest,
    view: View<'a>,
}

#[derive(Debug, Serialize)]
struct Pending {
    transaction_id: String,
    decision_id: String,
    location: String,
}

impl<S: Store, I: Ingest, T: Timer> Api<S, I, T> {
    pub(crate) async fn decide(&self, request: &Request, deadline: Millis) -> Answer {
        let value = body::text(request)?.as_bytes();
        let transaction = transaction_v1::parse_in(value, self.settings.default_currency)
            .map_err(|problem| Problem::of_payload(&problem))?;
        if request.idempotency_key.as_deref().is_some_and(|key| key != transaction.id.as_str()) {
            return Err(other_key());
        }
        let asked = Asked {
            id: transaction.decision_id(),
            content: self.settings.deployment.content_digest(&transaction),
            view: View {
                transaction: &transaction.id,
                user: Some(&transaction.user_id),
                scores: request.may(Scope::ReadScore),
            },
            transaction: &transaction,
        };
        let begun = self.timer.now();
        let answer_by = after(begun, self.settings.decision_wait).min(deadline);
        if let Some(response) = self.first_look(&asked, after(begun, FIRST_LOOK).min(answer_by)).await? {
            return Ok(decided(response, 0));
        }
        self.send_one(&transaction, value, deadline).await?;
        match self.wait_for(&asked, answer_by, deadline).await? {
            Some(response) => Ok(decided(response, 1)),
            None => Ok(pending(&asked)),
        }
    }

    /// What is known of a repetition: its decision stands, here or in the index, and nothing has to be sent.
    async fn first_look(&self, asked: &Asked<'_>, until: Millis) -> Result<Option<Response>, Problem> {
        let user = self.store.user(&asked.transaction.user_id, false, until);
        let (user, indexed) = join(user, self.store.decisions(&asked.transaction.id, until)).await;
        let found = match user {
            Ok(item) => in_ring(asked, &item)?,
            // The transaction is sent all the same, and the reading goes on after that.
            Err(problem) => {
                warn!(error = %Causes(&problem), "a user's item was not read before the transaction was sent");
                None
            }
        };
        let indexed = match indexed {
            Ok(indexed) => in_index(asked, &indexed)?,
            Err(problem) => {
                warn!(error = %Causes(&problem), "the index was not read before a transaction was sent");
                None
            }
        };
        // The ring has the decision with its evidence, or less than the index.
        Ok(match (found, indexed) {
            (Some(Found { response, in_full: true }), _) | (_, Some(response)) => Some(response),
            (found, None) => found.map(|found| found.response),
        })
    }

    async fn send_one(&self, transaction: &Transaction, value: &[u8], deadline: Millis) -> Result<(), Problem> {
        let key = transaction.id.as_str().to_owned();
        let sent = self.ingest.send(&[Record { target: Target::Transactions, key, value }], deadline).await;
        match sent.into_iter().next() {
            Some(Ok(())) => Ok(()),
            Some(Err(problem)) => Err(not_sent(&problem)),
            None => Err(Problem::not_accepted(0, 1)),
        }
    }

    /// Looks again and again; the last look is strongly consistent, because it is the last word.
    async fn wait_for(
        &self,
        asked: &Asked<'_>,
        answer_by: Millis,
        deadline: Millis,
    ) -> Result<Option<Response>, Problem> {
        let mut waits = WAITS_MS.into_iter();
        let mut wait = Duration::ZERO;
        loop {
            wait = waits.next().map_or(wait, Duration::from_millis);
            let left = answer_by.since(self.timer.now()).max(0).unsigned_abs();
            let is_last = left <= wait.as_millis() as u64;
            self.timer.wait(wait.min(Duration::from_millis(left))).await;
            // The last look begins when the time is up, and has until the function's own.
            let until = if is_last { after(self.timer.now(), FIRST_LOOK).min(deadline) } else { answer_by };
            match self.store.user(&asked.transaction.user_id, is_last, until).await {
                Ok(item) => {
                    if let Some(found) = in_ring(asked, &item)? {
                        return Ok(Some(found.response));
                    }
                }
                Err(problem @ StoreError::Corrupt(_)) => return Err(unread(&problem)),
                Err(problem) => {
                    warn!(error = %Causes(&problem), "a user's item was not read while its decision is waited for")
                }
            }
            if is_last {
                return Ok(None);
            }
        }
    }
}

struct Found {
    response: Response,
    in_full: bool,
}

/// The decision in the user's ring, if it is there; another content is another transaction.
fn in_ring(asked: &Asked<'_>, item: &UserItem) -> Result<Option<Found>, Problem> {
    let ledger = item.decisions.as_ref().map(|stored| &stored.ledger);
    let Some(entry) = ledger.and_then(|ledger| ledger.find(asked.id.digest())) else { return Ok(None) };
    if entry.content.is_some_and(|content| content != asked.content) {
        return Err(reused());
    }
    Ok(Some(Found { response: of_entry(asked, entry), in_full: entry.decision.is_some() }))
}

fn of_entry(asked: &Asked<'_>, entry: &Entry) -> Response {
    match entry.decision.as_deref().and_then(|decision| published(decision, asked.view)) {
        Some(bytes) => Response::of_bytes(200, bytes),
        None => Response::json(200, &asked.view.entry(asked.id, entry)),
    }
}

fn in_index(asked: &Asked<'_>, indexed: &[IndexedDecision]) -> Result<Option<Response>, Problem> {
    let Some(decision) = indexed.iter().find(|decision| decision.decision_id == asked.id) else { return Ok(None) };
    let Transaction { amount, currency, .. } = *asked.transaction;
    if (decision.amount_minor, decision.currency) != (amount, currency) {
        return Err(reused());
    }
    Ok(Some(Response::json(200, &asked.view.indexed(decision))))
}

fn reused() -> Problem {
    Problem::new(
        Kind::TransactionIdReused,
        "this user's transaction of this id had another amount, currency, merchant or device",
    )
}

fn not_sent(problem: &PublishError) -> Problem {
    error!(error = %Causes(problem), "kafka did not confirm a transaction that a caller waits for");
    Problem::not_accepted(0, 1)
}

fn decided(response: Response, accepted: usize) -> (Response, Done) {
    (response, Done { decided: 1, accepted, ..Done::default() })
}

fn pending(asked: &Asked<'_>) -> (Response, Done) {
    let location = location(asked.transaction);
    let body = Pending {
        transaction_id: asked.transaction.id.as_str().to_owned(),
        decision_id: asked.id.to_string(),
        location: location.clone(),
    };
    let response = Response::json(202, &body).with("location", location).with("retry-after", "1".to_owned());
    (response, Done { pending: 1, accepted: 1, ..Done::default() })
}

fn after(time: Millis, duration: Duration) -> Millis {
    Millis(time.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
}
