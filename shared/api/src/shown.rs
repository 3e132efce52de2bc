//! Decisions and users as an answer shows them. What tells how to stay below the threshold (scores, contributions, features) takes a scope
//! of its own.

use centinela_contracts::decision_v1::{self, missing_names};
use centinela_contracts::stored_decision::IndexedDecision;
use centinela_domain::profile::Change;
use centinela_domain::{
    AmountMinor, Currency, Decision, DecisionId, DeviceType, Entry, Millis, Profile, Risk, TransactionId, UserId,
    UserState,
};
use serde::Serialize;

/// A decision. Its fields are those of a published one, in the same order; what is not known, or not for the caller, is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Shown {
    version: u8,
    decision_id: String,
    transaction_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<ShownReason>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ShownModel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ingested_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<bool>,
    #[serde(skip_serializing_if = "is_false")]
    ahead: bool,
    #[serde(skip_serializing_if = "is_false")]
    guarded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "is_false")]
    reduced: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct ShownReason {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    contribution: Option<f32>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct ShownModel {
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Of whom and of what a decision is, and how much of it the caller may see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub transaction: &'a TransactionId,
    /// The user; none where the caller may not know.
    pub user: Option<&'a UserId>,
    /// Whether the caller may see scores.
    pub scores: bool,
}

impl View<'_> {
    fn of(&self, id: DecisionId, outcome: &'static str, score: f32) -> Shown {
        Shown {
            version: 1,
            decision_id: id.to_string(),
            transaction_id: self.transaction.as_str().to_owned(),
            user_id: self.user.map(|user| user.as_str().to_owned()),
            outcome,
            score: self.scores.then_some(score),
            ..Shown::default()
        }
    }

    /// A decision with its evidence.
    pub(crate) fn decision(&self, decision: &Decision) -> Shown {
        let reason = |reason: &centinela_domain::Reason| ShownReason {
            code: reason.code.as_str(),
            contribution: self.scores.then_some(reason.contribution),
        };
        Shown {
            amount: Some(decimal(decision.amount, decision.currency)),
            currency: Some(decision.currency.as_str().to_owned()),
            reasons: Some(decision.reasons.iter().map(reason).collect()),
            model: Some(ShownModel {
                version: decision.model.version.clone(),
                digest: Some(format!("{:016x}", u64::from_be_bytes(decision.model.digest))),
            }),
            occurred_at: Some(decision.occurred_at.0),
            ingested_at: Some(decision.ingested_at.0),
            decided_at: Some(decision.decided_at.0),
            late: Some(decision.late),
            ahead: decision.ahead,
            guarded: decision.guarded,
            degraded: Some(decision.missing.any()),
            missing: Some(missing_names(decision.missing)),
            ..self.of(decision.decision_id, decision.outcome.as_str(), decision.score)
        }
    }

    /// A decision as the index keeps it.
    pub(crate) fn indexed(&self, decision: &IndexedDecision) -> Shown {
        let reason = |(code, contribution): &(centinela_domain::ReasonCode, f32)| ShownReason {
            code: code.as_str(),
            contribution: self.scores.then_some(*contribution),
        };
        Shown {
            amount: Some(decimal(decision.amount_minor, decision.currency)),
            currency: Some(decision.currency.as_str().to_owned()),
            reasons: Some(decision.reasons.iter().map(reason).collect()),
            model: Some(ShownModel { version: decision.model_version.clone(), digest: None }),
            occurred_at: Some(decision.event_time.0),
            decided_at: Some(decision.decided_at.0),
            late: Some(decision.late),
            ahead: decision.ahead,
            guarded: decision.guarded,
            degraded: Some(decision.degraded),
            ..self.of(decision.decision_id, decision.outcome.as_str(), decision.score)
        }
    }

    /// What remains of a decision whose evidence is gone.
    pub(crate) fn entry(&self, id: DecisionId, entry: &Entry) -> Shown {
        match &entry.decision {
            Some(decision) => self.decision(decision),
            None => Shown { reduced: true, ..self.of(id, entry.outcome.as_str(), entry.score) },
        }
    }
}

/// The bytes of an answer with one decision: for whoever may see all of it those that are published, and nothing else.
pub(crate) fn published(decision: &Decision, view: View<'_>) -> Option<Vec<u8>> {
    (view.scores && view.user.is_some()).then(|| decision_v1::encode(decision))
}

