//! What a run's report is made of.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use centinela_audit::chaos::Chaos;
use centinela_audit::end::End;
use centinela_audit::lake::LakeCheck;
use centinela_audit::report::{Evidence, Items, Producer, Report, SentBeside};

use super::{Run, TICK};
use crate::traffic::Stream;
use crate::up::names::Handled;

/// How long the last metric lines may take from a function to the report.
const METRICS_LIMIT: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// Draws up the report; reads the tables and the lake for it.
    pub(super) async fn report(&mut self, is_producer: bool, chaos: Option<&Chaos>, end: &mut End<'_>) -> Report {
        // It compacts the hours of the run, which counts.
        let lake = self.lake(end).await;
        let stats = self.platform.stats();
        let (cut, gone) = end.bounds(&self.names.transactions, &self.names.scoring).await;
        self.await_metrics(&stats.functions).await;
        let streams = match self.names.streams.clone() {
            Some(names) => end.streams(&names, self.stream.take(), &self.tracker, cut.later).await,
            None => None,
        };
        let users = end.items(&self.names.user_table).await;
        let devices = match &self.names.device_table {
            Some(table) => end.items(table).await,
            None => None,
        };
        let remembered = |table: Option<&String>| table.map_or(&[][..], |table| self.platform.remembered(table));
        let [tracks, applies] = &self.names.beside;
        let function = |handled: &'_ Option<Handled>| handled.as_ref().map(|handled| handled.function.clone());
        let (tracks, applies) = (function(tracks), function(applies));
        let first = if is_producer { Some(self.started) } else { self.tracker.first_decision() };
        Report::new(Evidence {
            is_whole: end.gaps().is_empty(),
            seen: self.tracker.seen(),
            reconciled: self.tracker.reconcile(&gone),
            latencies: self.tracker.latencies(),
            waits: self.tracker.waits(),
            users: Items { before: remembered(Some(&self.names.user_table)), after: users.as_deref() },
            devices: Items { before: remembered(self.names.device_table.as_ref()), after: devices.as_deref() },
            labels: remembered(self.names.labels_table.as_ref()),
            besides: self.names.has_beside().then(|| self.tracker.reconcile_beside()),
            beside_functions: [tracks.as_deref(), applies.as_deref()],
            lake: self.names.lake.as_ref().zip(lake),
            streams,
            topics: self.tracker.volumes(),
            drawn: self.arguments.latency,
            scoring: &self.names.scoring,
            topic: &self.names.transactions,
            stats,
            metrics: self.metrics.iter().map(|(name, metrics)| (name.clone(), metrics.sums())).collect(),
            started: first.unwrap_or(self.started),
            last_decision: self.tracker.last_decision(),
            producer: is_producer.then(|| self.producer(chaos.map_or(0, Chaos::kills))),
            cut,
            cpu: self.cpu.times().zip(self.cpu_at_start).map(|(now, start)| now.since(&start)),
            backlog: self.backlog.clone(),
        })
    }

    /// What the lake holds of the run, where there is one.
    async fn lake(&self, end: &mut End<'_>) -> Option<BTreeMap<String, LakeCheck>> {
        let lake = self.names.lake.as_ref()?;
        end.lake(lake, &self.tracker.dead_places()).await
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

    fn producer(&self, kills: u64) -> Producer {
        let traffic = &self.arguments.traffic;
        let is_paced = traffic.input.is_none() && self.arguments.backlog.is_none();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::SeqCst);
        let beside = |stream| {
            let (sent, acknowledged) = self.progress.of(stream);
            SentBeside { sent, acknowledged }
        };
        Producer {
            key: traffic.key.as_str(),
            rate_tx_s: traffic.rate.or(is_paced.then_some(crate::args::RATE_DEFAULT)),
            seed: traffic.seed,
            shape: traffic.shape.1.clone(),
            sent: count(&self.progress.sent),
            acknowledged: count(&self.progress.acknowledged),
            failed: count(&self.progress.failed),
            first_failure: self.progress.first_error(),
            actions: beside(Stream::Actions),
            labels: beside(Stream::Labels),
            behind_ms_max: count(&self.progress.behind_ms_max),
            kills,
        }
    }
}
