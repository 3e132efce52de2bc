//! The harness: the same records for every contender, on the same topics of the same Kafka, and what it makes of them.
//!
//! It prints lines of JSON on standard output, of which the last is the report, and is told on standard input which processes to watch.
//! `bench/run` speaks that way with it.

mod answers;
mod records;
mod report;
mod sending;

use std::collections::BTreeMap;
use std::io::{self, BufRead as _};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use centinela_infra::Infrastructure;
use centinela_local::kafka::{ClusterError, DeclaredTopic, KafkaAccess, prepare_topics};
use centinela_local::platform::topic_spec;
use clap::Args;
use rdkafka::error::KafkaError;
use serde::Deserialize;
use serde_json::json;

use crate::host::{HostError, only_function};
use crate::processes::Looked;
use answers::Answers;
use records::{Records, TooFew};
use report::{Report, costs, latency, rounded};
use sending::{Schedule, Sending};

/// Between two looks at how many are decided.
const TICK: Duration = Duration::from_millis(5);
/// A contender that decides nothing more for this long is given up.
const STUCK: Duration = Duration::from_secs(60);
/// A contender that starts may take this long until its first decision.
const START: Duration = Duration::from_secs(180);
/// Share of a backlog that is worked off before the figures begin: processes start and caches fill in it.
const COUNTED_FROM: f64 = 0.3;
/// Share at which they end. Who shows decisions a second after they were made still works then; at the end of all it would only wait, and
/// seem cheaper than it is.
const COUNTED_TO: f64 = 0.8;
/// Records of a run at most: all of them are held in memory.
const RECORDS_MAX: usize = 4_000_000;

/// What every run needs.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// The brokers. Topics are created when they are missing.
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: String,
    /// Chooses the world.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Users of the world.
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub users: u32,
}

/// `centinela-bench live`.
#[derive(Debug, Args)]
#[command(after_help = "\
It reads a line such as {\"processes\": {\"peer\": 77}, \"started_unix_ms\": 1795867200000} from standard input, sends one record, waits
for its decision, and goes on at the rate.

Example:
  centinela-bench live --kafka 127.0.0.1:9092 --rate 1667 --warm-up 20 --seconds 60")]
pub struct Live {
    /// What every run needs.
    #[command(flatten)]
    pub common: Common,
    /// Records a second.
    #[arg(long, value_name = "TX_PER_S", default_value_t = 1_667, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// Seconds that do not count.
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=3_600))]
    pub warm_up: u32,
    /// Seconds that count.
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub seconds: u32,
}

