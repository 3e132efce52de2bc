//! The reconciliation report of a run: what became of every record, how fast, and at what price.
//!
//! `lost`, `doubled` and `republished` come from the topics and the stored state alone. Everything else is a figure about the
//! run and cannot make a report clean.

mod beside;
mod parts;
mod totals;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use centinela_local::aws::StoredItem;
use centinela_local::platform::{MappingKey, PlatformStats};
use centinela_local::threads::{self, CpuTimes};
use centinela_verdict::{Differences, Verdict};
use hdrhistogram::Histogram;
use serde::Serialize;

pub use beside::{Actions, Archive, Items, Labels};
pub use parts::{Cut, Database, Function, Mapping, Process, Producer, SentBeside};

use crate::backlog::Backlog;
use crate::burst::Burst;
use crate::chaos;
use crate::figures::{Percentiles, ProcessCpu, as_f64, rounded};
use crate::lake::{Lake, LakeCheck};
use crate::metrics::Metrics;
use crate::score::ScoreMetrics;
use crate::streams::StreamChecks;
use crate::tracker::{Besides, Reconciliation, Seen, Volume};

/// The report, as it is written to a file.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Of this form.
    pub version: u32,
    /// Whether nothing was lost or counted twice, of all that was to be sent.
    pub clean: bool,
    /// What could not be sent or read, so that the report covers less than was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
    /// Whether everything was read to the end, and users' totals compared.
    #[serde(skip)]
    pub is_whole: bool,
    /// What became of the records.
    pub records: Records,
    /// From the time at which a transaction was meant to be sent to the arrival of its decision at a consumer.
    pub latency_ms: Percentiles,
    /// Where the time of an invocation went.
    pub stages_ms: BTreeMap<&'static str, Percentiles>,
    /// What the database was asked.
    pub dynamodb: Database,
    /// Every function.
    pub function: BTreeMap<String, Function>,
    /// This process, where the operating system says.
    pub process: Option<Process>,
    /// How the backlog was worked off, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Backlog>,
    /// What became of the burst, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<Burst>,
    /// The mapping of the transactions for the scoring function.
    pub mapping: Mapping,
    /// Every mapping, by function and topic.
    pub mappings: BTreeMap<String, BTreeMap<String, Mapping>>,
    /// User actions, where the stacks have a topic for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actions: Option<Actions>,
    /// Labels, where the stacks have a topic for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// The lake, where the stacks have one that is filled and compacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<Archive>,
    /// Records of each topic and what they weigh.
    pub topics: BTreeMap<String, Volume>,
    /// Median and 99 % quantile of the latency that calls to DynamoDB and Kinesis were given, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drawn_ms: Option<[f64; 2]>,
    /// What functions made of the stream, where they read one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<StreamChecks>,
    /// Where the report ends.
    pub cut: Cut,
    /// The producer, when this command was it.
    pub producer: Option<Producer>,
    /// The faults that were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chaos: Option<chaos::Table>,
    /// The scores, where the truth is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<ScoreMetrics>,
    /// Decisions per second between the first transaction and the last decision.
    pub rate_tx_s: f64,
    /// That time.
    pub seconds: f64,
}

/// What became of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Records {
    /// On topic `transactions`.
    pub sent: u64,
    /// Different transactions among them, and records that are none: the sum of decided, dead-lettered and lost.
    pub unique: u64,
    /// Different transactions with a decision.
    pub decided: u64,
    /// Of these, let through.
    pub approved: u64,
    /// Of these, stopped.
    pub blocked: u64,
    /// Records that can never be decided, kept on topic `dead-letters`.
    pub parked: u64,
    /// Deliveries that were answered from the users' remembered decisions.
    pub replayed: u64,
    /// Messages that repeat a decision byte for byte, or a dead letter.
    pub republished: u64,
    /// Of these, decisions of transactions that their producer sent more than once.
    pub republished_duplicates: u64,
    /// Deliveries of records that were complete long ago.
    pub stale: u64,
    /// Decisions on events that came too late for their window.
    pub late: u64,
    /// Decisions that were made without an optional input.
    pub degraded: u64,
    /// Neither decided nor dead-lettered.
    pub lost: u64,
    /// Without a decision when the report had to end early; whether they are lost, nobody can say.
    pub undecided: u64,
    /// Deleted by the broker's retention before they were delivered; not in `lost`. At most: a marker of a transaction has an offset too.
    pub lost_by_retention: u64,
    /// Transactions with two different decisions, or counted twice in their user's state.
    pub doubled: u64,
    /// Transactions with two different decisions that their producer sent more than once: the second time after more of their
    /// user's decisions than are remembered, or it is a fault of ours. `doubled` counts such a one on the topics and in the state.
    pub doubled_duplicates: u64,
    /// Decisions on transactions that nobody sent.
    pub invented: u64,
    /// Users whose stored totals differ from the sum over their transactions.
    pub users_differing: u64,
}

