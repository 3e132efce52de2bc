//! The Kafka Lambda in forty lines that the chassis shows, behind a real mapping.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use centinela_contracts::dead_letter_v1::{self, ReceivedDeadLetter};
use centinela_e2e::{binaries, cargo, workspace};
use centinela_local::broker::{Broker, BrokerConfig};
use centinela_local::kafka::{TopicSpec, create_topics};
use centinela_local::lambda::{FunctionHost, FunctionSpec};
use centinela_local::mapping::{KafkaMapping, KafkaMappingSpec};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message as _, Offset, TopicPartitionList};

const EXAMPLE: &str = "kafka_lambda";
const PATIENCE: Duration = Duration::from_secs(60);

/// Builds the example, which takes a moment when it is up to date.
fn built() -> PathBuf {
    let directory = binaries();
    let target = directory.parent().expect("a profile's directory is in a target directory");
    let mut build = cargo();
    build.args(["build", "--example", EXAMPLE]).arg("--target-dir").arg(target);
    if directory.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo can be started").success(), "the example is not built");
    directory.join("examples").join(EXAMPLE)
}

/// The client is gone when this returns: it would wait for a broker that ended before it.
fn first_dead_letter(client: &ClientConfig) -> ReceivedDeadLetter {
    let consumer: BaseConsumer = client.create().expect("a consumer");
    let mut all = TopicPartitionList::new();
    all.add_partition_offset("unreadable", 0, Offset::Beginning).expect("an offset");
    consumer.assign(&all).expect("an assignment");
    let message = consumer.poll(PATIENCE).expect("a dead letter in time").expect("a record");
    dead_letter_v1::parse(message.payload().expect("a value")).expect("a dead letter")
}

#[test]
fn it_has_forty_lines() {
    let example = workspace().join("shared/function/examples").join(format!("{EXAMPLE}.rs"));
    let text = std::fs::read_to_string(example).expect("the example");
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("#![doc")).count();
    assert!(lines <= 40, "{lines} lines");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_handled_or_dead_lettered_and_the_mapping_goes_on() {
    let broker = Broker::start(BrokerConfig::default()).await.expect("a broker");
    let topic = |name: &str| TopicSpec { name: name.to_owned(), partitions: 1, config: BTreeMap::new() };
    create_topics(&broker.bootstrap(), &[topic("orders"), topic("unreadable")]).await.expect("topics");
    let environment = [
        ("KAFKA_BOOTSTRAP", broker.bootstrap()),
        ("KAFKA_AUTH", "plaintext".to_owned()),
        ("DEAD_LETTERS_TOPIC", "unreadable".to_owned()),
        ("PSEUDONYM_KEY", "00112233445566778899aabbccddeeff".to_owned()),
    ];
    let host = FunctionHost::start(FunctionSpec {
        name: "sum-orders".to_owned(),
        binary: built(),
        environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        timeout: Duration::from_secs(15),
        memory_mb: 256,
        concurrency_max: 1,
        nice: 0,
    })
    .await
    .expect("the example can be hosted");
    let mut logs = host.logs();
    let client = || -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.bootstrap());
        config
    };
    let producer: FutureProducer = client().create().expect("a producer");
    for value in [r#"["ana",1200]"#, "nonsense", r#"["ben",300]"#, r#"["ana",50]"#] {
        let record: FutureRecord<'_, str, str> = FutureRecord::to("orders").payload(value);
        producer.send(record, PATIENCE).await.expect("the broker takes it");
    }
    let spec = KafkaMappingSpec {
        report_batch_item_failures: true,
        window: Duration::from_secs(1),
        ..KafkaMappingSpec::new("sum-orders", "orders", "sum-orders")
    };
    let mapping = KafkaMapping::start(spec, &broker.bootstrap(), &BTreeMap::new(), Arc::clone(&host)).await;
    let mapping = mapping.expect("the mapping starts");
    mapping.drain(PATIENCE).await.expect("everything is handled");
    assert_eq!((mapping.stats().records, mapping.stats().retried_batches), (4, 0));

    let dead = first_dead_letter(client().set("group.id", "reader"));
    assert_eq!(dead.letter.value.as_deref(), Some(&b"nonsense"[..]));

    drop(producer);
    mapping.stop().await.expect("a clean stop");
    host.stop(Duration::from_secs(5)).await;
    let mut said = String::new();
    while let Ok(line) = logs.try_recv() {
        said.push_str(&line.text);
        said.push('\n');
    }
    for (customer, cents) in [("ana", 1250), ("ben", 300)] {
        let lines = said.lines().filter(|line| line.contains("ordered") && line.contains(customer));
        assert!(lines.into_iter().any(|line| line.contains(&cents.to_string())), "{customer} is not in {said}");
    }
    assert!(said.contains("\"Orders\":4"), "the metric line is not in {said}");
    broker.shutdown().await.expect("the broker ends");
}
