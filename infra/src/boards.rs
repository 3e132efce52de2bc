//! A board that shows a metric that nobody sends shows an empty graph, and looks calm.

use serde_json::{Value, json};

use super::Infrastructure;
use super::alarms::{AlarmRule, known};
use super::expressions::{is_balanced, unknown_names};
use super::model::Resource;

/// What is wrong with the metrics of a board.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html>
pub(super) fn rules(board: &Resource, infrastructure: &Infrastructure) -> Vec<AlarmRule> {
    let body: Value = match serde_json::from_str(board.text("/DashboardBody").unwrap_or_default()) {
        Ok(body) => body,
        Err(error) => return vec![AlarmRule::UnreadableBoard(error.to_string())],
    };
    let mut rules = Vec::new();
    for widget in body.get("widgets").and_then(Value::as_array).into_iter().flatten() {
        let lines = widget.pointer("/properties/metrics").and_then(Value::as_array);
        let lines: Vec<&Vec<Value>> = lines.into_iter().flatten().filter_map(Value::as_array).collect();
        let options = lines.iter().filter_map(|line| line.last().filter(|last| last.is_object()));
        let ids: Vec<&str> = options.clone().filter_map(|options| options.get("id")?.as_str()).collect();
        for expression in options.filter_map(|options| options.get("expression")?.as_str()) {
            let unknown = unknown_names(expression, |word| ids.contains(&word));
            rules.extend(unknown.into_iter().map(|word| AlarmRule::UnknownMetricId(word.to_owned())));
            rules.extend((!is_balanced(expression)).then(|| AlarmRule::Unbalanced(expression.to_owned())));
        }
        let mut before: Vec<String> = Vec::new();
        for line in lines {
            let words = line.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            let words = in_full(words, &before);
            if let Some(metric) = metric(&words) {
                rules.extend(known(&metric, infrastructure).err());
                before = words;
            }
        }
        let alarms = widget.pointer("/properties/alarms").and_then(Value::as_array).into_iter().flatten();
        for arn in alarms
            .chain(widget.pointer("/properties/annotations/alarms").and_then(Value::as_array).into_iter().flatten())
        {
            let name =
                arn.as_str().and_then(|arn| arn.rsplit_once(":alarm:")).map(|(_, name)| name).unwrap_or_default();
            let is_declared = infrastructure
                .resources
                .iter()
                .any(|one| one.kind.starts_with("AWS::CloudWatch::") && one.text("/AlarmName") == Some(name));
            rules.extend((!is_declared).then(|| AlarmRule::UnknownAlarm(name.to_owned())));
        }
    }
    rules
}

/// A line in full: `.` is the word above, and `...` all words from there on.
fn in_full(words: Vec<String>, before: &[String]) -> Vec<String> {
    let mut full = Vec::new();
    for word in words {
        match word.as_str() {
            "..." => full.extend(before.iter().skip(full.len()).cloned()),
            "." => full.extend(before.get(full.len()).cloned()),
            _ => full.push(word),
        }
    }
    full
}

/// Namespace, name, and dimensions in pairs; none of a line that is an expression.
fn metric(words: &[String]) -> Option<Value> {
    let (namespace, rest) = words.split_first()?;
    let (name, dimensions) = rest.split_first()?;
    let dimensions: Vec<Value> =
        dimensions.chunks(2).map(|pair| json!({ "Name": pair.first(), "Value": pair.get(1) })).collect();
    Some(json!({ "Namespace": namespace, "MetricName": name, "Dimensions": dimensions }))
}
