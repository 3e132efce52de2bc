//! Lets the faults of a run happen at their moments, each beside the others, and undoes them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;

use super::kinds::{Kind, Kinds};
use super::plan::{Action, plan};
use super::processes::Processes;
use super::schedule::{Course, Reached};
use super::sources::Sources;
use super::surroundings::{ChaosError, Surroundings};
use crate::lake::hours;

/// Length of a round when nobody knows how long the run will be.
const ROUND: Duration = Duration::from_secs(120);
/// Between two compactions of the open hours.
const COMPACT_EVERY: Duration = Duration::from_secs(10);
/// Between two looks at whether a kill is due.
const LOOK: Duration = Duration::from_millis(50);

/// When the faults happen that take a while.
#[derive(Clone, Debug)]
pub(super) enum Moments {
    /// When a seed says, over a run of this length where it is known.
    Drawn { kinds: Kinds, seed: u64, length: Option<Duration> },
    /// So many kills of every function process, evenly.
    Even { kills: u32, course: Course },
}

/// The driver. It goes on until its surroundings are to be calm, and has undone everything when it ends.
pub struct Driver<'a> {
    surroundings: Surroundings<'a>,
    sources: Arc<Sources>,
    moments: Moments,
}

impl<'a> Driver<'a> {
    pub(super) fn new(surroundings: Surroundings<'a>, sources: Arc<Sources>, moments: Moments) -> Self {
        Self { surroundings, sources, moments }
    }

    /// Cancelled when it has to end.
    pub(super) fn calm(&self) -> &CancellationToken {
        &self.surroundings.calm
    }

    /// Does all of it.
    ///
    /// # Errors
    /// The first action that could not be carried out or undone; the others are undone all the same.
    pub(super) async fn run(self) -> Result<(), ChaosError> {
        let processes = Processes::new(&self.surroundings);
        let moments = async {
            match &self.moments {
                Moments::Even { kills, course } => {
                    self.kill_evenly(&processes, *kills, *course).await;
                    Ok(())
                }
                Moments::Drawn { kinds, seed, length } => {
                    self.sources.switch(true);
                    let outcome = self.rounds(&processes, kinds, *seed, *length).await;
                    self.sources.switch(false);
                    outcome
                }
            }
        };
        let over = CancellationToken::new();
        let (outcome, ()) = tokio::join!(
            async {
                let outcome = moments.await;
                over.cancel();
                outcome
            },
            self.compact_now_and_then(&over)
        );
        outcome
    }

    /// Has the open hours of the lake compacted while the faults go on: its own schedule comes once an hour.
    async fn compact_now_and_then(&self, over: &CancellationToken) {
        let Surroundings { platform, lake: Some(lake), calm, .. } = &self.surroundings else { return };
        let mappings = platform.mappings().filter(|(key, _)| key.function == lake.archive);
        let topics: Vec<&str> = mappings.map(|(key, _)| key.topic.as_str()).collect();
        let mut took = Duration::ZERO;
        loop {
            tokio::select! {
                // Longer hours take longer; it must not be all that the machine does.
                () = tokio::time::sleep(COMPACT_EVERY.max(took * 4)) => {}
                () = calm.cancelled() => return,
                () = over.cancelled() => return,
            }
            let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
            let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
            let began = Instant::now();
            // What a fault keeps from it is compacted at the end of the run.
            if let Err(why) = lake.compact(platform, &topics, &hours(now_ms, now_ms)).await {
                tracing::info!(why, "the lake was not compacted while faults went on");
            }
            took = began.elapsed();
        }
    }

    async fn kill_evenly(&self, processes: &Processes<'_>, kills: u32, course: Course) {
        let (started, mut last) = (Instant::now(), Instant::now());
        let mut done = 0;
        while done < kills && !self.surroundings.calm.is_cancelled() {
            self.surroundings.wait(LOOK).await;
            let decided = self.surroundings.tracker.seen().decided;
            let reached = Reached { elapsed: started.elapsed(), since_last: last.elapsed(), decided };
            if course.is_due(done, kills, reached) && processes.kill_all() {
                (done, last) = (done + 1, Instant::now());
            }
        }
    }

