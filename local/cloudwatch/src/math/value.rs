//! What an expression gives.

use super::{MathError, Series, finite};

/// A number, a time series, or several.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Scalar(f64),
    Series(Series),
    List(Vec<Series>),
}

impl Value {
    /// Whether it is a single number.
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Scalar(_))
    }

    /// Applies a function to every number.
    pub(super) fn map(self, of: impl Fn(f64) -> f64) -> Self {
        let each =
            |series: Series| series.into_iter().map(|point| point.and_then(|number| finite(of(number)))).collect();
        match self {
            Self::Scalar(number) => Self::Scalar(of(number)),
            Self::Series(series) => Self::Series(each(series)),
            Self::List(list) => Self::List(list.into_iter().map(each).collect()),
        }
    }

    /// Applies a function to every series; none where there is a number.
    pub(super) fn map_series(self, of: impl Fn(Series) -> Series) -> Option<Self> {
        match self {
            Self::Scalar(_) => None,
            Self::Series(series) => Some(Self::Series(of(series))),
            Self::List(list) => Some(Self::List(list.into_iter().map(of).collect())),
        }
    }

    /// The value at a place of a range; a number is the same everywhere.
    pub(super) fn at(&self, place: usize) -> Option<f64> {
        match self {
            Self::Scalar(number) => finite(*number),
            Self::Series(series) => series.get(place).copied().flatten(),
            Self::List(_) => None,
        }
    }
}

/// Combines two values point by point: a point is there where both are.
pub(super) fn combined(left: Value, right: Value, of: impl Fn(f64, f64) -> f64) -> Result<Value, MathError> {
    let points = |left: &Value, right: &Value, length: usize| -> Series {
        (0..length)
            .map(|place| left.at(place).zip(right.at(place)).and_then(|(left, right)| finite(of(left, right))))
            .collect()
    };
    Ok(match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => Value::Scalar(of(left, right)),
        (Value::List(_), Value::List(_)) => return Err(MathError::TwoLists),
        (Value::List(list), right) => {
            let each = |series: Series| points(&Value::Series(series.clone()), &right, series.len());
            Value::List(list.into_iter().map(each).collect())
        }
        (left, Value::List(list)) => {
            let each = |series: Series| points(&left, &Value::Series(series.clone()), series.len());
            Value::List(list.into_iter().map(each).collect())
        }
        (left, right) => {
            let length = match (&left, &right) {
                (Value::Series(series), _) | (_, Value::Series(series)) => series.len(),
                _ => 0,
            };
            Value::Series(points(&left, &right, length))
        }
    })
}
