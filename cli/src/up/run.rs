//! One run: readers, producer, view and faults around a platform that is up; then its end and the report.

mod reporting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use centinela_audit::backlog::{self, Backlog};
use centinela_audit::burst;
use centinela_audit::chaos::{Chaos, Driver, Faults, KafkaProcess, Surroundings};
use centinela_audit::end::{Beat, End};
use centinela_audit::errors::one_line;
use centinela_audit::figures::as_f64;
use centinela_audit::metrics::FunctionMetrics;
use centinela_audit::reader::{Content, Reader, Topic};
use centinela_audit::report::Report;
use centinela_audit::streams::StreamWatch;
use centinela_audit::tracker::{Beside, Tracker};
use centinela_local::mapping::KafkaMapping;
use centinela_local::platform::{MappingKey, Platform};
use centinela_local::threads::{CpuLedger, CpuTimes};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::endpoints;
use super::function_logs::{self, SharedFile};
use super::live::{Live, Look};
use super::names::Names;
use super::observed::Observed;
use super::pacing::Both;
use crate::args::Up;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::terminal;
use crate::traffic::producer::{Pace, SendError, Sender, Until};
use crate::traffic::progress::Progress;
use crate::traffic::topics::Topics;
use crate::traffic::{Source, Stream};

/// Between two looks at everything.
const TICK: Duration = Duration::from_millis(50);
/// Between two looks at what the threads spent: a thread that ends loses at most this much of what it spent.
const CPU_LOOK_EVERY: Duration = Duration::from_millis(500);
/// Bytes worth an answer of the broker: any decision, whose arrival is measured, and much of what producers sent, whose arrival is not.
const DECISIONS_WORTH: u32 = 1;
const PRODUCED_WORTH: u32 = 65_536;
/// Most transactions that get their place in memory beforehand.
const PLACES_MAX: f64 = 4_000_000.0;

/// What a run ends with.
pub struct Finished {
    pub report: Report,
    /// What went wrong beside it.
    pub failure: Option<Failure>,
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
    stream: Option<StreamWatch>,
    log_file: Option<SharedFile>,
    live: Live,
    observed: Observed,
    backlog: Option<Backlog>,
    burst: Option<burst::Watch>,
    started: Instant,
    cpu: CpuLedger,
    cpu_at_start: Option<CpuTimes>,
    cpu_looked_at: Instant,
}

type Sending = JoinHandle<Result<(), SendError>>;

