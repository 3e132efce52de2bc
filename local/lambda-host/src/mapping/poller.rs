//! The one task that owns a mapping: reads, forms batches, follows the invocations, commits.
//!
//! All state is in this task; invocations and deliveries to the failure destination run beside it and come back as values.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use rdkafka::Message;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{FunctionHost, InvokeError};

use super::destination::{Destination, Parked, now_ms};
use super::event::{Envelope, RawRecord, Record, TimestampType};
use super::faults::{AnswerFault, DeliveryFault, Memory, Stray};
use super::lane::{Batch, Condition, GivenUp, Lane, Rules};
use super::partition::{Gathered, Partition, gather, is_full, oldest};
use super::response::{self, Verdict};
use super::source::Source;
use super::stats::{Gauges, Shared};
use super::{KafkaMappingSpec, MappingError};

/// Bytes of waiting records over all partitions; each partition may have its share. Beside it librdkafka holds up to 16 MB.
const BUFFER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Records taken from the client before invocations get their turn.
const READ_AT_ONCE: usize = 1_000;
/// Time between two commits.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// Sleep when nothing is planned.
const IDLE: Duration = Duration::from_secs(60);

/// Between two looks at the topic: where it ends, and whether it has further partitions.
const TOPIC_LOOK: Duration = Duration::from_secs(1);
/// Between two questions to the client how far it is, while there is more on the topic than it has handed out.
const CLIENT_LOOK: Duration = Duration::from_millis(100);
/// A reader that stands still for this long although records wait is started anew. Every question to the broker has been answered or
/// given up by then.
const STILL_MAX: Duration = Duration::from_secs(15);
/// Between two looks at partitions that a fault keeps from being delivered.
const HELD_BACK_LOOK: Duration = Duration::from_millis(50);

type Answered = oneshot::Sender<Result<(), MappingError>>;

/// A request of the mapping's owner.
pub(super) enum Command {
    Commit(oneshot::Sender<()>),
    /// Take nothing from these offsets on; the answer is where that is.
    Cut(Vec<i64>, oneshot::Sender<Vec<i64>>),
    /// There may be something to do.
    Look,
    Disable(Answered),
    Enable(Answered),
    Stop(Answered),
}

/// What comes back from beside the task.
enum Finished {
    Invoked {
        lane: u64,
        batch: Batch,
        verdict: Option<Verdict>,
    },
    Parked {
        lane: u64,
        parked: Option<Parked>,
    },
    Strayed {
        fault: DeliveryFault,
        outcome: Stray,
    },
    /// Where the partitions end, and where those begin that are new.
    Looked(Result<(Vec<i64>, Vec<i64>), MappingError>),
    /// How far the client is.
    ReadUpTo(Result<Vec<Option<i64>>, MappingError>),
    /// What the partitions hold, and where reading stood when that was asked.
    Ranges {
        read_next: Vec<i64>,
        ranges: Result<Vec<(i64, i64)>, MappingError>,
    },
    ReadAnew(Result<(), MappingError>),
}

/// A question that is asked again and again, never twice at a time.
struct Look {
    not_before: Instant,
    asked: bool,
}

impl Look {
    fn due_at(not_before: Instant) -> Look {
        Look { not_before, asked: false }
    }

    /// Whether it is to be asked now; then it counts as asked.
    fn begin(&mut self, now: Instant) -> bool {
        let begins = !self.asked && self.not_before <= now;
        self.asked |= begins;
        begins
    }

    fn end(&mut self, pause: Duration) {
        *self = Look::due_at(Instant::now() + pause);
    }

    /// When it is due; none while an answer is awaited.
    fn due(&self) -> Option<Instant> {
        (!self.asked).then_some(self.not_before)
    }
}

/// How a disabled mapping goes on.
enum Resumed {
    Enabled,
    Stopped(Option<Answered>),
}

