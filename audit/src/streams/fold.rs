//! The decisions of a stream, window by window.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use base64_simd::STANDARD;
use centinela_contracts::decision_v1::{self, DecisionV1};
use centinela_contracts::stored_rollup;
use centinela_domain::{DecisionId, Rollup};
use centinela_local::aws::ShardRecord;

/// Decisions that are remembered, to tell what comes again.
const REMEMBERED: usize = 2_000_000;
/// Windows of a shard that are kept whole beside the newest.
const OPEN_WINDOWS: usize = 2;

/// A window of a shard: when it begins, in milliseconds since 1970, and the shard.
pub type WindowKey = (i64, String);

/// A window that may still get records.
#[derive(Default)]
struct Open {
    seen: BTreeSet<DecisionId>,
    rollup: Rollup,
}

/// What a stream came to.
pub struct StreamFold {
    window_ms: u64,
    open: BTreeMap<String, BTreeMap<i64, Open>>,
    /// As they are stored: a day has tens of thousands.
    closed: BTreeMap<WindowKey, Vec<u8>>,
    known: HashSet<DecisionId>,
    known_in_order: VecDeque<DecisionId>,
    again: Rollup,
    unreadable: u64,
    missed: u64,
}

impl StreamFold {
    /// Of windows of this length.
    pub fn new(window: Duration) -> Self {
        Self {
            window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1),
            open: BTreeMap::new(),
            closed: BTreeMap::new(),
            known: HashSet::new(),
            known_in_order: VecDeque::new(),
            again: Rollup::default(),
            unreadable: 0,
            missed: 0,
        }
    }

    /// A record of a shard.
    pub fn take(&mut self, shard: &str, record: &ShardRecord) {
        let value = STANDARD.decode_to_vec(&record.data_base64).unwrap_or_default();
        let Ok(decision) = decision_v1::parse(&value) else {
            self.unreadable += 1;
            return;
        };
        let start = i64::try_from(record.arrived_ms / self.window_ms * self.window_ms).unwrap_or(i64::MAX);
        let windows = self.open.entry(shard.to_owned()).or_default();
        let window = windows.entry(start).or_insert_with(|| Open {
            seen: BTreeSet::new(),
            // A late record finds its window as it was.
            rollup: self
                .closed
                .remove(&(start, shard.to_owned()))
                .map_or_else(Rollup::default, |bytes| decoded(&bytes)),
        });
        if window.seen.insert(decision.decision_id) {
            add(&mut window.rollup, &decision);
            if !self.known.insert(decision.decision_id) {
                add(&mut self.again, &decision);
            } else {
                self.known_in_order.push_back(decision.decision_id);
            }
        }
        while windows.len() > OPEN_WINDOWS
            && let Some((start, window)) = windows.pop_first()
        {
            self.closed.insert((start, shard.to_owned()), stored_rollup::encode(&window.rollup));
        }
        while self.known_in_order.len() > REMEMBERED
            && let Some(oldest) = self.known_in_order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// The stream deleted records before they were read.
    pub(super) fn missed(&mut self) {
        self.missed += 1;
    }

    /// Whether records were deleted before they were read here.
    pub fn has_gaps(&self) -> bool {
        self.missed > 0
    }

    /// Records that are no decision.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// What every window of every shard comes to.
    pub fn windows(&self) -> BTreeMap<WindowKey, Rollup> {
        let closed = self.closed.iter().map(|(key, bytes)| (key.clone(), decoded(bytes)));
        let open = self.open.iter().flat_map(|(shard, windows)| {
            windows.iter().map(|(start, window)| ((*start, shard.clone()), window.rollup.clone()))
        });
        closed.chain(open).collect()
    }

    /// What was counted in a window though it had been counted in another.
    pub fn again(&self) -> &Rollup {
        &self.again
    }
}

fn add(rollup: &mut Rollup, decision: &DecisionV1) {
    match &decision.evidence {
        Some(evidence) => rollup.add(evidence),
        None => rollup.add_reduced(),
    }
}

/// What was encoded here a moment ago.
fn decoded(bytes: &[u8]) -> Rollup {
    stored_rollup::decode(bytes).unwrap_or_default()
}