impl<'a> Run<'a> {
    /// Watches a platform from the first record to the report.
    ///
    /// # Errors
    /// When something cannot be started; then there is no report.
    pub async fn watch(
        arguments: &'a Up,
        platform: &'a Platform,
        mut traffic: Option<(Source, Pace)>,
        chaos: Option<Chaos>,
        interrupt: &Interrupt,
    ) -> Result<Finished, Failure> {
        let names = Names::find(platform)?;
        let topics = names.producers_topics();
        for stream in Stream::BESIDE.into_iter().filter(|stream| topics.of(*stream).is_none()) {
            if let Some((source, _)) = &mut traffic {
                source.leave_out(stream);
            }
        }
        let progress = Arc::new(Progress::default());
        let is_producer = traffic.is_some();
        let sender = if is_producer { Some(connect(platform, topics, &progress).await?) } else { None };
        let mut run = Self::start(arguments, platform, names, progress, traffic.as_ref()).await?;
        run.announce()?;
        let sending = sender.zip(traffic).map(|(sender, (source, pace))| run.send(sender, source, pace));
        let eventful = chaos.as_ref().filter(|chaos| chaos.has_moments());
        let driver = eventful.map(|chaos| run.driver(chaos)).transpose()?;
        let mut faults = Faults::begin(driver);
        let sent = faults.beside(run.watch_traffic(sending, interrupt)).await;
        // Whatever happens, what faults have done is undone first.
        if sent.is_err() || chaos.as_ref().is_some_and(Chaos::ends_with_traffic) {
            faults.end().await;
        }
        let sent = sent?;
        let end = faults.beside(run.end(interrupt)).await;
        faults.end().await;
        let mut end = end?;
        run.cpu.look();
        end.read().await;
        let mut report = run.report(is_producer, chaos.as_ref(), &mut end).await;
        report.chaos = chaos.and_then(|chaos| chaos.table());
        report.burst = run.burst.map(burst::Watch::finish);
        let unwritten = match &run.log_file {
            None => None,
            Some(file) => file.finish().await.map(Failure::Failed),
        };
        let faulted = faults.outcome().err().map(|error| Failure::failed(&error));
        let unsent = run.failure(sent);
        let gaps: Vec<String> = end.gaps().iter().cloned().chain(unsent.map(|failure| failure.to_string())).collect();
        let incomplete = (!gaps.is_empty()).then(|| gaps.join("; "));
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
        let log_file = SharedFile::open(arguments.logs.as_deref()).await?;
        let mut metrics = BTreeMap::new();
        for (name, host) in platform.functions() {
            let sums = FunctionMetrics::default();
            tokio::spawn(function_logs::collect(sums.clone(), host.logs(), log_file.clone()));
            metrics.insert(name.to_owned(), sums);
        }
        let mut cpu = CpuLedger::default();
        cpu.look();
        let started = Instant::now();
        let beside = names.beside.iter().zip([Beside::Actions, Beside::Events]);
        let beside = beside.filter_map(|(handled, topic)| Some((handled.as_ref()?.topic.clone(), topic))).collect();
        let tracker = Tracker::new(started, places(arguments, traffic))
            .with_default_currency(names.default_currency)
            .with_topics_beside(beside);
        let tracker = Arc::new(tracker);
        let mut readers = Vec::new();
        let (produced, decisions): (Vec<Topic>, Vec<Topic>) =
            names.topics.iter().cloned().partition(|topic| topic.content.is_produced());
        for (topics, worth) in [(produced, PRODUCED_WORTH), (decisions, DECISIONS_WORTH)] {
            let reader = Reader::start(platform.kafka(), topics, worth, Arc::clone(&tracker));
            readers.push(reader.map_err(|error| Failure::failed(&error))?);
        }
        let stream = names.streams.as_ref().and_then(|names| StreamWatch::start(platform, names));
        Ok(Self {
            arguments,
            platform,
            names,
            tracker,
            progress,
            readers,
            metrics,
            stream,
            log_file,
            live: Live::new(arguments.quiet),
            observed: Observed::start(arguments.metrics_port).await?,
            backlog: None,
            burst: arguments.burst.map(burst::Watch::new),
            started,
            cpu_at_start: cpu.times(),
            cpu,
            cpu_looked_at: started,
        })
    }