/// A mapping at work.
pub(super) struct Poller {
    batch_size: usize,
    window: Duration,
    report_batch_item_failures: bool,
    rules: Rules,
    source: Arc<Source>,
    shared: Arc<Shared>,
    destination: Option<Arc<Destination>>,
    host: Arc<FunctionHost>,
    envelope: Arc<Envelope>,
    partitions: Vec<Partition>,
    partition_bytes_max: usize,
    pollers: usize,
    topic_look: Look,
    client_look: Look,
    /// The broker does not have an offset that was asked for.
    out_of_range: bool,
    ranges_look: Look,
    /// Nothing is taken from here on.
    cut: Option<Vec<i64>>,
    memory: Memory,
    gauges: Gauges,
    lanes: BTreeMap<u64, Lane>,
    lanes_started: u64,
    tasks: JoinSet<Finished>,
    invoking: usize,
    slots: usize,
    committed: Vec<i64>,
    commit_not_before: Instant,
    stopped: CancellationToken,
}

impl Poller {
    pub(super) fn new(
        spec: KafkaMappingSpec,
        bootstrap: &str,
        source: Arc<Source>,
        starts: &[i64],
        destination: Option<Arc<Destination>>,
        host: Arc<FunctionHost>,
    ) -> Poller {
        let mut poller = Poller {
            batch_size: spec.batch_size,
            window: spec.window,
            report_batch_item_failures: spec.report_batch_item_failures,
            rules: Rules {
                bisect: spec.bisect_batch_on_function_error,
                retry_attempts: spec.retry_attempts(),
                record_age: spec.maximum_record_age,
                partial_reading: spec.partial_reading,
            },
            shared: Arc::clone(source.shared()),
            destination,
            envelope: Arc::new(Envelope::new(&spec.topic, bootstrap)),
            partition_bytes_max: BUFFER_BYTES_MAX,
            pollers: (spec.pollers_max as usize).saturating_mul(spec.parallel_invocations_per_poller as usize),
            topic_look: Look::due_at(Instant::now() + TOPIC_LOOK),
            client_look: Look::due_at(Instant::now()),
            out_of_range: false,
            ranges_look: Look::due_at(Instant::now()),
            cut: None,
            memory: Memory::default(),
            gauges: source.shared().gauges(),
            slots: 0,
            committed: Vec::new(),
            partitions: Vec::new(),
            source,
            host,
            lanes: BTreeMap::new(),
            lanes_started: 0,
            tasks: JoinSet::new(),
            invoking: 0,
            commit_not_before: Instant::now(),
            stopped: CancellationToken::new(),
        };
        poller.take_partitions(starts);
        poller
    }

    /// Adds partitions behind those that are known.
    fn take_partitions(&mut self, starts: &[i64]) {
        let first = i32::try_from(self.partitions.len()).unwrap_or(i32::MAX);
        self.partitions.extend((first..).zip(starts).map(|(id, start)| Partition::new(id, *start)));
        if let Some(ends) = &self.cut {
            cut(&mut self.partitions, ends);
        }
        self.gauges = self.shared.gauges();
        // Unlike any position: where the group starts is committed too, so that a restart before the first batch keeps it.
        self.committed.resize(self.partitions.len(), -1);
        self.partition_bytes_max = BUFFER_BYTES_MAX / self.partitions.len().max(1);
        self.slots = self.partitions.len().min(self.pollers).min(self.host.spec().concurrency_max);
    }

    /// Works until told to stop or until the mapping is dropped.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let source = Arc::clone(&self.source);
        let mut stream = source.stream();
        let done = loop {
            let wake = self.next_wake();
            tokio::select! {
                biased;
                command = inbox.recv() => match command {
                    None => break None,
                    Some(Command::Stop(done)) => break Some(done),
                    Some(Command::Disable(done)) => {
                        let outcome = self.suspend().await;
                        done.send(outcome).unwrap_or_default();
                        match self.rest(&mut inbox).await {
                            Resumed::Enabled => {}
                            Resumed::Stopped(done) => break done,
                        }
                    }
                    // It is.
                    Some(Command::Enable(done)) => done.send(Ok(())).unwrap_or_default(),
                    Some(Command::Commit(done)) => {
                        self.commit_reporting().await;
                        // Nobody waits any more: then nobody needs the answer.
                        done.send(()).unwrap_or_default();
                    }
                    Some(Command::Cut(ends, done)) => {
                        let cuts = cut(&mut self.partitions, &ends);
                        self.cut = Some(ends);
                        done.send(cuts).unwrap_or_default();
                    }
                    // The loop does.
                    Some(Command::Look) => {}
                },
                Some(finished) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.finish(finished);
                    while let Some(finished) = self.tasks.try_join_next() {
                        self.finish(finished);
                    }
                }
                Some(message) = stream.next() => {
                    self.read(message);
                    for _ in 1..READ_AT_ONCE {
                        let Some(Some(message)) = stream.next().now_or_never() else { break };
                        self.read(message);
                    }
                    self.pause_full_partitions();
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            self.look_at_the_topic();
            self.look_behind_the_last_records();
            self.look_for_what_is_gone();
            self.dispatch();
            self.publish();
            self.commit_when_due();
        };
        drop(stream);
        source.leave();
        if let Some(done) = done {
            let outcome = self.wind_down().await;
            done.send(outcome).unwrap_or_default();
        }
    }

