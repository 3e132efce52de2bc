//! An alarm as its stack declares it: the properties of `AWS::CloudWatch::Alarm` and `AWS::CloudWatch::CompositeAlarm`, resolved.

mod read;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::composite::CompositeAlarm;
use crate::math::{Expression, MathError};
use crate::metric::MetricId;
use crate::rule::RuleError;
use crate::statistic::Statistic;
use crate::verdict::Missing;

/// An alarm that CloudWatch would refuse, or that is not evaluated here.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A property of another form, or an unknown one.
    #[error("alarm `{alarm}`: {source}")]
    Form {
        /// The alarm.
        alarm: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A property that must be there.
    #[error("alarm `{alarm}` has no {property}")]
    Missing {
        /// The alarm.
        alarm: String,
        /// What is missing.
        property: &'static str,
    },
    /// A value that is not one of those that are understood.
    #[error("alarm `{alarm}`: {property} is {value}; it must be {limit}")]
    Value {
        /// The alarm.
        alarm: String,
        /// Which property.
        property: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        limit: &'static str,
    },
    /// An expression.
    #[error("alarm `{alarm}`, expression `{id}`: {source}")]
    Math {
        /// The alarm.
        alarm: String,
        /// The expression's id.
        id: String,
        /// What is wrong.
        #[source]
        source: MathError,
    },
    /// A rule.
    #[error("alarm `{alarm}`: {source}")]
    Rule {
        /// The alarm.
        alarm: String,
        /// What is wrong.
        #[source]
        source: RuleError,
    },
    /// It names an alarm that is not there.
    #[error("alarm `{alarm}` names alarm `{other}`, which no stack declares")]
    UnknownAlarm {
        /// The alarm.
        alarm: String,
        /// What it names.
        other: String,
    },
    /// Its state depends on itself.
    #[error("alarm `{alarm}` depends on itself")]
    Circle {
        /// The alarm.
        alarm: String,
    },
    /// Two alarms of one name.
    #[error("two alarms are named `{alarm}`")]
    Twice {
        /// The name.
        alarm: String,
    },
}

/// How a point compares with the threshold when it breaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Above.
    Greater,
    /// At or above.
    GreaterOrEqual,
    /// Below.
    Less,
    /// At or below.
    LessOrEqual,
}

impl Comparison {
    /// Whether a value breaches.
    #[must_use]
    pub fn breaches(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Greater => value > threshold,
            Self::GreaterOrEqual => value >= threshold,
            Self::Less => value < threshold,
            Self::LessOrEqual => value <= threshold,
        }
    }

    /// In words, before the threshold.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Greater => "above",
            Self::GreaterOrEqual => "at or above",
            Self::Less => "below",
            Self::LessOrEqual => "at or below",
        }
    }

    /// CloudWatch's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Greater => "GreaterThanThreshold",
            Self::GreaterOrEqual => "GreaterThanOrEqualToThreshold",
            Self::Less => "LessThanThreshold",
            Self::LessOrEqual => "LessThanOrEqualToThreshold",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Greater, Self::GreaterOrEqual, Self::Less, Self::LessOrEqual]
            .into_iter()
            .find(|one| one.as_str() == text)
    }
}

/// What a percentile of few samples is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LowSamples {
    /// As much as any.
    #[default]
    Evaluate,
    /// Nothing: the state stays.
    Ignore,
}

/// One part of what an alarm watches.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// A metric's statistic.
    Metric {
        /// Which metric.
        metric: MetricId,
        /// Which statistic.
        statistic: Statistic,
    },
    /// An expression over other parts, as it is written.
    Expression(String),
}

/// What an alarm does when its state changes: ARNs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// When it begins to speak.
    pub alarm: Vec<String>,
    /// When all is well.
    pub ok: Vec<String>,
    /// When it cannot tell any more.
    pub insufficient_data: Vec<String>,
    /// Whether it does any of it.
    pub enabled: bool,
}

/// An alarm on metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricAlarm {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// What it watches, by id; a single metric has the id `m`.
    pub queries: BTreeMap<String, Query>,
    /// The part whose points are compared.
    pub returned: String,
    /// The expressions among the parts.
    pub(crate) expressions: BTreeMap<String, Expression>,
    /// Length of a period, in seconds.
    pub period_s: i64,
    /// How many points are looked at.
    pub periods: usize,
    /// How many of them must breach.
    pub datapoints: usize,
    /// The threshold.
    pub threshold: f64,
    /// How it is compared with.
    pub comparison: Comparison,
    /// What missing points count as.
    pub missing: Missing,
    /// What percentiles of few samples are worth.
    pub low_samples: LowSamples,
    /// What it does.
    pub actions: Actions,
}

impl MetricAlarm {
    /// The metrics that it watches.
    pub fn metrics(&self) -> impl Iterator<Item = (&MetricId, Statistic)> {
        self.queries.values().filter_map(|query| match query {
            Query::Metric { metric, statistic } => Some((metric, *statistic)),
            Query::Expression(_) => None,
        })
    }

    /// Points of an evaluation range. The documentation's examples have a range of five for three evaluation periods and say no more than that
    /// it is longer; two more it is.
    #[must_use]
    pub fn range(&self) -> usize {
        self.periods + 2
    }
}

/// An alarm.
#[derive(Clone, Debug, PartialEq)]
pub enum Alarm {
    /// On metrics.
    Metric(Box<MetricAlarm>),
    /// On other alarms.
    Composite(Box<CompositeAlarm>),
}

impl Alarm {
    /// Reads a resource's properties; none of a resource of another type.
    ///
    /// # Errors
    /// When CloudWatch would refuse it, or it uses what is not evaluated here.
    pub fn read(kind: &str, logical_id: &str, properties: &Value) -> Result<Option<Self>, SpecError> {
        Ok(match kind {
            "AWS::CloudWatch::Alarm" => Some(Self::Metric(Box::new(read::metric_alarm(logical_id, properties)?))),
            "AWS::CloudWatch::CompositeAlarm" => {
                Some(Self::Composite(Box::new(read::composite_alarm(logical_id, properties)?)))
            }
            _ => None,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Metric(alarm) => &alarm.name,
            Self::Composite(alarm) => &alarm.name,
        }
    }

    /// What it is about.
    #[must_use]
    pub fn description(&self) -> &str {
        match self {
            Self::Metric(alarm) => &alarm.description,
            Self::Composite(alarm) => &alarm.description,
        }
    }

    /// What it does.
    #[must_use]
    pub fn actions(&self) -> &Actions {
        match self {
            Self::Metric(alarm) => &alarm.actions,
            Self::Composite(alarm) => &alarm.actions,
        }
    }
}
