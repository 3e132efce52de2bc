//! A batch of actions on its way into profiles.

use std::convert::Infallible;
use std::time::Duration;

use centinela_contracts::dead_letter_v1::DeadLetterReason;
use centinela_contracts::user_action_v1;
use centinela_delivery::{Batch, Causes, Clock, Commit, Rejection, StoreError, UseCase, Versioned, Write};
use centinela_domain::profile::Fact;
use centinela_domain::{Coordinates, Profile, UserId};
use tracing::warn;

use crate::ports::{ProfileAnswer, Profiles};

/// Bounds of the tracking.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Attempts at one user's write in one batch, the first included.
    pub commit_attempts: u32,
    /// Longest pause between such attempts; the real one is a random part of it.
    pub commit_pause: Duration,
    /// How long a record waits for the repair of its user's profile before it is dead-lettered.
    pub repair_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { commit_attempts: 4, commit_pause: Duration::from_millis(10), repair_patience: Duration::from_secs(600) }
    }
}

/// What of an action goes on: whom it is about, and a fact without personal data.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// The user.
    pub user: UserId,
    /// What it says.
    pub fact: Fact,
}

/// Figures of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackReport {
    /// Actions that are in their users' profiles now.
    pub actions: usize,
    /// Profiles that were written.
    pub written: usize,
    /// Profiles that knew everything already and were not written.
    pub unchanged: usize,
    /// Lost races for a profile.
    pub lost_races: usize,
    /// Records whose user's profile cannot be read.
    pub unreadable: usize,
}

/// Takes actions into profiles.
#[derive(Debug)]
pub struct TrackActions<S, C> {
    store: S,
    clock: C,
    limits: Limits,
}

/// A user's actions, with the profile as it was read.
struct Job {
    user: UserId,
    records: Vec<usize>,
    base: Option<Versioned<Profile>>,
}

impl<S: Profiles, C: Clock> UseCase for TrackActions<S, C> {
    type Content = Action;
    type Handled = TrackReport;
    type Report = TrackReport;
    type Error = Infallible;

    fn decode(&self, value: &[u8], source: Coordinates) -> Result<Action, Rejection> {
        let action = user_action_v1::parse(value)?;
        let fact = action.fact(source.timestamp);
        Ok(Action { user: action.user_id, fact })
    }

    async fn handle(&self, batch: &mut Batch<Action>) -> Result<TrackReport, Infallible> {
        let mut report = TrackReport::default();
        let mut jobs = self.take_jobs(batch, &mut report).await;
        for attempt in 1..=self.limits.commit_attempts {
            if jobs.is_empty() || self.clock.now() >= batch.deadline.work {
                break;
            }
            if attempt > 1 {
                self.clock.pause(self.limits.commit_pause).await;
            }
            jobs = self.write(jobs, batch, &mut report).await;
        }
        for job in jobs {
            batch.fail(job.records);
        }
        Ok(report)
    }

    async fn complete(&self, _batch: &mut Batch<Action>, report: TrackReport) -> Result<TrackReport, Infallible> {
        Ok(report)
    }
}

impl<S: Profiles, C: Clock> TrackActions<S, C> {
    /// Puts it together.
    pub fn new(store: S, clock: C, limits: Limits) -> Self {
        Self { store, clock, limits }
    }

    async fn take_jobs(&self, batch: &mut Batch<Action>, report: &mut TrackReport) -> Vec<Job> {
        let groups = batch.by_key(|action| &action.user);
        let users: Vec<UserId> = groups.iter().map(|(user, _)| user.clone()).collect();
        let answer = self.store.read(&users, batch.deadline.work).await;
        let ProfileAnswer { mut found, unread, unreadable, problem } = answer;
        if let Some(problem) = problem {
            warn!(error = %Causes(&problem), "part of the profiles was not read");
            batch.note_refusal(problem.is_refusal());
        }
        let mut jobs = Vec::with_capacity(groups.len());
        for (user, records) in groups {
            if unread.contains(&user) {
                batch.fail(records);
            } else if unreadable.contains(&user) {
                self.await_repair(records, batch, report);
            } else {
                let base = found.remove(&user);
                jobs.push(Job { user, records, base });
            }
        }
        jobs
    }

    /// Writes what is new; returns the users whose profile somebody else has written meanwhile, to be merged with that.
    async fn write(&self, jobs: Vec<Job>, batch: &mut Batch<Action>, report: &mut TrackReport) -> Vec<Job> {
        let (mut writing, mut writes) = (Vec::new(), Vec::new());
        for job in jobs {
            match merged(&job, batch) {
                Some(write) => {
                    writes.push(write);
                    writing.push(job);
                }
                None => {
                    report.unchanged += 1;
                    report.actions += job.records.len();
                }
            }
        }
        let mut again = Vec::new();
        if writes.is_empty() {
            return again;
        }
        let commits = self.store.commit(writes, batch.deadline.work).await;
        for (job, commit) in writing.into_iter().zip(commits) {
            match commit {
                Commit::Done => {
                    report.written += 1;
                    report.actions += job.records.len();
                }
                Commit::Lost(winner) => {
                    report.lost_races += 1;
                    again.extend(self.after_lost_race(job, winner, batch, report).await);
                }
                Commit::Failed(problem) => self.failed(job, &problem, batch, report),
            }
        }
        again
    }

    async fn after_lost_race(
        &self,
        job: Job,
        winner: Option<Versioned<Profile>>,
        batch: &mut Batch<Action>,
        report: &mut TrackReport,
    ) -> Option<Job> {
        if winner.is_some() {
            return Some(Job { base: winner, ..job });
        }
        match self.store.read_profile(&job.user, batch.deadline.work).await {
            Ok(base) => Some(Job { base, ..job }),
            Err(problem) => {
                self.failed(job, &problem, batch, report);
                None
            }
        }
    }

    fn failed(&self, job: Job, problem: &StoreError, batch: &mut Batch<Action>, report: &mut TrackReport) {
        warn!(error = %Causes(problem), "a profile was not written");
        batch.note_refusal(problem.is_refusal());
        match problem {
            StoreError::Corrupt(_) => self.await_repair(job.records, batch, report),
            _ => batch.fail(job.records),
        }
    }

    fn await_repair(&self, records: Vec<usize>, batch: &mut Batch<Action>, report: &mut TrackReport) {
        const REASON: &str = "the user's stored profile cannot be read: repair the item, then redrive this record";
        report.unreadable += records.len();
        let code = DeadLetterReason::StateUnreadable;
        batch.await_repair(records, self.limits.repair_patience, self.clock.now(), code, REASON);
    }
}

/// The profile with the user's actions; none where it knows them all.
fn merged(job: &Job, batch: &Batch<Action>) -> Option<Write<UserId, Profile>> {
    let mut profile = job.base.as_ref().map(|base| base.item.clone()).unwrap_or_default();
    let facts = job.records.iter().map(|&index| batch.records[index].content.fact);
    // All of them, whether or not an earlier one changed something.
    let changed = facts.filter(|fact| profile.apply(*fact)).count() > 0;
    let expected = job.base.as_ref().map(|base| base.version);
    changed.then(|| Write { key: job.user.clone(), expected, item: profile })
}
