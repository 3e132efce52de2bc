//! The data points that an alarm compares.

use std::collections::BTreeMap;

use crate::math::{Context, Expression, MathError, Series};
use crate::spec::{LowSamples, MetricAlarm, Query};
use crate::store::Store;

/// The points of an evaluation range.
pub(crate) struct Points {
    /// The oldest first; none where data are missing.
    pub(crate) values: Series,
    /// The newest has too few samples for its percentile to say something, and the alarm leaves such periods alone.
    pub(crate) is_left_alone: bool,
}

impl MetricAlarm {
    /// The points of the last `length` periods before `end_ms`.
    pub(crate) fn points(&self, store: &Store, end_ms: i64, length: usize) -> Result<Points, MathError> {
        let period_ms = self.period_s * 1_000;
        let mut is_left_alone = false;
        let mut metrics = BTreeMap::new();
        for (id, query) in &self.queries {
            let Query::Metric { metric, statistic } = query else { continue };
            let mut series = Series::with_capacity(length);
            let mut from_ms = end_ms - period_ms * i64::try_from(length).unwrap_or(0);
            while from_ms < end_ms {
                let samples = store.between(metric, from_ms, from_ms + period_ms);
                let few = statistic.samples_needed().is_some_and(|needed| samples.count() < needed);
                let is_ignored = few && samples.count() > 0.0 && self.low_samples == LowSamples::Ignore;
                // What it would say is not heard; periods before the newest are as if they had no data.
                series.push(if is_ignored { None } else { samples.statistic(*statistic) });
                from_ms += period_ms;
                is_left_alone |= is_ignored && from_ms == end_ms;
            }
            metrics.insert(id.as_str(), series);
        }
        Ok(Points { values: self.result(&metrics, length)?, is_left_alone })
    }

    fn result(&self, metrics: &BTreeMap<&str, Series>, length: usize) -> Result<Series, MathError> {
        if let Some(series) = metrics.get(self.returned.as_str()) {
            return Ok(series.clone());
        }
        let expressions = self.expressions.iter().map(|(id, expression)| (id.as_str(), expression)).collect();
        #[expect(clippy::cast_precision_loss, reason = "at most a week of seconds")]
        let context = Context { metrics, expressions: &expressions, period_s: self.period_s as f64, length };
        context.series(&Expression::Id(self.returned.clone()))
    }

    /// Evaluates on no data and on some, so that what can never be evaluated is found before there are any.
    pub(crate) fn dry_run(&self) -> Result<(), MathError> {
        for value in [None, Some(1.0)] {
            let ids = self.queries.iter().filter(|(_, query)| matches!(query, Query::Metric { .. }));
            let metrics = ids.map(|(id, _)| (id.as_str(), vec![value; self.range()])).collect();
            self.result(&metrics, self.range())?;
        }
        Ok(())
    }
}
