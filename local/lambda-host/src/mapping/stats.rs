//! What a mapping has done and how far behind it is.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use super::faults::{MappingFaultSource, NoMappingFaults};
use super::repeats::{Problem, Repeats};

/// Counters since the start and gauges of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingStats {
    /// Offsets in the topic that are not complete yet, over all partitions.
    pub lag: u64,
    /// The same of the partition with the most.
    pub lag_max: u64,
    /// Where the partitions end, added up: with the lag it says how far the mapping is. Of Kafka only.
    pub end: u64,
    /// Records that were read from the topic. Of Kafka only; begins anew when the mapping does.
    pub polled: u64,
    /// Records that the function has handled.
    pub records: u64,
    /// Invocations made, retries included.
    pub batches: u64,
    /// Records in them, those of retries included.
    pub invoked_records: u64,
    /// Records in those that left something to deliver again.
    pub retried_records: u64,
    /// Median number of records of an invocation.
    pub batch_size_p50: usize,
    /// Largest number of records of an invocation.
    pub batch_size_max: usize,
    /// Invocations that left something to deliver again.
    pub retried_batches: u64,
    /// Batches that were split in two.
    pub bisected: u64,
    /// Successful batches that were delivered again on purpose.
    pub replayed_batches: u64,
    /// Duplicate deliveries on purpose; nobody read their answers.
    pub duplicate_deliveries: u64,
    /// Partitions of the topic.
    pub partitions: usize,
    /// Records that were given up and are nowhere else.
    pub dropped: u64,
    /// Records that were given up and stand in the failure topic.
    pub to_failure_destination: u64,
    /// Offsets that the broker's retention took before they were read: as many records at most.
    pub lost_by_retention: u64,
    /// Times at which the reader of a partition was started anew because it had stood still while records waited.
    pub restarted_readers: u64,
    /// Tumbling windows that ended.
    pub windows: u64,
    /// Of these, before their time, because their state had become too large.
    pub windows_ended_early: u64,
    /// Of these, windows of late records.
    pub late_windows: u64,
    /// How old the newest record of the last invocation was, in milliseconds. Of streams only.
    pub iterator_age_ms: u64,
    /// Invocations that are running.
    pub in_flight: usize,
    /// Bytes of records that were read and wait.
    pub buffered_bytes: usize,
    /// Errors while reading, reported by the Kafka client.
    pub poll_errors: u64,
    /// Commits that failed; they are made again.
    pub commit_errors: u64,
    /// Why the last batch failed, if one ever did.
    pub last_failure: Option<String>,
}

/// Counters behind [`MappingStats`].
#[derive(Default)]
pub(super) struct Counters {
    pub(super) totals: MappingStats,
    /// Invocations by number of records.
    batch_sizes: Vec<u64>,
}

impl Counters {
    pub(super) fn invoked(&mut self, records: usize) {
        self.totals.batches += 1;
        self.totals.in_flight += 1;
        self.totals.invoked_records += records as u64;
        self.totals.batch_size_max = self.totals.batch_size_max.max(records);
        if self.batch_sizes.len() <= records {
            self.batch_sizes.resize(records + 1, 0);
        }
        self.batch_sizes[records] += 1;
    }

    fn batch_size_p50(&self) -> usize {
        let half = self.totals.batches.div_ceil(2);
        let mut seen = 0;
        let reaches_half = |count: &u64| {
            seen += count;
            seen >= half
        };
        self.batch_sizes.iter().position(reaches_half).unwrap_or(0)
    }
}

/// Offsets of a partition that the broker deleted before they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The partition.
    pub partition: i32,
    /// The offsets. Not every one need have been a record.
    pub offsets: Range<i64>,
}

/// Offsets of one partition.
#[derive(Default)]
pub(super) struct Gauge {
    /// Everything below is complete.
    pub(super) position: AtomicI64,
    /// One past the newest record that is known of.
    pub(super) end: AtomicI64,
    /// Records that were read.
    read: AtomicU64,
}

impl Gauge {
    pub(super) fn saw_end(&self, end: i64) {
        self.end.fetch_max(end, Ordering::Relaxed);
    }

    /// Notes that a record was read, and that the partition reaches behind it.
    pub(super) fn read_to(&self, end: i64) {
        self.saw_end(end);
        self.read.fetch_add(1, Ordering::Relaxed);
    }
}

/// One gauge per partition number.
pub(super) type Gauges = Arc<[Arc<Gauge>]>;

