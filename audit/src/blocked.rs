//! The last blocked transactions, as a look at a run shows them. Of the user only a hash is kept.

use centinela_contracts::decision_v1::DecisionV1;
use centinela_domain::{AmountMinor, Currency, ReasonCode};

/// How many are kept.
pub const KEPT: usize = 5;

/// A blocked transaction.
#[derive(Clone, Debug)]
pub struct Blocked {
    /// What it was for.
    pub amount: AmountMinor,
    /// In this currency.
    pub currency: Currency,
    /// From 0 to 1.
    pub score: f32,
    /// A hash of the user's id.
    pub user: u32,
    /// The strongest first.
    pub reasons: Vec<ReasonCode>,
}

impl Blocked {
    /// None when only the answer remains of the decision.
    pub fn of(decision: &DecisionV1) -> Option<Self> {
        let evidence = decision.evidence.as_ref()?;
        Some(Self {
            amount: evidence.amount,
            currency: evidence.currency,
            score: decision.score,
            user: decision.user_id.hash32(),
            reasons: evidence.reasons.iter().map(|reason| reason.code).collect(),
        })
    }
}
