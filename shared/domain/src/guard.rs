//! What stands between a model and a world that it was not made for.
//!
//! A model that meets traffic with other habits than those it was trained on may take every second customer for a thief. So each
//! model states how many may be blocked, and a [`Guard`] watches the answers that the model *would* give. While those leave the
//! [`Band`], decisions follow the band's [`Fallback`]; the score stays what it is.
//!
//! Customers are counted, not transactions: one account that buys a thousand times is one customer, so nobody leaves the band by
//! buying often. They are those of the newest transactions: over a longer time customers become no more, but whoever was robbed or came
//! to rob stays, and a sound model would leave the band by lasting. The numbers of one guard are those of one environment of the function.
//!
//! More blocked customers than the stated share are no reason yet: chance has them, the more often the fewer customers there are. The band
//! is left when chance would bring so many to one decision in [`FALSE_ALARM_ONE_IN`], or in what a deployment says instead.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use crate::decision::Outcome;
use crate::policy::Policy;
use crate::transaction::Millis;

/// Transactions whose users a guard counts: the newest of its window, and these at most.
pub const GUARD_NEWEST_MAX: usize = 8192;
/// Longest window: a day.
pub const WINDOW_MAX_MS: i64 = 24 * 3_600_000;
/// So seldom is a decision outside of the band by chance, when the model would block each user with the stated share or less, and none because
/// of another: so decisions a day, divided by this, bound the false alarms a day. At 10 million a minute that is one in 69 days.
pub const FALSE_ALARM_ONE_IN: u64 = 1_000_000_000_000;

const PER_MILLION: u64 = 1_000_000;

/// What is done about transactions that the model would block, while it would block too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The most suspicious are blocked, up to the band's edge.
    MostSuspicious,
    /// All go to a person.
    Review,
    /// None is blocked.
    Approve,
}

impl Fallback {
    /// All of them.
    pub const ALL: [Fallback; 3] = [Self::MostSuspicious, Self::Review, Self::Approve];

    /// The name in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MostSuspicious => "most_suspicious",
            Self::Review => "review",
            Self::Approve => "approve",
        }
    }
}

/// Which share of the users a model may want to block, and what happens when it wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    window_ms: i64,
    users_min: usize,
    rate_max_ppm: u64,
    fallback: Fallback,
    one_in: u64,
}

/// A band that makes no sense.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq)]
#[error(
    "a band needs a window of 1 ms to {WINDOW_MAX_MS} ms, a minimum of 1 to {GUARD_NEWEST_MAX} users and a block rate from 0.0001 to 1 that \
     lets at least one of the minimum be blocked, got {window_ms} ms, {users_min} users and {block_rate_max}"
)]
pub struct InvalidBand {
    window_ms: i64,
    users_min: usize,
    block_rate_max: f64,
}

impl Band {
    /// Checks a band. `window_ms`: how long a transaction's user counts; `users_min`: with fewer users than these it is reckoned as if there
    /// were so many; `block_rate_max`: the largest share of users whose newest transaction the model may want to block.
    ///
    /// # Errors
    /// [`InvalidBand`] when a value is out of its range.
    pub fn new(window_ms: i64, users_min: usize, block_rate_max: f64, fallback: Fallback) -> Result<Self, InvalidBand> {
        let rate_max_ppm = if (0.0001..=1.0).contains(&block_rate_max) {
            (block_rate_max * PER_MILLION as f64).round() as u64
        } else {
            0
        };
        let band = Self { window_ms, users_min, rate_max_ppm, fallback, one_in: FALSE_ALARM_ONE_IN };
        let sane = (1..=WINDOW_MAX_MS).contains(&window_ms)
            && (1..=GUARD_NEWEST_MAX).contains(&users_min)
            && band.blocked_max(0) >= 1;
        if sane { Ok(band) } else { Err(InvalidBand { window_ms, users_min, block_rate_max }) }
    }

    /// The same band, left by chance at one decision in so many.
    #[must_use]
    pub fn left_by_chance_once_in(self, decisions: u64) -> Self {
        Self { one_in: decisions.max(1), ..self }
    }

    /// How many of so many users the fallback may block.
    pub fn blocked_max(&self, users: usize) -> usize {
        (users.max(self.users_min) as u64 * self.rate_max_ppm / PER_MILLION) as usize
    }

    /// Whether chance hardly ever has the model want to block so many of so many users: Chernoff's bound on the tail of the binomial
    /// distribution, whose exact value is smaller still.
    pub fn is_left_by(&self, wanted: usize, users: usize) -> bool {
        let users = users.max(self.users_min) as f64;
        let (found, stated) = (wanted as f64 / users, self.rate_max_ppm as f64 / PER_MILLION as f64);
        // No division by 0: a share that was found to be above the stated one is above 0, and the stated one below 1.
        if found <= stated {
            return false;
        }
        let rest = if found < 1.0 { (1.0 - found) * libm::log((1.0 - found) / (1.0 - stated)) } else { 0.0 };
        users * (found * libm::log(found / stated) + rest) > libm::log(self.one_in as f64)
    }

