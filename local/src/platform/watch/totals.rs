//! What the functions' metrics come to since the platform began, for whoever collects counters.

use std::collections::BTreeMap;

use centinela_cloudwatch::emf::Metric;
use centinela_cloudwatch::{MetricId, Values};

/// Metrics that are added up. Each is a time series of whoever collects them.
const METRICS_MAX: usize = 2_048;
/// The unit of what is counted; everything else is a distribution.
const COUNT: &str = "Count";

/// A metric since the platform began.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricTotal {
    /// Which metric.
    pub metric: MetricId,
    /// Its unit, such as `Count` or `Milliseconds`.
    pub unit: String,
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Of what is not counted: how many values were at most each of [`MetricTotal::BOUNDS`].
    pub at_most: Vec<u64>,
}

impl MetricTotal {
    /// Upper bounds of a distribution's buckets, in the metric's unit: the promise of 500 ms is one of them.
    pub const BOUNDS: [f64; 11] = [5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 10_000.0, 60_000.0];

    /// Whether its values are counts, which are added up.
    #[must_use]
    pub fn is_count(&self) -> bool {
        self.unit == COUNT
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Totals(BTreeMap<MetricId, MetricTotal>);

impl Totals {
    pub(super) fn add(&mut self, metric: &Metric) {
        let Values::Each(values) = &metric.datum.values else { return };
        let id = &*metric.datum.metric;
        if !self.0.contains_key(id) {
            if self.0.len() >= METRICS_MAX {
                return;
            }
            let unit = metric.unit.as_deref().unwrap_or("None").to_owned();
            let at_most = if unit == COUNT { Vec::new() } else { vec![0; MetricTotal::BOUNDS.len()] };
            self.0.insert(id.clone(), MetricTotal { metric: id.clone(), unit, count: 0, sum: 0.0, at_most });
        }
        let Some(total) = self.0.get_mut(id) else { return };
        for value in values {
            total.count += 1;
            total.sum += value;
            for (bucket, bound) in total.at_most.iter_mut().zip(MetricTotal::BOUNDS) {
                *bucket += u64::from(*value <= bound);
            }
        }
    }

    pub(super) fn all(&self) -> Vec<MetricTotal> {
        self.0.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use centinela_cloudwatch::emf;

    use super::*;

    #[test]
    fn counts_are_added_up_and_times_are_put_into_buckets() {
        let line = r#"{"_aws":{"Timestamp":7,"CloudWatchMetrics":[{"Namespace":"Centinela","Dimensions":[["Function"]],"Metrics":[{"Name":"Decided","Unit":"Count"},{"Name":"ProcessingMilliseconds","Unit":"Milliseconds"}]}]},"Function":"f","Decided":3,"ProcessingMilliseconds":[5,600]}"#;
        let mut totals = Totals::default();
        for _ in 0..2 {
            emf::read(line).expect("a line of metrics").iter().for_each(|metric| totals.add(metric));
        }
        let all = totals.all();
        assert!(all[0].is_count() && all[0].at_most.is_empty());
        assert_eq!((all[0].count, all[0].sum.to_string()), (2, "6".to_owned()));
        assert_eq!(all[1].at_most, [2, 2, 2, 2, 2, 2, 2, 4, 4, 4, 4]);
        assert_eq!((all[1].count, all[1].sum.to_string()), (4, "1210".to_owned()));
    }
}
