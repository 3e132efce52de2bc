//! One run: readers, producer, view and kills around a platform that is up; then the drain and the account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use centinela_audit::backlog::{self, Backlog};
use centinela_audit::chaos::{Chaos, Driver, Surroundings};
use centinela_audit::figures::as_f64;
use centinela_audit::metrics::FunctionMetrics;
use centinela_audit::reader::{Content, Reader, Topic};
use centinela_audit::report::{self, Evidence, Producer, Report};
use centinela_audit::tracker::{Gone, Tracker};
use centinela_domain::Currency;
use centinela_local::mapping::MappingError;
use centinela_local::platform::{Cut, Platform, PlatformError, topic_spec};
use centinela_local::threads::{CpuLedger, CpuTimes};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::function_logs::{self, SharedFile};
use super::kills::{Course, Kills};
use super::live::{Live, Look};
use super::{default_currency, endpoints, terminal};
use crate::args::Up;
use crate::failure::{Failure, one_line};
use crate::interrupt::Interrupt;
use crate::traffic::Source;
use crate::traffic::producer::{Observer, Pace, Progress, SendError, Sender, Until};

/// Between two looks at everything.
const TICK: Duration = Duration::from_millis(50);
/// Between two looks at what the threads spent: a thread that ends loses at most this much of its account.
const CPU_LOOK_EVERY: Duration = Duration::from_millis(500);
/// One attempt to drain; afterwards it is looked at whether anything moved.
const DRAIN_SLICE: Duration = Duration::from_secs(1);
/// Servers that do not answer and a drain that does not move are given up after this long: the account is incomplete then.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// How soon it is said what is waited for.
const SAID_AFTER: Duration = Duration::from_secs(5);
/// How long the last metric lines may take from a function to the account.
const METRICS_LIMIT: Duration = Duration::from_secs(1);
/// Bytes worth an answer of the broker: any decision, whose arrival is measured, and many transactions, whose arrival is not.
const DECISIONS_WORTH: u32 = 1;
const TRANSACTIONS_WORTH: u32 = 65_536;
/// Most transactions that get their place in memory beforehand.
const PLACES_MAX: f64 = 4_000_000.0;

/// What a run ends with.
pub struct Finished {
    /// The report.
    pub report: Report,
    /// What went wrong beside it.
    pub failure: Option<Failure>,
}

/// The names that the stacks give to what a run looks at.
struct Names {
    scoring: String,
    user_table: String,
    default_currency: Currency,
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
            ("DEAD_LETTERS_TOPIC", Content::DeadLetters),
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
            default_currency: default_currency(platform.infrastructure()),
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
    metrics: BTreeMap<String, FunctionMetrics>,
    log_file: Option<SharedFile>,
    live: Live,
    kills: Kills,
    backlog: Option<Backlog>,
    started: Instant,
    cpu: CpuLedger,
    cpu_at_start: Option<CpuTimes>,
    cpu_looked_at: Instant,
    /// Why the account covers less than the run.
    gaps: Vec<String>,
}

type Sending = JoinHandle<Result<(), SendError>>;

