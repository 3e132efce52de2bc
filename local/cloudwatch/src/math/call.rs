//! The functions of metric math.

use super::value::Value;
use super::{Context, Expression, MathError, Series, finite};

const ONE_SERIES: &str = "one time series, or a list of them";

impl Context<'_> {
    pub(super) fn call(
        &self,
        function: &'static str,
        arguments: &[Expression],
        depth: u16,
    ) -> Result<Value, MathError> {
        let wrong = |takes: &'static str| MathError::Arguments { function, takes };
        match (function, arguments) {
            ("METRICS", []) => Ok(Value::List(self.metrics.values().cloned().collect())),
            ("METRICS", [Expression::Word(part)]) => {
                let named = self.metrics.iter().filter(|(id, _)| id.contains(part.as_str()));
                Ok(Value::List(named.map(|(_, series)| series.clone()).collect()))
            }
            ("METRICS", _) => Err(wrong("nothing, or a text in quotes")),
            ("FILL", [of, with]) => self.fill(of, with, depth),
            ("FILL", _) => Err(wrong("a time series and a number, REPEAT or LINEAR")),
            ("IF", [condition, then]) => self.choice(condition, then, None, depth),
            ("IF", [condition, then, otherwise]) => self.choice(condition, then, Some(otherwise), depth),
            ("IF", _) => Err(wrong("a condition and one or two values")),
            (_, [of]) => {
                let value = self.value(of, depth)?;
                one(function, value, self.period_s).ok_or_else(|| wrong(ONE_SERIES))
            }
            _ => Err(wrong("one argument")),
        }
    }

    fn fill(&self, of: &Expression, with: &Expression, depth: u16) -> Result<Value, MathError> {
        let wrong = || MathError::Arguments { function: "FILL", takes: "a time series and a number, REPEAT or LINEAR" };
        let value = self.value(of, depth)?;
        let filled = match with {
            Expression::Word(word) if word == "REPEAT" => value.map_series(repeated),
            Expression::Word(word) if word == "LINEAR" => value.map_series(joined),
            Expression::Word(_) => return Err(wrong()),
            with => {
                let with = self.value(with, depth)?;
                value.map_series(|series| {
                    let points = series.into_iter().enumerate();
                    points.map(|(place, point)| point.or_else(|| with.at(place))).collect()
                })
            }
        };
        filled.ok_or_else(wrong)
    }

    /// `IF`: by a number for all, otherwise point by point. Where the condition or what it chooses is missing, so is the point.
    fn choice(
        &self,
        condition: &Expression,
        then: &Expression,
        otherwise: Option<&Expression>,
        depth: u16,
    ) -> Result<Value, MathError> {
        let condition = self.value(condition, depth)?;
        let then = self.value(then, depth)?;
        let otherwise = otherwise.map(|otherwise| self.value(otherwise, depth)).transpose()?;
        let holds = |number: f64| number != 0.0;
        if let Value::Scalar(number) = condition {
            let is_series = [Some(&then), otherwise.as_ref()].into_iter().flatten().any(|value| !value.is_number());
            let chosen = if holds(number) { Some(then) } else { otherwise };
            return Ok(match chosen {
                None => Value::Series(vec![None; self.length]),
                // Beside a time series a number is one too.
                Some(Value::Scalar(number)) if is_series => Value::Series(vec![finite(number); self.length]),
                Some(chosen) => chosen,
            });
        }
        let chosen = |place: usize| {
            if holds(condition.at(place)?) { then.at(place) } else { otherwise.as_ref()?.at(place) }
        };
        match &condition {
            Value::Series(_) => Ok(Value::Series((0..self.length).map(chosen).collect())),
            _ => Err(MathError::Arguments { function: "IF", takes: "a condition that is a number or one time series" }),
        }
    }
}