    /// What happens outside of it.
    pub fn fallback(&self) -> Fallback {
        self.fallback
    }
}

/// How a transaction is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The answer.
    pub outcome: Outcome,
    /// Whether it is the fallback's, because the model would block more than its band allows.
    pub guarded: bool,
}

/// A transaction in the window.
#[derive(Clone, Copy, Debug)]
struct Seen {
    user: u32,
    at: Millis,
}

/// What is known of a user of the window.
#[derive(Clone, Copy, Debug)]
struct Newest {
    /// Which transaction this is of, counted from the first one ever.
    number: u64,
    score: f32,
    /// Whether the model would block it.
    wanted: bool,
}

/// The newest answer that the model would give each user of the window. Its memory is bounded by [`GUARD_NEWEST_MAX`].
#[derive(Debug)]
pub struct Guard {
    band: Band,
    /// The newest transactions, in the order of the decisions.
    window: VecDeque<Seen>,
    /// Their users.
    users: HashMap<u32, Newest>,
    /// The number of the window's first transaction.
    first: u64,
    /// Users whose newest transaction the model would block.
    wanted: usize,
    /// What the fallback may still block, in millionths.
    credit: u64,
}

impl Guard {
    /// Nobody was seen yet.
    pub fn new(band: Band) -> Self {
        Self {
            band,
            window: VecDeque::new(),
            users: HashMap::new(),
            first: 0,
            wanted: 0,
            credit: Self::credit_max(&band),
        }
    }

    /// Answers a transaction of a user (a hash of the id) at `now`, the decider's time.
    pub fn rule(&mut self, policy: &Policy, user: u32, score: f32, now: Millis) -> Ruling {
        let own = policy.decide(score);
        self.forget(now);
        self.note(Seen { user, at: now }, score, own == Outcome::Blocked);
        self.credit = (self.credit + self.band.rate_max_ppm).min(Self::credit_max(&self.band));
        if !self.is_outside() {
            return Ruling { outcome: own, guarded: false };
        }
        let outcome = match (own, self.band.fallback) {
            (Outcome::Approved | Outcome::Review, _) => own,
            (Outcome::Blocked, Fallback::Approve) => Outcome::Approved,
            (Outcome::Blocked, Fallback::Review) => Outcome::Review,
            (Outcome::Blocked, Fallback::MostSuspicious) => self.most_suspicious(policy, score),
        };
        Ruling { outcome, guarded: true }
    }

    /// Whether the model would block more users of the window than chance explains, of a model within its band.
    pub fn is_outside(&self) -> bool {
        self.band.is_left_by(self.wanted, self.users.len())
    }

    /// Users in the window, and how many of them the model would block.
    pub fn counted(&self) -> (usize, usize) {
        (self.users.len(), self.wanted)
    }

    /// By rank among the window's users, so that a flood of suspicious transactions does not let a more suspicious one pass; and by credit,
    /// which a stream of ever higher scores would otherwise outrun. Where many share a score, they leave half of the credit to higher ones.
    fn most_suspicious(&mut self, policy: &Policy, score: f32) -> Outcome {
        let most = self.band.blocked_max(self.users.len());
        let higher = self.users.values().filter(|newest| newest.score > score).count();
        // Its own user among them.
        let not_lower = self.users.values().filter(|newest| newest.score >= score).count();
        let full = Self::credit_max(&self.band);
        let needed = if not_lower <= most { PER_MILLION } else { full.min(full / 2 + PER_MILLION) };
        if higher < most && self.credit >= needed {
            self.credit -= PER_MILLION;
            return Outcome::Blocked;
        }
        policy.short_of_blocking(score)
    }

    fn credit_max(band: &Band) -> u64 {
        band.blocked_max(0) as u64 * PER_MILLION
    }

    fn note(&mut self, seen: Seen, score: f32, wanted: bool) {
        if self.window.len() == GUARD_NEWEST_MAX {
            self.forget_first();
        }
        let newest = Newest { number: self.first + self.window.len() as u64, score, wanted };
        self.window.push_back(seen);
        let before = self.users.insert(seen.user, newest);
        self.wanted += usize::from(wanted);
        self.wanted -= usize::from(before.is_some_and(|before| before.wanted));
    }

    fn forget(&mut self, now: Millis) {
        while self.window.front().is_some_and(|seen| now.since(seen.at) > self.band.window_ms) {
            self.forget_first();
        }
    }

    /// The user goes with it, if this was the newest transaction of the user.
    fn forget_first(&mut self) {
        let Some(seen) = self.window.pop_front() else { return };
        if let Entry::Occupied(user) = self.users.entry(seen.user)
            && user.get().number == self.first
        {
            self.wanted -= usize::from(user.remove().wanted);
        }
        self.first += 1;
    }
}
