//! The publisher to Kafka against an embedded broker and librdkafka's own mock cluster.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::time::{Duration, Instant};

use centinela_adapters::{ConnectError, KafkaConfig, KafkaPublisher, SystemClock};
use centinela_contracts::dead_letter_v1::{self, DeadLetter, DeadLetterReason};
use centinela_contracts::keyed::DeploymentKey;
use centinela_delivery::{Clock, DeadLetters, PublishError};
use centinela_domain::{Coordinates, DecisionId, Millis, Outcome, TransactionId, UserId};
use centinela_kafka_access::KafkaAccess;
use centinela_local::broker::{Broker, BrokerConfig};
use centinela_local::kafka::{TopicSpec, create_topics};
use centinela_scoring::ports::{DecisionPublisher, Outgoing};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

type TestResult = Result<(), Box<dyn Error>>;

const TOPICS: [&str; 3] = ["approved", "blocked", "dead-letters"];
const T: Millis = Millis(1_790_000_000_000);

fn outgoing(name: &str, outcome: Outcome) -> Outgoing {
    let transaction_id = TransactionId::new(name).expect("a valid name");
    let user = UserId::new("ana").expect("a valid name");
    let decision_id = DecisionId::derive(&user, &transaction_id);
    Outgoing { outcome, transaction_id, decision_id, payload: format!("decision on {name}").into_bytes() }
}

fn soon() -> Millis {
    Millis(SystemClock.now().0 + 10_000)
}

fn within(time: Duration) -> Millis {
    Millis(SystemClock.now().0 + time.as_millis() as i64)
}

fn key() -> DeploymentKey {
    DeploymentKey::new(b"a key for tests only").expect("a key")
}

fn kafka(bootstrap: &str) -> KafkaConfig {
    KafkaConfig {
        access: KafkaAccess::plaintext(bootstrap),
        client_id: "test".to_owned(),
        decision_topics: [(Outcome::Approved, TOPICS[0]), (Outcome::Review, TOPICS[1]), (Outcome::Blocked, TOPICS[1])]
            .map(|(outcome, topic)| (outcome, topic.to_owned()))
            .into(),
        dead_letters_topic: TOPICS[2].to_owned(),
        deployment_key: key(),
        message_timeout: Duration::from_secs(8),
        idempotent: true,
    }
}

async fn broker(topics: &[&str]) -> Result<Broker, Box<dyn Error>> {
    let broker = Broker::start(BrokerConfig::default()).await?;
    let topics: Vec<TopicSpec> = topics
        .iter()
        .map(|name| TopicSpec { name: (*name).to_owned(), partitions: 2, config: BTreeMap::new() })
        .collect();
    create_topics(&broker.bootstrap(), &topics).await?;
    Ok(broker)
}

#[derive(Debug, PartialEq)]
struct Seen {
    key: Option<Vec<u8>>,
    payload: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

/// Reads `count` records of a topic, or fails after a while.
async fn seen(bootstrap: &str, topic: &'static str, count: usize) -> Result<Vec<Seen>, Box<dyn Error>> {
    let bootstrap = bootstrap.to_owned();
    let read = move || -> Result<Vec<Seen>, rdkafka::error::KafkaError> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .create()?;
        let mut from = TopicPartitionList::new();
        for partition in 0..2 {
            from.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&from)?;
        let give_up = Instant::now() + Duration::from_secs(10);
        let mut records = Vec::new();
        while records.len() < count && Instant::now() < give_up {
            let Some(record) = consumer.poll(Duration::from_millis(100)) else { continue };
            let record = record?;
            let headers = record.headers().map(|headers| {
                let pairs = headers.iter().map(|one| (one.key.to_owned(), one.value.unwrap_or_default().to_vec()));
                pairs.collect()
            });
            records.push(Seen {
                key: record.key().map(<[u8]>::to_vec),
                payload: record.payload().unwrap_or_default().to_vec(),
                headers: headers.unwrap_or_default(),
            });
        }
        Ok(records)
    };
    Ok(tokio::task::spawn_blocking(read).await??)
}

fn all_ok(results: &[Result<(), PublishError>]) -> bool {
    results.iter().all(Result::is_ok)
}

#[tokio::test]
async fn a_decision_goes_to_the_topic_of_its_outcome_under_its_transaction() -> TestResult {
    for idempotent in [true, false] {
        outcomes_have_their_topics(idempotent).await?;
    }
    Ok(())
}

