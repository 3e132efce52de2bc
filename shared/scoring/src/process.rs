//! The decision protocol as a use case of a delivery.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use centinela_contracts::kafka_event::KafkaBatch;
use centinela_contracts::keyed::DeploymentKey;
use centinela_delivery::{
    Batch, BatchError, Causes, Clock, DeadLetters, Deadline, Delivery, Outcome, Position, Rejection, Rounds, UseCase,
};
use centinela_domain::ledger::{CommittedMarks, RingSize};
use centinela_domain::{Coordinates, Currency, DeviceId, Guard, Millis, UserId};
use futures::future::join;
use tracing::warn;

use crate::pending_failures::{self, Reported};
use crate::plan::Devices;
use crate::ports::{Background, Ports, ReadAnswer, ReadRequest, ScoreError, Scorer as _, StateReader, StoreError};
use crate::proof::{self, Knowledge, Proof, Times};
use crate::report::BatchReport;
use crate::work::{self, Decoded};

/// Bounds of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How far an event may be behind the user's newest one before it is `late`.
    pub allowed_lateness: Duration,
    /// How often a partition's committed mark is written and the marks of the others are read. An environment knows at once what its
    /// own batches prove; the written mark is for the others.
    pub mark_interval: Duration,
    /// The same while some user's ring is growing.
    pub mark_interval_eager: Duration,
    /// What a ring keeps.
    pub ring: RingSize,
    /// Deliveries after which a record is dead-lettered whose user's item cannot be read.
    pub unreadable_deliveries: u8,
    /// A ring with more unproved decisions than this is growing.
    pub ring_growing_above: usize,
    /// Attempts at one user's write in one batch, the first included.
    pub commit_attempts: u32,
    /// Longest pause between such attempts; the real one is a random part of it.
    pub commit_pause: Duration,
    /// How many users are read, decided and written at a time.
    pub rounds: Rounds,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allowed_lateness: Duration::from_secs(24 * 3600),
            mark_interval: Duration::from_secs(5),
            mark_interval_eager: Duration::from_millis(500),
            ring: RingSize::DEFAULT,
            unreadable_deliveries: 8,
            ring_growing_above: 8,
            commit_attempts: 4,
            commit_pause: Duration::from_millis(10),
            rounds: Rounds { keys_at_once: 100, keys_in_a_round: const { NonZeroUsize::new(50).unwrap() } },
        }
    }
}

/// The key and the bounds of a deployment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Signs and digests.
    pub key: DeploymentKey,
    /// What a transaction without a currency is in.
    pub default_currency: Currency,
    /// Decisions follow the model's fallback while it would block more than its band allows, by chance at one decision in so many; none
    /// lets the model decide alone.
    pub block_rate_guard: Option<u64>,
    /// Bounds.
    pub limits: Limits,
}

