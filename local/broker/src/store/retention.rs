//! How long a partition keeps its records: the topic's own settings, and what one machine can hold.

/// Segments that a partition's share of the disk has room for: one of them is given up at a time.
const SEGMENTS_PER_SHARE: u64 = 4;

/// What bounds a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// `retention.ms`; none keeps records of any age.
    pub(crate) age_ms: Option<i64>,
    /// `retention.bytes`; none is no bound.
    pub(crate) bytes: Option<u64>,
    /// When a segment is full.
    pub(crate) segment_bytes: u64,
    /// When a segment is full of time.
    pub(crate) segment_ms: i64,
    /// What the machine has for it.
    pub(crate) disk_bytes: u64,
}

impl Retention {
    /// Of a topic with these settings, for a partition that may take `disk_bytes`.
    pub(crate) fn new(number: impl Fn(&str) -> i64, cleanup_policy: &str, disk_bytes: u64) -> Self {
        // Only compacted topics keep what is old; nothing is compacted here, so they keep everything.
        let is_deleting = cleanup_policy.contains("delete");
        let bound = |value: i64| (is_deleting && value >= 0).then_some(value);
        let segment_bytes = number("segment.bytes").unsigned_abs();
        Self {
            age_ms: bound(number("retention.ms")),
            bytes: bound(number("retention.bytes")).map(i64::unsigned_abs),
            segment_bytes: segment_bytes.min(disk_bytes / SEGMENTS_PER_SHARE).max(1),
            segment_ms: number("segment.ms"),
            disk_bytes,
        }
    }
}
