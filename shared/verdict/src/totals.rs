//! Users' totals: what is stored against the sum over what was decided.

use std::collections::BTreeMap;

/// What one user's transactions come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Different transactions.
    pub transactions: u64,
    /// The sum of their amounts.
    pub amount_minor: u64,
}

impl Totals {
    /// Counts a transaction.
    pub fn add(&mut self, amount_minor: u64) {
        self.transactions += 1;
        self.amount_minor += amount_minor;
    }
}

/// Who differs, and by how much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences<K> {
    /// User, what should be stored and what is; none where it cannot be read.
    pub users: Vec<(K, Totals, Option<Totals>)>,
    /// Transactions that users who sent some are counted for too often.
    pub counted_twice: u64,
}

/// Compares what was `stored` with what was there `before` and what a run should have `added`. A user who sent nothing must be as before.
pub fn compare<K: Ord + Clone>(
    added: &BTreeMap<K, Totals>,
    stored: &BTreeMap<K, Option<Totals>>,
    before: &BTreeMap<K, Totals>,
) -> Differences<K> {
    let mut differences = Differences { users: Vec::new(), counted_twice: 0 };
    let absent = Some(Totals::default());
    let silent = stored.keys().filter(|user| !added.contains_key(user));
    for user in added.keys().chain(silent) {
        let (sent, known) = (added.get(user), before.get(user));
        let before = known.copied().unwrap_or_default();
        let sum = sent.copied().unwrap_or_default();
        let wanted = Totals {
            transactions: before.transactions + sum.transactions,
            amount_minor: before.amount_minor + sum.amount_minor,
        };
        let found = stored.get(user).copied().unwrap_or(absent);
        // Whoever sent nothing and was not there before must not be there, with whatever totals.
        if found != Some(wanted) || (sent.is_none() && known.is_none()) {
            let counted = found.unwrap_or_default().transactions;
            differences.counted_twice += sent.map_or(0, |_| counted.saturating_sub(wanted.transactions));
            differences.users.push((user.clone(), wanted, found));
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_differs_is_named_and_what_counts_twice_is_counted() {
        let totals = |transactions, amount_minor| Totals { transactions, amount_minor };
        let added = BTreeMap::from([("as sent", totals(2, 20)), ("twice", totals(1, 10)), ("less", totals(3, 30))]);
        let before = BTreeMap::from([("as sent", totals(1, 5)), ("silent", totals(4, 4)), ("changed", totals(4, 4))]);
        let mut stored = BTreeMap::from([
            ("as sent", Some(totals(3, 25))),
            ("twice", Some(totals(2, 20))),
            ("less", Some(totals(2, 30))),
            ("silent", Some(totals(4, 4))),
        ]);
        let names = |differences: &Differences<&'static str>| {
            differences.users.iter().map(|(user, ..)| *user).collect::<Vec<_>>()
        };
        let found = compare(&added, &stored, &before);
        assert_eq!((names(&found), found.counted_twice), (vec!["less", "twice"], 1));
        stored.extend([("changed", Some(totals(5, 5))), ("new", Some(totals(1, 1)))]);
        stored.extend([("new, empty", Some(totals(0, 0))), ("unreadable", None)]);
        let found = compare(&added, &stored, &before);
        assert_eq!(names(&found), ["less", "twice", "changed", "new", "new, empty", "unreadable"]);
        assert_eq!(found.counted_twice, 1);
    }
}
