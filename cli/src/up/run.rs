//! One run: readers, producer, view and kills around a platform that is up; then the drain and the account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use centinela_local::mapping::MappingError;
use centinela_local::platform::{Platform, PlatformError};
use tokio::task::JoinHandle;

use super::account::{Account, Evidence, Producer};
use super::function_logs::{FunctionLogs, SharedFile};
use super::kills::{Course, Kills};
use super::live::{Live, Look};
use super::reader::{Content, Reader, Topic};
use super::tracker::Tracker;
use super::{endpoints, terminal};
use crate::args::Up;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::traffic::Source;
use crate::traffic::producer::{Observer, Pace, Progress, SendError, Sender, Until};

/// Between two looks at everything.
const TICK: Duration = Duration::from_millis(50);
/// One attempt to drain; afterwards it is looked at whether anything moved.
const DRAIN_SLICE: Duration = Duration::from_secs(1);
/// A drain that does not move for this long is given up, and what is open counts as lost.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// How long the last metric lines may take from a function to the account.
const METRICS_LIMIT: Duration = Duration::from_secs(1);
/// What the broker may hold back of decisions, whose arrival is measured, and of transactions, whose arrival is not.
const DECISIONS_WAIT: Duration = Duration::from_millis(5);
const TRANSACTIONS_WAIT: Duration = Duration::from_millis(200);
/// Most transactions that get their place in memory beforehand.
const PLACES_MAX: f64 = 4_000_000.0;

/// What a run ends with.
pub struct Finished {
    /// The account.
    pub account: Account,
    /// What went wrong beside it.
    pub failure: Option<Failure>,
}

/// The names that the stacks give to what a run looks at.
struct Names {
    scoring: String,
    user_table: String,
    transactions: String,
    topics: Vec<Topic>,
}

impl Names {
    /// Takes them from the function that publishes decisions.
    fn find(platform: &Platform) -> Result<Self, Failure> {
        let infrastructure = platform.infrastructure();
        let scoring =
            infrastructure.functions.iter().find(|function| function.environment.contains_key("APPROVED_TOPIC"));
        let scoring =
            scoring.ok_or_else(|| Failure::Usage("no stack declares a function with APPROVED_TOPIC".to_owned()))?;
        let variable = |name: &str| {
            let missing = || Failure::Usage(format!("function `{}` has no variable {name}", scoring.name));
            scoring.environment.get(name).cloned().ok_or_else(missing)
        };
        let mut topics = Vec::new();
        for (name, content) in [
            ("TRANSACTIONS_TOPIC", Content::Transactions),
            ("APPROVED_TOPIC", Content::Approved),
            ("BLOCKED_TOPIC", Content::Blocked),
            ("DEAD_LETTERS_TOPIC", Content::Parked),
        ] {
            let name = variable(name)?;
            let declared = infrastructure.topics.iter().find(|topic| topic.name == name);
            let declared = declared.ok_or_else(|| Failure::Usage(format!("no stack declares topic `{name}`")))?;
            let starts = platform.starts(&name).to_vec();
            topics.push(Topic { name, partitions: declared.partitions, content, starts });
        }
        Ok(Self {
            scoring: scoring.name.clone(),
            user_table: variable("USER_TABLE")?,
            transactions: topics[0].name.clone(),
            topics,
        })
    }
}

/// A run in progress.
pub struct Run<'a> {
    arguments: &'a Up,
    platform: &'a Platform,
    names: Names,
    tracker: Arc<Tracker>,
    progress: Arc<Progress>,
    readers: Vec<Reader>,
    logs: BTreeMap<String, FunctionLogs>,
    log_file: Option<SharedFile>,
    live: Live,
    kills: Kills,
    started: Instant,
}

type Sending = JoinHandle<Result<(), SendError>>;

impl<'a> Run<'a> {
    /// Watches a platform from the first record to the account.
    ///
    /// # Errors
    /// When something cannot be started or read back; then there is no account.
    pub async fn watch(
        arguments: &'a Up,
        platform: &'a Platform,
        traffic: Option<(Source, Pace)>,
        interrupt: &Interrupt,
    ) -> Result<Finished, Failure> {
        let names = Names::find(platform)?;
        let progress = Arc::new(Progress::default());
        let is_producer = traffic.is_some();
        let sender = if is_producer { Some(connect(platform, &names, &progress).await?) } else { None };
        let mut run = Self::start(arguments, platform, names, progress, traffic.as_ref()).await?;
        run.announce()?;
        let sending = sender.zip(traffic).map(|(sender, (source, pace))| run.send(sender, source, pace));
        let sent = run.watch_traffic(sending, interrupt).await?;
        run.drain().await?;
        run.read_to_the_end().await?;
        let account = run.account(is_producer).await?;
        let unwritten = match &run.log_file {
            None => None,
            Some(file) => file.finish().await.map(Failure::Failed),
        };
        Ok(Finished { account, failure: run.failure(sent).or(unwritten) })
    }

