//! Functions, versions and aliases, and how a version does.
//!
//! Contract: <https://docs.aws.amazon.com/lambda/latest/api/API_Operations.html>.

use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use centinela_rollout::{CloudError, Concurrency, FunctionFacts, Invoked, Live};
use centinela_signed_http::{Asked, encoded};
use http::Method;
use serde_json::{Map, Value, json};

use crate::aws::Aws;
use crate::call::{ATTEMPT, Answered, Failure, unreadable};

const SERVICE: &str = "lambda";
const FUNCTIONS: &str = "/2015-03-31/functions";
/// The longest that a function may work, and a little for the way.
const INVOCATION: Duration = Duration::from_secs(910);
/// What a function said is cut here: enough to see what is wrong.
const SAID_MAX: usize = 64 * 1024;

impl Aws {
    fn lambda(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let headers = [("content-type", "application/json".to_owned())];
        let asked = Asked { path, query, headers: if body.is_some() { &headers } else { &[] } };
        let body: Bytes = body.map(|body| body.to_string()).unwrap_or_default().into();
        let answered = self.ask(SERVICE, method, &asked, body, ATTEMPT)?;
        json_of(&answered.answer.body)
    }

    fn found(answer: Result<Value, Failure>) -> Result<Option<Value>, CloudError> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(Failure::Refused(refusal)) if refusal.status == 404 => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(crate) fn get_concurrency(&self) -> Result<Concurrency, CloudError> {
        let answer = self.lambda(Method::GET, "/2016-08-19/account-settings", &[], None)?;
        let number = |name: &str| {
            let number = answer["AccountLimit"][name].as_u64().and_then(|number| u32::try_from(number).ok());
            number.ok_or_else(|| unreadable(format!("the account's settings have no {name}")))
        };
        let (limit, unreserved) = (number("ConcurrentExecutions")?, number("UnreservedConcurrentExecutions")?);
        Ok(Concurrency { limit, unreserved })
    }

    pub(crate) fn get_reserved(&self, function: &str) -> Result<Option<u32>, CloudError> {
        let path = format!("/2019-09-30/functions/{}/concurrency", encoded(function, false));
        let answer = Self::found(self.lambda(Method::GET, &path, &[], None))?.unwrap_or_default();
        Ok(answer["ReservedConcurrentExecutions"].as_u64().and_then(|number| u32::try_from(number).ok()))
    }

    pub(crate) fn get_function(&self, name: &str) -> Result<Option<FunctionFacts>, CloudError> {
        let path = format!("{FUNCTIONS}/{}/configuration", encoded(name, false));
        let Some(answer) = Self::found(self.lambda(Method::GET, &path, &[], None))? else { return Ok(None) };
        Ok(Some(function_facts(&answer)))
    }

    pub(crate) fn update_function_code(&self, function: &str, bucket: &str, key: &str) -> Result<(), CloudError> {
        let path = format!("{FUNCTIONS}/{}/code", encoded(function, false));
        let body = json!({ "S3Bucket": bucket, "S3Key": key, "Publish": false });
        self.lambda(Method::PUT, &path, &[], Some(&body))?;
        Ok(())
    }

    pub(crate) fn publish_version(&self, function: &str, code_sha256: &str) -> Result<String, CloudError> {
        let path = format!("{FUNCTIONS}/{}/versions", encoded(function, false));
        let body = json!({ "CodeSha256": code_sha256, "Description": "Made by cargo xtask deploy" });
        let answer = self.lambda(Method::POST, &path, &[], Some(&body))?;
        let version = answer["Version"].as_str().filter(|version| version.parse::<u64>().is_ok());
        version.map(str::to_owned).ok_or_else(|| unreadable("a version without a number"))
    }

    pub(crate) fn get_alias(&self, function: &str, alias: &str) -> Result<Option<Live>, CloudError> {
        let path = format!("{FUNCTIONS}/{}/aliases/{}", encoded(function, false), encoded(alias, false));
        Ok(Self::found(self.lambda(Method::GET, &path, &[], None))?.map(|answer| live(&answer)))
    }

    pub(crate) fn update_alias(&self, function: &str, alias: &str, live: &Live) -> Result<(), CloudError> {
        let path = format!("{FUNCTIONS}/{}/aliases/{}", encoded(function, false), encoded(alias, false));
        let weights: Map<_, _> = live.share.iter().map(|(version, share)| (version.clone(), json!(share))).collect();
        let body = json!({
            "FunctionVersion": live.version,
            "RoutingConfig": { "AdditionalVersionWeights": weights },
        });
        self.lambda(Method::PUT, &path, &[], Some(&body))?;
        Ok(())
    }

    pub(crate) fn invoke_function(&self, function: &str, qualifier: &str, event: &str) -> Result<Invoked, CloudError> {
        let path = format!("{FUNCTIONS}/{}/invocations", encoded(function, false));
        let headers =
            [("content-type", "application/json".to_owned()), ("x-amz-invocation-type", "RequestResponse".to_owned())];
        let asked = Asked { path: &path, query: &[("Qualifier", qualifier)], headers: &headers };
        let Answered { answer, .. } = self.ask(SERVICE, Method::POST, &asked, event.to_owned().into(), INVOCATION)?;
        let error = answer.headers.get("x-amz-function-error").map(|error| String::from_utf8_lossy(error.as_bytes()));
        let said = &answer.body[..answer.body.len().min(SAID_MAX)];
        Ok(Invoked { error: error.map(|error| error.into_owned()), body: String::from_utf8_lossy(said).into_owned() })
    }