impl<'a> Run<'a> {
    /// Watches a platform from the first record to the account.
    ///
    /// # Errors
    /// When something cannot be started; then there is no account.
    pub async fn watch(
        arguments: &'a Up,
        platform: &'a Platform,
        traffic: Option<(Source, Pace)>,
        chaos: Option<Chaos>,
        interrupt: &Interrupt,
    ) -> Result<Finished, Failure> {
        let names = Names::find(platform)?;
        let progress = Arc::new(Progress::default());
        let is_producer = traffic.is_some();
        let sender = if is_producer { Some(connect(platform, &names, &progress).await?) } else { None };
        let mut run = Self::start(arguments, platform, names, progress, traffic.as_ref()).await?;
        run.announce()?;
        let sending = sender.zip(traffic).map(|(sender, (source, pace))| run.send(sender, source, pace));
        let calm = CancellationToken::new();
        let driver = chaos.as_ref().map(|chaos| run.driver(chaos, &calm)).transpose()?;
        let faults = async move {
            match driver {
                Some(driver) => driver.run().await,
                None => Ok(()),
            }
        };
        let watched = async {
            let sent = run.watch_traffic(sending, interrupt).await;
            calm.cancel();
            sent
        };
        let (sent, faulted) = tokio::join!(watched, faults);
        let sent = sent?;
        if arguments.backlog.is_some() {
            run.work_off(interrupt).await?;
        }
        let cuts = run.cut().await;
        run.drain(&cuts).await;
        run.read_to_the_end(&cuts).await;
        let mut report = run.report(is_producer, &cuts).await;
        report.chaos = chaos.map(|chaos| chaos.table());
        let unwritten = match &run.log_file {
            None => None,
            Some(file) => file.finish().await.map(Failure::Failed),
        };
        let faulted = faulted.err().map(|error| Failure::failed(&error));
        let unsent = run.failure(sent);
        run.gaps.extend(unsent.map(|failure| failure.to_string()));
        let incomplete = (!run.gaps.is_empty()).then(|| run.gaps.join("; "));
        if let Some(why) = &incomplete {
            report.is_incomplete(why.clone());
        }
        Ok(Finished { report, failure: incomplete.map(Failure::Failed).or(faulted).or(unwritten) })
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
        let mut metrics = BTreeMap::new();
        for (name, host) in platform.functions() {
            let sums = FunctionMetrics::default();
            tokio::spawn(function_logs::collect(sums.clone(), host.logs(), log_file.clone()));
            metrics.insert(name.to_owned(), sums);
        }
        let mut cpu = CpuLedger::default();
        cpu.look();
        let started = Instant::now();
        let tracker = Tracker::new(started, places(arguments, traffic)).with_default_currency(names.default_currency);
        let tracker = Arc::new(tracker);
        let mut readers = Vec::new();
        let (transactions, decisions): (Vec<Topic>, Vec<Topic>) =
            names.topics.iter().cloned().partition(|topic| topic.content == Content::Transactions);
        for (topics, worth) in [(transactions, TRANSACTIONS_WORTH), (decisions, DECISIONS_WORTH)] {
            let reader = Reader::start(platform.kafka(), topics, worth, Arc::clone(&tracker));
            readers.push(reader.map_err(|error| Failure::failed(&error))?);
        }
        Ok(Self {
            arguments,
            platform,
            names,
            tracker,
            progress,
            readers,
            metrics,
            log_file,
            live: Live::new(arguments.quiet),
            kills: Kills::new(arguments.kill.unwrap_or(0), course),
            backlog: None,
            started,
            cpu_at_start: cpu.times(),
            cpu,
            cpu_looked_at: started,
            gaps: Vec::new(),
        })
    }

