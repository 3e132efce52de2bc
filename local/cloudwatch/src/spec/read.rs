//! From properties to alarms.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Actions, Comparison, LowSamples, MetricAlarm, Query, SpecError};
use crate::composite::{CompositeAlarm, Suppressor};
use crate::math::{self, Expression};
use crate::metric::MetricId;
use crate::rule::{Rule, alarm_name};
use crate::statistic::Statistic;
use crate::verdict::Missing;

/// Of a single metric.
const ONLY_ID: &str = "m";
/// Most metrics and most expressions of an alarm.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html>
const PARTS_MAX: usize = 10;
/// Longest evaluation, in seconds: a day, and a week where periods are an hour or longer (the same page).
const DAY_S: i64 = 86_400;
const WEEK_S: i64 = 7 * DAY_S;
const HOUR_S: i64 = 3_600;
/// Metrics whose missing data are always ignored, whatever the alarm says.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>
const IGNORES_MISSING: &str = "AWS/DynamoDB";

/// A number, as a number or as the text that a parameter is.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Number(f64),
    Text(String),
}

impl Number {
    fn value(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Flag {
    Flag(bool),
    Text(String),
}

impl Flag {
    fn value(&self) -> bool {
        match self {
            Self::Flag(flag) => *flag,
            Self::Text(text) => text == "true",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawAlarm {
    alarm_name: Option<String>,
    #[serde(default)]
    alarm_description: String,
    namespace: Option<String>,
    metric_name: Option<String>,
    #[serde(default)]
    dimensions: Vec<RawDimension>,
    statistic: Option<String>,
    extended_statistic: Option<String>,
    period: Option<Number>,
    evaluation_periods: Option<Number>,
    datapoints_to_alarm: Option<Number>,
    threshold: Option<Number>,
    comparison_operator: Option<String>,
    treat_missing_data: Option<String>,
    evaluate_low_sample_count_percentile: Option<String>,
    #[serde(default)]
    metrics: Vec<RawQuery>,
    actions_enabled: Option<Flag>,
    #[serde(default)]
    alarm_actions: Vec<String>,
    #[serde(default, rename = "OKActions")]
    ok_actions: Vec<String>,
    #[serde(default)]
    insufficient_data_actions: Vec<String>,
    #[serde(default, rename = "Tags")]
    _tags: serde::de::IgnoredAny,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawDimension {
    name: String,
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawQuery {
    id: String,
    #[serde(default, rename = "Label")]
    _label: Option<String>,
    expression: Option<String>,
    metric_stat: Option<RawStat>,
    return_data: Option<Flag>,
    period: Option<Number>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawStat {
    metric: RawMetric,
    period: Number,
    stat: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawMetric {
    namespace: String,
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<RawDimension>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawComposite {
    alarm_name: Option<String>,
    #[serde(default)]
    alarm_description: String,
    alarm_rule: String,
    actions_suppressor: Option<String>,
    actions_suppressor_wait_period: Option<Number>,
    actions_suppressor_extension_period: Option<Number>,
    actions_enabled: Option<Flag>,
    #[serde(default)]
    alarm_actions: Vec<String>,
    #[serde(default, rename = "OKActions")]
    ok_actions: Vec<String>,
    #[serde(default)]
    insufficient_data_actions: Vec<String>,
    #[serde(default, rename = "Tags")]
    _tags: serde::de::IgnoredAny,
}

/// Names the alarm in problems.
struct Of<'a>(&'a str);

impl Of<'_> {
    fn missing(&self, property: &'static str) -> SpecError {
        SpecError::Missing { alarm: self.0.to_owned(), property }
    }

    fn value(&self, property: &'static str, value: impl Into<String>, limit: &'static str) -> SpecError {
        SpecError::Value { alarm: self.0.to_owned(), property, value: value.into(), limit }
    }

    fn whole(&self, property: &'static str, number: &Number, least: i64) -> Result<i64, SpecError> {
        let wrong = || self.value(property, number.shown(), "a whole number that is large enough, and at most a week");
        let value =
            number.value().filter(|value| value.fract() == 0.0 && value.abs() <= 604_800.0).ok_or_else(wrong)?;
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and at most a week of seconds")]
        let value = value as i64;
        if value < least { Err(wrong()) } else { Ok(value) }
    }
}

/// Reads an alarm on metrics.
pub(super) fn metric_alarm(logical_id: &str, properties: &Value) -> Result<MetricAlarm, SpecError> {
    let raw: RawAlarm = serde_json::from_value(properties.clone())
        .map_err(|source| SpecError::Form { alarm: logical_id.to_owned(), source })?;
    let name = raw.alarm_name.clone().unwrap_or_else(|| logical_id.to_owned());
    let of = Of(&name);
    let (queries, returned, period_s) = if raw.metrics.is_empty() { single(&raw, &of)? } else { several(&raw, &of)? };
    let (periods, datapoints) = lengths(&raw, &of, period_s)?;
    let threshold = raw.threshold.as_ref().ok_or_else(|| of.missing("Threshold"))?;
    let threshold = threshold.value().ok_or_else(|| of.value("Threshold", threshold.shown(), "a number"))?;
    let comparison = raw.comparison_operator.as_deref().ok_or_else(|| of.missing("ComparisonOperator"))?;
    let comparison = Comparison::parse(comparison)
        .ok_or_else(|| of.value("ComparisonOperator", comparison, "one that compares with a threshold"))?;
    let (missing, low_samples) = treatments(&raw, &of)?;
    let expressions = expressions(&name, &queries)?;
    let mut alarm = MetricAlarm {
        name: name.clone(),
        description: raw.alarm_description,
        queries,
        returned,
        expressions,
        period_s,
        periods,
        datapoints,
        threshold,
        comparison,
        missing,
        low_samples,
        actions: Actions {
            alarm: raw.alarm_actions,
            ok: raw.ok_actions,
            insufficient_data: raw.insufficient_data_actions,
            enabled: raw.actions_enabled.is_none_or(|enabled| enabled.value()),
        },
    };
    if alarm.metrics().any(|(metric, _)| metric.namespace == IGNORES_MISSING) {
        alarm.missing = Missing::Ignore;
    }
    // What no data can make an answer of is found now, and not at three in the morning.
    alarm.dry_run().map_err(|source| SpecError::Math { alarm: name, id: alarm.returned.clone(), source })?;
    Ok(alarm)
}

/// How many periods there are, and how many of them must breach.
fn lengths(raw: &RawAlarm, of: &Of<'_>, period_s: i64) -> Result<(usize, usize), SpecError> {
    let periods = raw.evaluation_periods.as_ref().ok_or_else(|| of.missing("EvaluationPeriods"))?;
    let periods = of.whole("EvaluationPeriods", periods, 1)?;
    let datapoints = raw.datapoints_to_alarm.as_ref().map(|number| of.whole("DatapointsToAlarm", number, 1));
    let datapoints = datapoints.transpose()?.unwrap_or(periods);
    if datapoints > periods {
        return Err(of.value("DatapointsToAlarm", datapoints.to_string(), "at most EvaluationPeriods"));
    }
    let limit = if period_s >= HOUR_S { WEEK_S } else { DAY_S };
    if periods.saturating_mul(period_s) > limit {
        let length = format!("{periods} periods of {period_s} s");
        return Err(of.value("EvaluationPeriods", length, "at most a day, or a week of periods of an hour or more"));
    }
    Ok((usize::try_from(periods).unwrap_or(1), usize::try_from(datapoints).unwrap_or(1)))
}

/// What missing data and percentiles of few samples count as.
fn treatments(raw: &RawAlarm, of: &Of<'_>) -> Result<(Missing, LowSamples), SpecError> {
    let missing = raw.treat_missing_data.as_deref().unwrap_or("missing");
    let missing = Missing::parse(missing)
        .ok_or_else(|| of.value("TreatMissingData", missing, "breaching, notBreaching, ignore or missing"))?;
    let low_samples = match raw.evaluate_low_sample_count_percentile.as_deref() {
        None | Some("evaluate") => LowSamples::Evaluate,
        Some("ignore") => LowSamples::Ignore,
        Some(other) => return Err(of.value("EvaluateLowSampleCountPercentile", other, "evaluate or ignore")),
    };
    Ok((missing, low_samples))
}

type Parts = (BTreeMap<String, Query>, String, i64);

fn single(raw: &RawAlarm, of: &Of<'_>) -> Result<Parts, SpecError> {
    let namespace = raw.namespace.clone().ok_or_else(|| of.missing("Namespace"))?;
    let metric_name = raw.metric_name.clone().ok_or_else(|| of.missing("MetricName"))?;
    let period = raw.period.as_ref().ok_or_else(|| of.missing("Period"))?;
    let statistic = raw.statistic.as_deref().or(raw.extended_statistic.as_deref());
    let statistic = statistic.ok_or_else(|| of.missing("Statistic"))?;
    let metric = MetricId { namespace, name: metric_name, dimensions: dimensions(&raw.dimensions) };
    let query = Query::Metric { metric, statistic: parse_statistic(of, statistic)? };
    Ok((BTreeMap::from([(ONLY_ID.to_owned(), query)]), ONLY_ID.to_owned(), period_of(of, period)?))
}

fn several(raw: &RawAlarm, of: &Of<'_>) -> Result<Parts, SpecError> {
    if raw.metric_name.is_some() {
        return Err(of.value("MetricName", "there beside Metrics", "one of the two"));
    }
    let (mut queries, mut returned, mut period) = (BTreeMap::new(), Vec::new(), None);
    for query in &raw.metrics {
        let part = match (&query.metric_stat, &query.expression) {
            (Some(stat), None) => {
                let here = period_of(of, &stat.period)?;
                if *period.get_or_insert(here) != here {
                    return Err(of.value("Period", here.to_string(), "the same for every metric of the alarm"));
                }
                let metric = MetricId {
                    namespace: stat.metric.namespace.clone(),
                    name: stat.metric.metric_name.clone(),
                    dimensions: dimensions(&stat.metric.dimensions),
                };
                Query::Metric { metric, statistic: parse_statistic(of, &stat.stat)? }
            }
            (None, Some(expression)) => Query::Expression(expression.clone()),
            _ => return Err(of.value("Metrics", query.id.clone(), "either a MetricStat or an Expression")),
        };
        if let Some(own) = &query.period {
            period.get_or_insert(period_of(of, own)?);
        }
        if queries.insert(query.id.clone(), part).is_some() {
            return Err(of.value("Metrics", query.id.clone(), "each id once"));
        }
        if query.return_data.as_ref().is_none_or(Flag::value) {
            returned.push(query.id.clone());
        }
    }
    let stats = queries.values().filter(|query| matches!(query, Query::Metric { .. })).count();
    if stats > PARTS_MAX || queries.len() - stats > PARTS_MAX {
        return Err(of.value("Metrics", queries.len().to_string(), "at most 10 metrics and 10 expressions"));
    }
    let [returned] = returned.as_slice() else {
        return Err(of.value("ReturnData", format!("true {} times", returned.len()), "true once"));
    };
    let period = period.ok_or_else(|| of.missing("Period"))?;
    Ok((queries, returned.clone(), period))
}

/// Whole minutes: data of shorter periods would have to be kept by the second.
fn period_of(of: &Of<'_>, number: &Number) -> Result<i64, SpecError> {
    let seconds = of.whole("Period", number, 60)?;
    if seconds % 60 == 0 { Ok(seconds) } else { Err(of.value("Period", seconds.to_string(), "whole minutes")) }
}

fn parse_statistic(of: &Of<'_>, text: &str) -> Result<Statistic, SpecError> {
    Statistic::parse(text).ok_or_else(|| of.value("Statistic", text, "a plain statistic or a percentile such as p99"))
}

fn dimensions(raw: &[RawDimension]) -> BTreeMap<String, String> {
    raw.iter().map(|dimension| (dimension.name.clone(), dimension.value.clone())).collect()
}

fn expressions(alarm: &str, queries: &BTreeMap<String, Query>) -> Result<BTreeMap<String, Expression>, SpecError> {
    let texts = queries.iter().filter_map(|(id, query)| match query {
        Query::Expression(text) => Some((id, text)),
        Query::Metric { .. } => None,
    });
    let parsed = texts.map(|(id, text)| {
        let wrong = |source| SpecError::Math { alarm: alarm.to_owned(), id: id.clone(), source };
        Ok((id.clone(), math::parse(text).map_err(wrong)?))
    });
    parsed.collect()
}

/// Reads an alarm on other alarms.
pub(super) fn composite_alarm(logical_id: &str, properties: &Value) -> Result<CompositeAlarm, SpecError> {
    let raw: RawComposite = serde_json::from_value(properties.clone())
        .map_err(|source| SpecError::Form { alarm: logical_id.to_owned(), source })?;
    let name = raw.alarm_name.unwrap_or_else(|| logical_id.to_owned());
    let of = Of(&name);
    let rule = Rule::parse(&raw.alarm_rule).map_err(|source| SpecError::Rule { alarm: name.clone(), source })?;
    let suppressor = match raw.actions_suppressor {
        None => None,
        Some(alarm) => {
            let seconds = |property, number: Option<Number>| match number {
                None => Err(of.missing(property)),
                Some(number) => of.whole(property, &number, 0),
            };
            Some(Suppressor {
                alarm: alarm_name(&alarm).to_owned(),
                wait_s: seconds("ActionsSuppressorWaitPeriod", raw.actions_suppressor_wait_period)?,
                extension_s: seconds("ActionsSuppressorExtensionPeriod", raw.actions_suppressor_extension_period)?,
            })
        }
    };
    let actions = Actions {
        alarm: raw.alarm_actions,
        ok: raw.ok_actions,
        insufficient_data: raw.insufficient_data_actions,
        enabled: raw.actions_enabled.is_none_or(|enabled| enabled.value()),
    };
    Ok(CompositeAlarm { name, description: raw.alarm_description, rule, suppressor, actions })
}
