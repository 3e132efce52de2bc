//! What is stored, for whoever may see it.

use std::collections::BTreeMap;

use centinela_domain::{DecisionId, InvalidTransaction, Millis, TransactionId, UserId};
use futures::future::join;
use serde::Serialize;
use serde_json::json;

use crate::ports::{Ingest, Store, Timer, UserItem};
use crate::problem::{Kind, Problem};
use crate::request::Request;
use crate::response::Response;
use crate::scope::Scope;
use crate::service::{Api, unread};
use crate::shown::{Activity, Labels, Remembered, Shown, ShownProfile, ShownUser, View};

/// A user who need not exist: whoever asks whether the database answers asks for it.
const NOBODY: &str = "health";

#[derive(Debug, Serialize)]
struct Decisions<'a> {
    transaction_id: &'a str,
    decisions: Vec<Shown>,
}

impl<S: Store, I: Ingest, T: Timer> Api<S, I, T> {
    /// The decisions of an id: those of the index, and where the user is named, the one in the user's item, which is there sooner.
    pub(crate) async fn look_up_decision(
        &self,
        request: &Request,
        query: &BTreeMap<&'static str, String>,
        deadline: Millis,
    ) -> Result<Response, Problem> {
        let transaction = TransactionId::new(request.in_path("transaction_id")?).map_err(|error| wrong(&error))?;
        let user = query.get("user_id").map(|user| UserId::new(user.as_str())).transpose();
        let user = user.map_err(|error| wrong(&error))?;
        let scores = request.may(Scope::ReadScore);
        let decisions = match &user {
            Some(user) => self.decisions_of(&transaction, user, scores, deadline).await?,
            None => {
                let indexed = self.store.decisions(&transaction, deadline).await.map_err(|error| unread(&error))?;
                let may_see_user = request.may(Scope::ReadUser);
                let shown = indexed.iter().map(|decision| {
                    let user = may_see_user.then_some(&decision.user_id);
                    View { transaction: &transaction, user, scores }.indexed(decision)
                });
                shown.collect()
            }
        };
        if decisions.is_empty() {
            return Err(Problem::new(Kind::DecisionNotFound, "neither decided lately nor in the index"));
        }
        Ok(Response::json(200, &Decisions { transaction_id: transaction.as_str(), decisions }))
    }

    async fn decisions_of(
        &self,
        transaction: &TransactionId,
        user: &UserId,
        scores: bool,
        deadline: Millis,
    ) -> Result<Vec<Shown>, Problem> {
        let id = DecisionId::derive(user, transaction);
        let view = View { transaction, user: Some(user), scores };
        let item = self.store.user(user, false, deadline);
        let (item, indexed) = join(item, self.store.decisions(transaction, deadline)).await;
        let ring = item.as_ref().ok().and_then(|item| item.decisions.as_ref());
        let entry = ring.and_then(|stored| stored.ledger.find(id.digest()));
        if let Some(entry) = entry.filter(|entry| entry.decision.is_some()) {
            return Ok(vec![view.entry(id, entry)]);
        }
        let in_index = indexed.as_ref().ok().and_then(|all| all.iter().find(|decision| decision.decision_id == id));
        let shown =
            in_index.map(|decision| view.indexed(decision)).or_else(|| entry.map(|entry| view.entry(id, entry)));
        match (shown, item.and(indexed.map(drop))) {
            (Some(shown), _) => Ok(vec![shown]),
            // Where nothing was found, nothing must have been left unread.
            (None, Err(error)) => Err(unread(&error)),
            (None, Ok(())) => Ok(Vec::new()),
        }
    }

    pub(crate) async fn look_up_user(&self, request: &Request, deadline: Millis) -> Result<Response, Problem> {
        let user = UserId::new(request.in_path("user_id")?).map_err(|error| wrong(&error))?;
        let item = self.store.user(&user, false, deadline).await.map_err(|error| unread(&error))?;
        if item == UserItem::default() {
            return Err(Problem::new(Kind::UserNotFound, "no function has stored anything about the user"));
        }
        let scores = request.may(Scope::ReadScore);
        let entries = item.decisions.iter().flat_map(|stored| stored.ledger.entries.iter().rev());
        let shown = ShownUser {
            user_id: user.as_str().to_owned(),
            activity: item.decisions.as_ref().map(|stored| Activity::of(&stored.state)),
            profile: item.profile.as_ref().map(ShownProfile::of),
            labels: item.risk.as_ref().map(Labels::of),
            decisions: entries.map(|entry| Remembered::of(entry, scores)).collect(),
            unreadable: item.unreadable.clone(),
        };
        Ok(Response::json(200, &shown))
    }

    /// Whether the database answers.
    pub(crate) async fn health(&self, deadline: Millis) -> Result<Response, Problem> {
        let nobody = UserId::new(NOBODY).map_err(|error| wrong(&error))?;
        self.store.user(&nobody, false, deadline).await.map_err(|error| unread(&error))?;
        Ok(Response::json(200, &json!({ "status": "ok" })))
    }
}

fn wrong(error: &InvalidTransaction) -> Problem {
    Problem::new(Kind::InvalidParameter, error.to_string())
}
