//! The same questions to the embedded parts and to Apache Kafka and DynamoDB Local.
//!
//! Every case names the answer that it expects from each side, so an answer that changes on either side fails here: a new
//! difference, and one that is gone. `local/DIFFERENCES.md` is written from the same list.
#![expect(clippy::unwrap_used, reason = "tests")]

mod case;
mod differences;
mod dynamodb;
mod kafka;

use std::sync::Arc;

use centinela_e2e::real_servers::RealServers;
use centinela_local::aws::{DynamoConfig, DynamoDb};
use centinela_local::broker::{Broker, BrokerConfig};

use case::{Side, ask_all};

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_broker_answers_as_declared() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let part = Arc::new(kafka::Kafka::embedded(broker));
    ask_all(kafka::CASES, Arc::clone(&part), Side::Embedded).await;
    Arc::into_inner(part).expect("every case has ended").shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apache_kafka_answers_as_declared() {
    let Some(servers) = RealServers::shared() else { return };
    ask_all(kafka::CASES, Arc::new(kafka::Kafka::real(servers)), Side::Real).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_dynamodb_answers_as_declared() {
    let service = DynamoDb::start(DynamoConfig::default()).await.unwrap();
    let part = Arc::new(dynamodb::Dynamo::at(&service.url()).await);
    ask_all(dynamodb::CASES, part, Side::Embedded).await;
    service.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_local_answers_as_declared() {
    let Some(servers) = RealServers::shared() else { return };
    ask_all(dynamodb::CASES, Arc::new(dynamodb::Dynamo::at(servers.dynamodb()).await), Side::Real).await;
}
