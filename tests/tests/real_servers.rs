//! The platform on Apache Kafka and DynamoDB Local, with a restart of the broker in the middle.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use centinela_e2e::real_servers::RealServers;
use centinela_local::lambda::{FunctionHost, FunctionSpec};
use centinela_local::mapping::{KafkaMapping, KafkaMappingSpec};
use centinela_local::services::{TopicSpec, create_topics};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

const PATIENCE: Duration = Duration::from_secs(60);

/// Partition key and offset of every handled record, in the order of handling.
fn handled(state: &std::path::Path) -> Vec<(String, i64)> {
    let text = std::fs::read_to_string(state.join("handled")).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Vec<(String, i64, String)>>(line).unwrap());
    lines.flatten().map(|(partition, offset, _)| (partition, offset)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mapping_handles_every_record_in_order_when_the_broker_restarts() {
    const TOPIC: &str = "orders";
    const PARTITIONS: i32 = 3;
    let Some(servers) = RealServers::shared() else { return };
    let topic = TopicSpec { name: TOPIC.to_owned(), partitions: 3, config: BTreeMap::new() };
    create_topics(servers.kafka(), &[topic]).await.unwrap();
    let state = tempfile::tempdir().unwrap();
    let function = FunctionSpec {
        name: "fixture".to_owned(),
        binary: env!("CARGO_BIN_EXE_fixture-function").into(),
        environment: BTreeMap::from([("FIXTURE_STATE".to_owned(), state.path().display().to_string())]),
        timeout: Duration::from_secs(10),
        memory_mb: 128,
        concurrency_max: 4,
    };
    let host = FunctionHost::start(function).await.unwrap();
    let spec = KafkaMappingSpec::new("fixture", TOPIC, "orders-on-kafka");
    let mapping =
        KafkaMapping::start(spec.clone(), servers.kafka(), &BTreeMap::new(), Arc::clone(&host)).await.unwrap();
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", servers.kafka())
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "60000")
        .create()
        .unwrap();
    let send = |count: i64| {
        for number in 0..count * i64::from(PARTITIONS) {
            let record = FutureRecord::<(), str>::to(TOPIC).partition((number % 3) as i32).payload("ok");
            drop(producer.send_result(record).unwrap());
        }
    };
    send(100);
    let deadline = Instant::now() + PATIENCE;
    while mapping.stats().records < 100 {
        assert!(Instant::now() < deadline, "{:?}", mapping.stats());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // These wait in the producer or in the mapping while the broker is away.
    send(100);
    let restarting = Arc::clone(&servers);
    tokio::task::spawn_blocking(move || restarting.restart_kafka()).await.unwrap();
    send(100);
    producer.flush(PATIENCE).unwrap();
    mapping.drain(PATIENCE).await.unwrap();
    mapping.stop().await.unwrap();

    // What was settled is committed: a mapping that starts now finds nothing to do.
    let again = KafkaMapping::start(spec, servers.kafka(), &BTreeMap::new(), Arc::clone(&host)).await.unwrap();
    again.drain(PATIENCE).await.unwrap();
    assert_eq!(again.stats().batches, 0, "{:?}", again.stats());
    again.stop().await.unwrap();
    host.stop(Duration::from_secs(5)).await;
    let handled = handled(state.path());
    for partition in 0..PARTITIONS {
        let name = format!("{TOPIC}-{partition}");
        let offsets: Vec<i64> = handled.iter().filter(|(of, _)| *of == name).map(|(_, offset)| *offset).collect();
        assert_eq!(offsets, (0..300).collect::<Vec<_>>(), "partition {partition}");
    }
}
