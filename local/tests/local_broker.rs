//! The embedded broker as a Kafka client meets it: no record is skipped, wherever a fetch starts and whenever it comes.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use centinela_local::services::KafkaAccess;
use centinela_local::services::broker::{Broker, BrokerConfig};
use centinela_local::services::topic_admin::TopicAdmin;
use centinela_local::services::topics::{TopicSpec, create_topics};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Message, Timestamp};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

const LIMIT: Duration = Duration::from_secs(20);

async fn broker_with(topic: &str, config: &[(&str, &str)]) -> Broker {
    let broker = Broker::start(BrokerConfig::default()).await.expect("a broker");
    let config = config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    create_topics(&broker.bootstrap(), &[TopicSpec { name: topic.to_owned(), partitions: 1, config }])
        .await
        .expect("a topic");
    broker
}

fn producer(broker: &Broker, linger_ms: &str) -> FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("enable.idempotence", "true")
        .set("linger.ms", linger_ms)
        .create()
        .expect("a producer")
}

fn consumer_at(broker: &Broker, topic: &str, offset: Offset) -> BaseConsumer {
    consumer_with(broker, topic, offset, &[])
}

fn consumer_with(broker: &Broker, topic: &str, offset: Offset, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap()).set("group.id", "reader").set("enable.auto.commit", "false");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, offset).expect("an offset");
    consumer.assign(&assignment).expect("assigned");
    consumer
}

/// Enqueues everything at once, so that records share batches, and waits for the acknowledgements.
async fn produce(producer: &FutureProducer, topic: &str, records: u64) {
    let acknowledged: Vec<_> = (0..records)
        .map(|number| {
            producer.send_result(FutureRecord::<(), str>::to(topic).payload(&number.to_string())).expect("enqueued")
        })
        .collect();
    for delivery in acknowledged {
        delivery.await.expect("the producer lives").expect("acknowledged");
    }
}

