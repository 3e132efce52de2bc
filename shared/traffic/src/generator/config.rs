//! What kind of world a generator makes.

use centinela_domain::Millis;

use crate::labels::Labels;
use crate::shape::Shape;

/// Monday, 2026-01-05T00:00:00Z.
pub const DEFAULT_START: Millis = Millis(1_767_571_200_000);
/// Monday, 2006-01-02: live traffic's clock runs thousands of times faster than the broker's, whose time no event may overtake, and at
/// the default rate this lasts for days.
pub const LIVE_START: Millis = Millis(1_136_160_000_000);
/// What kind of world. The same values give the same bytes on every machine.
#[derive(Clone, Debug, PartialEq)]
pub struct TrafficConfig {
    /// Chooses the world.
    pub seed: u64,
    /// Customers at any time (leavers are replaced); at least 1.
    pub users: usize,
    /// Simulated time at which it begins.
    pub start: Millis,
    /// Share of transactions that are fraud.
    pub fraud_share: f64,
    /// Share that arrives minutes late.
    pub late_minutes_share: f64,
    /// Share that arrives hours late, within a day.
    pub late_hours_share: f64,
    /// Share that arrives more than a day late, up to four.
    pub late_days_share: f64,
    /// Share that the producer sends twice, the same bytes, the second time before its user has bought [`RESENT_WITHIN`](crate::RESENT_WITHIN) times more.
    pub duplicate_share: f64,
    /// How much of what happened becomes known later.
    pub labels: Labels,
    /// What users do besides buying: so many actions for each transaction, about; 0 is none. It changes no transaction.
    pub actions: f64,
    /// Transactions of others that go out between two of one user, at least. The simulated clock runs thousands of times faster
    /// than a wall clock, so a second purchase ten minutes later would follow within milliseconds and meet the first one still
    /// in flight, which hardly happens to real customers. Event times stay as they are. At most a fifteenth of the users counts:
    /// beyond it the busiest ones would fall behind for good.
    pub spacing: usize,
    /// How purchases are spread over the users.
    pub shape: Shape,
}

impl TrafficConfig {
    /// History for training: late arrivals, labels, no duplicates.
    pub fn history(seed: u64) -> Self {
        Self {
            seed,
            users: 4_000,
            start: DEFAULT_START,
            fraud_share: 0.009,
            late_minutes_share: 0.02,
            late_hours_share: 0.002,
            late_days_share: 0.000_5,
            duplicate_share: 0.0,
            labels: Labels::HISTORY,
            actions: 2.0,
            spacing: 0,
            shape: Shape::Natural,
        }
    }

    /// Live traffic: late arrivals and a few duplicates, few labels, and one user's transactions apart.
    pub fn live(seed: u64) -> Self {
        Self { start: LIVE_START, duplicate_share: 0.002, labels: Labels::LIVE, spacing: 200, ..Self::history(seed) }
    }

    /// The same with another shape. But for the natural one, transactions of one user follow each other as they are drawn: a
    /// busy user's would never go out if they were kept apart.
    #[must_use]
    pub fn shaped(self, shape: Shape) -> Self {
        let spacing = if shape == Shape::Natural { self.spacing } else { 0 };
        Self { shape, spacing, ..self }
    }
}
