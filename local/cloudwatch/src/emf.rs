//! Metrics from log lines in the embedded metric format.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::metric::{Datum, MetricId, Values};

/// What a line begins with that is one of metrics.
const METRICS: &str = "{\"_aws\":";
/// Most metrics of a directive, and most values of a metric in a line, by the specification.
const METRICS_MAX: usize = 100;
const VALUES_MAX: usize = 100;
/// Most dimensions of a set, by the specification.
const DIMENSIONS_MAX: usize = 30;

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

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "_aws")]
    aws: Aws,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Aws {
    timestamp: i64,
    cloud_watch_metrics: Vec<Directive>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: String,
    dimensions: Vec<Vec<String>>,
    metrics: Vec<Declared>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Declared {
    name: String,
    #[serde(default)]
    unit: Option<String>,
}

/// A metric of a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its values.
    pub datum: Datum,
    /// Such as `Count`; none is none.
    pub unit: Option<String>,
}

/// The metrics of a line; none of a line that is not one of metrics.
///
/// # Errors
/// When CloudWatch would make nothing of it.
pub fn read(line: &str) -> Result<Vec<Metric>, EmfError> {
    if !line.starts_with(METRICS) {
        return Ok(Vec::new());
    }
    let line: Line = serde_json::from_str(line)?;
    let mut metrics = Vec::new();
    for directive in &line.aws.cloud_watch_metrics {
        limit("metrics", directive.metrics.len(), METRICS_MAX)?;
        for set in &directive.dimensions {
            limit("dimensions", set.len(), DIMENSIONS_MAX)?;
            for declared in &directive.metrics {
                metrics.push(metric(&line, directive, set, declared)?);
            }
        }
    }
    Ok(metrics)
}

fn metric(line: &Line, directive: &Directive, set: &[String], declared: &Declared) -> Result<Metric, EmfError> {
    let missing = |name: &str| EmfError::NoValue(name.to_owned());
    let dimension = |name: &String| {
        let value = line.fields.get(name).and_then(Value::as_str);
        value.map(|value| (name.clone(), value.to_owned())).ok_or_else(|| missing(name))
    };
    let name = &declared.name;
    let values = match line.fields.get(name) {
        Some(Value::Array(values)) => values.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>(),
        Some(value) => value.as_f64().map(|value| vec![value]),
        None => None,
    };
    let values = values.ok_or_else(|| missing(name))?;
    limit("values of a metric", values.len(), VALUES_MAX)?;
    let metric = MetricId {
        namespace: directive.namespace.clone(),
        name: name.clone(),
        dimensions: set.iter().map(dimension).collect::<Result<_, _>>()?,
    };
    let datum = Datum { metric, at_ms: line.aws.timestamp, values: Values::Each(values) };
    Ok(Metric { datum, unit: declared.unit.clone() })
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
            metric: MetricId::new("Centinela", name, &[("Function", "f")]),
            at_ms: 7,
            values: Values::Each(values.to_vec()),
        };
        let data: Vec<Datum> = metrics.iter().map(|metric| metric.datum.clone()).collect();
        assert_eq!(data, [of("Decided", &[3.0]), of("ProcessingMilliseconds", &[5.0, 9.0])]);
        assert_eq!(metrics[1].unit.as_deref(), Some("Milliseconds"));
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
