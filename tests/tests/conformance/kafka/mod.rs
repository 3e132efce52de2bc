//! Kafka, embedded or real, through librdkafka: what every case needs.

mod cases;
mod groups;
mod proxy;
mod records;
mod retention;
mod topics;
mod upheaval;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use centinela_e2e::real_servers::RealServers;
use centinela_local::broker::Broker;
use centinela_local::kafka::{TopicSpec, create_topics};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message, Timestamp};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;

pub use cases::CASES;

/// Everything that is waited for has to happen within this time.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// How long the embedded broker is away when it restarts.
const AWAY: Duration = Duration::from_millis(500);
/// And how long it names no broker afterwards.
const UNREGISTERED: Duration = Duration::from_millis(500);

/// A Kafka to ask.
pub struct Kafka {
    bootstrap: String,
    runtime: Handle,
    server: Server,
}

enum Server {
    Embedded(Box<Broker>),
    Real(Arc<RealServers>),
}

/// A record as a consumer got it.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    offset: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    timestamp: Timestamp,
}

impl Kafka {
    pub fn embedded(broker: Broker) -> Self {
        Self { bootstrap: broker.bootstrap(), runtime: Handle::current(), server: Server::Embedded(Box::new(broker)) }
    }

    pub fn real(servers: Arc<RealServers>) -> Self {
        Self { bootstrap: servers.kafka().to_owned(), runtime: Handle::current(), server: Server::Real(servers) }
    }

    /// Ends the embedded broker; a real one ends with its last user.
    pub async fn shutdown(self) {
        if let Server::Embedded(broker) = self.server {
            broker.shutdown().await.unwrap();
        }
    }

    /// Stops the broker in order and starts it with the same data.
    fn restart(&self) {
        match &self.server {
            Server::Embedded(broker) => self.wait(broker.restart(AWAY)).unwrap(),
            Server::Real(servers) => servers.restart_kafka(),
        }
    }

    /// The same, with a moment in which the broker serves and is not registered; a real one has it anyway.
    fn restart_unregistered(&self) {
        match &self.server {
            Server::Embedded(broker) => self.wait(broker.restart_unregistered(AWAY, UNREGISTERED)).unwrap(),
            Server::Real(servers) => servers.restart_kafka(),
        }
    }

    /// Raises the number of a topic's partitions, as an operator does.
    fn add_partitions(&self, topic: &str, partitions: usize) {
        match &self.server {
            Server::Embedded(broker) => assert!(broker.add_partitions(topic, partitions)),
            Server::Real(_) => self.ask_for_partitions(topic, partitions).unwrap(),
        }
    }

    /// Raises the number of a topic's partitions with a request of Kafka's protocol.
    fn ask_for_partitions(&self, topic: &str, partitions: usize) -> Result<(), RDKafkaErrorCode> {
        let asked =
            self.wait(self.admin().create_partitions(&[NewPartitions::new(topic, partitions)], &admin_options()));
        outcome(asked)
    }

    fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    fn client(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client(&[]).create().unwrap()
    }

    /// Creates a topic in the way that the platform does.
    fn topic(&self, name: &str, partitions: usize, config: &[(&str, &str)]) {
        let config: BTreeMap<String, String> =
            config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.wait(create_topics(&self.bootstrap, &[TopicSpec { name: name.to_owned(), partitions, config }])).unwrap();
    }

    fn producer(&self, settings: &[(&str, &str)]) -> FutureProducer {
        self.client(&[&[("linger.ms", "0"), ("enable.idempotence", "true")], settings].concat()).create().unwrap()
    }

    fn send(&self, producer: &FutureProducer, record: FutureRecord<'_, [u8], [u8]>) -> Result<i64, RDKafkaErrorCode> {
        match self.wait(producer.send(record, PATIENCE)) {
            Ok(delivery) => Ok(delivery.offset),
            Err((error, _)) => Err(code(&error)),
        }
    }