    /// Ends reading, waits for what is in flight, commits, and forgets everything that was read.
    async fn suspend(&mut self) -> Result<(), MappingError> {
        self.source.leave();
        let outcome = self.wind_down().await;
        // Partitions that joined meanwhile.
        self.source.leave();
        self.stopped = CancellationToken::new();
        self.lanes.clear();
        self.partitions.clear();
        self.committed.clear();
        self.memory = Memory::default();
        self.topic_look = Look::due_at(Instant::now() + TOPIC_LOOK);
        self.client_look = Look::due_at(Instant::now());
        self.ranges_look = Look::due_at(Instant::now());
        self.out_of_range = false;
        outcome
    }

    /// Does nothing until it is enabled, stopped or dropped.
    async fn rest(&mut self, inbox: &mut mpsc::Receiver<Command>) -> Resumed {
        loop {
            match inbox.recv().await {
                None => return Resumed::Stopped(None),
                Some(Command::Stop(done)) => return Resumed::Stopped(Some(done)),
                Some(Command::Commit(done)) => done.send(()).unwrap_or_default(),
                Some(Command::Cut(ends, done)) => {
                    self.cut = Some(ends.clone());
                    done.send(ends).unwrap_or_default();
                }
                Some(Command::Look) => {}
                Some(Command::Disable(done)) => done.send(Ok(())).unwrap_or_default(),
                Some(Command::Enable(done)) => match self.source.begin().await {
                    Ok(starts) => {
                        self.take_partitions(&starts);
                        done.send(Ok(())).unwrap_or_default();
                        return Resumed::Enabled;
                    }
                    Err(error) => done.send(Err(error)).unwrap_or_default(),
                },
            }
        }
    }

    /// Lets the invocations in flight end, without starting any, and commits.
    async fn wind_down(&mut self) -> Result<(), MappingError> {
        self.stopped.cancel();
        while let Some(finished) = self.tasks.join_next().await {
            self.finish(finished);
        }
        self.publish();
        self.commit().await
    }

