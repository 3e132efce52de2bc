//! CloudWatch for one machine: the functions' metric lines and what AWS's services would report, and the stacks' alarms on them.
//!
//! What functions print is taken as they print it; what AWS's services would send is derived from the platform's counters, every ten
//! seconds. It measures nothing itself and does nothing about an alarm: it says what is to be published.

#[cfg(test)]
mod firing;
mod sources;
mod totals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use centinela_cloudwatch::{Alarm, Alarms, Event, MINUTE_MS, SpecError, State, Store, emf, notice};
use centinela_http_front::ApiCounts;
use centinela_infra::{Infrastructure, LAPTOP_ACCOUNT, LAPTOP_REGION};
use centinela_lambda_host::{Durations, FunctionHost};
use tokio::task::JoinSet;

use super::mapped::MappingKey;
use super::observing::PlatformStats;
use sources::Sources;
pub use totals::MetricTotal;
use totals::Totals;

/// Between two looks at the platform's counters; also before each minute's end is judged.
const LOOK_EVERY_MS: i64 = 10_000;
/// How late the last lines of a minute may come through their pipes.
const LATE_MS: i64 = 2_000;

/// How an alarm stands.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmView {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Its state.
    pub state: State,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// Why.
    pub reason: String,
    /// The newest data point; none where there is none, and of an alarm on alarms.
    pub value: Option<f64>,
}

/// What there is to take in.
pub(super) struct Measured {
    /// Counters since the start.
    pub(super) stats: PlatformStats,
    /// How long invocations took, by function, since the last time.
    pub(super) durations: BTreeMap<String, Durations>,
    /// What was asked of HTTP APIs since the last time, by logical id in small letters.
    pub(super) apis: BTreeMap<String, ApiCounts>,
    /// The Kafka mappings that are enabled.
    pub(super) enabled: BTreeSet<MappingKey>,
}

/// What an alarm tells a topic.
pub(super) struct ToPublish {
    pub(super) topic_arn: String,
    pub(super) subject: String,
    pub(super) message: String,
    /// Whether a person wants to know: not that a new alarm has found all well.
    pub(super) is_said: bool,
}

struct Inner {
    store: Store,
    alarms: Alarms,
    declared: BTreeMap<String, Alarm>,
    sources: Sources,
    totals: Totals,
    looked_ms: i64,
}

/// Metrics and alarms at work. Dropping it stops listening.
pub(super) struct Watch {
    inner: Arc<Mutex<Inner>>,
    listening: JoinSet<()>,
}

impl Watch {
    /// Reads the alarms of the stacks, for a system that begins now.
    pub(super) fn new(infrastructure: &Infrastructure, now_ms: i64) -> Result<Self, SpecError> {
        let mut declared = Vec::new();
        for resource in &infrastructure.resources {
            declared.extend(Alarm::read(&resource.kind, &resource.logical_id, &resource.properties)?);
        }
        let by_name = declared.iter().map(|alarm| (alarm.name().to_owned(), alarm.clone())).collect();
        let alarms = Alarms::new(declared, now_ms)?;
        let inner = Inner {
            store: Store::keeping(alarms.needs()),
            alarms,
            declared: by_name,
            sources: Sources::of(infrastructure),
            totals: Totals::default(),
            looked_ms: now_ms,
        };
        Ok(Self { inner: Arc::new(Mutex::new(inner)), listening: JoinSet::new() })
    }

    /// Takes in the metric lines of these functions from now on.
    pub(super) fn listen(&mut self, functions: &BTreeMap<String, Arc<FunctionHost>>) {
        for (name, host) in functions {
            let (name, mut lines, inner) = (name.clone(), host.logs(), Arc::clone(&self.inner));
            self.listening.spawn(async move {
                let mut reader = emf::Lines::default();
                while let Some(line) = lines.recv().await {
                    match reader.read(&line.text) {
                        Ok(metrics) if metrics.is_empty() => {}
                        Ok(metrics) => lock(&inner).take(&metrics),
                        Err(error) => tracing::warn!(function = name, %error, "cloudwatch would not take this line"),
                    }
                }
            });
        }
    }

    /// Takes in what was measured, when it is time to, and evaluates the alarms; what happened, and what is to be published.
    pub(super) fn observe(&self, now_ms: i64, measure: impl FnOnce() -> Measured) -> (Vec<Event>, Vec<ToPublish>) {
        let mut inner = lock(&self.inner);
        let (due, minute) = (inner.looked_ms + LOOK_EVERY_MS, |ms: i64| ms.div_euclid(MINUTE_MS));
        if now_ms < due && minute(now_ms) == minute(inner.looked_ms) {
            return (Vec::new(), Vec::new());
        }
        let measured = measure();
        let since_ms = std::mem::replace(&mut inner.looked_ms, now_ms);
        for datum in inner.sources.data(&measured, since_ms, now_ms) {
            inner.store.put(&datum);
        }
        let Inner { store, alarms, declared, .. } = &mut *inner;
        let events = alarms.tick(store, now_ms - LATE_MS);
        store.forget(now_ms);
        let notices = events.iter().filter_map(|event| Some((declared.get(&event.alarm)?, event)));
        let to_publish = notices.flat_map(|(alarm, event)| {
            let notice = notice(alarm, event, LAPTOP_ACCOUNT, LAPTOP_REGION);
            let is_said = (event.from, event.to) != (State::InsufficientData, State::Ok);
            event.actions.iter().map(move |topic_arn| ToPublish {
                topic_arn: topic_arn.clone(),
                subject: notice.subject.clone(),
                message: notice.message.clone(),
                is_said,
            })
        });
        let to_publish = to_publish.collect();
        (events, to_publish)
    }

    /// How the alarms stand.
    pub(super) fn alarms(&self) -> Vec<AlarmView> {
        let inner = lock(&self.inner);
        let views = inner.alarms.views().map(|view| AlarmView {
            name: view.name.to_owned(),
            description: view.description.to_owned(),
            state: view.state,
            since_ms: view.since_ms,
            reason: view.reason.to_owned(),
            value: view.value,
        });
        views.collect()
    }

    /// What the functions' metrics come to.
    pub(super) fn totals(&self) -> Vec<MetricTotal> {
        lock(&self.inner).totals.all()
    }
}

impl Inner {
    fn take(&mut self, metrics: &[emf::Metric]) {
        for metric in metrics {
            self.store.put(&metric.datum);
            self.totals.add(metric);
        }
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