/// What the mapping's task, the Kafka client's callbacks and its owner share.
pub(super) struct Shared {
    counters: Mutex<Counters>,
    gauges: RwLock<Gauges>,
    faults: RwLock<Arc<dyn MappingFaultSource>>,
    commit_failed: AtomicBool,
    skipped: Mutex<Vec<Skipped>>,
    repeats: Mutex<Repeats>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            counters: Mutex::default(),
            gauges: RwLock::new(Arc::from([])),
            faults: RwLock::new(Arc::new(NoMappingFaults)),
            commit_failed: AtomicBool::new(false),
            skipped: Mutex::default(),
            repeats: Mutex::default(),
        }
    }
}

impl Shared {
    pub(super) fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Empty until the topic is known; replaced when the mapping begins anew or partitions were added.
    pub(super) fn gauges(&self) -> Gauges {
        Arc::clone(&self.gauges.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets the gauges and makes one per partition.
    pub(super) fn set_gauges(&self, starts_and_ends: &[(i64, i64)]) {
        *self.gauges.write().unwrap_or_else(PoisonError::into_inner) = gauges(starts_and_ends).collect();
    }

    /// Joins gauges for further partitions.
    pub(super) fn add_gauges(&self, starts_and_ends: &[(i64, i64)]) {
        let known = self.gauges();
        let all: Gauges = known.iter().cloned().chain(gauges(starts_and_ends)).collect();
        *self.gauges.write().unwrap_or_else(PoisonError::into_inner) = all;
    }

    pub(super) fn set_faults(&self, faults: Arc<dyn MappingFaultSource>) {
        *self.faults.write().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    pub(super) fn faults(&self) -> Arc<dyn MappingFaultSource> {
        Arc::clone(&self.faults.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn commit_failed(&self) {
        self.counters().totals.commit_errors += 1;
        self.commit_failed.store(true, Ordering::Relaxed);
    }

    /// Whether a commit failed since the last call.
    pub(super) fn take_commit_failed(&self) -> bool {
        self.commit_failed.swap(false, Ordering::Relaxed)
    }

    /// Notes what the broker deleted before it was read.
    pub(super) fn skip(&self, skipped: Skipped) {
        let offsets = skipped.offsets.end.saturating_sub(skipped.offsets.start);
        self.counters().totals.lost_by_retention += u64::try_from(offsets).unwrap_or(0);
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner).push(skipped);
    }

    pub(super) fn skipped(&self) -> Vec<Skipped> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a problem; how often it came since the last line about it, when it is time to say it.
    pub(super) fn came(&self, what: &'static str, error: &str) -> Option<u64> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner).came(what, error, Instant::now())
    }

    /// Problems that are over, with how often they came.
    pub(super) fn over(&self) -> Vec<(Problem, u64)> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner).over(Instant::now())
    }

    /// Notes where the partitions end.
    pub(super) fn saw_ends(&self, ends: &[i64]) {
        self.gauges().iter().zip(ends).for_each(|(gauge, end)| gauge.saw_end(*end));
    }

    /// Offsets below `ends` that are not complete: as many records at most.
    pub(super) fn open_below(&self, ends: &[i64]) -> u64 {
        let open = |(gauge, end): (&Arc<Gauge>, &i64)| end.saturating_sub(gauge.position.load(Ordering::Relaxed));
        self.gauges().iter().zip(ends).map(open).map(|open| u64::try_from(open).unwrap_or(0)).sum()
    }

    pub(super) fn stats(&self) -> MappingStats {
        let gauges = self.gauges();
        let ends: Vec<i64> = gauges.iter().map(|gauge| gauge.end.load(Ordering::Relaxed)).collect();
        let open = |gauge: &Arc<Gauge>| {
            let open = gauge.end.load(Ordering::Relaxed).saturating_sub(gauge.position.load(Ordering::Relaxed));
            u64::try_from(open).unwrap_or(0)
        };
        let counters = self.counters();
        MappingStats {
            lag: self.open_below(&ends),
            lag_max: gauges.iter().map(open).max().unwrap_or(0),
            end: ends.iter().map(|end| u64::try_from(*end).unwrap_or(0)).sum(),
            polled: gauges.iter().map(|gauge| gauge.read.load(Ordering::Relaxed)).sum(),
            partitions: gauges.len(),
            batch_size_p50: counters.batch_size_p50(),
            ..counters.totals.clone()
        }
    }
}

fn gauges(starts_and_ends: &[(i64, i64)]) -> impl Iterator<Item = Arc<Gauge>> + '_ {
    let gauge = |(start, end): &(i64, i64)| Gauge {
        position: AtomicI64::new(*start),
        end: AtomicI64::new(*end),
        ..Gauge::default()
    };
    starts_and_ends.iter().map(gauge).map(Arc::new)
}
