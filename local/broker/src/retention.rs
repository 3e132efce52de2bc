//! How long a partition keeps its records: the topic's own settings, and what one machine can hold.

/// Segments that a partition's share of the disk has room for: one of them is given up at a time.
const SEGMENTS_PER_SHARE: u64 = 4;

// The defaults of <https://kafka.apache.org/documentation/#topicconfigs>.
const RETENTION_MS: i64 = 7 * 24 * 3_600 * 1_000;
const SEGMENT_MS: i64 = RETENTION_MS;
const SEGMENT_BYTES: i64 = 1_024 * 1_024 * 1_024;

/// What bounds a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retention {
    /// `retention.ms`; none keeps records of any age.
    pub(super) age_ms: Option<i64>,
    /// `retention.bytes`; none is no bound.
    pub(super) bytes: Option<u64>,
    /// When a segment is full.
    pub(super) segment_bytes: u64,
    /// When a segment is full of time.
    pub(super) segment_ms: i64,
    /// What the machine has for it.
    pub(super) disk_bytes: u64,
}

impl Retention {
    /// Of a topic with these settings, for a partition that may take `disk_bytes`. A value that is no number is as if it were not
    /// there.
    pub(super) fn new<'a>(setting: impl Fn(&str) -> Option<&'a str>, disk_bytes: u64) -> Self {
        let number =
            |name, default| setting(name).and_then(|value| value.trim().parse::<i64>().ok()).unwrap_or(default);
        // Only compacted topics keep what is old; nothing is compacted here, so they keep everything.
        let is_deleting = setting("cleanup.policy").is_none_or(|policy| policy.contains("delete"));
        let bound = |value: i64| (is_deleting && value >= 0).then_some(value);
        let segment_bytes = number("segment.bytes", SEGMENT_BYTES).unsigned_abs();
        Self {
            age_ms: bound(number("retention.ms", RETENTION_MS)),
            bytes: bound(number("retention.bytes", -1)).map(i64::unsigned_abs),
            segment_bytes: segment_bytes.min(disk_bytes / SEGMENTS_PER_SHARE).max(1),
            segment_ms: number("segment.ms", SEGMENT_MS),
            disk_bytes,
        }
    }
}