fn read(consumer: &BaseConsumer, records: usize) -> Vec<(i64, Timestamp)> {
    let deadline = std::time::Instant::now() + LIMIT;
    let mut found = Vec::new();
    while found.len() < records && std::time::Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Ok(message)) => found.push((message.offset(), message.timestamp())),
            // The client connects again by itself.
            Some(Err(error)) => assert!(
                matches!(
                    error.rdkafka_error_code(),
                    Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown)
                ),
                "{error}"
            ),
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_starts_inside_a_batch_gets_the_rest_of_it_and_what_follows() {
    let broker = broker_with("inside", &[]).await;
    let producer = producer(&broker, "50");
    produce(&producer, "inside", 10).await;
    produce(&producer, "inside", 10).await;
    for start in 0..20 {
        let consumer = consumer_at(&broker, "inside", Offset::Offset(start));
        let offsets: Vec<i64> = read(&consumer, 20 - start as usize).into_iter().map(|(offset, _)| offset).collect();
        assert_eq!(offsets, (start..20).collect::<Vec<_>>(), "from offset {start}");
    }
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_starts_far_inside_a_large_batch_gets_every_record() {
    let broker = broker_with("large", &[]).await;
    produce(&producer(&broker, "200"), "large", 300).await;
    for start in [1, 63, 64, 65, 236, 299] {
        let consumer = consumer_at(&broker, "large", Offset::Offset(start));
        let offsets: Vec<i64> = read(&consumer, 300 - start as usize).into_iter().map(|(offset, _)| offset).collect();
        assert_eq!(offsets, (start..300).collect::<Vec<_>>(), "from offset {start}");
    }
    broker.shutdown().await.expect("stopped");
}

/// However long a client lets its fetches wait: records that are there are answered at once, and so are those that come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_waits_is_answered_when_a_record_comes() {
    let broker = broker_with("awaited", &[]).await;
    // Longer than this test has patience.
    let settings = [("fetch.wait.max.ms", "200000"), ("socket.timeout.ms", "300000")];
    let consumer = consumer_with(&broker, "awaited", Offset::Beginning, &settings);
    let producer = producer(&broker, "0");
    for offset in 0..5 {
        produce(&producer, "awaited", 1).await;
        assert_eq!(read(&consumer, 1).first().map(|(offset, _)| *offset), Some(offset));
    }
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_reads_while_records_arrive_skips_none() {
    const RECORDS: u64 = 20_000;
    let broker = broker_with("live", &[]).await;
    let consumer = consumer_at(&broker, "live", Offset::Beginning);
    let reader = tokio::task::spawn_blocking(move || read(&consumer, RECORDS as usize));
    let producer = producer(&broker, "0");
    for _ in 0..RECORDS / 100 {
        produce(&producer, "live", 100).await;
    }
    let offsets: Vec<i64> = reader.await.expect("read").into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, (0..RECORDS as i64).collect::<Vec<_>>());
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_log_append_time_has_the_brokers_time_and_not_the_producers() {
    let broker = broker_with("timed", &[("message.timestamp.type", "LogAppendTime")]).await;
    let producer = producer(&broker, "0");
    let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let record = FutureRecord::<(), str>::to("timed").payload("x").timestamp(1_000);
    producer.send(record, LIMIT).await.expect("acknowledged");
    let (_, timestamp) = read(&consumer_at(&broker, "timed", Offset::Beginning), 1)[0];
    assert!(matches!(timestamp, Timestamp::LogAppendTime(at) if at >= before), "{timestamp:?}");
    producer.flush(LIMIT).expect("flushed");
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_records_and_producers() {
    let broker = broker_with("kept", &[]).await;
    let producer = producer(&broker, "0");
    produce(&producer, "kept", 100).await;
    let consumer = consumer_at(&broker, "kept", Offset::Beginning);
    assert_eq!(read(&consumer, 100).len(), 100);
    broker.restart(Duration::from_millis(200)).await.expect("the port is free again");
    produce(&producer, "kept", 100).await;
    let offsets: Vec<i64> = read(&consumer, 100).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, (100..200).collect::<Vec<_>>(), "the same clients go on, and nothing came twice");
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusing_topic_takes_its_records_later_once() {
    let broker = broker_with("refusing", &[]).await;
    let producer = producer(&broker, "0");
    assert!(broker.set_refusing("refusing", true) && !broker.set_refusing("no-such-topic", true));
    let waiting =
        producer.send_result(FutureRecord::<(), str>::to("refusing").payload("1")).expect("the client keeps it");
    let consumer = consumer_at(&broker, "refusing", Offset::Beginning);
    assert!(consumer.poll(Duration::from_secs(1)).is_none(), "no record while it refuses");
    broker.set_refusing("refusing", false);
    waiting.await.expect("the producer lives").expect("acknowledged by a later attempt");
    produce(&producer, "refusing", 5).await;
    assert_eq!(read(&consumer, 6).len(), 6);
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_partitions_take_records_like_the_first_ones() {
    let broker = broker_with("growing", &[]).await;
    assert!(broker.add_partitions("growing", 3) && !broker.add_partitions("no-such-topic", 3));
    let producer = producer(&broker, "0");
    let metadata = producer.client().fetch_metadata(Some("growing"), LIMIT).expect("metadata");
    let numbers: Vec<i32> = metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect();
    assert_eq!(numbers, [0, 1, 2]);
    for partition in 0..3 {
        let record = FutureRecord::<(), str>::to("growing").partition(partition).payload("x");
        assert_eq!(producer.send(record, LIMIT).await.expect("acknowledged").offset, 0, "partition {partition}");
    }
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_made_again_begins_at_zero_under_living_clients() {
    let broker = broker_with("again", &[]).await;
    let producer = producer(&broker, "0");
    produce(&producer, "again", 30).await;
    let consumer = consumer_at(&broker, "again", Offset::Beginning);
    assert_eq!(read(&consumer, 30).len(), 30);
    let admin = TopicAdmin::new(&KafkaAccess::plaintext(&broker.bootstrap())).expect("an admin client");
    // The consumer goes on fetching a topic that is not there.
    admin.delete("again").await.expect("deleted");
    assert!(consumer.poll(Duration::from_millis(500)).is_none_or(|message| message.is_err()));
    let again = TopicSpec { name: "again".to_owned(), partitions: 1, config: BTreeMap::new() };
    admin.create(&again).await.expect("made again");
    produce(&producer, "again", 10).await;
    let offsets: Vec<i64> =
        read(&consumer_at(&broker, "again", Offset::Beginning), 10).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, (0..10).collect::<Vec<_>>(), "the old producer's sequence is taken as it is");
    broker.shutdown().await.expect("stopped");
}