    async fn start(
        arguments: &'a Up,
        platform: &'a Platform,
        names: Names,
        progress: Arc<Progress>,
        traffic: Option<&(Source, Pace)>,
    ) -> Result<Self, Failure> {
        let expected = traffic.and_then(|(source, _)| source.expected());
        let course = match (arguments.traffic.duration, expected) {
            (Some(duration), _) => Course::Time(duration),
            (None, Some(records)) => Course::Records(records),
            (None, None) => Course::Open,
        };
        let log_file = match &arguments.logs {
            None => None,
            Some(path) => {
                let failed = |error| Failure::Usage(format!("{} cannot be written: {error}", path.display()));
                Some(SharedFile::create(path).await.map_err(failed)?)
            }
        };
        let mut logs = BTreeMap::new();
        for (name, host) in platform.functions() {
            let collected = FunctionLogs::default();
            tokio::spawn(collected.clone().collect(host.logs(), log_file.clone()));
            logs.insert(name.to_owned(), collected);
        }
        let started = Instant::now();
        let tracker = Arc::new(Tracker::new(started, places(arguments, traffic)));
        let mut readers = Vec::new();
        let (transactions, decisions): (Vec<Topic>, Vec<Topic>) =
            names.topics.iter().cloned().partition(|topic| topic.content == Content::Transactions);
        for (topics, wait) in [(transactions, TRANSACTIONS_WAIT), (decisions, DECISIONS_WAIT)] {
            let reader = Reader::start(platform.kafka(), topics, wait, Arc::clone(&tracker));
            readers.push(reader.map_err(|error| Failure::failed(&error))?);
        }
        Ok(Self {
            arguments,
            platform,
            names,
            tracker,
            progress,
            readers,
            logs,
            log_file,
            live: Live::new(arguments.quiet),
            kills: Kills::new(arguments.kill.unwrap_or(0), course),
            started,
        })
    }

    fn announce(&self) -> Result<(), Failure> {
        if !self.arguments.quiet {
            terminal::print(&endpoints::as_text(self.platform, &self.names.user_table));
        }
        let Some(path) = &self.arguments.endpoints else { return Ok(()) };
        endpoints::write_json(path, &endpoints::as_json(self.platform))
            .map_err(|error| Failure::Usage(format!("{} cannot be written: {error}", path.display())))
    }

    fn send(&self, sender: Sender, mut source: Source, pace: Pace) -> Sending {
        let tracker = Arc::clone(&self.tracker);
        let until = Until { elapsed: self.arguments.traffic.duration, count: None };
        tokio::task::spawn_blocking(move || {
            let observer: &dyn Observer = &*tracker;
            sender.run(&mut source, pace, until, observer)
        })
    }

    /// Shows the run until the traffic ends, by itself or because somebody asks for it.
    async fn watch_traffic(
        &mut self,
        mut sending: Option<Sending>,
        interrupt: &Interrupt,
    ) -> Result<Option<SendError>, Failure> {
        loop {
            tokio::time::sleep(TICK).await;
            self.tick();
            let time_is_up = self.arguments.traffic.duration.is_some_and(|duration| duration <= self.started.elapsed());
            let ended = match &sending {
                Some(sending) => sending.is_finished(),
                None => time_is_up,
            };
            if ended || interrupt.finish.is_cancelled() || self.readers.iter().any(Reader::has_ended) {
                break;
            }
        }
        self.progress.stop.store(true, Ordering::Relaxed);
        let Some(sending) = sending.take() else { return Ok(None) };
        Ok(sending.await.map_err(|error| Failure::failed(&error))?.err())
    }

    fn tick(&mut self) {
        if self.kills.is_due(self.tracker.seen().decided) {
            let killed = self.platform.kill_functions();
            tracing::info!(killed, "function processes were killed");
        }
        if self.live.is_due() {
            self.live.show(&Look {
                seen: self.tracker.seen(),
                recent: self.tracker.recent_latencies(),
                stats: self.platform.stats(),
                behind_ms: self.progress.behind_ms.load(Ordering::Relaxed),
            });
        }
    }

    /// Waits until everything on the topics was handled, as long as it moves.
    async fn drain(&mut self) -> Result<(), Failure> {
        let (mut least, mut moved_at) = (u64::MAX, Instant::now());
        loop {
            match Box::pin(self.platform.drain(DRAIN_SLICE)).await {
                Ok(()) => return Ok(()),
                Err(PlatformError::Mapping(MappingError::NotDrained { records, .. })) => {
                    if records < least {
                        (least, moved_at) = (records, Instant::now());
                    }
                    if STUCK_AFTER <= moved_at.elapsed() {
                        terminal::note(&format!("{records} records did not move for {} s", STUCK_AFTER.as_secs()));
                        return Ok(());
                    }
                }
                Err(error) => return Err(Failure::failed(&error)),
            }
            self.tick();
        }
    }

