//! What is known of the decisions of some letters: which are published, and up to which marks that is all.
//!
//! A mark says something only with a search that ends after everything has that was at work when it was read. So marks are read every few
//! seconds, and each is used after its grace and the search behind it, while letters go back on the word of the one before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use centinela_domain::{Coordinates, DecisionId, Millis};

use crate::ports::{Found, PortError, Surroundings};
use crate::request::Plan;
use crate::rounds::Part;

/// Marks are read this often.
const MARKS_APART: Duration = Duration::from_secs(10);
/// Marks older than this are not used, unless the grace alone is as long: an old mark proves less of busy users.
const MARKS_FRESH: Duration = Duration::from_secs(30);

/// Marks that wait for their grace.
struct Waiting {
    read_at: Millis,
    ripe_at: Millis,
    marks: BTreeMap<u32, Coordinates>,
}

/// What is known of the decisions of a part.
#[derive(Default)]
pub(crate) struct Known {
    wanted: BTreeSet<DecisionId>,
    pub found: BTreeMap<DecisionId, Found>,
    /// Of which everything that was published before they were read is found.
    pub marks: BTreeMap<u32, Coordinates>,
    /// Everything that was published since is found.
    pub covers: Option<Millis>,
    fresh_until: Option<Millis>,
    waiting: VecDeque<Waiting>,
    read_at: Option<Millis>,
    is_caught_up: bool,
}

impl Known {
    /// Begins to look for the decisions of a part.
    pub async fn begin<W: Surroundings>(world: &mut W, plan: &Plan, part: &mut Part) -> Result<Self, PortError> {
        let mut known = Self { wanted: std::mem::take(&mut part.wanted), ..Self::default() };
        if let Some(since) = part.since.filter(|_| plan.verify) {
            known.covers = Some(world.begin_search(since).await?);
        }
        Ok(known)
    }

    /// Whether this decision was looked for: of another nothing is known.
    pub fn was_looked_for(&self, decision: &DecisionId) -> bool {
        self.wanted.contains(decision)
    }

    /// Brings it up to now. False when the time is over before it is.
    pub async fn look<W: Surroundings>(&mut self, world: &mut W, plan: &Plan) -> Result<bool, PortError> {
        if self.covers.is_none() {
            return Ok(true);
        }
        // What was published up to now takes long to read; marks that were read before it would be old when it ends.
        if !self.is_caught_up {
            if !self.search(world, plan).await? {
                return Ok(false);
            }
            self.is_caught_up = true;
        }
        loop {
            self.read_marks(world, plan).await?;
            let now = world.now();
            let mut ripe = None;
            while let Some(waiting) = self.waiting.pop_front_if(|waiting| waiting.ripe_at <= now) {
                ripe = Some(waiting);
            }
            if let Some(Waiting { read_at, marks, .. }) = ripe {
                if !self.search(world, plan).await? {
                    return Ok(false);
                }
                self.marks = marks;
                let fresh = MARKS_FRESH.max(plan.grace + MARKS_APART);
                self.fresh_until = Some(Millis(read_at.0.saturating_add(milliseconds(fresh))));
                return Ok(true);
            }
            if self.fresh_until.is_some_and(|until| now < until) {
                return Ok(true);
            }
            let Some(next) = self.waiting.front() else { return Ok(true) };
            let time = Duration::from_millis(next.ripe_at.since(now).max(1).unsigned_abs());
            if plan.time_left(now).is_some_and(|left| left <= time) {
                return Ok(false);
            }
            world.pause(time).await;
        }
    }

    async fn read_marks<W: Surroundings>(&mut self, world: &mut W, plan: &Plan) -> Result<(), PortError> {
        let now = world.now();
        if self.read_at.is_some_and(|read_at| now.since(read_at) < milliseconds(MARKS_APART)) {
            return Ok(());
        }
        let marks = world.marks().await?;
        let read_at = world.now();
        // Without marks nothing is verified, and in a dry run nothing is sent.
        let grace = if marks.is_empty() || plan.dry_run { Duration::ZERO } else { plan.grace };
        let ripe_at = Millis(read_at.0.saturating_add(milliseconds(grace)));
        self.read_at = Some(read_at);
        self.waiting.push_back(Waiting { read_at, ripe_at, marks });
        Ok(())
    }

    async fn search<W: Surroundings>(&mut self, world: &mut W, plan: &Plan) -> Result<bool, PortError> {
        let searched = world.search(&self.wanted, plan.deadline).await?;
        self.found.extend(searched.found);
        Ok(searched.is_all)
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
