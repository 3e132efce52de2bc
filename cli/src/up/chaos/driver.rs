//! Carries out the plan on a running platform, each action beside the others, and undoes it.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use centinela_local::lambda::{EnvironmentInfo, FunctionHost};
use centinela_local::mapping::{KafkaMapping, MappingError};
use centinela_local::services::topic_admin::TopicAdmin;
use centinela_local::services::{Broker, KafkaAccess, ServiceError, TopicSpec};
use centinela_local::warden;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;

use super::kinds::{Kind, Kinds};
use super::plan::{Action, PARTITIONS_ADDED, plan};
use super::sources::Sources;
use super::tally::Tally;
use crate::traffic::producer::Progress;
use crate::up::reader::ReadControl;
use crate::up::tracker::Tracker;

/// Length of a round when nobody knows how long the run will be.
const ROUND: Duration = Duration::from_secs(120);
/// A recreated topic is told from a replay by its records' times: this much later than the deleted topic's last record.
const RECREATED_LATER: Duration = Duration::from_secs(11);
/// How long everything in flight may take to come to rest before the topic is deleted.
const REST_LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);
/// How long a process is waited for that is busy.
const BUSY_LIMIT: Duration = Duration::from_secs(2);

/// What the faults need to reach.
pub struct Surroundings<'a> {
    /// The function whose processes suffer.
    pub host: &'a Arc<FunctionHost>,
    /// The mapping that invokes it.
    pub mapping: &'a Arc<KafkaMapping>,
    /// The embedded broker; none when Kafka is somebody else's.
    pub broker: Option<&'a Broker>,
    /// How to reach Kafka.
    pub kafka: KafkaAccess,
    /// A command that restarts a Kafka which is not embedded.
    pub kafka_restart: Option<String>,
    /// The process of such a Kafka, on this machine.
    pub kafka_pid: Option<i32>,
    /// The topic of the transactions, as it was declared.
    pub transactions: TopicSpec,
    /// The topics of approved and of blocked ones.
    pub decisions: [TopicSpec; 2],
    /// The producer, to hold it while the topic is made again.
    pub progress: Arc<Progress>,
    /// The reader of the topic of the transactions.
    pub reader: ReadControl,
    /// What is known about every record.
    pub tracker: Arc<Tracker>,
    /// How often each fault happened.
    pub tally: Arc<Tally>,
}

/// Why a fault could not be carried out or undone.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// Kafka.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The mapping.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The command that restarts Kafka.
    #[error("`{command}` did not restart kafka: {reason}")]
    Restart {
        /// The command.
        command: String,
        /// Its end.
        reason: String,
    },
    /// The process of a Kafka that is not embedded.
    #[error(
        "process {pid} cannot be stopped or continued: {reason}; give the one of Kafka on this machine (--kafka-pid)"
    )]
    Freeze {
        /// Which.
        pid: i32,
        /// What the system said.
        reason: Errno,
    },
    /// The reader of the topics has ended.
    #[error("the reader of the topics ended while a topic was changed")]
    Reader,
    /// The topic could not be made again safely.
    #[error("{records} records were still open after {} s, so the topic was not made again", REST_LIMIT.as_secs())]
    Restless {
        /// Records that were not settled.
        records: u64,
    },
}

/// The driver.
pub struct Driver<'a> {
    surroundings: Surroundings<'a>,
    sources: Arc<Sources>,
    kinds: Kinds,
    seed: u64,
    length: Option<Duration>,
    calm: CancellationToken,
    /// Processes that are frozen for good: killing them would spare them their timeout.
    frozen: Mutex<BTreeSet<u32>>,
}

impl<'a> Driver<'a> {
    /// A driver for a run of this length, if it is known. It goes on until `calm`, and has undone everything when it ends.
    pub fn new(
        surroundings: Surroundings<'a>,
        sources: Arc<Sources>,
        kinds: Kinds,
        seed: u64,
        length: Option<Duration>,
        calm: CancellationToken,
    ) -> Self {
        Self { surroundings, sources, kinds, seed, length, calm, frozen: Mutex::default() }
    }

    /// Does all of it.
    ///
    /// # Errors
    /// The first action that could not be carried out or undone; the others are undone all the same.
    pub async fn run(self) -> Result<(), ChaosError> {
        self.sources.switch(true);
        let mut outcome = Ok(());
        let mut round = 0;
        while !self.calm.is_cancelled() && outcome.is_ok() {
            outcome = self.round(round).await;
            round += 1;
            if self.length.is_some() {
                self.calm.cancelled().await;
            }
        }
        self.sources.switch(false);
        outcome
    }