    /// By the metric that Lambda sends of each version that an alias leads to.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html>
    pub(crate) fn sum_of_errors(
        &self,
        function: &str,
        alias: &str,
        version: &str,
        minutes: u32,
    ) -> Result<u64, CloudError> {
        let now = SystemTime::now();
        // A minute more at both ends: metrics are of whole minutes.
        let since = now - Duration::from_secs(60 * (u64::from(minutes) + 1));
        let time = |time: SystemTime| DateTime::from(time).fmt(Format::DateTime).map_err(unreadable);
        let mut fields = vec![
            ("Namespace".to_owned(), "AWS/Lambda".to_owned()),
            ("MetricName".to_owned(), "Errors".to_owned()),
            ("StartTime".to_owned(), time(since)?),
            ("EndTime".to_owned(), time(now + Duration::from_secs(60))?),
            ("Period".to_owned(), "60".to_owned()),
            ("Statistics.member.1".to_owned(), "Sum".to_owned()),
        ];
        let resource = format!("{function}:{alias}");
        let dimensions = [("FunctionName", function), ("Resource", resource.as_str()), ("ExecutedVersion", version)];
        for (place, (name, value)) in dimensions.into_iter().enumerate() {
            fields.push((format!("Dimensions.member.{}.Name", place + 1), name.to_owned()));
            fields.push((format!("Dimensions.member.{}.Value", place + 1), value.to_owned()));
        }
        let (answer, _) = self.query("monitoring", "2010-08-01", "GetMetricStatistics", &fields)?;
        let sums = answer.list("Datapoints").iter().map(|point| point.text("Sum").parse::<f64>());
        let sum = sums.sum::<Result<f64, _>>().map_err(unreadable)?;
        // A float becomes the nearest whole number in range.
        Ok(sum.round() as u64)
    }

    pub(crate) fn speaking_alarms(&self, prefix: &str) -> Result<Vec<String>, CloudError> {
        let fields = [
            ("AlarmNamePrefix".to_owned(), prefix.to_owned()),
            ("StateValue".to_owned(), "ALARM".to_owned()),
            ("AlarmTypes.member.1".to_owned(), "MetricAlarm".to_owned()),
            ("AlarmTypes.member.2".to_owned(), "CompositeAlarm".to_owned()),
            ("MaxRecords".to_owned(), "100".to_owned()),
        ];
        let (answer, _) = self.query("monitoring", "2010-08-01", "DescribeAlarms", &fields)?;
        let lists = ["MetricAlarms", "CompositeAlarms"].map(|list| answer.list(list));
        let speaking = lists.into_iter().flatten().filter(|alarm| alarm.text("StateValue") == "ALARM");
        Ok(speaking.map(|alarm| alarm.text("AlarmName").to_owned()).collect())
    }
}

fn json_of(body: &[u8]) -> Result<Value, Failure> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|error| Failure::Other(unreadable(error)))
}

fn function_facts(answer: &Value) -> FunctionFacts {
    let text = |name: &str| answer[name].as_str().unwrap_or_default();
    let failed = [("State", "StateReason"), ("LastUpdateStatus", "LastUpdateStatusReason")];
    let failure = failed.into_iter().find(|(status, _)| text(status) == "Failed").map(|(_, reason)| text(reason));
    FunctionFacts {
        code_sha256: text("CodeSha256").to_owned(),
        is_settled: text("State") != "Pending" && text("LastUpdateStatus") != "InProgress",
        failure: failure.map(str::to_owned),
    }
}

fn live(answer: &Value) -> Live {
    let weights = answer["RoutingConfig"]["AdditionalVersionWeights"].as_object().into_iter().flatten();
    let share = weights.filter_map(|(version, share)| Some((version.clone(), share.as_f64()?))).next();
    Live { version: answer["FunctionVersion"].as_str().unwrap_or_default().to_owned(), share }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_settled_when_neither_it_nor_its_last_change_is_at_work() {
        let of = |state: &str, update: &str| {
            let answer = json!({ "CodeSha256": "x", "State": state, "LastUpdateStatus": update, "StateReason": "a", "LastUpdateStatusReason": "b" });
            let facts = function_facts(&answer);
            (facts.is_settled, facts.failure)
        };
        assert_eq!(of("Active", "Successful"), (true, None));
        assert_eq!(of("Inactive", "Successful"), (true, None));
        assert_eq!(of("Pending", "Successful"), (false, None));
        assert_eq!(of("Active", "InProgress"), (false, None));
        assert_eq!(of("Active", "Failed"), (true, Some("b".to_owned())));
        assert_eq!(of("Failed", "Failed"), (true, Some("a".to_owned())));
    }

    #[test]
    fn an_alias_leads_to_one_version_or_to_two() {
        let one = json!({ "FunctionVersion": "3" });
        assert_eq!(live(&one), Live { version: "3".into(), share: None });
        let two = json!({ "FunctionVersion": "3", "RoutingConfig": { "AdditionalVersionWeights": { "4": 0.1 } } });
        assert_eq!(live(&two), Live { version: "3".into(), share: Some(("4".into(), 0.1)) });
    }
}
