//! Metrics by the minute, for as long as an alarm looks back.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::MINUTE_MS;
use crate::metric::{Datum, MetricId};
use crate::samples::Samples;

/// Metrics that are kept. Every set of dimensions is one, and is paid by the month in AWS.
const METRICS_MAX: usize = 4_096;
/// Minutes of a metric that no alarm watches: enough to show it.
const MINUTES_DEFAULT: i64 = 5;
/// Minutes of data that come early, or while nothing is forgotten.
const MINUTES_SPARE: i64 = 120;

/// Metrics of the last minutes.
#[derive(Clone, Debug, Default)]
pub struct Store {
    needs: BTreeMap<MetricId, i64>,
    metrics: BTreeMap<Arc<MetricId>, BTreeMap<i64, Samples>>,
    refused: u64,
}

impl Store {
    /// Keeps each of these metrics for so many minutes, and all others for a few.
    #[must_use]
    pub fn keeping(needs: BTreeMap<MetricId, i64>) -> Self {
        Self { needs, ..Self::default() }
    }

    /// Takes data in.
    pub fn put(&mut self, datum: &Datum) {
        if !self.metrics.contains_key(&datum.metric) && self.metrics.len() >= METRICS_MAX {
            self.refused += 1;
            return;
        }
        let most = usize::try_from(self.minutes_of(&datum.metric) + MINUTES_SPARE).unwrap_or(usize::MAX);
        let minutes = self.metrics.entry(Arc::clone(&datum.metric)).or_default();
        minutes.entry(datum.at_ms.div_euclid(MINUTE_MS)).or_default().add(&datum.values);
        while minutes.len() > most {
            minutes.pop_first();
        }
    }

    /// What a metric comes to from one minute to another, that one not included; both in milliseconds since 1970.
    #[must_use]
    pub fn between(&self, metric: &MetricId, from_ms: i64, to_ms: i64) -> Samples {
        let mut samples = Samples::default();
        let (from, to) = (from_ms.div_euclid(MINUTE_MS), to_ms.div_euclid(MINUTE_MS));
        if let Some(minutes) = self.metrics.get(metric).filter(|_| from < to) {
            minutes.range(from..to).for_each(|(_, minute)| samples.merge(minute));
        }
        samples
    }

    /// Lets go of what no alarm looks at any more.
    pub fn forget(&mut self, now_ms: i64) {
        let now = now_ms.div_euclid(MINUTE_MS);
        let needs = &self.needs;
        self.metrics.retain(|metric, minutes| {
            let kept = needs.get(&**metric).copied().unwrap_or(MINUTES_DEFAULT);
            *minutes = minutes.split_off(&(now - kept));
            !minutes.is_empty()
        });
    }

    /// The metrics of which there is anything.
    pub fn metrics(&self) -> impl Iterator<Item = &MetricId> {
        self.metrics.keys().map(|metric| &**metric)
    }

    /// Data that were not taken, because there were too many metrics.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn minutes_of(&self, metric: &MetricId) -> i64 {
        self.needs.get(metric).copied().unwrap_or(MINUTES_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistic::Statistic;

    fn metric(name: &str) -> MetricId {
        MetricId::new("N", name, &[("Function", "f")])
    }

    #[test]
    fn a_minute_belongs_to_the_period_that_it_begins_in() {
        let mut store = Store::default();
        for at_ms in [59_999, 60_000, 119_999, 120_000] {
            store.put(&Datum::one(metric("m"), at_ms, 1.0));
        }
        let sum = |from, to| store.between(&metric("m"), from, to).statistic(Statistic::Sum).map(|sum| sum.to_string());
        assert_eq!((sum(60_000, 120_000), sum(0, 180_000)), (Some("2".to_owned()), Some("4".to_owned())));
        assert_eq!((sum(180_000, 240_000), sum(120_000, 60_000)), (None, None));
        let other = MetricId::new("N", "m", &[]);
        assert!(store.between(&other, 0, 180_000).statistic(Statistic::Sum).is_none(), "another set of dimensions");
    }

    #[test]
    fn what_no_alarm_looks_at_is_forgotten() {
        let mut store = Store::keeping(BTreeMap::from([(metric("watched"), 30)]));
        for name in ["watched", "other"] {
            store.put(&Datum::one(metric(name), 0, 1.0));
        }
        store.forget(20 * MINUTE_MS);
        assert_eq!(store.metrics().collect::<Vec<_>>(), [&metric("watched")]);
        store.forget(31 * MINUTE_MS);
        assert_eq!(store.metrics().count(), 0);
    }

    #[test]
    fn there_is_an_end_to_what_is_taken() {
        let mut store = Store::default();
        (0..10_000).for_each(|minute| store.put(&Datum::one(metric("m"), minute * MINUTE_MS, 1.0)));
        assert!(store.metrics[&metric("m")].len() <= 125);
        (0..5_000).for_each(|number| store.put(&Datum::one(metric(&format!("m{number}")), 0, 1.0)));
        assert_eq!((store.metrics().count(), store.refused()), (METRICS_MAX, 5_001 - METRICS_MAX as u64));
    }
}
