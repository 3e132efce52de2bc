//! What fires an alarm, and what all is well looks like, minute by minute.

use centinela_cloudwatch::{Comparison, MetricAlarm, MetricId, Missing, Statistic};

use super::world::Happening;

/// What happens in each minute.
pub struct Scenario {
    /// In words.
    pub by: String,
    /// While there is trouble.
    pub trouble: Vec<Happening>,
    /// While all is well.
    pub calm: Vec<Happening>,
    /// Minutes of calm before, beyond what the alarm needs to be well.
    pub minutes_before: i64,
    /// Minutes of trouble that it may take, beyond what the alarm looks back.
    pub minutes: i64,
}

/// The scenario of an alarm.
///
/// # Panics
/// When nobody has thought of one: an alarm on metric math needs numbers of its own.
pub fn of(alarm: &MetricAlarm) -> Scenario {
    let metrics: Vec<(String, MetricId, Statistic)> = alarm
        .queries
        .iter()
        .filter_map(|(id, query)| match query {
            centinela_cloudwatch::Query::Metric { metric, statistic } => Some((id.clone(), metric.clone(), *statistic)),
            centinela_cloudwatch::Query::Expression(_) => None,
        })
        .collect();
    let named = |values: &[(&str, f64)]| -> Vec<Happening> {
        let one = |(id, value): &(&str, f64)| {
            let found = metrics.iter().find(|(known, ..)| known == id);
            let (_, metric, _) = found.unwrap_or_else(|| panic!("{} has no metric {id}", alarm.name));
            Happening::Value(metric.clone(), *value)
        };
        values.iter().map(one).collect()
    };
    let short = alarm.name.split_once("centinela-").map_or(alarm.name.as_str(), |(_, short)| short);
    let (trouble, calm, minutes_before) = match (short, alarm.queries.len()) {
        ("block-rate" | "brake-block-rate", _) => {
            (named(&[("decided", 1_000.0), ("blocked", 600.0)]), named(&[("decided", 1_000.0), ("blocked", 10.0)]), 0)
        }
        ("block-rate-jumps", _) => {
            (named(&[("decided", 1_000.0), ("blocked", 300.0)]), named(&[("decided", 1_000.0), ("blocked", 20.0)]), 75)
        }
        // Beside the decisions of all other scenarios it is a healthy share.
        ("nothing-blocked", _) => {
            (named(&[("decided", 10_000.0), ("blocked", 0.0)]), named(&[("decided", 10_000.0), ("blocked", 400.0)]), 0)
        }
        ("conflicts", _) => (
            named(&[("decided", 1_000.0), ("conflicts", 200.0)]),
            named(&[("decided", 1_000.0), ("conflicts", 1.0)]),
            0,
        ),
        ("duplicates", _) => (named(&[("decided", 1_000.0), ("duplicates", 200.0)]), named(&[("decided", 1_000.0)]), 0),
        ("cost-per-million", _) => (
            named(&[("decided", 250.0), ("units", 1_000.0), ("busy", 100_000_000.0)]),
            named(&[("decided", 1_000_000.0), ("units", 1.0), ("busy", 1.0)]),
            0,
        ),
        ("users-near-cap", _) => (named(&[("writes", 360_000.0)]), named(&[("writes", 60.0)]), 0),
        ("stream-near-cap", _) => (named(&[("records", 300_000.0)]), named(&[("records", 60.0)]), 0),
        ("concurrency-near-cap", _) => (named(&[("concurrent", 900.0)]), named(&[("concurrent", 1.0)]), 0),
        (_, 1) => return single(alarm, &metrics),
        (short, _) if short.starts_with("brokers-") || short.starts_with("below-") || short == "brake-pollers" => {
            each(alarm, &metrics)
        }
        (short, _) if short.ends_with("-throttled") => each(alarm, &metrics),
        (short, _) => panic!("{short} has no scenario; think of what fires and what clears it, and add it here"),
    };
    Scenario { by: in_words(&trouble), trouble, calm, minutes_before, minutes: 0 }
}

/// Whether an alarm that waits for silence is switched off: in an environment that rests at times silence is well.
pub fn is_off(alarm: &MetricAlarm) -> bool {
    let waits_for_silence = matches!(alarm.comparison, Comparison::Less | Comparison::LessOrEqual);
    waits_for_silence && alarm.queries.len() == 1 && alarm.missing != Missing::Breaching
}

/// All metrics alike: a value that breaches, and one that does not.
fn each(alarm: &MetricAlarm, metrics: &[(String, MetricId, Statistic)]) -> (Vec<Happening>, Vec<Happening>, i64) {
    let (bad, good) = match alarm.comparison {
        Comparison::Greater | Comparison::GreaterOrEqual => (alarm.threshold * 1.5 + 1.0, alarm.threshold / 100.0),
        Comparison::Less | Comparison::LessOrEqual => (alarm.threshold / 2.0, alarm.threshold * 1.5 + 1.0),
    };
    let all = |value: f64| metrics.iter().map(|(_, metric, _)| Happening::Value(metric.clone(), value)).collect();
    (all(bad), all(good), 0)
}

/// An alarm on one metric.
fn single(alarm: &MetricAlarm, metrics: &[(String, MetricId, Statistic)]) -> Scenario {
    let [(_, metric, statistic)] = metrics else { panic!("{} watches one metric", alarm.name) };
    let value = |value: f64| vec![Happening::Value(metric.clone(), value)];
    let many = |value: f64| vec![Happening::Many(metric.clone(), value)];
    let (trouble, calm) = match (alarm.comparison, statistic) {
        // Silence is the trouble.
        (Comparison::Less | Comparison::LessOrEqual, _) => (vec![Happening::Silence(metric.clone())], value(1.0)),
        (_, Statistic::Percentile(_)) => (many(alarm.threshold * 1.5), many(alarm.threshold / 10.0)),
        // Something small is always written, or the alarm could never be well again: missing data are ignored there.
        _ if metric.namespace == "AWS/DynamoDB" => (value(alarm.threshold + 1.0), value(1.0)),
        (_, Statistic::Average) => (value(alarm.threshold * 1.5), value(alarm.threshold / 10.0)),
        _ => (value(alarm.threshold * 1.5 + 1.0), Vec::new()),
    };
    // A record that waits for so long waits for so long.
    let minutes = if metric.name == "EstimatedMaxTimeLag" { 2 * whole(alarm.threshold / 60.0) } else { 0 };
    Scenario { by: in_words(&trouble), trouble, calm, minutes_before: 0, minutes }
}

#[expect(clippy::cast_possible_truncation, reason = "minutes of a threshold")]
fn whole(minutes: f64) -> i64 {
    minutes as i64
}

fn in_words(happenings: &[Happening]) -> String {
    let of = |metric: &MetricId| format!("{} {}", metric.namespace, metric.name);
    let mut words: Vec<String> = happenings
        .iter()
        .map(|happening| match happening {
            Happening::Value(metric, value) => format!("{} {value}", of(metric)),
            Happening::Many(metric, value) => format!("{} {value}, 1,200 times", of(metric)),
            Happening::Silence(metric) => format!("no {}", of(metric)),
        })
        .collect();
    words.dedup();
    words.join(", ")
}
