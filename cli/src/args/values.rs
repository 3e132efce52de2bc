//! Values of the command line that have a form and bounds of their own.

use std::num::FpCategory;
use std::time::Duration;

use centinela_audit::burst::Course;
use centinela_traffic::Shape;

/// More would be nothing but log-ins.
const ACTIONS_MAX: f64 = 20.0;
const RATE_MIN: f64 = 0.001;
/// A burst is more than usual.
const BURST_MAX: f64 = 1_000.0;
/// When a burst begins that does not say when: processes have started and caches are filled.
const BURST_BEGINS: Duration = Duration::from_secs(10);
const RATE_MAX: f64 = 1_000_000.0;
/// Ten years.
const HOURS_MAX: u64 = 87_600;

/// A shape of the traffic and its name on the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedShape(pub Shape, pub String);

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// Not a rate.
    #[error("a rate is 0 or a number between {RATE_MIN} and {RATE_MAX}")]
    Rate,
    /// Not a number of actions.
    #[error("actions per transaction are a number from 0 to {ACTIONS_MAX}")]
    Actions,
    /// Not a share.
    #[error("a share is a number from 0 to 1")]
    Share,
    /// Not a shape.
    #[error("a shape is natural, uniform, zipf, hot, or hot=SHARE with a share above 0 and at most 1")]
    Shape,
    /// Not a duration.
    #[error(
        "a time is a number with ms, s, m or h behind it, such as 60s, longer than 0 and at most {HOURS_MAX}h (ten years)"
    )]
    Duration,
    /// Not two times in their order.
    #[error("a latency is two times, the median and the longer 99 % quantile, such as 5ms,12ms")]
    Latency,
    /// Not a burst.
    #[error(
        "a burst is a factor above 1 and at most {BURST_MAX}, x, and a time, such as 10x10s; @ and a time say when it begins, such as \
         10x10s@30s"
    )]
    Burst,
}

/// `10x10s` or `10x10s@30s`.
pub(super) fn parse_burst(text: &str) -> Result<Course, BadValue> {
    let (course, begins) = text.split_once('@').map_or((text, None), |(course, begins)| (course, Some(begins)));
    let (factor, length) = course.split_once('x').ok_or(BadValue::Burst)?;
    let time = |text: &str| parse_duration(text).map_err(|_| BadValue::Burst);
    let factor = factor.parse().ok().filter(|factor: &f64| 1.0 < *factor && *factor <= BURST_MAX);
    let begins = begins.map_or(Ok(BURST_BEGINS), time)?;
    Ok(Course { factor: factor.ok_or(BadValue::Burst)?, begins, length: time(length)? })
}

pub(super) fn parse_latency(text: &str) -> Result<(Duration, Duration), BadValue> {
    let (p50, p99) = text.split_once(',').ok_or(BadValue::Latency)?;
    let time = |text: &str| parse_duration(text.trim()).map_err(|_| BadValue::Latency);
    let (p50, p99) = (time(p50)?, time(p99)?);
    if p50 < p99 { Ok((p50, p99)) } else { Err(BadValue::Latency) }
}

pub(super) fn parse_rate(text: &str) -> Result<f64, BadValue> {
    let is_rate = |rate: &f64| (RATE_MIN..=RATE_MAX).contains(rate) || rate.classify() == FpCategory::Zero;
    text.parse().ok().filter(is_rate).map(f64::abs).ok_or(BadValue::Rate)
}

pub(super) fn parse_actions(text: &str) -> Result<f64, BadValue> {
    text.parse().ok().filter(|actions: &f64| (0.0..=ACTIONS_MAX).contains(actions)).ok_or(BadValue::Actions)
}

pub(super) fn parse_share(text: &str) -> Result<f64, BadValue> {
    text.parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share)).ok_or(BadValue::Share)
}

