//! From the data points of an evaluation range to a state.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>

use crate::status::State;

/// What a data point that is missing counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// As one that breaches the threshold.
    Breaching,
    /// As one within it.
    NotBreaching,
    /// As none; the state stays while nothing is known.
    Ignore,
    /// As none; without any the alarm cannot tell.
    #[default]
    Missing,
}

impl Missing {
    /// Reads what a stack says.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "breaching" => Self::Breaching,
            "notBreaching" => Self::NotBreaching,
            "ignore" => Self::Ignore,
            "missing" => Self::Missing,
            _ => return None,
        })
    }
}

/// The state that data points lead to: `points` are those of the evaluation range, the oldest first, each breaching or not, or missing.
///
/// The newest `periods` points that are there count; the range is longer than that, so points further back stand in for missing ones.
/// Only when fewer are there, missing ones are made up for. `datapoints` of them must breach. A range that is shorter than `periods`
/// belongs to a system that has only just begun: what was before it is not missing.
#[must_use]
pub fn verdict(points: &[Option<bool>], periods: usize, datapoints: usize, missing: Missing, current: State) -> State {
    let there: Vec<bool> = points.iter().rev().copied().flatten().take(periods).collect();
    let breaching = there.iter().filter(|breaching| **breaching).count();
    let decided = |breaching: usize| if breaching >= datapoints { State::Alarm } else { State::Ok };
    let absent = points.iter().filter(|point| point.is_none()).count();
    let to_fill = (periods - there.len()).min(absent);
    if to_fill == 0 && !there.is_empty() {
        return decided(breaching);
    }
    match missing {
        Missing::Breaching if there.is_empty() && to_fill < periods => current,
        Missing::Breaching => decided(breaching + to_fill),
        Missing::NotBreaching if points.is_empty() => current,
        Missing::NotBreaching => decided(breaching),
        Missing::Ignore | Missing::Missing => match missing {
            _ if breaching >= datapoints => State::Alarm,
            Missing::Ignore if there.is_empty() || speaks_early(points, datapoints) => current,
            _ if there.is_empty() => State::InsufficientData,
            _ if speaks_early(points, datapoints) => State::Alarm,
            _ => State::Ok,
        },
    }
}

/// Whether nothing but breaching points is there, the oldest of them at least `datapoints` periods old: such an alarm speaks although fewer
/// points are there than it wants. In the documentation's tables no point within the threshold is in the range where this happens.
fn speaks_early(points: &[Option<bool>], datapoints: usize) -> bool {
    let all_breach = points.iter().flatten().all(|breaching| *breaching);
    let oldest = points.iter().position(Option::is_some);
    all_breach && oldest.is_some_and(|oldest| points.len() - oldest >= datapoints)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREATMENTS: [Missing; 4] = [Missing::Missing, Missing::Ignore, Missing::Breaching, Missing::NotBreaching];

    fn points(text: &str) -> Vec<Option<bool>> {
        text.split(' ').map(|point| (point != "-").then_some(point == "X")).collect()
    }

    /// The state by treatment; `kept` where the current one stays.
    fn states(text: &str, datapoints: usize) -> [&'static str; 4] {
        TREATMENTS.map(|missing| {
            let from = |current| verdict(&points(text), 3, datapoints, missing, current);
            let reached = State::ALL.map(from);
            if reached == State::ALL { "kept" } else { reached[0].as_str() }
        })
    }

    /// The two tables of the documentation: 3 evaluation periods, a range of 5. By treatment: missing, ignore, breaching, notBreaching.
    #[test]
    fn missing_data_count_as_the_documentation_s_tables_say() {
        assert_eq!(states("0 - X - X", 3), ["OK", "OK", "OK", "OK"]);
        assert_eq!(states("- - - - 0", 3), ["OK", "OK", "OK", "OK"]);
        assert_eq!(states("- - - - -", 3), ["INSUFFICIENT_DATA", "kept", "ALARM", "OK"]);
        assert_eq!(states("0 X X - X", 3), ["ALARM", "ALARM", "ALARM", "ALARM"]);
        assert_eq!(states("- - X - -", 3), ["ALARM", "kept", "ALARM", "OK"]);

        assert_eq!(states("0 - X - X", 2), ["ALARM", "ALARM", "ALARM", "ALARM"]);
        assert_eq!(states("0 0 X 0 X", 2), ["ALARM", "ALARM", "ALARM", "ALARM"]);
        assert_eq!(states("0 - X - -", 2), ["OK", "OK", "ALARM", "OK"]);
        assert_eq!(states("- - - - 0", 2), ["OK", "OK", "ALARM", "OK"]);
        assert_eq!(states("- - - X -", 2), ["ALARM", "kept", "ALARM", "OK"]);
    }

    /// The documentation's examples of an alarm that must not speak too early.
    #[test]
    fn one_breaching_point_after_silence_is_not_enough() {
        for text in ["- - - - X", "- - - X -"] {
            assert_eq!(states(text, 3)[0], "OK", "{text}");
        }
    }

    #[test]
    fn what_was_before_the_beginning_is_not_missing() {
        let after = |text: &str, current| verdict(&points(text), 3, 3, Missing::Breaching, current);
        assert_eq!(after("-", State::InsufficientData), State::InsufficientData);
        assert_eq!(after("- -", State::InsufficientData), State::InsufficientData);
        assert_eq!(after("- - -", State::InsufficientData), State::Alarm);
        assert_eq!(after("0 -", State::InsufficientData), State::Ok);
        assert_eq!(verdict(&[], 3, 3, Missing::NotBreaching, State::InsufficientData), State::InsufficientData);
    }
}