/// `centinela-bench backlog`.
#[derive(Debug, Args)]
#[command(after_help = "\
It puts the records on the topic, says {\"loaded\": N} on standard output, and reads a line such as {\"processes\": {\"peer\": 77},
\"started_unix_ms\": 1795867200000} from standard input, by when the contender has been started.

Example:
  centinela-bench backlog --kafka 127.0.0.1:9092 --records 300000")]
pub struct Backlog {
    /// What every run needs.
    #[command(flatten)]
    pub common: Common,
    /// Records that wait.
    #[arg(long, value_name = "N", default_value_t = 300_000, value_parser = clap::value_parser!(u32).range(10..=4_000_000))]
    pub records: u32,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The stacks say which topics there are.
    #[error(transparent)]
    Stacks(#[from] HostError),
    /// Kafka.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Kafka's client.
    #[error("the kafka client")]
    Client(#[from] KafkaError),
    /// Too few records.
    #[error(transparent)]
    Records(#[from] TooFew),
    /// Too many records.
    #[error(
        "{wanted} records are more than the {RECORDS_MAX} that are held in memory; ask for a lower rate or fewer seconds"
    )]
    TooMany {
        /// So many.
        wanted: usize,
    },
    /// The operating system refuses.
    #[error("standard input, a runtime, or a thread")]
    Io(#[from] io::Error),
    /// The line on standard input.
    #[error(
        "a line like {{\"processes\": {{\"peer\": 77}}, \"started_unix_ms\": 1795867200000}} is expected on standard input"
    )]
    Told(#[from] serde_json::Error),
    /// The contender decides nothing.
    #[error("no decision came within {} s; is the contender running, and does it read {topic}?", START.as_secs())]
    Silent {
        /// The topic that it should read.
        topic: String,
    },
    /// The reader's thread is gone.
    #[error("the reader of the decisions died")]
    NoReader,
}

/// Which processes are watched, and when the contender was started.
#[derive(Debug, Deserialize)]
struct Told {
    processes: BTreeMap<String, u32>,
    started_unix_ms: u64,
}

/// Both sides of Kafka.
struct Bench {
    records: Arc<Records>,
    source: String,
    sending: Sending,
    answers: Answers,
    epoch: Instant,
    epoch_unix_ms: u64,
}

/// The records of a live run that count for latency.
struct Counted<'a> {
    places: std::ops::Range<usize>,
    /// When each was to be sent, in µs from the epoch.
    meant_us: &'a dyn Fn(usize) -> u64,
}

/// What was seen at one moment.
struct Moment {
    at: Instant,
    looked: Looked,
    machine: Option<(Duration, Duration)>,
}

impl Bench {
    fn prepare(common: &Common, count: usize) -> Result<Self, MeasureError> {
        if count > RECORDS_MAX {
            return Err(MeasureError::TooMany { wanted: count });
        }
        let stacks = only_function()?;
        let named = |variable: &str| stacks.functions[0].environment.get(variable).cloned().unwrap_or_default();
        let source = named("TRANSACTIONS_TOPIC");
        let answered = [named("APPROVED_TOPIC"), named("BLOCKED_TOPIC")];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(prepare_topics(&KafkaAccess::plaintext(&common.kafka), &topics(&stacks)))?;
        let records = Arc::new(Records::new(common.seed, common.users as usize, count)?);
        let partitions = |name: &str| {
            let declared = stacks.topics.iter().find(|topic| topic.name == name);
            declared.map_or(1, |topic| topic.partitions as usize)
        };
        let answered = answered.map(|topic| (topic.clone(), partitions(&topic)));
        let sending = Sending::new(&common.kafka, &source, &records)?;
        let epoch = Instant::now();
        let answers = Answers::read(&common.kafka, &answered, &records, epoch)?;
        Ok(Self { records, source, sending, answers, epoch, epoch_unix_ms: unix_ms() })
    }

    fn moment(&self, told: &Told) -> Moment {
        Moment { at: Instant::now(), looked: Looked::at(&told.processes), machine: centinela_procfs::machine_time() }
    }

    fn us(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX)
    }

    /// Waits until so many are decided, or nothing moves for `patience`; whether they are.
    fn await_decided(&self, wanted: u64, patience: Duration) -> bool {
        let (mut most, mut moved_at) = (self.answers.decided(), Instant::now());
        while most < wanted && moved_at.elapsed() < patience {
            std::thread::sleep(TICK);
            let decided = self.answers.decided();
            if most < decided {
                (most, moved_at) = (decided, Instant::now());
            }
        }
        wanted <= most
    }

    /// Puts the report together; `lived` is there in a live run only.
    fn report(
        self,
        told: &Told,
        (from, to): (&Moment, &Moment),
        lived: Option<Counted<'_>>,
    ) -> Result<Report, MeasureError> {
        let (epoch, epoch_unix_ms, records) = (self.epoch, self.epoch_unix_ms, self.records);
        let arrivals = self.answers.finish().ok_or(MeasureError::NoReader)?;
        let since = |at: Instant| at.saturating_duration_since(epoch).as_micros() as u64;
        let came: Vec<u64> = arrivals.at_us.iter().copied().filter(|at_us| *at_us > 0).collect();
        let measured = came.iter().filter(|at_us| (since(from.at)..=since(to.at)).contains(*at_us)).count() as u64;
        let last_us = came.iter().copied().filter(|at_us| *at_us <= since(to.at)).max().unwrap_or_default();
        let end_us = if lived.is_some() { since(to.at) } else { last_us };
        let seconds = end_us.saturating_sub(since(from.at)) as f64 / 1e6;
        let first_ms = came.iter().min().map(|at_us| epoch_unix_ms + at_us / 1_000);
        let busy = from.machine.zip(to.machine).map(|((used, all), (used_then, all_then))| {
            let all = all_then.saturating_sub(all).max(Duration::from_millis(1));
            used_then.saturating_sub(used).div_duration_f64(all)
        });
        Ok(Report {
            sent: records.unique(),
            decided: came.len() as u64,
            repeated: arrivals.repeated,
            contradicted: arrivals.contradicted,
            unknown: arrivals.unknown,
            first_decision_s: first_ms.map(|at| rounded(at.saturating_sub(told.started_unix_ms) as f64 / 1_000.0)),
            tx_s: rounded(measured as f64 / seconds.max(f64::MIN_POSITIVE)),
            measured,
            latency_ms: lived.and_then(|counted| latency(&arrivals, &records, counted.places, counted.meant_us)),
            cpu: costs(&to.looked.since(&from.looked), measured),
            machine_busy: busy.map(|busy| (busy * 1_000.0).round() / 1_000.0),
            problem: arrivals.problem,
            ..Report::default()
        })
    }
}

