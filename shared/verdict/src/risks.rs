//! The risk of users and devices: what is stored against the labels that stand.
//!
//! Written apart from the code that applies labels, and by another way: here every transaction's labels are kept, and what stands is
//! counted at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use centinela_domain::Risk;
use centinela_domain::risk::{Counts, Day, Label, RISK_DAYS};

/// Labels by day that count as fraud, and as good.
type Days = BTreeMap<u32, (i64, i64)>;

/// Who a label counts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parties {
    /// The user.
    pub user: String,
    /// The device, where one is known.
    pub device: Option<String>,
}

/// What stands about transactions, by the transaction's key.
#[derive(Clone, Debug)]
pub struct LabelFold<K: Eq + Hash> {
    standing: HashMap<K, (Label, Parties)>,
}

impl<K: Eq + Hash> Default for LabelFold<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Eq + Hash> LabelFold<K> {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self { standing: HashMap::new() }
    }

    /// Takes in a label. Any order and any repetition gives the same.
    pub fn take(&mut self, transaction: K, label: Label, parties: Parties) {
        match self.standing.get(&transaction) {
            Some((known, _)) if *known >= label => {}
            _ => drop(self.standing.insert(transaction, (label, parties))),
        }
    }

    /// Transactions of which something is known.
    pub fn len(&self) -> usize {
        self.standing.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.standing.is_empty()
    }

    /// What each user and each device should have, by name.
    pub fn counts(&self) -> (Standing, Standing) {
        let (mut users, mut devices) = (Standing::default(), Standing::default());
        for (label, parties) in self.standing.values() {
            users.count(&parties.user, label, 1);
            if let Some(device) = &parties.device {
                devices.count(device, label, 1);
            }
        }
        (users, devices)
    }

    /// The same without those transactions of which an earlier label stands above what this knows.
    pub fn counts_above(&self, earlier: &Self) -> (Standing, Standing) {
        let (mut users, mut devices) = (Standing::default(), Standing::default());
        for (transaction, (label, parties)) in &self.standing {
            if earlier.standing.get(transaction).is_some_and(|(known, _)| known >= label) {
                continue;
            }
            users.count(&parties.user, label, 1);
            if let Some(device) = &parties.device {
                devices.count(device, label, 1);
            }
        }
        (users, devices)
    }

    /// The same for those transactions of `earlier` that this knows something newer about: what was counted for them before.
    pub fn replaced(&self, earlier: &Self) -> (Standing, Standing) {
        let (mut users, mut devices) = (Standing::default(), Standing::default());
        for (transaction, (label, parties)) in &earlier.standing {
            let wins = |(newer, _): &(Label, Parties)| newer > label;
            if self.standing.get(transaction).is_some_and(wins) {
                users.count(&parties.user, label, 1);
                if let Some(device) = &parties.device {
                    devices.count(device, label, 1);
                }
            }
        }
        (users, devices)
    }
}

/// Labels that stand, by whom they count for.
#[derive(Clone, Debug, Default)]
pub struct Standing(BTreeMap<String, Days>);

impl Standing {
    fn count(&mut self, name: &str, label: &Label, times: i64) {
        let Some(fraud) = label.verdict.is_fraud() else { return };
        let day = self.0.entry(name.to_owned()).or_default().entry(label.day().0).or_default();
        if fraud { day.0 += times } else { day.1 += times }
    }
}

/// Names whose stored risk is not what the labels come to: what was there `before`, without what was `replaced` of it, and with what was
/// `added`. Unreadable ones are among them.
pub fn differing_risks(
    added: &Standing,
    replaced: &Standing,
    stored: &BTreeMap<String, Option<Risk>>,
    before: &BTreeMap<String, Risk>,
) -> Vec<String> {
    let names: BTreeSet<&String> = added.0.keys().chain(stored.keys()).chain(before.keys()).collect();
    let none = Days::new();
    let differs = |name: &&&String| {
        let before = before.get(**name);
        let mut wanted = added.0.get(**name).unwrap_or(&none).clone();
        for (day, (fraud, good)) in replaced.0.get(**name).unwrap_or(&none) {
            let counts = wanted.entry(*day).or_default();
            (counts.0, counts.1) = (counts.0 - fraud, counts.1 - good);
        }
        for (Day(day), Counts { fraud, good }) in before.into_iter().flat_map(Risk::days) {
            let counts = wanted.entry(day).or_default();
            (counts.0, counts.1) = (counts.0 + i64::from(fraud), counts.1 + i64::from(good));
        }
        let older = before.map_or((0, 0), |risk| (i64::from(risk.older().fraud), i64::from(risk.older().good)));
        match stored.get(**name) {
            Some(Some(found)) => !is(&wanted, older, found),
            Some(None) => true,
            None => older != (0, 0) || wanted.values().any(|counts| *counts != (0, 0)),
        }
    };
    names.iter().filter(differs).map(|name| (*name).clone()).collect()
}

