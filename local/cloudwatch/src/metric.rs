//! What is measured.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Which metric. Two sets of dimensions are two metrics, as in CloudWatch: an alarm on one never sees the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricId {
    /// Such as `AWS/Lambda`.
    pub namespace: String,
    /// Such as `Errors`.
    pub name: String,
    /// By name.
    pub dimensions: BTreeMap<String, String>,
}

impl MetricId {
    /// A metric with these dimensions.
    #[must_use]
    pub fn new(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Self {
        let dimensions = dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { namespace: namespace.to_owned(), name: name.to_owned(), dimensions: dimensions.collect() }
    }
}

impl fmt::Display for MetricId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)?;
        for (index, (name, value)) in self.dimensions.iter().enumerate() {
            write!(formatter, "{}{name}={value}", if index == 0 { "{" } else { "," })?;
        }
        formatter.write_str(if self.dimensions.is_empty() { "" } else { "}" })
    }
}

/// What was measured at one moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Every value: percentiles are known.
    Each(Vec<f64>),
    /// Only what they come to: percentiles are not known.
    Set {
        /// How many.
        count: f64,
        /// Their sum.
        sum: f64,
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
}

/// Values of a metric at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    /// Which metric.
    pub metric: Arc<MetricId>,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The values.
    pub values: Values,
}

impl Datum {
    /// One value.
    #[must_use]
    pub fn one(metric: MetricId, at_ms: i64, value: f64) -> Self {
        Self { metric: Arc::new(metric), at_ms, values: Values::Each(vec![value]) }
    }
}
