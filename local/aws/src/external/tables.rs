//! Tables of an external DynamoDB.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{AwsClient, CallError};
use super::error::EndpointError;
use crate::specs::{AttrType, TableSpec};
use crate::stored::StoredItem;

/// How long a new table may take until it serves; seconds in AWS, no time in an emulator.
const ACTIVE_LIMIT: Duration = Duration::from_secs(60);
const ACTIVE_POLL: Duration = Duration::from_millis(200);

fn target(operation: &str) -> String {
    format!("DynamoDB_20120810.{operation}")
}

/// Creates the tables that are missing and checks the others; returns what differs without breaking anything.
///
/// # Errors
/// When the database cannot be reached or refuses us, or a table has another key than the stacks declare.
pub async fn prepare_tables(client: &AwsClient, tables: &[TableSpec]) -> Result<Vec<String>, EndpointError> {
    let mut differences = Vec::new();
    for table in tables {
        let name = &table.name;
        match describe(client, name).await {
            Ok(found) => {
                check_key(table, &found)?;
                until_active(client, name).await?;
                differences.extend(check_expiry(client, table).await?);
            }
            Err(error) if error.is("ResourceNotFoundException") => create(client, table).await?,
            Err(error) => return Err(client.failed(format!("describing table {name}"), error)),
        }
    }
    Ok(differences)
}

async fn describe(client: &AwsClient, table: &str) -> Result<Value, CallError> {
    let mut answer = client.ask(&target("DescribeTable"), &json!({ "TableName": table })).await?;
    Ok(answer["Table"].take())
}

/// Name and type of each part of a key, in order.
fn declared_key(table: &TableSpec) -> Vec<(&str, &'static str, &'static str)> {
    let kind = |kind: AttrType| match kind {
        AttrType::S => "S",
        AttrType::N => "N",
        AttrType::B => "B",
    };
    let partition = &table.partition_key;
    let mut key = vec![(partition.0.as_str(), kind(partition.1), "HASH")];
    key.extend(table.sort_key.as_ref().map(|sort| (sort.0.as_str(), kind(sort.1), "RANGE")));
    key
}

fn check_key(table: &TableSpec, found: &Value) -> Result<(), EndpointError> {
    let shown = |key: &[(&str, &str, &str)]| {
        key.iter().map(|(name, kind, role)| format!("{name} ({kind}, {role})")).collect::<Vec<_>>().join(" and ")
    };
    let empty = Vec::new();
    let definitions = found["AttributeDefinitions"].as_array().unwrap_or(&empty);
    let kind = |name: &str| {
        let definition = definitions.iter().find(|definition| definition["AttributeName"] == name);
        definition.and_then(|definition| definition["AttributeType"].as_str()).unwrap_or("?")
    };
    let schema = found["KeySchema"].as_array().unwrap_or(&empty);
    let mut key: Vec<(&str, &str, &str)> = schema
        .iter()
        .map(|part| {
            let name = part["AttributeName"].as_str().unwrap_or("?");
            (name, kind(name), part["KeyType"].as_str().unwrap_or("?"))
        })
        .collect();
    key.sort_by_key(|(_, _, role)| *role);
    let wanted = declared_key(table);
    if key == wanted {
        return Ok(());
    }
    Err(EndpointError::TableShape { table: table.name.clone(), wanted: shown(&wanted), found: shown(&key) })
}

async fn check_expiry(client: &AwsClient, table: &TableSpec) -> Result<Option<String>, EndpointError> {
    let Some(wanted) = &table.ttl_attribute else { return Ok(None) };
    let name = &table.name;
    let answer = client.ask(&target("DescribeTimeToLive"), &json!({ "TableName": name })).await;
    let answer =
        answer.map_err(|error| client.failed(format!("describing the time to live of table {name}"), error))?;
    let found = &answer["TimeToLiveDescription"];
    let is_enabled = found["TimeToLiveStatus"].as_str().is_some_and(|status| status.starts_with("ENABL"));
    if is_enabled && found["AttributeName"] == wanted.as_str() {
        return Ok(None);
    }
    Ok(Some(format!("items of table {name} do not expire by `{wanted}`, as the stacks declare")))
}

async fn create(client: &AwsClient, table: &TableSpec) -> Result<(), EndpointError> {
    let name = &table.name;
    let key = declared_key(table);
    let request = json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": key.iter().map(|(name, _, role)| json!({ "AttributeName": name, "KeyType": role })).collect::<Vec<_>>(),
        "AttributeDefinitions":
            key.iter().map(|(name, kind, _)| json!({ "AttributeName": name, "AttributeType": kind })).collect::<Vec<_>>(),
    });
    let answer = client.ask(&target("CreateTable"), &request).await;
    answer.map_err(|error| client.failed(format!("creating table {name}"), error))?;
    until_active(client, name).await?;
    let Some(attribute) = &table.ttl_attribute else { return Ok(()) };
    let request = json!({
        "TableName": name,
        "TimeToLiveSpecification": { "AttributeName": attribute, "Enabled": true },
    });
    let answer = client.ask(&target("UpdateTimeToLive"), &request).await;
    answer.map(drop).map_err(|error| client.failed(format!("setting the time to live of table {name}"), error))
}

async fn until_active(client: &AwsClient, table: &str) -> Result<(), EndpointError> {
    let until = Instant::now() + ACTIVE_LIMIT;
    loop {
        let found = describe(client, table).await;
        let found = found.map_err(|error| client.failed(format!("describing table {table}"), error))?;
        if matches!(found["TableStatus"].as_str(), Some("ACTIVE" | "UPDATING")) {
            return Ok(());
        }
        if until <= Instant::now() {
            let (code, message) = ("TableNotActive".to_owned(), format!("its status is {}", found["TableStatus"]));
            return Err(client.failed(format!("waiting for table {table}"), CallError::Refused { code, message }));
        }
        tokio::time::sleep(ACTIVE_POLL).await;
    }
}

/// Every item of a table, in no order.
///
/// # Errors
/// When the database cannot be reached or refuses.
pub async fn read_items(client: &AwsClient, table: &str) -> Result<Vec<StoredItem>, EndpointError> {
    let mut items = Vec::new();
    let mut request = json!({ "TableName": table, "ConsistentRead": true });
    loop {
        let page = client.ask(&target("Scan"), &request).await;
        let mut page = page.map_err(|error| client.failed(format!("reading table {table} back"), error))?;
        items.extend(page["Items"].as_array().into_iter().flatten().filter_map(stored));
        match page["LastEvaluatedKey"].take() {
            Value::Null => return Ok(items),
            next => request["ExclusiveStartKey"] = next,
        }
    }
}

fn stored(item: &Value) -> Option<StoredItem> {
    let key = item["pk"]["S"].as_str()?.to_owned();
    let attributes = || item.as_object().into_iter().flatten().filter(|(name, _)| *name != "pk");
    let groups = attributes().filter_map(|(name, value)| {
        let bytes = base64_simd::STANDARD.decode_to_vec(value["B"].as_str()?).ok()?;
        Some((name.clone(), bytes))
    });
    let texts = attributes().filter_map(|(name, value)| Some((name.clone(), value["S"].as_str()?.to_owned())));
    Some(StoredItem { key, groups: groups.collect(), texts: texts.collect() })
}