/// A function of one argument; none when it does not take such a value.
fn one(function: &str, value: Value, period_s: f64) -> Option<Value> {
    match (function, value) {
        ("ABS", value) => Some(value.map(f64::abs)),
        ("CEIL", value) => Some(value.map(f64::ceil)),
        ("FLOOR", value) => Some(value.map(f64::floor)),
        ("LOG", value) => Some(value.map(f64::ln)),
        ("LOG10", value) => Some(value.map(f64::log10)),
        ("PERIOD", Value::Series(_)) => Some(Value::Scalar(period_s)),
        ("METRIC_COUNT", Value::Series(_)) => Some(Value::Scalar(1.0)),
        ("METRIC_COUNT", Value::List(list)) => Some(Value::Scalar(list.iter().map(|_| 1.0).sum())),
        ("FIRST", Value::List(list)) => list.into_iter().next().map(Value::Series),
        ("LAST", Value::List(list)) => list.into_iter().next_back().map(Value::Series),
        ("DIFF", value) => value.map_series(|series| steps(series, 0.0)),
        ("RATE", value) => value.map_series(|series| steps(series, period_s)),
        ("RUNNING_SUM", value) => value.map_series(running_sum),
        ("AVG" | "SUM" | "MIN" | "MAX" | "STDDEV", Value::Series(series)) => {
            let there: Vec<f64> = series.into_iter().flatten().collect();
            Some(Value::Scalar(aggregate(function, &there).unwrap_or(f64::NAN)))
        }
        ("AVG" | "SUM" | "MIN" | "MAX" | "STDDEV", Value::List(list)) => {
            let length = list.first().map_or(0, Vec::len);
            let at = |place: usize| {
                let there: Vec<f64> = list.iter().filter_map(|series| series.get(place).copied().flatten()).collect();
                aggregate(function, &there)
            };
            Some(Value::Series((0..length).map(at).collect()))
        }
        _ => None,
    }
}

/// What the numbers that are there come to; none of none.
fn aggregate(function: &str, there: &[f64]) -> Option<f64> {
    if there.is_empty() {
        return None;
    }
    let sum: f64 = there.iter().sum();
    let mean = sum / there.iter().map(|_| 1.0).sum::<f64>();
    match function {
        "SUM" => finite(sum),
        "AVG" => finite(mean),
        "MIN" => there.iter().copied().reduce(f64::min),
        "MAX" => there.iter().copied().reduce(f64::max),
        _ => {
            let squares: f64 = there.iter().map(|number| (number - mean).powi(2)).sum();
            finite((squares / there.iter().map(|_| 1.0).sum::<f64>()).sqrt())
        }
    }
}

/// Each point less the one before it that is there, by the seconds between them where a period is given.
fn steps(series: Series, period_s: f64) -> Series {
    let mut last: Option<(f64, f64)> = None;
    let mut place = 0.0;
    let mut steps = Vec::with_capacity(series.len());
    for point in series {
        let step = point.zip(last).map(|(point, (before, at))| {
            let seconds = if period_s > 0.0 { (place - at) * period_s } else { 1.0 };
            (point - before) / seconds
        });
        steps.push(step.and_then(finite));
        last = point.map(|point| (point, place)).or(last);
        place += 1.0;
    }
    steps
}

fn running_sum(series: Series) -> Series {
    let mut sum = 0.0;
    let mut add = |number: f64| {
        sum += number;
        sum
    };
    series.into_iter().map(|point| point.map(&mut add)).collect()
}

/// Missing points repeat the one before them.
fn repeated(series: Series) -> Series {
    let mut last = None;
    let repeat = |point: Option<f64>| {
        last = point.or(last);
        last
    };
    series.into_iter().map(repeat).collect()
}

/// Missing points lie on the line between those around them.
fn joined(series: Series) -> Series {
    let mut joined = series.clone();
    let places: Vec<usize> = (0..series.len()).filter(|place| series[*place].is_some()).collect();
    for pair in places.windows(2) {
        let [from, to] = pair else { continue };
        let (Some(first), Some(second)) = (series[*from], series[*to]) else { continue };
        let steps: f64 = (*from..*to).map(|_| 1.0).sum();
        let mut step = 0.0;
        for point in &mut joined[*from..*to] {
            *point = finite(first + (second - first) * step / steps);
            step += 1.0;
        }
    }
    joined
}