    /// What lets the faults happen beside the traffic.
    fn driver(&self, chaos: &Chaos, calm: &CancellationToken) -> Result<Driver<'a>, Failure> {
        let (platform, names) = (self.platform, &self.names);
        let topic = |name: &str| {
            let declared = platform.infrastructure().topics.iter().find(|topic| topic.name == name);
            declared.map(topic_spec).ok_or_else(|| Failure::Usage(format!("no stack declares topic `{name}`")))
        };
        let content = |content: Content| {
            let found = names.topics.iter().find(|topic| topic.content == content);
            topic(found.map_or("", |topic| topic.name.as_str()))
        };
        let missing = |what: &str| Failure::Usage(format!("{what} is not there, so no faults can happen to it"));
        let host = platform.function(&names.scoring).ok_or_else(|| missing("the scoring function"))?;
        let mapping = platform.mapping(&names.transactions).ok_or_else(|| missing("its mapping"))?;
        let reader = self.readers.first().ok_or_else(|| missing("the reader"))?.control();
        if let Some(left_out) = chaos.left_out(host.spec().timeout) {
            terminal::note(&left_out);
        }
        let surroundings = Surroundings {
            host,
            mapping,
            broker: platform.broker(),
            kafka: platform.kafka().clone(),
            kafka_restart: self.arguments.kafka_restart.clone(),
            kafka_pid: self.arguments.kafka_pid,
            transactions: topic(&names.transactions)?,
            decisions: [content(Content::Approved)?, content(Content::Blocked)?],
            gate: Arc::clone(&self.progress.gate),
            reader,
            tracker: Arc::clone(&self.tracker),
            tally: Arc::clone(&chaos.tally),
        };
        let sources = Arc::clone(&chaos.sources);
        Ok(Driver::new(surroundings, sources, chaos.kinds.clone(), chaos.seed, chaos.length, calm.clone()))
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
        let until = Until { elapsed: self.arguments.traffic.duration, count: self.arguments.backlog };
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
        if CPU_LOOK_EVERY <= self.cpu_looked_at.elapsed() {
            self.cpu_looked_at = Instant::now();
            self.cpu.look();
        }
        if self.kills.is_due(self.tracker.seen().decided) {
            let killed = self.platform.kill_functions();
            tracing::info!(killed, "function processes were killed");
        }
        if self.live.is_due() {
            self.live.show(&Look {
                seen: self.tracker.seen(),
                recent: self.tracker.recent_latencies(),
                blocked: self.tracker.last_blocked(),
                stats: self.platform.stats(),
                behind_ms: self.progress.behind_ms.load(Ordering::Relaxed),
                failed: self.progress.failed.load(Ordering::Relaxed),
            });
        }
    }

    /// Starts the mappings on what waits and watches until it is decided.
    async fn work_off(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        let sent = self.progress.acknowledged.load(Ordering::SeqCst);
        let sent_tx_s = as_f64(sent) / self.started.elapsed().as_secs_f64();
        // The account's own reading of the transactions must not take part in the race.
        let until = Instant::now() + STUCK_AFTER;
        while self.tracker.seen().records < sent && Instant::now() < until {
            tokio::time::sleep(TICK).await;
        }
        let waiting = self.tracker.seen().unique;
        self.platform.start_mappings().await.map_err(|error| Failure::failed(&error))?;
        let mut watch = backlog::Watch::new(waiting);
        let (mut most, mut moved_at) = (0, Instant::now());
        while most < waiting && moved_at.elapsed() < STUCK_AFTER && !interrupt.finish.is_cancelled() {
            tokio::time::sleep(TICK).await;
            self.tick();
            let seen = self.tracker.seen();
            let done = seen.decided + seen.dead_lettered;
            if watch.wants_a_look(done) {
                watch.begin(self.look(done, Instant::now()));
            }
            if most < done {
                (most, moved_at) = (done, Instant::now());
            }
        }
        let end = self.tracker.last_decision().unwrap_or(moved_at);
        self.backlog = Some(watch.finish(self.look(most, end), sent_tx_s));
        Ok(())
    }

    fn look(&mut self, decided: u64, at: Instant) -> backlog::Look {
        self.cpu.look();
        let function_cpu = self.platform.functions().map(|(_, host)| host.stats().cpu_time).sum();
        backlog::Look { at, decided, function_cpu, process_cpu: self.cpu.times() }
    }

    /// Ends the account's part of the topic of the transactions: whatever producers send from now on does not count.
    ///
    /// No cuts when Kafka does not say where they would be.
    async fn cut(&mut self) -> Vec<Cut> {
        for reader in self.readers.iter().filter(|reader| reader.reads(Content::Transactions)) {
            // What the account has read already must lie before the cut. A reader that has ended says why when it is asked to finish.
            reader.control().rest().await.unwrap_or_default();
        }
        let mut patience = Patience::new();
        loop {
            let error = match Box::pin(self.platform.cut()).await {
                Ok(cuts) => return cuts,
                Err(error) => error,
            };
            let for_good = matches!(&error, PlatformError::Mapping(MappingError::TopicMissing { .. }));
            let why = format!("kafka at {} does not say where the topics end: {}", self.kafka(), one_line(&error));
            if for_good || patience.is_over() {
                self.gaps.push(why);
                return Vec::new();
            }
            patience.say(&why);
            tokio::time::sleep(TICK).await;
            self.tick();
        }
    }

    /// Waits until everything before the cuts was handled, as long as it moves.
    async fn drain(&mut self, cuts: &[Cut]) {
        let (mut least, mut patience) = (u64::MAX, Patience::new());
        loop {
            match Box::pin(self.platform.drain(cuts, DRAIN_SLICE)).await {
                Ok(()) => return,
                Err(PlatformError::Mapping(MappingError::NotDrained { records, .. })) => {
                    if records < least {
                        (least, patience) = (records, Patience::new());
                    }
                    let why = format!("{records} records wait for the function and do not move");
                    if patience.is_over() {
                        self.gaps.push(why);
                        return;
                    }
                    patience.say(&why);
                }
                Err(error) => {
                    self.gaps.push(format!("what waits cannot be followed: {}", one_line(&error)));
                    return;
                }
            }
            self.tick();
        }
    }

    /// Without cuts there is nobody to read from.
    async fn read_to_the_end(&mut self, cuts: &[Cut]) {
        self.cpu.look();
        let readers = std::mem::take(&mut self.readers);
        let finishing: Vec<_> = readers
            .into_iter()
            .filter(|reader| !cuts.is_empty() || reader.has_ended())
            .map(|reader| {
                let cuts = cuts.to_vec();
                tokio::task::spawn_blocking(move || reader.finish(cuts))
            })
            .collect();
        for finished in finishing {
            let problem = match finished.await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => one_line(&error),
                Err(error) => one_line(&error),
            };
            if !self.gaps.contains(&problem) {
                self.gaps.push(problem);
            }
        }
    }

    async fn report(&mut self, is_producer: bool, cuts: &[Cut]) -> Report {
        let stats = self.platform.stats();
        let (cut, gone) = self.bounds(cuts).await;
        self.await_metrics(&stats.functions).await;
        let items = self.platform.read_back(&self.names.user_table).await;
        let items = items.map_err(|error| self.gaps.push(one_line(&error))).ok();
        let first = if is_producer { Some(self.started) } else { self.tracker.first_decision() };
        Report::new(Evidence {
            is_whole: self.gaps.is_empty(),
            seen: self.tracker.seen(),
            reconciled: self.tracker.reconcile(&gone),
            latencies: self.tracker.latencies(),
            waits: self.tracker.waits(),
            items,
            baseline: self.platform.remembered(&self.names.user_table),
            scoring: &self.names.scoring,
            topic: &self.names.transactions,
            stats,
            metrics: self.metrics.iter().map(|(name, metrics)| (name.clone(), metrics.sums())).collect(),
            started: first.unwrap_or(self.started),
            last_decision: self.tracker.last_decision(),
            producer: is_producer.then(|| self.producer()),
            cut,
            cpu: self.cpu.times().zip(self.cpu_at_start).map(|(now, start)| now.since(&start)),
            backlog: self.backlog.clone(),
        })
    }

    /// The brokers' addresses.
    fn kafka(&self) -> &str {
        &self.platform.kafka().bootstrap
    }

    /// Where the account ends on the topic of the transactions, and what was deleted there before it was delivered.
    async fn bounds(&self, cuts: &[Cut]) -> (report::Cut, Gone) {
        let topic = &self.names.transactions;
        let (Some(cut), Some(mapping)) = (cuts.iter().find(|cut| cut.topic == *topic), self.platform.mapping(topic))
        else {
            return Default::default();
        };
        // A Kafka that has gone away by now takes nothing any more.
        let ends = mapping.ends().await.unwrap_or_else(|_| cut.ends.clone());
        let later = ends.iter().zip(&cut.ends).map(|(end, cut)| u64::try_from(end - cut).unwrap_or(0)).sum();
        let unread = mapping.skipped().into_iter().filter_map(|skipped| {
            let offset = |offset| u64::try_from(offset).ok();
            let offsets = offset(skipped.offsets.start)?..offset(skipped.offsets.end)?;
            Some((u32::try_from(skipped.partition).ok()?, offsets))
        });
        (report::Cut { ends: cut.ends.clone(), later }, Gone { unread: unread.collect() })
    }

    /// The line of an invocation comes through a pipe and may be a moment behind its answer.
    async fn await_metrics(&self, functions: &BTreeMap<String, centinela_local::lambda::FunctionStats>) {
        let until = Instant::now() + METRICS_LIMIT;
        let is_behind = || {
            functions.iter().any(|(name, stats)| {
                let answered = stats.invocations.saturating_sub(stats.errors + stats.timeouts + stats.crashes);
                self.metrics.get(name).is_some_and(|metrics| metrics.sums().batch.len() < answered)
            })
        };
        while is_behind() && Instant::now() < until {
            tokio::time::sleep(TICK).await;
        }
    }

    fn producer(&self) -> Producer {
        let traffic = &self.arguments.traffic;
        let is_paced = traffic.input.is_none() && self.arguments.backlog.is_none();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::SeqCst);
        Producer {
            key: traffic.key.as_str(),
            rate_tx_s: traffic.rate.or(is_paced.then_some(crate::args::RATE_DEFAULT)),
            seed: traffic.seed,
            shape: traffic.shape.1.clone(),
            sent: count(&self.progress.sent),
            acknowledged: count(&self.progress.acknowledged),
            failed: count(&self.progress.failed),
            first_failure: self.progress.first_error(),
            behind_ms_max: count(&self.progress.behind_ms_max),
            kills: u64::from(self.kills.done()),
        }
    }

    /// What went wrong with the traffic: an account may be clean although not everything could be sent.
    fn failure(&self, sent: Option<SendError>) -> Option<Failure> {
        if let Some(error) = sent {
            return Some(Failure::Failed(format!("sending ended early: {}", one_line(&error))));
        }
        if self.progress.is_refused() {
            let topic = &self.names.transactions;
            return Some(Failure::Failed(format!(
                "kafka does not allow writing to topic `{topic}`: authorization failed; grant the right Write, or send nothing (--rate 0)"
            )));
        }
        self.progress.failure().map(Failure::Failed)
    }
}

/// For how long the end of a run waits for something that does not come.
struct Patience {
    until: Instant,
    say_at: Option<Instant>,
}

impl Patience {
    fn new() -> Self {
        Self { until: Instant::now() + STUCK_AFTER, say_at: Some(Instant::now() + SAID_AFTER) }
    }

    fn is_over(&self) -> bool {
        self.until <= Instant::now()
    }

    /// Says once, after a while, what is waited for.
    fn say(&mut self, what: &str) {
        if self.say_at.take_if(|at| *at <= Instant::now()).is_some() {
            let left = self.until.saturating_duration_since(Instant::now()).as_secs();
            terminal::note(&format!(
                "{what}; waiting for up to {left} s more; Ctrl-C ends at once, without an account"
            ));
        }
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
    let by_count = arguments.backlog.map_or(by_time, |records| records as f64);
    source.expected().map_or(by_count, |records| records as f64).min(PLACES_MAX) as usize
}
