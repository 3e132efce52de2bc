//! Batches on their way: to the function, back from it, and to the failure destination.
//!
//! All state is with the mapping's task; invocations and deliveries to the failure destination run beside it and come back as values.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::InvokeError;
use crate::host::FunctionHost;

use super::destination::{DeadLettered, Destination, now_ms};
use super::error::came_back;
use super::event::{Envelope, Record};
use super::faults::{AnswerFault, DeliveryFault, DuplicateOutcome, Memory};
use super::in_flight::{Batch, Condition, GivenUp, InFlightBatch, Rules};
use super::partition::{Gathered, Partition, gather, is_full, is_hurried, oldest};
use super::response::{self, Verdict};
use super::spec::KafkaMappingSpec;
use super::stats::Shared;

/// Between two looks at partitions that a fault keeps from being delivered.
const HELD_BACK_LOOK: Duration = Duration::from_millis(50);

/// After so few records the next batch need not wait: there is nothing to gather.
const SMALL_BATCH: usize = 2;

/// What comes back from beside the task.
pub(super) enum Finished {
    Invoked {
        id: u64,
        batch: Batch,
        verdict: Option<Verdict>,
    },
    /// None when the mapping was stopped before the destination had everything.
    DeadLettered {
        id: u64,
        dead_lettered: Option<DeadLettered>,
    },
    Duplicate {
        fault: DeliveryFault,
        outcome: DuplicateOutcome,
    },
}

/// The deliveries of one mapping.
pub(super) struct Deliveries {
    batch_size: usize,
    window: Duration,
    pace: Duration,
    /// Until then only a full batch begins.
    paced_until: Instant,
    reports_failures: bool,
    rules: Rules,
    /// Most invocations at a time that the pollers allow.
    invocations_max: usize,
    shared: Arc<Shared>,
    destination: Option<Arc<Destination>>,
    host: Arc<FunctionHost>,
    envelope: Arc<Envelope>,
    memory: Memory,
    in_flight: BTreeMap<u64, InFlightBatch>,
    started: u64,
    tasks: JoinSet<Finished>,
    invoking: usize,
    held_back: bool,
    stopped: CancellationToken,
}

impl Deliveries {
    pub(super) fn new(
        spec: &KafkaMappingSpec,
        bootstrap: &str,
        shared: Arc<Shared>,
        destination: Option<Arc<Destination>>,
        host: Arc<FunctionHost>,
    ) -> Deliveries {
        let per_poller = spec.parallel_invocations_per_poller as usize;
        let most = (spec.pollers_max as usize).saturating_mul(per_poller);
        Deliveries {
            batch_size: spec.batch_size,
            window: spec.window,
            pace: spec.pace,
            paced_until: Instant::now(),
            reports_failures: spec.report_batch_item_failures,
            rules: Rules {
                bisect: spec.bisect_batch_on_function_error,
                retry_attempts: spec.retry_attempts(),
                record_age: spec.maximum_record_age,
                partial_reading: spec.partial_reading,
            },
            invocations_max: most.min(host.spec().concurrency_max),
            shared,
            destination,
            host,
            envelope: Arc::new(Envelope::new(&spec.topic, bootstrap)),
            memory: Memory::default(),
            in_flight: BTreeMap::new(),
            started: 0,
            tasks: JoinSet::new(),
            invoking: 0,
            held_back: false,
            stopped: CancellationToken::new(),
        }
    }

    /// A partition has at most one batch in flight.
    fn may_invoke(&self, partitions: usize) -> bool {
        self.invoking < self.invocations_max.min(partitions)
    }

