//! A batch from its records to its answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::slice::Chunks;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use centinela_contracts::batch_response::KafkaBatchResponse;
use centinela_contracts::kafka_event::KafkaBatch;
use centinela_contracts::keyed::DeploymentKey;
use centinela_contracts::parked_v1::{ParkReason, Parked};
use centinela_contracts::settled::SettledItem;
use centinela_contracts::stored_user::StoredUser;
use centinela_domain::ledger::{RingSize, Settled};
use centinela_domain::{Currency, DeviceId, DeviceState, Mark, Millis, Outcome, UserId};
use futures::future::join;
use tracing::warn;

use crate::holds::{self, Fate, Reported};
use crate::intake::{Intake, Position, Slice, ToPark, Work, take_in};
use crate::plan::{Answer, Devices, Job, Plan, Planner, Reply, Visit};
use crate::ports::{
    Clock, Commit, DecisionPublisher, Outgoing, ParkingLot, PublishError, ReadAnswer, ReadRequest, ScoreError, Scorer,
    StateStore, StoreError, Versioned, Write,
};
use crate::report::BatchReport;
use crate::settlement::{self, Knowledge, Proof, Times};

/// Bounds of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How far an event may be behind the user's newest one before it is `late`.
    pub allowed_lateness: Duration,
    /// How often a partition's settled mark is noted and the marks of the others are read. An environment knows at once what its
    /// own batches prove; the note is for the others.
    pub settled_interval: Duration,
    /// The same while some user's ring is growing.
    pub settled_interval_eager: Duration,
    /// What a ring keeps.
    pub ring: RingSize,
    /// Deliveries after which a record is parked whose user's item cannot be read.
    pub unreadable_deliveries: u8,
    /// Longest pause before a batch is given back of which nothing could be done because something refuses, a grant or a key: such
    /// an answer comes at once, and would use the mapping's attempts up in minutes. The real one is a random part of it.
    pub refused_pause: Duration,
    /// A ring with more unproved decisions than this is growing.
    pub ring_growing_above: usize,
    /// Attempts at one user's write in one batch, the first included.
    pub commit_attempts: u32,
    /// Longest pause between such attempts; the real one is a random part of it.
    pub commit_pause: Duration,
    /// A batch with more users than this works off a backlog and goes in rounds; the others are read and written at once, for a
    /// round costs the time of a read and a write.
    pub users_at_once: usize,
    /// Users that are read, decided and written in a round: the fewer are between their read and their write at a time, the fewer
    /// races environments lose to each other. As many as one call of the store writes.
    pub users_in_a_round: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allowed_lateness: Duration::from_secs(24 * 3600),
            settled_interval: Duration::from_secs(5),
            settled_interval_eager: Duration::from_millis(500),
            ring: RingSize::DEFAULT,
            unreadable_deliveries: 8,
            refused_pause: Duration::from_secs(4),
            ring_growing_above: 8,
            commit_attempts: 4,
            commit_pause: Duration::from_millis(10),
            users_at_once: 50,
            users_in_a_round: const { NonZeroUsize::new(25).unwrap() },
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
    /// Bounds.
    pub limits: Limits,
}

/// Until when a batch has time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// After this nothing new is started.
    pub work: Millis,
    /// Until this it is noted what could not be done.
    pub answer: Millis,
}

