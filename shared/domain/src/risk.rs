//! What labels say about a user or a device, counted by the day on which they became known, and which of a transaction's labels stands.
//!
//! The counts depend on which labels stand, not on the order in which they came. Whoever applies a label knows the one that it
//! replaces: this module does not tell a label from its repetition.

use std::collections::BTreeMap;

use crate::identity::EventId;
use crate::transaction::{EventTime, Millis, TIME_MIN_MS};

/// The newest days that are kept one by one; older ones are summed.
pub const RISK_DAYS: u32 = 32;

const DAY_MS: i64 = 86_400_000;

/// A day of UTC, counted from 2000-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

impl Day {
    /// The day of a time; times outside what an event can have are moved to the nearest that fits.
    pub fn of(at: Millis) -> Self {
        let days = at.0.saturating_sub(TIME_MIN_MS).div_euclid(DAY_MS);
        Self(u32::try_from(days.max(0)).unwrap_or(u32::MAX))
    }

    /// Its beginning.
    pub fn millis(self) -> Millis {
        Millis(TIME_MIN_MS + i64::from(self.0) * DAY_MS)
    }
}

/// What a label says, the strongest last: of two labels of one time the stronger stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The money was given back; says nothing about fraud.
    Refund,
    /// The customer's bank took the money back.
    Chargeback,
    /// Somebody looked into it: the customer had paid.
    ConfirmedGood,
    /// Somebody looked into it: fraud.
    ConfirmedFraud,
}

impl Verdict {
    /// All of them, the strongest last.
    pub const ALL: [Self; 4] = [Self::Refund, Self::Chargeback, Self::ConfirmedGood, Self::ConfirmedFraud];

    /// Whether it counts as fraud; none where it counts as neither.
    pub fn is_fraud(self) -> Option<bool> {
        match self {
            Self::ConfirmedFraud | Self::Chargeback => Some(true),
            Self::ConfirmedGood => Some(false),
            Self::Refund => None,
        }
    }
}

/// A label of a transaction. Of several the greatest stands: the latest, of one time the strongest verdict, then the greatest id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// When it became known ([`EventTime`]).
    pub at: Millis,
    /// What it says.
    pub verdict: Verdict,
    /// The producer's name for it.
    pub event_id: EventId,
}

impl Label {
    /// A label that its producer dates `known_at`, in a record of this broker time.
    pub fn new(verdict: Verdict, known_at: Millis, ingested_at: Millis, event_id: EventId) -> Self {
        Self { at: EventTime::of(known_at, ingested_at).at, verdict, event_id }
    }

    /// The day that it counts on.
    pub fn day(&self) -> Day {
        Day::of(self.at)
    }
}

/// Labels of one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Chargebacks and confirmed frauds.
    pub fraud: u32,
    /// Confirmed good.
    pub good: u32,
}

impl Counts {
    fn is_zero(self) -> bool {
        self == Self::default()
    }

    fn of(&mut self, fraud: bool) -> &mut u32 {
        if fraud { &mut self.fraud } else { &mut self.good }
    }

    fn add(&mut self, other: Self) {
        self.fraud = self.fraud.saturating_add(other.fraud);
        self.good = self.good.saturating_add(other.good);
    }
}

/// The labels that stand of a user's, or of a device's, transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Risk {
    /// The newest day that ever had a label, even one that was replaced since; the first day where there was none.
    newest: Day,
    /// Labels of days before the newest [`RISK_DAYS`].
    older: Counts,
    /// Labels of the newest days; none is zero.
    days: BTreeMap<Day, Counts>,
}

impl Risk {
    /// Puts it together from its parts. What is not of the newest days goes to the older ones.
    pub fn from_parts(newest: Day, older: Counts, days: impl IntoIterator<Item = (Day, Counts)>) -> Self {
        let mut risk = Self { newest, older, days: BTreeMap::new() };
        for (day, counts) in days {
            risk.roll_to(day);
            if !counts.is_zero() {
                risk.counts_of(day).add(counts);
            }
        }
        risk
    }

    /// Counts a label. Returns whether anything changed: a refund counts as nothing.
    pub fn add(&mut self, day: Day, verdict: Verdict) -> bool {
        let Some(fraud) = verdict.is_fraud() else { return false };
        self.roll_to(day);
        let count = self.counts_of(day).of(fraud);
        *count = count.saturating_add(1);
        true
    }

    /// Takes back what [`Risk::add`] counted, because the label was replaced. Returns whether anything changed.
    pub fn remove(&mut self, day: Day, verdict: Verdict) -> bool {
        let Some(fraud) = verdict.is_fraud() else { return false };
        let count = self.counts_of(day).of(fraud);
        let changed = *count > 0;
        *count = count.saturating_sub(1);
        if self.days.get(&day).is_some_and(|counts| counts.is_zero()) {
            self.days.remove(&day);
        }
        changed
    }

    /// Takes `day` for the newest, if it is newer: what falls out of the newest days is summed. Two folds of the same labels are equal
    /// once both are rolled to the same day, even if one of them saw labels that were replaced.
    pub fn roll_to(&mut self, day: Day) {
        self.newest = self.newest.max(day);
        let first_kept = self.first_kept();
        while let Some(entry) = self.days.first_entry().filter(|entry| *entry.key() < first_kept) {
            self.older.add(entry.remove());
        }
    }

    /// The newest day that ever had a label; the first day where there was none.
    pub fn newest(&self) -> Day {
        self.newest
    }

    /// Labels of days before the newest [`RISK_DAYS`].
    pub fn older(&self) -> Counts {
        self.older
    }

    /// Labels of the newest days, the oldest first; days without any are left out.
    pub fn days(&self) -> impl ExactSizeIterator<Item = (Day, Counts)> {
        self.days.iter().map(|(&day, &counts)| (day, counts))
    }

    /// All labels that stand.
    pub fn total(&self) -> Counts {
        self.days.values().fold(self.older, |mut total, &counts| {
            total.add(counts);
            total
        })
    }

    fn first_kept(&self) -> Day {
        Day(self.newest.0.saturating_sub(RISK_DAYS - 1))
    }

    fn counts_of(&mut self, day: Day) -> &mut Counts {
        if day < self.first_kept() { &mut self.older } else { self.days.entry(day).or_default() }
    }
}
