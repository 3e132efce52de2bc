//! Metrics from log lines in the embedded metric format.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::metric::{Datum, MetricId, Values};

/// What a line begins with that is one of metrics.
const METRICS: &str = "{\"_aws\":";
/// Most metrics of a directive, and most values of a metric in a line, by the specification.
const METRICS_MAX: usize = 100;
const VALUES_MAX: usize = 100;
/// Most dimensions of a set, by the specification.
const DIMENSIONS_MAX: usize = 30;
/// Declarations that are remembered.
const DECLARATIONS_MAX: usize = 256;

/// A line of which CloudWatch would make nothing, or not what it says.
#[derive(Debug, thiserror::Error)]
pub enum EmfError {
    /// Not of the format.
    #[error("the line is not of the embedded metric format: {0}")]
    Form(#[from] serde_json::Error),
    /// A metric or a dimension without a value.
    #[error("`{0}` is declared and has no value of its kind in the line")]
    NoValue(String),
    /// More than the specification allows.
    #[error("the line has {found} {what}, more than {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// Most.
        limit: usize,
    },
}

/// What a line says, its values as text.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Aws<'a> {
    timestamp: i64,
    #[serde(borrow)]
    cloud_watch_metrics: &'a RawValue,
}

/// What a line declares.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: String,
    dimensions: Vec<Dimensions>,
    metrics: Vec<Declared>,
}

/// A set of dimensions, and the metrics of the values that it had last.
#[derive(Debug, Deserialize)]
#[serde(from = "Vec<String>")]
struct Dimensions {
    names: Vec<String>,
    values: Vec<String>,
    metrics: Vec<Arc<MetricId>>,
}

impl From<Vec<String>> for Dimensions {
    fn from(names: Vec<String>) -> Self {
        Self { names, values: Vec::new(), metrics: Vec::new() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Declared {
    name: String,
    #[serde(default, deserialize_with = "unit")]
    unit: Option<Arc<str>>,
}

fn unit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<str>>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Arc::from))
}

/// A metric of a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its values.
    pub datum: Datum,
    /// Such as `Count`; none is none.
    pub unit: Option<Arc<str>>,
}

/// Reads lines, and remembers what they declare: a function's lines mostly declare what an earlier one did.
#[derive(Debug, Default)]
pub struct Lines(HashMap<Box<str>, Vec<Directive>>);

impl Lines {
    /// The metrics of a line; none of a line that is not one of metrics.
    ///
    /// # Errors
    /// When CloudWatch would make nothing of it.
    pub fn read(&mut self, line: &str) -> Result<Vec<Metric>, EmfError> {
        if !line.starts_with(METRICS) {
            return Ok(Vec::new());
        }
        let fields: Fields<'_> = serde_json::from_str(line)?;
        let aws = fields.0.first().map_or("null", |(_, aws)| aws.get());
        let Aws { timestamp, cloud_watch_metrics } = serde_json::from_str(aws)?;
        let declared = cloud_watch_metrics.get();
        if !self.0.contains_key(declared) {
            if self.0.len() >= DECLARATIONS_MAX {
                self.0.clear();
            }
            self.0.insert(declared.into(), directives(declared)?);
        }
        let mut metrics = Vec::new();
        for directive in self.0.get_mut(declared).into_iter().flatten() {
            directive.read(&fields, timestamp, &mut metrics)?;
        }
        Ok(metrics)
    }
}

/// The same of a single line.
///
/// # Errors
/// When CloudWatch would make nothing of it.
pub fn read(line: &str) -> Result<Vec<Metric>, EmfError> {
    Lines::default().read(line)
}

fn directives(declared: &str) -> Result<Vec<Directive>, EmfError> {
    let directives: Vec<Directive> = serde_json::from_str(declared)?;
    for directive in &directives {
        limit("metrics", directive.metrics.len(), METRICS_MAX)?;
        directive.dimensions.iter().try_for_each(|set| limit("dimensions", set.names.len(), DIMENSIONS_MAX))?;
    }
    Ok(directives)
}

impl Directive {
    fn read(&mut self, fields: &Fields<'_>, at_ms: i64, found: &mut Vec<Metric>) -> Result<(), EmfError> {
        for set in &mut self.dimensions {
            set.take(&self.namespace, &self.metrics, fields)?;
            let mut from = 0;
            for (metric, Declared { name, unit }) in set.metrics.iter().zip(&self.metrics) {
                let values = fields.get(name, &mut from).and_then(values);
                let values = values.ok_or_else(|| EmfError::NoValue(name.clone()))?;
                limit("values of a metric", values.len(), VALUES_MAX)?;
                let datum = Datum { metric: Arc::clone(metric), at_ms, values: Values::Each(values) };
                found.push(Metric { datum, unit: unit.clone() });
            }
        }
        Ok(())
    }
}

