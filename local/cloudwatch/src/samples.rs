//! What the values of a metric come to over a time.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::metric::Values;
use crate::statistic::Statistic;

/// Different values of a minute that are told apart. Further ones are rounded to three digits, as their percentiles are then.
const VALUES_MAX: usize = 4_096;

/// A number with the order of numbers.
#[derive(Clone, Copy, Debug)]
struct Ordered(f64);

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Values of a metric, put together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    count: f64,
    sum: f64,
    range: Option<(f64, f64)>,
    values: BTreeMap<Ordered, u64>,
    /// Some came without their values, so that there are no percentiles.
    is_incomplete: bool,
}

impl Samples {
    /// Takes values in; what is not finite is no value.
    pub fn add(&mut self, values: &Values) {
        match values {
            Values::Each(values) => values.iter().filter(|value| value.is_finite()).for_each(|value| self.one(*value)),
            Values::Set { count, sum, min, max } => {
                if *count <= 0.0 || [count, sum, min, max].into_iter().any(|number| !number.is_finite()) {
                    return;
                }
                self.count += count;
                self.sum += sum;
                self.widen(*min, *max);
                // A set of equal values has percentiles: see `GetMetricStatistics` on those of statistic sets.
                if min.total_cmp(max) == Ordering::Equal {
                    self.note(*min, rounded_count(*count));
                } else {
                    self.is_incomplete = true;
                }
            }
        }
    }

    fn one(&mut self, value: f64) {
        self.count += 1.0;
        self.sum += value;
        self.widen(value, value);
        self.note(value, 1);
    }

    fn widen(&mut self, min: f64, max: f64) {
        let (low, high) = self.range.unwrap_or((min, max));
        self.range = Some((low.min(min), high.max(max)));
    }

    fn note(&mut self, value: f64, times: u64) {
        let mut key = Ordered(value);
        if self.values.len() >= VALUES_MAX && !self.values.contains_key(&key) {
            key = Ordered(three_digits(value));
            if self.values.len() >= 2 * VALUES_MAX && !self.values.contains_key(&key) {
                self.is_incomplete = true;
                return;
            }
        }
        *self.values.entry(key).or_default() += times;
    }

    /// Takes in what others hold.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        if let Some((min, max)) = other.range {
            self.widen(min, max);
        }
        self.is_incomplete |= other.is_incomplete;
        other.values.iter().for_each(|(value, times)| self.note(value.0, *times));
    }

    /// How many samples there are.
    #[must_use]
    pub fn count(&self) -> f64 {
        self.count
    }

    /// A statistic; none where there is nothing, and of a percentile where not every value is known.
    #[must_use]
    pub fn statistic(&self, statistic: Statistic) -> Option<f64> {
        let (min, max) = self.range?;
        match statistic {
            Statistic::SampleCount => Some(self.count),
            Statistic::Sum => Some(self.sum),
            Statistic::Average => Some(self.sum / self.count),
            Statistic::Minimum => Some(min),
            Statistic::Maximum => Some(max),
            Statistic::Percentile(share) => self.percentile(share),
        }
    }

    /// The smallest value that this share of the values does not exceed. CloudWatch does not say how it interpolates; this is a value that
    /// was measured.
    fn percentile(&self, per_cent: f64) -> Option<f64> {
        if self.is_incomplete {
            return None;
        }
        let total: u64 = self.values.values().sum();
        // Without what rounding adds to a whole number.
        let mut left = (as_f64(total) * per_cent / 100.0 - 1e-9).ceil().max(1.0);
        for (value, times) in &self.values {
            left -= as_f64(*times);
            if left <= 0.0 {
                return Some(value.0);
            }
        }
        self.values.keys().next_back().map(|value| value.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates, and a count is positive"
)]
fn rounded_count(count: f64) -> u64 {
    count.round().max(1.0) as u64
}

fn three_digits(value: f64) -> f64 {
    if value == 0.0 {
        return value;
    }
    let scale = 10f64.powf(value.abs().log10().floor() - 2.0);
    let rounded = (value / scale).round() * scale;
    if rounded.is_finite() { rounded } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(values: &[f64]) -> Samples {
        let mut samples = Samples::default();
        samples.add(&Values::Each(values.to_vec()));
        samples
    }

    fn shown(samples: &Samples, statistic: Statistic) -> String {
        samples.statistic(statistic).map_or("-".to_owned(), |value| value.to_string())
    }

    #[test]
    fn statistics_are_those_of_all_values() {
        let mut samples = each(&[4.0, 1.0]);
        samples.merge(&each(&[10.0, f64::NAN]));
        let all = [Statistic::SampleCount, Statistic::Sum, Statistic::Average, Statistic::Minimum, Statistic::Maximum];
        assert_eq!(all.map(|statistic| shown(&samples, statistic)), ["3", "15", "5", "1", "10"]);
        assert_eq!(shown(&Samples::default(), Statistic::SampleCount), "-", "no data is not 0");
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let values: Vec<f64> = (1..=1_000).map(f64::from).collect();
        let samples = each(&values);
        let shares = [0.1, 50.0, 99.0, 99.9, 100.0].map(|share| shown(&samples, Statistic::Percentile(share)));
        assert_eq!(shares, ["1", "500", "990", "999", "1000"]);
    }

    #[test]
    fn a_set_has_no_percentiles_unless_its_values_are_equal() {
        let mut samples = Samples::default();
        samples.add(&Values::Set { count: 3.0, sum: 6.0, min: 2.0, max: 2.0 });
        assert_eq!(shown(&samples, Statistic::Percentile(99.0)), "2");
        samples.add(&Values::Set { count: 2.0, sum: 3.0, min: 1.0, max: 2.0 });
        assert_eq!(
            (shown(&samples, Statistic::Percentile(99.0)), shown(&samples, Statistic::Sum)),
            ("-".to_owned(), "9".to_owned())
        );
    }

    #[test]
    fn many_different_values_take_no_more_memory_and_keep_their_percentiles() {
        let values: Vec<f64> = (0..100_000).map(|value| f64::from(value) / 7.0).collect();
        let samples = each(&values);
        assert!(samples.values.len() <= 2 * VALUES_MAX, "{}", samples.values.len());
        let p99 = samples.statistic(Statistic::Percentile(99.0)).unwrap_or(0.0);
        assert!((p99 / (99_000.0 / 7.0) - 1.0).abs() < 0.01, "{p99}");
    }
}