    async fn rounds(
        &self,
        processes: &Processes<'_>,
        kinds: &Kinds,
        seed: u64,
        length: Option<Duration>,
    ) -> Result<(), ChaosError> {
        let calm = &self.surroundings.calm;
        let timeout = self.surroundings.scoring.spec().timeout;
        let mut outcome = Ok(());
        let mut round = 0;
        while !calm.is_cancelled() && outcome.is_ok() {
            let started = Instant::now();
            let mut actions = plan(seed.wrapping_add(round), kinds, length.unwrap_or(ROUND), timeout);
            if round > 0 {
                actions.retain(|(_, action)| !matches!(action, Action::Recreate | Action::AddPartitions));
            }
            outcome = self.carry_out(processes, actions, seed ^ round).await;
            if length.is_some() {
                calm.cancelled().await;
            } else {
                self.surroundings.wait(ROUND.saturating_sub(started.elapsed())).await;
            }
            round += 1;
        }
        outcome
    }

    async fn carry_out(
        &self,
        processes: &Processes<'_>,
        actions: Vec<(Duration, Action)>,
        seed: u64,
    ) -> Result<(), ChaosError> {
        let started = Instant::now();
        let calm = &self.surroundings.calm;
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xd21e);
        let mut running = FuturesUnordered::new();
        let mut outcome = Ok(());
        for (at, action) in actions {
            let pick: u64 = rng.random();
            let due = tokio::time::sleep_until((started + at).into());
            tokio::pin!(due);
            loop {
                tokio::select! {
                    biased;
                    () = calm.cancelled() => break,
                    () = &mut due => break,
                    Some(ended) = running.next() => outcome = first_error(outcome, ended),
                }
            }
            if calm.is_cancelled() {
                break;
            }
            tracing::info!(?action, "fault");
            running.push(self.act(processes, action, pick));
        }
        while let Some(ended) = running.next().await {
            outcome = first_error(outcome, ended);
        }
        outcome
    }

    async fn act(&self, processes: &Processes<'_>, action: Action, pick: u64) -> Result<(), ChaosError> {
        let surroundings = &self.surroundings;
        match action {
            Action::Kill { all } => processes.kill(all, pick).await,
            Action::Freeze { lasts } => processes.freeze(lasts, pick).await,
            Action::Pause { pick, lasts } => self.pause(pick, lasts).await,
            Action::Publisher { blocked, lasts } => {
                let topic = &surroundings.decisions[usize::from(blocked)];
                return surroundings.refuse(Kind::Publisher, std::slice::from_ref(topic), lasts).await;
            }
            Action::Outage { lasts } => {
                return surroundings.refuse(Kind::Outage, &surroundings.decisions, lasts).await;
            }
            Action::BrokerRestart { down } => return surroundings.restart_broker(down).await,
            Action::FreezeBroker { lasts } => return surroundings.freeze_broker(lasts).await,
            Action::Recreate => return surroundings.recreate().await,
            Action::AddPartitions => return surroundings.add_partitions().await,
            Action::Reshard { split } => self.reshard(split, pick),
        }
        Ok(())
    }

    /// Splits a shard of the stream that functions read, or merges two.
    fn reshard(&self, split: bool, pick: u64) {
        let Surroundings { platform, tally, .. } = &self.surroundings;
        if platform.reshard(split, pick) {
            tally.happened(Kind::Resharded);
            tally.led_to(Kind::Resharded, 1, if split { "shards split" } else { "pairs of shards merged" });
        }
    }

    /// Leaves a partition of any mapping alone that is not disabled.
    async fn pause(&self, pick: u64, lasts: Duration) {
        let Surroundings { platform, tally, .. } = &self.surroundings;
        let disabled = platform.disabled();
        let mappings: Vec<_> = platform.mappings().filter(|(key, _)| !disabled.contains(&key.function)).collect();
        let Some(place) = usize::try_from(pick >> 8).unwrap_or(0).checked_rem(mappings.len()) else { return };
        let (key, mapping) = mappings[place];
        let partitions = mapping.stats().partitions.max(1) as u64;
        let partition = i32::try_from(pick % partitions).unwrap_or(0);
        tally.happened_to(Kind::Pause, &key.function);
        self.sources.hold_back(key, partition, true);
        self.surroundings.wait(lasts).await;
        tally.led_to(Kind::Pause, mapping.stats().lag, "records behind at the end of it");
        self.sources.hold_back(key, partition, false);
    }
}

/// The first of two; every one is logged.
pub(super) fn first_error(outcome: Result<(), ChaosError>, next: Result<(), ChaosError>) -> Result<(), ChaosError> {
    if let Err(error) = &next {
        tracing::warn!(error = error as &dyn std::error::Error, "a fault could not be carried out");
    }
    outcome.and(next)
}