/// The whole batch must be delivered again.
#[derive(Debug, thiserror::Error)]
pub enum Crash {
    /// A record that cannot be reported alone could not be parked.
    #[error("a record without a readable offset could not be parked")]
    Unreportable(#[source] PublishError),
    /// Records are unsettled and this could not be noted, so no partial answer would be safe.
    #[error("unsettled records could not be noted")]
    HoldsNotNoted(#[source] StoreError),
    /// The model failed.
    #[error(transparent)]
    Score(#[from] ScoreError),
}

impl Crash {
    fn is_refusal(&self) -> bool {
        match self {
            Self::Unreportable(problem) => problem.is_refusal(),
            Self::HoldsNotNoted(problem) => problem.is_refusal(),
            Self::Score(_) => false,
        }
    }
}

/// The decision protocol with its ports.
#[derive(Debug)]
pub struct Engine<S, T, K, P, M, C> {
    store: S,
    topics: T,
    stream: K,
    parking: P,
    scorer: M,
    clock: C,
    key: DeploymentKey,
    default_currency: Currency,
    limits: Limits,
    knowledge: Mutex<Knowledge>,
}

/// A user and which works are the user's, in partition and offset order.
type UserWorks = (UserId, Vec<usize>);

/// A batch on its way.
struct Batch {
    slices: Vec<Slice>,
    works: Vec<Work>,
    deadline: Deadline,
    to_park: Vec<ToPark>,
    unsettled: BTreeSet<Position>,
    reported: Reported,
    report: BatchReport,
    devices: Devices,
    /// Proved settled, as this batch knows it.
    settled: Settled,
    /// How often records have been reported because their user's item could not be read.
    unreadable_before: HashMap<Position, u8>,
    /// Something refused to do its part.
    refused: bool,
}

impl Batch {
    fn give_back(&mut self, works: impl IntoIterator<Item = usize>) {
        for index in works {
            self.unsettled.insert(self.works[index].position());
        }
    }

    fn park(&mut self, index: usize, code: ParkReason, reason: String, now: Millis) {
        let work = &self.works[index];
        let key = &self.slices[work.partition_index].key;
        let topic = key.rsplit_once('-').map_or(key.as_str(), |(topic, _)| topic);
        self.to_park.push(work.park(topic, code, reason, now));
    }
}

impl<S, T, K, P, M, C> Engine<S, T, K, P, M, C>
where
    S: StateStore,
    T: DecisionPublisher,
    K: DecisionPublisher,
    P: ParkingLot,
    M: Scorer,
    C: Clock,
{
    /// Puts the protocol together: `topics` and `stream` both get every decision.
    pub fn new(store: S, topics: T, stream: K, parking: P, scorer: M, clock: C, settings: Settings) -> Self {
        let Settings { key, default_currency, limits } = settings;
        Self {
            store,
            topics,
            stream,
            parking,
            scorer,
            clock,
            key,
            default_currency,
            limits,
            knowledge: Mutex::default(),
        }
    }

    /// Handles a batch: every record ends as a decision, as a parked record, or in the response to be delivered again.
    ///
    /// An error means that the whole batch must be delivered again.
    pub async fn process(&self, batch: KafkaBatch, deadline: Deadline) -> Result<BatchReport, Crash> {
        let answered = self.answer(batch, deadline).await;
        let is_hopeless = match &answered {
            Ok((report, refused)) => *refused && report.unsettled == report.records,
            Err(crash) => crash.is_refusal(),
        };
        if is_hopeless {
            let left_ms = deadline.answer.since(self.clock.now()).max(0) as u64;
            self.clock.pause(self.limits.refused_pause.min(Duration::from_millis(left_ms))).await;
        }
        answered.map(|(report, _)| report)
    }

    /// The report, and whether something refused to do its part.
    async fn answer(&self, batch: KafkaBatch, deadline: Deadline) -> Result<(BatchReport, bool), Crash> {
        let Intake { slices, works, to_park, records } =
            take_in(batch, &self.key, self.default_currency, self.clock.now());
        let mut batch = Batch {
            slices,
            works,
            deadline,
            to_park,
            unsettled: BTreeSet::new(),
            reported: Reported::default(),
            report: BatchReport { records, ..BatchReport::default() },
            devices: Devices::default(),
            settled: Settled::default(),
            unreadable_before: HashMap::new(),
            refused: false,
        };
        let users = users_in_order(&batch.works);
        let mut rounds = self.rounds(&users);
        let first = rounds.next().unwrap_or_default();
        let partitions = self.partitions_to_read(&batch);
        let mut answer = self.read(first, partitions, &mut batch).await;
        let mut proof = self.prove(&batch.slices, &mut answer);
        batch.unreadable_before = std::mem::take(&mut proof.unreadable);
        batch.report.holds_retired = proof.retired;
        let mut plans = self.commit(first, answer, std::mem::take(&mut proof.notes), &mut batch).await?;
        for users in rounds {
            let answer = self.read(users, BTreeSet::new(), &mut batch).await;
            plans.extend(self.commit(users, answer, Vec::new(), &mut batch).await?);
        }
        let publish_us = self.clock.monotonic_us();
        self.publish(plans, &mut batch).await;
        self.park(&mut batch).await?;
        self.ask_about_holds(&proof, &mut batch).await;
        let Batch { slices, works, unsettled, reported, .. } = &batch;
        let about = holds::Answer { slices, works, unsettled, reported, proof: &proof };
        holds::update(&self.store, &self.clock, about, deadline.answer).await.map_err(Crash::HoldsNotNoted)?;
        batch.report.stages.publish_us = self.clock.monotonic_us() - publish_us;

        let mut report = batch.report;
        report.unsettled = batch.unsettled.len();
        report.response = KafkaBatchResponse {
            failures: batch
                .unsettled
                .iter()
                .map(|&(index, offset)| (batch.slices[index].key.clone(), offset))
                .collect(),
        };
        Ok((report, batch.refused))
    }

    fn rounds<'a>(&self, users: &'a [UserWorks]) -> Chunks<'a, UserWorks> {
        let Limits { users_at_once, users_in_a_round, .. } = self.limits;
        users.chunks(if users.len() <= users_at_once { users.len().max(1) } else { users_in_a_round.get() })
    }

    fn with_knowledge<R>(&self, work: impl FnOnce(&mut Knowledge) -> R) -> R {
        // A panic elsewhere leaves only marks that were proved, so the knowledge stays good.
        work(&mut self.knowledge.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The batch's own, those of redriven records' first places, and now and then all that are known.
    fn partitions_to_read(&self, batch: &Batch) -> BTreeSet<u32> {
        let now = self.clock.now();
        let first_places = batch.works.iter().filter(|work| work.redriven()).map(|work| work.source.partition);
        let mut wanted: BTreeSet<u32> = batch.slices.iter().map(|slice| slice.partition).chain(first_places).collect();
        self.with_knowledge(|knowledge| {
            if now.since(knowledge.refreshed_at) >= self.limits.settled_interval.as_millis() as i64 {
                knowledge.refreshed_at = now;
                wanted.extend(&knowledge.partitions);
            }
        });
        wanted
    }

    /// Reads users, the devices of their transactions, and settled marks.
    async fn read(&self, users: &[UserWorks], partitions: BTreeSet<u32>, batch: &mut Batch) -> ReadAnswer {
        let started_us = self.clock.monotonic_us();
        let works = users.iter().flat_map(|(_, works)| works).map(|&index| &batch.works[index]);
        let devices: BTreeSet<&DeviceId> = works.map(|work| &work.transaction.device_id).collect();
        let request = ReadRequest {
            users: users.iter().map(|(user, _)| user.clone()).collect(),
            devices: devices.into_iter().filter(|device| !batch.devices.is_read(device)).cloned().collect(),
            partitions: partitions.into_iter().collect(),
        };
        let answer = self.store.read(request, batch.deadline.work).await;
        batch.report.stages.read_us += self.clock.monotonic_us() - started_us;
        if let Some(problem) = &answer.problem {
            warn!(error = problem as &dyn std::error::Error, "part of the state was not read");
            batch.refused |= problem.is_refusal();
        }
        self.with_knowledge(|knowledge| knowledge.learn(&answer));
        answer
    }

    fn prove(&self, slices: &[Slice], answer: &mut ReadAnswer) -> Proof {
        let now = self.clock.now();
        let Limits { settled_interval, settled_interval_eager, ring, .. } = self.limits;
        self.with_knowledge(|knowledge| {
            let interval = if knowledge.eager { settled_interval_eager } else { settled_interval };
            let times =
                Times { now, interval_ms: interval.as_millis() as i64, delivered_within_ms: ring.delivered_within_ms };
            settlement::prove(knowledge, slices, answer, times)
        })
    }

    /// Plans and writes users that were read, and `notes` beside them; after a lost race the loser is planned again from the item
    /// that won. Returns the plans that hold: what they say may be published.
    async fn commit(
        &self,
        users: &[UserWorks],
        answer: ReadAnswer,
        notes: Vec<Write<u32, SettledItem>>,
        batch: &mut Batch,
    ) -> Result<Vec<Plan>, Crash> {
        batch.settled = self.with_knowledge(|knowledge| knowledge.settled.clone());
        let mut jobs = self.take_jobs(users, answer, batch);
        let mut held = Vec::new();
        let mut notes = Some(notes);
        for attempt in 1..=self.limits.commit_attempts {
            if jobs.is_empty() {
                break;
            }
            let decide_us = self.clock.monotonic_us();
            let plans = self.plan(std::mem::take(&mut jobs), batch)?;
            let commit_us = self.clock.monotonic_us();
            batch.report.stages.decide_us += commit_us - decide_us;
            let (mut to_write, unchanged): (Vec<Plan>, Vec<Plan>) =
                plans.into_iter().partition(|plan| plan.write.is_some());
            held.extend(unchanged.into_iter().map(|plan| learned(plan, &mut batch.devices)));
            if self.clock.now() >= batch.deadline.work {
                for plan in to_write {
                    batch.give_back(plan.works);
                }
                break;
            }
            let writes = to_write.iter_mut().filter_map(|plan| plan.write.take()).collect();
            let (commits, dropped) = join(
                self.store.commit_users(writes, batch.deadline.work),
                self.note_marks(notes.take().unwrap_or_default(), batch.deadline.work),
            )
            .await;
            batch.report.settled_notes_dropped += dropped;
            for (plan, commit) in to_write.into_iter().zip(commits) {
                match commit {
                    Commit::Done => held.push(learned(plan, &mut batch.devices)),
                    Commit::Lost(winner) => {
                        batch.report.conflicts += 1;
                        jobs.extend(self.after_lost_race(plan, winner, batch).await);
                    }
                    Commit::Failed(problem) => {
                        warn!(error = &problem as &dyn std::error::Error, "a user's state was not written");
                        batch.refused |= problem.is_refusal();
                        batch.give_back(plan.works);
                    }
                }
            }
            if !jobs.is_empty() && attempt < self.limits.commit_attempts {
                self.clock.pause(self.limits.commit_pause).await;
            }
            batch.report.stages.commit_us += self.clock.monotonic_us() - commit_us;
        }
        // Still here when the batch had no user to write, as one of only bad records.
        let left = notes.unwrap_or_default();
        batch.report.settled_notes_dropped += self.note_marks(left, batch.deadline.work).await;
        for job in jobs {
            batch.give_back(job.works);
        }
        Ok(held)
    }

    fn plan(&self, jobs: Vec<Job>, batch: &mut Batch) -> Result<Vec<Plan>, Crash> {
        let planner = Planner {
            scorer: &self.scorer,
            works: &batch.works,
            settled: &batch.settled,
            ring: self.limits.ring,
            allowed_lateness_ms: self.limits.allowed_lateness.as_millis() as i64,
            decided_at: self.clock.now(),
        };
        let plans = planner.plan(jobs, &batch.devices)?;
        self.with_knowledge(|knowledge| {
            knowledge.eager = plans.iter().any(|plan| plan.unproved > self.limits.ring_growing_above);
            knowledge.partitions.extend(plans.iter().flat_map(|plan| &plan.waits_for));
        });
        Ok(plans)
    }

    async fn note_marks(&self, notes: Vec<Write<u32, SettledItem>>, deadline: Millis) -> usize {
        let writes = notes.into_iter().map(|note| self.store.commit_settled(note, deadline));
        let outcomes = futures::future::join_all(writes).await;
        // Whoever was first noted at least as much; the next batch notes again.
        outcomes.iter().filter(|outcome| matches!(outcome, Commit::Failed(_))).count()
    }

    async fn after_lost_race(
        &self,
        plan: Plan,
        winner: Option<Versioned<StoredUser>>,
        batch: &mut Batch,
    ) -> Option<Job> {
        let Plan { user, works, .. } = plan;
        if winner.is_some() {
            return Some(Job { user, works, base: winner });
        }
        match self.store.read_user(&user, batch.deadline.work).await {
            Ok(base) => Some(Job { user, works, base }),
            Err(problem) => {
                warn!(error = &problem as &dyn std::error::Error, "a user's state was not read after a lost race");
                batch.give_back(works);
                None
            }
        }
    }

    /// Publishes what the plans say, and settles or gives back each of their records.
    async fn publish(&self, mut plans: Vec<Plan>, batch: &mut Batch) {
        let mut out: Vec<Outgoing> = Vec::new();
        let mut place_of_decision = HashMap::new();
        for answer in plans.iter_mut().flat_map(|plan| &mut plan.answers) {
            if let Some(decision) = answer.outgoing.take() {
                place_of_decision.entry(batch.works[answer.index].decision_id).or_insert_with(|| {
                    out.push(decision);
                    out.len() - 1
                });
            }
        }
        let learned = std::mem::take(&mut batch.devices.learned);
        let seen = std::mem::take(&mut batch.devices.seen);
        let ((published, refused), dropped) = join(
            self.publish_everywhere(&out, batch.deadline.work),
            self.write_devices(learned, seen, batch.deadline.work),
        )
        .await;
        batch.refused |= refused;
        batch.report.device_notes_dropped += dropped;
        let now = self.clock.now();
        for plan in plans {
            let is_published = |answer: &Answer| {
                let decision_id = batch.works[answer.index].decision_id;
                place_of_decision.get(&decision_id).is_none_or(|&place| published[place])
            };
            let settled = plan.answers.iter().position(|answer| !is_published(answer)).unwrap_or(plan.answers.len());
            for answer in &plan.answers[..settled] {
                match answer.reply {
                    Reply::Undecidable => self.park_undecidable(answer.index, batch, now),
                    Reply::OtherContent => self.park_other_content(answer.index, batch, now),
                    Reply::New | Reply::Replay | Reply::Stale => {
                        count(&mut batch.report, answer, &batch.works[answer.index], now);
                    }
                }
            }
            for answer in &plan.answers[settled..] {
                let position = batch.works[answer.index].position();
                batch.unsettled.insert(position);
                batch.reported.unpublished.extend(answer.stands_at.map(|mark| (position, mark)));
            }
            if let Some(full_from) = plan.full_from {
                warn!(unproved = plan.unproved, "a user's ring is full of unpublished decisions");
                batch.report.full_rings += 1;
                batch.give_back(plan.works[full_from..].iter().copied());
            }
        }
    }

    fn park_undecidable(&self, index: usize, batch: &mut Batch, now: Millis) {
        let work = &batch.works[index];
        let reason = format!(
            "the mapping gave this record up at offset {} of partition {}, and the user's newer decisions have passed that place: \
             whether it was decided cannot be told any more; look for decision {} on the decision topics",
            work.source.offset, work.source.partition, work.decision_id
        );
        batch.park(index, ParkReason::BadFirstCoordinates, reason, now);
    }

    fn park_other_content(&self, index: usize, batch: &mut Batch, now: Millis) {
        let reason = format!(
            "this transaction_id of this user was decided before with another amount, currency, merchant or device, as decision {}: \
             this record is not answered; send it with an id of its own if it is another transaction",
            batch.works[index].decision_id
        );
        batch.report.id_conflicts += 1;
        batch.park(index, ParkReason::TransactionIdReused, reason, now);
    }

    /// Settles the holds that the batch started above, as far as the rings of their users know what became of them. What is left
    /// trips the wire. The proof itself waits for the next batch.
    async fn ask_about_holds(&self, proof: &Proof, batch: &mut Batch) {
        let Deadline { work: deadline, answer: answer_by } = batch.deadline;
        for (partition, above) in &proof.above {
            if self.clock.now() >= deadline {
                return;
            }
            let start = self.with_knowledge(|knowledge| knowledge.next_to_ask);
            let asked: Vec<_> = holds::in_turn(above, start).collect();
            self.with_knowledge(|knowledge| knowledge.next_to_ask = start.wrapping_add(asked.len()));
            let asking = asked.iter().map(|hold| holds::ask(&self.store, *partition, hold, &batch.settled, deadline));
            let fates = futures::future::join_all(asking).await;
            let mut settled = Vec::new();
            let mut out = Vec::new();
            let mut published_at = Vec::new();
            let mut unknown = 0;
            for (hold, fate) in asked.into_iter().zip(fates) {
                match fate {
                    Fate::Settled => settled.push(hold.at),
                    Fate::Decided(decision) => {
                        out.push(*decision);
                        published_at.push(hold.at);
                    }
                    Fate::Unknown => unknown += 1,
                }
            }
            let (published, _) = self.publish_everywhere(&out, deadline).await;
            settled.extend(published_at.into_iter().zip(published).filter_map(|(at, done)| done.then_some(at)));
            if !settled.is_empty() {
                holds::take_off(&self.store, *partition, &settled, answer_by).await;
            }
            batch.report.holds_settled += settled.len();
            batch.report.order_tripwire += usize::from(unknown > 0);
        }
    }

    /// Whether each decision is acknowledged by both places, and whether one was refused.
    async fn publish_everywhere(&self, out: &[Outgoing], deadline: Millis) -> (Vec<bool>, bool) {
        if out.is_empty() {
            return (Vec::new(), false);
        }
        let (topics, stream) = join(self.topics.publish(out, deadline), self.stream.publish(out, deadline)).await;
        let mut refused = false;
        let published = topics
            .iter()
            .zip(&stream)
            .map(|(topic, stream)| {
                for problem in [topic, stream].into_iter().filter_map(|result| result.as_ref().err()) {
                    warn!(error = problem as &dyn std::error::Error, "a decision was not published");
                    refused |= problem.is_refusal();
                }
                topic.is_ok() && stream.is_ok()
            })
            .collect();
        (published, refused)
    }

    /// Writes what the devices learned; returns how many notes were dropped. A dropped note comes again with the user's next
    /// transaction on the device, because the device's item still does not know the user.
    async fn write_devices(
        &self,
        learned: BTreeMap<DeviceId, (Option<u64>, DeviceState)>,
        seen: Vec<Visit>,
        deadline: Millis,
    ) -> usize {
        if learned.is_empty() {
            return 0;
        }
        let writes: Vec<_> = learned.into_iter().map(|(key, (expected, item))| Write { key, expected, item }).collect();
        let keys: Vec<DeviceId> = writes.iter().map(|write| write.key.clone()).collect();
        let commits = self.store.commit_devices(writes, deadline).await;
        let mut again = Vec::new();
        let mut dropped = 0;
        for (key, commit) in keys.into_iter().zip(commits) {
            match commit {
                Commit::Done => {}
                Commit::Lost(Some(mut winner)) => {
                    let here = seen.iter().filter(|visit| visit.device == key);
                    let changed =
                        here.fold(false, |changed, visit| winner.item.observe(visit.user, visit.at) | changed);
                    if changed {
                        again.push(Write { key, expected: Some(winner.version), item: winner.item });
                    }
                }
                Commit::Lost(None) | Commit::Failed(_) => dropped += 1,
            }
        }
        if !again.is_empty() {
            let commits = self.store.commit_devices(again, deadline).await;
            dropped += commits.iter().filter(|commit| !matches!(commit, Commit::Done)).count();
        }
        dropped
    }

    /// Parks what can never be decided, last of all: a batch that fails as a whole comes again, and its bad records with it. What
    /// this environment parked before is not parked once more.
    async fn park(&self, batch: &mut Batch) -> Result<(), Crash> {
        let place = |record: &ToPark| {
            let Parked { partition, offset, timestamp, .. } = record.parked;
            offset.map(|offset| (partition, Mark { offset, timestamp: timestamp.unwrap_or_default() }))
        };
        let mut to_park = std::mem::take(&mut batch.to_park);
        self.with_knowledge(|knowledge| {
            to_park.retain(|record| !place(record).is_some_and(|(partition, at)| knowledge.has_parked(partition, at)));
        });
        if to_park.is_empty() {
            return Ok(());
        }
        let places: Vec<_> = to_park.iter().map(place).collect();
        let (records, positions): (Vec<Parked>, Vec<Option<Position>>) =
            to_park.into_iter().map(|record| (record.parked, record.position)).unzip();
        let outcomes = self.parking.park(&records, batch.deadline.work).await;
        for ((outcome, position), place) in outcomes.into_iter().zip(positions).zip(places) {
            match (outcome, position) {
                (Ok(()), _) => {
                    batch.report.parked += 1;
                    self.with_knowledge(|knowledge| {
                        place.into_iter().for_each(|(partition, at)| knowledge.remember_parked(partition, at));
                    });
                }
                (Err(problem), Some(position)) => {
                    warn!(error = &problem as &dyn std::error::Error, "a record was not parked");
                    batch.refused |= problem.is_refusal();
                    batch.unsettled.insert(position);
                    batch.reported.unparked.insert(position);
                }
                (Err(problem), None) => return Err(Crash::Unreportable(problem)),
            }
        }
        Ok(())
    }

    fn take_jobs(&self, users: &[UserWorks], mut answer: ReadAnswer, batch: &mut Batch) -> Vec<Job> {
        batch.devices.known.extend(answer.devices);
        batch.devices.unread.extend(answer.unread_devices);
        let mut jobs = Vec::with_capacity(users.len());
        for (user, works) in users {
            if answer.unreadable_users.contains(user) {
                self.contain_unreadable(works, batch);
            } else if answer.unread_users.contains(user) {
                batch.give_back(works.iter().copied());
            } else {
                let base = answer.users.remove(user);
                jobs.push(Job { user: user.clone(), works: works.clone(), base });
            }
        }
        jobs
    }

    /// An item that cannot be read stops its user and not the partition: after some deliveries its records are parked.
    fn contain_unreadable(&self, works: &[usize], batch: &mut Batch) {
        batch.report.state_unreadable += works.len();
        for &index in works {
            let position = batch.works[index].position();
            let deliveries = batch.unreadable_before.get(&position).map_or(1, |before| before.saturating_add(1));
            if deliveries < self.limits.unreadable_deliveries {
                batch.unsettled.insert(position);
                batch.reported.unreadable.insert(position);
            } else {
                let reason = format!(
                    "the stored item of the record's user cannot be read, after {deliveries} deliveries: repair the item, then drive \
                     the record again"
                );
                batch.park(index, ParkReason::StateUnreadable, reason, self.clock.now());
            }
        }
    }
}

/// The plan holds, so the devices learn of it.
fn learned(mut plan: Plan, devices: &mut Devices) -> Plan {
    devices.learn(std::mem::take(&mut plan.visits));
    plan
}

/// Works by user, each user's in partition and offset order.
fn users_in_order(works: &[Work]) -> Vec<UserWorks> {
    let mut users: BTreeMap<&UserId, Vec<usize>> = BTreeMap::new();
    for (index, work) in works.iter().enumerate() {
        users.entry(&work.transaction.user_id).or_default().push(index);
    }
    let mut users: Vec<UserWorks> = users.into_iter().map(|(user, works)| (user.clone(), works)).collect();
    for (_, indexes) in &mut users {
        indexes.sort_by_key(|&index| (works[index].delivered.partition, works[index].delivered.offset));
    }
    users
}

fn count(report: &mut BatchReport, answer: &Answer, work: &Work, now: Millis) {
    match answer.reply {
        Reply::Replay => report.replayed += 1,
        Reply::Stale => report.stale += 1,
        Reply::Undecidable | Reply::OtherContent => {}
        Reply::New => {
            report.decided += 1;
            report.late += usize::from(answer.late);
            report.ahead += usize::from(answer.ahead);
            report.degraded += usize::from(answer.degraded);
            report.latencies_ms.push(now.since(work.delivered.timestamp).clamp(0, i64::from(u32::MAX)) as u32);
            match answer.outcome {
                Some(Outcome::Approved) => report.approved += 1,
                Some(Outcome::Review) => report.review += 1,
                Some(Outcome::Blocked) => report.blocked += 1,
                None => {}
            }
        }
    }
}