    async fn round(&self, round: u64) -> Result<(), ChaosError> {
        let started = Instant::now();
        let length = self.length.unwrap_or(ROUND);
        let mut actions =
            plan(self.seed.wrapping_add(round), &self.kinds, length, self.surroundings.host.spec().timeout);
        if round > 0 {
            actions.retain(|(_, action)| !matches!(action, Action::Recreate | Action::AddPartitions));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ round ^ 0xd21e);
        let mut running = FuturesUnordered::new();
        let mut outcome = Ok(());
        for (at, action) in actions {
            let pick: u64 = rng.random();
            let due = tokio::time::sleep_until((started + at).into());
            tokio::pin!(due);
            loop {
                tokio::select! {
                    biased;
                    () = self.calm.cancelled() => break,
                    () = &mut due => break,
                    Some(ended) = running.next() => outcome = first_error(outcome, ended),
                }
            }
            if self.calm.is_cancelled() {
                break;
            }
            tracing::info!(?action, "fault");
            running.push(self.act(action, pick));
        }
        while let Some(ended) = running.next().await {
            outcome = first_error(outcome, ended);
        }
        if self.length.is_none() && !self.calm.is_cancelled() {
            self.wait(length.saturating_sub(started.elapsed())).await;
        }
        outcome
    }

