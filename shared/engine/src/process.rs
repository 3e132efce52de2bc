//! A batch from its records to its answer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::slice::Chunks;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use centinela_contracts::batch_response::KafkaBatchResponse;
use centinela_contracts::kafka_event::KafkaBatch;
use centinela_contracts::parked_v1::{ParkReason, Parked};
use centinela_contracts::settled::SettledItem;
use centinela_contracts::stored_user::StoredUser;
use centinela_domain::ledger::Settled;
use centinela_domain::{DeviceId, Millis, Outcome, UserId};
use futures::future::{join, join3};
use tracing::warn;

use crate::holds::{self, Fate};
use crate::intake::{Intake, Position, Slice, ToPark, Work, park, take_in};
use crate::plan::{Answer, Devices, Job, Plan, Planner, Reply};
use crate::ports::{
    Clock, Commit, DecisionPublisher, Outgoing, ParkingLot, PublishError, ReadAnswer, ReadRequest, ScoreError, Scorer,
    StateStore, StoreError, Versioned, Write,
};
use crate::report::BatchReport;
use crate::settlement::{self, Knowledge, Proof};

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
            ring_growing_above: 8,
            commit_attempts: 4,
            commit_pause: Duration::from_millis(10),
            users_at_once: 50,
            users_in_a_round: const { NonZeroUsize::new(25).unwrap() },
        }
    }
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

/// The decision protocol with its ports.
#[derive(Debug)]
pub struct Engine<S, T, K, P, M, C> {
    store: S,
    topics: T,
    stream: K,
    parking: P,
    scorer: M,
    clock: C,
    limits: Limits,
    knowledge: Mutex<Knowledge>,
}

/// A user and which works are the user's, in partition and offset order.
type UserWorks = (UserId, Vec<usize>);

/// A batch on its way.
struct Batch {
    works: Vec<Work>,
    deadline: Millis,
    unsettled: BTreeSet<Position>,
    report: BatchReport,
    devices: Devices,
    /// Proved settled, as this batch knows it.
    settled: Settled,
}