async fn outcomes_have_their_topics(idempotent: bool) -> TestResult {
    let broker = broker(&TOPICS).await?;
    let publisher = KafkaPublisher::connect(KafkaConfig { idempotent, ..kafka(&broker.bootstrap()) }).await?;
    let decisions = [
        outgoing("t-1", Outcome::Approved),
        outgoing("t-2", Outcome::Blocked),
        outgoing("t-3", Outcome::Review),
        outgoing("t-4", Outcome::Approved),
    ];
    assert!(all_ok(&publisher.publish(&decisions, soon()).await));
    let mut approved = seen(&broker.bootstrap(), "approved", 2).await?;
    approved.sort_by(|a, b| a.key.cmp(&b.key));
    let expected = |decision: &Outgoing| Seen {
        key: Some(decision.transaction_id.as_str().into()),
        payload: decision.payload.clone(),
        headers: vec![("decision-id".to_owned(), decision.decision_id.to_string().into_bytes())],
    };
    assert_eq!(approved, [expected(&decisions[0]), expected(&decisions[3])]);
    let mut blocked = seen(&broker.bootstrap(), "blocked", 2).await?;
    blocked.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(blocked, [expected(&decisions[1]), expected(&decisions[2])]);
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_can_be_driven_again_as_what_it_first_was() -> TestResult {
    let broker = broker(&TOPICS).await?;
    let publisher = KafkaPublisher::connect(kafka(&broker.bootstrap())).await?;
    let first = Coordinates { partition: 4, offset: 17, timestamp: T };
    let fresh = DeadLetter {
        reason_code: DeadLetterReason::NotJson,
        reason: "no json".to_owned(),
        topic: "transactions".to_owned(),
        partition: first.partition,
        offset: Some(first.offset),
        timestamp: Some(first.timestamp),
        key: Some(b"fresh".to_vec()),
        value: Some(b"{".to_vec()),
        headers: Vec::new(),
        dead_lettered_at: T,
    };
    let before = Coordinates { partition: 9, offset: 3, timestamp: Millis(T.0 - 5) };
    let again = DeadLetter {
        key: Some(b"redriven".to_vec()),
        headers: dead_letter_v1::first_headers("transactions", before, b"{", &key()),
        ..fresh.clone()
    };
    let nowhere = DeadLetter { key: None, offset: None, ..fresh.clone() };
    assert!(all_ok(&publisher.send(&[fresh.clone(), again, nowhere], soon()).await));
    let records = seen(&broker.bootstrap(), "dead-letters", 3).await?;
    let by_key: HashMap<Option<&[u8]>, &Seen> = records.iter().map(|seen| (seen.key.as_deref(), seen)).collect();
    let letter = by_key[&Some(&b"fresh"[..])];
    assert_eq!(dead_letter_v1::parse(&letter.payload)?.letter, fresh);
    // As it stands once it was driven again, a little later.
    let delivered = Coordinates { partition: 2, offset: 1, timestamp: Millis(T.0 + 60_000) };
    let coordinates = |seen: &Seen| dead_letter_v1::first_coordinates(&seen.headers, b"{", delivered, &key());
    assert_eq!(coordinates(letter), Some(Ok(("transactions".to_owned(), first))));
    assert_eq!(coordinates(by_key[&Some(&b"redriven"[..])]), Some(Ok(("transactions".to_owned(), before))));
    assert_eq!(coordinates(by_key[&None]), None);
    Ok(())
}

#[tokio::test]
async fn missing_topics_are_named_at_start() -> TestResult {
    let broker = broker(&["approved"]).await?;
    let error = KafkaPublisher::connect(kafka(&broker.bootstrap())).await.expect_err("topics are missing");
    assert!(matches!(error, ConnectError::TopicsMissing { .. }));
    assert!(error.to_string().contains("no topic blocked, dead-letters"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_broker_that_is_away_is_no_reason_not_to_start_and_nothing_is_acknowledged() -> TestResult {
    let broker = broker(&TOPICS).await?;
    let publisher = KafkaPublisher::connect(kafka(&broker.bootstrap())).await?;
    broker.shutdown().await?;
    let started = Instant::now();
    let results = publisher.publish(&[outgoing("t-1", Outcome::Approved)], within(Duration::from_millis(300))).await;
    assert!(matches!(results[..], [Err(PublishError::Unacknowledged(_))]), "{results:?}");
    assert!(started.elapsed() < Duration::from_secs(2), "the deadline holds");
    Ok(())
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_and_the_others_go_out() -> TestResult {
    let broker = broker(&TOPICS).await?;
    let publisher = KafkaPublisher::connect(kafka(&broker.bootstrap())).await?;
    let huge = Outgoing { payload: vec![b'x'; 9_000_000], ..outgoing("t-2", Outcome::Approved) };
    let decisions = [outgoing("t-1", Outcome::Approved), huge, outgoing("t-3", Outcome::Approved)];
    let results = publisher.publish(&decisions, soon()).await;
    assert!(matches!(results[..], [Ok(()), Err(PublishError::Refused(_)), Ok(())]), "{results:?}");
    Ok(())
}

#[tokio::test]
async fn nothing_to_publish_is_published_at_once() -> TestResult {
    let broker = broker(&TOPICS).await?;
    let publisher = KafkaPublisher::connect(kafka(&broker.bootstrap())).await?;
    assert!(publisher.publish(&[], soon()).await.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_producer_that_failed_for_good_is_replaced() -> TestResult {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    let cluster = MockCluster::new(1)?;
    for topic in TOPICS {
        cluster.create_topic(topic, 2, 1)?;
    }
    let publisher = KafkaPublisher::connect(kafka(&cluster.bootstrap_servers())).await?;
    assert!(all_ok(&publisher.publish(&[outgoing("t-1", Outcome::Approved)], soon()).await));
    // The broker has lost count of the producer's sequence, which an idempotent producer cannot recover from.
    cluster
        .request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER; 3]);
    let results = publisher.publish(&[outgoing("t-2", Outcome::Approved)], soon()).await;
    assert!(matches!(results[..], [Err(PublishError::Unacknowledged(_))]), "{results:?}");
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    let results = publisher.publish(&[outgoing("t-2", Outcome::Approved)], soon()).await;
    assert!(all_ok(&results), "{results:?}");
    Ok(())
}

#[tokio::test]
async fn a_producer_without_a_sequence_repeats_what_the_broker_refused_for_a_while() -> TestResult {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    let cluster = MockCluster::new(1)?;
    for topic in TOPICS {
        cluster.create_topic(topic, 2, 1)?;
    }
    let config = KafkaConfig { idempotent: false, ..kafka(&cluster.bootstrap_servers()) };
    let publisher = KafkaPublisher::connect(config).await?;
    // A broker that is not the leader any more, and one that has too few followers.
    let refusals = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
    ];
    cluster.request_errors(RDKafkaApiKey::Produce, &refusals);
    let results = publisher.publish(&[outgoing("t-1", Outcome::Approved)], soon()).await;
    assert!(all_ok(&results), "{results:?}");
    Ok(())
}
