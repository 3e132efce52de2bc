//! What the functions ask of DynamoDB, Kinesis and S3, in the words of IAM.
//!
//! It listens where faults are decided, which is before every request, and changes none of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use centinela_aws::{Fault, FaultSource, RequestInfo};
use centinela_serve::Calls;
use serde_json::{Map, Value};

use super::config::PlatformConfig;

/// The same platform, with its calls noted where that is asked for.
pub(super) fn noted(config: PlatformConfig) -> PlatformConfig {
    if !config.calls.is_on() {
        return config;
    }
    let faults = Arc::new(Recording { inner: Arc::clone(&config.faults), calls: config.calls.clone() });
    PlatformConfig { faults, ..config }
}

struct Recording {
    inner: Arc<dyn FaultSource>,
    calls: Calls,
}

impl FaultSource for Recording {
    fn decide(&self, request: &RequestInfo<'_>) -> Fault {
        if let Some(caller) = request.caller {
            for (action, on) in needed(request) {
                self.calls.note(caller, &action, &on);
            }
        }
        self.inner.decide(request)
    }
}

/// The permissions that a request needs.
fn needed(request: &RequestInfo<'_>) -> Vec<(String, String)> {
    if request.service == "s3" {
        return of_object(request).into_iter().collect();
    }
    // A body that is no JSON is refused by the service.
    let body: Value = serde_json::from_slice(request.body).unwrap_or_default();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
    if request.service == "kinesis" {
        return vec![(format!("kinesis:{}", request.operation), format!("stream/{}", text(&body, "StreamName")))];
    }
    let tables = |name: &str| -> Vec<String> {
        body.get(name).and_then(Value::as_object).into_iter().flat_map(Map::keys).cloned().collect()
    };
    let list = |name: &str| body.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let of_tables = |action: &str, tables: Vec<String>| -> Vec<(String, String)> {
        tables.into_iter().map(|table| (format!("dynamodb:{action}"), format!("table/{table}"))).collect()
    };
    match request.operation {
        "BatchGetItem" | "BatchWriteItem" => of_tables(request.operation, tables("RequestItems")),
        // Statements and parts of a transaction have permissions of their own.
        // <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html>
        "BatchExecuteStatement" => list("Statements").iter().map(|one| of_statement(&text(one, "Statement"))).collect(),
        "ExecuteTransaction" => {
            list("TransactStatements").iter().map(|one| of_statement(&text(one, "Statement"))).collect()
        }
        "ExecuteStatement" => vec![of_statement(&text(&body, "Statement"))],
        "TransactWriteItems" | "TransactGetItems" => {
            let actions: Vec<BTreeMap<String, Value>> =
                list("TransactItems").into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect();
            let actions = actions.into_iter().flatten().filter(|(_, action)| !action.is_null());
            actions
                .flat_map(|(kind, action)| of_tables(of_transaction(&kind), vec![text(&action, "TableName")]))
                .collect()
        }
        operation => of_tables(operation, vec![text(&body, "TableName")]),
    }
}

fn of_transaction(kind: &str) -> &'static str {
    match kind {
        "Put" => "PutItem",
        "Update" => "UpdateItem",
        "Delete" => "DeleteItem",
        "Get" => "GetItem",
        _ => "ConditionCheckItem",
    }
}

/// A statement of PartiQL: by its verb, on the table that stands in quotes.
fn of_statement(statement: &str) -> (String, String) {
    let verb = statement.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    let action = match verb.as_str() {
        "SELECT" => "PartiQLSelect",
        "INSERT" => "PartiQLInsert",
        "UPDATE" => "PartiQLUpdate",
        _ => "PartiQLDelete",
    };
    let table = statement.split('"').nth(1).unwrap_or("?");
    (format!("dynamodb:{action}"), format!("table/{table}"))
}

/// An operation on a bucket, or on an object of which the first folder is named.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html>
fn of_object(request: &RequestInfo<'_>) -> Option<(String, String)> {
    let path = request.path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let folder = key.split_once('/').map(|(folder, _)| folder);
    let object = folder.map_or_else(|| format!("bucket/{bucket}/*"), |folder| format!("bucket/{bucket}/{folder}/*"));
    let action = match request.operation {
        "ListObjectsV2" => return Some(("s3:ListBucket".to_owned(), format!("bucket/{bucket}"))),
        // Of several the keys are in the body, which the store itself reads and notes.
        "DeleteObjects" => return None,
        "HeadObject" => "GetObject",
        "UploadPart" | "CreateMultipartUpload" | "CompleteMultipartUpload" => "PutObject",
        other => other,
    };
    Some((format!("s3:{action}"), object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(service: &'static str, operation: &str, path: &str, body: &str) -> Vec<String> {
        let request = RequestInfo { service, operation, path, body: body.as_bytes(), caller: Some("f") };
        needed(&request).into_iter().map(|(action, on)| format!("{action} {on}")).collect()
    }

    #[test]
    fn a_request_needs_what_iam_calls_it() {
        let items = r#"{"RequestItems":{"a":{"Keys":[]},"b":{"Keys":[]}}}"#;
        assert_eq!(
            asked("dynamodb", "BatchGetItem", "/", items),
            ["dynamodb:BatchGetItem table/a", "dynamodb:BatchGetItem table/b"]
        );
        let statements =
            r#"{"Statements":[{"Statement":"INSERT INTO \"a\" VALUE {}"},{"Statement":"update \"b\" SET x=?"}]}"#;
        assert_eq!(
            asked("dynamodb", "BatchExecuteStatement", "/", statements),
            ["dynamodb:PartiQLInsert table/a", "dynamodb:PartiQLUpdate table/b"]
        );
        let transaction = r#"{"TransactItems":[{"Put":{"TableName":"l"}},{"Update":{"TableName":"u"}},{"ConditionCheck":{"TableName":"u"}}]}"#;
        assert_eq!(
            asked("dynamodb", "TransactWriteItems", "/", transaction),
            ["dynamodb:PutItem table/l", "dynamodb:UpdateItem table/u", "dynamodb:ConditionCheckItem table/u"]
        );
        assert_eq!(asked("kinesis", "PutRecords", "/", r#"{"StreamName":"s"}"#), ["kinesis:PutRecords stream/s"]);
        assert_eq!(asked("s3", "PutObject", "/lake/raw/events/a", ""), ["s3:PutObject bucket/lake/raw/*"]);
        assert_eq!(asked("s3", "ListObjectsV2", "/lake", ""), ["s3:ListBucket bucket/lake"]);
        assert_eq!(asked("dynamodb", "GetItem", "/", "no json"), ["dynamodb:GetItem table/?"]);
    }
}
