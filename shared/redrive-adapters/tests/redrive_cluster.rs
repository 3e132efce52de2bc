//! What a redrive keeps in Kafka and reads from it, where something goes wrong or somebody else is at work.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeSet;

use centinela_domain::Millis;
use centinela_kafka_access::KafkaAccess;
use centinela_redrive::{Place, Surroundings as _};
use centinela_redrive_adapters::{Cluster, Config};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::util::Timeout;

const LETTERS: u64 = 10;

type Kafka = MockCluster<'static, DefaultProducerContext>;

/// A broker with ten letters in each of two partitions.
fn kafka() -> Kafka {
    let kafka = MockCluster::new(1).unwrap();
    for topic in ["dead-letters", "transactions", "approved", "blocked"] {
        kafka.create_topic(topic, 2, 1).unwrap();
    }
    write(&kafka, "dead-letters", LETTERS, 10);
    kafka
}

fn write(kafka: &Kafka, topic: &str, count: u64, bytes: usize) {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", kafka.bootstrap_servers()).set("batch.num.messages", "1");
    let producer: BaseProducer = client.create().unwrap();
    let value = vec![b'x'; bytes];
    for _ in 0..count {
        for partition in 0..2 {
            let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(partition).payload(&value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
    }
    producer.flush(Timeout::Never).unwrap();
}

fn cluster(kafka: &Kafka) -> Cluster {
    let config = Config {
        access: KafkaAccess::plaintext(&kafka.bootstrap_servers()),
        dead_letters: "dead-letters".to_owned(),
        group: "redrive".to_owned(),
        transactions: "transactions".to_owned(),
        decisions: vec!["approved".to_owned(), "blocked".to_owned()],
    };
    Cluster::new(config, None, None).unwrap()
}

fn place(partition: u32, offset: u64) -> Place {
    Place { partition, offset }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_operators_handle_at_a_time_is_handled() {
    let kafka = kafka();
    let (mut sending, mut dropping) = (cluster(&kafka), cluster(&kafka));
    let (mut sent, mut dropped) = (sending.handled().await.unwrap(), dropping.handled().await.unwrap());
    sent.insert(place(0, 0));
    sending.note_handled(&mut sent).await.unwrap();
    [place(0, 7), place(1, 3)].into_iter().for_each(|place| dropped.insert(place));
    dropping.note_handled(&mut dropped).await.unwrap();
    sent.insert(place(0, 1));
    sending.note_handled(&mut sent).await.unwrap();
    assert!(sent.contains(place(0, 7)), "whoever sends learns what was dropped");
    let all = cluster(&kafka).handled().await.unwrap();
    for (partition, handled) in [(0, BTreeSet::from([0, 1, 7])), (1, BTreeSet::from([3]))] {
        for offset in 0..LETTERS {
            assert_eq!(all.contains(place(partition, offset)), handled.contains(&offset), "{partition}-{offset}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_read_again_from_any_of_them_on() {
    let kafka = kafka();
    let mut cluster = cluster(&kafka);
    cluster.handled().await.unwrap();
    let mut read = Vec::new();
    while let Some(message) = cluster.next_message().await.unwrap() {
        read.push(message.place);
    }
    assert_eq!(read.len() as u64, 2 * LETTERS);
    for from in [13, 4] {
        cluster.turn_back(read[from]).await.unwrap();
        for expected in &read[from..] {
            assert_eq!(cluster.next_message().await.unwrap().unwrap().place, *expected);
        }
        assert_eq!(cluster.next_message().await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handled_is_not_taken_for_nothing_when_kafka_does_not_tell() {
    let kafka = kafka();
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    // In this version an answer has errors by partition, and none of its own.
    kafka.apiversion(RDKafkaApiKey::OffsetFetch, Some(1), Some(1)).unwrap();
    kafka.request_errors(RDKafkaApiKey::OffsetFetch, &[refused; 3]);
    let error = cluster(&kafka).handled().await.unwrap_err();
    assert!(error.source.to_string().to_lowercase().contains("authoriz"), "{error}: {}", error.source);
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_that_were_deleted_before_they_were_read_are_not_taken_for_none() {
    let kafka = kafka();
    write(&kafka, "approved", 1, 10);
    let mut cluster = cluster(&kafka);
    // Nothing is read ahead while it is written.
    kafka.request_errors(RDKafkaApiKey::Fetch, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 1000]);
    cluster.begin_search(Millis(0)).await.unwrap();
    // More than this broker keeps of a partition.
    write(&kafka, "approved", 8, 900_000);
    kafka.clear_request_errors(RDKafkaApiKey::Fetch);
    let error = cluster.search(&BTreeSet::new(), None).await.unwrap_err();
    assert!(error.source.to_string().contains("deleted before"), "{error}: {}", error.source);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_ends_when_its_time_is_over() {
    let kafka = kafka();
    let mut cluster = cluster(&kafka);
    cluster.begin_search(Millis(0)).await.unwrap();
    write(&kafka, "approved", 5, 10);
    let searched = cluster.search(&BTreeSet::new(), Some(Millis(1))).await.unwrap();
    assert!(!searched.is_all, "and says that it is not all");
    assert!(cluster.search(&BTreeSet::new(), None).await.unwrap().is_all, "it goes on where it was");
}
