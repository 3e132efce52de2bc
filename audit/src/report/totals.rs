//! What the table holds of each user, against what the run should have added.

use std::collections::BTreeMap;

use centinela_contracts::stored_user;
use centinela_domain::UserId;
use centinela_local::aws::StoredItem;
use centinela_verdict::{Differences, Totals, compare};

/// The group of a user's item that the scoring function owns.
const STATE: &str = "s";

type Items = [StoredItem];

/// Compares what this run added to the stored totals with the unique transactions.
pub(super) fn differences(added: &BTreeMap<String, Totals>, items: &Items, before: &Items) -> Differences<String> {
    let by_user = |items: &Items| -> BTreeMap<String, Option<Totals>> {
        // An item without state is another function's.
        let with_state = items.iter().filter_map(|item| Some((&item.key, item.group(STATE)?)));
        with_state.map(|(user, state)| (user.clone(), totals_of(user, state))).collect()
    };
    let before = by_user(before).into_iter().filter_map(|(user, totals)| Some((user, totals?))).collect();
    compare(added, &by_user(items), &before)
}

fn totals_of(user: &str, state: &[u8]) -> Option<Totals> {
    let id = UserId::new(user).ok()?;
    let stored = stored_user::decode(state, &id)
        .inspect_err(|error| tracing::error!(%error, "the stored state of a user cannot be read"))
        .ok()?;
    Some(Totals { transactions: stored.state.transactions, amount_minor: stored.state.amount_total_minor })
}