/// Whether a stored risk holds these labels: each of the newest days by itself, and the rest together.
fn is(wanted: &Days, mut older: (i64, i64), found: &Risk) -> bool {
    let first_kept = found.newest().0.saturating_sub(RISK_DAYS - 1);
    let mut days = BTreeMap::new();
    for (day, (fraud, good)) in wanted {
        if *day < first_kept {
            older = (older.0 + fraud, older.1 + good);
        } else if (*fraud, *good) != (0, 0) {
            days.insert(*day, (*fraud, *good));
        }
    }
    let pair = |counts: Counts| (i64::from(counts.fraud), i64::from(counts.good));
    let found_days: BTreeMap<u32, (i64, i64)> = found.days().map(|(day, counts)| (day.0, pair(counts))).collect();
    let newest_fits = wanted.keys().next_back().is_none_or(|newest| *newest <= found.newest().0);
    newest_fits && days == found_days && older == pair(found.older())
}

#[cfg(test)]
mod tests {
    use centinela_domain::risk::Verdict;
    use centinela_domain::{EventId, Millis};

    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn label(day: i64, verdict: Verdict, id: &str) -> Label {
        let at = Millis(1_767_571_200_000 + day * DAY_MS);
        Label { at, verdict, event_id: EventId::new("event_id", id).expect("a valid id") }
    }

    fn parties() -> Parties {
        Parties { user: "u".to_owned(), device: Some("d".to_owned()) }
    }

    fn risk(labels: &[(i64, Verdict)]) -> Risk {
        let mut risk = Risk::default();
        for (day, verdict) in labels {
            risk.add(label(*day, *verdict, "e").day(), *verdict);
        }
        risk
    }

    fn differs(fold: &LabelFold<u8>, earlier: &LabelFold<u8>, stored: Risk, before: &[(String, Risk)]) -> bool {
        let ((users, devices), (replaced, replaced_devices)) = (fold.counts(), fold.replaced(earlier));
        let before = before.iter().cloned().collect();
        let of = |name: &str| BTreeMap::from([(name.to_owned(), Some(stored.clone()))]);
        let user = differing_risks(&users, &replaced, &of("u"), &before).len();
        let device = differing_risks(&devices, &replaced_devices, &of("d"), &BTreeMap::new()).len();
        assert!(!before.is_empty() || user == device);
        user > 0
    }

    #[test]
    fn the_latest_label_of_each_transaction_counts_on_its_own_day() {
        let mut fold = LabelFold::new();
        let none = LabelFold::new();
        fold.take(1, label(1, Verdict::Chargeback, "a"), parties());
        fold.take(1, label(5, Verdict::ConfirmedGood, "b"), parties());
        fold.take(1, label(1, Verdict::Chargeback, "a"), parties());
        fold.take(2, label(50, Verdict::ConfirmedFraud, "c"), parties());
        fold.take(3, label(50, Verdict::Refund, "d"), parties());
        assert_eq!(fold.len(), 3);
        assert!(!differs(&fold, &none, risk(&[(5, Verdict::ConfirmedGood), (50, Verdict::ConfirmedFraud)]), &[]));
        assert!(differs(&fold, &none, risk(&[(1, Verdict::Chargeback), (50, Verdict::ConfirmedFraud)]), &[]));
        assert!(differs(&fold, &none, risk(&[(50, Verdict::ConfirmedFraud)]), &[]));
        assert!(differs(&fold, &none, Risk::default(), &[]));
    }

    #[test]
    fn what_was_there_before_stays_but_for_what_was_replaced() {
        let mut earlier = LabelFold::new();
        earlier.take(1, label(1, Verdict::Chargeback, "a"), parties());
        let before = [("u".to_owned(), risk(&[(1, Verdict::Chargeback), (2, Verdict::Chargeback)]))];
        let mut fold = LabelFold::new();
        fold.take(1, label(9, Verdict::ConfirmedGood, "b"), parties());
        let after = risk(&[(2, Verdict::Chargeback), (9, Verdict::ConfirmedGood)]);
        assert!(!differs(&fold, &earlier, after, &before));
        let both = risk(&[(1, Verdict::Chargeback), (2, Verdict::Chargeback), (9, Verdict::ConfirmedGood)]);
        assert!(differs(&fold, &earlier, both, &before));
    }
}