    fn read(&mut self, message: Result<BorrowedMessage<'_>, KafkaError>) {
        let message = match message {
            Ok(message) => message,
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                self.out_of_range = true;
                return;
            }
            Err(error) => {
                self.shared.counters().totals.poll_errors += 1;
                // The client's error callback had it first, and said it with its reason.
                tracing::debug!(topic = self.envelope.topic(), %error, "reading from kafka");
                return;
            }
        };
        let index = usize::try_from(message.partition()).unwrap_or(usize::MAX);
        let Some(partition) = self.partitions.get_mut(index) else {
            return;
        };
        let offset = message.offset();
        if !partition.expects(offset) {
            return;
        }
        if let Some(gauge) = self.gauges.get(index) {
            gauge.saw_end(offset + 1);
        }
        partition.read(offset, encode(&message));
    }

    fn pause_full_partitions(&mut self) {
        for partition in &mut self.partitions {
            if !partition.paused && partition.buffered_bytes() > self.partition_bytes_max {
                partition.paused = true;
                self.source.set_paused(partition.id, true);
            }
        }
    }

    fn resume_emptied_partitions(&mut self) {
        for partition in &mut self.partitions {
            if partition.paused && partition.buffered_bytes() < self.partition_bytes_max / 2 {
                partition.paused = false;
                self.source.set_paused(partition.id, false);
            }
        }
    }

    /// Starts everything that may start now: deliveries to the failure destination, due retries, new batches.
    fn dispatch(&mut self) {
        let now = Instant::now();
        let faults = self.shared.faults();
        for partition in &mut self.partitions {
            partition.held_back = faults.holds_back(partition.id);
        }
        let due: Vec<u64> = self
            .lanes
            .iter()
            .filter(|(_, lane)| !lane.in_flight && lane.not_before <= now)
            .map(|(id, _)| *id)
            .collect();
        due.into_iter().for_each(|id| self.advance(id));
        let mut took = false;
        while self.invoking < self.slots && self.may_gather(now) {
            let Some(gathered) = gather(&mut self.partitions, &self.envelope, self.batch_size) else {
                break;
            };
            took = true;
            let lane = match gathered {
                Gathered::Batch(records) => Lane::new(records, Vec::new(), now),
                Gathered::TooLarge(record) => {
                    let given_up = GivenUp { record, condition: Condition::MaximumPayloadSizeExceeded };
                    Lane::new(Vec::new(), vec![given_up], now)
                }
            };
            self.lanes_started += 1;
            self.lanes.insert(self.lanes_started, lane);
            self.advance(self.lanes_started);
        }
        if took {
            self.resume_emptied_partitions();
        }
    }

    fn may_gather(&self, now: Instant) -> bool {
        let Some(oldest) = oldest(&self.partitions) else {
            return false;
        };
        self.window.is_zero()
            || oldest + self.window <= now
            || is_full(&self.partitions, &self.envelope, self.batch_size)
    }

    /// Takes a lane one step further, or removes it when it is done.
    fn advance(&mut self, id: u64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let may_invoke = lane.given_up.is_empty() && self.invoking < self.slots;
        if let Some(mut batch) = may_invoke.then(|| lane.next_batch(&self.rules, now_ms())).flatten() {
            let fault = self.shared.faults().delivery(batch.records.len());
            if fault == DeliveryFault::Split {
                lane.split(&mut batch);
            }
            lane.in_flight = true;
            self.invoking += 1;
            self.shared.counters().invoked(batch.records.len());
            let (host, envelope) = (Arc::clone(&self.host), Arc::clone(&self.envelope));
            self.stray(fault, &batch);
            let reports_failures = self.report_batch_item_failures;
            self.tasks.spawn(async move {
                let verdict = deliver(&batch.records, host, envelope, reports_failures).await;
                Finished::Invoked { lane: id, batch, verdict }
            });
            return;
        }
        if !lane.given_up.is_empty() {
            lane.in_flight = true;
            let given_up = std::mem::take(&mut lane.given_up);
            let (destination, envelope) = (self.destination.clone(), Arc::clone(&self.envelope));
            self.tasks.spawn(park(id, given_up, destination, envelope, self.stopped.clone()));
            return;
        }
        if lane.is_settled() {
            self.lanes.remove(&id);
        }
    }

    /// Starts the delivery that a fault adds to that of `batch`. It takes no slot: it is another poller's.
    fn stray(&mut self, fault: DeliveryFault, batch: &Batch) {
        let records = match fault {
            DeliveryFault::None | DeliveryFault::Split => None,
            DeliveryFault::Twice => Some(batch.records.clone()),
            DeliveryFault::WithOldBatch { pick } => self.memory.old(pick),
            DeliveryFault::WithOverlap => self.memory.overlap(&batch.records),
        };
        let Some(records) = records else { return };
        self.shared.counters().totals.stray_batches += 1;
        let (host, envelope) = (Arc::clone(&self.host), Arc::clone(&self.envelope));
        let reports_failures = self.report_batch_item_failures;
        self.tasks.spawn(async move {
            let verdict = deliver(&records, host, envelope, reports_failures).await;
            let records = records.len();
            let outcome = match verdict {
                Some(Verdict::AllHandled) => Stray::Handled { records },
                Some(Verdict::SomeFailed(failed)) => Stray::Reported { records, unsettled: failed.len() },
                Some(Verdict::AllFailed { .. }) | None => Stray::Failed { records },
            };
            Finished::Strayed { fault, outcome }
        });
    }

    /// Asks the broker now and then where the topic ends, and whether it has further partitions. The client alone would not do: it
    /// learns an end from the answer to a fetch, and none comes while it is held back or stands still.
    fn look_at_the_topic(&mut self) {
        if !self.topic_look.begin(Instant::now()) {
            return;
        }
        let (source, known) = (Arc::clone(&self.source), self.partitions.len());
        let look = async move {
            let ends = source.ends().await?;
            let starts = if ends.len() > known { source.join(known..ends.len()).await? } else { Vec::new() };
            Ok((ends, starts))
        };
        self.tasks.spawn(look.map(Finished::Looked));
    }

    fn looked(&mut self, look: Result<(Vec<i64>, Vec<i64>), MappingError>) {
        self.topic_look.end(TOPIC_LOOK);
        for ((what, error), times) in self.shared.over() {
            tracing::warn!(topic = self.envelope.topic(), what, error, times, "over: it has not come again");
        }
        let (ends, starts) = match look {
            Ok(look) => look,
            // The next look asks again.
            Err(error) => {
                tracing::debug!(topic = self.envelope.topic(), %error, "the topic's ends were not told");
                return;
            }
        };
        self.wake_readers(&ends);
        if !starts.is_empty() {
            tracing::info!(topic = self.envelope.topic(), added = starts.len(), "the topic has further partitions");
            self.take_partitions(&starts);
        }
    }

    /// Starts the readers anew that stand still although the broker answers and has records for them.
    fn wake_readers(&mut self, ends: &[i64]) {
        let now = Instant::now();
        for (partition, end) in self.partitions.iter_mut().zip(ends) {
            let still = partition.still_for(*end, now);
            if still < STILL_MAX {
                continue;
            }
            let (id, read_next) = (partition.id, partition.read_next());
            tracing::warn!(
                topic = self.envelope.topic(),
                partition = id,
                read_next,
                end,
                still_s = still.as_secs(),
                "nothing comes from a partition although records wait; its reader is started anew"
            );
            self.shared.counters().totals.restarted_readers += 1;
            partition.restarted();
            read_anew(&mut self.tasks, &self.source, id, read_next);
        }
    }

    /// Asks the client how far it is, where the topic goes on behind the last record that it handed out.
    fn look_behind_the_last_records(&mut self) {
        if !self.is_behind() || !self.client_look.begin(Instant::now()) {
            return;
        }
        let (source, partitions) = (Arc::clone(&self.source), self.partitions.len());
        self.tasks.spawn(async move { Finished::ReadUpTo(source.read_up_to(partitions).await) });
    }

    fn is_behind(&self) -> bool {
        let ends = self.gauges.iter().map(|gauge| gauge.end.load(Ordering::Relaxed));
        self.partitions.iter().zip(ends).any(|(partition, end)| partition.expects_up_to(end))
    }

    fn read_up_to(&mut self, positions: Result<Vec<Option<i64>>, MappingError>) {
        self.client_look.end(CLIENT_LOOK);
        match positions {
            // What the client has handed out by then was read before this answer: both come to this task.
            Ok(positions) => self.partitions.iter_mut().zip(positions).for_each(|(partition, position)| {
                if let Some(position) = position {
                    partition.read_up_to(position);
                }
            }),
            Err(error) => {
                tracing::debug!(topic = self.envelope.topic(), %error, "the client did not say how far it is")
            }
        }
    }

    /// Asks what the partitions hold when the broker did not have what was asked for.
    fn look_for_what_is_gone(&mut self) {
        if !self.out_of_range || !self.ranges_look.begin(Instant::now()) {
            return;
        }
        self.out_of_range = false;
        let source = Arc::clone(&self.source);
        let read_next: Vec<i64> = self.partitions.iter().map(Partition::read_next).collect();
        self.tasks.spawn(async move {
            let ranges = source.ranges(read_next.len()).await;
            Finished::Ranges { read_next, ranges }
        });
    }

    fn skip_what_is_gone(&mut self, asked_at: &[i64], ranges: Result<Vec<(i64, i64)>, MappingError>) {
        self.ranges_look.end(CLIENT_LOOK);
        let ranges = match ranges {
            Ok(ranges) => ranges,
            Err(error) => {
                tracing::debug!(topic = self.envelope.topic(), %error, "what the partitions hold was not told");
                self.out_of_range = true;
                return;
            }
        };
        let asked = asked_at.iter().zip(&ranges);
        for (partition, (asked_at, (first, end))) in self.partitions.iter_mut().zip(asked) {
            let (id, read_next) = (partition.id, partition.read_next());
            if (*first..=*end).contains(&read_next) {
                continue;
            }
            // What the client had already came meanwhile, and there may be more of it.
            if read_next != *asked_at {
                self.out_of_range = true;
                continue;
            }
            if read_next < *first {
                self.source.skip(id, read_next..*first);
                partition.read_up_to(*first);
            } else {
                tracing::warn!(
                    topic = self.envelope.topic(),
                    partition = id,
                    read_next,
                    end,
                    "the partition ends before what was read of it: it was made again or cut; starting at its first record"
                );
                partition.begin_anew(*first);
            }
            read_anew(&mut self.tasks, &self.source, id, *first);
        }
    }

    fn finish(&mut self, finished: Result<Finished, JoinError>) {
        let finished = match finished {
            Ok(finished) => finished,
            // A lost task would hold its partitions for ever; failing loudly is the honest end.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return,
            },
        };
        match finished {
            Finished::Invoked { lane, batch, verdict } => self.settle(lane, batch, verdict),
            Finished::Strayed { fault, outcome } => self.shared.faults().stray(fault, outcome),
            Finished::Looked(look) => self.looked(look),
            Finished::ReadUpTo(positions) => self.read_up_to(positions),
            Finished::Ranges { read_next, ranges } => self.skip_what_is_gone(&read_next, ranges),
            Finished::ReadAnew(Ok(())) => {}
            // The reader stands still, which will be seen.
            Finished::ReadAnew(Err(error)) => {
                tracing::warn!(topic = self.envelope.topic(), %error, "a partition's reader was not started anew");
            }
            Finished::Parked { lane, parked } => {
                // Stopped before the destination had everything: nothing of the lane moves on.
                let Some(parked) = parked else { return };
                let mut counters = self.shared.counters();
                counters.totals.to_failure_destination += parked.delivered;
                counters.totals.dropped += parked.dropped;
                drop(counters);
                self.step(lane);
            }
        }
    }

    fn settle(&mut self, id: u64, batch: Batch, verdict: Option<Verdict>) {
        self.invoking -= 1;
        let now = Instant::now();
        let faults = self.shared.faults();
        let mut duplicate = false;
        let verdict = verdict.map(|verdict| match faults.answer() {
            AnswerFault::Lost => Verdict::AllFailed { reason: "the answer was lost on purpose".to_owned() },
            AnswerFault::DeliverAgain => {
                duplicate = verdict == Verdict::AllHandled;
                verdict
            }
            AnswerFault::None => verdict,
        });
        if faults.remembers() && verdict == Some(Verdict::AllHandled) {
            self.memory.settled(&batch.records);
        }
        let mut rules = self.rules;
        if matches!(verdict, Some(Verdict::SomeFailed(_))) {
            rules.partial_reading = faults.reading(rules.partial_reading);
        }
        let mut counters = self.shared.counters();
        counters.totals.in_flight -= 1;
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        match verdict {
            None => lane.put_back(batch, now),
            Some(verdict) => {
                let settlement = lane.settle(batch, &verdict, &rules, duplicate, now);
                counters.totals.records += settlement.handled as u64;
                counters.totals.retried_batches += u64::from(settlement.retried);
                counters.totals.bisected += u64::from(settlement.bisected);
                counters.totals.replayed_batches += u64::from(settlement.replaying);
                if let Verdict::AllFailed { reason } = verdict {
                    tracing::debug!(topic = self.envelope.topic(), reason, "a batch failed and is delivered again");
                    counters.totals.last_failure = Some(reason);
                }
            }
        }
        drop(counters);
        self.step(id);
    }

    /// Frees the partitions that a lane is done with. What the lane has left is started by the next dispatch.
    fn step(&mut self, id: u64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.in_flight = false;
        let mut held = std::mem::take(&mut lane.partitions);
        held.retain(|number| {
            let from = lane.first_unsettled(*number);
            if let Some(partition) = usize::try_from(*number).ok().and_then(|index| self.partitions.get_mut(index)) {
                partition.hold(from);
            }
            from.is_some()
        });
        lane.partitions = held;
        if lane.is_settled() {
            self.lanes.remove(&id);
        }
    }

    fn publish(&self) {
        for (partition, gauge) in self.partitions.iter().zip(self.gauges.iter()) {
            gauge.position.store(partition.position(), Ordering::Relaxed);
        }
        self.shared.counters().totals.buffered_bytes = self.partitions.iter().map(Partition::buffered_bytes).sum();
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let free = self.invoking < self.slots;
        let retries = self.lanes.values().filter(|lane| free && !lane.in_flight).map(|lane| lane.not_before);
        let window = oldest(&self.partitions).filter(|_| free).map(|oldest| oldest + self.window);
        let commit = self.is_dirty().then_some(self.commit_not_before);
        let client = if self.is_behind() { self.client_look.due() } else { None };
        let ranges = if self.out_of_range { self.ranges_look.due() } else { None };
        let looks = [self.topic_look.due(), client, ranges].into_iter().flatten();
        let held_back = self.partitions.iter().any(|partition| partition.held_back).then(|| now + HELD_BACK_LOOK);
        retries.chain(window).chain(commit).chain(looks).chain(held_back).min().unwrap_or(now + IDLE)
    }

    fn is_dirty(&self) -> bool {
        self.partitions.iter().zip(&self.committed).any(|(partition, committed)| partition.position() != *committed)
    }

    fn commit_when_due(&mut self) {
        if self.shared.take_commit_failed() {
            self.committed.fill(-1);
        }
        let now = Instant::now();
        if self.commit_not_before <= now && self.is_dirty() {
            self.commit_not_before = now + COMMIT_INTERVAL;
            self.committed = self.partitions.iter().map(Partition::position).collect();
            self.source.commit_soon(&self.committed);
        }
    }

    async fn commit(&mut self) -> Result<(), MappingError> {
        if self.partitions.is_empty() {
            return Ok(());
        }
        self.committed = self.partitions.iter().map(Partition::position).collect();
        self.source.commit(&self.committed).await
    }

    async fn commit_reporting(&mut self) {
        if let Err(error) = self.commit().await {
            tracing::warn!(topic = self.envelope.topic(), %error, "offsets were not committed; they will be");
            self.shared.commit_failed();
        }
    }
}