    /// Waits, or less when the faults have to end.
    async fn wait(&self, duration: Duration) {
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            () = self.calm.cancelled() => {}
        }
    }

    async fn act(&self, action: Action, pick: u64) -> Result<(), ChaosError> {
        match action {
            Action::Kill { all } => {
                self.kill(all, pick).await;
                Ok(())
            }
            Action::Freeze { lasts } => {
                self.freeze(lasts, pick).await;
                Ok(())
            }
            Action::Pause { pick, lasts } => {
                self.pause(pick, lasts).await;
                Ok(())
            }
            Action::Publisher { blocked, lasts } => {
                let topic = &self.surroundings.decisions[usize::from(blocked)];
                self.refuse(Kind::Publisher, std::slice::from_ref(topic), lasts).await
            }
            Action::Outage { lasts } => self.refuse(Kind::Outage, &self.surroundings.decisions, lasts).await,
            Action::BrokerRestart { down } => self.restart_broker(down).await,
            Action::FreezeBroker { lasts } => self.freeze_broker(lasts).await,
            Action::Recreate => self.recreate().await,
            Action::AddPartitions => self.add_partitions().await,
        }
    }

    /// A process with work in progress. At a low rate it takes a moment until there is one.
    async fn busy(&self, pick: u64) -> Option<EnvironmentInfo> {
        let until = Instant::now() + BUSY_LIMIT;
        loop {
            let busy: Vec<EnvironmentInfo> =
                self.unfrozen().into_iter().filter(|environment| environment.busy).collect();
            if let Some(index) = usize::try_from(pick >> 1).unwrap_or(0).checked_rem(busy.len()) {
                return Some(busy[index].clone());
            }
            if until <= Instant::now() || self.calm.is_cancelled() {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn kill(&self, all: bool, pick: u64) {
        let (host, tally) = (self.surroundings.host, &self.surroundings.tally);
        let Some(victim) = self.busy(pick).await else { return };
        tally.happened(Kind::Kill);
        let victims = if all { self.unfrozen() } else { vec![victim] };
        for victim in victims.iter().filter(|victim| host.kill(victim.pid)) {
            tally.led_to(Kind::Kill, 1, "processes ended");
            tally.led_to(Kind::Kill, u64::from(victim.busy), "of them busy");
        }
    }

    fn unfrozen(&self) -> Vec<EnvironmentInfo> {
        let frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        let environments = self.surroundings.host.environments();
        environments.into_iter().filter(|environment| !frozen.contains(&environment.pid)).collect()
    }

    async fn freeze(&self, lasts: Option<Duration>, pick: u64) {
        let (host, tally) = (self.surroundings.host, &self.surroundings.tally);
        let Some(victim) = self.busy(pick).await else { return };
        if !host.freeze(victim.pid) {
            return;
        }
        match lasts {
            Some(lasts) => {
                tally.happened(Kind::Freeze);
                tally.led_to(Kind::Freeze, lasts.as_millis() as u64, "ms in all");
                self.wait(lasts).await;
                host.thaw(victim.pid);
            }
            None => {
                tally.happened(Kind::Timeout);
                self.frozen.lock().unwrap_or_else(PoisonError::into_inner).insert(victim.pid);
                let before = host.stats().timeouts;
                self.wait(host.spec().timeout + Duration::from_secs(1)).await;
                tally.led_to(Kind::Timeout, host.stats().timeouts - before, "invocations ended at the timeout");
                // It was not busy after all, or the faults end early.
                host.thaw(victim.pid);
                self.frozen.lock().unwrap_or_else(PoisonError::into_inner).remove(&victim.pid);
            }
        }
    }

    async fn pause(&self, pick: u64, lasts: Duration) {
        let partitions = self.surroundings.mapping.stats().partitions.max(1) as u64;
        let partition = i32::try_from(pick % partitions).unwrap_or(0);
        let tally = &self.surroundings.tally;
        tally.happened(Kind::Pause);
        self.sources.hold_back(partition, true);
        self.wait(lasts).await;
        tally.led_to(Kind::Pause, self.surroundings.mapping.stats().lag, "records behind at the end of it");
        self.sources.hold_back(partition, false);
    }

    async fn refuse(&self, kind: Kind, topics: &[TopicSpec], lasts: Duration) -> Result<(), ChaosError> {
        let tally = &self.surroundings.tally;
        let mut outcome = Ok(());
        for topic in topics {
            outcome = first_error(outcome, self.set_refusing(topic, true).await);
        }
        if outcome.is_ok() {
            tally.happened(kind);
            tally.led_to(kind, lasts.as_millis() as u64, "ms in all");
            self.wait(lasts).await;
            tally.led_to(kind, self.surroundings.mapping.stats().lag, "records behind at the end of it");
        }
        for topic in topics {
            outcome = first_error(outcome, self.set_refusing(topic, false).await);
        }
        outcome
    }

    async fn set_refusing(&self, topic: &TopicSpec, refusing: bool) -> Result<(), ChaosError> {
        match self.surroundings.broker {
            Some(broker) => {
                broker.set_refusing(&topic.name, refusing);
            }
            None => self.admin()?.set_refusing(&topic.name, &topic.config, refusing).await?,
        }
        Ok(())
    }

    fn admin(&self) -> Result<TopicAdmin, ServiceError> {
        TopicAdmin::new(&self.surroundings.kafka)
    }

    async fn restart_broker(&self, down: Duration) -> Result<(), ChaosError> {
        let tally = &self.surroundings.tally;
        let started = Instant::now();
        match (self.surroundings.broker, &self.surroundings.kafka_restart) {
            (Some(broker), _) => broker.restart(down).await.map_err(ServiceError::from)?,
            (None, Some(command)) => restart_by(command).await?,
            // Nobody said how.
            (None, None) => return Ok(()),
        }
        tally.happened(Kind::BrokerRestart);
        tally.led_to(Kind::BrokerRestart, started.elapsed().as_millis() as u64, "ms away in all");
        Ok(())
    }

    async fn freeze_broker(&self, lasts: Duration) -> Result<(), ChaosError> {
        let Surroundings { broker, kafka_pid, mapping, tally, .. } = &self.surroundings;
        // Without either nobody said which.
        let Some(frozen) = Frozen::begin(*broker, *kafka_pid)? else { return Ok(()) };
        tally.happened(Kind::BrokerFrozen);
        tally.led_to(Kind::BrokerFrozen, lasts.as_millis() as u64, "ms in all");
        self.wait(lasts).await;
        drop(frozen);
        tally.led_to(Kind::BrokerFrozen, mapping.stats().lag, "records behind at the end of it");
        Ok(())
    }

    async fn add_partitions(&self) -> Result<(), ChaosError> {
        let (mapping, tally) = (self.surroundings.mapping, &self.surroundings.tally);
        let topic = &self.surroundings.transactions.name;
        let before = mapping.stats().partitions;
        let wanted = before + PARTITIONS_ADDED;
        match self.surroundings.broker {
            Some(broker) => {
                broker.add_partitions(topic, wanted);
            }
            None => self.admin()?.add_partitions(topic, wanted).await?,
        }
        self.surroundings.reader.grow(topic, wanted);
        tally.happened(Kind::PartitionsAdded);
        while mapping.stats().partitions < wanted && !self.calm.is_cancelled() {
            self.wait(LOOK).await;
        }
        tally.led_to(
            Kind::PartitionsAdded,
            (mapping.stats().partitions - before) as u64,
            "partitions joined the mapping",
        );
        Ok(())
    }

    /// As an operator must do it: nothing is sent, everything is settled, the mapping is disabled and its invocations have ended,
    /// and the new topic's records are clearly later.
    async fn recreate(&self) -> Result<(), ChaosError> {
        let progress = &self.surroundings.progress;
        progress.hold.store(true, Ordering::SeqCst);
        let outcome = self.recreate_at_rest().await;
        progress.hold.store(false, Ordering::SeqCst);
        outcome
    }

    async fn recreate_at_rest(&self) -> Result<(), ChaosError> {
        let Surroundings { mapping, progress, tally, .. } = &self.surroundings;
        while !progress.held.load(Ordering::SeqCst) && !progress.done.load(Ordering::SeqCst) {
            if self.calm.is_cancelled() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        let last_record = Instant::now();
        match mapping.drain(REST_LIMIT).await {
            Err(MappingError::NotDrained { records, .. }) => return Err(ChaosError::Restless { records }),
            outcome => outcome?,
        }
        mapping.disable().await?;
        let made = self.make_again(last_record).await;
        // Whatever became of the topic, the mapping must not stay behind.
        let enabled = mapping.enable().await;
        made?;
        enabled?;
        tally.happened(Kind::Recreated);
        tally.led_to(Kind::Recreated, last_record.elapsed().as_millis() as u64, "ms without traffic");
        Ok(())
    }

    async fn make_again(&self, last_record: Instant) -> Result<(), ChaosError> {
        let Surroundings { transactions, reader, tracker, .. } = &self.surroundings;
        reader.leave(&transactions.name).await.map_err(|_| ChaosError::Reader)?;
        let admin = self.admin()?;
        admin.delete(&transactions.name).await?;
        tokio::time::sleep(RECREATED_LATER.saturating_sub(last_record.elapsed())).await;
        admin.create(transactions).await?;
        tracker.topic_recreated();
        reader.restart(&transactions.name, transactions.partitions);
        Ok(())
    }
}

/// A Kafka that answers nothing. It goes on when this is dropped, so that a run that is cut short leaves nobody's Kafka frozen.
enum Frozen<'a> {
    Embedded(&'a Broker),
    Foreign(i32),
}

impl<'a> Frozen<'a> {
    fn begin(broker: Option<&'a Broker>, kafka_pid: Option<i32>) -> Result<Option<Self>, ChaosError> {
        match (broker, kafka_pid) {
            (Some(broker), _) => {
                broker.set_frozen(true);
                Ok(Some(Self::Embedded(broker)))
            }
            (None, Some(pid)) => {
                kill(Pid::from_raw(pid), Signal::SIGSTOP).map_err(|reason| ChaosError::Freeze { pid, reason })?;
                Ok(Some(Self::Foreign(pid)))
            }
            (None, None) => Ok(None),
        }
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        match self {
            Self::Embedded(broker) => broker.set_frozen(false),
            Self::Foreign(pid) => {
                if let Err(reason) = kill(Pid::from_raw(*pid), Signal::SIGCONT) {
                    tracing::warn!(pid, %reason, "kafka could not be continued");
                }
            }
        }
    }
}

fn first_error(outcome: Result<(), ChaosError>, next: Result<(), ChaosError>) -> Result<(), ChaosError> {
    if let Err(error) = &next {
        tracing::warn!(error = error as &dyn std::error::Error, "a fault could not be carried out");
    }
    outcome.and(next)
}

/// Runs the command that somebody gave for it.
async fn restart_by(command: &str) -> Result<(), ChaosError> {
    let failed = |reason: String| ChaosError::Restart { command: command.to_owned(), reason };
    let mut shell = tokio::process::Command::new("sh");
    // A group of its own: Ctrl-C is for this command, not for a Kafka that this one starts.
    shell.args(["-c", command]).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let shell = shell.spawn().map_err(|error| failed(error.to_string()))?;
    let _ward = shell.id().map(warden::guard_group);
    let output = shell.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{}: {}", output.status, said.lines().last().unwrap_or_default())))
}
