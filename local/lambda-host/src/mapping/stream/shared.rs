//! What the workers of a stream's shards and the mapping's owner share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::sync::watch;

use super::event::stream_arn;
use super::source::{Held, Place, StreamSource};
use super::spec::StreamMappingSpec;
use crate::host::FunctionHost;
use crate::mapping::destination::{iso_8601, now_ms};
use crate::mapping::in_flight::Condition;
use crate::mapping::stats::{MappingStats, Shared as Counted};

/// Most reports about what was given up that are kept.
const GIVEN_UP_KEPT: usize = 1_000;

/// Where a mapping stops taking records: by shard, the newest record that it still takes; none of a shard without any.
pub type StreamCut = BTreeMap<String, Option<String>>;

/// What the owner wants.
#[derive(Clone, Debug, Default)]
pub(super) struct Control {
    pub(super) stopped: bool,
    pub(super) disabled: bool,
    /// Nothing waits for a window of either kind.
    pub(super) hurried: bool,
    pub(super) cut: Option<Arc<StreamCut>>,
}

/// How far a shard is.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// Everything up to here is complete.
    pub(super) handled: Place,
    pub(super) open_windows: usize,
    /// Closed and read to its end: its children may begin.
    pub(super) is_finished: bool,
}

pub(super) struct Shared {
    pub(super) spec: StreamMappingSpec,
    pub(super) source: Arc<dyn StreamSource>,
    pub(super) host: Arc<FunctionHost>,
    pub(super) counted: Counted,
    pub(super) control: watch::Sender<Control>,
    progress: Mutex<BTreeMap<String, Progress>>,
    given_up: Mutex<Vec<String>>,
    busy: AtomicUsize,
}

/// While it is there, its worker may invoke.
pub(super) struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    pub(super) fn new(spec: StreamMappingSpec, source: Arc<dyn StreamSource>, host: Arc<FunctionHost>) -> Self {
        Self {
            spec,
            source,
            host,
            counted: Counted::default(),
            control: watch::Sender::new(Control::default()),
            progress: Mutex::default(),
            given_up: Mutex::default(),
            busy: AtomicUsize::new(0),
        }
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, BTreeMap<String, Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave to invoke; none while the mapping is disabled or stopped. Whoever disables it waits for all that have leave.
    pub(super) fn begin(&self) -> Option<Busy<'_>> {
        self.busy.fetch_add(1, Ordering::SeqCst);
        let busy = Busy(&self.busy);
        let control = self.control.borrow();
        (!control.disabled && !control.stopped).then_some(busy)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst) > 0
    }

    /// Notes that a shard is complete up to a record.
    pub(super) fn handled(&self, shard: &str, last: &Held) {
        let number = &last.record.sequence_number;
        if let Some(progress) = self.progress().get_mut(shard) {
            progress.handled = Place::After(number.clone());
        }
        self.source.handled(shard, number);
    }

    /// Records up to a cut, and windows, that are not complete.
    pub(super) fn open(&self, cut: Option<&StreamCut>) -> u64 {
        let progress = self.progress().clone();
        let behind = |shard: &str, from: &Place| self.source.behind(shard, from);
        let open = |(shard, progress): (&String, &Progress)| {
            let left = behind(shard, &progress.handled);
            let beyond = match cut.map(|cut| cut.get(shard)) {
                None => 0,
                Some(Some(Some(last))) => behind(shard, &Place::After(last.clone())),
                Some(_) => left,
            };
            left.saturating_sub(beyond) + progress.open_windows as u64
        };
        // A shard that waits for its parents has no progress yet.
        let waiting =
            cut.into_iter().flatten().filter(|(shard, last)| last.is_some() && !progress.contains_key(*shard));
        progress.iter().map(open).sum::<u64>() + waiting.count() as u64
    }

    pub(super) fn stats(&self) -> MappingStats {
        let (lag, partitions) = (self.open(None), self.progress().len());
        MappingStats { lag, lag_max: lag, partitions, ..self.counted.stats() }
    }

    /// Counts an invocation with these records.
    pub(super) fn invoked(&self, records: &[Held]) {
        let mut counters = self.counted.counters();
        counters.invoked(records.len());
        if let Some(newest) = records.last() {
            counters.totals.iterator_age_ms =
                u64::try_from(now_ms()).unwrap_or(0).saturating_sub(newest.record.arrived_ms);
        }
    }

    /// Lets records go, with a report in the words of AWS.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>
    pub(super) fn give_up(&self, shard: &str, records: &[Held], condition: Condition, invocations: u32) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
        let (first, last, count) = (&first.record, &last.record, records.len());
        let Some(destination) = &self.spec.on_failure else {
            self.counted.counters().totals.dropped += count as u64;
            tracing::error!(
                stream = self.spec.stream,
                shard,
                count,
                first = first.sequence_number,
                last = last.sequence_number,
                condition = condition.name(),
                "records are given up; there is no failure destination, so they are dropped"
            );
            return;
        };
        self.counted.counters().totals.to_failure_destination += count as u64;
        let at = |ms: u64| iso_8601(i64::try_from(ms).unwrap_or(i64::MAX));
        let report = json!({
            "requestContext": {
                "requestId": null,
                "functionArn": format!("arn:aws:lambda:us-east-1:000000000000:function:{}", self.spec.function),
                "condition": condition.name(),
                "approximateInvokeCount": invocations,
            },
            "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
            "version": "1.0",
            "timestamp": iso_8601(now_ms()),
            "KinesisBatchInfo": {
                "shardId": shard,
                "startSequenceNumber": first.sequence_number,
                "endSequenceNumber": last.sequence_number,
                "approximateArrivalOfFirstRecord": at(first.arrived_ms),
                "approximateArrivalOfLastRecord": at(last.arrived_ms),
                "batchSize": count,
                "streamArn": stream_arn(&self.spec.stream),
            },
        });
        tracing::error!(
            stream = self.spec.stream,
            shard,
            count,
            destination,
            "records are given up; the destination has their places"
        );
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        if given_up.len() < GIVEN_UP_KEPT {
            given_up.push(report.to_string());
        }
    }

    /// What the failure destination was told.
    pub(super) fn given_up(&self) -> Vec<String> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