/// Everything that a report is made of.
pub struct Evidence<'a> {
    /// Whether everything was read to the end; otherwise nothing can be said of what is missing.
    pub is_whole: bool,
    /// Counters of the topics.
    pub seen: Seen,
    /// What the topics came to.
    pub reconciled: Reconciliation,
    /// Latencies in microseconds.
    pub latencies: Histogram<u64>,
    /// From the broker's time of a record to its decision, in microseconds.
    pub waits: Histogram<u64>,
    /// Items of the users' table.
    pub users: Items<'a>,
    /// Items of the devices' table.
    pub devices: Items<'a>,
    /// Items of the labels' table before the run.
    pub labels: &'a [StoredItem],
    /// What the topics of actions and events come to, where there are such.
    pub besides: Option<Besides>,
    /// The functions that handle them.
    pub beside_functions: [Option<&'a str>; 2],
    /// The lake, and each archived topic against its rows.
    pub lake: Option<(&'a Lake, BTreeMap<String, LakeCheck>)>,
    /// What functions made of the stream.
    pub streams: Option<StreamChecks>,
    /// Records of each topic and what they weigh.
    pub topics: BTreeMap<String, Volume>,
    /// Median and 99 % quantile of the latency that calls were given.
    pub drawn: Option<(Duration, Duration)>,
    /// Name of the scoring function.
    pub scoring: &'a str,
    /// Topic of the transactions.
    pub topic: &'a str,
    /// Counters of the platform.
    pub stats: PlatformStats,
    /// Metric lines by function.
    pub metrics: BTreeMap<String, Metrics>,
    /// When the first transaction was due.
    pub started: Instant,
    /// When the last decision arrived.
    pub last_decision: Option<Instant>,
    /// What was sent from here.
    pub producer: Option<Producer>,
    /// Where the report ends.
    pub cut: Cut,
    /// What this process spent.
    pub cpu: Option<CpuTimes>,
    /// How a backlog was worked off.
    pub backlog: Option<Backlog>,
}

impl Evidence<'_> {
    /// The mapping of the transactions for the scoring function.
    fn mapping(&self) -> MappingKey {
        MappingKey { topic: self.topic.to_owned(), function: self.scoring.to_owned() }
    }

    /// What comes beside the transactions. Where not everything was read, nothing is called lost or different.
    fn beside(&self) -> (Option<Actions>, Option<Labels>) {
        let Some(besides) = &self.besides else { return (None, None) };
        let acknowledged = self
            .producer
            .as_ref()
            .map_or([0; 2], |producer| [producer.actions.acknowledged, producer.labels.acknowledged]);
        let (mut profiles, mut risks) = (0, 0);
        if self.is_whole {
            profiles = beside::profiles_differing(besides, self.users);
            risks = beside::risks_differing(besides, self.users, self.devices, self.labels);
        }
        let [tracks, applies] = self.beside_functions.map(|function| (&self.stats.dynamodb, function));
        let mut actions = Actions::of(besides, acknowledged[0], profiles, tracks);
        let mut labels = Labels::of(besides, acknowledged[1], risks, applies);
        if !self.is_whole {
            (actions.lost, labels.lost) = (0, 0);
        }
        (Some(actions), Some(labels))
    }

    /// What became of the records. Where not everything was read, nothing is called lost, invented or different.
    fn records(&self, scoring: &Metrics) -> Records {
        let Self { seen, reconciled, is_whole, .. } = self;
        let items = self.users.after.filter(|_| *is_whole);
        let compared = items.map(|items| totals::differences(&reconciled.users, items, self.users.before));
        let Differences { users, counted_twice } = compared.unwrap_or_default();
        // What Kafka acknowledged and does not hold any more is lost as well.
        let acknowledged = self.producer.as_ref().map_or(0, |producer| producer.acknowledged);
        let missing = reconciled.verdict.lost + acknowledged.saturating_sub(seen.records + seen.missed);
        // What the archive could not read is missing in the lake, and counted there.
        let handlers = self.beside_functions.into_iter().flatten().chain([self.scoring]);
        let handlers: Vec<&str> = handlers.collect();
        let of_handlers = self.stats.mappings.iter().filter(|(key, _)| handlers.contains(&key.function.as_str()));
        Records {
            sent: seen.records,
            unique: seen.unique,
            decided: seen.decided,
            approved: seen.approved,
            blocked: seen.blocked,
            parked: seen.dead_lettered,
            replayed: scoring.replayed,
            republished: seen.republished,
            republished_duplicates: reconciled.republished_duplicates,
            stale: scoring.stale,
            late: seen.late,
            degraded: seen.degraded,
            lost: if *is_whole { missing } else { 0 },
            undecided: if *is_whole { 0 } else { missing },
            lost_by_retention: of_handlers.map(|(_, mapping)| mapping.lost_by_retention).sum(),
            doubled: reconciled.verdict.doubled + counted_twice,
            doubled_duplicates: reconciled.doubled_duplicates,
            invented: if *is_whole { reconciled.verdict.invented + seen.unreadable_decisions } else { 0 },
            users_differing: users.len() as u64,
        }
    }
}