    /// Starts everything that may start now: deliveries to the failure destination, due retries, new batches. Says whether a batch
    /// was formed.
    pub(super) fn dispatch(&mut self, partitions: &mut [Partition]) -> bool {
        let now = Instant::now();
        let faults = self.shared.faults();
        for partition in &mut *partitions {
            partition.held_back = faults.holds_back(partition.id);
        }
        self.held_back = partitions.iter().any(|partition| partition.held_back);
        let due: Vec<u64> = self
            .in_flight
            .iter()
            .filter(|(_, batch)| batch.waits_until().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        due.into_iter().for_each(|id| self.advance(id, partitions.len()));
        let mut took = false;
        while self.may_invoke(partitions.len()) && self.may_gather(partitions, now) {
            let Some(gathered) = gather(partitions, &self.envelope, self.batch_size) else {
                break;
            };
            took = true;
            let batch = match gathered {
                Gathered::Batch(records) => {
                    let is_small = records.len() <= SMALL_BATCH;
                    self.paced_until = if is_small { now } else { now + self.pace };
                    InFlightBatch::new(records, Vec::new(), now)
                }
                Gathered::TooLarge(record) => {
                    let given_up = GivenUp { record, condition: Condition::MaximumPayloadSizeExceeded };
                    InFlightBatch::new(Vec::new(), vec![given_up], now)
                }
            };
            self.started += 1;
            self.in_flight.insert(self.started, batch);
            self.advance(self.started, partitions.len());
        }
        took
    }

    fn may_gather(&self, partitions: &[Partition], now: Instant) -> bool {
        let Some(oldest) = oldest(partitions) else {
            return false;
        };
        (oldest + self.window).max(self.paced_until) <= now
            || is_full(partitions, &self.envelope, self.batch_size)
            || is_hurried(partitions)
    }

    /// When [`Deliveries::dispatch`] has something to do again, if nothing comes back before.
    pub(super) fn next_due(&self, partitions: &[Partition]) -> Option<Instant> {
        let free = self.may_invoke(partitions.len());
        let retries = self.in_flight.values().filter(|_| free).filter_map(InFlightBatch::waits_until);
        let window = oldest(partitions).filter(|_| free).map(|oldest| (oldest + self.window).max(self.paced_until));
        let held_back = self.held_back.then(|| Instant::now() + HELD_BACK_LOOK);
        retries.chain(window).chain(held_back).min()
    }

    /// Takes a batch one step further, or removes it when it is complete.
    fn advance(&mut self, id: u64, partitions: usize) {
        let may_invoke = self.may_invoke(partitions);
        let Some(in_flight) = self.in_flight.get_mut(&id) else { return };
        let next = if may_invoke && in_flight.given_up.is_empty() {
            in_flight.next_piece(&self.rules, now_ms())
        } else {
            None
        };
        if let Some(mut batch) = next {
            let fault = self.shared.faults().delivery(batch.records.len());
            if fault == DeliveryFault::Split {
                in_flight.split(&mut batch);
            }
            in_flight.is_out = true;
            self.invoking += 1;
            self.shared.counters().invoked(batch.records.len());
            self.duplicate(fault, &batch);
            let delivery = self.delivery();
            self.tasks.spawn(async move {
                let verdict = delivery.of(&batch.records).await;
                Finished::Invoked { id, batch, verdict }
            });
        } else if !in_flight.given_up.is_empty() {
            in_flight.is_out = true;
            let given_up = std::mem::take(&mut in_flight.given_up);
            let (destination, envelope) = (self.destination.clone(), Arc::clone(&self.envelope));
            self.tasks.spawn(dead_letter(id, given_up, destination, envelope, self.stopped.clone()));
        } else if in_flight.is_complete() {
            self.in_flight.remove(&id);
        }
    }

    /// Starts the delivery that a fault adds to that of `batch`. It takes no slot: it is another poller's.
    fn duplicate(&mut self, fault: DeliveryFault, batch: &Batch) {
        let records = match fault {
            DeliveryFault::None | DeliveryFault::Split => None,
            DeliveryFault::Twice => Some(batch.records.clone()),
            DeliveryFault::WithOldBatch { pick } => self.memory.old(pick),
            DeliveryFault::WithOverlap => self.memory.overlap(&batch.records),
        };
        let Some(records) = records else { return };
        self.shared.counters().totals.duplicate_deliveries += 1;
        let delivery = self.delivery();
        self.tasks.spawn(async move {
            let verdict = delivery.of(&records).await;
            let records = records.len();
            let outcome = match verdict {
                Some(Verdict::AllHandled) => DuplicateOutcome::Handled { records },
                Some(Verdict::SomeFailed(failed)) => DuplicateOutcome::Reported { records, failed: failed.len() },
                Some(Verdict::AllFailed { .. }) | None => DuplicateOutcome::Failed { records },
            };
            Finished::Duplicate { fault, outcome }
        });
    }

    fn delivery(&self) -> Delivery {
        let (host, envelope) = (Arc::clone(&self.host), Arc::clone(&self.envelope));
        Delivery { host, envelope, reports_failures: self.reports_failures }
    }

    /// What comes back next; waits for ever while nothing is out.
    pub(super) async fn next(&mut self) -> Option<Finished> {
        match self.tasks.join_next().await {
            Some(finished) => came_back(finished),
            None => std::future::pending().await,
        }
    }

    /// Starts nothing any more and waits until everything is back.
    pub(super) async fn end(&mut self, partitions: &mut [Partition]) {
        self.stopped.cancel();
        while let Some(finished) = self.tasks.join_next().await {
            self.take(came_back(finished), partitions);
        }
    }

    /// Forgets what was not delivered, after [`Deliveries::end`].
    pub(super) fn forget(&mut self) {
        self.stopped = CancellationToken::new();
        self.in_flight.clear();
        self.memory = Memory::default();
    }

    /// Takes one thing that came back. Each is to be followed by a dispatch: partitions that are freed together go into one batch, stay
    /// together from then on, and leave slots without work.
    pub(super) fn take(&mut self, finished: Option<Finished>, partitions: &mut [Partition]) {
        match finished {
            Some(Finished::Invoked { id, batch, verdict }) => self.answered(id, batch, verdict, partitions),
            Some(Finished::Duplicate { fault, outcome }) => self.shared.faults().duplicate_delivery(fault, outcome),
            Some(Finished::DeadLettered { id, dead_lettered: Some(DeadLettered { delivered, dropped }) }) => {
                let mut counters = self.shared.counters();
                counters.totals.to_failure_destination += delivered;
                counters.totals.dropped += dropped;
                drop(counters);
                self.step(id, partitions);
            }
            // Stopped before the destination had everything: nothing of the batch moves on.
            Some(Finished::DeadLettered { dead_lettered: None, .. }) | None => {}
        }
    }

    fn answered(&mut self, id: u64, batch: Batch, verdict: Option<Verdict>, partitions: &mut [Partition]) {
        self.invoking -= 1;
        let now = Instant::now();
        let faults = self.shared.faults();
        let mut again = false;
        let verdict = verdict.map(|verdict| match faults.answer() {
            AnswerFault::Lost => Verdict::AllFailed { reason: "the answer was lost on purpose".to_owned() },
            AnswerFault::DeliverAgain => {
                again = verdict == Verdict::AllHandled;
                verdict
            }
            AnswerFault::None => verdict,
        });
        if faults.remembers() && verdict == Some(Verdict::AllHandled) {
            self.memory.handled(&batch.records);
        }
        let mut rules = self.rules;
        if matches!(verdict, Some(Verdict::SomeFailed(_))) {
            rules.partial_reading = faults.reading(rules.partial_reading);
        }
        let mut counters = self.shared.counters();
        counters.totals.in_flight -= 1;
        let Some(in_flight) = self.in_flight.get_mut(&id) else { return };
        match verdict {
            None => in_flight.put_back(batch, now),
            Some(verdict) => {
                let records = batch.records.len() as u64;
                let outcome = in_flight.answered(batch, &verdict, &rules, again, now);
                counters.totals.records += outcome.handled as u64;
                counters.totals.retried_batches += u64::from(outcome.retried);
                counters.totals.retried_records += if outcome.retried { records } else { 0 };
                counters.totals.bisected += u64::from(outcome.bisected);
                counters.totals.replayed_batches += u64::from(outcome.replaying);
                if let Verdict::AllFailed { reason } = verdict {
                    tracing::debug!(topic = self.envelope.topic(), reason, "a batch failed and is delivered again");
                    counters.totals.last_failure = Some(reason);
                }
            }
        }
        drop(counters);
        self.step(id, partitions);
    }

    /// Frees the partitions that a batch is done with. What it has left is started by the next dispatch.
    fn step(&mut self, id: u64, partitions: &mut [Partition]) {
        let Some(in_flight) = self.in_flight.get_mut(&id) else { return };
        in_flight.is_out = false;
        let mut held = std::mem::take(&mut in_flight.partitions);
        held.retain(|number| {
            let from = in_flight.first_open(*number);
            if let Some(partition) = usize::try_from(*number).ok().and_then(|index| partitions.get_mut(index)) {
                partition.hold(from);
            }
            from.is_some()
        });
        in_flight.partitions = held;
        if in_flight.is_complete() {
            self.in_flight.remove(&id);
        }
    }
}

/// What an invocation needs.
struct Delivery {
    host: Arc<FunctionHost>,
    envelope: Arc<Envelope>,
    reports_failures: bool,
}

impl Delivery {
    /// None when the function was stopped before it had the batch.
    async fn of(&self, records: &[Record]) -> Option<Verdict> {
        match self.host.invoke(self.envelope.event(records)).await {
            Ok(_) if !self.reports_failures => Some(Verdict::AllHandled),
            Ok(body) => Some(response::read(&body, self.envelope.topic(), records)),
            // Not the records' fault: no attempt is counted.
            Err(InvokeError::Stopped | InvokeError::Throttled) => None,
            Err(error) => Some(Verdict::AllFailed { reason: error.to_string() }),
        }
    }
}

async fn dead_letter(
    id: u64,
    given_up: Vec<GivenUp>,
    destination: Option<Arc<Destination>>,
    envelope: Arc<Envelope>,
    stopped: CancellationToken,
) -> Finished {
    let dead_lettered = match destination {
        Some(destination) => destination.dead_letter(&given_up, &envelope, &stopped).await,
        None => {
            for GivenUp { record, condition } in &given_up {
                let (partition, offset) = record.coordinates();
                let condition = condition.name();
                tracing::error!(
                    topic = envelope.topic(),
                    partition,
                    offset,
                    condition,
                    "a record is dropped: there is no failure destination"
                );
            }
            Some(DeadLettered { delivered: 0, dropped: given_up.len() as u64 })
        }
    };
    Finished::DeadLettered { id, dead_lettered }
}

#[cfg(test)]
mod tests {
    use super::super::event::{RawRecord, TimestampType};
    use super::*;
    use crate::spec::FunctionSpec;

