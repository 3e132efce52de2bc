//! When an alarm speaks: one that needs more trouble in a row than ever comes, or more time than anybody has, is none.

use thiserror::Error;

use super::alarms::{dimensions, metrics, text};
use super::attributes::mapping_id;
use super::mappings::keeps_offsets;
use super::metrics::NAMESPACE;
use super::model::{Resource, whole};
use super::{Infrastructure, TriggerSource};

/// Customers notice by then themselves.
const WAITING_SECONDS_MAX: i64 = 15 * 60;
/// Of everything else, so that somebody still looks on the same day.
const SECONDS_MAX: i64 = 3 * 3_600;
/// CloudWatch looks back no further; a week where a period is an hour or more.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html>
const LOOKS_BACK_SECONDS_MAX: i64 = 86_400;
/// What says that customers wait.
const WAITING: [&str; 4] = ["ProcessingMilliseconds", "SumOffsetLag", "MaxOffsetLag", "PolledEventCount"];

/// What is wrong with when an alarm speaks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant's message says what it means, and the fields are what the message names")]
pub enum AlarmTime {
    #[error("speaks after {after} s of trouble, must after {most} s")]
    SpeaksTooLate { after: i64, most: i64 },
    #[error("looks back {0} s, and CloudWatch refuses more than {LOOKS_BACK_SECONDS_MAX} s of such periods")]
    LooksBackTooFar(i64),
    #[error(
        "wants {periods} periods of {metric}, and nothing invokes the function that often: one failure must be enough"
    )]
    AsksTwiceOfRare { metric: String, periods: i64 },
}

/// What is wrong with when an alarm speaks.
pub(super) fn rules(alarm: &Resource, infrastructure: &Infrastructure) -> Vec<AlarmTime> {
    if alarm.kind != "AWS::CloudWatch::Alarm" {
        return Vec::new();
    }
    let mut rules = Vec::new();
    let of_queries = alarm.list("/Metrics").iter().filter_map(|query| whole(query.pointer("/MetricStat/Period")?));
    let period = of_queries.chain(alarm.integer("/Period")).max().unwrap_or(60);
    let periods = alarm.integer("/EvaluationPeriods").unwrap_or(1);
    let wanted = alarm.integer("/DatapointsToAlarm").unwrap_or(periods);
    let most = if is_of_waiting(alarm, infrastructure) { WAITING_SECONDS_MAX } else { SECONDS_MAX };
    let (after, back) = (wanted.saturating_mul(period), periods.saturating_mul(period));
    rules.extend((after > most).then_some(AlarmTime::SpeaksTooLate { after, most }));
    let looks_back = if period >= 3_600 { 7 * LOOKS_BACK_SECONDS_MAX } else { LOOKS_BACK_SECONDS_MAX };
    rules.extend((back > looks_back).then_some(AlarmTime::LooksBackTooFar(back)));
    let metric = alarm.text("/MetricName").unwrap_or_default();
    let is_failure = matches!(metric, "Errors" | "Throttles") && alarm.text("/Namespace") == Some("AWS/Lambda");
    let mut functions = dimensions(&alarm.properties).into_iter().filter(|(name, _)| *name == "FunctionName");
    if is_failure && wanted > 1 && functions.any(|(_, name)| is_rare(name, infrastructure)) {
        rules.push(AlarmTime::AsksTwiceOfRare { metric: metric.to_owned(), periods: wanted });
    }
    rules
}

/// Whether it is about what customers wait for: the main job, by its own metrics or by those of its mapping.
fn is_of_waiting(alarm: &Resource, infrastructure: &Infrastructure) -> bool {
    let main = infrastructure
        .mappings
        .iter()
        .filter(|mapping| infrastructure.function(&mapping.function).is_some_and(keeps_offsets));
    let ids: Vec<String> =
        main.flat_map(|mapping| [mapping_id(&mapping.logical_id), mapping.function.clone()]).collect();
    metrics(alarm).any(|metric| {
        let namespace = text(metric, "Namespace");
        WAITING.contains(&text(metric, "MetricName"))
            && (namespace == NAMESPACE || namespace == "AWS/Lambda")
            && dimensions(metric).iter().any(|(_, value)| ids.iter().any(|id| id == value))
    })
}

/// Whether a function is invoked by the clock, by an alarm or by a person: its failures do not come minute after minute.
fn is_rare(name: &str, infrastructure: &Infrastructure) -> bool {
    let is_steady = |source: &TriggerSource| matches!(source, TriggerSource::Kinesis(_) | TriggerSource::Http(_));
    infrastructure.mappings.iter().all(|mapping| mapping.function != name)
        && infrastructure.triggers.iter().all(|trigger| trigger.function != name || !is_steady(&trigger.source))
}
