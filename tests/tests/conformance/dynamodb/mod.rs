//! DynamoDB, embedded or local, through the AWS SDK: what every case needs, in the forms that the state store uses.

mod cases;
mod reads;
mod tables;
mod transactions;
mod writes;

use std::collections::HashMap;
use std::future::Future;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BatchStatementRequest, BatchStatementResponse, BillingMode, ConsumedCapacity,
    KeySchemaElement, KeyType, ReturnValuesOnConditionCheckFailure, ScalarAttributeType,
};
use tokio::runtime::Handle;

pub use cases::CASES;

const USERS: &str = "user_state";
const DEVICES: &str = "device_state";
const SETTLED: &str = "settled_offsets";

type Item = HashMap<String, AttributeValue>;

/// A DynamoDB to ask, with its three tables. Cases use keys of their own.
pub struct Dynamo {
    client: Client,
    runtime: Handle,
}

impl Dynamo {
    pub async fn at(url: &str) -> Self {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(url)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("centinela", "centinela-local", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .build();
        let dynamo = Self { client: Client::from_conf(config), runtime: Handle::current() };
        for table in [USERS, DEVICES, SETTLED] {
            dynamo.create(table).await.unwrap();
        }
        dynamo
    }

    async fn create(&self, table: &str) -> Result<(), String> {
        let attribute = AttributeDefinition::builder().attribute_name("pk").attribute_type(ScalarAttributeType::S);
        let call = self
            .client
            .create_table()
            .table_name(table)
            .attribute_definitions(attribute.build().unwrap())
            .key_schema(KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash).build().unwrap())
            .billing_mode(BillingMode::PayPerRequest);
        call.send().await.map(drop).map_err(|error| code(&error))
    }

    fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    async fn put(&self, table: &str, key: &str, version: u64, bytes: usize) {
        let put = self.client.put_item().table_name(table);
        put.item("pk", s(key)).item("v", n(version)).item("s", b(bytes)).send().await.unwrap();
    }

    /// What the table has under a key: version and size, or nothing.
    async fn stored(&self, table: &str, key: &str) -> String {
        let get = self.client.get_item().table_name(table).key("pk", s(key)).consistent_read(true);
        get.send().await.unwrap().item.as_ref().map_or_else(|| "nothing".to_owned(), shown)
    }

    /// Executes the statements in one call; one answer each, or the refusal of the whole call.
    async fn execute(&self, statements: Vec<BatchStatementRequest>) -> String {
        match self.client.batch_execute_statement().set_statements(Some(statements)).send().await {
            Ok(answer) => answer.responses().iter().map(statement_answer).collect::<Vec<_>>().join("; "),
            Err(error) => format!("the call: {}", code(&error)),
        }
    }
}

fn statement_answer(response: &BatchStatementResponse) -> String {
    let beside = response.item().map(|item| format!(" beside it {}", shown(item))).unwrap_or_default();
    let Some(error) = response.error() else { return format!("done{beside}") };
    let item = error.item().map_or_else(|| "no item".to_owned(), shown);
    let code = error.code().map_or("no code", |code| code.as_str());
    format!("{code}, {item}{beside}")
}

/// The units of the first table.
fn units_text(consumed: &[ConsumedCapacity]) -> String {
    let units = consumed.first().and_then(ConsumedCapacity::capacity_units);
    units.map_or_else(|| "nothing".to_owned(), |units| units.to_string())
}

/// Version and size of the content.
fn shown(item: &Item) -> String {
    let version = match item.get("v") {
        Some(AttributeValue::N(version)) => version.clone(),
        other => format!("{other:?}"),
    };
    let size = match item.get("s") {
        Some(AttributeValue::B(content)) => content.as_ref().len().to_string(),
        other => format!("{other:?}"),
    };
    format!("v {version} with {size} bytes")
}

/// The statements of the state store, word by word.
fn update(table: &str, key: &str, read: u64, bytes: usize) -> BatchStatementRequest {
    BatchStatementRequest::builder()
        .statement(format!(r#"UPDATE "{table}" SET v=? SET s=? WHERE pk=? AND v=?"#))
        .set_parameters(Some(vec![n(read + 1), b(bytes), s(key), n(read)]))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .unwrap()
}

fn take_over(table: &str, key: &str, bytes: usize) -> BatchStatementRequest {
    BatchStatementRequest::builder()
        .statement(format!(r#"UPDATE "{table}" SET v=? SET s=? WHERE pk=? AND v IS MISSING"#))
        .set_parameters(Some(vec![n(1), b(bytes), s(key)]))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .unwrap()
}

fn insert(table: &str, key: &str, bytes: usize) -> BatchStatementRequest {
    BatchStatementRequest::builder()
        .statement(format!(r#"INSERT INTO "{table}" VALUE {{'pk':?,'v':?,'s':?}}"#))
        .set_parameters(Some(vec![s(key), n(1), b(bytes)]))
        .build()
        .unwrap()
}

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn b(bytes: usize) -> AttributeValue {
    AttributeValue::B(Blob::new(vec![7; bytes]))
}

fn key(key: &str) -> Item {
    HashMap::from([("pk".to_owned(), s(key))])
}

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    error.code().unwrap_or("no answer").to_owned()
}
