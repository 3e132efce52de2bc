//! Figures of a report: distributions, and what things cost per transaction.

use std::time::Duration;

use centinela_local::threads::CpuTimes;
use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time that is told apart, in microseconds; more counts as this.
pub const LONGEST_US: u64 = 3_600_000_000;

/// An empty histogram of microseconds.
pub(crate) fn micros_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("1 to 3,600,000,000 with 3 digits are valid bounds")
}

/// A distribution, in milliseconds. An hour or more is not told apart: such a value is exactly an hour here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of the values are at most this.
    pub p50: f64,
    /// 99 % of them.
    pub p99: f64,
    /// 99.9 % of them.
    pub p999: f64,
    /// All of them.
    pub max: f64,
    /// How many values were that long, where any was. A record that was dead-lettered and sent again waits from its first delivery on, so
    /// these are mostly the hours until somebody looked after it.
    #[serde(skip_serializing_if = "is_none")]
    pub over_an_hour: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Percentiles {
    /// Of times in microseconds.
    pub(crate) fn of_micros(micros: &Histogram<u64>) -> Self {
        let ms = |micros: u64| rounded(as_f64(micros.min(LONGEST_US)) / 1_000.0);
        let at = |quantile: f64| ms(micros.value_at_quantile(quantile));
        let over_an_hour = micros.count_between(LONGEST_US, u64::MAX);
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: ms(micros.max()), over_an_hour }
    }
}

/// Microseconds per decided transaction by what the threads of this process do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessCpu {
    /// The embedded Kafka, if it runs here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<f64>,
    /// The embedded DynamoDB, Kinesis and S3, if they run here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_stand_ins: Option<f64>,
    /// The Kafka client library of the mapping, the producer and the readers.
    pub kafka_clients: f64,
    /// The rest: mapping, function host, producer, readers, report.
    pub platform: f64,
}

impl ProcessCpu {
    /// Divides times by transactions.
    pub(crate) fn new(times: &CpuTimes, decided: u64) -> Self {
        let per_tx = |time| micros_per_tx(time, decided);
        Self {
            broker: times.broker.map(per_tx),
            aws_stand_ins: times.aws_emulators.map(per_tx),
            kafka_clients: per_tx(times.kafka_clients),
            platform: per_tx(times.platform),
        }
    }
}

/// The value that this share of the values does not exceed; 0 when there is none.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place among some thousand values"
)]
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Microseconds per transaction.
pub(crate) fn micros_per_tx(time: Duration, decided: u64) -> f64 {
    rounded(time.as_secs_f64() * 1_000_000.0 / as_f64(decided.max(1)))
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Three decimals: more would only look exact.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasted_longer_than_is_told_apart_is_counted_and_not_given_a_number() {
        let mut micros = micros_histogram();
        micros.record_n(20_000, 7).unwrap();
        // Days, as the tracker caps them.
        micros.record_n(LONGEST_US, 3).unwrap();
        let times = Percentiles::of_micros(&micros);
        assert_eq!(times.over_an_hour, 3);
        let hour_ms = as_f64(LONGEST_US) / 1_000.0;
        assert_eq!([times.p50, times.p99, times.max].map(|ms| hour_ms <= ms), [false, true, true]);
    }

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let values: Vec<f64> = (1..=30).rev().map(f64::from).collect();
        let found = [0.5, 0.9, 1.0].map(|share| quantile(&values, share));
        assert_eq!(found.map(|value| value.to_string()), ["15", "27", "30"]);
        assert_eq!(quantile(&[], 0.5).to_string(), "0");
    }
}