impl Report {
    /// Draws up the report.
    pub fn new(evidence: Evidence<'_>) -> Self {
        let scoring = evidence.metrics.get(evidence.scoring).cloned().unwrap_or_default();
        let records = evidence.records(&scoring);
        let (key, (actions, labels)) = (evidence.mapping(), evidence.beside());
        let Evidence { seen, reconciled, stats, metrics, .. } = evidence;
        let mapping = stats.mappings.get(&key);
        let archive = evidence.lake.map(|(lake, topics)| {
            Archive::of(topics, stats.objects.as_ref(), &lake.archive, evidence.started.elapsed())
        });
        let seconds = evidence.last_decision.map_or(0.0, |last| (last - evidence.started).as_secs_f64());
        let mut report = Self {
            version: 1,
            clean: false,
            incomplete: None,
            is_whole: evidence.is_whole,
            records,
            latency_ms: Percentiles::of_micros(&evidence.latencies),
            stages_ms: parts::stages(&scoring, &evidence.waits),
            dynamodb: parts::database(&stats, seen.decided),
            function: stats
                .functions
                .iter()
                .map(|(name, counters)| {
                    let units = stats.dynamodb.callers.get(name);
                    (name.clone(), parts::function(counters, metrics.get(name), units, seen.decided))
                })
                .collect(),
            process: evidence.cpu.map(|times| Process {
                cpu_us_per_tx: ProcessCpu::new(&times, seen.decided),
                rss_mb_max: threads::rss_mb_max(),
            }),
            backlog: evidence.backlog,
            burst: None,
            mapping: mapping.map(parts::mapping).unwrap_or_default(),
            mappings: parts::mappings(&stats),
            actions,
            labels,
            archive,
            topics: evidence.topics,
            drawn_ms: evidence.drawn.map(|(p50, p99)| [p50, p99].map(|time| rounded(time.as_secs_f64() * 1_000.0))),
            streams: evidence.streams.filter(|_| evidence.is_whole),
            cut: evidence.cut,
            producer: evidence.producer,
            chaos: None,
            score: reconciled.scores.measure(),
            rate_tx_s: if seconds > 0.0 { rounded(as_f64(seen.decided) / seconds) } else { 0.0 },
            seconds: rounded(seconds),
        };
        report.clean = report.fault().is_none();
        report
    }

    /// Notes that not everything was sent that was to be, or that not everything could be read.
    pub fn is_incomplete(&mut self, why: String) {
        self.clean = false;
        self.incomplete = Some(why);
    }

    /// What was lost or counted twice.
    pub fn fault(&self) -> Option<String> {
        let Records { lost, lost_by_retention, doubled, invented, users_differing, .. } = self.records;
        let beside = self.actions.as_ref().map_or(0, |actions| actions.lost)
            + self.labels.as_ref().map_or(0, |labels| labels.lost);
        let in_lake = |count: fn(&LakeCheck) -> u64| {
            self.archive.iter().flat_map(|archive| archive.topics.values()).map(count).sum()
        };
        let streams = self.streams.unwrap_or_default();
        let (index, rollups) = (streams.index.unwrap_or_default(), streams.rollups.unwrap_or_default());
        let verdict = Verdict {
            lost: lost + beside,
            lost_by_retention,
            doubled,
            invented,
            users_differing,
            profiles_differing: self.actions.as_ref().map_or(0, |actions| actions.profiles_differing),
            risks_differing: self.labels.as_ref().map_or(0, |labels| labels.risks_differing),
            unarchived: in_lake(|check| check.missing),
            archived_twice: in_lake(|check| check.twice),
            misarchived: in_lake(|check| check.wrong),
            unindexed: index.missing,
            misindexed: index.wrong,
            windows_differing: rollups.missing + rollups.wrong + u64::from(rollups.differs_from_topics),
        };
        verdict.fault()
    }
}