impl Dimensions {
    /// Takes the values of a line.
    fn take(&mut self, namespace: &str, metrics: &[Declared], fields: &Fields<'_>) -> Result<(), EmfError> {
        let mut from = 0;
        let value = |name: &String| {
            let value = fields.get(name, &mut from).and_then(|value| serde_json::from_str(value.get()).ok());
            value.ok_or_else(|| EmfError::NoValue(name.clone()))
        };
        let values = self.names.iter().map(value).collect::<Result<Vec<String>, _>>()?;
        if self.metrics.len() == metrics.len() && self.values == values {
            return Ok(());
        }
        let dimensions: BTreeMap<String, String> = self.names.iter().cloned().zip(values.iter().cloned()).collect();
        let metric = |declared: &Declared| {
            let (namespace, name, dimensions) = (namespace.to_owned(), declared.name.clone(), dimensions.clone());
            Arc::new(MetricId { namespace, name, dimensions })
        };
        (self.metrics, self.values) = (metrics.iter().map(metric).collect(), values);
        Ok(())
    }
}

impl<'a> Fields<'a> {
    /// A field, looked for from a place on: what is declared stands in the order in which it was declared.
    fn get(&self, name: &str, from: &mut usize) -> Option<&'a RawValue> {
        let (before, behind) = self.0.split_at((*from).min(self.0.len()));
        let is_it = |(known, _): &(Cow<'_, str>, _)| *known == name;
        let index = behind.iter().position(is_it).map(|index| before.len() + index);
        let index = index.or_else(|| before.iter().position(is_it))?;
        *from = index + 1;
        Some(self.0[index].1)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// One value or several.
fn values(json: &RawValue) -> Option<Vec<f64>> {
    let json = json.get();
    if json.starts_with('[') { serde_json::from_str(json).ok() } else { Some(vec![serde_json::from_str(json).ok()?]) }
}

fn limit(what: &'static str, found: usize, limit: usize) -> Result<(), EmfError> {
    if found <= limit { Ok(()) } else { Err(EmfError::TooMany { what, found, limit }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"_aws":{"Timestamp":7,"CloudWatchMetrics":[{"Namespace":"Centinela","Dimensions":[["Function"]],"Metrics":[{"Name":"Decided","Unit":"Count"},{"Name":"ProcessingMilliseconds","Unit":"Milliseconds"}]}]},"Function":"f","Decided":3,"ProcessingMilliseconds":[5,9],"request_id":"r","total_us":9}"#;

    #[test]
    fn every_declared_metric_is_taken_and_nothing_else() {
        let metrics = read(LINE).expect("a line of metrics");
        let of = |name: &str, values: &[f64]| Datum {
            metric: MetricId::new("Centinela", name, &[("Function", "f")]).into(),
            at_ms: 7,
            values: Values::Each(values.to_vec()),
        };
        let data: Vec<Datum> = metrics.iter().map(|metric| metric.datum.clone()).collect();
        assert_eq!(data, [of("Decided", &[3.0]), of("ProcessingMilliseconds", &[5.0, 9.0])]);
        assert_eq!(metrics[1].unit.as_deref(), Some("Milliseconds"));
    }

    #[test]
    fn what_was_declared_before_is_read_with_the_values_of_the_line() {
        let mut lines = Lines::default();
        let other = LINE.replace(r#""Function":"f","Decided":3"#, r#""Decided":4,"Function":"g""#);
        for line in [LINE, &other, LINE] {
            assert_eq!(lines.read(line).expect("a line of metrics"), read(line).expect("a line of metrics"));
        }
        assert!(lines.read(&LINE.replace(r#","Decided":3"#, "")).is_err());
        assert_eq!(lines.0.len(), 1);
    }

    #[test]
    fn other_lines_have_no_metrics_and_a_broken_one_is_named() {
        for other in ["", "{}", r#"{"timestamp":1,"level":"INFO"}"#, "panicked at"] {
            assert!(read(other).is_ok_and(|metrics| metrics.is_empty()), "{other}");
        }
        let problem = |line: &str| read(line).expect_err("a broken line").to_string();
        assert!(problem(&LINE.replace(r#","Decided":3"#, "")).contains("`Decided`"));
        assert!(problem(&LINE.replace(r#""Function":"f","#, "")).contains("`Function`"));
        assert!(problem(&LINE.replace("[5,9]", &format!("{:?}", vec![1; 101]))).contains("101 values"));
        assert!(problem(r#"{"_aws":1}"#).contains("embedded metric format"));
    }
}
