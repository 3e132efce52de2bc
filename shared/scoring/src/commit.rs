//! Plans and writes users, and plans again what lost a race.

use centinela_contracts::dead_letter_v1::DeadLetterReason;
use centinela_contracts::stored_partition::StoredPartition;
use centinela_contracts::stored_user::StoredUser;
use centinela_delivery::{Batch, Causes, Clock};
use centinela_domain::Millis;
use futures::future::join;
use tracing::warn;

use crate::plan::{Devices, Job, Plan, Planner};
use crate::ports::{Commit, DecisionState, Marks, Ports, ReadAnswer, Versioned, Write};
use crate::process::{Progress, Scoring, ScoringError, UserWorks};
use crate::work::Decoded;

impl<P: Ports> Scoring<P> {
    /// Plans and writes users that were read, and `notes` beside them; after a lost race the loser is planned again from the item
    /// that won. Returns the plans that hold: what they say may be published.
    pub(crate) async fn commit(
        &self,
        users: &[UserWorks],
        answer: ReadAnswer,
        notes: Vec<Write<u32, StoredPartition>>,
        batch: &mut Batch<Decoded>,
        progress: &mut Progress,
    ) -> Result<Vec<Plan>, ScoringError> {
        progress.committed = self.with_knowledge(|knowledge| knowledge.committed.clone());
        let mut jobs = self.take_jobs(users, answer, batch, progress);
        let mut held = Vec::new();
        let mut notes = Some(notes);
        for attempt in 1..=self.limits.commit_attempts {
            if jobs.is_empty() {
                break;
            }
            let decide_us = self.clock.monotonic_us();
            let plans = self.plan(std::mem::take(&mut jobs), batch, progress)?;
            let commit_us = self.clock.monotonic_us();
            progress.report.stages.decide_us += commit_us - decide_us;
            let (to_write, unchanged): (Vec<Plan>, Vec<Plan>) =
                plans.into_iter().partition(|plan| plan.write.is_some());
            held.extend(unchanged.into_iter().map(|plan| learned(plan, &mut progress.devices)));
            if self.clock.now() >= batch.deadline.work {
                for plan in to_write {
                    batch.fail(plan.works);
                }
                break;
            }
            let notes = notes.take().unwrap_or_default();
            for (plan, commit) in self.write(to_write, notes, batch.deadline.work, progress).await {
                match commit {
                    Commit::Done => held.push(learned(plan, &mut progress.devices)),
                    Commit::Lost(winner) => {
                        progress.report.conflicts += 1;
                        jobs.extend(self.after_lost_race(plan, winner, batch).await);
                    }
                    Commit::Failed(problem) => {
                        warn!(error = %Causes(&problem), "a user's state was not written");
                        batch.note_refusal(problem.is_refusal());
                        batch.fail(plan.works);
                    }
                }
            }
            if !jobs.is_empty() && attempt < self.limits.commit_attempts {
                self.clock.pause(self.limits.commit_pause).await;
            }
            progress.report.stages.commit_us += self.clock.monotonic_us() - commit_us;
        }
        // Still here when the batch had no user to write, as one of only bad records.
        let left = notes.unwrap_or_default();
        progress.report.marks_dropped += self.note_marks(left, batch.deadline.work).await;
        for job in jobs {
            batch.fail(job.works);
        }
        Ok(held)
    }

    async fn write(
        &self,
        mut plans: Vec<Plan>,
        notes: Vec<Write<u32, StoredPartition>>,
        deadline: Millis,
        progress: &mut Progress,
    ) -> Vec<(Plan, Commit<StoredUser>)> {
        let writes = plans.iter_mut().filter_map(|plan| plan.write.take()).collect();
        let (commits, dropped) =
            join(self.store.commit_users(writes, deadline), self.note_marks(notes, deadline)).await;
        progress.report.marks_dropped += dropped;
        plans.into_iter().zip(commits).collect()
    }