    /// Enqueues records with the values 0, 1, … at once, so that they share batches, and waits for all of them.
    fn send_numbers(&self, producer: &FutureProducer, topic: &str, partition: i32, count: usize) {
        let waiting: Vec<_> = (0..count)
            .map(|number| {
                let record = FutureRecord::<(), str>::to(topic).partition(partition);
                producer.send_result(record.payload(&number.to_string())).unwrap()
            })
            .collect();
        for delivery in waiting {
            self.wait(delivery).unwrap().unwrap();
        }
    }

    /// A consumer that commits only when it is told to.
    fn consumer(&self, group: &str, settings: &[(&str, &str)]) -> BaseConsumer {
        let own = [("group.id", group), ("enable.auto.commit", "false"), ("fetch.wait.max.ms", "20")];
        self.client(&[&own, settings].concat()).create().unwrap()
    }

    /// Records of a partition, read by a consumer of its own that starts at an offset.
    fn read(&self, topic: &str, partition: i32, from: Offset, count: usize) -> Vec<Found> {
        let consumer = self.consumer("reader", &[("auto.offset.reset", "earliest")]);
        consumer.assign(&one(topic, partition, from)).unwrap();
        poll(&consumer, count)
    }
}

/// Polls until there are `count` records, or patience ends.
fn poll(consumer: &BaseConsumer, count: usize) -> Vec<Found> {
    let deadline = Instant::now() + PATIENCE;
    let mut found = Vec::new();
    while found.len() < count && Instant::now() < deadline {
        // Errors of the connection pass; whatever does not pass shows as missing records.
        if let Some(Ok(message)) = consumer.poll(POLL) {
            found.push(Found {
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers: message.headers().map_or_else(Vec::new, |headers| {
                    headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
                }),
                timestamp: message.timestamp(),
            });
        }
    }
    found
}

/// Polls until something is true, for which what is polled is of no interest.
fn poll_until(consumers: &[&BaseConsumer], mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > deadline {
            return false;
        }
        for consumer in consumers {
            drop(consumer.poll(POLL));
        }
    }
    true
}

fn one(topic: &str, partition: i32, offset: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, offset).unwrap();
    list
}

fn offsets(found: &[Found]) -> Vec<i64> {
    found.iter().map(|record| record.offset).collect()
}

fn values(found: &[Found]) -> Vec<String> {
    found
        .iter()
        .map(|record| String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned())
        .collect()
}

fn is_all_in_order(found: &[Found], count: usize) -> bool {
    offsets(found).into_iter().eq(0..count as i64) && values(found).into_iter().eq((0..count).map(|n| n.to_string()))
}

/// The offset that a group has committed, as its next consumer learns it.
fn committed(consumer: &BaseConsumer, topic: &str, partition: i32) -> Result<Offset, RDKafkaErrorCode> {
    let answer = consumer.committed_offsets(one(topic, partition, Offset::Invalid), Timeout::After(PATIENCE));
    let list = answer.map_err(|error| code(&error))?;
    Ok(list.elements()[0].offset())
}

fn offset_text(offset: Result<Offset, RDKafkaErrorCode>) -> String {
    match offset {
        Ok(Offset::Offset(offset)) => offset.to_string(),
        Ok(Offset::Invalid) => "nothing".to_owned(),
        Ok(other) => format!("{other:?}"),
        Err(code) => format!("{code:?}"),
    }
}

fn code(error: &KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)
}

fn text<T>(result: Result<T, RDKafkaErrorCode>) -> String {
    result.map_or_else(|code| format!("{code:?}"), |_| "taken".to_owned())
}

/// Of an admin operation on one thing.
fn outcome(answer: Result<Vec<TopicResult>, KafkaError>) -> Result<(), RDKafkaErrorCode> {
    match answer.map_err(|error| code(&error))?.pop() {
        Some(Ok(_)) => Ok(()),
        Some(Err((_, code))) => Err(code),
        None => Err(RDKafkaErrorCode::NoEnt),
    }
}

fn admin_options() -> AdminOptions {
    let limit = Some(Duration::from_secs(10));
    AdminOptions::new().request_timeout(limit).operation_timeout(limit)
}