/// Runs `live`.
///
/// # Errors
/// See [`MeasureError`].
pub fn live(arguments: &Live) -> Result<(), MeasureError> {
    let rate = arguments.rate as usize;
    let (warm_up, counted) = (rate * arguments.warm_up as usize, rate * arguments.seconds as usize);
    let bench = Bench::prepare(&arguments.common, 1 + warm_up + counted)?;
    crate::print(&json!({ "prepared": bench.records.len() }).to_string());
    let told = told()?;
    bench.sending.send(0)?;
    if !bench.await_decided(1, START) {
        return Err(MeasureError::Silent { topic: bench.source });
    }
    let schedule = Schedule { rate: f64::from(arguments.rate) };
    let (places, counted) = (1..bench.records.len(), 1 + warm_up..bench.records.len());
    let (started, mut from) = (Instant::now(), None);
    let behind = bench.sending.in_an_open_loop(places, started, schedule, |place| {
        if place == counted.start {
            from = Some(bench.moment(&told));
        }
    })?;
    let (from, to) = (from.unwrap_or_else(|| bench.moment(&told)), bench.moment(&told));
    bench.sending.flush()?;
    bench.await_decided(bench.records.unique() as u64, STUCK);
    let meant = bench.us(started);
    let meant = |place: usize| meant + schedule.due(place - 1).as_micros() as u64;
    let mut report = bench.report(&told, (&from, &to), Some(Counted { places: counted, meant_us: &meant }))?;
    report.mode = "live";
    report.behind_ms = rounded(behind.as_secs_f64() * 1_000.0);
    crate::print(&json!({ "report": report }).to_string());
    Ok(())
}

/// Runs `backlog`.
///
/// # Errors
/// See [`MeasureError`].
pub fn backlog(arguments: &Backlog) -> Result<(), MeasureError> {
    let bench = Bench::prepare(&arguments.common, arguments.records as usize)?;
    for place in 0..bench.records.len() {
        bench.sending.send(place)?;
    }
    bench.sending.flush()?;
    crate::print(&json!({ "loaded": bench.records.len() }).to_string());
    let told = told()?;
    let all = bench.records.unique() as u64;
    if !bench.await_decided(1, START) {
        return Err(MeasureError::Silent { topic: bench.source });
    }
    bench.await_decided((all as f64 * COUNTED_FROM) as u64, STUCK);
    let from = bench.moment(&told);
    bench.await_decided((all as f64 * COUNTED_TO) as u64, STUCK);
    let to = bench.moment(&told);
    bench.await_decided(all, STUCK);
    let mut report = bench.report(&told, (&from, &to), None)?;
    report.mode = "backlog";
    crate::print(&json!({ "report": report }).to_string());
    Ok(())
}

fn told() -> Result<Told, MeasureError> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let mut told: Told = serde_json::from_str(&line)?;
    // What the harness costs stands in the report too.
    told.processes.insert("harness".to_owned(), std::process::id());
    Ok(told)
}

fn topics(stacks: &Infrastructure) -> Vec<DeclaredTopic> {
    let declared = stacks.topics.iter().map(|topic| DeclaredTopic {
        spec: topic_spec(topic),
        replication: topic.replication as usize,
        written: true,
    });
    declared.collect()
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_records_than_memory_is_meant_for_are_refused_before_any_is_made() {
        let common = Common { kafka: "127.0.0.1:1".to_owned(), seed: 1, users: 100 };
        let refused = Bench::prepare(&common, RECORDS_MAX + 1).err();
        assert!(matches!(refused, Some(MeasureError::TooMany { wanted: 4_000_001 })), "{refused:?}");
    }
}