impl Batch {
    fn give_back(&mut self, works: impl IntoIterator<Item = usize>) {
        for index in works {
            self.unsettled.insert(self.works[index].position());
        }
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
    pub fn new(store: S, topics: T, stream: K, parking: P, scorer: M, clock: C, limits: Limits) -> Self {
        Self { store, topics, stream, parking, scorer, clock, limits, knowledge: Mutex::default() }
    }

    /// Handles a batch: every record ends as a decision, as a parked record, or in the response to be delivered again.
    ///
    /// After `deadline` nothing new is started. An error means that the whole batch must be delivered again.
    pub async fn process(&self, batch: KafkaBatch, deadline: Millis) -> Result<BatchReport, Crash> {
        let Intake { slices, works, to_park, records } = take_in(batch, self.clock.now());
        let mut batch = Batch {
            works,
            deadline,
            unsettled: BTreeSet::new(),
            report: BatchReport { records, ..BatchReport::default() },
            devices: Devices::default(),
            settled: Settled::default(),
        };
        let users = users_in_order(&batch.works);
        let mut rounds = self.rounds(&users);
        let first = rounds.next().unwrap_or_default();
        let parking = self.park(to_park, deadline);
        let partitions = self.partitions_to_read(&slices);
        let (mut answer, parked) = join(self.read(first, partitions, &mut batch), parking).await;
        settle_parked(parked, &mut batch)?;
        let proof = self.prove(&slices, &mut answer);
        let mut plans = self.commit(first, answer, proof.notes.clone(), &mut batch).await?;
        for users in rounds {
            let answer = self.read(users, BTreeSet::new(), &mut batch).await;
            plans.extend(self.commit(users, answer, Vec::new(), &mut batch).await?);
        }
        let publish_us = self.clock.monotonic_us();
        let keys: Vec<&str> = slices.iter().map(|slice| slice.key.as_str()).collect();
        self.publish(plans, &keys, &mut batch).await?;
        self.ask_about_holds(&proof, &mut batch).await;
        holds::update(&self.store, &self.clock, &slices, &batch.works, &batch.unsettled, &proof)
            .await
            .map_err(Crash::HoldsNotNoted)?;
        batch.report.stages.publish_us = self.clock.monotonic_us() - publish_us;

        let mut report = batch.report;
        report.unsettled = batch.unsettled.len();
        report.response = KafkaBatchResponse {
            failures: batch.unsettled.iter().map(|&(index, offset)| (slices[index].key.clone(), offset)).collect(),
        };
        Ok(report)
    }

    fn rounds<'a>(&self, users: &'a [UserWorks]) -> Chunks<'a, UserWorks> {
        let Limits { users_at_once, users_in_a_round, .. } = self.limits;
        users.chunks(if users.len() <= users_at_once { users.len().max(1) } else { users_in_a_round.get() })
    }

    fn with_knowledge<R>(&self, work: impl FnOnce(&mut Knowledge) -> R) -> R {
        // A panic elsewhere leaves only marks that were proved, so the knowledge stays good.
        work(&mut self.knowledge.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The batch's own, and now and then all that are known.
    fn partitions_to_read(&self, slices: &[Slice]) -> BTreeSet<u32> {
        let now = self.clock.now();
        let mut wanted: BTreeSet<u32> = slices.iter().map(|slice| slice.partition).collect();
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
        let devices: HashSet<&DeviceId> = works.map(|work| &work.transaction.device_id).collect();
        let request = ReadRequest {
            users: users.iter().map(|(user, _)| user.clone()).collect(),
            devices: devices.into_iter().filter(|device| !batch.devices.is_read(device)).cloned().collect(),
            partitions: partitions.into_iter().collect(),
        };
        let answer = self.store.read(request, batch.deadline).await;
        batch.report.stages.read_us += self.clock.monotonic_us() - started_us;
        if let Some(problem) = &answer.problem {
            warn!(error = problem as &dyn std::error::Error, "part of the state was not read");
        }
        self.with_knowledge(|knowledge| knowledge.learn(&answer));
        answer
    }

    fn prove(&self, slices: &[Slice], answer: &mut ReadAnswer) -> Proof {
        let now = self.clock.now();
        self.with_knowledge(|knowledge| {
            let interval =
                if knowledge.eager { self.limits.settled_interval_eager } else { self.limits.settled_interval };
            settlement::prove(knowledge, slices, answer, now, interval.as_millis() as i64)
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
        let mut jobs = take_jobs(users, answer, batch);
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
            held.extend(unchanged);
            if self.clock.now() >= batch.deadline {
                for plan in to_write {
                    batch.give_back(plan.works);
                }
                break;
            }
            let writes = to_write.iter_mut().filter_map(|plan| plan.write.take()).collect();
            let (commits, dropped) = join(
                self.store.commit_users(writes, batch.deadline),
                self.note_marks(notes.take().unwrap_or_default()),
            )
            .await;
            batch.report.settled_notes_dropped += dropped;
            for (plan, commit) in to_write.into_iter().zip(commits) {
                match commit {
                    Commit::Done => held.push(plan),
                    Commit::Lost(winner) => {
                        batch.report.conflicts += 1;
                        jobs.extend(self.after_lost_race(plan, winner, batch).await);
                    }
                    Commit::Failed(problem) => {
                        warn!(error = &problem as &dyn std::error::Error, "a user's state was not written");
                        batch.give_back(plan.works);
                    }
                }
            }
            if !jobs.is_empty() && attempt < self.limits.commit_attempts {
                self.clock.pause(self.limits.commit_pause).await;
            }
            batch.report.stages.commit_us += self.clock.monotonic_us() - commit_us;
        }
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
            allowed_lateness_ms: self.limits.allowed_lateness.as_millis() as i64,
            decided_at: self.clock.now(),
        };
        let plans = planner.plan(jobs, &mut batch.devices)?;
        self.with_knowledge(|knowledge| {
            knowledge.eager = plans.iter().any(|plan| plan.unproved > self.limits.ring_growing_above);
            knowledge.partitions.extend(plans.iter().flat_map(|plan| &plan.waits_for));
        });
        Ok(plans)
    }

    async fn note_marks(&self, notes: Vec<Write<u32, SettledItem>>) -> usize {
        let outcomes = futures::future::join_all(notes.into_iter().map(|note| self.store.commit_settled(note))).await;
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
        match self.store.read_user(&user).await {
            Ok(base) => Some(Job { user, works, base }),
            Err(problem) => {
                warn!(error = &problem as &dyn std::error::Error, "a user's state was not read after a lost race");
                batch.give_back(works);
                None
            }
        }
    }

    /// Publishes what the plans say, and settles or gives back each of their records.
    async fn publish(&self, mut plans: Vec<Plan>, keys: &[&str], batch: &mut Batch) -> Result<(), Crash> {
        let mut out: Vec<Outgoing> = Vec::new();
        let mut place_of_decision = HashMap::new();
        let mut undecidable = Vec::new();
        for answer in plans.iter_mut().flat_map(|plan| &mut plan.answers) {
            let work = &batch.works[answer.index];
            if answer.reply == Reply::Undecidable {
                undecidable.extend(undecidable_record(work, keys[work.partition_index], self.clock.now()));
            }
            if let Some(decision) = answer.outgoing.take() {
                place_of_decision.entry(work.decision_id).or_insert_with(|| {
                    out.push(decision);
                    out.len() - 1
                });
            }
        }
        let learned = std::mem::take(&mut batch.devices.learned);
        let seen = std::mem::take(&mut batch.devices.seen);
        let (published, dropped, parked) = join3(
            self.publish_everywhere(&out, batch.deadline),
            self.write_devices(learned, seen, batch.deadline),
            self.park(undecidable, batch.deadline),
        )
        .await;
        batch.report.device_notes_dropped += dropped;
        settle_parked(parked, batch)?;
        let now = self.clock.now();
        for plan in plans {
            let is_published = |answer: &Answer| {
                let decision_id = batch.works[answer.index].decision_id;
                place_of_decision.get(&decision_id).is_none_or(|&place| published[place])
            };
            let settled = plan.answers.iter().position(|answer| !is_published(answer)).unwrap_or(plan.answers.len());
            for answer in &plan.answers[..settled] {
                count(&mut batch.report, answer, &batch.works[answer.index], now);
            }
            batch.give_back(plan.answers[settled..].iter().map(|answer| answer.index));
            if let Some(full_from) = plan.full_from {
                warn!(unproved = plan.unproved, "a user's ring is full of unpublished decisions");
                batch.give_back(plan.works[full_from..].iter().copied());
            }
        }
        Ok(())
    }

    /// Settles the holds that the batch started above, as far as the rings of their users know what became of them. What is left
    /// trips the wire. The proof itself waits for the next batch.
    async fn ask_about_holds(&self, proof: &Proof, batch: &mut Batch) {
        for (partition, above) in &proof.above {
            let asked = if self.clock.now() < batch.deadline { holds::ASKED_AT_ONCE.min(above.len()) } else { 0 };
            let asking = above[..asked].iter().map(|hold| holds::ask(&self.store, *partition, hold, &batch.settled));
            let fates = futures::future::join_all(asking).await;
            let mut settled = Vec::new();
            let mut out = Vec::new();
            let mut published_at = Vec::new();
            let mut unknown = 0;
            for (hold, fate) in above.iter().zip(fates) {
                match fate {
                    Fate::Settled => settled.push(hold.at),
                    Fate::Decided(decision) => {
                        out.push(*decision);
                        published_at.push(hold.at);
                    }
                    Fate::Unknown => unknown += 1,
                }
            }
            let published = self.publish_everywhere(&out, batch.deadline).await;
            settled.extend(published_at.into_iter().zip(published).filter_map(|(at, done)| done.then_some(at)));
            if !settled.is_empty() {
                holds::take_off(&self.store, *partition, &settled).await;
            }
            batch.report.holds_settled += settled.len();
            batch.report.order_tripwire += usize::from(unknown > 0);
        }
    }

    /// Whether each decision is acknowledged by both places.
    async fn publish_everywhere(&self, out: &[Outgoing], deadline: Millis) -> Vec<bool> {
        if out.is_empty() {
            return Vec::new();
        }
        let (topics, stream) = join(self.topics.publish(out, deadline), self.stream.publish(out, deadline)).await;
        topics
            .iter()
            .zip(&stream)
            .map(|(topic, stream)| {
                for problem in [topic, stream].into_iter().filter_map(|result| result.as_ref().err()) {
                    warn!(error = problem as &dyn std::error::Error, "a decision was not published");
                }
                topic.is_ok() && stream.is_ok()
            })
            .collect()
    }

    /// Writes what the devices learned; returns how many notes were dropped. A dropped note comes again with the user's next
    /// transaction on the device, because the device's item still does not know the user.
    async fn write_devices(
        &self,
        learned: HashMap<DeviceId, (Option<u64>, centinela_domain::DeviceState)>,
        seen: Vec<(DeviceId, u32, Millis)>,
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
                    let here = seen.iter().filter(|(device, _, _)| *device == key);
                    let changed = here.fold(false, |changed, &(_, user, at)| winner.item.observe(user, at) | changed);
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

    async fn park(&self, to_park: Vec<ToPark>, deadline: Millis) -> Vec<(Option<Position>, Result<(), PublishError>)> {
        if to_park.is_empty() {
            return Vec::new();
        }
        let (records, positions): (Vec<Parked>, Vec<Option<Position>>) =
            to_park.into_iter().map(|record| (record.parked, record.position)).unzip();
        let outcomes = self.parking.park(&records, deadline).await;
        positions.into_iter().zip(outcomes).collect()
    }
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

fn take_jobs(users: &[UserWorks], mut answer: ReadAnswer, batch: &mut Batch) -> Vec<Job> {
    batch.devices.known.extend(answer.devices);
    batch.devices.unread.extend(answer.unread_devices);
    let mut jobs = Vec::with_capacity(users.len());
    for (user, works) in users {
        if answer.unread_users.contains(user) {
            batch.give_back(works.iter().copied());
        } else {
            let base = answer.users.remove(user);
            jobs.push(Job { user: user.clone(), works: works.clone(), base });
        }
    }
    jobs
}

fn settle_parked(parked: Vec<(Option<Position>, Result<(), PublishError>)>, batch: &mut Batch) -> Result<(), Crash> {
    for (position, outcome) in parked {
        match (outcome, position) {
            (Ok(()), _) => batch.report.parked += 1,
            (Err(problem), Some(position)) => {
                warn!(error = &problem as &dyn std::error::Error, "a record was not parked");
                batch.unsettled.insert(position);
            }
            (Err(problem), None) => return Err(Crash::Unreportable(problem)),
        }
    }
    Ok(())
}

/// Parks a redriven record again, as it was delivered.
fn undecidable_record(work: &Work, key: &str, now: Millis) -> Option<ToPark> {
    let reason = format!(
        "the mapping gave this record up at offset {} of partition {}, and the user's newer decisions have passed that place: whether it \
         was decided cannot be told any more; look for decision {} on the decision topics",
        work.source.offset, work.source.partition, work.decision_id
    );
    let topic = key.rsplit_once('-').map_or(key, |(topic, _)| topic);
    let record = work.original.as_deref()?.clone();
    Some(ToPark {
        parked: *park(record, topic, ParkReason::BadFirstCoordinates, reason, now),
        position: Some(work.position()),
    })
}

fn count(report: &mut BatchReport, answer: &Answer, work: &Work, now: Millis) {
    match answer.reply {
        Reply::Replay => report.replayed += 1,
        Reply::Stale => report.stale += 1,
        Reply::Undecidable => {}
        Reply::New => {
            report.decided += 1;
            report.late += usize::from(answer.late);
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
