//! The records of a window, batch by batch, and its end.

use std::time::Duration;

use centinela_contracts::decision_v1;
use centinela_contracts::window_state::{WindowState, seen_id};
use centinela_delivery::StoreError;
use centinela_domain::Millis;
use tracing::error;

use crate::ports::{RollupItem, Rollups};

/// Figures of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoldReport {
    /// Records that were delivered.
    pub records: usize,
    /// Decisions that were counted.
    pub counted: usize,
    /// Messages that repeat a decision of the same part.
    pub repeated: usize,
    /// Messages without evidence.
    pub reduced: usize,
    /// Records that are no decision; they are passed over.
    pub unreadable: usize,
}

/// The window of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowOf<'a> {
    /// When it begins.
    pub start: Millis,
    /// The shard.
    pub shard: &'a str,
}

/// Adds records, each with its sequence number, to what a part has come to.
pub fn fold<'a>(
    state: Option<WindowState>,
    records: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> (Option<WindowState>, FoldReport) {
    let (mut state, mut report) = (state, FoldReport::default());
    for (sequence_number, value) in records {
        report.records += 1;
        let part = state.get_or_insert_with(|| WindowState::begin(sequence_number));
        let decision = match decision_v1::parse(value) {
            Ok(decision) => decision,
            Err(problem) => {
                error!(sequence_number, %problem, "a record of the stream is no decision; it is passed over");
                report.unreadable += 1;
                continue;
            }
        };
        if !part.seen.insert(seen_id(decision.decision_id)) {
            report.repeated += 1;
            continue;
        }
        match &decision.evidence {
            Some(evidence) => {
                part.rollup.add(evidence);
                report.counted += 1;
            }
            None => {
                part.rollup.add_reduced();
                report.reduced += 1;
            }
        }
    }
    (state, report)
}

/// The partition key of a window's items.
pub fn partition_key(start: Millis) -> String {
    format!("w#{}", start.0)
}

/// The sort key of a part: its shard, and the record that it began with.
pub fn item_key(shard: &str, first: &str) -> String {
    format!("{shard}#{first}")
}

/// Keeps the roll-ups of windows that have ended.
#[derive(Debug)]
pub struct RollUp<R> {
    store: R,
    remembered: Duration,
}

impl<R: Rollups> RollUp<R> {
    /// With its port; an item is kept for so long from its window's beginning.
    pub fn new(store: R, remembered: Duration) -> Self {
        Self { store, remembered }
    }

    /// Keeps what a part has come to. Nothing is written of a window without records.
    ///
    /// # Errors
    /// When it is not known to be kept: the end of the window is delivered again.
    pub async fn end(
        &self,
        window: WindowOf<'_>,
        state: Option<WindowState>,
        deadline: Millis,
    ) -> Result<bool, StoreError> {
        let Some(WindowState { first, rollup, .. }) = state else { return Ok(false) };
        let remembered = i64::try_from(self.remembered.as_secs()).unwrap_or(i64::MAX);
        let item = RollupItem {
            window: partition_key(window.start),
            part: item_key(window.shard, &first),
            rollup,
            expires_s: (window.start.0 / 1_000).saturating_add(remembered),
        };
        self.store.put(item, deadline).await.map(|()| true)
    }
}
