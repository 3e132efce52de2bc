//! What stands between a model and a world that it was not made for.
//!
//! A model that meets traffic with other habits than those it was trained on may take every second customer for a thief. So each
//! model states how many may be blocked, and a [`Guard`] watches the answers that the model *would* give. While those leave the
//! [`Band`], decisions follow the band's [`Fallback`]; the score stays what it is.
//!
//! Customers are counted, not transactions: one account that buys a thousand times is one customer, so nobody leaves the band by
//! buying often. The numbers of one guard are those of one environment of the function.

use std::collections::{HashMap, VecDeque};

use crate::decision::Outcome;
use crate::policy::Policy;
use crate::transaction::Millis;

/// Most users that a guard counts: the newest of its window.
pub const GUARD_USERS_MAX: usize = 4096;
/// Longest window: a day.
pub const WINDOW_MAX_MS: i64 = 24 * 3_600_000;

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

/// How many users a model may want to block, and what happens when it wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    window_ms: i64,
    users_min: usize,
    rate_max_ppm: u64,
    fallback: Fallback,
}

/// A band that makes no sense.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq)]
#[error(
    "a band needs a window of 1 ms to {WINDOW_MAX_MS} ms, a minimum of 1 to {GUARD_USERS_MAX} users and a block rate from 0.0001 to 1 that \
     lets at least one of the minimum be blocked, got {window_ms} ms, {users_min} users and {block_rate_max}"
)]
pub struct InvalidBand {
    window_ms: i64,
    users_min: usize,
    block_rate_max: f64,
}

impl Band {
    /// Checks a band. `window_ms`: how long a user counts; `users_min`: with fewer users than these it is reckoned as if there were so
    /// many; `block_rate_max`: the largest share of users whose newest transaction the model may want to block.
    ///
    /// # Errors
    /// [`InvalidBand`] when a value is out of its range.
    pub fn new(window_ms: i64, users_min: usize, block_rate_max: f64, fallback: Fallback) -> Result<Self, InvalidBand> {
        let rate_max_ppm = if (0.0001..=1.0).contains(&block_rate_max) {
            (block_rate_max * PER_MILLION as f64).round() as u64
        } else {
            0
        };
        let band = Self { window_ms, users_min, rate_max_ppm, fallback };
        let sane = (1..=WINDOW_MAX_MS).contains(&window_ms)
            && (1..=GUARD_USERS_MAX).contains(&users_min)
            && band.blocked_max(0) >= 1;
        if sane { Ok(band) } else { Err(InvalidBand { window_ms, users_min, block_rate_max }) }
    }

    /// How many of so many users may be blocked.
    pub fn blocked_max(&self, users: usize) -> usize {
        (users.max(self.users_min) as u64 * self.rate_max_ppm / PER_MILLION) as usize
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

/// A user in the window.
#[derive(Clone, Copy, Debug)]
struct Seen {
    user: u32,
    /// When the user came into the window, and where the newest transaction stands.
    since: Millis,
    score: f32,
    /// Whether the model would block that transaction.
    wanted: bool,
}

/// The newest answer that the model would give each user of the window. Its memory is bounded by [`GUARD_USERS_MAX`].
#[derive(Debug)]
pub struct Guard {
    band: Band,
    /// By entrance.
    window: VecDeque<Seen>,
    /// The entrance of each user, counted from the first user ever.
    entrances: HashMap<u32, u64>,
    /// The entrance of the window's first.
    first: u64,
    /// Users of the window whose newest transaction the model would block.
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
            entrances: HashMap::new(),
            first: 0,
            wanted: 0,
            credit: Self::credit_max(&band),
        }
    }

    /// Answers a transaction of a user (a hash of the id) at `now`, the decider's time.
    pub fn rule(&mut self, policy: &Policy, user: u32, score: f32, now: Millis) -> Ruling {
        let own = policy.decide(score);
        self.forget(now);
        self.note(Seen { user, since: now, score, wanted: own == Outcome::Blocked });
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

    /// Whether the model would block more users of the window than its band allows.
    pub fn is_outside(&self) -> bool {
        self.wanted > self.band.blocked_max(self.window.len())
    }

    /// Users in the window, and how many of them the model would block.
    pub fn counted(&self) -> (usize, usize) {
        (self.window.len(), self.wanted)
    }

    /// By rank among the window's users, so that a flood of suspicious transactions does not let a more suspicious one pass; and by credit,
    /// which a stream of ever higher scores would otherwise outrun. Where many share a score, they leave half of the credit to higher ones.
    fn most_suspicious(&mut self, policy: &Policy, score: f32) -> Outcome {
        let most = self.band.blocked_max(self.window.len());
        let higher = self.window.iter().filter(|seen| seen.score > score).count();
        // Its own user among them.
        let not_lower = self.window.iter().filter(|seen| seen.score >= score).count();
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

    fn note(&mut self, seen: Seen) {
        if let Some(entrance) = self.entrances.get(&seen.user) {
            let known = &mut self.window[(entrance - self.first) as usize];
            self.wanted -= usize::from(known.wanted);
            *known = Seen { since: known.since, ..seen };
        } else {
            if self.window.len() == GUARD_USERS_MAX {
                self.forget_first();
            }
            self.entrances.insert(seen.user, self.first + self.window.len() as u64);
            self.window.push_back(seen);
        }
        self.wanted += usize::from(seen.wanted);
    }

    fn forget(&mut self, now: Millis) {
        while self.window.front().is_some_and(|seen| now.since(seen.since) > self.band.window_ms) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(seen) = self.window.pop_front() {
            self.entrances.remove(&seen.user);
            self.wanted -= usize::from(seen.wanted);
            self.first += 1;
        }
    }
}