    /// What lets the faults happen beside the traffic.
    fn driver(&self, chaos: &Chaos) -> Result<Driver<'a>, Failure> {
        let (platform, names) = (self.platform, &self.names);
        let missing = |what: &str| Failure::Usage(format!("{what} is not there, so no faults can happen to it"));
        let scoring = platform.function(&names.scoring).ok_or_else(|| missing("the scoring function"))?;
        let reader = self.readers.first().ok_or_else(|| missing("the reader"))?.control();
        if let Some(left_out) = chaos.left_out(scoring.spec().timeout) {
            terminal::note(&left_out);
        }
        let declared = |content| names.declared(platform, content);
        Ok(chaos.driver(Surroundings {
            platform,
            scoring,
            lake: names.lake.clone(),
            kafka: KafkaProcess::new(self.arguments.kafka_restart.clone(), self.arguments.kafka_pid),
            transactions: declared(Content::Transactions)?,
            decisions: [declared(Content::Approved)?, declared(Content::Blocked)?],
            gate: Arc::clone(&self.progress.gate),
            reader,
            tracker: Arc::clone(&self.tracker),
            tally: Arc::clone(&chaos.tally),
            calm: CancellationToken::new(),
        }))
    }

    fn announce(&self) -> Result<(), Failure> {
        if !self.arguments.quiet {
            terminal::print(&endpoints::as_text(
                self.platform,
                &self.observed.url(),
                &self.names.user_table,
                self.arguments.endpoints.as_deref(),
            ));
        }
        let Some(path) = &self.arguments.endpoints else { return Ok(()) };
        endpoints::write_json(path, &endpoints::as_json(self.platform, &self.observed.url()))
            .map_err(|error| Failure::Usage(format!("{} cannot be written: {error}", path.display())))
    }

    /// The mapping of a file's labels, which count as much as its transactions.
    fn labels_that_count(&self) -> Option<Arc<KafkaMapping>> {
        self.arguments.traffic.labels_after?;
        let labels = self.names.beside[1].as_ref()?;
        self.platform.mapping(&labels.topic, &labels.function).cloned()
    }

    fn send(&self, sender: Sender, mut source: Source, pace: Pace) -> Sending {
        let observer = Both { tracker: Arc::clone(&self.tracker), labels: self.labels_that_count() };
        let until = Until { elapsed: self.arguments.traffic.duration, count: self.arguments.backlog };
        tokio::task::spawn_blocking(move || sender.run(&mut source, pace, until, &observer))
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
        if let Some(burst) = &mut self.burst {
            burst.saw(self.started.elapsed(), self.tracker.undecided());
        }
        self.observed.look(self.platform, || self.tracker.seen());
        if self.live.is_due() {
            let stats = self.platform.stats();
            let (topic, function) = (self.names.transactions.clone(), self.names.scoring.clone());
            let lag = stats.mappings.get(&MappingKey { topic, function }).map_or(0, |mapping| mapping.lag);
            self.live.show(&Look {
                seen: self.tracker.seen(),
                recent: self.tracker.recent_latencies(),
                blocked: self.tracker.last_blocked(),
                stats,
                alarms: self.platform.alarms(),
                lag,
                behind_ms: self.progress.behind_ms.load(Ordering::Relaxed),
                failed: self.progress.failed.load(Ordering::Relaxed),
            });
        }
    }

    /// Starts the mappings on what waits and watches until it is decided.
    async fn work_off(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        let sent = self.progress.acknowledged.load(Ordering::SeqCst);
        let sent_tx_s = as_f64(sent) / self.started.elapsed().as_secs_f64();
        // Reading the transactions back must not take part in the race.
        let drain_timeout = self.arguments.drain_timeout;
        let read_back = Instant::now();
        while read_back.elapsed() < drain_timeout && self.tracker.seen().records < sent {
            tokio::time::sleep(TICK).await;
        }
        let waiting = self.tracker.seen().unique;
        self.platform.start_urgent_mappings().await.map_err(|error| Failure::failed(&error))?;
        let mut watch = backlog::Watch::new(waiting);
        let (mut most, mut moved_at) = (0, Instant::now());
        while most < waiting && moved_at.elapsed() < drain_timeout && !interrupt.finish.is_cancelled() {
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
        self.platform.start_mappings().await.map_err(|error| Failure::failed(&error))?;
        Ok(())
    }

    fn look(&mut self, decided: u64, at: Instant) -> backlog::Look {
        self.cpu.look();
        let function_cpu = self.platform.functions().map(|(_, host)| host.stats().cpu_time).sum();
        backlog::Look { at, decided, function_cpu, process_cpu: self.cpu.times() }
    }

    /// Works off a backlog, if there is one; then everything before the cut is handled.
    async fn end(&mut self, interrupt: &Interrupt) -> Result<End<'a>, Failure> {
        if self.arguments.backlog.is_some() {
            self.work_off(interrupt).await?;
        }
        let mut end = End::new(self.platform, std::mem::take(&mut self.readers), self.arguments.drain_timeout);
        end.handle_all(&mut |beat| match beat {
            Beat::Tick => self.tick(),
            Beat::Waiting(what) => terminal::note(&format!("{what}; Ctrl-C ends at once, without a report")),
        })
        .await;
        Ok(end)
    }

    /// What went wrong with the traffic: a report may be clean although not everything could be sent.
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

async fn connect(platform: &Platform, topics: Topics, progress: &Arc<Progress>) -> Result<Sender, Failure> {
    let access = platform.kafka().clone();
    let progress = Arc::clone(progress);
    let connected = tokio::task::spawn_blocking(move || Sender::connect(&access, topics, progress)).await;
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
    let by_time = arguments.traffic.duration.and_then(|duration| pace.within(duration)).unwrap_or(0.0);
    let by_count = arguments.backlog.map_or(by_time, |records| records as f64);
    source.expected().map_or(by_count, |records| records as f64).min(PLACES_MAX) as usize
}