pub(super) fn parse_shape(text: &str) -> Result<NamedShape, BadValue> {
    let shape = match text.split_once('=') {
        None => match text {
            "natural" => Some(Shape::Natural),
            "uniform" => Some(Shape::Uniform),
            "zipf" => Some(Shape::ZIPF),
            "hot" => Some(Shape::HOT),
            _ => None,
        },
        Some(("hot", share)) => {
            share.parse().ok().filter(|share| 0.0 < *share && *share <= 1.0).map(|share| Shape::Hot { share })
        }
        Some(_) => None,
    };
    shape.map(|shape| NamedShape(shape, text.to_owned())).ok_or(BadValue::Shape)
}

/// A time with its unit, longer than 0 and at most ten years: added to a clock it is still a time.
pub fn parse_duration(text: &str) -> Result<Duration, BadValue> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(BadValue::Duration),
    };
    let seconds = number.parse::<f64>().map_err(|_| BadValue::Duration)? * seconds_per_unit;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| BadValue::Duration)?;
    let is_sensible = !duration.is_zero() && duration <= Duration::from_secs(HOURS_MAX * 3600);
    if is_sensible { Ok(duration) } else { Err(BadValue::Duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(parse_duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("7"), Ok(Duration::from_secs(7)));
        assert_eq!(parse_duration("87600h"), Ok(Duration::from_secs(87_600 * 3600)));
        for wrong in ["", "s", "0s", "-1s", "1d", "1e9999h", "NaN", "87601h", "4999999999999999h"] {
            assert_eq!(parse_duration(wrong), Err(BadValue::Duration), "{wrong}");
        }
    }

    #[test]
    fn a_latency_is_a_median_and_a_longer_quantile() {
        assert_eq!(parse_latency("5ms,12ms"), Ok((Duration::from_millis(5), Duration::from_millis(12))));
        for wrong in ["5ms", "12ms,5ms", "5ms,5ms", "0ms,5ms", "fast,slow", "5ms,12ms,20ms"] {
            assert_eq!(parse_latency(wrong), Err(BadValue::Latency), "{wrong}");
        }
    }

    #[test]
    fn a_burst_is_a_factor_and_a_time_and_may_say_when() {
        let (begins, length) = (Duration::from_secs(10), Duration::from_secs(5));
        assert_eq!(parse_burst("2.5x5s"), Ok(Course { factor: 2.5, begins, length }));
        let begins = Duration::from_secs(30);
        assert_eq!(parse_burst("10x5s@30s"), Ok(Course { factor: 10.0, begins, length }));
        for wrong in ["", "10x", "x10s", "10s", "1x10s", "1001x10s", "NaNx10s", "10x10s@", "10x10s@now"] {
            assert_eq!(parse_burst(wrong), Err(BadValue::Burst), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_nothing_or_within_its_bounds() {
        assert_eq!(parse_rate("0"), Ok(0.0));
        assert_eq!(parse_rate("0.001"), Ok(0.001));
        for wrong in ["-1", "NaN", "inf", "fast", "1e99", "1e-300", "0.0009"] {
            assert_eq!(parse_rate(wrong), Err(BadValue::Rate), "{wrong}");
        }
    }

    #[test]
    fn actions_and_shares_are_within_their_bounds() {
        assert_eq!((parse_actions("0"), parse_actions("2.5")), (Ok(0.0), Ok(2.5)));
        assert_eq!((parse_share("0.01"), parse_share("1")), (Ok(0.01), Ok(1.0)));
        for wrong in ["-0.1", "NaN", "many", "20.1"] {
            assert_eq!(parse_actions(wrong), Err(BadValue::Actions), "{wrong}");
            assert_eq!(parse_share(wrong), Err(BadValue::Share), "{wrong}");
        }
    }

    #[test]
    fn a_shape_is_one_of_four_and_a_share_is_within_its_bounds() {
        assert_eq!(parse_shape("hot=0.25").map(|named| named.0), Ok(Shape::Hot { share: 0.25 }));
        assert_eq!(parse_shape("zipf").map(|named| named.0), Ok(Shape::ZIPF));
        for wrong in ["", "warm", "hot=0", "hot=1.1", "hot=NaN", "hot=", "zipf=2"] {
            assert_eq!(parse_shape(wrong), Err(BadValue::Shape), "{wrong}");
        }
    }
}
