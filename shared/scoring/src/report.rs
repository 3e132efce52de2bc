//! What became of a batch.

use centinela_contracts::batch_response::KafkaBatchResponse;

/// Where the time of a batch went, in microseconds. A round is read while the one before it is written, so that a batch of several rounds
/// took less than the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// Reading users, devices and committed marks.
    pub read_us: u64,
    /// Features, scores and decisions.
    pub decide_us: u64,
    /// Conditional writes, repeats after lost races included.
    pub commit_us: u64,
    /// Publication to both places, and dead letters.
    pub publish_us: u64,
}

/// The answer to the mapping, and the figures for telemetry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchReport {
    /// Which records must be delivered again.
    pub response: KafkaBatchResponse,
    /// Records in the batch.
    pub records: usize,
    /// New decisions, published.
    pub decided: usize,
    /// Of these, approved.
    pub approved: usize,
    /// Of these, for review.
    pub review: usize,
    /// Of these, blocked.
    pub blocked: usize,
    /// Of these, late.
    pub late: usize,
    /// Of these, so far ahead of the broker's time that the broker's was taken.
    pub ahead: usize,
    /// Of these, answered by the model's fallback because it would have blocked more than its band allows.
    pub guarded: usize,
    /// Of these, made without an optional input.
    pub degraded: usize,
    /// Records answered from the ring.
    pub replayed: usize,
    /// Of these, transactions that their producer sent again, at a place that the ring did not know.
    pub duplicates: usize,
    /// Records that were complete long ago.
    pub stale: usize,
    /// Records dead-lettered.
    pub dead_lettered: usize,
    /// Of these, transactions whose id was decided with other content.
    pub id_conflicts: usize,
    /// Records whose user's item cannot be read by this release; dead-lettered after several deliveries, to be delivered again before.
    pub state_unreadable: usize,
    /// Records to be delivered again.
    pub failed: usize,
    /// Users whose ring was full of unpublished decisions.
    pub full_rings: usize,
    /// Lost races.
    pub conflicts: usize,
    /// Partitions in which a batch began above the marker of a failed record of which its user's ring knows nothing.
    pub order_violations: usize,
    /// Markers of records that were found complete, or were published now, by asking their users' rings.
    pub markers_complete: usize,
    /// Markers of records that the mapping can no longer deliver: they are taken off unanswered.
    pub markers_retired: usize,
    /// Notes about devices that could not be written; the user's next transaction writes them.
    pub device_notes_dropped: usize,
    /// Committed marks that could not be written; the next batch writes them.
    pub marks_dropped: usize,
    /// Per new decision: milliseconds from the broker's time of the record to its publication.
    pub latencies_ms: Vec<u32>,
    /// Where the time went.
    pub stages: Stages,
}
