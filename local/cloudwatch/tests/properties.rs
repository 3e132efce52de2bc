//! What holds for any data.

use centinela_cloudwatch::{
    Alarm, Alarms, Datum, MINUTE_MS, MetricId, Missing, Samples, State, Statistic, Store, Values, emf, verdict,
};
use proptest::prelude::*;
use serde_json::json;

const TREATMENTS: [Missing; 4] = [Missing::Breaching, Missing::NotBreaching, Missing::Ignore, Missing::Missing];

fn points() -> impl Strategy<Value = Vec<Option<bool>>> {
    prop::collection::vec(prop::option::of(any::<bool>()), 0..12)
}

/// Periods and how many of them must breach.
fn lengths() -> impl Strategy<Value = (usize, usize)> {
    (1usize..8).prop_flat_map(|periods| (Just(periods), 1..=periods))
}

fn state() -> impl Strategy<Value = State> {
    prop::sample::select(State::ALL.to_vec())
}

proptest! {
    /// A point that breaches instead of being well never silences an alarm.
    #[test]
    fn more_trouble_never_silences(points in points(), (periods, datapoints) in lengths(), current in state(), at in 0usize..12) {
        for missing in TREATMENTS {
            if verdict(&points, periods, datapoints, missing, current) == State::Alarm {
                let mut worse = points.clone();
                if let Some(Some(point)) = worse.get_mut(at) {
                    *point = true;
                }
                // A state that was only kept may be left for a better founded one.
                if missing != Missing::Ignore || current != State::Alarm {
                    prop_assert_eq!(verdict(&worse, periods, datapoints, missing, current), State::Alarm);
                }
            }
        }
    }

    /// With all points there, only the newest count, in any order, and the treatment of missing ones does not matter.
    #[test]
    fn without_missing_points_it_is_m_of_n(
        points in prop::collection::vec(any::<bool>(), 1..12),
        (periods, datapoints) in lengths(),
        current in state(),
    ) {
        prop_assume!(points.len() >= periods);
        let breaching = points.iter().rev().take(periods).filter(|point| **point).count();
        let expected = if breaching >= datapoints { State::Alarm } else { State::Ok };
        let points: Vec<Option<bool>> = points.into_iter().map(Some).collect();
        for missing in TREATMENTS {
            prop_assert_eq!(verdict(&points, periods, datapoints, missing, current), expected);
        }
    }

    /// Silence that counts as breaching is never taken more lightly than silence that counts as well.
    #[test]
    fn breaching_silence_is_the_worst(points in points(), (periods, datapoints) in lengths(), current in state()) {
        if verdict(&points, periods, datapoints, Missing::NotBreaching, current) == State::Alarm && !points.is_empty() {
            prop_assert_eq!(verdict(&points, periods, datapoints, Missing::Breaching, current), State::Alarm);
        }
    }

    /// What values come to does not depend on their order or on how they were put together.
    #[test]
    fn samples_are_a_set(mut values in prop::collection::vec(-1_000i32..1_000, 1..200), cut in 0usize..200) {
        let each = |values: &[i32]| {
            let mut samples = Samples::default();
            samples.add(&Values::Each(values.iter().copied().map(f64::from).collect()));
            samples
        };
        let cut = cut.min(values.len());
        let mut parts = each(&values[..cut]);
        parts.merge(&each(&values[cut..]));
        values.sort_unstable();
        let whole = each(&values);
        for name in ["SampleCount", "Sum", "Average", "Minimum", "Maximum", "p50", "p99", "p0.1"] {
            let statistic = Statistic::parse(name).expect("a statistic");
            prop_assert_eq!(parts.statistic(statistic), whole.statistic(statistic));
        }
        let median = whole.statistic(Statistic::Percentile(50.0));
        prop_assert_eq!(median, Some(f64::from(values[(values.len() - 1) / 2])));
    }

    /// Whatever stands in a stack or a log, nothing panics.
    #[test]
    fn anything_can_be_read(text in "\\PC{0,200}", line in "\\PC{0,100}") {
        let alarm = json!({
            "AlarmName": "a", "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold",
            "Metrics": [{ "Id": "e", "Expression": text, "Period": 60 }],
        });
        drop(Alarm::read("AWS::CloudWatch::Alarm", "L", &alarm));
        drop(Alarm::read("AWS::CloudWatch::CompositeAlarm", "L", &json!({ "AlarmName": "c", "AlarmRule": text })));
        drop(emf::read(&line));
        drop(emf::read(&format!("{{\"_aws\":{line}")));
    }

    /// The words of expressions, in any order.
    #[test]
    fn any_words_can_be_read(
        words in prop::collection::vec(
            prop::sample::select(vec!["IF", "FILL", "(", ")", "[", "]", ",", "m", "1", "+", "-", "AVG", "METRICS", ">=", "AND", "'", " "]),
            0..40,
        ),
    ) {
        let metric = json!({ "Namespace": "N", "MetricName": "m" });
        let stat = json!({ "Stat": "Sum", "Period": 60, "Metric": metric });
        let metrics = json!([{ "Id": "m", "MetricStat": stat, "ReturnData": false }, { "Id": "e", "Expression": words.concat() }]);
        let alarm = json!({
            "AlarmName": "a", "EvaluationPeriods": 2, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold", "Metrics": metrics,
        });
        if let Ok(Some(alarm)) = Alarm::read("AWS::CloudWatch::Alarm", "L", &alarm) {
            // What can be read can be evaluated.
            let mut alarms = Alarms::new(vec![alarm], 0).expect("one alarm");
            let mut store = Store::keeping(alarms.needs());
            store.put(&Datum::one(MetricId::new("N", "m", &[]), MINUTE_MS, 2.0));
            (1..6).for_each(|minute| drop(alarms.tick(&store, minute * MINUTE_MS)));
        }
    }

    /// However often and late somebody looks, an alarm stands at the end as if every minute had been looked at, if it keeps no state.
    #[test]
    fn looking_more_often_changes_nothing(values in prop::collection::vec(prop::option::of(0u8..20), 10..40), looks in prop::collection::vec(1i64..40, 0..10)) {
        let properties = json!({
            "AlarmName": "a", "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 120, "EvaluationPeriods": 3,
            "DatapointsToAlarm": 2, "Threshold": 15, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching",
        });
        let alarm = Alarm::read("AWS::CloudWatch::Alarm", "L", &properties).expect("it can be read").expect("an alarm");
        let mut store = Store::default();
        for (minute, value) in (0i64..).zip(&values) {
            if let Some(value) = value {
                store.put(&Datum::one(MetricId::new("N", "m", &[]), minute * MINUTE_MS, f64::from(*value)));
            }
        }
        let end = i64::try_from(values.len()).expect("few");
        let stands = |mut looks: Vec<i64>| {
            looks.retain(|look| *look < end);
            looks.sort_unstable();
            looks.push(end);
            let mut alarms = Alarms::new(vec![alarm.clone()], 0).expect("one alarm");
            looks.into_iter().for_each(|look| drop(alarms.tick(&store, look * MINUTE_MS)));
            alarms.view("a").map(|view| view.state)
        };
        prop_assert_eq!(stands((1..end).collect()), stands(looks));
    }
}
