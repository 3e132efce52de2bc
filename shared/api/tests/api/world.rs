//! Ports in memory, and requests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use centinela_api::ports::{Ingest, Record, Store, Target, Timer, UserItem};
use centinela_api::{Api, Handled, Operation, Request, Scope, Settings};
use centinela_contracts::keyed::DeploymentKey;
use centinela_contracts::stored_decision::IndexedDecision;
use centinela_contracts::stored_user::StoredUser;
use centinela_contracts::transaction_v1;
use centinela_delivery::{Deadline, PublishError, StoreError};
use centinela_domain::ledger::CommittedMarks;
use centinela_domain::rollup::Rollup;
use centinela_domain::{
    Coordinates, Currency, Decision, FEATURES, FeatureVector, Ledger, Millis, MissingInputs, ModelStamp, Outcome,
    Reason, ReasonCode, Transaction, TransactionId, UserId, UserState,
};
use serde_json::Value;

use crate::openapi;

pub const NOW: Millis = Millis(1_795_357_920_123);
pub const TRANSACTION: &str = r#"{"transaction_id":"tx-1","timestamp":1795357920000,"user_id":"ana","amount":12.34,"currency":"EUR","device_type":"mobile","device_id":"d-1","ip":"198.51.100.7","user_agent":"shop/1"}"#;

pub fn transaction(text: &str) -> Transaction {
    transaction_v1::parse(text.as_bytes()).unwrap()
}

pub fn key() -> DeploymentKey {
    DeploymentKey::new(b"a key of the tests").unwrap()
}

pub fn decision(of: &Transaction) -> Decision {
    Decision {
        decision_id: of.decision_id(),
        transaction_id: of.id.clone(),
        user_id: of.user_id.clone(),
        amount: of.amount,
        currency: of.currency,
        outcome: Outcome::Blocked,
        score: 0.9182736,
        reasons: vec![Reason { code: ReasonCode::NewDevice, contribution: 0.912 }],
        model: ModelStamp { version: "1".into(), digest: [0, 1, 2, 3, 4, 5, 6, 255] },
        features: FeatureVector([0.0; FEATURES]).recorded(),
        state_version: 1,
        occurred_at: of.occurred_at,
        ingested_at: NOW,
        decided_at: Millis(NOW.0 + 9),
        late: false,
        ahead: false,
        guarded: false,
        missing: MissingInputs::default(),
    }
}

/// The item of a user with one decision, in full.
pub fn decided(of: &Transaction) -> UserItem {
    let mut ledger = Ledger::default();
    let at = Coordinates { partition: 0, offset: 7, timestamp: NOW };
    let content = key().content_digest(of);
    ledger.record(of.decision_id().digest(), content, at, decision(of), &CommittedMarks::default());
    let mut state = UserState::new(of.occurred_at);
    state.apply(of, of.occurred_at, false);
    UserItem { decisions: Some(StoredUser { state, ledger }), ..UserItem::default() }
}

/// The same once its evidence is gone.
pub fn shrunk(of: &Transaction) -> UserItem {
    let mut item = decided(of);
    item.decisions.as_mut().unwrap().ledger.entries[0].decision = None;
    item
}

type Reads = VecDeque<Result<UserItem, fn() -> StoreError>>;

/// What the ports do and have done.
#[derive(Default)]
pub struct State {
    /// What reads of a user give, one after the other; the last again and again.
    pub users: Reads,
    pub reads: Vec<bool>,
    pub index: Vec<IndexedDecision>,
    pub rollups: BTreeMap<i64, Rollup>,
    /// Sends from the n-th record on fail.
    pub fails_from: Option<usize>,
    pub sent: Vec<(Target, String, Vec<u8>)>,
    pub now: i64,
}

#[derive(Clone, Default)]
pub struct World(pub Arc<Mutex<State>>);

impl World {
    pub fn new(reads: impl IntoIterator<Item = Result<UserItem, fn() -> StoreError>>) -> Self {
        let state = State { users: reads.into_iter().collect(), now: NOW.0, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Answers, and checks the answer against the OpenAPI file.
    pub fn ask(&self, request: &Request) -> Handled {
        let settings = Settings {
            deployment: key(),
            default_currency: Currency::DEFAULT,
            decision_wait: Duration::from_millis(400),
            metrics_window: Duration::from_secs(10),
        };
        let api = Api::new(self.clone(), self.clone(), self.clone(), settings);
        let deadline = Deadline { work: Millis(NOW.0 + 12_000), answer: Millis(NOW.0 + 14_000) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handled = runtime.block_on(api.handle(request, deadline));
        openapi::check(request, &handled.response);
        handled
    }
}

pub fn unavailable() -> StoreError {
    StoreError::Unavailable("away".into())
}

pub fn corrupt() -> StoreError {
    StoreError::Corrupt("torn".into())
}

impl Store for World {
    async fn user(&self, _: &UserId, consistent: bool, _: Millis) -> Result<UserItem, StoreError> {
        let mut state = self.state();
        state.reads.push(consistent);
        let read = if state.users.len() > 1 { state.users.pop_front() } else { state.users.front().cloned() };
        read.unwrap_or_else(|| Ok(UserItem::default())).map_err(|error| error())
    }

    async fn decisions(&self, _: &TransactionId, _: Millis) -> Result<Vec<IndexedDecision>, StoreError> {
        Ok(self.state().index.clone())
    }

    async fn rollups(&self, windows: &[i64], _: Millis) -> Result<BTreeMap<i64, Rollup>, StoreError> {
        let all = self.state().rollups.clone();
        Ok(all.into_iter().filter(|(start, _)| windows.contains(start)).collect())
    }
}

impl Ingest for World {
    async fn send(&self, records: &[Record<'_>], _: Millis) -> Vec<Result<(), PublishError>> {
        let mut state = self.state();
        let fails_from = state.fails_from.unwrap_or(usize::MAX);
        let mut answers = Vec::new();
        for (index, record) in records.iter().enumerate() {
            if index >= fails_from {
                answers.push(Err(PublishError::Unacknowledged("no leader".into())));
            } else {
                state.sent.push((record.target, record.key.clone(), record.value.to_vec()));
                answers.push(Ok(()));
            }
        }
        answers
    }
}

impl Timer for World {
    fn now(&self) -> Millis {
        Millis(self.state().now)
    }

    async fn wait(&self, time: Duration) {
        self.state().now += time.as_millis() as i64;
    }
}

/// A request for an operation by a caller with these scopes.
pub fn request(operation: Operation, scopes: &[Scope], body: &str) -> Request {
    Request {
        route_key: operation.route_key(),
        path: operation.path().to_owned(),
        content_type: (!body.is_empty()).then(|| "application/json".to_owned()),
        scopes: Some(scopes.iter().copied().collect()),
        request_id: "r-1".to_owned(),
        body: body.as_bytes().to_vec(),
        ..Request::default()
    }
}

pub fn json(handled: &Handled) -> Value {
    serde_json::from_slice(&handled.response.body).unwrap()
}

/// Status and the end of a problem's type.
pub fn problem(handled: &Handled) -> (u16, String) {
    let kind = json(handled)["type"].as_str().unwrap_or_default().to_owned();
    (handled.response.status, kind.rsplit(':').next().unwrap_or_default().to_owned())
}