    fn record(partition: i32) -> Record {
        Record::encode(&RawRecord {
            topic: "orders",
            partition,
            offset: 0,
            timestamp_ms: 1_700_000_000_000,
            timestamp_type: TimestampType::LogAppendTime,
            key: None,
            value: Some(b"x"),
            headers: &[],
        })
    }

    #[tokio::test]
    async fn of_batches_that_end_together_one_is_taken_before_the_next_dispatch() {
        let function = FunctionSpec {
            name: "score".to_owned(),
            binary: std::env::current_exe().expect("this test's path"),
            environment: BTreeMap::new(),
            timeout: Duration::from_secs(1),
            memory_mb: 128,
            concurrency_max: 2,
            nice: 0,
        };
        let host = FunctionHost::start(function).await.expect("a host");
        let shared = Arc::new(Shared::default());
        shared.counters().totals.in_flight = 2;
        let spec = KafkaMappingSpec::new("score", "orders", "score");
        let mut deliveries = Deliveries::new(&spec, "127.0.0.1:9092", shared, None, host);
        let mut partitions = [Partition::new(0, 1), Partition::new(1, 1)];
        for partition in &mut partitions {
            partition.hold(Some(0));
            let mut in_flight = InFlightBatch::new(vec![record(partition.id)], Vec::new(), Instant::now());
            let batch = in_flight.next_piece(&deliveries.rules, now_ms()).expect("a batch");
            in_flight.is_out = true;
            let id = u64::try_from(partition.id).expect("a number of a partition");
            deliveries.in_flight.insert(id, in_flight);
            deliveries.invoking += 1;
            deliveries.tasks.spawn(async move { Finished::Invoked { id, batch, verdict: Some(Verdict::AllHandled) } });
        }
        // On this one thread both have ended when it is this test's turn again.
        tokio::task::yield_now().await;
        let mut complete = async || {
            let finished = deliveries.next().await;
            deliveries.take(finished, &mut partitions);
            partitions.iter().filter(|partition| partition.position() == 1).count()
        };
        assert_eq!(complete().await, 1, "the partitions of both would go on as one batch");
        assert_eq!(complete().await, 2);
    }
}