    async fn read_to_the_end(&mut self) -> Result<(), Failure> {
        for reader in self.readers.drain(..) {
            let finished = tokio::task::spawn_blocking(move || reader.finish()).await;
            finished.map_err(|error| Failure::failed(&error))?.map_err(|error| Failure::failed(&error))?;
        }
        Ok(())
    }

    async fn account(&self, is_producer: bool) -> Result<Account, Failure> {
        let stats = self.platform.stats();
        self.await_metrics(&stats.functions).await;
        let items = self.platform.read_back(&self.names.user_table).await;
        let items = items.map_err(|error| Failure::failed(&error))?;
        let first = if is_producer { Some(self.started) } else { self.tracker.first_decision() };
        Ok(Account::new(Evidence {
            seen: self.tracker.seen(),
            verdict: self.tracker.verdict(),
            latencies: self.tracker.latencies(),
            waits: self.tracker.waits(),
            items,
            baseline: self.platform.remembered(&self.names.user_table),
            scoring: &self.names.scoring,
            topic: &self.names.transactions,
            stats,
            metrics: self.logs.iter().map(|(name, logs)| (name.clone(), logs.metrics())).collect(),
            started: first.unwrap_or(self.started),
            last_decision: self.tracker.last_decision(),
            producer: is_producer.then(|| self.producer()),
        }))
    }

    /// The line of an invocation comes through a pipe and may be a moment behind its answer.
    async fn await_metrics(&self, functions: &BTreeMap<String, centinela_local::lambda::FunctionStats>) {
        let until = Instant::now() + METRICS_LIMIT;
        let is_behind = || {
            functions.iter().any(|(name, stats)| {
                let answered = stats.invocations.saturating_sub(stats.errors + stats.timeouts + stats.crashes);
                self.logs.get(name).is_some_and(|logs| logs.metrics().batch.len() < answered)
            })
        };
        while is_behind() && Instant::now() < until {
            tokio::time::sleep(TICK).await;
        }
    }

    fn producer(&self) -> Producer {
        let traffic = &self.arguments.traffic;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::SeqCst);
        Producer {
            key: traffic.key.as_str(),
            rate_tx_s: traffic.rate.or(traffic.input.is_none().then_some(crate::args::RATE_DEFAULT)),
            seed: traffic.seed,
            sent: count(&self.progress.sent),
            acknowledged: count(&self.progress.acknowledged),
            failed: count(&self.progress.failed),
            behind_ms_max: count(&self.progress.behind_ms_max),
            kills: u64::from(self.kills.done()),
        }
    }

    /// What went wrong with the traffic: an account may be clean although not everything could be sent.
    fn failure(&self, sent: Option<SendError>) -> Option<Failure> {
        match sent {
            Some(error @ SendError::Input(_)) => return Some(Failure::usage(&error)),
            Some(error) => return Some(Failure::failed(&error)),
            None => {}
        }
        let failed = self.progress.failed.load(Ordering::SeqCst);
        let why = self.progress.first_error().unwrap_or_default();
        if self.progress.is_refused() {
            let topic = &self.names.transactions;
            return Some(Failure::Failed(format!(
                "kafka does not allow writing to topic `{topic}`: authorization failed; grant the right Write, or send nothing (--rate 0)"
            )));
        }
        (failed > 0).then(|| Failure::Failed(format!("kafka did not take {failed} records: {why}")))
    }
}

async fn connect(platform: &Platform, names: &Names, progress: &Arc<Progress>) -> Result<Sender, Failure> {
    let (access, topic) = (platform.kafka().clone(), names.transactions.clone());
    let progress = Arc::clone(progress);
    let connected = tokio::task::spawn_blocking(move || Sender::connect(&access, &topic, progress)).await;
    connected.map_err(|error| Failure::failed(&error))?.map_err(|error| Failure::failed(&error))
}

/// Transactions to make room for.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "bounded and positive"
)]
fn places(arguments: &Up, traffic: Option<&(Source, Pace)>) -> usize {
    let Some((source, pace)) = traffic else { return 0 };
    let by_time = match (pace, arguments.traffic.duration) {
        (Pace::Rate(rate), Some(duration)) => rate * duration.as_secs_f64(),
        _ => 0.0,
    };
    source.expected().map_or(by_time, |records| records as f64).min(PLACES_MAX) as usize
}
