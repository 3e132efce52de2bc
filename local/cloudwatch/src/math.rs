//! Metric math, as far as alarms need it.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>

mod call;
mod parse;
mod tokens;
mod value;

use std::collections::BTreeMap;

pub(crate) use parse::parse;
pub(crate) use value::Value;

/// A point of a time series for each period of a range, the oldest first; none is missing.
pub(crate) type Series = Vec<Option<f64>>;

/// Deepest nesting, of an expression and of expressions in each other.
const DEPTH_MAX: u16 = 32;

/// An expression that CloudWatch would refuse, or that is not evaluated here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MathError {
    /// A sign that is in no expression.
    #[error("`{0}` is not part of any expression")]
    Sign(char),
    /// It ends too early or goes on too long.
    #[error("{expected} is expected instead of `{found}`")]
    Expected {
        /// What.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Nested too deeply, or in a circle.
    #[error("expressions are nested more than {DEPTH_MAX} deep, or name each other in a circle")]
    TooDeep,
    /// A function that is not evaluated here, or that does not exist.
    #[error("function {0} is not evaluated here; see the list in local/cloudwatch")]
    UnknownFunction(String),
    /// Arguments of another number or kind.
    #[error("{function} takes {takes}")]
    Arguments {
        /// Which function.
        function: &'static str,
        /// What it takes.
        takes: &'static str,
    },
    /// No metric or expression has this id.
    #[error("no metric or expression has the id `{0}`")]
    UnknownId(String),
    /// An operator between several series and several series.
    #[error("an operator stands between two lists of time series")]
    TwoLists,
    /// It gives several series, or a number, where an alarm wants one series.
    #[error("the expression gives {0}; an alarm watches one time series")]
    NotOneSeries(&'static str),
}

/// What stands between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    LessOrEqual,
    GreaterOrEqual,
    Less,
    Greater,
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    Number(f64),
    Id(String),
    Negative(Box<Expression>),
    Binary(Operator, Box<(Expression, Expression)>),
    Call(&'static str, Vec<Expression>),
    List(Vec<Expression>),
    /// `REPEAT` or `LINEAR`, or a quoted text.
    Word(String),
}

/// What an expression is evaluated on.
pub(crate) struct Context<'a> {
    /// The metrics by id.
    pub(crate) metrics: &'a BTreeMap<&'a str, Series>,
    /// The other expressions by id.
    pub(crate) expressions: &'a BTreeMap<&'a str, &'a Expression>,
    /// Seconds of a period.
    pub(crate) period_s: f64,
    /// Points of a series.
    pub(crate) length: usize,
}

impl Context<'_> {
    /// The series that an alarm watches. A number that only depends on numbers is refused, as CloudWatch does.
    pub(crate) fn series(&self, expression: &Expression) -> Result<Series, MathError> {
        match self.value(expression, 0)? {
            Value::Series(series) => Ok(series),
            Value::List(mut list) if list.len() == 1 => Ok(list.pop().unwrap_or_default()),
            Value::List(_) => Err(MathError::NotOneSeries("several time series")),
            Value::Scalar(_) => Err(MathError::NotOneSeries("a number")),
        }
    }

    fn value(&self, expression: &Expression, depth: u16) -> Result<Value, MathError> {
        if depth > DEPTH_MAX {
            return Err(MathError::TooDeep);
        }
        let below = |expression: &Expression| self.value(expression, depth + 1);
        match expression {
            Expression::Number(number) => Ok(Value::Scalar(*number)),
            Expression::Id(id) => match (self.metrics.get(id.as_str()), self.expressions.get(id.as_str())) {
                (Some(series), _) => Ok(Value::Series(series.clone())),
                (None, Some(expression)) => below(expression),
                (None, None) => Err(MathError::UnknownId(id.clone())),
            },
            Expression::Negative(of) => Ok(below(of)?.map(|number| -number)),
            Expression::Binary(operator, operands) => {
                let (left, right) = (below(&operands.0)?, below(&operands.1)?);
                value::combined(left, right, |left, right| operator.of(left, right))
            }
            Expression::List(items) => {
                let mut list = Vec::new();
                for item in items {
                    match below(item)? {
                        Value::Series(series) => list.push(series),
                        Value::List(several) => list.extend(several),
                        Value::Scalar(number) => list.push(vec![finite(number); self.length]),
                    }
                }
                Ok(Value::List(list))
            }
            Expression::Call(function, arguments) => self.call(function, arguments, depth + 1),
            Expression::Word(word) => {
                Err(MathError::Expected { expected: "a number, an id or a function", found: word.clone() })
            }
        }
    }
}

impl Operator {
    fn of(self, left: f64, right: f64) -> f64 {
        let truth = |holds: bool| f64::from(u8::from(holds));
        let is_true = |number: f64| number != 0.0;
        let is_equal = left - right == 0.0;
        match self {
            Self::Or => truth(is_true(left) || is_true(right)),
            Self::And => truth(is_true(left) && is_true(right)),
            Self::Equal => truth(is_equal),
            Self::NotEqual => truth(!is_equal),
            Self::LessOrEqual => truth(left <= right),
            Self::GreaterOrEqual => truth(left >= right),
            Self::Less => truth(left < right),
            Self::Greater => truth(left > right),
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Power => left.powf(right),
        }
    }
}

/// A division by zero and the like gives no data point.
fn finite(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests;
