//! A broker, a producer and a host, for one mapping.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use centinela_e2e::fixture::{Entry, Fixture};
use centinela_local::broker::{Broker, BrokerConfig};
use centinela_local::kafka::{TopicSpec, create_topics};
use centinela_local::mapping::{KafkaMapping, KafkaMappingSpec};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::Value;

pub const TOPIC: &str = "orders";
pub const FAILURES: &str = "failed-orders";
pub const GROUP: &str = "score-orders";
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub broker: Broker,
    pub producer: FutureProducer,
    pub fixture: Fixture,
}

impl World {
    pub async fn start(partitions: usize) -> World {
        World::with_timeout(partitions, Duration::from_secs(30)).await
    }

    pub async fn with_timeout(partitions: usize, timeout: Duration) -> World {
        let broker = Broker::start(BrokerConfig::default()).await.expect("a broker");
        // Records of years ago are sent too.
        let config = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        let topic = |name: &str, partitions| TopicSpec { name: name.to_owned(), partitions, config: config.clone() };
        let topics = [topic(TOPIC, partitions), topic(FAILURES, 1)];
        create_topics(&broker.bootstrap(), &topics).await.expect("topics");
        let producer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap())
            .set("linger.ms", "0")
            .create()
            .expect("a producer");
        let fixture = Fixture::start(timeout, 4).await;
        World { broker, producer, fixture }
    }

    pub async fn map(&self, spec: KafkaMappingSpec) -> Arc<KafkaMapping> {
        let bootstrap = self.broker.bootstrap();
        KafkaMapping::start(spec, &bootstrap, &BTreeMap::new(), Arc::clone(&self.fixture.host))
            .await
            .expect("the mapping starts")
    }

    pub async fn send(&self, partition: i32, value: &str) -> i64 {
        let record = FutureRecord::to(TOPIC).partition(partition).key("a key").payload(value);
        self.producer.send(record, PATIENCE).await.expect("the broker takes it").offset
    }

    pub async fn send_all(&self, partition: i32, values: &[&str]) {
        for value in values {
            self.send(partition, value).await;
        }
    }

    /// Values of the failure topic's messages, and their keys.
    pub fn failures(&self, count: usize) -> Vec<(Option<Vec<u8>>, Value)> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.broker.bootstrap())
            .set("group.id", "reader")
            .create()
            .expect("a consumer");
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(FAILURES, 0, rdkafka::Offset::Beginning).expect("an offset");
        consumer.assign(&list).expect("an assignment");
        let deadline = Instant::now() + PATIENCE;
        let mut found = Vec::new();
        while found.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} failure records", found.len());
            let Some(message) = consumer.poll(Duration::from_millis(100)) else {
                continue;
            };
            let message: BorrowedMessage<'_> = message.expect("a record");
            let value = serde_json::from_slice(message.payload().unwrap_or_default()).expect("JSON");
            found.push((message.key().map(<[u8]>::to_vec), value));
        }
        found
    }

    pub async fn finish(self, mapping: &KafkaMapping) {
        mapping.stop().await.expect("a clean stop");
        self.fixture.host.stop(Duration::from_secs(5)).await;
        assert!(self.fixture.host.environments().is_empty());
        self.broker.shutdown().await.expect("the broker ends");
    }
}

pub fn spec() -> KafkaMappingSpec {
    KafkaMappingSpec { report_batch_item_failures: true, ..KafkaMappingSpec::new("fixture", TOPIC, GROUP) }
}

pub fn distinct(entries: &[Entry]) -> BTreeSet<(String, i64)> {
    entries.iter().map(|entry| (entry.0.clone(), entry.1)).collect()
}
