//! What is known at the end of a run.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::answers::Arrivals;
use super::records::Records;
use crate::processes::{Looked, Spent};

/// Longest latency that is told apart from others: ten minutes, in µs.
const LATENCY_MAX_US: u64 = 600_000_000;

/// The way from the intended send time to a reader that has the decision, in ms.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// µs of CPU time per decision, and most memory in MB.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Of the process itself.
    pub own_us: f64,
    /// Of what it started.
    pub children_us: f64,
    /// Of both, together.
    pub rss_mb: u32,
}

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// `live` or `backlog`.
    pub mode: &'static str,
    /// Different transactions that were sent.
    pub sent: usize,
    /// Of these, decided.
    pub decided: u64,
    /// Decisions that came again with the same outcome.
    pub repeated: u64,
    /// Decisions that came again with another outcome.
    pub contradicted: u64,
    /// Messages about no transaction that was sent.
    pub unknown: u64,
    /// From the start of the contender to its first decision, in seconds.
    pub first_decision_s: Option<f64>,
    /// Decisions a second in the measured part.
    pub tx_s: f64,
    /// Decisions in the measured part.
    pub measured: u64,
    /// Live only.
    pub latency_ms: Option<Latency>,
    /// By how much the latest record was sent too late, in ms; live only.
    pub behind_ms: f64,
    /// By name: what each process spent per decision of the measured part.
    pub cpu: BTreeMap<String, Cost>,
    /// Share of all processors that was used in the measured part.
    pub machine_busy: Option<f64>,
    /// What Kafka's client complained about first.
    pub problem: Option<String>,
}

/// What each process spent, per decision.
pub fn costs(spent: &Looked, decisions: u64) -> BTreeMap<String, Cost> {
    let each = decisions.max(1) as f64;
    let cost = |spent: &Spent| Cost {
        own_us: rounded(spent.own.as_micros() as f64 / each),
        children_us: rounded(spent.children.as_micros() as f64 / each),
        rss_mb: spent.rss_mb,
    };
    spent.0.iter().map(|(name, spent)| (name.clone(), cost(spent))).collect()
}

/// Latencies of the transactions whose first record is among these places; `meant_us` says when each was meant to be sent.
pub fn latency(
    arrivals: &Arrivals,
    records: &Records,
    places: std::ops::Range<usize>,
    meant_us: impl Fn(usize) -> u64,
) -> Option<Latency> {
    let mut histogram = Histogram::<u64>::new_with_max(LATENCY_MAX_US, 3).ok()?;
    for place in places.filter(|place| records.is_first(*place) && arrivals.at_us[*place] > 0) {
        histogram.saturating_record(arrivals.at_us[place].saturating_sub(meant_us(place)).min(LATENCY_MAX_US));
    }
    let ms = |quantile: f64| rounded(histogram.value_at_quantile(quantile) as f64 / 1_000.0);
    (!histogram.is_empty()).then(|| Latency {
        p50: ms(0.5),
        p99: ms(0.99),
        p999: ms(0.999),
        max: rounded(histogram.max() as f64 / 1_000.0),
    })
}

/// One decimal is all that means anything.
pub fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn latency_is_counted_from_the_intended_time_and_a_missing_decision_is_none() {
        let records = Records::new(1, 100, 4).unwrap();
        let arrivals = Arrivals { at_us: vec![5_000, 0, 9_000, 30_000], ..Arrivals::default() };
        let meant = |place: usize| place as u64 * 1_000;
        let found = latency(&arrivals, &records, 0..3, meant).expect("two were decided");
        assert!((found.max - 7.0).abs() < 0.05 && (found.p50 - 5.0).abs() < 0.05, "{found:?}");
        assert_eq!(latency(&arrivals, &records, 1..2, meant), None);
    }

    #[test]
    fn what_processes_spent_is_shared_by_the_decisions() {
        let spent = Spent { own: Duration::from_millis(3), children: Duration::from_micros(500), rss_mb: 3 };
        let costs = costs(&Looked(BTreeMap::from([("peer".to_owned(), spent)])), 10);
        assert_eq!(costs["peer"], Cost { own_us: 300.0, children_us: 50.0, rss_mb: 3 });
    }
}