/// Why the whole batch must be delivered again.
#[derive(Debug, thiserror::Error)]
pub enum ScoringError {
    /// Records failed and their markers could not be written, so no partial answer would be safe.
    #[error("pending-failure markers could not be written")]
    MarkersNotWritten(#[source] StoreError),
    /// The model failed.
    #[error(transparent)]
    Score(#[from] ScoreError),
}

/// The protocol on a delivery.
#[derive(Debug)]
pub struct Engine<P: Ports, D> {
    delivery: Delivery<D, P::Clock>,
    scoring: Scoring<P>,
}

impl<P: Ports<Clock: Clone>, D: DeadLetters> Engine<P, D> {
    /// Puts the protocol together: `topics` and `stream` both get every decision, `dead_letters` what can never become one.
    pub fn new(
        store: P::Store,
        topics: P::Topics,
        stream: P::Stream,
        dead_letters: D,
        scorer: P::Scorer,
        clock: P::Clock,
        settings: Settings,
    ) -> Self {
        let Settings { key, default_currency, block_rate_guard, limits } = settings;
        let delivery = Delivery::new(dead_letters, clock.clone(), centinela_delivery::Settings::new(key.clone()));
        let knowledge = Mutex::default();
        let band = scorer.band().zip(block_rate_guard).map(|(band, one_in)| band.left_by_chance_once_in(one_in));
        let guard = band.map(|band| Mutex::new(Guard::new(band)));
        let scoring = Scoring { store, topics, stream, scorer, guard, clock, key, default_currency, limits, knowledge };
        Self { delivery, scoring }
    }

    /// Handles a batch: every record ends as a decision, as a dead letter, or in the response to be delivered again.
    ///
    /// # Errors
    /// The whole batch must be delivered again.
    pub async fn process(
        &self,
        batch: KafkaBatch,
        deadline: Deadline,
    ) -> Result<BatchReport, BatchError<ScoringError>> {
        let Outcome { response, records, dead_lettered, report } =
            self.delivery.deliver(&self.scoring, batch, deadline).await?;
        let failed = response.failures.len();
        Ok(BatchReport { response, records, dead_lettered, failed, ..report })
    }
}

/// The decision protocol with its ports.
#[derive(Debug)]
pub(crate) struct Scoring<P: Ports> {
    pub store: P::Store,
    pub topics: P::Topics,
    pub stream: P::Stream,
    pub scorer: P::Scorer,
    pub guard: Option<Mutex<Guard>>,
    pub clock: P::Clock,
    pub key: DeploymentKey,
    pub default_currency: Currency,
    pub limits: Limits,
    pub knowledge: Mutex<Knowledge>,
}

/// A user and which works are the user's, in partition and offset order.
pub(crate) type UserWorks = (UserId, Vec<usize>);

/// What is known of a batch on its way.
#[derive(Debug, Default)]
pub struct Progress {
    pub reported: Reported,
    pub report: BatchReport,
    pub devices: Devices,
    /// What other owners say of the users and devices that were read so far.
    pub background: Background,
    pub proof: Proof,
    /// What is proved to be committed, as this batch knows it.
    pub committed: CommittedMarks,
    /// Partitions whose committed mark could not be read: no redriven record is decided there.
    pub unread_partitions: HashSet<u32>,
    /// How often records have been reported because their user's item could not be read.
    pub unreadable_before: HashMap<Position, u8>,
    /// When the publishing began.
    pub publish_us: u64,
}

impl<P: Ports> UseCase for Scoring<P> {
    type Content = Decoded;
    type Handled = Progress;
    type Report = BatchReport;
    type Error = ScoringError;

    fn decode(&self, value: &[u8], source: Coordinates) -> Result<Decoded, Rejection> {
        work::decode(value, source, &self.key, self.default_currency)
    }

    async fn handle(&self, batch: &mut Batch<Decoded>) -> Result<Progress, ScoringError> {
        let mut progress = Progress::default();
        let users = batch.by_key(|decoded| &decoded.transaction.user_id);
        let mut rounds = self.limits.rounds.of(&users);
        let mut round = rounds.next().unwrap_or_default();
        let partitions = self.partitions_to_read(batch);
        let read = self.read(self.request(round, partitions, batch, &progress), batch.deadline.work).await;
        let mut answer = self.take(read, batch, &mut progress);
        progress.unread_partitions = std::mem::take(&mut answer.unread_partitions);
        progress.proof = self.prove(batch, &progress.unread_partitions, &mut answer);
        progress.unreadable_before = std::mem::take(&mut progress.proof.unreadable);
        progress.report.markers_retired = progress.proof.retired;
        let mut notes = std::mem::take(&mut progress.proof.notes);
        let mut plans = Vec::new();
        // The next round is read while this one is written: they have no user in common.
        for next in rounds {
            let request = self.request(next, BTreeSet::new(), batch, &progress);
            let ahead = self.read(request, batch.deadline.work);
            let writing = self.commit(round, answer, std::mem::take(&mut notes), batch, &mut progress);
            let (written, read) = join(writing, ahead).await;
            plans.extend(written?);
            answer = self.take(read, batch, &mut progress);
            round = next;
        }
        plans.extend(self.commit(round, answer, notes, batch, &mut progress).await?);
        progress.publish_us = self.clock.monotonic_us();
        self.publish(plans, batch, &mut progress).await;
        Ok(progress)
    }

    async fn complete(&self, batch: &mut Batch<Decoded>, mut progress: Progress) -> Result<BatchReport, ScoringError> {
        self.ask_about_markers(batch.deadline, &mut progress).await;
        let marked =
            pending_failures::update(&self.store, &self.clock, batch, &progress.reported, &progress.proof).await;
        if let Err(problem) = marked {
            batch.note_refusal(problem.is_refusal());
            return Err(ScoringError::MarkersNotWritten(problem));
        }
        progress.report.stages.publish_us = self.clock.monotonic_us() - progress.publish_us;
        Ok(progress.report)
    }
}

impl<P: Ports> Scoring<P> {
    pub(crate) fn with_knowledge<R>(&self, work: impl FnOnce(&mut Knowledge) -> R) -> R {
        // A panic elsewhere leaves only marks that were proved, so the knowledge stays good.
        work(&mut self.knowledge.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The batch's own, those of redriven records' first places, and now and then all that are known.
    fn partitions_to_read(&self, batch: &Batch<Decoded>) -> BTreeSet<u32> {
        let now = self.clock.now();
        let first_places = batch.records.iter().filter(|work| work.is_redriven()).map(|work| work.source.partition);
        let mut wanted: BTreeSet<u32> = batch.slices.iter().map(|slice| slice.partition).chain(first_places).collect();
        self.with_knowledge(|knowledge| {
            if now.since(knowledge.refreshed_at) >= self.limits.mark_interval.as_millis() as i64 {
                knowledge.refreshed_at = now;
                wanted.extend(&knowledge.partitions);
            }
        });
        wanted
    }

    /// What to read of users, the devices of their transactions, and committed marks.
    fn request(
        &self,
        users: &[UserWorks],
        partitions: BTreeSet<u32>,
        batch: &Batch<Decoded>,
        progress: &Progress,
    ) -> ReadRequest {
        let works = users.iter().flat_map(|(_, works)| works).map(|&index| &batch.records[index].content);
        let devices: BTreeSet<&DeviceId> = works.map(|work| &work.transaction.device_id).collect();
        ReadRequest {
            users: users.iter().map(|(user, _)| user.clone()).collect(),
            devices: devices.into_iter().filter(|device| !progress.devices.is_read(device)).cloned().collect(),
            partitions: partitions.into_iter().collect(),
        }
    }

    /// Reads, and says how long it took, in microseconds.
    async fn read(&self, request: ReadRequest, deadline: Millis) -> (ReadAnswer, u64) {
        let started_us = self.clock.monotonic_us();
        let answer = self.store.read(request, deadline).await;
        (answer, self.clock.monotonic_us() - started_us)
    }

    /// Takes over what was read of devices, of marks and by other owners.
    fn take(
        &self,
        (mut answer, read_us): (ReadAnswer, u64),
        batch: &mut Batch<Decoded>,
        progress: &mut Progress,
    ) -> ReadAnswer {
        progress.background.extend(std::mem::take(&mut answer.background));
        progress.devices.known.extend(std::mem::take(&mut answer.devices));
        progress.devices.unread.extend(std::mem::take(&mut answer.unread_devices));
        progress.report.stages.read_us += read_us;
        if let Some(problem) = &answer.problem {
            warn!(error = %Causes(problem), "part of the state was not read");
            batch.note_refusal(problem.is_refusal());
        }
        self.with_knowledge(|knowledge| knowledge.learn(&answer));
        answer
    }

    fn prove(&self, batch: &Batch<Decoded>, unread: &HashSet<u32>, answer: &mut ReadAnswer) -> Proof {
        let now = self.clock.now();
        let Limits { mark_interval, mark_interval_eager, ring, .. } = self.limits;
        self.with_knowledge(|knowledge| {
            let interval = if knowledge.eager { mark_interval_eager } else { mark_interval };
            let times =
                Times { now, interval_ms: interval.as_millis() as i64, delivered_within_ms: ring.delivered_within_ms };
            proof::prove(knowledge, &batch.slices, unread, answer, times)
        })
    }
}
