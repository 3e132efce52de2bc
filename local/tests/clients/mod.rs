//! Clients as production uses them, and what the tests write with them.

use aws_sdk_dynamodb::Client as Dynamo;
use aws_sdk_dynamodb::config::{Credentials, Region, retry::RetryConfig};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementRequest, KeysAndAttributes, ReturnValuesOnConditionCheckFailure,
};
use aws_sdk_kinesis::Client as KinesisClient;
use centinela_local::aws::{ACCESS_KEY_ID, AttrType, REGION, SECRET_ACCESS_KEY, TableSpec};

pub const TABLE: &str = "user_state";

pub fn table(name: &str) -> TableSpec {
    TableSpec {
        name: name.to_owned(),
        partition_key: ("pk".to_owned(), AttrType::S),
        sort_key: None,
        ttl_attribute: Some("expires_s".to_owned()),
    }
}

pub fn dynamo(url: String) -> Dynamo {
    Dynamo::from_conf(
        aws_sdk_dynamodb::Config::builder()
            .endpoint_url(url)
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .build(),
    )
}

pub fn kinesis(url: String) -> KinesisClient {
    use aws_sdk_kinesis::config::{Credentials, Region, retry::RetryConfig};
    KinesisClient::from_conf(
        aws_sdk_kinesis::Config::builder()
            .endpoint_url(url)
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .build(),
    )
}

pub fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub fn b(bytes: usize) -> AttributeValue {
    AttributeValue::B(Blob::new(vec![7; bytes]))
}

pub fn statement(text: &str, parameters: Vec<AttributeValue>) -> BatchStatementRequest {
    BatchStatementRequest::builder()
        .statement(text)
        .set_parameters(Some(parameters))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .expect("the statement is given")
}

pub fn insert(key: &str, bytes: usize) -> BatchStatementRequest {
    statement(&format!("INSERT INTO \"{TABLE}\" VALUE {{'pk':?,'v':?,'s':?}}"), vec![s(key), n(1), b(bytes)])
}

/// A write of the next version of an item, made from the version that was read.
pub fn update(key: &str, version: u64, bytes: usize) -> BatchStatementRequest {
    let text = format!("UPDATE \"{TABLE}\" SET v=? SET s=? WHERE pk=? AND v=?");
    statement(&text, vec![n(version + 1), b(bytes), s(key), n(version)])
}

pub fn keys(keys: &[&str], consistent: bool) -> KeysAndAttributes {
    let keys = keys.iter().map(|key| [("pk".to_owned(), s(key))].into()).collect();
    KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(consistent).build().expect("there are keys")
}
