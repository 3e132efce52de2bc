//! Users' totals as they should be against what the table holds.

use std::collections::{BTreeMap, HashMap};

use centinela_contracts::stored_user;
use centinela_domain::UserId;

use crate::tracker::Totals;

/// What the stored state says about the users.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct StateFindings {
    pub(super) differing: u64,
    pub(super) counted_twice: u64,
}

/// Compares what this run added to the stored totals with the unique transactions.
pub(super) fn compare(
    expected: &BTreeMap<Box<str>, Totals>,
    items: &[(String, Vec<u8>)],
    baseline: &[(String, Vec<u8>)],
) -> StateFindings {
    let by_user = |items: &[(String, Vec<u8>)]| -> HashMap<String, Totals> {
        items.iter().filter_map(|(user, state)| Some((user.clone(), totals_of(user, state)?))).collect()
    };
    let (stored, before) = (by_user(items), by_user(baseline));
    let of = |totals: &HashMap<String, Totals>, user: &str| totals.get(user).copied().unwrap_or_default();
    let mut findings = StateFindings::default();
    for (user, totals) in expected {
        let (found, before) = (of(&stored, user), of(&before, user));
        let wanted = Totals {
            transactions: before.transactions + totals.transactions,
            amount_minor: before.amount_minor + totals.amount_minor,
        };
        findings.differing += u64::from(found != wanted);
        findings.counted_twice += found.transactions.saturating_sub(wanted.transactions);
    }
    let others = items.iter().filter(|(user, _)| !expected.contains_key(user.as_str()));
    // Whoever sent nothing must be as before, and only a user from before may be there.
    findings.differing +=
        others.filter(|(user, _)| before.get(user).is_none_or(|before| *before != of(&stored, user))).count() as u64;
    findings
}

fn totals_of(user: &str, state: &[u8]) -> Option<Totals> {
    let id = UserId::new(user).ok()?;
    let stored = stored_user::decode(state, &id)
        .inspect_err(|error| tracing::error!(%error, "the stored state of a user cannot be read"))
        .ok()?;
    Some(Totals { transactions: stored.state.transactions, amount_minor: stored.state.amount_total_minor })
}
