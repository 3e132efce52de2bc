//! What is in the tables against what should be.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use centinela_contracts::stored_decision::{self, IndexedDecision};
use centinela_contracts::stored_rollup;
use centinela_domain::{Decision, Rollup, TransactionId};
use centinela_local::aws::StoredItem;
use serde::Serialize;

use super::fold::{StreamFold, WindowKey};

/// Attributes of the items.
const DECISIONS: &str = "d";
const PART: &str = "sk";
const ROLLUP: &str = "m";

/// A set of decisions as the index has them, as its size and the sum of its hashes: equal sets have equal sums, whatever their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexSum {
    count: u64,
    sum: u64,
}

impl IndexSum {
    /// Adds a decision that was not added before.
    pub fn add(&mut self, decision: &Decision) {
        self.add_indexed(decision.transaction_id.as_str(), &IndexedDecision::of(decision));
    }

    fn add_indexed(&mut self, transaction: &str, decision: &IndexedDecision) {
        let mut hasher = DefaultHasher::new();
        transaction.hash(&mut hasher);
        stored_decision::encode(std::slice::from_ref(decision)).hash(&mut hasher);
        self.count += 1;
        self.sum = self.sum.wrapping_add(hasher.finish());
    }

    /// Everything in a table; the number of items that cannot be read beside it.
    fn of(items: &[StoredItem]) -> (Self, u64) {
        let (mut sum, mut unreadable) = (Self::default(), 0);
        for item in items {
            let entries = item.group(DECISIONS).and_then(|bytes| stored_decision::decode(bytes).ok());
            match entries.filter(|_| TransactionId::new(item.key.as_str()).is_ok()) {
                Some(entries) => entries.iter().for_each(|entry| sum.add_indexed(&item.key, entry)),
                None => unreadable += 1,
            }
        }
        (sum, unreadable)
    }
}

/// The index against the decisions of the topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Indexed {
    /// Different decisions on the topics, those that are reduced excepted.
    pub decisions: u64,
    /// Of these, not in the index.
    pub missing: u64,
    /// Decisions in the index beyond those of the topics, or as many that are not what the topics have: at least one where any is.
    pub wrong: u64,
}

/// The roll-ups against the decisions of the stream and of the topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RolledUp {
    /// Windows of shards that had decisions.
    pub windows: u64,
    /// Items that hold them: a window that ended early has several.
    pub items: u64,
    /// Decisions that they count.
    pub decisions: u64,
    /// Decisions that were counted in a window though they had been counted in another, because they were published again.
    pub again: u64,
    /// Windows without an item.
    pub missing: u64,
    /// Windows whose items come to something else, and items of windows that had nothing.
    pub wrong: u64,
    /// Whether all of them together come to something else than the decisions of the topics and what was counted again.
    pub differs_from_topics: bool,
}

/// Both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamChecks {
    /// The index, where a function fills it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<Indexed>,
    /// The roll-ups, where a function fills them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollups: Option<RolledUp>,
}

/// A table before and after a run.
pub type BeforeAndAfter<'a> = (&'a [StoredItem], &'a [StoredItem]);

/// Compares the tables with the topics and the stream.
pub fn check(
    topics: (&IndexSum, &Rollup),
    stream: &StreamFold,
    index: Option<BeforeAndAfter<'_>>,
    rollups: Option<BeforeAndAfter<'_>>,
) -> StreamChecks {
    StreamChecks {
        index: index.map(|tables| indexed(topics.0, tables)),
        rollups: rollups.map(|tables| rolled_up(topics.1, stream, tables)),
    }
}

fn indexed(topics: &IndexSum, (before, after): BeforeAndAfter<'_>) -> Indexed {
    let ((before, _), (after, unreadable)) = (IndexSum::of(before), IndexSum::of(after));
    let found = IndexSum { count: after.count.saturating_sub(before.count), sum: after.sum.wrapping_sub(before.sum) };
    let missing = topics.count.saturating_sub(found.count);
    let beyond = found.count.saturating_sub(topics.count);
    let differs = missing == 0 && beyond == 0 && topics.sum != found.sum;
    Indexed { decisions: topics.count, missing, wrong: beyond + u64::from(differs) + unreadable }
}

fn rolled_up(topics: &Rollup, stream: &StreamFold, (before, after): BeforeAndAfter<'_>) -> RolledUp {
    let expected = stream.windows();
    let (mut found, mut items, mut wrong) = (BTreeMap::<WindowKey, Rollup>::new(), 0, 0);
    for item in after.iter().filter(|item| !before.contains(item)) {
        items += 1;
        match window_of(item).zip(item.group(ROLLUP).and_then(|bytes| stored_rollup::decode(bytes).ok())) {
            Some((window, rollup)) => found.entry(window).or_default().merge(&rollup),
            None => wrong += 1,
        }
    }
    let (mut missing, mut all) = (0, Rollup::default());
    for (window, rollup) in &expected {
        match found.remove(window) {
            Some(kept) => {
                wrong += u64::from(kept != *rollup);
                all.merge(&kept);
            }
            None => missing += 1,
        }
    }
    wrong += found.values().filter(|rollup| **rollup != Rollup::default()).count() as u64;
    let mut wanted = topics.clone();
    wanted.merge(stream.again());
    RolledUp {
        windows: expected.len() as u64,
        items,
        decisions: all.decisions(),
        again: stream.again().decisions(),
        missing,
        wrong,
        differs_from_topics: missing == 0 && all != wanted,
    }
}

/// The window of an item: `w#` and when it begins, and the shard before the `#` of its part.
fn window_of(item: &StoredItem) -> Option<WindowKey> {
    let start = item.key.strip_prefix("w#")?.parse().ok()?;
    let (shard, _) = item.text(PART)?.split_once('#')?;
    Some((start, shard.to_owned()))
}
