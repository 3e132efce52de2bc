//! What an alarm's action tells an SNS topic.
//!
//! The fields that readers go by are CloudWatch's:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html>.

use serde_json::json;

use crate::alarms::Event;
use crate::spec::Alarm;
use crate::time::iso_8601;

/// Longest subject that SNS takes.
const SUBJECT_LETTERS_MAX: usize = 100;

/// A message to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// One line of ASCII.
    pub subject: String,
    /// JSON.
    pub message: String,
}

/// What is said of an event.
#[must_use]
pub fn notice(alarm: &Alarm, event: &Event, account: &str, region: &str) -> Notice {
    let name = alarm.name();
    let subject = format!("{}: \"{name}\" in {region}", event.to);
    let ascii = subject.replace(|letter: char| !(' '..='~').contains(&letter), "?");
    let actions = alarm.actions();
    let mut message = json!({
        "AlarmName": name,
        "AlarmDescription": alarm.description(),
        "AWSAccountId": account,
        "AlarmArn": format!("arn:aws:cloudwatch:{region}:{account}:alarm:{name}"),
        "Region": region,
        "NewStateValue": event.to.as_str(),
        "NewStateReason": event.reason,
        "OldStateValue": event.from.as_str(),
        "StateChangeTime": iso_8601(event.at_ms),
        "AlarmActions": actions.alarm,
        "OKActions": actions.ok,
        "InsufficientDataActions": actions.insufficient_data,
    });
    if let (Alarm::Metric(alarm), Some(fields)) = (alarm, message.as_object_mut()) {
        let watched = alarm.metrics().map(|(metric, statistic)| {
            json!({
                "Namespace": metric.namespace,
                "MetricName": metric.name,
                "Dimensions": metric.dimensions,
                "Stat": statistic.to_string(),
            })
        });
        let trigger = json!({
            "Period": alarm.period_s,
            "EvaluationPeriods": alarm.periods,
            "DatapointsToAlarm": alarm.datapoints,
            "ComparisonOperator": alarm.comparison.as_str(),
            "Threshold": alarm.threshold,
            "Metrics": watched.collect::<Vec<_>>(),
        });
        fields.insert("Trigger".to_owned(), trigger);
    }
    Notice { subject: ascii.chars().take(SUBJECT_LETTERS_MAX).collect(), message: message.to_string() }
}