    fn plan(&self, jobs: Vec<Job>, batch: &Batch<Decoded>, progress: &Progress) -> Result<Vec<Plan>, ScoringError> {
        let planner = Planner {
            scorer: &self.scorer,
            guard: self.guard.as_ref(),
            background: &progress.background,
            works: &batch.records,
            committed: &progress.committed,
            ring: self.limits.ring,
            allowed_lateness_ms: self.limits.allowed_lateness.as_millis() as i64,
            decided_at: self.clock.now(),
        };
        let plans = planner.plan(jobs, &progress.devices)?;
        self.with_knowledge(|knowledge| {
            knowledge.eager = plans.iter().any(|plan| plan.unproved > self.limits.ring_growing_above);
            knowledge.partitions.extend(plans.iter().flat_map(|plan| &plan.waits_for));
        });
        Ok(plans)
    }

    async fn note_marks(&self, notes: Vec<Write<u32, StoredPartition>>, deadline: Millis) -> usize {
        let writes = notes.into_iter().map(|note| self.store.commit_partition(note, deadline));
        let outcomes = futures::future::join_all(writes).await;
        // Whoever was first wrote at least as much; the next batch writes again.
        outcomes.iter().filter(|outcome| matches!(outcome, Commit::Failed(_))).count()
    }

    async fn after_lost_race(
        &self,
        plan: Plan,
        winner: Option<Versioned<StoredUser>>,
        batch: &mut Batch<Decoded>,
    ) -> Option<Job> {
        let Plan { user, works, .. } = plan;
        if winner.is_some() {
            return Some(Job { user, works, base: winner });
        }
        match self.store.read_user(&user, batch.deadline.work).await {
            Ok(base) => Some(Job { user, works, base }),
            Err(problem) => {
                warn!(error = %Causes(&problem), "a user's state was not read after a lost race");
                batch.fail(works);
                None
            }
        }
    }

    fn take_jobs(
        &self,
        users: &[UserWorks],
        mut answer: ReadAnswer,
        batch: &mut Batch<Decoded>,
        progress: &mut Progress,
    ) -> Vec<Job> {
        let mut jobs = Vec::with_capacity(users.len());
        for (user, works) in users {
            if answer.unreadable_users.contains(user) {
                self.contain_unreadable(works, batch, progress);
            } else if answer.unread_users.contains(user) || self.lacks_a_mark(works, batch, progress) {
                batch.fail(works.iter().copied());
            } else {
                let base = answer.users.remove(user);
                jobs.push(Job { user: user.clone(), works: works.clone(), base });
            }
        }
        jobs
    }

    /// A redriven record is decided with its partition's mark at hand, or not at all: its entry must not take a place below a mark that a
    /// later redrive goes by.
    fn lacks_a_mark(&self, works: &[usize], batch: &Batch<Decoded>, progress: &Progress) -> bool {
        works
            .iter()
            .map(|&index| &batch.records[index])
            .any(|work| work.is_redriven() && progress.unread_partitions.contains(&work.at.partition))
    }

    /// An item that cannot be read stops its user and not the partition: after some deliveries its records are dead-lettered.
    fn contain_unreadable(&self, works: &[usize], batch: &mut Batch<Decoded>, progress: &mut Progress) {
        progress.report.state_unreadable += works.len();
        for &index in works {
            let position = batch.records[index].position();
            let deliveries = progress.unreadable_before.get(&position).map_or(1, |before| before.saturating_add(1));
            if deliveries < self.limits.unreadable_deliveries {
                batch.fail([index]);
                progress.reported.unreadable.insert(position);
            } else {
                let reason = format!(
                    "the stored item of the record's user cannot be read, after {deliveries} deliveries: repair the item, then drive \
                     the record again"
                );
                batch.dead_letter(index, DeadLetterReason::StateUnreadable, reason, self.clock.now());
            }
        }
    }
}

/// The plan holds, so the devices learn of it.
fn learned(mut plan: Plan, devices: &mut Devices) -> Plan {
    devices.learn(std::mem::take(&mut plan.visits));
    plan
}