/// Takes nothing from these offsets on; returns where that is, by partition.
fn cut(partitions: &mut [Partition], ends: &[i64]) -> Vec<i64> {
    let end = |index: usize| ends.get(index).copied().unwrap_or_default();
    let mut cuts: Vec<i64> =
        partitions.iter_mut().enumerate().map(|(index, partition)| partition.cut(end(index))).collect();
    // Those that have not joined yet.
    cuts.extend(ends.iter().skip(partitions.len()));
    cuts
}

fn read_anew(tasks: &mut JoinSet<Finished>, source: &Arc<Source>, partition: i32, offset: i64) {
    let source = Arc::clone(source);
    tasks.spawn(async move { Finished::ReadAnew(source.read_anew(partition, offset).await) });
}

/// None when the function was stopped before it had the batch.
async fn deliver(
    records: &[Record],
    host: Arc<FunctionHost>,
    envelope: Arc<Envelope>,
    reports_failures: bool,
) -> Option<Verdict> {
    match host.invoke(envelope.event(records)).await {
        Ok(_) if !reports_failures => Some(Verdict::AllHandled),
        Ok(body) => Some(response::read(&body, envelope.topic(), records)),
        // Not the records' fault: no attempt is counted.
        Err(InvokeError::Stopped) => None,
        Err(error) => Some(Verdict::AllFailed { reason: error.to_string() }),
    }
}

async fn park(
    lane: u64,
    given_up: Vec<GivenUp>,
    destination: Option<Arc<Destination>>,
    envelope: Arc<Envelope>,
    stopped: CancellationToken,
) -> Finished {
    let parked = match destination {
        Some(destination) => destination.park(&given_up, &envelope, &stopped).await,
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
            Some(Parked { delivered: 0, dropped: given_up.len() as u64 })
        }
    };
    Finished::Parked { lane, parked }
}

fn encode(message: &BorrowedMessage<'_>) -> Record {
    let headers: Vec<(&str, Option<&[u8]>)> = match message.headers() {
        None => Vec::new(),
        Some(headers) => headers.iter().map(|header| (header.key, header.value)).collect(),
    };
    let (timestamp_type, timestamp_ms) = match message.timestamp() {
        Timestamp::CreateTime(time_ms) => (TimestampType::CreateTime, time_ms),
        Timestamp::LogAppendTime(time_ms) => (TimestampType::LogAppendTime, time_ms),
        Timestamp::NotAvailable => (TimestampType::CreateTime, -1),
    };
    Record::encode(&RawRecord {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms,
        timestamp_type,
        key: message.key(),
        value: message.payload(),
        headers: &headers,
    })
}