/// With all decimals of the currency.
fn decimal(amount: AmountMinor, currency: Currency) -> String {
    let (minor, decimals) = (amount.minor(), currency.decimals());
    if decimals == 0 {
        return minor.to_string();
    }
    let (unit, width) = (10u64.pow(decimals), decimals as usize);
    format!("{}.{:0width$}", minor / unit, minor % unit)
}

/// What is known about a user.
#[derive(Debug, Serialize)]
pub(crate) struct ShownUser {
    pub user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<Activity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<ShownProfile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    pub decisions: Vec<Remembered>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<&'static str>,
}

/// Sums over the user's transactions; amounts in what is worth about a dollar, decayed values as of `newest_at`.
#[derive(Debug, Serialize)]
pub(crate) struct Activity {
    transactions: u64,
    late: u64,
    since: i64,
    newest_at: i64,
    mean_amount: f64,
    largest_amount: f32,
    recent_amounts: Vec<f32>,
    velocity: Vec<Velocity>,
    devices: usize,
    networks: usize,
    device_types: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Velocity {
    half_life_ms: i64,
    transactions: f32,
    amount: f32,
}

impl Activity {
    pub(crate) fn of(state: &UserState) -> Self {
        let sums = state.counts.into_iter().zip(state.sums);
        let velocity = centinela_domain::user::VELOCITY_HALF_LIVES_MS.into_iter().zip(sums);
        let seen = |kind: &DeviceType| state.device_types & 1 << kind.number() != 0;
        Self {
            transactions: state.transactions,
            late: state.late,
            since: state.since.0,
            newest_at: state.newest_at.0,
            mean_amount: state.mean,
            largest_amount: state.largest,
            recent_amounts: state.recent.clone(),
            velocity: velocity
                .map(|(half_life_ms, (transactions, amount))| Velocity { half_life_ms, transactions, amount })
                .collect(),
            devices: state.devices.len(),
            networks: state.networks.len(),
            device_types: DeviceType::ALL.into_iter().filter(seen).map(DeviceType::as_str).collect(),
        }
    }
}

/// What the user did besides paying.
#[derive(Debug, Serialize)]
pub(crate) struct ShownProfile {
    #[serde(skip_serializing_if = "Option::is_none")]
    registered_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logged_in_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_login_at: Option<i64>,
    login_devices: usize,
    changed: Vec<Changed>,
}

#[derive(Debug, Serialize)]
struct Changed {
    what: &'static str,
    at: i64,
}

impl ShownProfile {
    pub(crate) fn of(profile: &Profile) -> Self {
        let ms = |at: Option<Millis>| at.map(|at| at.0);
        let changed = |what: Change| Some(Changed { what: change_name(what), at: profile.changed_at(what)?.0 });
        Self {
            registered_at: ms(profile.registered_at()),
            logged_in_at: ms(profile.logged_in_at()),
            failed_login_at: ms(profile.failed_login_at()),
            login_devices: profile.logins().len(),
            changed: Change::ALL.into_iter().filter_map(changed).collect(),
        }
    }
}

fn change_name(what: Change) -> &'static str {
    match what {
        Change::Password => "password",
        Change::Email => "email",
        Change::Address => "address",
        Change::Phone => "phone",
        Change::Profile => "profile",
        Change::DeviceAdded => "device_added",
        Change::DeviceRemoved => "device_removed",
    }
}

/// Labels that stand.
#[derive(Debug, Serialize)]
pub(crate) struct Labels {
    fraud: u32,
    good: u32,
}

impl Labels {
    pub(crate) fn of(risk: &Risk) -> Self {
        let total = risk.total();
        Self { fraud: total.fraud, good: total.good }
    }
}

/// A remembered decision. Once it is proved published only the beginning of its id is left.
#[derive(Debug, Serialize)]
pub(crate) struct Remembered {
    decision_id_begins: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<i64>,
}

impl Remembered {
    pub(crate) fn of(entry: &Entry, scores: bool) -> Self {
        let decision = entry.decision.as_deref();
        Self {
            decision_id_begins: entry.digest.to_string(),
            outcome: entry.outcome.as_str(),
            score: scores.then_some(entry.score),
            transaction_id: decision.map(|decision| decision.transaction_id.as_str().to_owned()),
            decided_at: decision.map(|decision| decision.decided_at.0),
        }
    }
}
